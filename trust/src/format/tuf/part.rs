//! A file as somebody sends it: JSON with a type, a version and a date, of which nothing else has been looked at.
//!
//! A step of its own because Notary answers what is no such file in one way, and what breaks the rules of its role in
//! another, and because root's version is judged before anything else of root.

use std::sync::{Arc, OnceLock};

use serde::de::IgnoredAny;

use super::fields::{self, Fields};
use super::root::Root;
use super::{
    BYTES_MAX, Body, Content, Document, Expires, RoleName, SIGNATURES_MAX, Snapshot, Targets, Timestamp, Unsound,
};
use super::{Version, canonical};
use crate::format::json::{self, Value};
use crate::{Malformed, Sha256Digest};

/// The longest signature, in bytes: RSA-8192.
const SIGNATURE_BYTES_MAX: usize = 1024;
/// The longest name of a signature method that means anything, in bytes.
const METHOD_BYTES_MAX: usize = 32;
const NOT_ALONE: Malformed = Malformed::new("metadata", "JSON and nothing behind it");

/// A file of which only its frame has been read.
#[derive(Debug, Clone)]
pub struct Part {
    role: RoleName,
    raw: Vec<u8>,
    signed: Value,
    signatures: Vec<SignatureLine>,
    type_name: String,
    version: i64,
    expires: Expires,
    alone: bool,
}

/// One line of `signatures`.
#[derive(Debug, Clone)]
pub(super) struct SignatureLine {
    /// `None` for a name that is no hash: no key has it.
    pub(super) key: Option<Sha256Digest>,
    /// In lower case; empty for one that is longer than any.
    pub(super) method: String,
    pub(super) bytes: Vec<u8>,
    /// Whether it verifies, once that was asked: the key is named by its hash, and what is signed stays with the line.
    pub(super) verifies: OnceLock<bool>,
}

impl Part {
    /// Reads the frame of what is sent as the file of `role`.
    ///
    /// A member that is missing is read as Go reads it: no type, version 0, expired in the year 1.
    ///
    /// # Errors
    /// [`Malformed`] for what is no JSON object, is longer than [`BYTES_MAX`], has more than [`SIGNATURES_MAX`], or a
    /// member of its frame that has another type or is no date.
    pub fn read(role: &RoleName, bytes: &[u8]) -> Result<Self, Malformed> {
        Self::read_one_of_several(role, bytes, &mut { json::VALUES_MAX })
    }

    /// [`Part::read`] of one that comes with others: all of them together may hold `values_left` values, and those of
    /// this one are taken from it, whether it is read or refused.
    ///
    /// # Errors
    /// As of [`Part::read`], and [`Malformed`] for more values than are left.
    pub fn read_one_of_several(role: &RoleName, bytes: &[u8], values_left: &mut u32) -> Result<Self, Malformed> {
        let mut read = |bytes| json::read_one_of_several("metadata", bytes, BYTES_MAX, values_left);
        let (value, alone) = match read(bytes) {
            Ok(value) => (value, true),
            // Notary takes what stands behind the value for a fault of the role, not of the upload.
            Err(refused) => (read(first_value(bytes).ok_or(refused)?)?, false),
        };
        let file = Fields::of(&value, &["signed", "signatures"])?;
        let signatures = signatures(file.member("signatures"))?;
        let signed = file.member("signed").cloned().unwrap_or_else(|| Value::object([]));
        let frame = Fields::of(&signed, &["_type", "expires", "version"])?;
        let type_name = frame.text("_type")?.unwrap_or_default().to_owned();
        let expires = frame.text("expires")?.unwrap_or("0001-01-01T00:00:00Z").parse()?;
        let version = match frame.member("version") {
            None => 0,
            Some(Value::Integer(number)) => number.number(),
            Some(_) => return Err(fields::WRONG),
        };
        let (role, raw) = (role.clone(), bytes.to_vec());
        Ok(Self { role, raw, signed, signatures, type_name, version, expires, alone })
    }

    /// Exactly as it was sent.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Whose file it is sent as.
    #[must_use]
    pub const fn role(&self) -> &RoleName {
        &self.role
    }

    /// The version that it says: any number.
    #[must_use]
    pub const fn stated_version(&self) -> i64 {
        self.version
    }

    /// Reads the rest of it.
    ///
    /// # Errors
    /// [`Unsound`] for what is not what its role's files are.
    pub fn document(self) -> Result<Document, Unsound> {
        let Self { role, raw, signed, signatures, type_name, version, expires, alone } = self;
        if !alone {
            return Err(NOT_ALONE.into());
        }
        let expected = role.type_name();
        if type_name != expected {
            return Err(role.breaks(format!("expected type {expected}, not {}", fields::shown(&type_name))));
        }
        let Some(version) = u64::try_from(version).ok().and_then(Version::new) else {
            let why = if version < 1 { "version cannot be less than one" } else { "version is too large" };
            return Err(role.breaks(why.to_owned()));
        };
        let body = match role {
            RoleName::Root => Body::Root(Root::read(&signed)?),
            RoleName::Snapshot => Body::Snapshot(Snapshot::read(&signed)?),
            RoleName::Timestamp => Body::Timestamp(Timestamp::read(&signed)?),
            RoleName::Targets | RoleName::Delegation(_) => Body::Targets(Targets::read(&role, &signed)?),
        };
        let covered = canonical(&signed);
        Ok(Document(Arc::new(Content {
            role,
            raw,
            sha256: OnceLock::new(),
            signed: covered,
            signatures,
            version,
            expires,
            body,
        })))
    }
}

/// The first value of the text, where something else than white space stands behind it.
fn first_value(bytes: &[u8]) -> Option<&[u8]> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (value, rest) = bytes.split_at_checked(values.byte_offset())?;
    (!rest.trim_ascii().is_empty()).then_some(value)
}

fn signatures(value: Option<&Value>) -> Result<Vec<SignatureLine>, Malformed> {
    // Go writes null for a list that has nothing in it.
    let Some(value) = value else { return Ok(Vec::new()) };
    let lines = value.as_array().ok_or(fields::WRONG)?;
    if lines.len() > SIGNATURES_MAX {
        return Err(Malformed::new("metadata", "at most 128 signatures"));
    }
    lines.iter().map(signature).collect()
}

fn signature(value: &Value) -> Result<SignatureLine, Malformed> {
    let line = Fields::of(value, &["keyid", "method", "sig"])?;
    let key = line.text("keyid")?.and_then(|name| Sha256Digest::from_hex(name).ok());
    let method = line.text("method")?.filter(|method| method.len() <= METHOD_BYTES_MAX).unwrap_or_default();
    let bytes = line.bytes("sig")?;
    if bytes.len() > SIGNATURE_BYTES_MAX {
        return Err(Malformed::new("signature", "at most 1024 bytes"));
    }
    Ok(SignatureLine { key, method: method.to_ascii_lowercase(), bytes, verifies: OnceLock::new() })
}
