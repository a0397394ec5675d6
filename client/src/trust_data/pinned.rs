//! The root that somebody pinned, read: in a call it goes before the one in the configuration.

use trust::Sha256Digest;
use trust::format::tuf::client::{Client, Pin};
use trust::format::tuf::{BYTES_MAX, Document, Gun, RoleName};

use super::line::Line;
use super::rules::{distrusted, now};
use crate::failure::Failure;
use crate::files;
use crate::trust_server::TrustRoot;

/// Which root is believed.
#[derive(Debug, Clone)]
pub(super) enum Pinned {
    /// This one, and those that follow it.
    Root(Document),
    /// One that this key has signed, and those that follow it.
    Key(Sha256Digest),
    /// The first that is seen.
    Nothing,
}

impl Pinned {
    /// Reads the file, where one is named.
    ///
    /// # Errors
    /// Usage where there is no such file; refused where it is no root.
    pub(super) fn read(root: Option<&TrustRoot>) -> Result<Self, Failure> {
        Ok(match root {
            None => Self::Nothing,
            Some(TrustRoot::Key(key)) => Self::Key(*key),
            Some(TrustRoot::File(file)) => {
                let bytes = files::read_named(file, u64::try_from(BYTES_MAX).unwrap_or(u64::MAX))?;
                let root = Document::read(&RoleName::Root, &bytes);
                Self::Root(root.map_err(|unsound| distrusted(unsound.into()))?)
            }
        })
    }

    /// Whether somebody pinned one.
    pub(super) const fn is_some(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// With which root a client begins, of those that a server has.
    pub(super) fn pin(&self) -> Pin {
        match self {
            Self::Nothing | Self::Root(_) => Pin::FirstUse,
            Self::Key(key) => Pin::Keys([*key].into()),
        }
    }

    /// Whether it is known to lead to a line: whatever a server says, that line is gone on with.
    pub(super) fn leads_to(&self, line: &Line, gun: &Gun) -> bool {
        match self {
            Self::Nothing => false,
            Self::Root(root) => line.roots.have(root),
            Self::Key(key) if line.keys.contains(key) => true,
            Self::Key(_) => {
                let begun = line.root().map(|root| Client::begin(gun.clone(), root.clone(), &self.pin(), now()));
                begun.is_some_and(|begun| begun.is_ok())
            }
        }
    }
}
