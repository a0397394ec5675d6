//! The next files of a repository, ready to be signed elsewhere.
//!
//! A plan is the bytes that are to be signed, whose signatures they need, and the file that they become with them
//! ([`Unsigned`]). It is made of the file before it, whose members are kept, those that nobody here knows included.
//! Versions go on from the highest that the role ever had ([`Repository::mark`]); root's from the root before, because
//! there a gap is an attack. Whoever plans states the time of expiry: there is no clock here.

mod root;
mod targets;
mod unsigned;

pub use self::targets::{Change, NewDelegation, NewTarget};
pub use self::unsigned::{Speakers, Stamp, Unsigned};
use super::snapshot::FileMeta;
use super::{Document, Expires, Repository, RoleName, Unsound, Version};
use crate::format::json::{Object, Value};

const DAY_SECONDS: i64 = 24 * 60 * 60;
/// How long root and its certificates live, in seconds, where nobody says otherwise: ten years, as docker's do.
pub const ROOT_SECONDS: i64 = 3650 * DAY_SECONDS;
/// How long targets, delegations and snapshots live, in seconds: three years.
pub const TARGETS_SECONDS: i64 = 1095 * DAY_SECONDS;
/// How long a timestamp lives, in seconds: 14 days. Whoever holds back a newer one can do so no longer.
pub const TIMESTAMP_SECONDS: i64 = 14 * DAY_SECONDS;

/// The longest name of a target that is planned, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum NoPlan {
    /// The role has had the last version that there is.
    #[error("{0} has had its last version")]
    LastVersion(RoleName),
    /// A file that it is made of is missing.
    #[error("there is no file of {0}")]
    Missing(RoleName),
    /// A target's name is empty, longer than 1024 bytes, or has control characters, at which notary's client chokes.
    #[error("a target's name has 1 to 1024 bytes and no control characters")]
    Name,
    /// Nobody may sign it: no root, or nobody delegates to the role.
    #[error("nobody speaks for {0}")]
    Nobody(RoleName),
    /// Fewer keys than its threshold would speak for a role, or none that counts.
    #[error("{0} needs at least one key, and not more of them than there are")]
    TooFewKeys(RoleName),
    /// It would break a rule of its role.
    #[error(transparent)]
    Unsound(#[from] Unsound),
}

impl Repository {
    /// Plans a snapshot of the files that are there.
    ///
    /// # Errors
    /// [`NoPlan`] without root and targets, and after the last version.
    pub fn next_snapshot(&self, expires: &Expires) -> Result<Unsigned, NoPlan> {
        let role = RoleName::Snapshot;
        let mut meta = Object::new();
        for (role, file) in self.files() {
            if !matches!(role, RoleName::Snapshot | RoleName::Timestamp) {
                meta.insert(role.as_str().to_owned(), FileMeta::of(file.raw()).to_value());
            }
        }
        for role in [RoleName::Root, RoleName::Targets] {
            self.file(&role).ok_or(NoPlan::Missing(role))?;
        }
        let mut signed = self.kept(&role);
        signed.insert("meta".to_owned(), meta.into());
        self.plan(role, signed, expires)
    }

    /// Plans a timestamp of the current snapshot.
    ///
    /// # Errors
    /// [`NoPlan`] without a snapshot, and after the last version.
    pub fn next_timestamp(&self, expires: &Expires) -> Result<Unsigned, NoPlan> {
        let role = RoleName::Timestamp;
        let snapshot = self.file(&RoleName::Snapshot).ok_or(NoPlan::Missing(RoleName::Snapshot))?;
        let mut signed = self.kept(&role);
        let meta = Value::object([("snapshot", FileMeta::of(snapshot.raw()).to_value())]);
        signed.insert("meta".to_owned(), meta);
        self.plan(role, signed, expires)
    }

    /// Plans a role's file as it is, with a later end. It says what the current one says, also where a plan would put that
    /// in other words: a snapshot that somebody else wrote may name files by fewer hashes.
    ///
    /// # Errors
    /// [`NoPlan`] where there is no such file, nobody speaks for the role, and after the last version.
    pub fn renewed(&self, role: &RoleName, expires: &Expires) -> Result<Unsigned, NoPlan> {
        self.file(role).ok_or_else(|| NoPlan::Missing(role.clone()))?;
        self.plan(role.clone(), self.kept(role), expires)
    }

    /// Plans targets, or a delegation's, with these changes; without any, the same with a later end.
    ///
    /// # Errors
    /// [`NoPlan`] where nobody delegates to the role, and for changes that break a rule: a role that is no child of
    /// this one, a threshold of 0.
    pub fn next_targets(&self, role: &RoleName, changes: &[Change], expires: &Expires) -> Result<Unsigned, NoPlan> {
        for change in changes {
            match change {
                Change::Delegate(new) => new.speakers.could_speak_for(&new.name)?,
                Change::Put { name, .. } if !is_name(name) => return Err(NoPlan::Name),
                Change::Put { .. } | Change::Remove { .. } | Change::Undelegate(_) => {}
            }
        }
        let mut signed = self.kept(role);
        targets::apply(&mut signed, changes);
        self.plan(role.clone(), signed, expires)
    }

    /// Plans a root in which these roles have other speakers; the first has to name all four.
    ///
    /// It needs the signatures of its own root keys, and of those of the root before it.
    ///
    /// # Errors
    /// [`NoPlan`] for a role without keys, or a threshold that they cannot meet.
    pub fn next_root(&self, changes: &[(RoleName, Speakers)], expires: &Expires) -> Result<Unsigned, NoPlan> {
        for (role, speakers) in changes {
            speakers.could_speak_for(role)?;
        }
        let role = RoleName::Root;
        let mut signed = self.kept(&role);
        root::apply(&mut signed, self.root(), changes);
        let version = match self.file(&role) {
            Some(root) => root.version().next().ok_or(NoPlan::LastVersion(role.clone()))?,
            None => Version::FIRST,
        };
        self.unsigned(unsigned::document(&role, signed, version, expires)?)
    }

    /// A file that was planned for this repository, and may have some of its signatures, as one that is still to be signed:
    /// by those who speak for its role now.
    ///
    /// # Errors
    /// [`NoPlan::Nobody`] where nobody speaks for the role.
    pub fn unsigned(&self, document: Document) -> Result<Unsigned, NoPlan> {
        let role = document.role().clone();
        let nobody = || NoPlan::Nobody(role.clone());
        let before = self.authority(&role).map(|authority| Speakers::of(&authority));
        if role != RoleName::Root {
            return Ok(Unsigned::new(document, vec![before.ok_or_else(nobody)?]));
        }
        let own = document.as_root().and_then(|root| root.authority(&role)).map(|own| Speakers::of(&own));
        let mut speakers = vec![own.ok_or_else(nobody)?];
        speakers.extend(before);
        Ok(Unsigned::new(document, speakers))
    }

    fn plan(&self, role: RoleName, signed: Object, expires: &Expires) -> Result<Unsigned, NoPlan> {
        self.authority(&role).ok_or_else(|| NoPlan::Nobody(role.clone()))?;
        let version = match self.mark(&role) {
            Some(mark) => mark.next().ok_or_else(|| NoPlan::LastVersion(role.clone()))?,
            None => Version::FIRST,
        };
        self.unsigned(unsigned::document(&role, signed, version, expires)?)
    }

    /// The members of the current file's signed part.
    fn kept(&self, role: &RoleName) -> Object {
        self.file(role).map(unsigned::members).unwrap_or_default()
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}
