//! JSON, read strictly and written canonically.
//!
//! Two readers that understand one text differently are how signatures get around checks, so [`read`] refuses what
//! parsers are known to disagree about: a key twice, a number that is no exact integer, bytes behind the value,
//! anything deeper or larger than its bounds. [`canonical`] writes RFC 8785. Numbers with a fraction or an exponent
//! are not supported on purpose: nothing that is signed here has one.

mod read;
mod write;

use std::collections::BTreeMap;

use crate::Malformed;

pub use self::read::{DEPTH_MAX, VALUES_MAX, read, read_one_of_several};
pub use self::write::canonical;

/// The members of an object, each name once.
pub type Object = BTreeMap<String, Value>;

/// A JSON value whose numbers are exact integers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: RFC 8259")]
pub enum Value {
    /// `[…]`
    Array(Vec<Value>),
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Integer(Integer),
    /// `null`
    Null,
    /// `{…}`
    Object(Object),
    /// `"…"`, unescaped; may hold control characters.
    String(String),
}

/// An integer that every JSON reader reads exactly: at most 2⁵³−1 on either side of zero (RFC 7493 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Integer(i64);

impl Integer {
    /// The largest one.
    pub const MAX: Self = Self(9_007_199_254_740_991);

    /// Takes a number in range.
    ///
    /// # Errors
    /// [`Malformed`] beyond ±(2⁵³−1).
    pub const fn new(number: i64) -> Result<Self, Malformed> {
        if number < -Self::MAX.0 || number > Self::MAX.0 {
            return Err(Malformed::new("number", "an integer between -(2^53-1) and 2^53-1"));
        }
        Ok(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }
}

impl TryFrom<u64> for Integer {
    type Error = Malformed;

    fn try_from(number: u64) -> Result<Self, Malformed> {
        Self::new(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Integer {
    fn from(number: u32) -> Self {
        Self(i64::from(number))
    }
}

impl Value {
    /// An object of `members`; of a name given twice the last counts.
    #[must_use]
    pub fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The items, if this is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The members, if this is an object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Object> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The number, if this is an integer that is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        if let Self::Integer(integer) = self { u64::try_from(integer.0).ok() } else { None }
    }

    /// The member `name`, if this is an object that has it.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.as_object().and_then(|members| members.get(name))
    }

    /// The member `name`, unless it is absent or `null`: Go programs write either for what they do not have.
    #[must_use]
    pub fn present(&self, name: &str) -> Option<&Self> {
        self.member(name).filter(|value| !matches!(value, Self::Null))
    }

    /// The members, if this is an object that has exactly these names.
    #[must_use]
    pub fn exactly(&self, names: &[&str]) -> Option<&Object> {
        self.as_object()
            .filter(|members| members.len() == names.len() && names.iter().all(|n| members.contains_key(*n)))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<Integer> for Value {
    fn from(integer: Integer) -> Self {
        Self::Integer(integer)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<Vec<Self>> for Value {
    fn from(items: Vec<Self>) -> Self {
        Self::Array(items)
    }
}

impl From<Object> for Value {
    fn from(members: Object) -> Self {
        Self::Object(members)
    }
}
