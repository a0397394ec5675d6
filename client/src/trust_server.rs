//! Where trust data is, and which root is believed: as it stands in a configuration or a call.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use trust::scope::RepositoryPattern;
use trust::{Gun, Malformed, Repository, Sha256Digest};

use crate::failure::Failure;
use crate::files;

/// Certificates of authorities are not longer.
const CA_BYTES_MAX: u64 = 1024 * 1024;

/// `[[trust_servers]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustServerEntry {
    pub(crate) repository: String,
    url: String,
    ca: Option<PathBuf>,
    root: Option<TrustRoot>,
    #[serde(default)]
    required: bool,
    #[serde(skip)]
    pattern: Option<RepositoryPattern>,
}

/// Which root is believed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum TrustRoot {
    /// The one in this file, and those that follow it.
    File(PathBuf),
    /// One that this key has signed, by its name in `docker trust inspect`, and those that follow it.
    Key(Sha256Digest),
}

impl FromStr for TrustRoot {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hash {
            return Sha256Digest::from_hex(&text.to_ascii_lowercase()).map(Self::Key);
        }
        if text.is_empty() || text.contains('\0') {
            return Err(Malformed::new(
                "trust root",
                "a file with a root, or the 64 hexadecimal digits of its key's name",
            ));
        }
        Ok(Self::File(PathBuf::from(text)))
    }
}

impl TryFrom<String> for TrustRoot {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl TrustServerEntry {
    /// One that a call names, for the one repository that it is about.
    pub(crate) fn at(url: String, ca: Option<PathBuf>, gun: &Gun) -> Self {
        let pattern = Repository::parse(gun.as_str()).ok().map(RepositoryPattern::Exact);
        Self { repository: gun.to_string(), url, ca, root: None, required: true, pattern }
    }

    /// The same, read: paths lie beside the file that names them, in `directory`.
    pub(crate) fn beside(mut self, directory: &Path) -> Result<Self, Malformed> {
        self.pattern = Some(RepositoryPattern::normalise(&self.repository)?);
        self.ca = self.ca.map(|ca| directory.join(ca));
        if let Some(TrustRoot::File(file)) = &mut self.root {
            *file = directory.join(&file);
        }
        Ok(self)
    }

    /// Whether it has the trust data of a repository.
    pub(crate) fn is_of(&self, repository: &Repository) -> bool {
        self.pattern.as_ref().is_some_and(|pattern| pattern.covers(repository))
    }

    /// The one repository that it names, or what the names begin with.
    pub(crate) const fn pattern(&self) -> Option<&RepositoryPattern> {
        self.pattern.as_ref()
    }

    /// The server.
    pub(crate) fn url(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    /// Whether a repository without trust data is refused.
    pub(crate) const fn is_required(&self) -> bool {
        self.required
    }

    /// The root that is believed, if it is pinned.
    pub(crate) const fn root(&self) -> Option<&TrustRoot> {
        self.root.as_ref()
    }

    /// The certificates, in PEM, that count for the server beside the system's.
    pub(crate) fn authorities(&self) -> Result<Vec<u8>, Failure> {
        self.ca.as_ref().map_or_else(|| Ok(Vec::new()), |path| files::read_named(path, CA_BYTES_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_a_key_by_its_name_or_a_file() {
        let key = "18CC30F083AD8C5B2B2C9D0A61B7E7EF4E8EBD4C62C9C2C1F2E0B7A4D9C8E7F6";
        assert!(matches!(key.parse(), Ok(TrustRoot::Key(hash)) if hash.to_hex() == key.to_ascii_lowercase()));
        assert_eq!("root.json".parse(), Ok(TrustRoot::File(PathBuf::from("root.json"))));
        assert!("".parse::<TrustRoot>().is_err());
    }

    #[test]
    fn an_entry_has_the_data_of_those_its_pattern_covers() {
        let text = "repository = \"r.example.com/team/*\"\nurl = \"https://notary.example.com/\"\nca = \"ca.pem\"\n";
        let entry: TrustServerEntry = toml::from_str(text).unwrap();
        let entry = entry.beside(Path::new("/etc/trustctl")).unwrap();

        assert!(entry.is_of(&Repository::parse("r.example.com/team/app").unwrap()));
        assert!(!entry.is_of(&Repository::parse("r.example.com/other").unwrap()));
        assert_eq!((entry.url(), entry.is_required(), entry.root()), ("https://notary.example.com", false, None));
        assert_eq!(entry.ca, Some(PathBuf::from("/etc/trustctl/ca.pem")));
        assert!(toml::from_str::<TrustServerEntry>(&format!("{text}roots = 1")).is_err());
    }
}
