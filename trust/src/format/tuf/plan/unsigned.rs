//! A file without signatures, and with them.

use std::collections::{BTreeMap, BTreeSet};

use super::NoPlan;
use crate::format::json::{self, Object, Value};
use crate::format::tuf::canonical::{file, line};
use crate::format::tuf::verify;
use crate::format::tuf::{Authority, BYTES_MAX, Document, Expires, Key, NotMet, RoleName, Unsound, Version};
use crate::{Malformed, Sha256Digest, Signature};

/// Some keys, and how many of them are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "all there is to say")]
pub struct Speakers {
    /// The keys.
    pub keys: Vec<Key>,
    /// How many of them: at least 1.
    pub threshold: u32,
}

impl Speakers {
    /// One key, which is enough.
    #[must_use]
    pub fn one(key: Key) -> Self {
        Self { keys: vec![key], threshold: 1 }
    }

    /// Keys that count, each once whatever it is called, are enough for the threshold.
    pub(super) fn could_speak_for(&self, role: &RoleName) -> Result<(), NoPlan> {
        let bare: BTreeSet<Sha256Digest> = self.keys.iter().filter(|key| key.counts()).map(Key::canonical_id).collect();
        let enough = self.threshold > 0 && u32::try_from(bare.len()).is_ok_and(|number| number >= self.threshold);
        if enough { Ok(()) } else { Err(NoPlan::TooFewKeys(role.clone())) }
    }

    /// Those who speak now.
    #[must_use]
    pub fn of(authority: &Authority<'_>) -> Self {
        Self { keys: authority.keys().iter().map(|key| (*key).clone()).collect(), threshold: authority.threshold() }
    }
}

/// A signature and whose it is: a line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    key: Sha256Digest,
    method: &'static str,
    signature: Vec<u8>,
}

impl Stamp {
    /// Notary's word for how it was made: `ecdsa`, `eddsa`, `rsapss`.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        self.method
    }

    /// As the line has it before base64: of ECDSA r and s, each as long as the curve's coordinates.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    fn line(&self) -> Value {
        line(self.key, self.method, &self.signature)
    }
}

/// A file that is to be signed, or that has some of the signatures it needs.
#[derive(Debug, Clone)]
#[must_use]
pub struct Unsigned {
    document: Document,
    speakers: Vec<Speakers>,
}

impl Unsigned {
    pub(super) const fn new(document: Document, speakers: Vec<Speakers>) -> Self {
        Self { document, speakers }
    }

    /// The file, with the signatures that were collected, if there are any: to be shown, or to be sent around to those who
    /// are to sign it.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// Whose signatures it needs: those of enough of each. Root has two: its own speakers, and those before it.
    #[must_use]
    pub fn speakers(&self) -> &[Speakers] {
        &self.speakers
    }

    /// Of each of [`Unsigned::speakers`], in their order, the bare keys that have signed so far; what does not verify counts
    /// for nothing.
    #[must_use]
    pub fn signed_by(&self) -> Vec<BTreeSet<Sha256Digest>> {
        let role = self.document.role();
        let of = |speakers: &Speakers| {
            let authority = Authority::new(role, speakers.keys.iter().collect(), speakers.threshold);
            verify::signed_by(&self.document, &authority)
        };
        self.speakers.iter().map(of).collect()
    }

    /// The same with these signatures besides, which may still be too few.
    ///
    /// # Errors
    /// [`Unsound`] when they are more than a file may have.
    pub fn stamped(&self, stamps: &[Stamp]) -> Result<Self, Unsound> {
        Ok(Self { document: self.document.stamped(stamps)?, speakers: self.speakers.clone() })
    }

    /// Makes the file of it.
    ///
    /// # Errors
    /// [`NotMet`] when they are too few, or do not verify. Those that verify are not lost: [`Document::stamped`]
    /// collects them.
    pub fn signed(&self, stamps: &[Stamp]) -> Result<Document, NotMet> {
        let few = |_| NotMet::TooFew(self.document.role().clone());
        let document = self.document.stamped(stamps).map_err(few)?;
        for Speakers { keys, threshold } in &self.speakers {
            document.verify(&Authority::new(document.role(), keys.iter().collect(), *threshold))?;
        }
        Ok(document)
    }
}

impl Key {
    /// The line of a file that says this signature over [`Document::signed_bytes`], as the key's algorithm makes it, is
    /// of this key. Nothing is verified here.
    ///
    /// # Errors
    /// [`Malformed`] for a key that has no method, and for an ECDSA signature that is no DER or of another curve.
    pub fn stamp(&self, signature: &Signature) -> Result<Stamp, Malformed> {
        self.stamp_brought(signature.as_bytes())
    }

    /// The same of a signature that somebody brings, at most [`Signature::BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// As [`Key::stamp`].
    pub fn stamp_brought(&self, signature: &[u8]) -> Result<Stamp, Malformed> {
        let (method, signature) = self.line_of(signature)?;
        Ok(Stamp { key: self.id(), method, signature })
    }
}

impl Document {
    /// The same file with these signatures, each in the place of one that its key may have made before.
    ///
    /// What is signed stays as it is; the file around it is written anew.
    ///
    /// # Errors
    /// [`Unsound`] when they are more than a file may have.
    pub fn stamped(&self, stamps: &[Stamp]) -> Result<Self, Unsound> {
        let value = json::read("metadata", self.raw(), BYTES_MAX)?;
        let lines = value.present("signatures").and_then(Value::as_array).unwrap_or_default();
        let mut lines: Vec<Value> = lines.to_vec();
        for stamp in stamps {
            let id = stamp.key.to_hex();
            lines.retain(|line| line.member("keyid").and_then(Value::as_str) != Some(id.as_str()));
            lines.push(stamp.line());
        }
        let signed = members(self);
        Self::read(self.role(), &file(&signed.into(), &lines))
    }

    /// Whether it says what `before` says, but for a higher version and another end: what may be signed without being
    /// asked.
    #[must_use]
    pub fn renews(&self, before: &Self) -> bool {
        let said = |file: &Self| {
            let mut members = members(file);
            members.retain(|name, _| !matches!(name.as_str(), "version" | "expires"));
            members
        };
        self.role() == before.role() && self.version() > before.version() && said(self) == said(before)
    }
}

/// The members of what a file signs.
pub(super) fn members(file: &Document) -> Object {
    // It was read from these bytes, so it is read again.
    let value = json::read("metadata", file.raw(), BYTES_MAX).ok();
    value.and_then(|value| value.member("signed")?.as_object().cloned()).unwrap_or_default()
}

/// The file of a role with these members, read back, so that no plan breaks a rule of its role.
pub(super) fn document(
    role: &RoleName,
    mut signed: Object,
    version: Version,
    expires: &Expires,
) -> Result<Document, Unsound> {
    let frame: BTreeMap<&str, Value> = BTreeMap::from([
        ("_type", role.type_name().into()),
        ("expires", expires.to_string().into()),
        ("version", version.number().into()),
    ]);
    signed.extend(frame.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Document::read(role, &file(&signed.into(), &[]))
}
