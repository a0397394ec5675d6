//! The strict reader. serde_json splits the text into tokens; this decides what is taken.

use std::cell::Cell;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Integer, Object, Value};
use crate::Malformed;

/// The deepest nesting that is read: levels of arrays and objects.
pub const DEPTH_MAX: u32 = 32;

/// The most values that one text may hold, names of members not counted. Bounds memory: a text of 4 MiB could
/// otherwise hold two million values.
pub const VALUES_MAX: u32 = 128 * 1024;

const NOT_JSON: &str = "JSON in UTF-8 (RFC 8259) and nothing behind it";
const TOO_DEEP: &str = "JSON of at most 32 levels";
const TOO_MANY: &str = "JSON of at most 131072 values, or of fewer where several texts share them";
const TWICE: &str = "JSON that has each key of an object once";
const NOT_INTEGER: &str =
    "JSON whose numbers are integers between -(2^53-1) and 2^53-1, written without point or exponent";

/// Reads one value from all of `bytes`; `what` names it in the refusal, as a person would call it.
///
/// # Errors
/// [`Malformed`] for more than `bytes_max` bytes, more than [`DEPTH_MAX`] levels or [`VALUES_MAX`] values, a key that
/// stands twice in an object, a number that is no [`Integer`], and whatever is not JSON.
pub fn read(what: &'static str, bytes: &[u8], bytes_max: usize) -> Result<Value, Malformed> {
    read_one_of_several(what, bytes, bytes_max, &mut { VALUES_MAX })
}

/// [`read`] of a text that comes with others: all of them together may hold `values_left` values, and those of this one
/// are taken from it, whether it is read or refused.
///
/// # Errors
/// As of [`read`], and [`Malformed`] for more values than are left.
pub fn read_one_of_several(
    what: &'static str,
    bytes: &[u8],
    bytes_max: usize,
    values_left: &mut u32,
) -> Result<Value, Malformed> {
    if bytes.len() > bytes_max {
        return Err(Malformed::new(what, "fewer bytes than it has"));
    }
    let values_max = VALUES_MAX.min(*values_left);
    let budget = Budget { values_left: Cell::new(values_max), refusal: Cell::new(NOT_JSON) };
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let value = Place { budget: &budget, depth_left: DEPTH_MAX }
        .deserialize(&mut text)
        .and_then(|value| text.end().map(|()| value))
        .map_err(|_| Malformed::new(what, budget.refusal.get()));
    let taken = values_max.saturating_sub(budget.values_left.get());
    *values_left = values_left.saturating_sub(taken);
    value
}

/// What one text may still spend, and why it was refused.
struct Budget {
    values_left: Cell<u32>,
    refusal: Cell<&'static str>,
}

impl Budget {
    fn refuse<E: Error>(&self, why: &'static str) -> E {
        self.refusal.set(why);
        E::custom(why)
    }
}

/// A place where a value may stand.
#[derive(Clone, Copy)]
struct Place<'a> {
    budget: &'a Budget,
    depth_left: u32,
}

impl Place<'_> {
    /// The places inside an array or object that stands here.
    fn inside<E: Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| self.budget.refuse(TOO_DEEP))?;
        Ok(Self { depth_left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.budget.values_left.get().checked_sub(1).ok_or_else(|| self.budget.refuse(TOO_MANY))?;
        self.budget.values_left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Integer::new(number).map(Value::Integer).map_err(|_| self.budget.refuse(NOT_INTEGER))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Integer::try_from(number).map(Value::Integer).map_err(|_| self.budget.refuse(NOT_INTEGER))
    }

    // serde_json calls this for a fraction, an exponent, -0 and what no 64-bit integer holds.
    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Err(self.budget.refuse(NOT_INTEGER))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let place = self.inside()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(place)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let place = self.inside()?;
        let mut members = Object::new();
        while let Some(name) = access.next_key::<String>()? {
            match members.entry(name) {
                Entry::Vacant(free) => free.insert(access.next_value_seed(place)?),
                Entry::Occupied(_) => return Err(self.budget.refuse(TWICE)),
            };
        }
        Ok(Value::Object(members))
    }
}
