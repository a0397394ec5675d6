//! What is said of a release: its files by name, size and digests, and every form in which that is signed.
//!
//! Beside each file lie `FILE.minisig` and `FILE.sshsig`; for all of them there is one list, `SHA256SUMS`, and one
//! [`manifest`]. The bytes of a file are not looked at here: what is signed is built from its digests.
//!
//! One key signs all of these, so no text of one form may read as another. The list begins with 64 hexadecimal digits,
//! the manifest with `DSSEv1`, OpenSSH's form with `SSHSIG`. Only minisign's is a bare digest of the caller's: a value
//! that could be read as one of the others, or as any text, is no digest that BLAKE2b has ever made, and is refused.

mod file;
pub mod manifest;
pub mod minisig;
pub mod sshsig;
pub mod sums;

use crate::{Form, Malformed};

pub use self::file::{FileDigests, FileName, ReleaseFile};

/// The most files of one release.
pub const FILES_MAX: usize = 1024;

/// The files of a release, in the order of their names' bytes, and what they are called together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    files: Vec<ReleaseFile>,
    version: Option<Label>,
    source_revision: Option<Label>,
    blob_forms: Option<Vec<Form>>,
}

impl Release {
    /// Takes the files in the order of their names' bytes.
    ///
    /// # Errors
    /// [`Malformed`] for no file, more than [`FILES_MAX`], another order, or a name that is there twice.
    pub fn new(
        files: Vec<ReleaseFile>,
        version: Option<Label>,
        source_revision: Option<Label>,
    ) -> Result<Self, Malformed> {
        if files.is_empty() || files.len() > FILES_MAX {
            return Err(Malformed::new("release", "1 to 1024 files"));
        }
        // One order, so that the same files are the same bytes; and no name twice, of which readers take either.
        if !files.is_sorted_by(|one, next| one.name() < next.name()) {
            return Err(Malformed::new("release", "files in the order of their names' bytes, each once"));
        }
        Ok(Self { files, version, source_revision, blob_forms: None })
    }

    /// The same release, of which a blob key signed every file in these forms: none, where it has no blob key.
    ///
    /// # Errors
    /// [`Malformed`] for another form than `bundle` and `sig`, and for forms out of order.
    pub fn with_blob_forms(self, forms: Vec<Form>) -> Result<Self, Malformed> {
        let of_blobs = forms.iter().all(|form| matches!(form, Form::Bundle | Form::Sig));
        if !of_blobs || !forms.is_sorted_by(|one, next| one < next) {
            return Err(Malformed::new("blob forms of a release", "bundle and sig in this order, each at most once"));
        }
        Ok(Self { blob_forms: Some(forms), ..self })
    }

    /// The files: at least one.
    #[must_use]
    pub fn files(&self) -> &[ReleaseFile] {
        &self.files
    }

    /// What the release is called, if it is.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_ref().map(Label::as_str)
    }

    /// The forms in which a blob key signed every file; `None` where nobody said so.
    #[must_use]
    pub fn blob_forms(&self) -> Option<&[Form]> {
        self.blob_forms.as_deref()
    }

    /// The revision of its source, if it is known.
    #[must_use]
    pub fn source_revision(&self) -> Option<&str> {
        self.source_revision.as_ref().map(Label::as_str)
    }
}

/// A version or a revision: 1 to 255 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// The longest, in bytes.
    pub const BYTES_MAX: usize = 255;

    /// Takes a text.
    ///
    /// # Errors
    /// [`Malformed`] when it is empty, too long, or has a control character.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if !(1..=Self::BYTES_MAX).contains(&text.len()) || text.chars().any(char::is_control) {
            return Err(Malformed::new("version or source revision", "1 to 255 bytes without control characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
