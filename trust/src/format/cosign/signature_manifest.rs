//! The manifest at the `.sig` tag: one layer for each signature (cosign's `SIGNATURE_SPEC.md`).

use std::collections::BTreeMap;

use crate::format::json::{self, Value, canonical};
use crate::format::{base64, oci};
use crate::{Malformed, PublicKey, Sha256Digest, Signable, Tag, verify};

use super::PAYLOAD_BYTES_MAX;
use oci::{Descriptor, MANIFEST_BYTES_MAX, MediaType};

const WHAT: &str = "signature manifest";
const PAYLOAD_MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const CONFIG_MEDIA_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// Where the signatures of a manifest lie, in its own repository: `sha256-<hex>.sig`.
#[must_use]
pub fn signature_tag(signed: &Sha256Digest) -> Tag {
    Tag::of_digest(signed, ".sig")
}

/// The manifest at the `.sig` tag. Others sign there, too: their layers are kept as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureManifest(Value);

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignatureLayer {
    /// The blob with the payload that is signed.
    pub payload: Descriptor,
    /// Over the payload's bytes, in the encoding of the key's algorithm.
    pub signature: Vec<u8>,
}

impl SignatureManifest {
    /// A manifest of no signature.
    #[must_use]
    pub fn empty() -> Self {
        Self(Value::object([
            ("layers", Value::Array(Vec::new())),
            ("mediaType", MediaType::OciManifest.as_str().into()),
            ("schemaVersion", 2_u32.into()),
        ]))
    }

    /// Reads a manifest that cosign or we wrote.
    ///
    /// # Errors
    /// [`Malformed`] for what is no OCI image manifest. A single layer that cannot be read is no error: it is
    /// [left out](Self::layers), so that one strange signature cannot hide the others.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        const MANIFEST: Malformed = Malformed::new(WHAT, "an OCI image manifest");
        let document = json::read(WHAT, bytes, MANIFEST_BYTES_MAX)?;
        oci::members(&document)?;
        if oci::media_type(&document)? != MediaType::OciManifest {
            return Err(MANIFEST);
        }
        document.member("layers").and_then(Value::as_array).ok_or(MANIFEST)?;
        Ok(Self(document))
    }

    /// The signatures that can be read, in their order. Payloads beyond [`PAYLOAD_BYTES_MAX`] are left out.
    #[must_use]
    pub fn layers(&self) -> Vec<SignatureLayer> {
        self.items().iter().filter_map(SignatureLayer::read).collect()
    }

    /// Adds the signature of `key` over `payload`. An older one of the same key over the same payload gives way, so
    /// that signing again does not grow the manifest; all other layers stay.
    ///
    /// # Errors
    /// [`Malformed`] when the payload is longer than [`PAYLOAD_BYTES_MAX`].
    pub fn put(&mut self, key: &PublicKey, payload: &[u8], signature: &[u8]) -> Result<(), Malformed> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Malformed::new("payload", "at most 64 KiB"));
        }
        let annotations = BTreeMap::from([(SIGNATURE.to_owned(), base64::encode(signature))]);
        let added = Descriptor { annotations, ..Descriptor::of(PAYLOAD_MEDIA_TYPE, payload) };
        let message = Signable::Message(payload.to_vec());
        let gives_way = |item: &Value| {
            SignatureLayer::read(item).is_some_and(|layer| {
                layer.payload.digest == added.digest && verify::one(key, &message, &layer.signature).is_ok()
            })
        };
        let mut items: Vec<Value> = self.items().iter().filter(|item| !gives_way(item)).cloned().collect();
        items.push(added.to_value()?);
        if let Value::Object(members) = &mut self.0 {
            members.insert("layers".to_owned(), Value::Array(items));
        }
        let config = Descriptor::of(CONFIG_MEDIA_TYPE, &self.config()).to_value()?;
        if let Value::Object(members) = &mut self.0 {
            members.insert("config".to_owned(), config);
        }
        Ok(())
    }

    /// The configuration that the manifest refers to once something was [put](Self::put): an image configuration that
    /// says nothing, as cosign writes it.
    #[must_use]
    pub fn config(&self) -> Vec<u8> {
        let layers = self.items().iter().filter_map(|item| item.member("digest")).cloned().collect::<Vec<_>>();
        canonical(&Value::object([
            ("architecture", "".into()),
            ("config", Value::object([])),
            ("created", "0001-01-01T00:00:00Z".into()),
            ("os", "".into()),
            ("rootfs", Value::object([("diff_ids", Value::Array(layers)), ("type", "layers".into())])),
        ]))
    }

    /// The text to put at the [`signature_tag`], as an OCI image manifest.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(&self.0)
    }

    fn items(&self) -> &[Value] {
        self.0.member("layers").and_then(Value::as_array).unwrap_or_default()
    }
}

impl SignatureLayer {
    fn read(item: &Value) -> Option<Self> {
        let payload = Descriptor::read(item).ok()?;
        let bounded = usize::try_from(payload.size_bytes).is_ok_and(|size| size <= PAYLOAD_BYTES_MAX);
        if payload.media_type != PAYLOAD_MEDIA_TYPE || !bounded {
            return None;
        }
        let signature = base64::decode("signature", payload.annotations.get(SIGNATURE)?).ok()?;
        Some(Self { payload, signature })
    }
}
