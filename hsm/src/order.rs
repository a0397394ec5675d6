//! What custody is asked to do, and what it hands out.

use std::fmt;
use std::sync::Arc;

use trust::{Algorithm, KeyRef, Malformed, PublicKey, Purpose, Sha256Digest, Signable, Signature};

use crate::{CustodyError, KekVersion, OfferId, TokenKey};

/// What a sealed key is bound to: it opens under exactly this and nothing else.
///
/// Format, row kind, SPKI hash, custodian and KEK version are added inside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "the caller states every part of it")]
pub struct SealContext {
    /// The store's uuid, 16 bytes.
    pub store: [u8; 16],
    /// Key and version.
    pub key: KeyRef,
    /// The key's algorithm.
    pub algorithm: Algorithm,
    /// The key's purpose.
    pub purpose: Purpose,
    /// SHA-256 of the key's scope (`Scope::hash`).
    pub scope_hash: Sha256Digest,
}

impl SealContext {
    /// Purpose × algorithm is one closed table (D7).
    pub(crate) fn refuse_impossible(&self) -> Result<(), CustodyError> {
        let (purpose, algorithm) = (self.purpose, self.algorithm);
        if purpose.allows(algorithm) {
            return Ok(());
        }
        Err(CustodyError::refused(format!("no key of purpose {purpose} has the algorithm {algorithm}")))
    }
}

/// A private key encrypted and bound to its [`SealContext`]; opaque bytes, safe to store. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SealedKey(Arc<[u8]>);

impl SealedKey {
    /// The longest sealed key, in bytes; RSA-4096 has about 2,600.
    pub const BYTES_MAX: usize = 16 * 1024;
    /// Format byte, KEK version, wrapped data key with its nonce, commitment, nonce, tag.
    const BYTES_MIN: usize = 1 + 4 + 24 + 48 + 32 + 24 + 16;

    /// Takes the bytes of a sealed key as stored. Whether it opens shows when it is used.
    ///
    /// # Errors
    /// [`Malformed`] when the length or the format byte is none that this version reads.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed::new("sealed key", "format 1, at most 16,384 bytes");
        let fits = (Self::BYTES_MIN..=Self::BYTES_MAX).contains(&bytes.len());
        if !fits || bytes.first() != Some(&1) || kek_version(bytes).is_none() {
            return Err(EXPECTED);
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes to store.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The KEK version that wraps its data key; rotation rewraps until all are under the current one.
    #[must_use]
    pub fn kek_version(&self) -> KekVersion {
        kek_version(&self.0).unwrap_or(KekVersion::FIRST)
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedKey({} bytes, {})", self.0.len(), self.kek_version())
    }
}

fn kek_version(bytes: &[u8]) -> Option<KekVersion> {
    let number: [u8; 4] = bytes.get(1..5)?.try_into().ok()?;
    KekVersion::new(u32::from_le_bytes(number))
}

/// Where a key version's private half is: safe to store, useless without its custodian.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Material {
    /// Sealed by the software custodian.
    Sealed(SealedKey),
    /// In a token, which it never leaves.
    Token(TokenKey),
}

impl Material {
    /// The name of the custodian that has it: `software`, or the token's.
    #[must_use]
    pub fn custodian(&self) -> &str {
        match self {
            Self::Sealed(_) => crate::software::NAME,
            Self::Token(key) => key.token.as_str(),
        }
    }
}

/// A key that was just made.
#[derive(Debug, Clone)]
#[must_use]
#[expect(clippy::exhaustive_structs, reason = "two halves, read by the caller")]
pub struct Generated {
    /// The public half, of the context's algorithm.
    pub public_key: PublicKey,
    /// The private half, sealed.
    pub material: Material,
}

/// A private key on its way into custody.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "the caller states every part of it")]
pub struct ImportOrder {
    /// What the key will be bound to; the key's algorithm is the context's.
    pub context: SealContext,
    /// What it was sealed to.
    pub offer: OfferId,
    /// What it was sealed under, at most `trust::envelope::INFO_BYTES_MAX`.
    pub info: Vec<u8>,
    /// The sealed PKCS#8, at most `trust::envelope::BYTES_MAX`.
    pub envelope: Vec<u8>,
}

/// A key that is in a token already and is to be a key of ours.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "the caller states every part of it")]
pub struct AdoptOrder {
    /// What the key will be bound to; the key's algorithm is the context's.
    pub context: SealContext,
    /// Its `CKA_ID`, 1 to [`crate::AdoptedId::BYTES_MAX`] bytes.
    pub id: Vec<u8>,
    /// SHA-256 of the DER `SubjectPublicKeyInfo` that it is known to have, where that is known.
    pub spki_sha256: Option<Sha256Digest>,
    /// Whether it may be allowed to do more than to sign: decrypt, unwrap, derive.
    pub may_do_more: bool,
}

/// One visit of one key: every input is signed by it. Made from one intent.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "the caller states every part of it")]
pub struct SigningOrder {
    /// What the material is bound to.
    pub context: Arc<SealContext>,
    /// SHA-256 of the public key's DER `SubjectPublicKeyInfo` (`PublicKey::spki_sha256`).
    pub spki_sha256: Sha256Digest,
    /// The private half.
    pub material: Material,
    /// The exact preimages, 1 to [`SigningOrder::INPUTS_MAX`], together at most [`SigningOrder::BYTES_MAX`].
    pub inputs: Vec<Signable>,
}

impl SigningOrder {
    /// The most inputs one order may have.
    pub const INPUTS_MAX: usize = 8192;
    /// The most bytes the inputs of one order may have together.
    pub const BYTES_MAX: usize = 7 * 1024 * 1024;

    /// The same order without inputs.
    #[must_use]
    pub fn clone_head(&self) -> Self {
        let (context, material) = (Arc::clone(&self.context), self.material.clone());
        Self { context, spki_sha256: self.spki_sha256, material, inputs: Vec::new() }
    }

    /// Refuses an order that is empty or too large, in words.
    pub(crate) fn check_size(&self) -> Result<(), CustodyError> {
        let (inputs, bytes) = (self.inputs.len(), self.input_bytes());
        if (1..=Self::INPUTS_MAX).contains(&inputs) && bytes <= Self::BYTES_MAX {
            return Ok(());
        }
        let (inputs_max, bytes_max) = (Self::INPUTS_MAX, Self::BYTES_MAX);
        Err(CustodyError::refused(format!(
            "an order of {inputs} inputs and {bytes} bytes: 1 to {inputs_max} inputs of at most {bytes_max} bytes together"
        )))
    }

    /// The bytes of all inputs together.
    pub(crate) fn input_bytes(&self) -> usize {
        let length = |input: &Signable| match input {
            Signable::Message(message) => message.len(),
            Signable::Digest(digest) => digest.as_bytes().len(),
        };
        self.inputs.iter().map(length).fold(0, usize::saturating_add)
    }
}

/// The answer to one order: why it was not begun, or one answer per input, in order.
pub type SignedOrder = Result<Vec<Result<Signature, CustodyError>>, CustodyError>;

/// A key version whose private half is to be gone from its custodian.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "the caller states every part of it")]
pub struct DestroyOrder {
    /// What the material is bound to.
    pub context: Arc<SealContext>,
    /// SHA-256 of the public key's DER `SubjectPublicKeyInfo`.
    pub spki_sha256: Sha256Digest,
    /// Where the private half is.
    pub material: Material,
}

/// How a key version's objects came to be gone from a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: they were there, or were not")]
pub enum Removed {
    /// They were found, and deleted now.
    Deleted,
    /// None was found. A token that is going away shows none either: ask again, later, before it is believed.
    NotFound,
}

/// A sealed record to be wrapped anew.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "the caller states every part of it")]
pub struct RewrapOrder {
    /// What the material is bound to.
    pub context: Arc<SealContext>,
    /// SHA-256 of the public key's DER `SubjectPublicKeyInfo`.
    pub spki_sha256: Sha256Digest,
    /// The record as it is now.
    pub material: Material,
}
