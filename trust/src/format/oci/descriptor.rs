//! What a manifest says about another piece of content.

use std::collections::BTreeMap;

use super::{WHAT, optional_text, plain, size_of, unambiguous};
use crate::format::json::{Integer, Object, Value};
use crate::{Malformed, Sha256Digest};

/// Every member of a descriptor that some reader knows.
const MEMBERS: [&str; 8] = ["annotations", "artifactType", "data", "digest", "mediaType", "platform", "size", "urls"];

/// Media type, digest and size of some content (OCI image-spec, descriptor).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "made by callers: the members of the specification that we use")]
pub struct Descriptor {
    /// Notes of whoever made it; anybody could have.
    pub annotations: BTreeMap<String, String>,
    /// What the content is, where it is a manifest and no image.
    pub artifact_type: Option<String>,
    /// Of the content.
    pub digest: Sha256Digest,
    /// Of the content.
    pub media_type: String,
    /// Bytes in the content.
    pub size_bytes: u64,
}

impl Descriptor {
    /// Describes `bytes`.
    #[must_use]
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            annotations: BTreeMap::new(),
            artifact_type: None,
            digest: Sha256Digest::of(bytes),
            media_type: media_type.to_owned(),
            size_bytes: size_of(bytes),
        }
    }

    /// True when `bytes` are what is described: as long, and of that digest.
    #[must_use]
    pub fn describes(&self, bytes: &[u8]) -> bool {
        self.size_bytes == size_of(bytes) && self.digest == Sha256Digest::of(bytes)
    }

    pub(crate) fn read(value: &Value) -> Result<Self, Malformed> {
        const REQUIRED: Malformed = Malformed::new(WHAT, "descriptors with mediaType, digest and size");
        unambiguous(value.as_object().ok_or(REQUIRED)?, &MEMBERS)?;
        let media_type = plain(value.member("mediaType").ok_or(REQUIRED)?)?;
        if !is_media_type(media_type) {
            return Err(REQUIRED);
        }
        Ok(Self {
            annotations: texts(value.present("annotations"))?,
            artifact_type: optional_text(value, "artifactType")?,
            digest: value.member("digest").and_then(Value::as_str).ok_or(REQUIRED)?.parse()?,
            media_type: media_type.to_owned(),
            size_bytes: value.member("size").and_then(Value::as_u64).ok_or(REQUIRED)?,
        })
    }

    /// # Errors
    /// [`Malformed`] for a size beyond 2⁵³−1.
    pub(crate) fn to_value(&self) -> Result<Value, Malformed> {
        let mut members = Object::new();
        members.insert("mediaType".to_owned(), Value::from(self.media_type.as_str()));
        members.insert("digest".to_owned(), Value::from(self.digest.to_string()));
        members.insert("size".to_owned(), Value::from(Integer::try_from(self.size_bytes)?));
        if let Some(artifact_type) = &self.artifact_type {
            members.insert("artifactType".to_owned(), Value::from(artifact_type.as_str()));
        }
        if !self.annotations.is_empty() {
            members.insert("annotations".to_owned(), annotations(&self.annotations));
        }
        Ok(Value::from(members))
    }
}

fn annotations(texts: &BTreeMap<String, String>) -> Value {
    Value::from(texts.iter().map(|(key, text)| (key.clone(), Value::from(text.as_str()))).collect::<Object>())
}

/// `type/subtype` of RFC 6838 §4.2.
fn is_media_type(text: &str) -> bool {
    let half = |half: &str| {
        half.starts_with(|c: char| c.is_ascii_alphanumeric())
            && half.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| half(kind) && half(subtype))
}

/// Reads annotations: texts by key, keys without control characters.
pub(crate) fn texts(value: Option<&Value>) -> Result<BTreeMap<String, String>, Malformed> {
    const EXPECTED: Malformed = Malformed::new(WHAT, "annotations that are texts");
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let entry = |(key, text): (&String, &Value)| {
        let key = plain(&Value::from(key.as_str()))?.to_owned();
        Ok((key, text.as_str().ok_or(EXPECTED)?.to_owned()))
    };
    value.as_object().ok_or(EXPECTED)?.iter().map(entry).collect()
}
