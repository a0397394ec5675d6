//! What lies in a directory: files of a release, signatures, and what is neither.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use trust::format::release::{FILES_MAX, FileName};

use crate::failure::Failure;

/// The most entries of a directory that are looked at: every file with every signature, and room for strangers.
const ENTRIES_MAX: usize = FILES_MAX * 8;

/// A directory, sorted out.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Which one.
    pub(super) directory: PathBuf,
    /// Regular files that can be of a release.
    pub(super) files: BTreeMap<FileName, PathBuf>,
    /// Regular files with names that only signatures have.
    pub(super) signatures: BTreeSet<String>,
    /// Everything else: directories, links, names that no release has.
    pub(super) others: Vec<String>,
}

impl Listing {
    /// Lists a directory.
    pub(super) fn of(directory: &Path) -> Result<Self, Failure> {
        let unreadable = |error: std::io::Error| {
            Failure::usage(format!("read the directory {}", directory.display()), "name a directory you may read")
                .because(error)
        };
        let mut listing = Self { directory: directory.to_path_buf(), ..Self::default() };
        for (count, entry) in std::fs::read_dir(directory).map_err(unreadable)?.enumerate() {
            if count >= ENTRIES_MAX {
                return Err(Failure::usage(
                    format!("{} holds more files than a release can have", directory.display()),
                    format!("a release has at most {FILES_MAX} files, and what belongs to them"),
                ));
            }
            let entry = entry.map_err(unreadable)?;
            let is_file = entry.file_type().map_err(unreadable)?.is_file();
            let name = entry.file_name().into_string();
            match name {
                Ok(name) if is_file && FileName::is_of_signature(&name) => {
                    listing.signatures.insert(name);
                }
                Ok(name) => match FileName::parse(&name) {
                    Ok(name) if is_file => {
                        listing.files.insert(name, entry.path());
                    }
                    _ => listing.others.push(name),
                },
                Err(name) => listing.others.push(name.to_string_lossy().into_owned()),
            }
        }
        listing.others.sort();
        Ok(listing)
    }

    /// The release that `paths` name: one directory with all its files, or some files of one directory.
    pub(super) fn to_sign(paths: &[PathBuf]) -> Result<Self, Failure> {
        if let [directory] = paths
            && directory.is_dir()
        {
            let listing = Self::of(directory)?;
            if let Some(other) = listing.others.first() {
                return Err(not_of_a_release(&directory.join(other)));
            }
            return Ok(listing);
        }
        let mut named = BTreeMap::new();
        let mut directory: Option<&Path> = None;
        for path in paths {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if directory.is_some_and(|directory| directory != parent) {
                return Err(Failure::usage(
                    "the files lie in several directories",
                    "put the release into one directory: its list and its manifest lie there, too",
                ));
            }
            directory = Some(parent);
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| FileName::parse(name).ok());
            let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
            match name {
                Some(name) if is_file => named.insert(name, path.clone()),
                _ => return Err(not_of_a_release(path)),
            };
        }
        let mut listing = Self::of(directory.unwrap_or(Path::new(".")))?;
        // What belongs to other files stays as it is.
        listing.signatures.retain(|signature| belongs(signature, &named));
        listing.files = named;
        listing.others.clear();
        Ok(listing)
    }
}

/// Whether a signature is of one of `files`, or of all.
pub(super) fn belongs(signature: &str, files: &BTreeMap<FileName, PathBuf>) -> bool {
    super::judge::WHOLE.contains(&signature)
        || super::judge::ENDINGS
            .iter()
            .filter_map(|(_, end)| FileName::parse(signature.strip_suffix(end)?).ok())
            .any(|file| files.contains_key(&file))
}

fn not_of_a_release(path: &Path) -> Failure {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with(super::placing::STAGING) {
        return Failure::usage(
            format!("{} is what an earlier run left that was stopped while it wrote", path.display()),
            "look into it, remove it, and sign again: signatures of before may be in its directory `old`",
        );
    }
    Failure::usage(
        format!("{} cannot be a file of a release", path.display()),
        "it has to be a regular file, no link, whose name has no '\\' or control character and is not one of a signature \
         (.sig, .sigstore.json, .minisig, .sshsig)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_directories_and_names_no_release_has_are_told_from_files() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        for name in ["a", "a.sig", "b\\c"] {
            std::fs::write(place(name), "").unwrap();
        }
        std::fs::create_dir(place("d")).unwrap();
        std::os::unix::fs::symlink("a", place("e")).unwrap();

        let listing = Listing::of(directory.path()).unwrap();

        assert_eq!(listing.files.keys().map(FileName::as_str).collect::<Vec<_>>(), ["a"]);
        assert_eq!(listing.signatures.iter().collect::<Vec<_>>(), ["a.sig"]);
        assert_eq!(listing.others, ["b\\c", "d", "e"]);
        assert_eq!(Listing::to_sign(&[directory.path().to_owned()]).unwrap_err().exit().code(), 2);
        let left = Listing::to_sign(&[place(".trustctl-0123456789abcdef")]).unwrap_err();
        assert!(left.what().contains("an earlier run left"), "{left:?}");
        for refused in [vec![place("e")], vec![place("a.sig")], vec![place("absent")], vec![place("a"), place("d")]] {
            assert_eq!(Listing::to_sign(&refused).unwrap_err().exit().code(), 2, "{refused:?}");
        }
    }

    #[test]
    fn some_files_of_one_directory_are_a_release_and_files_of_two_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        std::fs::create_dir(place("d")).unwrap();
        for name in ["a", "b", "b.sig", "d/c"] {
            std::fs::write(place(name), "").unwrap();
        }

        let listing = Listing::to_sign(&[place("a")]).unwrap();

        assert_eq!(listing.files.keys().map(FileName::as_str).collect::<Vec<_>>(), ["a"]);
        assert!(listing.signatures.is_empty());
        assert!(Listing::to_sign(&[place("a"), place("d/c")]).unwrap_err().what().contains("several directories"));
    }
}
