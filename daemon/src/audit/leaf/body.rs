//! What an intent is about.

use serde::Serialize;
use trust::Sha256Digest;
use trust::format::tuf::{Gun, Version};

/// Many items under one leaf (D13).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BatchBody {
    pub(crate) count: u64,
    /// RFC 6962 root over the items' canonical statements, hexadecimal.
    pub(crate) root: String,
}

/// Why the signatures of a key count no more, and from which leaf on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DistrustBody {
    pub(crate) reason: &'static str,
    pub(crate) since_leaf: u64,
}

/// What is signed, in words.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct SubjectBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evidence: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
    /// Of a release's source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<String>,
    /// Decimal text: a size may be larger than JSON's exact integers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Of a release, or of a file of trust data; of its deletion, of its last timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

impl SubjectBody {
    /// The type of trust data that the daemon publishes.
    pub(crate) const TRUST_DATA: &str = "tuf";
    /// The type of trust data that is published elsewhere, and only signed here: others number its versions.
    pub(crate) const TRUST_DATA_ELSEWHERE: &str = "tuf-elsewhere";

    /// The type of what waits for signatures in such a repository.
    pub(crate) const PROPOSAL: &str = "tuf-proposal";

    /// Of a proposal that goes without having been published: what it is known by, and who began it.
    pub(crate) fn proposal(gun: &Gun, digest: Sha256Digest, begun_by: &str) -> Self {
        Self {
            digest: Some(digest.to_string()),
            name: Some(begun_by.to_owned()),
            reference: Some(gun.to_string()),
            kind: Self::PROPOSAL,
            ..Self::default()
        }
    }

    /// Of a repository that is deleted: the highest version that its timestamp ever had.
    pub(crate) fn deletion(gun: &Gun, timestamp: Option<Version>) -> Self {
        Self {
            reference: Some(gun.to_string()),
            kind: Self::TRUST_DATA,
            version: timestamp.map(|version| version.number().to_string()),
            ..Self::default()
        }
    }
}
