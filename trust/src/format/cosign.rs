//! What a signature over an image says, in both of cosign's forms, and how to read what another one says.
//!
//! Our signatures name the canonical `registry/repository:tag` beside the digest; cosign's own name the repository
//! or nothing. Cosign itself compares only the digest: whether the name fits what was asked for is decided by
//! [`Claim::answers`].

mod claim;
mod signature_manifest;
mod simple_signing;
mod statement;

use super::dsse;
use crate::{Form, Malformed, Reference, Sha256Digest};

pub use self::claim::{Asked, Claim, Named, Names};
pub use self::signature_manifest::{SignatureLayer, SignatureManifest, signature_tag};
pub use self::simple_signing::read as read_simple_signing;
pub use self::statement::read as read_statement;

/// The longest simple-signing payload or in-toto statement that is read, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// The type of the payload in an envelope: an in-toto statement.
pub(crate) const STATEMENT_MEDIA_TYPE: &str = "application/vnd.in-toto+json";
/// cosign's word for "the signature of an image" (`pkg/cosign/bundle`, `CosignSignPredicateType`).
pub(crate) const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

/// "The manifest with this digest is that image."
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "made by callers: a statement says these two things")]
pub struct ImageStatement {
    /// The canonical name.
    pub reference: Reference,
    /// Of the manifest's bytes.
    pub digest: Sha256Digest,
}

/// The bytes that say something in one form.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preimage {
    /// What is published beside the signature.
    pub payload: Vec<u8>,
    /// What the key signs.
    pub signed: Vec<u8>,
}

impl ImageStatement {
    /// Says it in one form: the same statement is always the same bytes.
    ///
    /// # Errors
    /// [`Malformed`] for any form but these two.
    pub fn preimage(&self, form: Form) -> Result<Preimage, Malformed> {
        match form {
            Form::Sig => {
                let payload = simple_signing::write(self);
                Ok(Preimage { signed: payload.clone(), payload })
            }
            Form::Bundle => {
                let payload = statement::write(self);
                Ok(Preimage { signed: dsse::pae(STATEMENT_MEDIA_TYPE, &payload), payload })
            }
            Form::Manifest | Form::Minisig | Form::Raw | Form::Sshsig | Form::Tuf => {
                Err(Malformed::new("form of an image signature", "sig or bundle"))
            }
        }
    }
}
