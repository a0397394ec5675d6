//! What goes over a session's stream: what is done with keys.

use serde::{Deserialize, Serialize};
use trust::Malformed;

use super::{Bytes, Context, Order, Record};
use crate::{
    AdoptedId, CustodyError, KeyClass, KeyObject, Material, ObjectId, SealedKey, TokenKey, TokenObject, TokenTrouble,
};

/// Asked over a session.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) enum Ask<'a> {
    Generate(#[serde(borrow)] Context<'a>),
    Sign(Vec<Order<'a>>),
    Rewrap(Vec<Record<'a>>),
    Forget([u8; 16]),
    Offer,
    Import {
        #[serde(borrow)]
        context: Context<'a>,
        offer: [u8; 16],
        info: Bytes<'a>,
        envelope: Bytes<'a>,
    },
    Destroy(Record<'a>),
    Objects,
    Adopt {
        #[serde(borrow)]
        context: Context<'a>,
        id: Bytes<'a>,
        spki_sha256: Option<[u8; 32]>,
        may_do_more: bool,
    },
}

/// Answered over a session.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) enum Answer<'a> {
    Generated {
        #[serde(borrow)]
        spki: Bytes<'a>,
        material: Kept<'a>,
    },
    Signed(Vec<SignedBytes<'a>>),
    Rewrapped(Vec<Result<Kept<'a>, CustodyError>>),
    Forgotten,
    Destroyed {
        were_there: bool,
    },
    Objects {
        objects: Vec<Object<'a>>,
        is_whole: bool,
    },
    Offered {
        id: [u8; 16],
        public_key: [u8; 32],
    },
    Failed(CustodyError),
    /// This was not done, and nothing will be: this worker asks to be replaced.
    Sick(TokenTrouble),
}

/// [`TokenObject`] as bytes.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) struct Object<'a> {
    class: KeyClass,
    #[serde(borrow)]
    id: Bytes<'a>,
    label: &'a str,
    key_type: &'a str,
}

impl<'a> From<&'a TokenObject> for Object<'a> {
    fn from(object: &'a TokenObject) -> Self {
        Self { class: object.class, id: Bytes(&object.id), label: &object.label, key_type: &object.key_type }
    }
}

impl Object<'_> {
    pub(in crate::worker) fn read(&self) -> TokenObject {
        TokenObject::new(self.class, self.id.0, self.label, self.key_type)
    }
}

/// [`Material`] as bytes.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) enum Kept<'a> {
    Sealed(#[serde(borrow)] Bytes<'a>),
    Token { token: &'a str, object: [u8; 32] },
    Adopted { token: &'a str, id: Bytes<'a>, bound: [u8; 16] },
}

impl<'a> From<&'a Material> for Kept<'a> {
    fn from(material: &'a Material) -> Self {
        match material {
            Material::Sealed(sealed) => Self::Sealed(Bytes(sealed.as_bytes())),
            Material::Token(TokenKey { token, object: KeyObject::Ours(id) }) => {
                Self::Token { token: token.as_str(), object: *id.as_bytes() }
            }
            Material::Token(TokenKey { token, object: KeyObject::Adopted(adopted) }) => {
                Self::Adopted { token: token.as_str(), id: Bytes(adopted.id()), bound: *adopted.bound() }
            }
        }
    }
}

impl Kept<'_> {
    pub(in crate::worker) fn read(&self) -> Result<Material, Malformed> {
        match self {
            Self::Sealed(bytes) => SealedKey::from_bytes(bytes.0).map(Material::Sealed),
            Self::Token { token, object } => {
                let object = KeyObject::Ours(ObjectId::from_bytes(*object));
                Ok(Material::Token(TokenKey { token: token.parse()?, object }))
            }
            Self::Adopted { token, id, bound } => {
                let object = KeyObject::Adopted(AdoptedId::from_parts(id.0, *bound)?);
                Ok(Material::Token(TokenKey { token: token.parse()?, object }))
            }
        }
    }
}

/// [`crate::SignedOrder`] as bytes.
pub(in crate::worker) type SignedBytes<'a> = Result<Vec<Result<Bytes<'a>, CustodyError>>, CustodyError>;
