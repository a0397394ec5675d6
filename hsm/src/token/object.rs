//! Key objects as a token lists them, whoever made them.

use serde::{Deserialize, Serialize};

use crate::token::facts::plain;

/// A key object in a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenObject {
    /// Which kind of key.
    pub class: KeyClass,
    /// Its `CKA_ID`, at most [`TokenObject::ID_BYTES_MAX`] bytes of it.
    pub id: Vec<u8>,
    /// Its `CKA_LABEL`, at most [`TokenObject::LABEL_BYTES_MAX`] bytes of it, without control characters.
    pub label: String,
    /// Its `CKA_KEY_TYPE` in lower case: `ec`, `ec-edwards`, `rsa`, `aes`, or another of the standard's, or its number.
    pub key_type: String,
}

impl TokenObject {
    /// How much of a `CKA_ID` is looked at, in bytes; ours have 32.
    pub const ID_BYTES_MAX: usize = 64;
    /// How much of a label is looked at, in bytes.
    pub const LABEL_BYTES_MAX: usize = 128;
    /// The longest name of a key type, in bytes.
    const TYPE_BYTES_MAX: usize = 32;

    /// Takes what a module said: a stranger's words, so each is cut to its length.
    #[must_use]
    pub fn new(class: KeyClass, id: &[u8], label: &str, key_type: &str) -> Self {
        Self {
            class,
            id: id.iter().take(Self::ID_BYTES_MAX).copied().collect(),
            label: plain(label, Self::LABEL_BYTES_MAX),
            key_type: plain(key_type, Self::TYPE_BYTES_MAX),
        }
    }
}

/// The `CKA_CLASS` of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "closed set: the kinds of keys of PKCS#11")]
pub enum KeyClass {
    /// `CKO_PRIVATE_KEY`.
    Private,
    /// `CKO_PUBLIC_KEY`.
    Public,
    /// `CKO_SECRET_KEY`: a root key's wrapping key is one.
    Secret,
}

impl KeyClass {
    /// The word for it in lists, which `pkcs11-tool --type` takes, too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Private => "privkey",
            Self::Public => "pubkey",
            Self::Secret => "secrkey",
        }
    }
}

/// The key objects of a token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "a list, and whether it is one")]
pub struct TokenObjects {
    /// At most [`TokenObjects::MAX`].
    pub objects: Vec<TokenObject>,
    /// False where the token has more.
    pub is_whole: bool,
}

impl TokenObjects {
    /// The most objects that are listed.
    pub const MAX: usize = 4096;
}
