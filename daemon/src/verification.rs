//! Verification of public data: no secret, no intent, one verdict per item.

mod batch;
mod lookup;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use trust::verify::{self, NotValid};
use trust::{
    Fault, FaultKind, KeyId, KeyName, KeyRef, KeyVersion, Principal, PublicKey, Purpose, Repository, Signable, Trust,
};

use crate::authorize::Action;
use crate::cores::{AtWork, Place};
use crate::house::House;
use crate::keys::{KeySelector, Sight};
use crate::records::{KeyView, record_fault};

use lookup::{Found, veil};

pub(crate) use batch::{Batch, BatchKey, VerificationKey};

/// A batch is cut into as many parts as there are cores, but not into cheaper ones, in some 5 µs: below, the cutting costs
/// more. It is 1024 items under a prepared Ed25519 key, and 64 under the slowest algorithm.
const PART_COST_MIN: usize = 1024;
/// And not into dearer ones: so long does a place stay taken that somebody else may wait for.
const PART_COST_MAX: usize = 2048;

/// Messages that are verified on an async thread, at most: hashed in less time than the arithmetic takes.
const SHORT_BYTES_MAX: usize = 16 * 1024;

/// What a door read.
#[derive(Debug)]
pub(crate) struct VerifyRequest {
    /// Which key.
    pub(crate) key: KeySelector,
    /// Which version; `None`: any.
    pub(crate) version: Option<KeyVersion>,
    /// What was signed.
    pub(crate) input: Signable,
    /// The signature, of any length.
    pub(crate) signature: Vec<u8>,
}

/// What the daemon says of one signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is valid under this version.
    Valid(KeyVersion),
    /// It does not count.
    NotValid(Refusal),
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The key's signatures do not count any more. Which leaf a bare signature
    /// belongs to is unknown here, so a distrust since a leaf means all of them.
    Distrusted,
    /// The equation, the encoding or the input.
    NotValid(NotValid),
    /// No more may be said: the caller may not get the key, and there may be none.
    Veiled,
}

/// What metrics call the verdict of an item that counts.
const VALID: &str = "valid";
/// What metrics call each verdict.
const VERDICTS: [&str; 5] = [VALID, "distrusted", "encoding", "input", "wrong"];

impl Refusal {
    /// What metrics call it. A veiled one looks like a wrong one there, too.
    const fn word(self) -> &'static str {
        match self {
            Self::Distrusted => "distrusted",
            Self::NotValid(NotValid::Encoding) => "encoding",
            Self::NotValid(NotValid::Input) => "input",
            Self::NotValid(NotValid::Wrong) | Self::Veiled => "wrong",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Distrusted => f.write_str("the key is distrusted"),
            Self::NotValid(why) => why.fmt(f),
            Self::Veiled => f.write_str("not valid, or no such key"),
        }
    }
}

/// A key version whose signatures count.
#[derive(Debug, Clone)]
pub(crate) struct TrustedKey {
    /// Key and version.
    pub(crate) key: KeyRef,
    /// Its name, to whoever may get the key.
    pub(crate) name: Option<KeyName>,
    /// Its public half.
    pub(crate) public_key: PublicKey,
}

/// A page of them.
#[derive(Debug)]
pub(crate) struct TrustedPage {
    /// All versions of each key.
    pub(crate) keys: Vec<TrustedKey>,
    /// After which key the next page begins; `None` on the last.
    pub(crate) next: Option<KeyId>,
}

impl House {
    /// Verifies one signature under a kept key. Whoever may not get the key learns whether the signature is valid
    /// and nothing else (D28).
    pub(crate) async fn verify(&self, principal: &Principal, request: VerifyRequest) -> Result<Verdict, Fault> {
        self.allow(principal, Action::Verify)?;
        let mut sight = self.sight(principal, &request.key, Action::Verify).await?;
        let mut place = None;
        if let Sight::Open(view) | Sight::Veiled(Some(view)) = &sight
            && !is_short(view, &request)
        {
            place = Some(self.cores().place_of_one(principal).await?);
            // What is said of the key while this waits counts for it.
            sight = self.sight(principal, &request.key, Action::Verify).await?;
        }
        let (view, is_veiled) = match sight {
            Sight::Open(view) => (Some(view), false),
            Sight::Veiled(view) => (view, true),
        };
        let verdict = match view {
            Some(view) => verdict_at(place, view, request).await,
            None => Ok(Verdict::NotValid(Refusal::Veiled)),
        };
        let verdict = match verdict {
            Ok(Verdict::NotValid(_)) if is_veiled => Verdict::NotValid(Refusal::Veiled),
            Err(fault) if is_veiled && fault.kind() == FaultKind::Missing => Verdict::NotValid(Refusal::Veiled),
            verdict => verdict?,
        };
        self.note_verdicts(&[match verdict {
            Verdict::Valid(_) => None,
            Verdict::NotValid(refusal) => Some(refusal),
        }]);
        Ok(verdict)
    }

    /// Verifies many; `None` stands for a valid item.
    pub(crate) async fn verify_batch(
        &self,
        principal: &Principal,
        batch: Batch,
    ) -> Result<Vec<Option<Refusal>>, Fault> {
        self.allow(principal, Action::Verify)?;
        // Before the keys are looked up: what is said of one while a batch waits counts for it. Each has its price, too.
        let dues = batch.items().max(batch.keys().len());
        let at_work = self.cores().take(principal, dues).await?;
        let keys = Arc::new(self.look_up(principal, batch.keys()).await?);
        batch.fits(&keys)?;
        let batch = Arc::new(batch);
        let verdicts = self.verdicts(&batch, &keys, &at_work).await?;
        let verdicts = self.recheck(verdicts, &batch, &keys)?;
        let verdicts = veil(verdicts, &batch, &keys);
        self.note_verdicts(&verdicts);
        Ok(verdicts)
    }

    /// The verdicts of a batch, in order, by as many cores as are free.
    async fn verdicts(
        &self,
        batch: &Arc<Batch>,
        keys: &Arc<Vec<Found>>,
        at_work: &AtWork,
    ) -> Result<Vec<Option<Refusal>>, Fault> {
        let caller = CancellationToken::new();
        let _hangs_up = caller.clone().drop_guard();
        let parts = parts(batch.costs(keys, &self.parts.tables), self.cores().count());
        let mut running = Vec::with_capacity(parts.len());
        for part in parts {
            // Whoever hangs up while waiting here leaves nothing behind.
            let place = self.cores().place(at_work).await?;
            let (batch, keys, tables) = (Arc::clone(batch), Arc::clone(keys), Arc::clone(&self.parts.tables));
            let caller = caller.clone();
            // Arithmetic for milliseconds would hold up every other request on this thread. The place goes with the work,
            // which ends soon after its caller has gone: nobody can start more of it than there are places.
            running.push(tokio::task::spawn_blocking(move || {
                let _place = place;
                let go_on = || !caller.is_cancelled();
                let tables = batch.tables(part.clone(), &keys, &tables, go_on)?;
                batch.verdicts(part, &keys, &tables, go_on)
            }));
        }
        let mut verdicts = Vec::with_capacity(batch.items());
        for part in running {
            let part = part.await.map_err(|error| Fault::internal(format!("a verification thread: {error}")))?;
            verdicts.extend(part.ok_or_else(|| Fault::new(FaultKind::Late, "the caller has gone"))?);
        }
        Ok(verdicts)
    }

    /// Counts what became of items.
    fn note_verdicts(&self, verdicts: &[Option<Refusal>]) {
        let mut counts = [0_u64; VERDICTS.len()];
        for verdict in verdicts {
            let word = verdict.map_or(VALID, Refusal::word);
            if let Some(count) = VERDICTS.iter().position(|known| *known == word).and_then(|at| counts.get_mut(at)) {
                *count += 1;
            }
        }
        for (word, count) in VERDICTS.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
            self.metrics().verifying().verified(word, count);
        }
    }

    /// A page of the key versions whose signatures count for `repository` (`None`: keys without scope), of the keys whose
    /// ids come after `after`. It ends behind the key that fills it.
    pub(crate) async fn trusted_keys(
        &self,
        principal: &Principal,
        repository: Option<&Repository>,
        purpose: Purpose,
        after: Option<KeyId>,
        size: usize,
    ) -> Result<TrustedPage, Fault> {
        self.allow(principal, Action::Verify)?;
        let views = match repository {
            Some(repository) => self.records().trusted_for(repository, purpose, after, size).await,
            None => self.records().trusted_unbound(purpose, after, size).await,
        }
        .map_err(record_fault)?;
        let mut page = TrustedPage { keys: Vec::new(), next: None };
        for view in views {
            let name = self.may_get(principal, &view).then(|| view.record.name.clone());
            page.keys.extend(view.versions.iter().map(|version| TrustedKey {
                key: version.key,
                name: name.clone(),
                public_key: version.public_key.clone(),
            }));
            // Each key has a version: as many keys as were asked for fill it, too.
            if page.keys.len() >= size {
                page.next = Some(view.record.id);
                break;
            }
        }
        Ok(page)
    }
}

/// Cuts items of these costs into parts for so many cores, none smaller than is worth it, and none so large that whoever
/// comes next waits long for its place.
fn parts(costs: impl Iterator<Item = usize> + Clone, cores: usize) -> Vec<Range<usize>> {
    let total = costs.clone().fold(0, usize::saturating_add);
    let enough = total.div_ceil(cores.max(1)).clamp(PART_COST_MIN, PART_COST_MAX);
    let mut parts = Vec::with_capacity(total / enough + 1);
    let (mut part, mut of_part) = (0..0, 0);
    for cost in costs {
        part.end += 1;
        of_part += cost;
        if of_part >= enough {
            parts.push(part.clone());
            (part.start, of_part) = (part.end, 0);
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Whether the verdict takes a moment only: one version to try, and little to hash.
fn is_short(view: &KeyView, request: &VerifyRequest) -> bool {
    let bytes = match &request.input {
        Signable::Message(message) => message.len(),
        Signable::Digest(_) => 0,
    };
    (request.version.is_some() || view.versions.len() < 2) && bytes <= SHORT_BYTES_MAX
}

/// The verdict under a key that is there: of what has a place, on a thread that may be held up.
async fn verdict_at(place: Option<Place>, view: KeyView, request: VerifyRequest) -> Result<Verdict, Fault> {
    let Some(place) = place else { return verdict(&view, &request) };
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        verdict(&view, &request)
    });
    work.await.map_err(|error| Fault::internal(format!("a verification thread: {error}")))?
}

/// The verdict under a key that is there.
fn verdict(view: &KeyView, request: &VerifyRequest) -> Result<Verdict, Fault> {
    if view.state.trust != Trust::Trusted {
        return Ok(Verdict::NotValid(Refusal::Distrusted));
    }
    let mut refusal = NotValid::Wrong;
    for version in view.versions.iter().rev() {
        if request.version.is_some_and(|wanted| wanted != version.key.version) {
            continue;
        }
        match verify::one(&version.public_key, &request.input, &request.signature) {
            Ok(()) => return Ok(Verdict::Valid(version.key.version)),
            Err(why) => refusal = why,
        }
    }
    if request.version.is_some_and(|wanted| view.versions.iter().all(|version| version.key.version != wanted)) {
        return Err(Fault::new(FaultKind::Missing, "no such version of the key"));
    }
    Ok(Verdict::NotValid(Refusal::NotValid(refusal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_everything_once_and_none_is_tiny_or_huge() {
        let cut = |costs: &[usize], cores| {
            parts(costs.iter().copied(), cores).into_iter().map(|part| (part.start, part.end)).collect::<Vec<_>>()
        };

        assert_eq!(cut(&[1], 8), [(0, 1)]);
        assert_eq!(cut(&[1; PART_COST_MIN], 8), [(0, PART_COST_MIN)]);
        assert_eq!(cut(&[1; 4001], 2), [(0, 2001), (2001, 4001)]);
        assert_eq!(cut(&[1; 2000], 4), [(0, 1024), (1024, 2000)]);
        assert_eq!(cut(&[], 4), []);
        // Of a slow algorithm 64 items are a part, and 128 at most, however few cores there are.
        assert_eq!(cut(&[16; 130], 8), [(0, 64), (64, 128), (128, 130)]);
        assert_eq!(cut(&[16; 61_000], 1)[..2], [(0, 128), (128, 256)]);
        assert_eq!(cut(&[16; 61_000], 1).last(), Some(&(60_928, 61_000)));
        let mixed: Vec<usize> = (0..10_000).map(|item| if item < 5000 { 1 } else { 16 }).collect();
        for part in parts(mixed.iter().copied(), 2) {
            assert!(mixed[part].iter().sum::<usize>() < PART_COST_MAX + 16);
        }
    }
}
