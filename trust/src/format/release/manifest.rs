//! The manifest of a release: an in-toto statement (v1) that binds every file, version and source revision together.
//!
//! It also says which forms were signed with it, and which by a blob key, so that a signature that was taken away is
//! missed. It lies in a sigstore bundle, as cosign's `verify-blob-attestation` reads it.

use super::{FILES_MAX, FileDigests, FileName, Label, Release, ReleaseFile};
use crate::format::cosign::STATEMENT_MEDIA_TYPE;
use crate::format::dsse;
use crate::format::json::{self, Integer, Object, Value, canonical};
use crate::{Form, Malformed, Sha256Digest};

/// The name of the file with the manifest's bundle.
pub const NAME: &str = "RELEASE.sigstore.json";
/// The type of the statement's predicate.
pub const PREDICATE_TYPE: &str = "urn:trustd:release:v1";
/// The longest manifest, in bytes: 1024 files with the longest names, every byte of them escaped.
pub const BYTES_MAX: usize = 2 * 1024 * 1024;
/// The longest bundle of a manifest, in bytes.
pub const BUNDLE_BYTES_MAX: usize = 3 * 1024 * 1024;

const WHAT: &str = "release manifest";
const TYPE: &str = "https://in-toto.io/Statement/v1";

/// A release, and the forms that were signed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "made by callers: a manifest says these two things")]
pub struct Manifest {
    /// The files.
    pub release: Release,
    /// In the order of [`Form::ALL`], each once.
    pub forms: Vec<Form>,
}

impl Manifest {
    /// The statement: the same release is always the same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let release = &self.release;
        let subject = release.files().iter().map(|file| {
            let digests = Value::object([
                ("blake2b", hex::encode(file.digests().blake2b512).into()),
                ("sha256", file.digests().sha256.to_hex().into()),
                ("sha512", hex::encode(file.digests().sha512).into()),
            ]);
            Value::object([("digest", digests), ("name", file.name().as_str().into())])
        });
        let files = release.files().iter().map(|file| {
            // A file was made with a size that fits.
            let size = Integer::try_from(file.digests().size_bytes).unwrap_or(Integer::MAX);
            Value::object([("name", file.name().as_str().into()), ("size", size.into())])
        });
        let words = |forms: &[Form]| Value::Array(forms.iter().map(|form| Value::from(form.name())).collect());
        let mut predicate = Object::new();
        if let Some(forms) = release.blob_forms() {
            predicate.insert("blobForms".to_owned(), words(forms));
        }
        predicate.insert("files".to_owned(), Value::Array(files.collect()));
        predicate.insert("forms".to_owned(), words(&self.forms));
        for (name, label) in [("sourceRevision", release.source_revision()), ("version", release.version())] {
            if let Some(label) = label {
                predicate.insert(name.to_owned(), label.into());
            }
        }
        canonical(&Value::object([
            ("_type", TYPE.into()),
            ("predicate", predicate.into()),
            ("predicateType", PREDICATE_TYPE.into()),
            ("subject", Value::Array(subject.collect())),
        ]))
    }

    /// The bytes that the signature covers (DSSE's PAE).
    #[must_use]
    pub fn signed(payload: &[u8]) -> Vec<u8> {
        dsse::pae(STATEMENT_MEDIA_TYPE, payload)
    }

    /// Reads what [`Manifest::to_bytes`] writes, and nothing else. A manifest of before blob forms were named has none.
    ///
    /// # Errors
    /// [`Malformed`] for more than [`BYTES_MAX`] bytes, another type, a member that is missing or too many, a subject
    /// that is no file of a release, names out of order, and text that is not canonical.
    pub fn read(payload: &[u8]) -> Result<Self, Malformed> {
        const SHAPE: Malformed = Malformed::new(WHAT, "an in-toto statement v1 with the predicate of a release");
        let document = json::read(WHAT, payload, BYTES_MAX)?;
        document.exactly(&["_type", "predicate", "predicateType", "subject"]).ok_or(SHAPE)?;
        let text = |name| document.member(name).and_then(Value::as_str);
        if text("_type") != Some(TYPE) || text("predicateType") != Some(PREDICATE_TYPE) {
            return Err(SHAPE);
        }
        let predicate = document.member("predicate").ok_or(SHAPE)?;
        let subjects = document.member("subject").and_then(Value::as_array).ok_or(SHAPE)?;
        let sizes = predicate.member("files").and_then(Value::as_array).ok_or(SHAPE)?;
        if subjects.len() != sizes.len() || subjects.len() > FILES_MAX {
            return Err(SHAPE);
        }
        let files = subjects.iter().zip(sizes).map(|(subject, size)| file(subject, size).ok_or(SHAPE)?);
        let label = |name| match predicate.member(name) {
            None => Ok(None),
            Some(label) => Label::parse(label.as_str().ok_or(SHAPE)?).map(Some),
        };
        let words = |value: &Value| -> Result<Vec<Form>, Malformed> {
            let words = value.as_array().ok_or(SHAPE)?;
            words.iter().map(|form| form.as_str().ok_or(SHAPE)?.parse()).collect()
        };
        let mut release = Release::new(files.collect::<Result<_, _>>()?, label("version")?, label("sourceRevision")?)?;
        if let Some(forms) = predicate.member("blobForms") {
            release = release.with_blob_forms(words(forms)?)?;
        }
        let forms = words(predicate.member("forms").ok_or(SHAPE)?)?;
        if !forms.is_sorted_by(|one, next| one < next) {
            return Err(Malformed::new(WHAT, "forms in order, each once"));
        }
        let manifest = Self { release, forms };
        // Whatever else it holds would be signed and unread.
        if manifest.to_bytes() == payload { Ok(manifest) } else { Err(SHAPE) }
    }
}

fn file(subject: &Value, size: &Value) -> Option<Result<ReleaseFile, Malformed>> {
    let name = subject.member("name").and_then(Value::as_str)?;
    let digests = subject.member("digest")?;
    let long = |function| {
        let mut bytes = [0; 64];
        let text = digests.member(function).and_then(Value::as_str)?;
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
    };
    let digests = FileDigests {
        size_bytes: size.member("size").and_then(Value::as_u64)?,
        sha256: Sha256Digest::from_hex(digests.member("sha256").and_then(Value::as_str)?).ok()?,
        sha512: long("sha512")?,
        blake2b512: long("blake2b")?,
    };
    Some(FileName::parse(name).and_then(|name| ReleaseFile::new(name, digests)))
}
