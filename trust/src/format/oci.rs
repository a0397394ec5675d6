//! Image manifests and indexes as registries serve them (OCI image-spec 1.1, docker's schema 2).
//!
//! A digest is of the exact bytes, so nothing here rewrites a foreign manifest. Two readers that see different things
//! in the same bytes are how a signed manifest becomes another image, so a document that says both "image" and
//! "index" is refused (CVE-2021-41190), as is a key that Go's reader would take for a known one (`Layers`). `urls` of
//! foreign layers are not read: nobody here follows them. Schema 1 is not read at all.

mod descriptor;
mod media_type;
mod referrers;

use std::collections::BTreeMap;

use super::json::{self, Object, Value};
use crate::{Malformed, Sha256Digest};

pub use self::descriptor::Descriptor;
pub(crate) use self::descriptor::texts;
pub use self::media_type::MediaType;
pub use self::referrers::{Referrers, fallback_tag};

/// The longest manifest that is read, in bytes (OCI distribution-spec: what registries take at least).
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;

const WHAT: &str = "manifest";

/// Every member of a manifest or index that some reader knows.
const MEMBERS: [&str; 11] = [
    "annotations",
    "artifactType",
    "config",
    "fsLayers",
    "history",
    "layers",
    "manifests",
    "mediaType",
    "schemaVersion",
    "signatures",
    "subject",
];

/// A manifest, read from its exact bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// Notes of whoever made it; anybody could have.
    pub annotations: BTreeMap<String, String>,
    /// What it is, where it is no image.
    pub artifact_type: Option<String>,
    /// What it consists of.
    pub content: Content,
    /// Of the bytes that were read.
    pub digest: Sha256Digest,
    /// What it says to be; for a document that says nothing, what it can only be.
    pub media_type: MediaType,
    /// How many bytes were read.
    pub size_bytes: u64,
    /// The manifest it is about.
    pub subject: Option<Descriptor>,
}

/// What a manifest consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: OCI image-spec has these two")]
pub enum Content {
    /// One image.
    Image {
        /// Its configuration.
        config: Descriptor,
        /// Its layers, lowest first.
        layers: Vec<Descriptor>,
    },
    /// Several images, mostly one for each platform.
    Index {
        /// Their manifests.
        manifests: Vec<Descriptor>,
    },
}

impl Manifest {
    /// The manifests an index lists; none for an image.
    #[must_use]
    pub fn instances(&self) -> &[Descriptor] {
        match &self.content {
            Content::Image { .. } => &[],
            Content::Index { manifests } => manifests,
        }
    }

    /// How others refer to it: media type, digest and size.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            annotations: BTreeMap::new(),
            artifact_type: None,
            digest: self.digest,
            media_type: self.media_type.as_str().to_owned(),
            size_bytes: self.size_bytes,
        }
    }

    /// How a list of referrers names it: with its artifact type, which is the configuration's media type where it has
    /// none of its own, and its annotations (OCI distribution-spec 1.1, "listing referrers").
    #[must_use]
    pub fn listed(&self) -> Descriptor {
        let of_config = match &self.content {
            Content::Image { config, .. } => Some(config.media_type.clone()),
            Content::Index { .. } => None,
        };
        Descriptor {
            annotations: self.annotations.clone(),
            artifact_type: self.artifact_type.clone().or(of_config),
            ..self.descriptor()
        }
    }
}

/// Reads a manifest or index.
///
/// # Errors
/// [`Malformed`] for more than [`MANIFEST_BYTES_MAX`], what [`json::read`] refuses, another media type or schema than
/// the four of [`MediaType`], a document that is both image and index, a key that differs from a known one in case
/// only, and a digest other than SHA-256.
pub fn parse(bytes: &[u8]) -> Result<Manifest, Malformed> {
    let document = json::read(WHAT, bytes, MANIFEST_BYTES_MAX)?;
    let members = members(&document)?;
    let media_type = media_type(&document)?;
    Ok(Manifest {
        annotations: texts(document.present("annotations"))?,
        artifact_type: optional_text(&document, "artifactType")?,
        content: content(&document, media_type)?,
        digest: Sha256Digest::of(bytes),
        media_type,
        size_bytes: size_of(bytes),
        subject: members.get("subject").filter(|v| **v != Value::Null).map(Descriptor::read).transpose()?,
    })
}

/// Reads a manifest that was served with a `Content-Type`: header and body must agree (CVE-2021-41190).
///
/// # Errors
/// As [`parse`], and when the two say different things.
pub fn parse_served(content_type: &str, bytes: &[u8]) -> Result<Manifest, Malformed> {
    let served = content_type.split(';').next().unwrap_or_default().trim().parse::<MediaType>()?;
    let manifest = parse(bytes)?;
    if manifest.media_type != served {
        return Err(Malformed::new(WHAT, "the media type in its text that it was served with"));
    }
    Ok(manifest)
}

/// The members of a document, none of whose keys two readers could take for different ones.
pub(crate) fn members(document: &Value) -> Result<&Object, Malformed> {
    let members = document.as_object().ok_or(Malformed::new(WHAT, "a JSON object"))?;
    unambiguous(members, &MEMBERS)?;
    Ok(members)
}

/// Refuses a key that is one of `known` but for its case: Go's JSON reader would take it for that one.
pub(crate) fn unambiguous(members: &Object, known: &[&str]) -> Result<(), Malformed> {
    // Up after down folds what Go folds beyond ASCII, too: the long s and the Kelvin sign.
    let folded = |name: &str| name.to_lowercase().to_uppercase();
    let twin = |name: &str| known.iter().any(|known| *known != name && folded(known) == folded(name));
    if members.keys().any(|name| twin(name)) {
        return Err(Malformed::new(WHAT, "keys spelled as the specification has them, upper and lower case included"));
    }
    Ok(())
}

/// What a document says to be, or can only be.
pub(crate) fn media_type(document: &Value) -> Result<MediaType, Malformed> {
    if document.member("schemaVersion").and_then(Value::as_u64) != Some(2) {
        return Err(Malformed::new(WHAT, "schemaVersion 2"));
    }
    let has = |name| document.present(name).is_some();
    let (image, index) = (has("config") || has("layers"), has("manifests"));
    if has("fsLayers") || has("history") || has("signatures") || image == index {
        return Err(Malformed::new(WHAT, "either an image (config and layers) or an index (manifests)"));
    }
    let said = match document.present("mediaType") {
        // Older OCI tools leave it out; docker's never did.
        None if index => MediaType::OciIndex,
        None => MediaType::OciManifest,
        Some(text) => text.as_str().unwrap_or_default().parse()?,
    };
    if said.is_index() != index {
        return Err(Malformed::new(WHAT, "the members that its media type has"));
    }
    Ok(said)
}

fn content(document: &Value, media_type: MediaType) -> Result<Content, Malformed> {
    if media_type.is_index() {
        return Ok(Content::Index { manifests: descriptors(document, "manifests")? });
    }
    let config = document.present("config").ok_or(Malformed::new(WHAT, "a config"))?;
    Ok(Content::Image { config: Descriptor::read(config)?, layers: descriptors(document, "layers")? })
}

fn descriptors(document: &Value, name: &str) -> Result<Vec<Descriptor>, Malformed> {
    let items = document.present(name).and_then(Value::as_array);
    items.ok_or(Malformed::new(WHAT, "a list of descriptors"))?.iter().map(Descriptor::read).collect()
}

fn optional_text(value: &Value, name: &str) -> Result<Option<String>, Malformed> {
    match value.present(name) {
        None => Ok(None),
        Some(text) => Ok(Some(plain(text)?.to_owned())).map(|text| text.filter(|text| !text.is_empty())),
    }
}

/// The text of a value that must be one and is shown to people: no control characters.
fn plain(value: &Value) -> Result<&str, Malformed> {
    let text = value.as_str().filter(|text| text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control));
    text.ok_or(Malformed::new(WHAT, "types and keys of at most 255 bytes without control characters"))
}

/// The longest media type or annotation key, in bytes (RFC 6838 §4.2: 127 for each half).
const TEXT_BYTES_MAX: usize = 255;

/// A count of bytes on any machine that has them.
pub(crate) fn size_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
