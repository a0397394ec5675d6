//! What a trust directory has: key files, and metadata that says which repositories a key is listed for.
//!
//! No key is left out silently: what cannot be read to its end ends the import before it begins, for a key's scope is for
//! life. The metadata is not verified. It narrows what a key is asked to be for; a wrong list costs a key that is good for
//! nothing, and never one that is good for more than what whoever imports it may import. Of a file of metadata that says
//! nothing the name is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use trust::format::tuf::{Authority, BYTES_MAX, Document, RoleName, Targets};
use trust::{Gun, Sha256Digest};

use crate::failure::Failure;
use crate::files;

/// The most key files.
const KEYS_MAX: usize = 10_000;

/// How much of a directory is read.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// The most entries of it and of all below it.
    entries_max: usize,
    /// How many directories lie one in the other at most.
    depth_max: usize,
}

impl Bounds {
    const USUAL: Self = Self { entries_max: 100_000, depth_max: 64 };
}

/// Which repositories list a key: by the name of the bare key, as docker shows it.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// In root, for root.
    pub(crate) roots: BTreeMap<String, BTreeSet<Gun>>,
    /// In targets, for delegations.
    pub(crate) delegates: BTreeMap<String, BTreeSet<Gun>>,
    /// Files of metadata that say nothing: they cannot be read.
    pub(super) mute: Vec<PathBuf>,
}

/// The key files of a trust directory.
#[derive(Debug)]
pub(super) struct KeyFiles {
    /// The directory of keys, below which they lie.
    pub(super) private: PathBuf,
    /// By name.
    pub(super) files: Vec<PathBuf>,
}

impl KeyFiles {
    /// Finds them: where docker and notary have them, and where notary before 0.4 had them.
    pub(super) fn of(directory: &Path) -> Result<Self, Failure> {
        Self::within(directory, Bounds::USUAL)
    }

    fn within(directory: &Path, bounds: Bounds) -> Result<Self, Failure> {
        let private = directory.join("private");
        let private = if is_there(&private) { private } else { directory.to_owned() };
        let mut left = bounds.entries_max;
        let mut files = entries(&private, &mut left)?;
        for older in ["root_keys", "tuf_keys"] {
            files.extend(Below::of(&private.join(older), bounds)?.files);
        }
        files.retain(|path| path.extension().is_some_and(|end| end == "key"));
        files.sort();
        if files.len() > KEYS_MAX {
            return Err(Failure::usage(
                format!("{} has more than {KEYS_MAX} keys", private.display()),
                "is it the right one?",
            ));
        }
        if files.is_empty() {
            return Err(Failure::usage(
                format!("{} has no keys: no file there ends with .key", private.display()),
                "--from names the directory that has `private` in it: ~/.docker/trust, or notary's --trustDir",
            ));
        }
        Ok(Self { private, files })
    }
}

/// Reads the metadata that the directory keeps.
///
/// # Errors
/// Where the repositories that it has cannot all be found.
pub(super) fn listed(directory: &Path) -> Result<Listed, Failure> {
    listed_within(directory, Bounds::USUAL)
}

fn listed_within(directory: &Path, bounds: Bounds) -> Result<Listed, Failure> {
    let tuf = directory.join("tuf");
    let below = Below::of(&tuf, bounds).map_err(|failure| {
        failure.remedied_by(
            "it says which repositories keys are for: repair it; or do without, with --from of the directory of keys \
             alone and --repository",
        )
    })?;
    let mut listed = Listed::default();
    for place in below.directories {
        let name = place.strip_prefix(&tuf).ok().and_then(Path::to_str);
        if let Some(gun) = name.and_then(|name| name.parse::<Gun>().ok()) {
            listed.read(&gun, &place.join("metadata"));
        }
    }
    Ok(listed)
}

/// Everything below a directory.
#[derive(Debug, Default)]
struct Below {
    /// The directories, that one first.
    directories: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Below {
    /// Finds it; nothing where there is no such directory.
    ///
    /// # Errors
    /// Where any of it cannot be read, or there is more than is read.
    fn of(directory: &Path, bounds: Bounds) -> Result<Self, Failure> {
        let mut below = Self::default();
        if !is_there(directory) {
            return Ok(below);
        }
        let mut left = bounds.entries_max;
        let mut waiting = vec![(directory.to_owned(), 0_usize)];
        while let Some((place, depth)) = waiting.pop() {
            if depth > bounds.depth_max {
                return Err(Failure::usage(
                    format!("{} lies more than {} directories deep", place.display(), bounds.depth_max),
                    "is it part of it? move it elsewhere",
                ));
            }
            for path in entries(&place, &mut left)? {
                if is_directory(&path)? {
                    waiting.push((path, depth.saturating_add(1)));
                } else {
                    below.files.push(path);
                }
            }
            below.directories.push(place);
        }
        Ok(below)
    }
}

/// Whether anything has that name, be it a link that leads nowhere or what may not be looked at.
fn is_there(path: &Path) -> bool {
    !path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Whether it is a directory.
///
/// # Errors
/// For a link to one, which may lead round in a circle, and for one that leads nowhere: keys may be behind both.
fn is_directory(path: &Path) -> Result<bool, Failure> {
    let found = path.symlink_metadata().map_err(|error| unread(path, error))?;
    if !found.is_symlink() {
        return Ok(found.is_dir());
    }
    let behind = path.metadata().map_err(|error| unread(path, error))?;
    if behind.is_dir() {
        return Err(Failure::usage(
            format!("{} is a link to a directory, and those are not followed", path.display()),
            "put the directory itself in its place, or take the link away",
        ));
    }
    Ok(false)
}

/// What a directory has; each entry is one less of those that are `left`.
fn entries(directory: &Path, left: &mut usize) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| unread(directory, error))? {
        let entry = entry.map_err(|error| unread(directory, error))?;
        *left = left.checked_sub(1).ok_or_else(|| {
            Failure::usage(
                format!("{} has more entries than are read", directory.display()),
                "is it the right one? bring its keys in parts",
            )
        })?;
        found.push(entry.path());
    }
    Ok(found)
}

fn unread(path: &Path, error: Error) -> Failure {
    Failure::usage(format!("read {}", path.display()), "is it there, and yours to read?").because(error)
}

impl Listed {
    fn read(&mut self, gun: &Gun, metadata: &Path) {
        let role = RoleName::Root;
        let root = self.document(metadata, &role);
        let root = root.as_ref().and_then(Document::as_root);
        if let Some(authority) = root.and_then(|root| root.authority(&role)) {
            note(&mut self.roots, gun, &authority);
        }
        let targets = self.document(metadata, &RoleName::Targets);
        let targets = targets.as_ref().and_then(Document::as_targets);
        for delegation in targets.into_iter().flat_map(Targets::delegations) {
            if let Some(authority) = targets.and_then(|targets| targets.authority(delegation.name())) {
                note(&mut self.delegates, gun, &authority);
            }
        }
    }

    /// A role's file; none where there is none, or it cannot be read.
    fn document(&mut self, metadata: &Path, role: &RoleName) -> Option<Document> {
        let path = metadata.join(format!("{role}.json"));
        let limit = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX);
        let document = match files::read(&path, limit) {
            Ok(None) => return None,
            Ok(Some((bytes, _))) => Document::read(role, &bytes).ok(),
            Err(_) => None,
        };
        if document.is_none() {
            self.mute.push(path);
        }
        document
    }
}

fn note(listed: &mut BTreeMap<String, BTreeSet<Gun>>, gun: &Gun, authority: &Authority<'_>) {
    for key in authority.keys() {
        let id: Sha256Digest = key.canonical_id();
        listed.entry(id.to_hex()).or_default().insert(gun.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A trust directory as notary before 0.4 had it, with a key of each kind.
    fn older() -> TempDir {
        let directory = TempDir::new().unwrap();
        for path in ["private/root_keys/a_root.key", "private/tuf_keys/r.example.com/app/b_targets.key"] {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "a key").unwrap();
        }
        std::fs::write(directory.path().join("private/c.key"), "a key").unwrap();
        directory
    }

    fn refused(directory: &TempDir, bounds: Bounds) -> String {
        KeyFiles::within(directory.path(), bounds).unwrap_err().what()
    }

    #[test]
    fn every_key_is_found_and_nothing_else() {
        let directory = older();
        std::fs::write(directory.path().join("private/tuf_keys/readme"), "no key").unwrap();
        symlink(directory.path().join("private/c.key"), directory.path().join("private/tuf_keys/d.key")).unwrap();

        let files = KeyFiles::of(directory.path()).unwrap().files;

        let names: Vec<_> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["c.key", "a_root.key", "d.key", "b_targets.key"]);
        // Without `private` the directory is the one of keys itself.
        assert_eq!(KeyFiles::of(&directory.path().join("private")).unwrap().files.len(), files.len());
    }

    #[test]
    fn what_is_in_the_place_of_a_directory_of_keys_is_no_empty_one() {
        for (place, is_link) in [("private/tuf_keys", false), ("private/root_keys", true), ("private", false)] {
            let directory = older();
            let path = directory.path().join(place);
            std::fs::remove_dir_all(&path).unwrap();
            if is_link {
                symlink("/nonexistent/keys", &path).unwrap();
            } else {
                std::fs::write(&path, "no directory").unwrap();
            }

            let what = refused(&directory, Bounds::USUAL);

            assert!(what.starts_with(&format!("read {}", path.display())), "{what}");
        }
    }

    #[test]
    fn a_tree_that_is_too_deep_or_goes_round_in_a_circle_is_refused_and_not_cut_off() {
        let directory = older();
        let deep = directory.path().join("private/tuf_keys").join(["a"; 65].join("/"));
        std::fs::create_dir_all(&deep).unwrap();
        let what = refused(&directory, Bounds::USUAL);
        assert!(what.contains("more than 64 directories deep"), "{what}");

        for target in ["..", "circle"] {
            let directory = older();
            symlink(target, directory.path().join("private/tuf_keys/circle")).unwrap();
            let what = refused(&directory, Bounds::USUAL);
            assert!(what.contains("/tuf_keys/circle"), "{what}");
        }
    }

    #[test]
    fn more_entries_than_are_read_are_refused_and_not_cut_off() {
        let directory = older();
        let bounds = |entries_max| Bounds { entries_max, ..Bounds::USUAL };
        KeyFiles::within(directory.path(), bounds(3)).unwrap();

        // `private` has three; below `tuf_keys` are three as well, each in another directory.
        let what = refused(&directory, bounds(2));
        assert!(what.contains("/private has more entries"), "{what}");
        std::fs::write(directory.path().join("private/tuf_keys/r.example.com/app/d_snapshot.key"), "a key").unwrap();
        let what = refused(&directory, bounds(3));
        assert!(what.contains("tuf_keys/r.example.com/app has more entries"), "{what}");
    }

    #[test]
    fn metadata_that_says_nothing_is_named_and_repositories_that_cannot_be_found_are_an_error() {
        let directory = older();
        let metadata = directory.path().join("tuf/r.example.com/app/metadata");
        std::fs::create_dir_all(&metadata).unwrap();
        std::fs::write(metadata.join("root.json"), "{}").unwrap();

        let listed = listed(directory.path()).unwrap();
        assert_eq!(listed.mute, [metadata.join("root.json")]);
        assert!(listed.roots.is_empty() && listed.delegates.is_empty());

        let few = Bounds { entries_max: 3, ..Bounds::USUAL };
        let failure = listed_within(directory.path(), few).unwrap_err();
        assert!(failure.what().contains("metadata has more entries"), "{failure}");
        assert!(failure.remedy().contains("--repository"), "{failure}");
        symlink("..", directory.path().join("tuf/circle")).unwrap();
        let failure = listed_within(directory.path(), Bounds::USUAL).unwrap_err();
        assert!(failure.what().contains("link to a directory"), "{failure}");
    }
}
