//! ML-DSA-65 (FIPS 204), to verify and not to sign.
//!
//! No custodian has such keys, so it is no [`crate::Algorithm`] of one: where a key may be asked to sign, this type
//! does not fit.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ML_DSA_65, ParsedPublicKey};
use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use spki::SubjectPublicKeyInfoRef;

use super::encode::decode_pem;
use crate::{Malformed, Sha256Digest};

/// id-ml-dsa-65 (RFC 9881 §2).
const OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const EXPECTED: Malformed = Malformed::new(
    "ML-DSA-65 public key",
    "the canonical DER of a SubjectPublicKeyInfo, or one PEM block PUBLIC KEY of it",
);
/// pk (FIPS 204, table 2).
const KEY_BYTES: usize = 1952;

/// An ML-DSA-65 public key, for verification only. Cheap to clone.
#[derive(Clone)]
pub struct MlDsa65Key(Arc<Inner>);

struct Inner {
    spki_sha256: Sha256Digest,
    parsed: ParsedPublicKey,
}

impl MlDsa65Key {
    /// The length of its `SubjectPublicKeyInfo` in DER.
    pub const SPKI_BYTES: usize = KEY_BYTES + 22;
    /// The length of every signature (FIPS 204, table 2).
    pub const SIGNATURE_BYTES: usize = 3309;

    /// Reads a DER `SubjectPublicKeyInfo` (RFC 9881 §4).
    ///
    /// # Errors
    /// [`Malformed`] for another algorithm's key, and for another encoding than the canonical one.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() != Self::SPKI_BYTES {
            return Err(EXPECTED);
        }
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| EXPECTED)?;
        let key = spki.subject_public_key.as_bytes().ok_or(EXPECTED)?;
        let is_canonical = spki.to_der().is_ok_and(|canonical| canonical == der);
        if !is_canonical || spki.algorithm.oid != OID || spki.algorithm.parameters.is_some() || key.len() != KEY_BYTES {
            return Err(EXPECTED);
        }
        let parsed = ParsedPublicKey::new(&ML_DSA_65, key).map_err(|_| EXPECTED)?;
        Ok(Self(Arc::new(Inner { spki_sha256: Sha256Digest::of(der), parsed })))
    }

    /// Reads one PEM block `PUBLIC KEY` (RFC 7468 §13), at most 16 KiB.
    ///
    /// # Errors
    /// [`Malformed`] as [`MlDsa65Key::from_spki_der`], and for anything that is not one such block.
    pub fn from_pem(text: &str) -> Result<Self, Malformed> {
        Self::from_spki_der(&decode_pem(text).map_err(|_| EXPECTED)?)
    }

    /// SHA-256 of the DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_sha256(&self) -> Sha256Digest {
        self.0.spki_sha256
    }

    pub(crate) fn parsed(&self) -> &ParsedPublicKey {
        &self.0.parsed
    }
}

impl fmt::Debug for MlDsa65Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MlDsa65Key({})", self.spki_sha256())
    }
}
