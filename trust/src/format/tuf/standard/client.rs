//! The client's workflow of TUF 1.0 (§5), fed with files and asked for targets.

use std::collections::{BTreeMap, BTreeSet};

use super::{Body, FileMeta, Kind, Metadata, Root, Snapshot, Target, Targets};
use crate::Malformed;
use crate::format::tuf::{Expires, Version};

/// The most roles that are asked for one path: a repository may not send its clients around for ever (TUF 5.6.7).
const ROLES_MAX: usize = 32;
const ROOT: &str = "root";
const TIMESTAMP: &str = "timestamp";
const SNAPSHOT: &str = "snapshot";
const TARGETS: &str = "targets";

/// Why metadata is not believed; roles by their names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "closed set: the attacks of TUF, and what is not metadata")]
pub enum Distrust {
    /// A file is another one than was named.
    #[error("the file of {0} is not the one that is named")]
    Differs(String),
    /// A file has expired.
    #[error("{role} expired at {at}")]
    Expired {
        /// The role.
        role: String,
        /// Until when it counted.
        at: Expires,
    },
    /// A file that was there is named no more.
    #[error("the file of {0} is not named any more")]
    Hidden(String),
    /// It is no file of its type.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Nobody delegates to the role.
    #[error("nobody speaks for {0}")]
    NotDelegated(String),
    /// A root is not the one that follows.
    #[error("root of version {found} does not follow that of version {held}")]
    NotNext {
        /// The version that is believed.
        held: u32,
        /// The version that was sent.
        found: u32,
    },
    /// A file is not signed by enough of those who may.
    #[error("{0} is not signed by enough keys")]
    NotSigned(String),
    /// The caller asks for a file before those that say which one it is.
    #[error("{0} comes at another time")]
    OutOfOrder(String),
    /// A file is older than one that was seen.
    #[error("version {found} of {role} is older than version {held}, which was seen")]
    Rollback {
        /// The role.
        role: String,
        /// The version that was sent.
        found: u32,
        /// The version that was seen.
        held: u32,
    },
}

/// One visit to a repository.
#[derive(Debug, Clone)]
pub struct Client {
    now_unix_seconds: i64,
    root: Metadata,
    timestamp: Option<Metadata>,
    snapshot: Option<Metadata>,
    targets: BTreeMap<String, Metadata>,
    stage: Stage,
}

/// How far a visit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Roots,
    Snapshot,
    Targets,
}

/// What is known of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum Finding {
    /// Nobody who may has signed it.
    NotSigned,
    /// It takes the file of a role to say, in the version that the snapshot names; then it is asked again.
    Needs {
        /// The role.
        role: String,
        /// Who delegates to it.
        parent: String,
        /// The file.
        file: FileMeta,
    },
    /// It is signed.
    Target(Target),
}

impl Client {
    /// Begins with a root that is trusted from elsewhere.
    ///
    /// # Errors
    /// [`Distrust`] when it is none, or not signed by its own keys. It may have expired.
    pub fn begin(root: &[u8], now_unix_seconds: i64) -> Result<Self, Distrust> {
        let root = Metadata::read(Kind::Root, root)?;
        signed(ROOT, &root, said_by(&root), Kind::Root)?;
        let (timestamp, snapshot, targets) = (None, None, BTreeMap::new());
        Ok(Self { now_unix_seconds, root, timestamp, snapshot, targets, stage: Stage::Roots })
    }

    /// The root that is believed.
    #[must_use]
    pub const fn root(&self) -> &Metadata {
        &self.root
    }

    /// The timestamp, the snapshot, or the file of a targets role, if it is believed.
    #[must_use]
    pub fn file(&self, role: &str) -> Option<&Metadata> {
        match role {
            ROOT => Some(&self.root),
            TIMESTAMP => self.timestamp.as_ref(),
            SNAPSHOT => self.snapshot.as_ref(),
            role => self.targets.get(role),
        }
    }

    /// Takes the root that follows the one that is believed.
    ///
    /// # Errors
    /// [`Distrust`] when it is not the next version, or not signed by those who spoke before it and by its own keys.
    pub fn take_root(&mut self, bytes: &[u8]) -> Result<(), Distrust> {
        if self.stage != Stage::Roots || self.timestamp.is_some() {
            return Err(Distrust::OutOfOrder(ROOT.to_owned()));
        }
        let root = Metadata::read(Kind::Root, bytes)?;
        if self.root.version().next() != Some(root.version()) {
            return Err(Distrust::NotNext { held: self.root.version().number(), found: root.version().number() });
        }
        signed(ROOT, &root, said_by(&self.root), Kind::Root)?;
        signed(ROOT, &root, said_by(&root), Kind::Root)?;
        self.root = root;
        Ok(())
    }

    /// Remembers the timestamp or the snapshot of an earlier visit, which only a newer one may follow. To be called
    /// when there are no more roots; it says whether what was kept is signed by those who speak now. If not, their keys
    /// were changed, and the earlier one with them (TUF 5.3.11).
    pub fn recall(&mut self, role: &str, bytes: &[u8]) -> bool {
        let (kind, place) = match role {
            TIMESTAMP => (Kind::Timestamp, &mut self.timestamp),
            SNAPSHOT => (Kind::Snapshot, &mut self.snapshot),
            _ => return false,
        };
        let Ok(file) = Metadata::read(kind, bytes) else { return false };
        let good = place.is_none() && signed(role, &file, said_by(&self.root), kind).is_ok();
        if good {
            *place = Some(file);
        }
        good
    }

    /// Takes the timestamp. From here on the root is the current one.
    ///
    /// # Errors
    /// [`Distrust`] when the root or it has expired, it is not signed for, or it or the snapshot that it names is older
    /// than the last. One of the same version as the last changes nothing.
    pub fn take_timestamp(&mut self, bytes: &[u8]) -> Result<(), Distrust> {
        self.counts(ROOT, &self.root)?;
        let file = Metadata::read(Kind::Timestamp, bytes)?;
        signed(TIMESTAMP, &file, said_by(&self.root), Kind::Timestamp)?;
        let newer = match &self.timestamp {
            None => true,
            Some(held) => {
                not_older(TIMESTAMP, held.version(), file.version())?;
                let named = |file: &Metadata| timestamp_of(file).map(|meta| meta.version());
                if let (Some(held), Some(found)) = (named(held), named(&file)) {
                    not_older(SNAPSHOT, held, found)?;
                }
                file.version() > held.version()
            }
        };
        if newer {
            self.timestamp = Some(file);
        }
        if let Some(timestamp) = &self.timestamp {
            self.counts(TIMESTAMP, timestamp)?;
        }
        self.stage = Stage::Snapshot;
        self.targets.clear();
        self.believe_snapshot();
        Ok(())
    }

    /// The snapshot that is to be fetched; `None` when the one that was recalled is the current one.
    ///
    /// # Errors
    /// [`Distrust::OutOfOrder`] before the timestamp.
    pub fn wanted_snapshot(&self) -> Result<Option<&FileMeta>, Distrust> {
        match self.stage {
            Stage::Roots => Err(Distrust::OutOfOrder(SNAPSHOT.to_owned())),
            Stage::Snapshot => Ok(self.timestamp.as_ref().and_then(timestamp_of)),
            Stage::Targets => Ok(None),
        }
    }

    /// Takes the snapshot.
    ///
    /// # Errors
    /// [`Distrust`] when it is not the one that the timestamp names, not signed for, has expired, leaves out a file
    /// that the last one named, or names an older one.
    pub fn take_snapshot(&mut self, bytes: &[u8]) -> Result<(), Distrust> {
        let meta = self.wanted_snapshot()?.ok_or_else(|| Distrust::OutOfOrder(SNAPSHOT.to_owned()))?;
        if !meta.is_of(bytes) {
            return Err(Distrust::Differs(SNAPSHOT.to_owned()));
        }
        let file = Metadata::read(Kind::Snapshot, bytes)?;
        signed(SNAPSHOT, &file, said_by(&self.root), Kind::Snapshot)?;
        if file.version() != meta.version() {
            return Err(Distrust::Differs(SNAPSHOT.to_owned()));
        }
        if let (Some(held), Some(found)) = (self.snapshot.as_ref().and_then(snapshot_of), snapshot_of(&file)) {
            for (role, meta) in held.files() {
                let found = found.files().get(role).ok_or_else(|| Distrust::Hidden(role.clone()))?;
                not_older(role, meta.version(), found.version())?;
            }
        }
        self.counts(SNAPSHOT, &file)?;
        self.snapshot = Some(file);
        self.stage = Stage::Targets;
        Ok(())
    }

    /// Takes the file of `targets` or of a delegation, as `parent` delegates to it; of `targets` the parent is `root`.
    ///
    /// # Errors
    /// [`Distrust`] when it is not the one that the snapshot names, not signed for, or has expired.
    pub fn take_targets(&mut self, role: &str, parent: &str, bytes: &[u8]) -> Result<(), Distrust> {
        let meta = self.named(role)?;
        if !meta.is_of(bytes) {
            return Err(Distrust::Differs(role.to_owned()));
        }
        let file = Metadata::read(Kind::Targets, bytes)?;
        self.signed_for(role, parent, &file)?;
        if file.version() != meta.version() {
            return Err(Distrust::Differs(role.to_owned()));
        }
        self.counts(role, &file)?;
        self.targets.insert(role.to_owned(), file);
        Ok(())
    }

    /// Looks for a path: `targets` first, then, in their order, those who may sign for it.
    ///
    /// # Errors
    /// [`Distrust`] when a file on the way is not signed by those of whom the one before it says so, though another may
    /// have let it in, or is not named.
    pub fn find(&self, path: &str) -> Result<Finding, Distrust> {
        let mut asked: BTreeSet<String> = BTreeSet::new();
        let mut ahead = vec![(TARGETS.to_owned(), ROOT.to_owned())];
        while let Some((role, parent)) = ahead.pop() {
            if asked.len() == ROLES_MAX {
                break;
            }
            if !asked.insert(role.clone()) {
                continue;
            }
            let file = self.named(&role)?;
            let Some(held) = self.targets.get(&role) else {
                return Ok(Finding::Needs { role, parent, file: file.clone() });
            };
            self.signed_for(&role, &parent, held)?;
            let Some(said) = targets_of(held) else { continue };
            if let Some(target) = said.targets().get(path) {
                return Ok(Finding::Target(target.clone()));
            }
            let mut children = Vec::new();
            for (child, terminating) in said.delegations().of_path(path) {
                children.push((child, role.clone()));
                if terminating {
                    ahead.clear();
                    break;
                }
            }
            ahead.extend(children.into_iter().rev());
        }
        Ok(Finding::NotSigned)
    }

    /// The recalled snapshot is the current one if the timestamp names it, and it has not expired.
    fn believe_snapshot(&mut self) {
        let (Some(timestamp), Some(snapshot)) = (&self.timestamp, &self.snapshot) else { return };
        let is_named = timestamp_of(timestamp)
            .is_some_and(|meta| meta.version() == snapshot.version() && meta.is_of(snapshot.raw()));
        if is_named && self.counts(SNAPSHOT, snapshot).is_ok() {
            self.stage = Stage::Targets;
        }
    }

    fn named(&self, role: &str) -> Result<&FileMeta, Distrust> {
        let snapshot = self.snapshot.as_ref().filter(|_| self.stage == Stage::Targets).and_then(snapshot_of);
        let snapshot = snapshot.ok_or_else(|| Distrust::OutOfOrder(role.to_owned()))?;
        snapshot.files().get(role).ok_or_else(|| Distrust::Hidden(role.to_owned()))
    }

    fn signed_for(&self, role: &str, parent: &str, file: &Metadata) -> Result<(), Distrust> {
        let nobody = || Distrust::NotDelegated(role.to_owned());
        let speakers = if role == TARGETS && parent == ROOT {
            said_by(&self.root).and_then(|root| root.speakers(Kind::Targets))
        } else {
            self.targets.get(parent).and_then(targets_of).and_then(|said| said.delegations().speakers(role))
        };
        if file.is_signed_by(&speakers.ok_or_else(nobody)?) {
            return Ok(());
        }
        Err(Distrust::NotSigned(role.to_owned()))
    }

    fn counts(&self, role: &str, file: &Metadata) -> Result<(), Distrust> {
        if file.expires().has_passed(self.now_unix_seconds) {
            return Err(Distrust::Expired { role: role.to_owned(), at: file.expires().clone() });
        }
        Ok(())
    }
}

fn signed(role: &str, file: &Metadata, root: Option<&Root>, kind: Kind) -> Result<(), Distrust> {
    let speakers = root.and_then(|root| root.speakers(kind));
    if speakers.is_some_and(|speakers| file.is_signed_by(&speakers)) {
        return Ok(());
    }
    Err(Distrust::NotSigned(role.to_owned()))
}

fn not_older(role: &str, held: Version, found: Version) -> Result<(), Distrust> {
    if found < held {
        let (found, held) = (found.number(), held.number());
        return Err(Distrust::Rollback { role: role.to_owned(), found, held });
    }
    Ok(())
}

const fn said_by(file: &Metadata) -> Option<&Root> {
    if let Body::Root(root) = file.body() { Some(root) } else { None }
}

const fn timestamp_of(file: &Metadata) -> Option<&FileMeta> {
    if let Body::Timestamp(timestamp) = file.body() { Some(timestamp.snapshot()) } else { None }
}

const fn snapshot_of(file: &Metadata) -> Option<&Snapshot> {
    if let Body::Snapshot(snapshot) = file.body() { Some(snapshot) } else { None }
}

const fn targets_of(file: &Metadata) -> Option<&Targets> {
    if let Body::Targets(targets) = file.body() { Some(targets) } else { None }
}
