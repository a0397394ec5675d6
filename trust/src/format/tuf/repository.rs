//! A repository: the files that are current together, and the versions that were ever used.

use std::collections::{BTreeMap, BTreeSet};

use super::{Authority, Body, Document, RoleName, Root, Snapshot, Targets, Timestamp, Version};

/// The current files of a repository by role, and the highest version that each role ever had.
///
/// The versions outlive the files: a repository that is deleted and begun anew, and one whose reservation of a version
/// was burned, go on behind them. Cheap enough to clone for one update.
#[derive(Debug, Clone, Default)]
pub struct Repository {
    files: BTreeMap<RoleName, Document>,
    marks: BTreeMap<RoleName, Version>,
    buried: Option<Document>,
}

impl Repository {
    /// A repository of these files; of two of one role the last counts. Nothing is verified: they are its own.
    #[must_use]
    pub fn of(files: impl IntoIterator<Item = Document>) -> Self {
        let mut repository = Self::default();
        for file in files {
            repository.put(file);
        }
        repository
    }

    /// What is left of a deleted repository: its last root, so that its owner can go on with it.
    #[must_use]
    pub fn buried(root: Document) -> Self {
        let marks = BTreeMap::from([(root.role().clone(), root.version())]);
        Self { files: BTreeMap::new(), marks, buried: Some(root).filter(|root| root.as_root().is_some()) }
    }

    /// The same with its last root as the current one: what whoever goes on after a deletion plans on. `None` for one that was
    /// not deleted.
    #[must_use]
    pub fn unburied(&self) -> Option<Self> {
        Some(self.clone().with(self.buried.clone()?))
    }

    /// [`Repository::with_mark`] of several.
    #[must_use]
    pub fn with_marks<'m>(mut self, marks: impl IntoIterator<Item = (&'m RoleName, &'m Version)>) -> Self {
        for (role, version) in marks {
            self.raise(role.clone(), *version);
        }
        self
    }

    /// Says that a role has had this version; a lower one than is known changes nothing.
    #[must_use]
    pub fn with_mark(mut self, role: RoleName, version: Version) -> Self {
        self.raise(role, version);
        self
    }

    /// The same with this file as the current one of its role. Nothing is verified: it was when it was
    /// [checked](super::publish::check), or [signed](super::plan::Unsigned::signed).
    #[must_use]
    pub fn with(mut self, file: Document) -> Self {
        self.put(file);
        self
    }

    /// The current file of a role.
    #[must_use]
    pub fn file(&self, role: &RoleName) -> Option<&Document> {
        self.files.get(role)
    }

    /// The current files.
    #[must_use]
    pub const fn files(&self) -> &BTreeMap<RoleName, Document> {
        &self.files
    }

    /// The highest version that a role ever had.
    #[must_use]
    pub fn mark(&self, role: &RoleName) -> Option<Version> {
        self.marks.get(role).copied()
    }

    /// The highest version of each role that ever had one.
    #[must_use]
    pub const fn marks(&self) -> &BTreeMap<RoleName, Version> {
        &self.marks
    }

    /// What the current root says.
    #[must_use]
    pub fn root(&self) -> Option<&Root> {
        self.file(&RoleName::Root)?.as_root()
    }

    /// What the current targets file of a role says.
    #[must_use]
    pub fn targets(&self, role: &RoleName) -> Option<&Targets> {
        self.file(role)?.as_targets()
    }

    /// Who speaks for a role: root says it of the four, and of a delegation the file of its parent.
    #[must_use]
    pub fn authority<'a>(&'a self, role: &'a RoleName) -> Option<Authority<'a>> {
        match role {
            RoleName::Delegation(_) => self.targets(&role.parent())?.authority(role),
            RoleName::Root | RoleName::Targets | RoleName::Snapshot | RoleName::Timestamp => {
                self.root()?.authority(role)
            }
        }
    }

    pub(super) const fn last_root(&self) -> Option<&Document> {
        self.buried.as_ref()
    }

    /// Takes a file as the current one of its role.
    pub(super) fn put(&mut self, file: Document) {
        self.raise(file.role().clone(), file.version());
        self.files.insert(file.role().clone(), file);
    }

    pub(super) fn drop_file(&mut self, role: &RoleName) {
        self.files.remove(role);
    }

    /// The roles with a file to which no chain of files leads.
    #[must_use]
    pub fn undelegated(&self) -> BTreeSet<&RoleName> {
        let mut undelegated = BTreeSet::new();
        // A parent comes before its children: where nobody delegates to it, it delegates to nobody.
        for role in self.files.keys().filter(|role| matches!(role, RoleName::Delegation(_))) {
            if undelegated.contains(&role.parent()) || self.authority(role).is_none() {
                undelegated.insert(role);
            }
        }
        undelegated
    }

    /// Takes away the files of [`Repository::undelegated`].
    pub(super) fn drop_undelegated(&mut self) {
        for role in self.undelegated().into_iter().cloned().collect::<Vec<_>>() {
            self.drop_file(&role);
        }
    }

    /// Forgets what roles had whose files their owner makes: somebody else begins anew.
    pub(super) fn begin_anew(&mut self) {
        self.marks.retain(|role, _| matches!(role, RoleName::Snapshot | RoleName::Timestamp));
    }

    /// It is alive, again or for the first time.
    pub(super) fn unearth(&mut self) {
        self.buried = None;
    }

    fn raise(&mut self, role: RoleName, version: Version) {
        let mark = self.marks.entry(role).or_insert(version);
        *mark = version.max(*mark);
    }
}

impl Document {
    /// What it says, if it is a root.
    #[must_use]
    pub fn as_root(&self) -> Option<&Root> {
        if let Body::Root(root) = self.body() { Some(root) } else { None }
    }

    /// What it says, if it is a targets file, of `targets` or of a delegation.
    #[must_use]
    pub fn as_targets(&self) -> Option<&Targets> {
        if let Body::Targets(targets) = self.body() { Some(targets) } else { None }
    }

    /// What it says, if it is a snapshot.
    #[must_use]
    pub fn as_snapshot(&self) -> Option<&Snapshot> {
        if let Body::Snapshot(snapshot) = self.body() { Some(snapshot) } else { None }
    }

    /// What it says, if it is a timestamp.
    #[must_use]
    pub fn as_timestamp(&self) -> Option<&Timestamp> {
        if let Body::Timestamp(timestamp) = self.body() { Some(timestamp) } else { None }
    }
}
