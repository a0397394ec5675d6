//! What a caller wants said, parsed; and the exact bytes that say it.
//!
//! The door reads a [`Statement`]; [`Statement::preimages`] makes the bytes. No
//! other module decides what gets signed.

use std::sync::Arc;

use serde::Serialize;
use trust::format::cosign;
use trust::format::release::manifest::Manifest;
use trust::format::release::{Release, ReleaseFile, minisig, sshsig, sums};
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
    /// "These files are the release": its list and its manifest.
    Release(Arc<Release>),
    /// minisign's second signature: over the one of the file, and a comment that names the file. No door reads it;
    /// it is made of the answer to a [`Statement::ReleaseFile`].
    ReleaseComment {
        /// Which file.
        file: ReleaseFile,
        /// Of which release.
        release: Arc<Release>,
        /// Over the file.
        signature: [u8; 64],
        /// The trusted comment.
        comment: String,
    },
    /// "This file is one of the release."
    ReleaseFile {
        /// Which file.
        file: ReleaseFile,
        /// Of which release.
        release: Arc<Release>,
    },
}

impl Statement {
    /// The one purpose whose keys may say this.
    #[must_use]
    pub(crate) const fn purpose(&self) -> Purpose {
        match self {
            Self::Image { .. } => Purpose::Image,
            Self::Blob { .. } => Purpose::ReleaseBlob,
            Self::Raw(_) => Purpose::Raw,
            Self::Release(_) | Self::ReleaseComment { .. } | Self::ReleaseFile { .. } => Purpose::ReleaseStatement,
        }
    }

    /// The action that says this.
    pub(crate) const fn action(&self) -> Action {
        match self {
            Self::Image { .. } => Action::SignImage,
            Self::Blob { .. } => Action::SignBlob,
            Self::Raw(_) => Action::SignRaw,
            Self::Release(_) | Self::ReleaseComment { .. } | Self::ReleaseFile { .. } => Action::SignRelease,
        }
    }

    /// What policy sees of it. `None` for the whole of a release, which says nothing that its files do not say: policy
    /// is asked about each of them.
    pub(crate) fn facts(&self) -> Option<StatementFacts<'_>> {
        Some(match self {
            Self::Image { reference, digest, evidence } => {
                StatementFacts::Image { reference, shown: Some((digest, *evidence)) }
            }
            Self::Blob { sha256, name, size } => StatementFacts::Blob { name, size: *size, digest: sha256 },
            Self::Raw(_) => StatementFacts::Raw,
            Self::Release(_) => return None,
            Self::ReleaseComment { file, release, .. } | Self::ReleaseFile { file, release } => {
                StatementFacts::Release { file, release }
            }
        })
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
            Self::Release(release) => SubjectBody {
                // Of the list: it names every file.
                digest: Some(Sha256Digest::of(sums::write(release).as_bytes()).to_string()),
                revision: release.source_revision().map(str::to_owned),
                kind: "release",
                version: release.version().map(str::to_owned),
                ..SubjectBody::default()
            },
            Self::ReleaseComment { file, .. } => of_release_file(file, "release-comment"),
            Self::ReleaseFile { file, .. } => of_release_file(file, "release-file"),
        }
    }

    /// The bytes that say it in each of `forms` in which it can be said, for a key of `algorithm`.
    ///
    /// # Errors
    /// [`Fault`] of kind refused when the key's algorithm or purpose cannot say it so.
    pub(crate) fn preimages(&self, forms: &[Form], algorithm: Algorithm) -> Result<Vec<Preimage>, Fault> {
        match self {
            Self::Image { .. } | Self::Blob { .. } | Self::Raw(_) => {
                forms.iter().map(|form| self.preimage(*form, algorithm)).collect()
            }
            Self::Release(release) => Ok(of_release(release, forms)),
            Self::ReleaseComment { signature, comment, .. } => {
                let payload = comment.clone().into_bytes();
                let input = Signable::Message(minisig::comment_signed(signature, comment));
                let minisig = forms.iter().filter(|form| **form == Form::Minisig);
                Ok(minisig
                    .map(|form| Preimage { form: *form, payload: payload.clone(), input: input.clone() })
                    .collect())
            }
            Self::ReleaseFile { file, .. } => {
                let input = |form| match form {
                    Form::Minisig => Some(minisig::signed(file)),
                    Form::Sshsig => Some(sshsig::signed(file)),
                    Form::Bundle | Form::Manifest | Form::Raw | Form::Sig | Form::Tuf => None,
                };
                let said = forms.iter().filter_map(|form| Some((*form, Signable::Message(input(*form)?))));
                Ok(said.map(|(form, input)| Preimage { form, payload: Vec::new(), input }).collect())
            }
        }
    }

    /// The bytes that say it in one form, of what is said in all forms of its key.
    fn preimage(&self, form: Form, algorithm: Algorithm) -> Result<Preimage, Fault> {
        let (payload, input) = match self {
            Self::Image { reference, digest, .. } => {
                let said = cosign::ImageStatement { reference: reference.clone(), digest: *digest };
                let image = said.preimage(form).map_err(|_| cannot(form))?;
                (image.payload, Signable::Message(image.signed))
            }
            Self::Blob { sha256, .. } => match form {
                Form::Sig | Form::Bundle => (Vec::new(), Signable::Digest(Digest::Sha256(*sha256.as_bytes()))),
                Form::Manifest | Form::Minisig | Form::Raw | Form::Sshsig | Form::Tuf => return Err(cannot(form)),
            },
            Self::Raw(input) if form == Form::Raw => (Vec::new(), input.clone()),
            Self::Raw(_) | Self::Release(_) | Self::ReleaseComment { .. } | Self::ReleaseFile { .. } => {
                return Err(cannot(form));
            }
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

/// The list and the manifest, which says in which forms the release was signed.
fn of_release(release: &Arc<Release>, forms: &[Form]) -> Vec<Preimage> {
    let list = || (Vec::new(), Signable::Message(sums::write(release).into_bytes()));
    let said = forms.iter().filter_map(|form| {
        let (payload, input) = match form {
            Form::Bundle | Form::Sig => list(),
            Form::Manifest => {
                let mut forms = forms.to_vec();
                forms.sort_unstable();
                let payload = Manifest { release: Release::clone(release), forms }.to_bytes();
                let signed = Manifest::signed(&payload);
                (payload, Signable::Message(signed))
            }
            Form::Minisig | Form::Raw | Form::Sshsig | Form::Tuf => return None,
        };
        Some(Preimage { form: *form, payload, input })
    });
    said.collect()
}

fn of_release_file(file: &ReleaseFile, kind: &'static str) -> SubjectBody {
    SubjectBody {
        digest: Some(file.digests().sha256.to_string()),
        name: Some(file.name().to_string()),
        size: Some(file.digests().size_bytes.to_string()),
        kind,
        ..SubjectBody::default()
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
