//! What a client asks of metadata before it believes it.
//!
//! A [`Client`] begins with a root that somebody pinned, or with the first that is seen, or with what it kept from the
//! last time, and is fed with what a server sends, in this order: the roots that follow, one by one; the timestamp;
//! the snapshot; targets and delegations. It says what to fetch and how long that may be. Whatever a server sends, it
//! is never taken back to what was before: an older version (rollback), another file of a version that was seen
//! (fork), files that were never current together (mix and match), or what has expired (freeze).
//!
//! Only the files themselves are kept ([`Client::into_cache`]); what a server would like to be believed is not.

mod distrust;
mod pin;
mod recall;

use std::collections::{BTreeMap, BTreeSet};

pub use self::distrust::Distrust;
pub use self::pin::Pin;
use super::certificate::{Ended, root_authority};
use super::verify::{is_as_written, is_as_written_by};
use super::{Authority, Document, FileMeta, Gun, Repository, RoleName, Root, Target, Version};

/// The longest timestamp, in bytes: nothing says its length beforehand.
pub const TIMESTAMP_BYTES_MAX: usize = 1024 * 1024;

/// One visit to a repository.
#[derive(Debug, Clone)]
pub struct Client {
    gun: Gun,
    now_unix_seconds: i64,
    /// The newest files that were ever believed.
    believed: Repository,
    /// Those of them that this visit has shown to be current.
    current: BTreeSet<RoleName>,
    /// Those that may be followed by an older one: their speakers have changed since.
    forgiven: BTreeSet<RoleName>,
    /// The current files of delegations that count for nothing: they have expired, or too few have signed them.
    lapsed: BTreeMap<RoleName, Document>,
}

/// What a client needs next of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum Wanted {
    /// It has the current file.
    Nothing,
    /// The file of this hash, and no more bytes than its length.
    File(FileMeta),
    /// There is none: whoever is delegated to has not signed anything yet.
    NoFile,
}

impl Client {
    /// Begins with a root: one that was pinned, or the first that is seen.
    ///
    /// # Errors
    /// [`Distrust`] when its keys are not the pinned ones, have no certificate that is good for the repository, or did
    /// not sign it. It may have expired: one that follows may not.
    pub fn begin(gun: Gun, root: Document, pin: &Pin, now_unix_seconds: i64) -> Result<Self, Distrust> {
        let said = said_by(&root)?;
        let own = root_authority(said, &gun, now_unix_seconds, Ended::Counts).ok_or(Distrust::NoCertificate)?;
        root.verify(&own)?;
        pin.check(&root, own)?;
        Ok(Self::new(gun, now_unix_seconds, Repository::of([root])))
    }

    /// Begins with what an earlier visit kept. Whoever kept it may have been interrupted between two files: a file that
    /// those who speak now have not signed was to go, for they may begin behind it (TUF 5.3.11).
    ///
    /// # Errors
    /// [`Distrust`] when there is no root in it, or one that did not sign itself. Other files are only compared with, and
    /// verified anew when they are used.
    pub fn resume(gun: Gun, mut kept: Repository, now_unix_seconds: i64) -> Result<Self, Distrust> {
        let root = kept.file(&RoleName::Root).ok_or(Distrust::OutOfOrder(RoleName::Root))?;
        let own = root_authority(said_by(root)?, &gun, now_unix_seconds, Ended::Counts);
        root.verify(&own.ok_or(Distrust::NoCertificate)?)?;
        let mut left: Vec<RoleName> = kept.files().keys().filter(|role| !is_signed_for(&kept, role)).cloned().collect();
        if left.iter().any(|role| matches!(role, RoleName::Snapshot | RoleName::Timestamp)) {
            left.extend([RoleName::Snapshot, RoleName::Timestamp]);
        }
        for role in &left {
            kept.drop_file(role);
        }
        Ok(Self::new(gun, now_unix_seconds, kept))
    }

    const fn new(gun: Gun, now_unix_seconds: i64, believed: Repository) -> Self {
        Self {
            gun,
            now_unix_seconds,
            believed,
            current: BTreeSet::new(),
            forgiven: BTreeSet::new(),
            lapsed: BTreeMap::new(),
        }
    }

    /// The version of the root that would follow: to be fetched until there is none.
    #[must_use]
    pub fn next_root(&self) -> Option<Version> {
        self.believed.file(&RoleName::Root)?.version().next()
    }

    /// Takes the root that follows the one that is believed.
    ///
    /// # Errors
    /// [`Distrust`] when it is not the next version, is not signed by those who spoke before it and by its own, or was
    /// changed around what is signed: no file that is read later names it by its hash, unless it is the last.
    pub fn take_root(&mut self, bytes: &[u8]) -> Result<(), Distrust> {
        let role = RoleName::Root;
        let before = self.believed.file(&role).ok_or(Distrust::OutOfOrder(RoleName::Root))?;
        if !self.current.is_empty() {
            return Err(Distrust::OutOfOrder(role));
        }
        let root = Document::read(&role, bytes)?;
        if before.version().next() != Some(root.version()) {
            return Err(Distrust::NotNext { held: before.version().number(), found: root.version().number() });
        }
        let (old, new) = (said_by(before)?, said_by(&root)?);
        for said in [old, new] {
            let speakers = root_authority(said, &self.gun, self.now_unix_seconds, Ended::Counts);
            root.verify(&speakers.ok_or(Distrust::NoCertificate)?)?;
        }
        let known: Vec<_> = [old, new].iter().filter_map(|said| said.authority(&role)).collect();
        if !is_as_written_by(&root, &known) {
            return Err(Distrust::Altered(RoleName::Root));
        }
        let moved: Vec<RoleName> = [RoleName::Targets, RoleName::Snapshot, RoleName::Timestamp]
            .into_iter()
            .filter(|role| !same_speakers(old, new, role))
            .collect();
        self.believed.put(root);
        self.forgive(moved);
        Ok(())
    }

    /// Takes the timestamp. From here on the root is the current one.
    ///
    /// # Errors
    /// [`Distrust`] when the root or it has expired, it is not signed for, older than the last one, another of the
    /// same version, or changed around what is signed: nothing names it by its hash.
    pub fn take_timestamp(&mut self, bytes: &[u8]) -> Result<(), Distrust> {
        let root = self.believed.file(&RoleName::Root).ok_or(Distrust::OutOfOrder(RoleName::Root))?;
        root.counts_at(self.now_unix_seconds)?;
        let own = root_authority(said_by(root)?, &self.gun, self.now_unix_seconds, Ended::Refused);
        root.verify(&own.ok_or(Distrust::NoCertificate)?)?;
        if bytes.len() > TIMESTAMP_BYTES_MAX {
            return Err(Distrust::Endless(RoleName::Timestamp));
        }
        self.take(&RoleName::Timestamp, bytes)
    }

    /// What it needs next of a role: of the snapshot after the timestamp, of targets and delegations after that.
    ///
    /// A file that is kept and still the current one is verified anew, under those who speak for it now.
    ///
    /// # Errors
    /// [`Distrust`] out of order, for a role that is not delegated to, and for a file that was there and is hidden now.
    pub fn wanted(&mut self, role: &RoleName) -> Result<Wanted, Distrust> {
        self.speakers(role)?;
        let Some(meta) = self.named(role)?.cloned() else {
            // Whoever answers for the repository cannot unsign what a delegate signed by leaving it out.
            let hidden = self.last(role).is_some();
            return if hidden { Err(Distrust::Hidden(role.clone())) } else { Ok(Wanted::NoFile) };
        };
        match self.believed.file(role).filter(|file| meta.is_of(file.raw())) {
            Some(kept) => {
                let bytes = kept.raw().to_vec();
                self.take(role, &bytes)?;
                Ok(Wanted::Nothing)
            }
            None => Ok(Wanted::File(meta)),
        }
    }

    /// Takes the snapshot, targets, or a delegation's file.
    ///
    /// # Errors
    /// [`Distrust`] when it is not the file that was wanted, not signed for, has expired, or is older than the last, and
    /// for a snapshot that names another root than the one that is believed.
    pub fn take_file(&mut self, role: &RoleName, bytes: &[u8]) -> Result<(), Distrust> {
        let by = named_by(role);
        let meta = self.named(role)?.ok_or_else(|| Distrust::Hidden(role.clone()))?;
        if !meta.is_of(bytes) {
            return Err(Distrust::Differs { by, role: role.clone() });
        }
        self.take(role, bytes)
    }

    /// What a role has signed under a name, if it may sign for that name; `None` also for a role whose current file has
    /// not been taken.
    #[must_use]
    pub fn target(&self, role: &RoleName, name: &str) -> Option<&Target> {
        for role in role.ancestors().skip(1).chain([role.clone()]) {
            if let RoleName::Delegation(_) = role {
                let parent = self.targets(&role.parent())?;
                parent
                    .delegations()
                    .iter()
                    .find(|delegation| *delegation.name() == role)?
                    .may_sign(name)
                    .then_some(())?;
            }
        }
        self.targets(role)?.targets().get(name)
    }

    /// The file of a role, if it is current.
    #[must_use]
    pub fn file(&self, role: &RoleName) -> Option<&Document> {
        self.believed.file(role).filter(|_| self.current.contains(role) || *role == RoleName::Root)
    }

    /// What was said by a delegation whose current file has lapsed: that file, and the last one that was believed. Empty
    /// where it has not.
    ///
    /// Docker asks other roles then. Nobody is believed by these files, but whoever asks others learns here where that
    /// would lead behind what had been signed.
    pub fn lapsed(&self, role: &RoleName) -> impl Iterator<Item = &Document> {
        let named = self.lapsed.get(role);
        let last = named.and_then(|_| self.last(role));
        named.into_iter().chain(last)
    }

    /// What to keep for the next visit.
    #[must_use]
    pub fn into_cache(mut self) -> Repository {
        for role in &self.forgiven {
            self.believed.drop_file(role);
        }
        self.believed
    }

    /// The last file of a role, behind which nobody may take us.
    fn last(&self, role: &RoleName) -> Option<&Document> {
        self.believed.file(role).filter(|_| !self.forgiven.contains(role))
    }

    fn targets(&self, role: &RoleName) -> Option<&super::Targets> {
        self.file(role)?.as_targets()
    }

    /// The current entry of a file, `None` where there is no such entry.
    fn named(&self, role: &RoleName) -> Result<Option<&FileMeta>, Distrust> {
        let by = named_by(role);
        let out_of_order = || Distrust::OutOfOrder(role.clone());
        match role {
            RoleName::Root | RoleName::Timestamp => Err(out_of_order()),
            RoleName::Snapshot => {
                let timestamp = self.file(&by).and_then(Document::as_timestamp).ok_or_else(out_of_order)?;
                Ok(Some(timestamp.snapshot()))
            }
            RoleName::Targets | RoleName::Delegation(_) => {
                let snapshot = self.file(&by).and_then(Document::as_snapshot).ok_or_else(out_of_order)?;
                Ok(snapshot.files().get(role))
            }
        }
    }

    /// Takes the current file of a role.
    fn take(&mut self, role: &RoleName, bytes: &[u8]) -> Result<(), Distrust> {
        let file = Document::read(role, bytes)?;
        let taken = self.believe(role, file.clone());
        let has_lapsed = matches!(taken, Err(Distrust::NotMet(_) | Distrust::Expired(_)));
        if has_lapsed && matches!(role, RoleName::Delegation(_)) {
            self.lapsed.insert(role.clone(), file);
        }
        taken
    }

    /// Believes a file that is signed for now, has not expired, and is not older than the last.
    fn believe(&mut self, role: &RoleName, file: Document) -> Result<(), Distrust> {
        let speakers = self.speakers(role)?;
        file.verify(&speakers)?;
        if *role == RoleName::Timestamp && !is_as_written(&file, &speakers) {
            return Err(Distrust::Altered(role.clone()));
        }
        file.counts_at(self.now_unix_seconds)?;
        if let Some(held) = self.last(role) {
            if file.version() < held.version() {
                let (found, held) = (file.version().number(), held.version().number());
                return Err(Distrust::Rollback { role: role.clone(), found, held });
            }
            // Of ECDSA signatures whoever stands between makes others that verify: a timestamp is what it says.
            let is_same = if *role == RoleName::Timestamp {
                file.signed_bytes() == held.signed_bytes()
            } else {
                file.raw() == held.raw()
            };
            if file.version() == held.version() && !is_same {
                return Err(Distrust::Forked { role: role.clone(), version: file.version().number() });
            }
        }
        self.names_our_root(&file)?;
        let moved = self.moved_delegations(&file);
        self.believed.put(file);
        // What it names has to be looked up in it again.
        self.current.retain(|other| !says_of(role, other));
        self.lapsed.retain(|other, _| other != role && !says_of(role, other));
        self.current.insert(role.clone());
        self.forgiven.remove(role);
        self.forgive(moved);
        Ok(())
    }

    /// Whether a snapshot names the root that is believed: else one that follows is hidden, and with it whom its owner
    /// let go.
    fn names_our_root(&self, file: &Document) -> Result<(), Distrust> {
        let Some(snapshot) = file.as_snapshot() else { return Ok(()) };
        let root = self.believed.file(&RoleName::Root).ok_or(Distrust::OutOfOrder(RoleName::Root))?;
        let is_ours = snapshot.files().get(&RoleName::Root).is_some_and(|meta| meta.is_of(root.raw()));
        if is_ours { Ok(()) } else { Err(Distrust::Differs { by: RoleName::Snapshot, role: RoleName::Root }) }
    }

    /// Who speaks for a role now: what is kept of its parent does not count, only what is current.
    fn speakers<'a>(&'a self, role: &'a RoleName) -> Result<Authority<'a>, Distrust> {
        if let RoleName::Delegation(_) = role {
            let parent = role.parent();
            let said = self.targets(&parent).ok_or(Distrust::OutOfOrder(parent))?;
            return said.authority(role).ok_or_else(|| Distrust::NotDelegated(role.clone()));
        }
        self.believed.authority(role).ok_or_else(|| Distrust::NotDelegated(role.clone()))
    }

    /// The delegations of a file that have other speakers than in the last.
    fn moved_delegations(&self, file: &Document) -> Vec<RoleName> {
        let Some(new) = file.as_targets() else { return Vec::new() };
        let old = self.believed.targets(file.role());
        let same = |role: &RoleName| {
            let before = old.and_then(|old| old.authority(role));
            before.is_some_and(|before| new.authority(role).is_some_and(|now| before.is_that_of(&now)))
        };
        new.delegations().iter().map(|delegation| delegation.name()).filter(|role| !same(role)).cloned().collect()
    }

    /// Lets older files follow those of roles whose speakers changed: a thief of the old keys may have driven their
    /// versions up, and the owner got rid of the thief by changing the keys (TUF 5.3.11).
    fn forgive(&mut self, roles: Vec<RoleName>) {
        for role in roles {
            // One server signs both, so they go together.
            if matches!(role, RoleName::Snapshot | RoleName::Timestamp) {
                self.forgiven.extend([RoleName::Snapshot, RoleName::Timestamp]);
            }
            self.forgiven.insert(role);
        }
    }
}

/// Whether those who speak for a file of a repository have signed it.
fn is_signed_for(repository: &Repository, role: &RoleName) -> bool {
    let speakers = repository.authority(role);
    repository.file(role).zip(speakers).is_some_and(|(file, speakers)| file.verify(&speakers).is_ok())
}

fn said_by(root: &Document) -> Result<&Root, Distrust> {
    root.as_root().ok_or(Distrust::OutOfOrder(RoleName::Root))
}

/// The role whose file names the file of this one.
const fn named_by(role: &RoleName) -> RoleName {
    if matches!(role, RoleName::Snapshot) { RoleName::Timestamp } else { RoleName::Snapshot }
}

/// Whether a role's file says which file another's is, or who speaks for it.
fn says_of(role: &RoleName, other: &RoleName) -> bool {
    match role {
        RoleName::Root | RoleName::Timestamp => true,
        RoleName::Snapshot => *other != RoleName::Timestamp,
        RoleName::Targets | RoleName::Delegation(_) => other.ancestors().any(|ancestor| ancestor == *role),
    }
}

fn same_speakers(before: &Root, now: &Root, role: &RoleName) -> bool {
    match (before.authority(role), now.authority(role)) {
        (Some(before), Some(now)) => before.is_that_of(&now),
        (None, _) | (_, None) => false,
    }
}
