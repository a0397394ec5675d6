//! The payload of the `.sig` form: "simple signing" JSON (containers-signature(5), cosign's `SIGNATURE_SPEC.md`).

use super::{Claim, ImageStatement, PAYLOAD_BYTES_MAX};
use crate::Malformed;
use crate::format::json::{self, Value, canonical};

const WHAT: &str = "simple-signing payload";
const TYPE: &str = "cosign container image signature";

pub(super) fn write(statement: &ImageStatement) -> Vec<u8> {
    canonical(&Value::object([
        (
            "critical",
            Value::object([
                ("identity", Value::object([("docker-reference", statement.reference.to_string().into())])),
                ("image", Value::object([("docker-manifest-digest", statement.digest.to_string().into())])),
                ("type", TYPE.into()),
            ]),
        ),
        // Must be there; cosign writes null for "nothing", and so does whoever must say the same twice.
        ("optional", Value::Null),
    ]))
}

/// Reads what a simple-signing payload claims. Strict as containers-image is, which verifies for podman and skopeo:
/// exactly these keys in `critical`, and `optional` an object or null.
///
/// # Errors
/// [`Malformed`] for anything else: more than [`PAYLOAD_BYTES_MAX`] bytes, other or further keys, another type, a
/// digest other than SHA-256, a name that is none.
pub fn read(payload: &[u8]) -> Result<Claim, Malformed> {
    const KEYS: Malformed =
        Malformed::new(WHAT, "exactly critical {identity, image, type} and optional, as cosign writes them");
    let document = json::read(WHAT, payload, PAYLOAD_BYTES_MAX)?;
    let top = document.exactly(&["critical", "optional"]).ok_or(KEYS)?;
    let critical = top.get("critical").and_then(|v| v.exactly(&["identity", "image", "type"])).ok_or(KEYS)?;
    let inner = |member: &str, name: &str| {
        let value = critical.get(member)?.exactly(&[name])?.get(name)?;
        value.as_str().map(str::to_owned)
    };
    if critical.get("type").and_then(Value::as_str) != Some(TYPE) {
        return Err(Malformed::new(WHAT, "the type \"cosign container image signature\""));
    }
    optional(top.get("optional").ok_or(KEYS)?)?;
    let digest = inner("image", "docker-manifest-digest").ok_or(KEYS)?.parse()?;
    Claim::new(digest, inner("identity", "docker-reference").ok_or(KEYS)?)
}

/// Notes of the signer: free, but for two that containers-image wants in their types.
fn optional(value: &Value) -> Result<(), Malformed> {
    let creator = value.member("creator").is_none_or(|creator| creator.as_str().is_some());
    let timestamp = value.member("timestamp").is_none_or(|time| matches!(time, Value::Integer(_)));
    match value {
        Value::Null => Ok(()),
        Value::Object(_) if creator && timestamp => Ok(()),
        _ => Err(Malformed::new(WHAT, "optional: null, or an object whose creator is a text and timestamp an integer")),
    }
}
