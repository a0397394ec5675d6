//! What a trust directory has: key files, and metadata that says which repositories a key is listed for.
//!
//! The metadata is not verified. It narrows what a key is asked to be for; a wrong list costs a key that is good for
//! nothing, and never one that is good for more than what whoever imports it may import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use trust::format::tuf::{Authority, BYTES_MAX, Document, RoleName, Targets};
use trust::{Gun, Sha256Digest};

use crate::failure::Failure;
use crate::files;

/// No directory has more entries, and none is deeper.
const ENTRIES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 64;
/// The most key files.
const KEYS_MAX: usize = 10_000;

/// Which repositories list a key: by the name of the bare key, as docker shows it.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// In root, for root.
    pub(crate) roots: BTreeMap<String, BTreeSet<Gun>>,
    /// In targets, for delegations.
    pub(crate) delegates: BTreeMap<String, BTreeSet<Gun>>,
}

/// The key files of a trust directory.
pub(super) struct KeyFiles {
    /// The directory of keys, below which they lie.
    pub(super) private: PathBuf,
    /// By name.
    pub(super) files: Vec<PathBuf>,
}

impl KeyFiles {
    /// Finds them: where docker and notary have them, and where notary before 0.4 had them.
    pub(super) fn of(directory: &Path) -> Result<Self, Failure> {
        let private = directory.join("private");
        let private = if private.is_dir() { private } else { directory.to_owned() };
        let mut files = entries(&private)?;
        for older in ["root_keys", "tuf_keys"] {
            files.extend(below(&private.join(older)));
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

/// All files below a directory, none where there is no such directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let (mut waiting, mut seen) = (vec![(directory.to_owned(), 0_usize)], 0_usize);
    while let Some((place, depth)) = waiting.pop() {
        let children = entries(&place).unwrap_or_default();
        seen = seen.saturating_add(children.len());
        if seen > ENTRIES_MAX || depth >= DEPTH_MAX {
            break;
        }
        let (inner, outer) = children.into_iter().partition::<Vec<_>, _>(|path| path.is_dir() && !path.is_symlink());
        files.extend(outer);
        waiting.extend(inner.into_iter().map(|path| (path, depth.saturating_add(1))));
    }
    files
}

/// Reads the metadata that the directory keeps; what cannot be read lists nobody.
pub(super) fn listed(directory: &Path) -> Listed {
    let tuf = directory.join("tuf");
    let mut listed = Listed::default();
    let (mut waiting, mut seen) = (vec![(tuf.clone(), 0_usize)], 0_usize);
    while let Some((place, depth)) = waiting.pop() {
        let metadata = place.join("metadata");
        let name = place.strip_prefix(&tuf).ok().and_then(Path::to_str);
        if let Some(gun) = name.and_then(|name| name.parse::<Gun>().ok()) {
            listed.read(&gun, &metadata);
        }
        let children = entries(&place).unwrap_or_default();
        seen = seen.saturating_add(children.len());
        if seen > ENTRIES_MAX || depth >= DEPTH_MAX {
            break;
        }
        let is_repository = |path: &PathBuf| *path != metadata && path.is_dir() && !path.is_symlink();
        waiting.extend(children.into_iter().filter(is_repository).map(|path| (path, depth.saturating_add(1))));
    }
    listed
}

impl Listed {
    fn read(&mut self, gun: &Gun, metadata: &Path) {
        let role = RoleName::Root;
        let root = document(metadata, &role);
        let root = root.as_ref().and_then(Document::as_root);
        if let Some(authority) = root.and_then(|root| root.authority(&role)) {
            note(&mut self.roots, gun, &authority);
        }
        let targets = document(metadata, &RoleName::Targets);
        let targets = targets.as_ref().and_then(Document::as_targets);
        for delegation in targets.into_iter().flat_map(Targets::delegations) {
            if let Some(authority) = targets.and_then(|targets| targets.authority(delegation.name())) {
                note(&mut self.delegates, gun, &authority);
            }
        }
    }
}

fn note(listed: &mut BTreeMap<String, BTreeSet<Gun>>, gun: &Gun, authority: &Authority<'_>) {
    for key in authority.keys() {
        let id: Sha256Digest = key.canonical_id();
        listed.entry(id.to_hex()).or_default().insert(gun.clone());
    }
}

fn document(metadata: &Path, role: &RoleName) -> Option<Document> {
    let limit = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX);
    let (bytes, _) = files::read(&metadata.join(format!("{role}.json")), limit).ok()??;
    Document::read(role, &bytes).ok()
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unread = |error| {
        Failure::usage(format!("read the directory {}", directory.display()), "is it there, and yours to read?")
            .because(error)
    };
    let entries = std::fs::read_dir(directory).map_err(unread)?.take(ENTRIES_MAX);
    entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(unread)
}
