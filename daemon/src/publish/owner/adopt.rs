//! Trust data that another server has published, taken over with its versions.
//!
//! What is shown is one whole generation, and every root that led to it. It is believed as a client believes it, and
//! stored as it is; what the daemon signs goes on behind it. Where its root lists keys for snapshot and timestamp that
//! the daemon does not hold, a root that lists ours follows, signed by root's own keys (decision 19).
//!
//! Deliberately not here: whether it is the right root. Whoever adopts it has looked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;
use trust::format::tuf::client::{Client, Distrust, Pin};
use trust::format::tuf::plan::{ROOT_SECONDS, Speakers, TARGETS_SECONDS, TIMESTAMP_SECONDS};
use trust::format::tuf::publish::Refusal;
use trust::format::tuf::{Document, Gun, Key, Part, Repository, RoleName};
use trust::{Fault, FaultKind, Principal};

use super::{Changed, ShownKey, end_of};
use crate::authorize::Action;
use crate::publish::authorize::{OwnerWork, Publication, Warrant};
use crate::publish::keys::Wanted;
use crate::publish::room::bounded;
use crate::publish::shelf::Turn;
use crate::publish::sign::ServerKey;
use crate::publish::update::{OwnFiles, Step, by_length, ends, whole};
use crate::publish::{Asked, PublishError, Publisher, now_of, purpose_of};

/// One generation as another server has it.
#[derive(Debug, Clone)]
pub(crate) struct Adoption {
    /// Each root that is still to be had, every one the next version of the one before; the last is the current one.
    pub(crate) roots: Vec<Vec<u8>>,
    /// The current timestamp.
    pub(crate) timestamp: Vec<u8>,
    /// The current snapshot.
    pub(crate) snapshot: Vec<u8>,
    /// Targets and delegations.
    pub(crate) targets: BTreeMap<RoleName, Vec<u8>>,
}

impl Adoption {
    fn length_bytes(&self) -> usize {
        let single = [&self.timestamp, &self.snapshot];
        self.roots.iter().chain(single).chain(self.targets.values()).map(Vec::len).sum()
    }
}

/// The same, believed.
struct Believed {
    /// Those before the current one.
    old_roots: Vec<Document>,
    repository: Repository,
}

impl Publisher<'_> {
    /// Takes over the trust data of a repository. Work goes on to its end, though the caller may hang up.
    ///
    /// # Errors
    /// [`Fault`] of kind refused where there is trust data already, where no client could read it, where what is shown is
    /// not believed, and where neither the keys of its snapshot and timestamp nor those of its root are held; else what the
    /// stages say. Nothing is published then.
    pub(crate) async fn adopt(
        self,
        who: &Principal,
        gun: &Gun,
        adoption: Adoption,
        deadline: Duration,
    ) -> Result<Changed, Fault> {
        let asked = Asked::by(who, gun, deadline);
        let house = Arc::clone(self.0);
        let work = async move { Publisher(&house).adopt_now(&asked, adoption).await };
        let ended = self.0.detached(work.in_current_span()).await?;
        self.0.metrics().published(end_of(&ended));
        ended
    }

    async fn adopt_now(self, asked: &Asked, adoption: Adoption) -> Result<Changed, Fault> {
        let is_alive = self.is_alive(&asked.gun)?;
        // Before anybody learns what is there, or what is thought of what was shown.
        self.allow(&asked.who, Action::AdoptTrust, &asked.gun)?;
        is_free(asked, is_alive)?;
        self.is_served(asked)?;
        let (gun, now) = (asked.gun.clone(), now_of(self.0));
        let length_bytes = adoption.length_bytes();
        let believing = by_length(length_bytes, move || believed(&gun, &adoption, now));
        let Believed { old_roots, repository } = believing.await?.map_err(not_believed)?;
        bounded(&repository).map_err(PublishError::from)?;
        let publication = Publication::of(&asked.who, &asked.gun, &sent(&repository)?, true);
        let mut work = OwnerWork::adopting(publication);
        Warrant::Adoption(work.clone()).grounds(self.0)?;
        let ours = self.keys_in_place_of(asked, &repository).await?;
        let signers = if ours.is_empty() { Vec::new() } else { self.root_keys(asked, &work, &repository)? };
        for key in &signers {
            work = work.using(&key.view, &RoleName::Root);
        }
        let warrant = Warrant::Adoption(work);
        let turn = self.turn(asked).await?;
        self.adopt_in_turn(&turn, asked, &warrant, (old_roots, repository), (&ours, &signers)).await
    }

    async fn adopt_in_turn(
        self,
        turn: &Turn,
        asked: &Asked,
        warrant: &Warrant,
        (old_roots, mut repository): (Vec<Document>, Repository),
        (ours, signers): (&[(RoleName, Speakers)], &[ServerKey]),
    ) -> Result<Changed, Fault> {
        let generation = self.generation(&asked.gun).await?;
        is_free(asked, generation.head.is_alive())?;
        let now = now_of(self.0);
        let mut new: Vec<Document> = old_roots.into_iter().chain(repository.files().values().cloned()).collect();
        let mut changed = Changed::default();
        for file in repository.files().values() {
            let is_owners = purpose_of(file.role()).is_none();
            changed.files.extend(is_owners.then(|| (file.role().clone(), file.version())));
        }
        // What the daemon itself had signed for a repository of this name is not signed again with other bytes.
        for role in [RoleName::Snapshot, RoleName::Timestamp] {
            if let Some(mark) = generation.head.marks.get(&role) {
                repository = repository.with_mark(role, *mark);
            }
        }
        if !ours.is_empty() {
            let root = repository.next_root(ours, &ends(now, ROOT_SECONDS)?).map_err(PublishError::from)?;
            changed.files.retain(|(role, _)| *role != RoleName::Root);
            let root = self.signed_for_owner(asked, warrant, &root, signers, &mut changed).await?;
            repository = repository.with(root.clone());
            new.push(root);
        }
        // A snapshot of the daemon's names what is there now; one of its owner's stays as it is.
        let snapshot = self.held_signers(asked, &repository, &RoleName::Snapshot)?;
        let snapshot = snapshot.map(|keys| Ok::<_, Fault>((keys, ends(now, TARGETS_SECONDS)?))).transpose()?;
        if snapshot.is_none() {
            changed.snapshot_keys = self.keys_of_snapshot(asked, &repository)?;
        }
        let timestamp = self.signers(&asked.gun, &repository, &RoleName::Timestamp)?;
        let own = OwnFiles::plan(&repository, snapshot, (timestamp, ends(now, TIMESTAMP_SECONDS)?))?;
        let mut head = generation.head.clone();
        head.signers.extend(signers.iter().map(|key| key.view.record.id));
        let reserved = self.reserve(asked, &head, &own).await?;
        let (repository, made) = self.sign_all(asked, warrant, &own, &repository).await?;
        whole(asked, &repository, now).await?;
        new.extend(made);
        let step = Step { before: &reserved, begins_anew: true };
        self.put(turn, asked, step, repository, new).await?;
        Ok(changed)
    }

    /// Speakers of ours for those of the daemon's two roles whose keys it does not hold; none where it can go on as it
    /// is. A snapshot that its owner signs stays its owner's, as long as nothing else has to change in root.
    async fn keys_in_place_of(
        self,
        asked: &Asked,
        repository: &Repository,
    ) -> Result<Vec<(RoleName, Speakers)>, PublishError> {
        let snapshot = self.held_signers(asked, repository, &RoleName::Snapshot)?.is_some();
        let timestamp = self.held_signers(asked, repository, &RoleName::Timestamp)?.is_some();
        if timestamp && (snapshot || !names_what_is_gone(repository)) {
            return Ok(Vec::new());
        }
        let mut ours = Vec::new();
        for (role, is_held) in [(RoleName::Snapshot, snapshot), (RoleName::Timestamp, timestamp)] {
            if !is_held && let Some(purpose) = purpose_of(&role) {
                let key: Key = self.key_for(asked, (&role, purpose), Wanted::Current).await?;
                ours.push((role, Speakers::one(key)));
            }
        }
        Ok(ours)
    }

    /// The daemon's keys for one of its two roles, if it holds as many as root wants.
    fn held_signers(
        self,
        asked: &Asked,
        repository: &Repository,
        role: &RoleName,
    ) -> Result<Option<Vec<ServerKey>>, PublishError> {
        match self.signers(&asked.gun, repository, role) {
            Ok(keys) => Ok(Some(keys)),
            Err(PublishError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The keys of a snapshot that the daemon does not sign: whoever publishes has to send it, signed with them. Whether
    /// they are its owner's or the other server's, nothing here says.
    fn keys_of_snapshot(self, asked: &Asked, repository: &Repository) -> Result<Vec<ShownKey>, PublishError> {
        let role = RoleName::Snapshot;
        let held = self.server_keys(&asked.gun, &role)?;
        let authority = repository.authority(&role).ok_or(PublishError::NotFound)?;
        Ok(authority.keys().iter().map(|key| self.shown_key(&asked.who, key, &held)).collect())
    }

    /// Root's own keys, for a root in which ours speak.
    fn root_keys(
        self,
        asked: &Asked,
        work: &OwnerWork,
        repository: &Repository,
    ) -> Result<Vec<ServerKey>, PublishError> {
        let role = RoleName::Root;
        let authority = repository.authority(&role).ok_or(PublishError::NotFound)?;
        self.signers_for(asked, work, &role, &authority).map_err(|error| match error {
            PublishError::Refused(_) => refused(
                "its root lists keys of the other server for snapshot and timestamp, and the daemon holds neither \
                 these nor enough of root's own: import one or the other first"
                    .to_owned(),
            ),
            error => error,
        })
    }
}

/// Believes a generation as a client does that begins with its first root.
fn believed(gun: &Gun, adoption: &Adoption, now_unix_seconds: i64) -> Result<Believed, Distrust> {
    let role = RoleName::Root;
    let mut roots = adoption.roots.iter();
    let first = Document::read(&role, roots.next().ok_or(Distrust::OutOfOrder(RoleName::Root))?)?;
    let mut client = Client::begin(gun.clone(), first, &Pin::FirstUse, now_unix_seconds)?;
    let mut old_roots = Vec::new();
    for root in roots {
        old_roots.extend(client.file(&role).cloned());
        client.take_root(root)?;
    }
    client.take_timestamp(&adoption.timestamp)?;
    client.take_file(&RoleName::Snapshot, &adoption.snapshot)?;
    // A parent comes before its children, for its name begins theirs.
    for (role, bytes) in &adoption.targets {
        client.take_file(role, bytes)?;
    }
    nothing_is_missing(&client)?;
    Ok(Believed { old_roots, repository: client.into_cache() })
}

/// Every file that the snapshot names and somebody may sign was shown: left out, it would be hidden from all readers.
fn nothing_is_missing(client: &Client) -> Result<(), Distrust> {
    let snapshot = client.file(&RoleName::Snapshot).and_then(Document::as_snapshot);
    let named = snapshot.into_iter().flat_map(|snapshot| snapshot.files().keys());
    let is_missing = |role: &&RoleName| **role != RoleName::Root && client.file(role).is_none();
    let mut missing = named.filter(is_missing);
    let delegates = |role: &RoleName| {
        let parent = client.file(&role.parent()).and_then(Document::as_targets);
        parent.is_some_and(|parent| parent.authority(role).is_some())
    };
    let hidden = missing.find(|role| **role == RoleName::Targets || delegates(role));
    hidden.map_or(Ok(()), |role| Err(Distrust::Hidden(role.clone())))
}

/// Whether the snapshot names files of delegations that there are no more, as the original's snapshots do.
fn names_what_is_gone(repository: &Repository) -> bool {
    let snapshot = repository.file(&RoleName::Snapshot).and_then(Document::as_snapshot);
    let mut named = snapshot.into_iter().flat_map(|snapshot| snapshot.files().keys());
    named.any(|role| repository.file(role).is_none())
}

/// The owner's files, as policy sees what is published.
fn sent(repository: &Repository) -> Result<Vec<Part>, Fault> {
    let owners = repository.files().values().filter(|file| purpose_of(file.role()).is_none());
    owners.map(|file| Part::read(file.role(), file.raw()).map_err(Fault::internal)).collect()
}

fn is_free(asked: &Asked, is_alive: bool) -> Result<(), Fault> {
    if is_alive {
        return Err(Fault::new(FaultKind::Refused, format!("{} has trust data already", asked.gun)));
    }
    Ok(())
}

fn not_believed(why: Distrust) -> PublishError {
    refused(format!("the trust data that was shown is not believed: {why}"))
}

const fn refused(why: String) -> PublishError {
    PublishError::Refused(Refusal::Validation(why))
}
