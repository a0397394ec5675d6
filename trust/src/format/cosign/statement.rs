//! The payload of the bundle form: an in-toto statement (v1) with cosign's predicate type for image signatures.

use super::{Claim, ImageStatement, PAYLOAD_BYTES_MAX, PREDICATE_TYPE};
use crate::format::json::{self, Value, canonical};
use crate::{Malformed, Sha256Digest};

const WHAT: &str = "in-toto statement";
const TYPE: &str = "https://in-toto.io/Statement/v1";
/// What earlier versions of the specification called it; cosign takes it.
const OLDER_TYPE: &str = "https://in-toto.io/Statement/v0.1";
/// The most subjects that are read.
const SUBJECTS_MAX: usize = 64;

pub(super) fn write(statement: &ImageStatement) -> Vec<u8> {
    let subject = Value::object([
        ("digest", Value::object([("sha256", statement.digest.to_hex().into())])),
        ("name", statement.reference.to_string().into()),
    ]);
    canonical(&Value::object([
        ("_type", TYPE.into()),
        ("predicate", Value::object([])),
        ("predicateType", PREDICATE_TYPE.into()),
        ("subject", Value::Array(vec![subject])),
    ]))
}

/// Reads what a statement claims: one claim for each subject.
///
/// The predicate's type is compared. Cosign does not: it takes any statement about the digest, a build's provenance
/// too, for a signature of the image.
///
/// # Errors
/// [`Malformed`] for more than [`PAYLOAD_BYTES_MAX`] bytes, another type of statement or predicate, no subject or more
/// than 64, a subject without SHA-256 digest, a name that is none.
pub fn read(payload: &[u8]) -> Result<Vec<Claim>, Malformed> {
    let document = json::read(WHAT, payload, PAYLOAD_BYTES_MAX)?;
    let text = |name| document.member(name).and_then(Value::as_str);
    if !matches!(text("_type"), Some(TYPE | OLDER_TYPE)) {
        return Err(Malformed::new(WHAT, "the type https://in-toto.io/Statement/v1"));
    }
    if text("predicateType") != Some(PREDICATE_TYPE) {
        return Err(Malformed::new(
            WHAT,
            "the predicateType of an image signature: https://sigstore.dev/cosign/sign/v1",
        ));
    }
    let subjects = document.member("subject").and_then(Value::as_array).unwrap_or_default();
    if subjects.is_empty() || subjects.len() > SUBJECTS_MAX {
        return Err(Malformed::new(WHAT, "1 to 64 subjects"));
    }
    subjects.iter().map(claim).collect()
}

fn claim(subject: &Value) -> Result<Claim, Malformed> {
    let digest = subject.member("digest").and_then(|digests| digests.member("sha256")).and_then(Value::as_str);
    let digest = Sha256Digest::from_hex(digest.ok_or(Malformed::new(WHAT, "subjects with a SHA-256 digest"))?)?;
    let name = match subject.present("name") {
        None => "",
        Some(name) => name.as_str().ok_or(Malformed::new(WHAT, "names of subjects that are texts"))?,
    };
    Claim::new(digest, name.to_owned())
}
