//! A key file of docker and notary: a key in PEM, and before it in lines of its own whose it is.
//!
//! What those lines say is taken for a wish: it decides what the key is asked to be for, and no more. Files that notary
//! before 0.4 laid out say the same by their place: `root_keys/ID_root.key`, `tuf_keys/REPOSITORY/ID_targets.key`.

use std::ffi::OsStr;
use std::path::Path;

use trust::{Gun, Purpose};

use crate::failure::Failure;
use crate::key::private_file::{FILE_BYTES_MAX, Held, apart, read_secret};

/// One key file.
pub(crate) struct DockerKey {
    /// The name of the file: the key's own name in metadata.
    pub(crate) id: String,
    /// `root`, `targets`, `snapshot`, `timestamp`, or a delegation's.
    pub(crate) role: String,
    /// The repository; docker says none for root and delegations.
    pub(crate) gun: Option<Gun>,
    pub(super) held: Held,
}

impl DockerKey {
    /// Reads the file, of the directory of keys `private`.
    pub(super) fn read(path: &Path, private: &Path) -> Result<Self, Failure> {
        let bytes = read_secret(path, FILE_BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| not_readable(path))?;
        let (pem, words) = apart(text).ok_or_else(|| not_readable(path))?;
        let word = |name: &str| words.iter().find(|(found, _)| *found == name).map(|(_, word)| *word);
        let place = Place::of(path.strip_prefix(private).unwrap_or(path));
        let role = word("role").or(place.role).ok_or_else(|| {
            Failure::usage(
                "it does not say which role it is for",
                "trustctl key import NAME --purpose PURPOSE --file FILE",
            )
        })?;
        let gun = word("gun").filter(|gun| !gun.is_empty()).or(place.gun).map(str::parse).transpose()?;
        let held = Held::of_pem(path, &pem, &words)?;
        Ok(Self { id: place.id.to_owned(), role: role.to_owned(), gun, held })
    }

    /// What such a key is for here: whatever is none of the four roles is a delegation.
    pub(crate) fn purpose(&self) -> Purpose {
        match self.role.as_str() {
            "root" => Purpose::Root,
            "targets" => Purpose::Targets,
            "snapshot" => Purpose::Snapshot,
            "timestamp" => Purpose::Timestamp,
            _ => Purpose::Delegation,
        }
    }
}

/// What a file's place says; a new one's only which key it is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place<'p> {
    id: &'p str,
    role: Option<&'p str>,
    gun: Option<&'p str>,
}

impl<'p> Place<'p> {
    /// Of a path below the directory of keys.
    fn of(path: &'p Path) -> Self {
        let id = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let Some(directory) = path.parent().and_then(Path::to_str).filter(|name| !name.is_empty()) else {
            return Self { id, ..Self::default() };
        };
        let (id, role) = id.split_once('_').map_or((id, None), |(id, role)| (id, Some(role)));
        Self { id, role, gun: directory.strip_prefix("tuf_keys/") }
    }
}

fn not_readable(path: &Path) -> Failure {
    Failure::usage(format!("{} is no key file of docker or notary", path.display()), "is it another's? leave it out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_older_file_says_whose_it_is() {
        let says = |path| {
            let Place { id, role, gun } = Place::of(Path::new(path));
            (id.to_owned(), role.map(str::to_owned), gun.map(str::to_owned))
        };
        let some = |text: &str| Some(text.to_owned());

        assert_eq!(says("ab12.key"), ("ab12".to_owned(), None, None));
        assert_eq!(says("root_keys/ab12_root.key"), ("ab12".to_owned(), some("root"), None));
        assert_eq!(says("tuf_keys/ab12.key"), ("ab12".to_owned(), None, None));
        assert_eq!(
            says("tuf_keys/docker.com/team/app/ab12_targets.key"),
            ("ab12".to_owned(), some("targets"), some("docker.com/team/app"))
        );
    }
}
