//! Taking members out of objects, each of its type.

use crate::Malformed;
use crate::format::base64;
use crate::format::json::{Object, Value};

/// A member that is not there, or of another type.
pub(super) const WRONG: Malformed = Malformed::new("metadata", "the members of Notary's dialect, each of its type");
const CONTROL: Malformed = Malformed::new("metadata", "names without control characters");
const FOLDED: Malformed = Malformed::new("metadata", "members whose names differ in more than their case");
/// The longest foreign text that a message repeats, in characters.
const SHOWN_MAX: usize = 64;

/// An object of which some members are known.
pub(super) struct Fields<'a>(&'a Object);

impl<'a> Fields<'a> {
    /// Takes an object in which no unknown member's name is a known one but for its case: Go reads it as the known
    /// one, so the original would see another document than we do.
    pub(super) fn of(value: &'a Value, known: &[&str]) -> Result<Self, Malformed> {
        let members = value.as_object().ok_or(WRONG)?;
        for name in members.keys() {
            if known.iter().any(|known| known != name && fold(known) == fold(name)) {
                return Err(FOLDED);
            }
        }
        Ok(Self(members))
    }

    /// The member; `None` also for `null`, which Go writes for what is not there.
    pub(super) fn member(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !matches!(value, Value::Null))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Malformed> {
        self.member(name).map(|value| value.as_str().ok_or(WRONG)).transpose()
    }

    /// A number from 0 to 2⁵³−1.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Malformed> {
        self.member(name).map(|value| value.as_u64().ok_or(WRONG)).transpose()
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<&'a Object>, Malformed> {
        self.member(name).map(|value| value.as_object().ok_or(WRONG)).transpose()
    }

    pub(super) fn array(&self, name: &str) -> Result<&'a [Value], Malformed> {
        self.member(name).map_or(Ok(&[][..]), |value| value.as_array().ok_or(WRONG))
    }

    /// Base64, which has to be there.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, Malformed> {
        base64::decode("metadata", self.text(name)?.ok_or(WRONG)?)
    }

    /// Whether each member, known or not, is base64 or not there.
    pub(super) fn are_bytes(&self) -> Result<(), Malformed> {
        for member in self.0.keys() {
            writable(member)?;
            if let Some(text) = self.text(member)? {
                base64::decode("metadata", text)?;
            }
        }
        Ok(())
    }
}

/// A name that Go's programs can write again: in the canonical form control characters stand bare, which their JSON has not,
/// so whoever signs behind a file that has one with docker or `notary` fails.
pub(super) fn writable(name: &str) -> Result<&str, Malformed> {
    if name.bytes().any(|byte| byte < b' ') { Err(CONTROL) } else { Ok(name) }
}

/// A name as Go compares it (`strings.EqualFold`): ſ is an s and the Kelvin sign a k.
fn fold(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

/// A foreign text in a message of ours: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}
