//! Timestamps, and snapshots, signed anew before or when their time is over: the daemon's own doing, and of nothing but
//! what says what it said before (D27).

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{error, warn};
use trust::format::tuf::plan::{TARGETS_SECONDS, TIMESTAMP_SECONDS, Unsigned};
use trust::format::tuf::{BYTES_MAX, Document, Gun, Repository, RoleName};
use trust::principal::Service;
use trust::{Fault, FaultKind};

use super::authorize::Warrant;
use super::shelf::{Generation, Turn, Waiter};
use super::sign::ServerKey;
use super::update::{OwnFiles, Step, ends};
use super::{Asked, PublishError, Publisher, now_of};
use crate::house::House;
use crate::records::{FileRef, Head, record_fault};

/// After how long a timestamp is signed anew (D29).
const RENEWED_AFTER: Duration = Duration::from_hours(24);
/// For how long nothing of a repository is signed anew behind a try that failed with its versions reserved: whoever reads
/// what has expired, as often as they like, would use them up.
const RESTS_FOR: Duration = Duration::from_secs(60);
/// The longest snapshot that is signed anew, in bytes: of one letter a file that is written anew makes up to six.
const RENEWED_BYTES_MAX: usize = BYTES_MAX / 6;
/// How many are looked for at once.
const AT_ONCE_MAX: usize = 256;
/// How many are signed anew at the same time: they share the waits for the disk, and one that waits for its turn holds up
/// the others no longer. Each may have all files of a repository in memory.
const AT_WORK_MAX: usize = 4;

impl House {
    /// Signs those timestamps anew that were signed a day ago or earlier, and snapshots that have expired under them.
    /// Called from time to time. Answers how many were; one that fails is logged, and holds up no other.
    pub(crate) async fn renew_timestamps(self: &Arc<Self>) -> Result<usize, Fault> {
        self.renew_by(AT_ONCE_MAX).await
    }

    /// The same by `at_once`. Each that is due has its turn once, however many of those before it fail.
    pub(super) async fn renew_by(self: &Arc<Self>, at_once: usize) -> Result<usize, Fault> {
        let before = self.clock().now_unix_seconds().saturating_sub(RENEWED_AFTER.as_secs()).saturating_add(1);
        let (mut done, mut after) = (0, None);
        loop {
            let due = self.records().stamped_before(before, after, at_once).await;
            let due = due.map_err(record_fault)?;
            for _ in 0..due.damaged {
                self.metrics().renewal_failed();
            }
            done += self.renew_all(due.guns).await;
            // What was signed anew in the meantime is due no more: the pages only get fewer.
            after = due.last;
            if after.is_none() {
                return Ok(done);
            }
        }
    }

    /// Answers how many of these were signed anew.
    async fn renew_all(self: &Arc<Self>, guns: Vec<Gun>) -> usize {
        let (mut done, mut waiting, mut at_work) = (0, guns.into_iter(), JoinSet::new());
        loop {
            while at_work.len() < AT_WORK_MAX
                && let Some(gun) = waiting.next()
            {
                let house = Arc::clone(self);
                at_work.spawn(async move {
                    let asked = Asked::by_daemon(&house, Service::Timestamp, Waiter::Upkeep, &gun);
                    let ended = house.publisher().renewed(asked, None).await;
                    let is_done = ended.is_ok();
                    if let Err(fault) = ended {
                        error!(stage = "publish", repository = %gun, %fault, "a timestamp was not signed anew");
                    }
                    is_done
                });
            }
            match at_work.join_next().await {
                None => return done,
                Some(Ok(true)) => done += 1,
                // It was logged: work that panics comes back as a fault.
                Some(Ok(false) | Err(_)) => self.metrics().renewal_failed(),
            }
        }
    }
}

impl Publisher<'_> {
    /// The repository with a timestamp and a snapshot that count now, if they can be had; else as it is. Whoever reads
    /// what has expired sees that it has. What only its owner can sign anew takes nobody's turn.
    pub(super) async fn fresh(self, gun: &Gun, generation: Arc<Generation>) -> Result<Arc<Generation>, PublishError> {
        let now = now_of(self.0);
        let counts = |role: &RoleName| generation.repository.file(role).is_none_or(|file| file.counts_at(now).is_ok());
        if counts(&RoleName::Timestamp) && counts(&RoleName::Snapshot) || self.is_resting(gun) {
            return Ok(generation);
        }
        let found = match self.renewal(gun, &generation, now) {
            Ok(None) | Err(PublishError::Refused(_)) => return Ok(generation),
            // What else there is met in turn again, and told.
            found => found.ok().flatten(),
        };
        let asked = Asked::by_daemon(self.0, Service::Timestamp, Waiter::Reader, gun);
        match self.renewed(asked, found).await {
            Ok(renewed) => Ok(renewed),
            Err(PublishError::Busy) => Ok(generation),
            Err(fault @ (PublishError::Refused(_) | PublishError::Unavailable(_) | PublishError::Internal(_))) => {
                warn!(stage = "publish", repository = %gun, %fault, "expired trust data was not signed anew");
                self.0.metrics().renewal_failed();
                Ok(generation)
            }
            Err(fault @ (PublishError::Denied { .. } | PublishError::NotFound)) => Err(fault),
        }
    }

    /// Signs anew what is due, in turn, as it was found before; whoever waited for the turn finds it done.
    pub(super) async fn renewed(self, asked: Asked, found: Option<Renewal>) -> Result<Arc<Generation>, PublishError> {
        let house = Arc::clone(self.0);
        let work = async move { Publisher(&house).renew(&asked, found).await };
        self.0.detached(work).await?
    }

    fn is_resting(self, gun: &Gun) -> bool {
        self.0.shelf().is_resting(gun, self.0.clock().monotonic())
    }

    async fn renew(self, asked: &Asked, found: Option<Renewal>) -> Result<Arc<Generation>, PublishError> {
        let turn = self.turn(asked).await?;
        if self.is_resting(&asked.gun) {
            return Err(Fault::new(FaultKind::Unavailable, "it could not be signed a moment ago").into());
        }
        let held = self.generation(&asked.gun).await?;
        let now = now_of(self.0);
        let found = match found.filter(|found| found.serial == held.head.serial) {
            None => self.renewal(&asked.gun, &held, now)?,
            found => found,
        };
        let Some(Renewal { snapshot, timestamp, .. }) = found else { return Ok(held) };
        let own = OwnFiles::over(&held.repository, snapshot, (timestamp, ends(now, TIMESTAMP_SECONDS)?))?;
        let reserved = self.reserve(asked, &held.head, &own).await?;
        self.renew_reserved(&turn, asked, (&held, &reserved), &own).await.inspect_err(|_| {
            let now = self.0.clock().monotonic();
            self.0.shelf().rest(&asked.gun, now, now.saturating_add(RESTS_FOR));
        })?;
        self.0.metrics().renewed();
        self.generation(&asked.gun).await
    }

    async fn renew_reserved(
        self,
        turn: &Turn,
        asked: &Asked,
        (held, reserved): (&Generation, &Head),
        own: &OwnFiles,
    ) -> Result<(), PublishError> {
        let (renewed, made) = self.sign_all(asked, &Warrant::Renewal, own, &held.repository).await?;
        if !made.iter().all(|file| says_the_same(file, held, &made)) {
            return Err(Fault::internal("what was to be signed anew says something else").into());
        }
        self.put(turn, asked, Step { before: reserved, begins_anew: false }, renewed, made).await
    }

    /// What is due and can be signed anew, and by which keys.
    ///
    /// # Errors
    /// [`PublishError::Refused`] where the daemon has no key for a timestamp that is due.
    pub(super) fn renewal(
        self,
        gun: &Gun,
        held: &Generation,
        now_unix_seconds: i64,
    ) -> Result<Option<Renewal>, PublishError> {
        let Some(due) = Due::of(held, now_unix_seconds) else { return Ok(None) };
        let repository = &held.repository;
        let snapshot = match due.snapshot_expired {
            false => None,
            true => self.renewed_snapshot(gun, repository, now_unix_seconds)?,
        };
        if snapshot.is_none() && !due.timestamp {
            return Ok(None);
        }
        let timestamp = self.signers(gun, repository, &RoleName::Timestamp)?;
        Ok(Some(Renewal { serial: held.head.serial, snapshot, timestamp }))
    }

    /// Whether the daemon, which holds the keys, would sign nothing of a repository anew by itself: an upload that says
    /// nothing uses up no version of it then, however often it comes. What a clock ahead of ours has signed is not left so,
    /// for no sweep finds it due.
    pub(super) async fn is_current(self, gun: &Gun) -> Result<bool, PublishError> {
        let held = self.outlined(gun).await?;
        let now = now_of(self.0);
        let own = [RoleName::Snapshot, RoleName::Timestamp];
        let is_ahead = |place: &FileRef| i64::try_from(place.stored_at_unix_seconds).is_ok_and(|stored| stored > now);
        let mut files = own.iter().filter_map(|role| held.head.files.get(role));
        if !held.head.is_alive() || Due::of(&held, now).is_some() || files.any(is_ahead) {
            return Ok(false);
        }
        for role in own {
            match self.signers(gun, &held.repository, &role) {
                Ok(_) => {}
                Err(PublishError::Refused(_)) => return Ok(false),
                Err(fault) => return Err(fault),
            }
        }
        Ok(true)
    }

    /// Who signs the snapshot anew, and what. None where only its owner can: who keeps the key, or wrote what could not
    /// be written again. That is known before a version is used up for it: who reads would use up two each time.
    fn renewed_snapshot(
        self,
        gun: &Gun,
        repository: &Repository,
        now_unix_seconds: i64,
    ) -> Result<Option<(Vec<ServerKey>, Unsigned)>, PublishError> {
        let role = RoleName::Snapshot;
        let keys = match self.signers(gun, repository, &role) {
            Ok(keys) => keys,
            Err(PublishError::Refused(_)) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let ends = ends(now_unix_seconds, TARGETS_SECONDS)?;
        let Some(file) = repository.file(&role).filter(|file| file.raw().len() <= RENEWED_BYTES_MAX) else {
            return Ok(None);
        };
        let planned = repository.renewed(&role, &ends).ok().filter(|next| next.document().renews(file));
        Ok(planned.map(|next| (keys, next)))
    }
}

/// Who signs what is due: a timestamp, and before it a snapshot that has expired, as it is planned.
pub(super) struct Renewal {
    /// Of the head that it was found for: a later one has versions of its own.
    serial: u64,
    pub(super) snapshot: Option<(Vec<ServerKey>, Unsigned)>,
    timestamp: Vec<ServerKey>,
}

/// What has to be signed anew.
struct Due {
    timestamp: bool,
    snapshot_expired: bool,
}

impl Due {
    fn of(held: &Generation, now_unix_seconds: i64) -> Option<Self> {
        let expired = |role| held.repository.file(role).is_some_and(|file| file.counts_at(now_unix_seconds).is_err());
        let place = held.head.files.get(&RoleName::Timestamp)?;
        let age = u64::try_from(now_unix_seconds).ok()?.saturating_sub(place.stored_at_unix_seconds);
        let timestamp = age >= RENEWED_AFTER.as_secs() || expired(&RoleName::Timestamp);
        let snapshot_expired = expired(&RoleName::Snapshot);
        (timestamp || snapshot_expired).then_some(Self { timestamp, snapshot_expired })
    }
}

/// Whether a new file says what the one before says; a timestamp may name the snapshot that was signed anew with it.
fn says_the_same(file: &Document, held: &Generation, made: &[Document]) -> bool {
    let before = held.repository.file(file.role());
    let with_snapshot = made.iter().find(|other| *other.role() == RoleName::Snapshot);
    match (file.as_timestamp(), with_snapshot) {
        (Some(timestamp), Some(snapshot)) => timestamp.snapshot().is_of(snapshot.raw()),
        _ => before.is_some_and(|before| file.renews(before)),
    }
}
