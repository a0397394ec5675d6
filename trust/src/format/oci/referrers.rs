//! The list of manifests that are about another: the answer of the referrers API, and the index at the fallback tag
//! of registries that have no such API (OCI distribution-spec 1.1).

use super::{Descriptor, MANIFEST_BYTES_MAX, MediaType, members};
use crate::format::json::{self, Value, canonical};
use crate::{Malformed, Sha256Digest, Tag};

/// The tag under which registries without a referrers API keep the list of what is about `subject`: `sha256-<hex>`.
#[must_use]
pub fn fallback_tag(subject: &Sha256Digest) -> Tag {
    Tag::of_digest(subject, "")
}

/// A list of referrers. Others write to it, too: what we do not know is kept as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrers(Value);

impl Referrers {
    /// A list of nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self(Value::object([
            ("manifests", Value::Array(Vec::new())),
            ("mediaType", MediaType::OciIndex.as_str().into()),
            ("schemaVersion", 2_u32.into()),
        ]))
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`Malformed`] for what is no OCI index. A single entry that cannot be read is no error: it is
    /// [left out](Self::entries), so that one strange referrer cannot hide the others.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        const INDEX: Malformed = Malformed::new("list of referrers", "an OCI image index");
        let document = json::read("list of referrers", bytes, MANIFEST_BYTES_MAX)?;
        members(&document)?;
        let kind = document.present("mediaType").map_or(Some(MediaType::OciIndex.as_str()), Value::as_str);
        // Go writes null for a list of nothing.
        let listed = document.present("manifests").is_none_or(|items| items.as_array().is_some());
        let image = document.present("config").or(document.present("layers")).is_some();
        if kind != Some(MediaType::OciIndex.as_str()) || !listed || image {
            return Err(INDEX);
        }
        Ok(Self(document))
    }

    /// The entries that can be read, in their order.
    #[must_use]
    pub fn entries(&self) -> Vec<Descriptor> {
        self.items().iter().filter_map(|item| Descriptor::read(item).ok()).collect()
    }

    /// Adds an entry, unless one with its digest is there.
    ///
    /// # Errors
    /// [`Malformed`] for a size that JSON cannot carry.
    pub fn append(&mut self, entry: &Descriptor) -> Result<(), Malformed> {
        if self.entries().iter().any(|listed| listed.digest == entry.digest) {
            return Ok(());
        }
        let mut items = self.items().to_vec();
        items.push(entry.to_value()?);
        if let Value::Object(members) = &mut self.0 {
            members.insert("manifests".to_owned(), Value::Array(items));
        }
        Ok(())
    }

    /// The text to put at the fallback tag, as an OCI index.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(&self.0)
    }

    fn items(&self) -> &[Value] {
        self.0.member("manifests").and_then(Value::as_array).unwrap_or_default()
    }
}
