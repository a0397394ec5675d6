//! Release pins: for the releases of a project, these keys are believed and no others.
//!
//! They stand in the host's configuration, in the user's, and in a file that `release pin add` writes, and count in
//! that order: where one of them names a project, the others say nothing of it. A changed environment, which may point
//! to other user files, so cannot add a key to a project of the host's.

use std::path::Path;

use serde::{Deserialize, Serialize};
use trust::{KeyName, Malformed, PublicKey};

use crate::failure::Failure;
use crate::pin::PinSource;

/// The most keys of one kind in a pin.
pub(crate) const KEYS_MAX: usize = 16;

/// The keys of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReleasePin {
    /// What the user calls it.
    pub(crate) name: KeyName,
    /// Of list, manifest, minisign's and OpenSSH's forms: at least one.
    pub(crate) statement: Vec<PublicKey>,
    /// Of the digests of files.
    pub(crate) blob: Vec<PublicKey>,
    /// Who made it.
    pub(crate) source: PinSource,
}

/// A pin as it stands in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleasePinEntry {
    name: String,
    public_keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blob_public_keys: Vec<String>,
}

impl ReleasePin {
    fn read(entry: &ReleasePinEntry, source: PinSource) -> Result<Self, Malformed> {
        let keys = |texts: &[String]| {
            if texts.len() > KEYS_MAX {
                return Err(Malformed::new("release pin", "at most 16 keys of each kind"));
            }
            texts.iter().map(|text| PublicKey::from_pem(text)).collect::<Result<Vec<_>, _>>()
        };
        let (statement, blob) = (keys(&entry.public_keys)?, keys(&entry.blob_public_keys)?);
        if statement.is_empty() {
            return Err(Malformed::new("release pin", "at least one key in public_keys"));
        }
        Ok(Self { name: name(&entry.name)?, statement, blob, source })
    }

    /// As it stands in a file.
    pub(crate) fn entry(&self) -> ReleasePinEntry {
        let pem = |keys: &[PublicKey]| keys.iter().map(PublicKey::to_pem).collect();
        ReleasePinEntry {
            name: self.name.to_string(),
            public_keys: pem(&self.statement),
            blob_public_keys: pem(&self.blob),
        }
    }
}

/// The name of a project.
pub(crate) fn name(text: &str) -> Result<KeyName, Malformed> {
    text.parse().map_err(|malformed: Malformed| Malformed::new("name of a project", malformed.expected))
}

/// Reads the pins of one file.
pub(crate) fn read_all(
    path: &Path,
    entries: Vec<ReleasePinEntry>,
    source: PinSource,
) -> Result<Vec<ReleasePin>, Failure> {
    let mut pins: Vec<ReleasePin> = Vec::new();
    for entry in entries {
        let unreadable = |why: Malformed| {
            Failure::usage(
                format!("the release pin for {:?} in {} cannot be read", entry.name, path.display()),
                "mend it, or remove it and use `trustctl release pin add`",
            )
            .because(why)
        };
        let pin = ReleasePin::read(&entry, source).map_err(unreadable)?;
        if pins.iter().any(|other| other.name == pin.name) {
            return Err(unreadable(Malformed::new("release pin", "the only one of its name in its file")));
        }
        pins.push(pin);
    }
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::pin;

    #[test]
    fn a_pin_without_keys_twice_or_with_something_else_for_a_key_is_named() {
        let pem = pin("r.example.com/a").key.to_pem();
        let entry = |keys: &[&str]| ReleasePinEntry {
            name: "acme/app".to_owned(),
            public_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            blob_public_keys: Vec::new(),
        };
        for entries in [
            vec![entry(&[])],
            vec![entry(&["no key"])],
            vec![entry(&vec![pem.as_str(); KEYS_MAX + 1])],
            vec![entry(&[&pem]), entry(&[&pem])],
        ] {
            let failure = read_all(Path::new("f.toml"), entries, PinSource::User).unwrap_err();

            assert!(failure.what().contains("acme/app") && failure.what().contains("f.toml"), "{failure:?}");
        }
        assert_eq!(read_all(Path::new("f.toml"), vec![entry(&[&pem])], PinSource::User).unwrap().len(), 1);
    }
}
