//! Pins: for these repositories, this key is believed, and no key that has no pin.

use std::path::Path;

use serde::{Deserialize, Serialize};
use trust::scope::RepositoryPattern;
use trust::{Malformed, PublicKey, Repository};

use crate::failure::Failure;
use crate::files;

/// No file with a public key is longer.
pub(crate) const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Who made a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PinSource {
    /// The host's configuration, which root owns.
    Host,
    /// The user's configuration.
    User,
    /// `trustctl pin add`.
    Added,
}

/// One pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// For which repositories.
    pub(crate) pattern: RepositoryPattern,
    /// The key that is believed.
    pub(crate) key: PublicKey,
    /// Signatures that name no repository or tag count, too: those that cosign itself makes.
    pub(crate) any_tag: bool,
    /// Content trust cannot be switched off here.
    pub(crate) required: bool,
    /// Who made it.
    pub(crate) source: PinSource,
}

/// A pin as it stands in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinEntry {
    pub(crate) repository: String,
    #[serde(default, skip_serializing_if = "is_false")]
    any_tag: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    required: bool,
    public_key: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Pin {
    /// Reads one from a file.
    pub(crate) fn read(entry: PinEntry, source: PinSource) -> Result<Self, Malformed> {
        Ok(Self {
            pattern: RepositoryPattern::normalise(&entry.repository)?,
            key: PublicKey::from_pem(&entry.public_key)?,
            any_tag: entry.any_tag,
            required: entry.required,
            source,
        })
    }

    /// As it stands in a file.
    pub(crate) fn entry(&self) -> PinEntry {
        PinEntry {
            repository: self.pattern.to_string(),
            any_tag: self.any_tag,
            required: self.required,
            public_key: self.key.to_pem(),
        }
    }
}

/// Reads a public key the user named.
pub(crate) fn read_public_key(path: &Path) -> Result<PublicKey, Failure> {
    public_key_in(path, &files::read_named(path, KEY_FILE_BYTES_MAX)?)
}

/// The public key in a file that was read.
pub(crate) fn public_key_in(path: &Path, bytes: &[u8]) -> Result<PublicKey, Failure> {
    let read = str::from_utf8(bytes).ok().and_then(|text| PublicKey::from_pem(text).ok());
    read.ok_or_else(|| {
        Failure::usage(
            format!("{} is not a public key", path.display()),
            "it has to be one PEM block PUBLIC KEY (Ed25519, P-256, P-384, RSA-3072, RSA-4096); `trustctl key public \
             NAME` writes one",
        )
    })
}

/// The pins that match a repository and decide for it: the host's alone where one of them matches, else the user's.
///
/// The host's go first so that a changed environment, which may point to other user files, cannot add a key to them.
pub(crate) fn matching<'a>(pins: &'a [Pin], repository: &Repository) -> impl Iterator<Item = &'a Pin> {
    let host = pins.iter().any(|pin| pin.source == PinSource::Host && pin.pattern.covers(repository));
    let repository = repository.clone();
    pins.iter().filter(move |pin| pin.pattern.covers(&repository) && (!host || pin.source == PinSource::Host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::pin;

    #[test]
    fn where_a_pin_of_the_host_matches_a_users_does_not_count() {
        let repository = Repository::parse("r.example.com/team/app").unwrap();
        let mut pins = vec![pin("r.example.com/team/app"), pin("r.example.com/*")];
        assert_eq!(matching(&pins, &repository).count(), 2);

        pins[1].source = PinSource::Host;

        let left: Vec<_> = matching(&pins, &repository).collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].source, PinSource::Host);
    }
}
