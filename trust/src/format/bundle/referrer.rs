//! A bundle in a registry: a manifest that is about the signed one (OCI image-spec 1.1, `subject`).

use super::{BYTES_MAX, MEDIA_TYPE};
use crate::Malformed;
use crate::format::calendar;
use crate::format::cosign::PREDICATE_TYPE;
use crate::format::json::{Value, canonical};
use crate::format::oci::{self, Content, Descriptor};

const WHAT: &str = "bundle's manifest";
const EMPTY_MEDIA_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// The blob that stands where such a manifest must have a configuration (OCI image-spec, "empty descriptor").
pub const EMPTY_CONFIG: &[u8] = b"{}";

/// The manifest of one bundle about one image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Referrer {
    /// The blob with the bundle.
    pub bundle: Descriptor,
    /// The manifest that is signed.
    pub subject: Descriptor,
}

impl Referrer {
    /// The manifest of `bundle` about `subject`, made at `created_s` seconds after 1970.
    ///
    /// # Errors
    /// [`Malformed`] for a size or time that no manifest can carry.
    pub fn write(subject: &Descriptor, bundle: &[u8], created_s: u64) -> Result<Vec<u8>, Malformed> {
        let annotations = Value::object([
            ("dev.sigstore.bundle.content", "dsse-envelope".into()),
            ("dev.sigstore.bundle.predicateType", PREDICATE_TYPE.into()),
            ("org.opencontainers.image.created", rfc3339(created_s)?.into()),
        ]);
        Ok(canonical(&Value::object([
            ("annotations", annotations),
            ("artifactType", MEDIA_TYPE.into()),
            ("config", Descriptor::of(EMPTY_MEDIA_TYPE, EMPTY_CONFIG).to_value()?),
            ("layers", Value::Array(vec![Descriptor::of(MEDIA_TYPE, bundle).to_value()?])),
            ("mediaType", oci::MediaType::OciManifest.as_str().into()),
            ("schemaVersion", 2_u32.into()),
            ("subject", bare(subject).to_value()?),
        ])))
    }

    /// Reads a manifest that a list of referrers led to. Its artifact type is not looked at: cosign lists its own
    /// under another one.
    ///
    /// # Errors
    /// [`Malformed`] when it is no OCI image manifest, is about nothing, or has anything but one layer that is a bundle
    /// of at most [`BYTES_MAX`] bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let manifest = oci::parse(bytes)?;
        let subject = manifest.subject.ok_or(Malformed::new(WHAT, "a subject"))?;
        let layers = match manifest.content {
            Content::Image { layers, .. } if manifest.media_type == oci::MediaType::OciManifest => layers,
            Content::Image { .. } | Content::Index { .. } => {
                return Err(Malformed::new(WHAT, "an OCI image manifest"));
            }
        };
        let fits = |layer: &Descriptor| {
            layer.media_type == MEDIA_TYPE && usize::try_from(layer.size_bytes).is_ok_and(|size| size <= BYTES_MAX)
        };
        match <[Descriptor; 1]>::try_from(layers) {
            Ok([bundle]) if fits(&bundle) => Ok(Self { bundle, subject }),
            _ => Err(Malformed::new(WHAT, "one layer, a sigstore bundle v0.3 of at most 512 KiB")),
        }
    }
}

/// What names the content and nothing more.
fn bare(descriptor: &Descriptor) -> Descriptor {
    Descriptor { annotations: std::collections::BTreeMap::new(), artifact_type: None, ..descriptor.clone() }
}

/// A time in UTC (RFC 3339 §5.6), to the second.
///
/// # Errors
/// [`Malformed`] after the year 9999.
fn rfc3339(seconds: u64) -> Result<String, Malformed> {
    let written = i64::try_from(seconds).ok().and_then(calendar::rfc3339);
    written.ok_or(Malformed::new("time", "a year before 10000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_709_164_799, "2024-02-28T23:59:59Z"),
            (1_790_000_000, "2026-09-21T14:13:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds).unwrap(), text);
        }
        assert!(rfc3339(253_402_300_800).is_err());
    }
}
