//! What a caller wants said, parsed; and the exact bytes that say it.
//!
//! The door reads a [`Statement`]; [`Statement::preimage`] makes the bytes. No
//! other module decides what gets signed.

use serde::Serialize;
use trust::format::cosign;
use trust::{Algorithm, Digest, Fault, FaultKind, Form, HashFunction, Purpose, Reference, Sha256Digest, Signable};

use crate::audit::SubjectBody;
use crate::authorize::{Action, Evidence, StatementFacts};

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// "This manifest is that reference."
    Image {
        /// The canonical name.
        reference: Reference,
        /// Of the manifest's bytes.
        digest: Sha256Digest,
        /// How the daemon knows the digest.
        evidence: Evidence,
    },
    /// "This is the digest of a release file."
    Blob {
        /// Of the file's bytes.
        sha256: Sha256Digest,
        /// The file's name: 1 to 255 bytes, no control characters, no `/`.
        name: String,
        /// Bytes in the file.
        size: u64,
    },
    /// Bytes that nobody parsed.
    Raw(Signable),
}

impl Statement {
    /// The one purpose whose keys may say this.
    #[must_use]
    pub(crate) const fn purpose(&self) -> Purpose {
        match self {
            Self::Image { .. } => Purpose::Image,
            Self::Blob { .. } => Purpose::ReleaseBlob,
            Self::Raw(_) => Purpose::Raw,
        }
    }

    /// The action that says this.
    pub(crate) const fn action(&self) -> Action {
        match self {
            Self::Image { .. } => Action::SignImage,
            Self::Blob { .. } => Action::SignBlob,
            Self::Raw(_) => Action::SignRaw,
        }
    }

    /// What policy sees of it.
    pub(crate) fn facts(&self) -> StatementFacts<'_> {
        match self {
            Self::Image { reference, digest, evidence } => {
                StatementFacts::Image { reference, shown: Some((digest, *evidence)) }
            }
            Self::Blob { sha256, name, size } => StatementFacts::Blob { name, size: *size, digest: sha256 },
            Self::Raw(_) => StatementFacts::Raw,
        }
    }

    /// What its leaf says of it.
    pub(crate) fn subject(&self) -> SubjectBody {
        match self {
            Self::Image { reference, digest, evidence } => SubjectBody {
                digest: Some(digest.to_string()),
                evidence: Some(evidence.name()),
                reference: Some(reference.to_string()),
                kind: "image",
                ..SubjectBody::default()
            },
            Self::Blob { sha256, name, size } => SubjectBody {
                digest: Some(sha256.to_string()),
                name: Some(name.clone()),
                size: Some(size.to_string()),
                kind: "blob",
                ..SubjectBody::default()
            },
            Self::Raw(_) => SubjectBody { kind: "raw", ..SubjectBody::default() },
        }
    }

    /// The bytes that say it in one form, for a key of `algorithm`.
    ///
    /// # Errors
    /// [`Fault`] of kind refused when the key's algorithm or purpose cannot say it so.
    pub(crate) fn preimage(&self, form: Form, algorithm: Algorithm) -> Result<Preimage, Fault> {
        let (payload, input) = match self {
            Self::Image { reference, digest, .. } => {
                let said = cosign::ImageStatement { reference: reference.clone(), digest: *digest };
                let image = said.preimage(form).map_err(|_| cannot(form))?;
                (image.payload, Signable::Message(image.signed))
            }
            Self::Blob { sha256, .. } => match form {
                Form::Sig | Form::Bundle => (Vec::new(), Signable::Digest(Digest::Sha256(*sha256.as_bytes()))),
                Form::Manifest | Form::Minisig | Form::Raw | Form::Sshsig => return Err(cannot(form)),
            },
            Self::Raw(input) if form == Form::Raw => (Vec::new(), input.clone()),
            Self::Raw(_) => return Err(cannot(form)),
        };
        if !input.fits(algorithm) {
            let expected = match algorithm.prehash() {
                Some(HashFunction::Sha256) => "a message or a digest of 32 bytes",
                Some(HashFunction::Sha384) => "a message or a digest of 48 bytes",
                None => "a message, not a digest",
            };
            return Err(Fault::new(FaultKind::Refused, format!("a key of {algorithm} signs {expected}")));
        }
        Ok(Preimage { form, payload, input })
    }
}

fn cannot(form: Form) -> Fault {
    Fault::new(FaultKind::Refused, format!("this statement has no form {form}"))
}

/// The canonical statement of one item of a batch (D13): what its leaf would say.
#[derive(Serialize)]
pub(crate) struct BatchItem {
    /// SHA-256 of each exact preimage, in the order of the forms.
    pub(crate) preimages: Vec<String>,
    /// What is signed, in words.
    pub(crate) subject: SubjectBody,
}

/// One form of one statement, ready for the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preimage {
    /// The form it becomes.
    pub(crate) form: Form,
    /// What the caller needs beside the signature; empty for blobs and raw input.
    pub(crate) payload: Vec<u8>,
    /// What the key signs.
    pub(crate) input: Signable,
}

impl Preimage {
    /// SHA-256 of the exact bytes that are signed. Of an input that already is
    /// a digest, the SHA-256 digest itself, or SHA-256 over a longer one.
    #[must_use]
    pub(crate) fn hash(&self) -> Sha256Digest {
        match &self.input {
            Signable::Message(bytes) => Sha256Digest::of(bytes),
            Signable::Digest(Digest::Sha256(value)) => Sha256Digest::from_bytes(*value),
            Signable::Digest(digest) => Sha256Digest::of(digest.as_bytes()),
        }
    }
}
