//! The four kinds of manifest that are read.

use std::fmt;
use std::str::FromStr;

use crate::Malformed;

/// A kind of manifest, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "closed set: another kind must be answered for everywhere")]
pub enum MediaType {
    /// docker's manifest list, schema 2.
    DockerList,
    /// docker's image manifest, schema 2.
    DockerManifest,
    /// OCI image index.
    OciIndex,
    /// OCI image manifest.
    OciManifest,
}

impl MediaType {
    /// Every kind: what a client accepts.
    pub const ALL: [Self; 4] = [Self::OciIndex, Self::OciManifest, Self::DockerList, Self::DockerManifest];

    /// As registries write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
        }
    }

    /// True when it lists other manifests.
    pub(crate) const fn is_index(self) -> bool {
        matches!(self, Self::DockerList | Self::OciIndex)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MediaType {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(Malformed::new(
            "media type of a manifest",
            "an OCI image manifest or index, or docker's of schema 2 (docker's schema 1 cannot be trusted)",
        ))
    }
}
