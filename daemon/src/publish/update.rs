//! A publication: checked, planned, reserved, signed, put in place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, info, warn};
use trust::format::tuf::plan::{NoPlan, TARGETS_SECONDS, TIMESTAMP_SECONDS, Unsigned};
use trust::format::tuf::publish::{Refusal, SnapshotBy, Update, check};
use trust::format::tuf::{Document, Expires, Gun, Part, Repository, RoleName, Version};
use trust::{Fault, Sha256Digest};

use super::authorize::{Publication, Warrant};
use super::room::with_room;
use super::shelf::{Generation, Turn};
use super::sign::ServerKey;
use super::{Asked, Asker, PublishError, Publisher, Sent, now_of, purpose_of};
use crate::house::{House, blocking};
use crate::records::{ChangeKind, FileRef, Head, Proposal, ProposedFile};

impl Publisher<'_> {
    /// Publishes what was sent, with the snapshot where none was, and a timestamp. Work goes on to its end, though the
    /// caller may hang up.
    ///
    /// # Errors
    /// [`PublishError`]; nothing of it is published then.
    pub(crate) async fn publish(
        self,
        asker: Asker<'_>,
        gun: &Gun,
        Sent { parts, held }: Sent,
        deadline: Duration,
    ) -> Result<(), PublishError> {
        let asked = Asked::of(asker, gun, deadline);
        let house = Arc::clone(self.0);
        let work = async move {
            let ended = Publisher(&house).take(&asked, parts).await;
            drop(held);
            ended
        };
        let ended = self.0.detached(work.in_current_span()).await.map_err(PublishError::from).and_then(|ended| ended);
        self.0.metrics().published(ended.as_ref().map_or_else(PublishError::name, |taken| taken.name()));
        ended.map(|_| ())
    }

    async fn take(self, asked: &Asked, parts: Vec<Part>) -> Result<Taken, PublishError> {
        let is_new = !self.is_alive(&asked.gun)?;
        let warrant = |is_new| Warrant::Publication(Publication::of(&asked.who, &asked.gun, &parts, is_new));
        // Every role is authorized before anybody learns what the rules say to it.
        let mut asking = warrant(is_new);
        asking.grounds(self.0)?;
        if says_nothing(&parts) && self.is_current(&asked.gun).await? {
            return Ok(Taken::Nothing);
        }
        let turn = self.turn(asked).await?;
        let held = self.generation(&asked.gun).await?;
        if is_new == held.head.is_alive() {
            // Begun, or deleted, by those who had their turn before: that is another question.
            asking = warrant(!is_new);
            asking.grounds(self.0)?;
        }
        self.take_in_turn(&turn, asked, &asking, (&held.head, &held.repository), parts).await?;
        Ok(Taken::Published)
    }

    /// The same in turn, under a warrant that was asked for, of a repository as `held` has it: its marks are those of
    /// before the parts were reserved, where they were.
    pub(super) async fn take_in_turn(
        self,
        turn: &Turn,
        asked: &Asked,
        warrant: &Warrant,
        (head, held): (&Head, &Repository),
        parts: Vec<Part>,
    ) -> Result<(), PublishError> {
        let has_snapshot = parts.iter().any(|part| *part.role() == RoleName::Snapshot);
        let own = if has_snapshot { self.own_snapshot_keys(&asked.gun)? } else { BTreeSet::new() };
        let update = checked(asked, held, (parts, own), now_of(self.0)).await?;
        let update = with_room(held, update)?;
        let own = self.own_files(asked, &update)?;
        let reserved = self.reserve(asked, head, &own).await?;
        let (repository, made) = self.sign_all(asked, warrant, &own, update.repository()).await?;
        whole(asked, &repository, now_of(self.0)).await?;
        let new = update.files().cloned().chain(made).collect();
        self.put(turn, asked, Step { before: &reserved, begins_anew: update.begins_anew() }, repository, new).await
    }

    /// The daemon's own keys for the snapshot, each by the id of the bare key.
    fn own_snapshot_keys(self, gun: &Gun) -> Result<BTreeSet<Sha256Digest>, PublishError> {
        Ok(self.server_keys(gun, &RoleName::Snapshot)?.iter().map(|own| own.key.canonical_id()).collect())
    }

    /// Which files the daemon has to make, and by which keys.
    fn own_files(self, asked: &Asked, update: &Update) -> Result<OwnFiles, PublishError> {
        let repository = update.repository();
        let now = now_of(self.0);
        let snapshot = match update.snapshot_by() {
            SnapshotBy::Client => None,
            SnapshotBy::Server => {
                let keys = self.signers(&asked.gun, repository, &RoleName::Snapshot)?;
                Some((keys, ends(now, TARGETS_SECONDS)?))
            }
        };
        let keys = self.signers(&asked.gun, repository, &RoleName::Timestamp)?;
        OwnFiles::plan(repository, snapshot, (keys, ends(now, TIMESTAMP_SECONDS)?))
    }

    /// Notes, durably, which versions are about to be signed: they are never used again, whatever becomes of them.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`] past the deadline, and while custody is away, when nothing would be signed any more.
    pub(super) async fn reserve(self, asked: &Asked, head: &Head, own: &OwnFiles) -> Result<Head, PublishError> {
        asked.in_time(self.0)?;
        for key in own.files().flat_map(|file| &file.keys) {
            key.is_served(self.0)?;
        }
        let mut reserved = head.clone();
        for OwnFile { role, version, keys, .. } in own.files() {
            reserved.raise(role, *version);
            reserved.signers.extend(keys.iter().map(|key| key.view.record.id));
        }
        Ok(self.0.records().publish(&asked.gun, reserved, &[], None, self.0.anchor()).await?)
    }

    /// Signs the daemon's own files, each over the one before: a timestamp hashes the signed snapshot.
    pub(super) async fn sign_all(
        self,
        asked: &Asked,
        warrant: &Warrant,
        own: &OwnFiles,
        repository: &Repository,
    ) -> Result<(Repository, Vec<Document>), PublishError> {
        let (mut repository, mut made) = (repository.clone(), Vec::new());
        for OwnFile { role, keys, plan, .. } in own.files() {
            let unsigned = match plan {
                Plan::Made(unsigned) => unsigned.clone(),
                Plan::Until(ends) if *role == RoleName::Snapshot => repository.next_snapshot(ends)?,
                Plan::Until(ends) => repository.next_timestamp(ends)?,
            };
            let (signed, _) = self.signed(asked, warrant, &unsigned, keys).await?;
            repository = repository.with(signed.clone());
            made.push(signed);
        }
        Ok((repository, made))
    }

    /// Puts a whole repository in the place of the one before: the instant of publication. In turn only.
    pub(super) async fn put(
        self,
        _turn: &Turn,
        asked: &Asked,
        step: Step<'_>,
        repository: Repository,
        new: Vec<Document>,
    ) -> Result<(), PublishError> {
        let house: &House = self.0;
        let head = next_head(step, &repository, house.clock().now_unix_seconds());
        let timestamp = repository.file(&RoleName::Timestamp).ok_or(NoPlan::Missing(RoleName::Timestamp))?;
        let change = ChangeKind::Update { version: timestamp.version(), sha256: timestamp.sha256() };
        let put = house.records().publish(&asked.gun, head, &new, Some(change), house.anchor()).await;
        let head = put.inspect_err(|error| warn!(stage = "publish", %error, "signed versions are not published"))?;
        info!(stage = "publish", repository = %asked.gun, version = timestamp.version().number(), "published");
        // Versions that were signed beyond what is published now are used, too.
        let repository = repository.with_marks(&head.marks);
        house.shelf().put(&asked.gun, Arc::new(Generation { head, repository }));
        Ok(())
    }
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// There was nothing to publish.
    Nothing,
    /// It is published.
    Published,
}

impl Taken {
    /// The word for it in metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Published => "published",
        }
    }
}

/// From which head a publication goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) before: &'a Head,
    /// Whether it goes on under no root that was there before.
    pub(super) begins_anew: bool,
}

impl Step<'_> {
    /// The life of what is published: another one behind each deletion, whoever goes on, so that nothing that was deleted
    /// is found again by version or by hash.
    fn life(self) -> u32 {
        self.before.life.saturating_add(u32::from(self.begins_anew || !self.before.is_alive()))
    }
}

/// The files that the daemon makes, in the order in which they are made.
#[derive(Debug)]
pub(super) struct OwnFiles(Vec<OwnFile>);

#[derive(Debug)]
pub(super) struct OwnFile {
    pub(super) role: RoleName,
    pub(super) version: Version,
    pub(super) keys: Vec<ServerKey>,
    plan: Plan,
}

/// What one of them says.
#[derive(Debug)]
enum Plan {
    /// It is planned.
    Made(Unsigned),
    /// What there is when its turn comes, until then.
    Until(Expires),
}

impl OwnFiles {
    /// A snapshot, where there is to be one, and a timestamp, each by its keys and until its end.
    pub(super) fn plan(
        repository: &Repository,
        snapshot: Option<(Vec<ServerKey>, Expires)>,
        timestamp: (Vec<ServerKey>, Expires),
    ) -> Result<Self, PublishError> {
        let snapshot = snapshot.map(|(keys, ends)| (keys, Plan::Until(ends)));
        Self::planned(repository, snapshot, timestamp)
    }

    /// The same over a snapshot that is planned, in this repository.
    pub(super) fn over(
        repository: &Repository,
        snapshot: Option<(Vec<ServerKey>, Unsigned)>,
        timestamp: (Vec<ServerKey>, Expires),
    ) -> Result<Self, PublishError> {
        let snapshot = snapshot.map(|(keys, unsigned)| (keys, Plan::Made(unsigned)));
        Self::planned(repository, snapshot, timestamp)
    }

    fn planned(
        repository: &Repository,
        snapshot: Option<(Vec<ServerKey>, Plan)>,
        (keys, ends): (Vec<ServerKey>, Expires),
    ) -> Result<Self, PublishError> {
        let snapshot = snapshot.map(|(keys, plan)| (RoleName::Snapshot, keys, plan));
        let timestamp = (RoleName::Timestamp, keys, Plan::Until(ends));
        let files = snapshot.into_iter().chain(std::iter::once(timestamp)).map(|(role, keys, plan)| {
            let version = match repository.mark(&role) {
                Some(mark) => mark.next().ok_or_else(|| NoPlan::LastVersion(role.clone()))?,
                None => Version::FIRST,
            };
            Ok(OwnFile { role, version, keys, plan })
        });
        files.collect::<Result<_, NoPlan>>().map(Self).map_err(PublishError::from)
    }

    fn files(&self) -> impl Iterator<Item = &OwnFile> {
        self.0.iter()
    }
}

/// Until when a file counts that lives for `seconds` from now.
pub(super) fn ends(now_unix_seconds: i64, seconds: i64) -> Result<Expires, PublishError> {
    let ends = Expires::at(now_unix_seconds.saturating_add(seconds));
    ends.map_err(|malformed| PublishError::Internal(Fault::internal(malformed)))
}

/// The head of what is in the repository now.
fn next_head(step: Step<'_>, repository: &Repository, now_unix_seconds: u64) -> Head {
    let before = step.before;
    let place = |role: &RoleName, file: &Document| {
        let place = FileRef::of(file, now_unix_seconds);
        let held = before.files.get(role).filter(|held| held.sha256 == place.sha256 && !step.begins_anew);
        held.copied().unwrap_or(place)
    };
    let files: BTreeMap<_, _> =
        repository.files().iter().map(|(role, file)| (role.clone(), place(role, file))).collect();
    let roles = before.marks.keys().chain(files.keys());
    let marks = roles.filter_map(|role| {
        // What a line of owners has reserved it never uses again, also where an older reservation is published now. The
        // daemon goes on behind what it has ever reserved, whoever owns the repository: its log says of each that it may
        // be signed, and its keys stay.
        let is_kept = !step.begins_anew || purpose_of(role).is_some();
        let reserved = before.marks.get(role).copied().filter(|_| is_kept);
        Some((role.clone(), repository.mark(role).max(reserved)?))
    });
    let marks = marks.collect();
    // What has all its signatures is in the repository now.
    let is_there = |proposed: &ProposedFile| {
        repository.file(&proposed.role).is_some_and(|file| Sha256Digest::of(file.signed_bytes()) == proposed.digest)
    };
    let waits = |proposal: &Proposal| !step.begins_anew && !proposal.files.iter().all(is_there);
    let proposal = before.proposal.clone().filter(|proposal| waits(proposal));
    let ends_at = repository.file(&RoleName::Timestamp).map_or(0, |file| file.expires().unix_seconds());
    Head {
        life: step.life(),
        files,
        marks,
        buried: None,
        timestamp_ends_at_unix_seconds: ends_at,
        proposal,
        ..before.clone()
    }
}

/// From so many bytes on files are verified off the threads that others wait for: each signature hashes all of its file.
const LONG_BYTES: usize = 256 * 1024;

/// What was sent, held to the rules. With a snapshot come the daemon's own keys for it.
async fn checked(
    asked: &Asked,
    held: &Repository,
    (parts, own): (Vec<Part>, BTreeSet<Sha256Digest>),
    now: i64,
) -> Result<Update, PublishError> {
    let sent: usize = parts.iter().map(|part| part.raw().len()).sum();
    let (gun, held) = (asked.gun.clone(), held.clone());
    let bytes = sent.saturating_add(bytes_of(&held));
    let work = move || check(&gun, &held, parts, &own, now);
    Ok(by_length(bytes, work).await??)
}

/// Whether an upload has no file that counts, for timestamps are passed over: docker sends one without any where a
/// delegate has nothing to revoke.
fn says_nothing(parts: &[Part]) -> bool {
    parts.iter().all(|part| *part.role() == RoleName::Timestamp)
}

/// Whether a client would take the repository as it is about to be published.
pub(super) async fn whole(asked: &Asked, repository: &Repository, now: i64) -> Result<(), PublishError> {
    let (gun, repository) = (asked.gun.clone(), repository.clone());
    let bytes = bytes_of(&repository);
    let work = move || repository.check_whole(&gun, now).map_err(|not| Refusal::Validation(not.to_string()));
    Ok(by_length(bytes, work).await??)
}

/// Does the work here where it is about little, else off the threads that others wait for.
pub(super) async fn by_length<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    if bytes < LONG_BYTES { Ok(work()) } else { blocking(work).await }
}

pub(super) fn bytes_of(repository: &Repository) -> usize {
    repository.files().values().map(|file| file.raw().len()).sum()
}
