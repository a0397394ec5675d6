//! A line: roots of which each follows the one before, and what was believed last under the newest of them.
//!
//! A repository has one, unless it was deleted and begun anew under another root, which somebody pinned then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use trust::Sha256Digest;
use trust::format::tuf::standard::file_name;
use trust::format::tuf::{BYTES_MAX, Document, Repository, RoleName};

use super::rules;
use crate::failure::Failure;
use crate::files::{self, Existing};

const MODE: u32 = 0o600;
/// The most roots of one line that are known by their hashes; a server may have any number of them.
const ROOTS_MAX: usize = 1024;

/// Roots by version, each by the hash of what is signed in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Roots(BTreeMap<u32, Sha256Digest>);

/// What is remembered of one line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Which of the repository's lines it is on the disk.
    pub(super) place: u32,
    /// Whether a visit has come to its end with it.
    pub(super) has_led: bool,
    /// The roots that are known to be of it.
    pub(super) roots: Roots,
    /// The keys that were pinned, and led to it.
    pub(super) keys: BTreeSet<Sha256Digest>,
    /// What was believed last.
    pub(super) files: Repository,
}

/// What the roots that a visit has followed have to do with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// They are not of it.
    Apart,
    /// They end before its newest root, and nothing says that they are not of it.
    Behind,
    /// They begin after its newest root, and nothing says whether they follow it.
    Beyond,
    /// Its newest root is one of them.
    Met,
}

impl Roots {
    pub(super) fn from_hashes(roots: BTreeMap<u32, Sha256Digest>) -> Self {
        let mut roots = Self(roots);
        roots.shorten();
        roots
    }

    pub(super) const fn hashes(&self) -> &BTreeMap<u32, Sha256Digest> {
        &self.0
    }

    pub(super) fn put(&mut self, root: &Document) {
        self.0.insert(root.version().number(), hash(root));
        self.shorten();
    }

    pub(super) fn put_all(&mut self, other: &Self) {
        self.0.extend(&other.0);
        self.shorten();
    }

    /// Whether a root, whoever signed it besides, is one of them.
    pub(super) fn have(&self, root: &Document) -> bool {
        self.0.get(&root.version().number()) == Some(&hash(root))
    }

    /// An old root that is not known any more is taken for one of which nothing is known, so nobody is misled.
    fn shorten(&mut self) {
        while self.0.len() > ROOTS_MAX {
            self.0.pop_first();
        }
    }
}

impl Line {
    /// Reads it from its directory; `None` where there is none.
    pub(super) fn read(place: u32, directory: &Path) -> Result<Option<Self>, Failure> {
        let limit = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX);
        let mut kept = Vec::new();
        for role in all_roles() {
            let place = file_of(directory, &role);
            let Some((bytes, _)) = files::read(&place, limit).map_err(|error| damaged(&place).because(error))? else {
                continue;
            };
            kept.push(Document::read(&role, &bytes).map_err(|error| damaged(&place).because(error))?);
        }
        let files = Repository::of(kept);
        let Some(root) = files.file(&RoleName::Root) else { return Ok(None) };
        let mut roots = Roots::default();
        roots.put(root);
        let has_led = files.files().len() > 1;
        Ok(Some(Self { place, has_led, roots, keys: BTreeSet::new(), files }))
    }

    /// Writes what is believed of it.
    pub(super) fn write(&self, directory: &Path) -> Result<(), Failure> {
        files::private_directory(directory).map_err(|error| unkept(directory, error))?;
        for role in all_roles() {
            let place = file_of(directory, &role);
            match self.files.file(&role) {
                Some(file) => {
                    let kept = files::write(&place, file.raw(), MODE, Existing::Replace);
                    kept.map_err(|error| unkept(&place, error))?;
                }
                None => removed(&place)?,
            }
        }
        Ok(())
    }

    /// Takes away what was written; root last, for without it nothing is read.
    pub(super) fn remove(place: u32, directory: &Path) -> Result<(), Failure> {
        let roles: Vec<RoleName> = all_roles().collect();
        roles.iter().rev().try_for_each(|role| removed(&file_of(directory, role)))?;
        if place != 0 {
            // One in which somebody put something else stays, and is no line.
            drop(std::fs::remove_dir(directory));
        }
        Ok(())
    }

    /// Whether there is one in its directory.
    pub(super) fn is_in(directory: &Path) -> bool {
        file_of(directory, &RoleName::Root).exists()
    }

    /// The newest root.
    pub(super) fn root(&self) -> Option<&Document> {
        self.files.file(&RoleName::Root)
    }

    /// What roots, each of which follows the one before, have to do with it.
    pub(super) fn relation(&self, followed: &Roots) -> Relation {
        let newest = self.root().map_or(0, |root| root.version().number());
        let (mut same, mut other) = (false, false);
        for (version, hash) in followed.hashes() {
            match self.roots.0.get(version) {
                Some(known) if known == hash => same = true,
                Some(_) => other = true,
                None => {}
            }
        }
        match followed.hashes().last_key_value().map(|(version, _)| *version) {
            // Who left a root that is known, to go elsewhere, is led by somebody who has its keys and hides what followed.
            _ if same && other => Relation::Behind,
            _ if other => Relation::Apart,
            Some(last) if last < newest => Relation::Behind,
            _ if followed.hashes().contains_key(&newest) => Relation::Met,
            _ => Relation::Beyond,
        }
    }
}

/// The signatures do not count: who is believed is what is signed.
fn hash(root: &Document) -> Sha256Digest {
    Sha256Digest::of(root.signed_bytes())
}

fn file_of(directory: &Path, role: &RoleName) -> PathBuf {
    directory.join(format!("{}.json", file_name(role.as_str())))
}

/// The newest root of a line in a directory, if there is one that can be read.
pub(super) fn root_in(directory: &Path) -> Option<Document> {
    let limit = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX);
    let (bytes, _) = files::read(&file_of(directory, &RoleName::Root), limit).ok()??;
    Document::read(&RoleName::Root, &bytes).ok()
}

/// Root first: whoever is interrupted behind it has lost nothing that those who speak now have signed.
fn all_roles() -> impl Iterator<Item = RoleName> {
    [RoleName::Root, RoleName::Timestamp, RoleName::Snapshot].into_iter().chain(rules::roles())
}

fn removed(place: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unkept(place, error)),
        _ => Ok(()),
    }
}

pub(super) fn unkept(place: &Path, error: std::io::Error) -> Failure {
    Failure::other(format!("remember trust data in {}", place.display()), "is there room, and may you write there?")
        .because(error)
}

pub(super) fn damaged(place: &Path) -> Failure {
    Failure::refused(
        format!("the trust data that was remembered in {} cannot be read", place.display()),
        "to begin anew remove the directory: then nothing protects from older data in this one visit",
    )
}

#[cfg(test)]
mod tests {
    use super::super::samples::{root, timestamp};
    use super::*;

    fn roots(known: &[(u32, &str)]) -> Roots {
        Roots::from_hashes(known.iter().map(|(version, text)| (*version, Sha256Digest::of(text.as_bytes()))).collect())
    }

    #[test]
    fn roots_are_of_a_line_apart_from_it_or_before_or_behind_what_is_known() {
        let files = Repository::of([root(5, 1)]);
        let e = hash(files.file(&RoleName::Root).unwrap());
        let mut known = roots(&[(3, "c"), (4, "d")]);
        known.put(files.file(&RoleName::Root).unwrap());
        let line = Line { place: 0, has_led: true, roots: known, keys: BTreeSet::new(), files };
        let with_newest = |others: &[(u32, &str)]| {
            let mut followed = roots(others).hashes().clone();
            followed.insert(5, e);
            line.relation(&Roots::from_hashes(followed))
        };

        assert_eq!(with_newest(&[(4, "d")]), Relation::Met);
        assert_eq!(with_newest(&[(1, "a"), (2, "b"), (3, "c"), (4, "d"), (6, "f")]), Relation::Met);
        for (followed, relation) in [
            (&[(1, "a")][..], Relation::Behind),
            (&[(3, "c")], Relation::Behind),
            (&[(2, "b"), (3, "c"), (4, "d")], Relation::Behind),
            (&[(3, "c"), (4, "another")], Relation::Behind),
            (&[(6, "f"), (7, "g")], Relation::Beyond),
            (&[(3, "another")], Relation::Apart),
            (&[(4, "another"), (5, "another")], Relation::Apart),
            (&[(5, "another"), (6, "f")], Relation::Apart),
        ] {
            assert_eq!(line.relation(&roots(followed)), relation, "{followed:?}");
        }
    }

    #[test]
    fn of_many_roots_the_newest_are_known() {
        let known = (1..=2000u32).map(|version| (version, Sha256Digest::of(&version.to_le_bytes()))).collect();

        let roots = Roots::from_hashes(known);

        assert_eq!(roots.hashes().len(), ROOTS_MAX);
        assert_eq!(roots.hashes().last_key_value().unwrap().0, &2000);
    }

    #[test]
    fn a_line_is_read_as_it_was_written_and_gone_when_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("1");
        let mut line = Line {
            place: 1,
            has_led: true,
            roots: Roots::default(),
            keys: BTreeSet::new(),
            files: Repository::of([root(1, 1), timestamp(7)]),
        };

        line.write(&place).unwrap();
        let read = Line::read(1, &place).unwrap().unwrap();
        assert!(read.has_led && read.roots.have(line.root().unwrap()));
        assert_eq!(read.files.file(&RoleName::Timestamp).unwrap().version().number(), 7);
        // What is believed no more is there no more.
        line.files = Repository::of([root(2, 1)]);
        line.write(&place).unwrap();
        assert_eq!(Line::read(1, &place).unwrap().unwrap().files.files().len(), 1);

        std::fs::write(file_of(&place, &RoleName::Snapshot), "{").unwrap();
        assert_eq!(Line::read(1, &place).unwrap_err().exit().code(), 1);
        Line::remove(1, &place).unwrap();
        assert!(Line::read(1, &place).unwrap().is_none() && !place.exists());
    }
}
