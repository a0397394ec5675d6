//! What the daemon and its worker say to each other, and how it is read back into types.
//!
//! Everything borrows from its frame. Private keys are in no message, nor are data
//! keys; a passphrase or a PIN goes in and the store key comes out over the control
//! connection, in buffers that are wiped.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trust::{Algorithm, Digest, KeyId, KeyRef, KeyVersion, Malformed, Purpose, Sha256Digest, Signable};
use zeroize::Zeroizing;

use crate::doctor::{Plan, Progress, Report};
use crate::{
    CustodyError, DestroyOrder, Judged, KeyClass, Material, ObjectId, OfferId, Passphrase, RewrapOrder, RootChange,
    SealContext, SealedKey, SigningOrder, TokenFacts, TokenKey, TokenObject, TokenSelector, TokenTrouble, WrappedRoot,
};

/// Both sides speak exactly this; they are one program.
pub(super) const PROTOCOL: u16 = 4;

/// Asked over the control connection.
#[derive(Serialize, Deserialize)]
pub(super) enum Control<'a> {
    /// The first message, once.
    Hello(#[serde(borrow)] Hello<'a>),
    /// A session's stream comes with this message as a descriptor.
    Attach,
    /// Open the ring with the root key file at this path.
    UnsealFile(Bytes<'a>),
    /// Open the ring with a passphrase.
    UnsealPassphrase(Bytes<'a>),
    /// Forget everything that opens.
    Seal,
    /// List the KEK versions.
    List,
    /// Make a new KEK version.
    BeginRotation,
    /// Destroy the older ones.
    FinishRotation,
    /// See whether the token is there.
    Probe,
    /// Measure the token; [`ControlAnswer::Examining`] comes before each step, the answer at the end.
    Examine(Plan),
    /// To [`ControlAnswer::Examining`]: do it.
    GoOn,
    /// Show the token this PIN; asked once, after the token was found.
    LogIn(Bytes<'a>),
    /// Hand out a single-use public key.
    Offer,
    /// Open the ring with the root key that was sealed to an offer.
    UnsealOffered { offer: [u8; 16], sealed: Bytes<'a> },
    /// Draw another root key and seal it to each of these public keys.
    DrawRoot(Vec<[u8; 32]>),
    /// Put the ring under another root key.
    ChangeRoot(#[serde(borrow)] Change<'a>),
    /// Wrap the root key that was sealed to an offer under a new key of the token.
    WrapRoot { offer: [u8; 16], sealed: Bytes<'a> },
    /// Unwrap a root key and seal it to this public key.
    UnwrapRoot { wrapped: WrappedRoot, receiver: [u8; 32] },
    /// Delete the key under which a root key was wrapped.
    DestroyWrapKey(WrappedRoot),
}

/// [`RootChange`] as bytes.
#[derive(Serialize, Deserialize)]
pub(super) enum Change<'a> {
    File {
        offer: [u8; 16],
        #[serde(borrow)]
        sealed: Bytes<'a>,
    },
    Passphrase(#[serde(borrow)] Bytes<'a>),
    Token {
        wraps: Vec<WrappedRoot>,
        #[serde(borrow)]
        recovery: Option<Bytes<'a>>,
    },
}

impl<'a> From<&'a RootChange> for Change<'a> {
    fn from(change: &'a RootChange) -> Self {
        match change {
            RootChange::File { offer, sealed, .. } => Self::File { offer: *offer.as_bytes(), sealed: Bytes(sealed) },
            RootChange::Passphrase(passphrase) => Self::Passphrase(Bytes(passphrase.expose())),
            RootChange::Token { wraps, recovery } => Self::Token {
                wraps: wraps.clone(),
                recovery: recovery.as_ref().map(|passphrase| Bytes(passphrase.expose())),
            },
        }
    }
}

impl Change<'_> {
    /// The path of a root key file is the daemon's matter and stays empty here.
    pub(super) fn read(self) -> Result<RootChange, Malformed> {
        let taken = |bytes: Bytes<'_>| Passphrase::take(&mut Zeroizing::new(bytes.0.to_vec()));
        Ok(match self {
            Self::File { offer, sealed } => RootChange::File {
                path: std::path::PathBuf::new(),
                offer: OfferId::from_bytes(offer),
                sealed: sealed.0.to_vec(),
            },
            Self::Passphrase(bytes) => RootChange::Passphrase(taken(bytes)?),
            Self::Token { wraps, recovery } => RootChange::Token { wraps, recovery: recovery.map(taken).transpose()? },
        })
    }
}

/// How the worker is to stand.
#[derive(Serialize, Deserialize)]
pub(super) struct Hello<'a> {
    pub(super) protocol: u16,
    /// Process id of the daemon: a worker whose parent is another ends itself.
    pub(super) parent: i32,
    #[serde(borrow)]
    pub(super) post: Post<'a>,
}

/// What the worker keeps.
#[derive(Serialize, Deserialize)]
pub(super) enum Post<'a> {
    /// The software keys.
    Ring {
        #[serde(borrow)]
        ring: Bytes<'a>,
        /// The root key file it may read, now or later.
        root_file: Option<Bytes<'a>>,
        /// The root key file to open the ring with before answering: it was open when the older worker died.
        reopen: Option<Bytes<'a>>,
        opened_keys_max: u32,
    },
    /// One token.
    Token {
        name: &'a str,
        store: [u8; 16],
        #[serde(borrow)]
        module: Bytes<'a>,
        token: Selector<'a>,
        /// What the module may read besides libraries, and what it may change, too.
        readable: Vec<Bytes<'a>>,
        writable: Vec<Bytes<'a>>,
        reach: Reach<'a>,
    },
}

/// What a module may reach besides files.
#[derive(Serialize, Deserialize)]
pub(super) struct Reach<'a> {
    pub(super) connect: Vec<SocketAddr>,
    pub(super) unix_sockets: bool,
    #[serde(borrow)]
    pub(super) devices: Vec<Bytes<'a>>,
}

/// [`TokenSelector`] as text.
#[derive(Serialize, Deserialize)]
pub(super) enum Selector<'a> {
    Label(&'a str),
    Serial(&'a str),
}

impl<'a> From<&'a TokenSelector> for Selector<'a> {
    fn from(selector: &'a TokenSelector) -> Self {
        match selector {
            TokenSelector::Label(label) => Self::Label(label),
            TokenSelector::Serial(serial) => Self::Serial(serial),
        }
    }
}

impl Selector<'_> {
    pub(super) fn read(&self) -> TokenSelector {
        match self {
            Self::Label(label) => TokenSelector::Label((*label).to_owned()),
            Self::Serial(serial) => TokenSelector::Serial((*serial).to_owned()),
        }
    }
}

/// Answered over the control connection.
#[derive(Serialize, Deserialize)]
pub(super) enum ControlAnswer<'a> {
    /// To [`Hello`]: whether the ring is open, or why it is not though it should.
    Welcome { protocol: u16, reopened: Option<Result<(), CustodyError>> },
    /// To [`Hello`] of a token: whether it is there, and whether it has counted a wrong PIN since the last right one.
    Found { protocol: u16, counted: Result<bool, TokenTrouble> },
    /// To [`Control::LogIn`].
    LoggedIn(#[serde(borrow)] Result<(Judged, Facts<'a>), TokenTrouble>),
    /// To [`Control::Probe`]: whether it serves.
    Probed(Result<(), TokenTrouble>),
    /// Done, with nothing to say.
    Done,
    /// The ring is open.
    Unsealed {
        #[serde(borrow)]
        store_key: Bytes<'a>,
        store: [u8; 16],
    },
    /// KEK version and state: 0 current, 1 readable, 2 destroyed.
    List(Vec<(u32, u8)>),
    /// A KEK version.
    Version(u32),
    /// To [`Control::Examine`]: what comes next. It waits for [`Control::GoOn`].
    Examining(Progress),
    /// To [`Control::Examine`]: all of it.
    Examined(Box<Report>),
    /// A single-use public key.
    Offered { id: [u8; 16], public_key: [u8; 32] },
    /// A root key, sealed to each of the public keys that came.
    Drawn(Vec<Bytes<'a>>),
    /// What the token made of a root key.
    Wrapped(WrappedRoot),
    /// Not done.
    Failed(CustodyError),
}

/// [`TokenFacts`] as text.
#[derive(Serialize, Deserialize)]
pub(super) struct Facts<'a> {
    label: &'a str,
    serial: &'a str,
    manufacturer: &'a str,
    model: &'a str,
    firmware: &'a str,
}

impl<'a> From<&'a TokenFacts> for Facts<'a> {
    fn from(facts: &'a TokenFacts) -> Self {
        Self {
            label: &facts.label,
            serial: &facts.serial,
            manufacturer: &facts.manufacturer,
            model: &facts.model,
            firmware: &facts.firmware,
        }
    }
}

impl Facts<'_> {
    pub(super) fn read(&self) -> TokenFacts {
        TokenFacts::new(self.label, self.serial, self.manufacturer, self.model, self.firmware)
    }
}

/// Asked over a session.
#[derive(Serialize, Deserialize)]
pub(super) enum Ask<'a> {
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
}

/// Answered over a session.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer<'a> {
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
pub(super) struct Object<'a> {
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
    pub(super) fn read(&self) -> TokenObject {
        TokenObject::new(self.class, self.id.0, self.label, self.key_type)
    }
}

/// [`Material`] as bytes.
#[derive(Serialize, Deserialize)]
pub(super) enum Kept<'a> {
    Sealed(#[serde(borrow)] Bytes<'a>),
    Token { token: &'a str, object: [u8; 32] },
}

impl<'a> From<&'a Material> for Kept<'a> {
    fn from(material: &'a Material) -> Self {
        match material {
            Material::Sealed(sealed) => Self::Sealed(Bytes(sealed.as_bytes())),
            Material::Token(key) => Self::Token { token: key.token.as_str(), object: *key.object.as_bytes() },
        }
    }
}

impl Kept<'_> {
    pub(super) fn read(&self) -> Result<Material, Malformed> {
        match self {
            Self::Sealed(bytes) => SealedKey::from_bytes(bytes.0).map(Material::Sealed),
            Self::Token { token, object } => {
                Ok(Material::Token(TokenKey { token: token.parse()?, object: ObjectId::from_bytes(*object) }))
            }
        }
    }
}

/// [`crate::SignedOrder`] as bytes.
pub(super) type SignedBytes<'a> = Result<Vec<Result<Bytes<'a>, CustodyError>>, CustodyError>;

/// [`SealContext`] as bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct Context<'a> {
    store: [u8; 16],
    id: [u8; 16],
    version: u32,
    algorithm: &'a str,
    purpose: &'a str,
    scope_hash: [u8; 32],
}

/// [`RewrapOrder`], or a [`SigningOrder`] without its inputs, as bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    context: Context<'a>,
    spki_sha256: [u8; 32],
    material: Kept<'a>,
}

/// [`SigningOrder`] as bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct Order<'a> {
    #[serde(borrow)]
    record: Record<'a>,
    inputs: Vec<Input<'a>>,
}

/// [`Signable`] as bytes.
#[derive(Serialize, Deserialize)]
pub(super) enum Input<'a> {
    Message(#[serde(borrow)] Bytes<'a>),
    Sha256(Bytes<'a>),
    Sha384(Bytes<'a>),
}

/// A path as it goes into a message.
pub(super) fn bytes(path: &Path) -> Bytes<'_> {
    Bytes(path.as_os_str().as_bytes())
}

/// Bytes that stay where they are.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Self)
    }
}

impl<'a> From<&'a SealContext> for Context<'a> {
    fn from(context: &'a SealContext) -> Self {
        Self {
            store: context.store,
            id: *context.key.id.as_bytes(),
            version: context.key.version.number(),
            algorithm: context.algorithm.name(),
            purpose: context.purpose.name(),
            scope_hash: *context.scope_hash.as_bytes(),
        }
    }
}

impl Context<'_> {
    pub(super) fn read(&self) -> Result<SealContext, Malformed> {
        let version = KeyVersion::new(self.version).ok_or(Malformed::new("key version", "1 or more"))?;
        Ok(SealContext {
            store: self.store,
            key: KeyRef { id: KeyId::from_bytes(self.id), version },
            algorithm: self.algorithm.parse::<Algorithm>()?,
            purpose: self.purpose.parse::<Purpose>()?,
            scope_hash: Sha256Digest::from_bytes(self.scope_hash),
        })
    }
}

impl<'a> Record<'a> {
    fn of(context: &'a SealContext, spki_sha256: Sha256Digest, material: &'a Material) -> Self {
        Self { context: context.into(), spki_sha256: *spki_sha256.as_bytes(), material: material.into() }
    }

    pub(super) fn read(&self) -> Result<RewrapOrder, Malformed> {
        Ok(RewrapOrder {
            context: Arc::new(self.context.read()?),
            spki_sha256: Sha256Digest::from_bytes(self.spki_sha256),
            material: self.material.read()?,
        })
    }
}

impl<'a> From<&'a RewrapOrder> for Record<'a> {
    fn from(order: &'a RewrapOrder) -> Self {
        Self::of(&order.context, order.spki_sha256, &order.material)
    }
}

impl<'a> From<&'a DestroyOrder> for Record<'a> {
    fn from(order: &'a DestroyOrder) -> Self {
        Self::of(&order.context, order.spki_sha256, &order.material)
    }
}

impl<'a> From<&'a SigningOrder> for Order<'a> {
    fn from(order: &'a SigningOrder) -> Self {
        let inputs = order.inputs.iter().map(|input| match input {
            Signable::Message(message) => Input::Message(Bytes(message)),
            Signable::Digest(Digest::Sha256(value)) => Input::Sha256(Bytes(value)),
            Signable::Digest(Digest::Sha384(value)) => Input::Sha384(Bytes(value)),
        });
        Self { record: Record::of(&order.context, order.spki_sha256, &order.material), inputs: inputs.collect() }
    }
}

impl Order<'_> {
    pub(super) fn read(&self) -> Result<SigningOrder, Malformed> {
        let RewrapOrder { context, spki_sha256, material } = self.record.read()?;
        let inputs = self.inputs.iter().map(Input::read).collect::<Result<_, _>>()?;
        Ok(SigningOrder { context, spki_sha256, material, inputs })
    }
}

impl Input<'_> {
    fn read(&self) -> Result<Signable, Malformed> {
        use trust::HashFunction::{Sha256, Sha384};
        Ok(match self {
            Self::Message(message) => Signable::Message(message.0.to_vec()),
            Self::Sha256(value) => Signable::Digest(Digest::from_bytes(Sha256, value.0)?),
            Self::Sha384(value) => Signable::Digest(Digest::from_bytes(Sha384, value.0)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads bytes as each message and goes on as the receiver would.
    fn read_as_everything(bytes: &[u8]) {
        let _ = postcard::from_bytes::<Control<'_>>(bytes);
        let _ = postcard::from_bytes::<ControlAnswer<'_>>(bytes);
        let _ = postcard::from_bytes::<Answer<'_>>(bytes);
        match postcard::from_bytes::<Ask<'_>>(bytes) {
            Ok(Ask::Generate(context) | Ask::Import { context, .. }) => drop(context.read()),
            Ok(Ask::Sign(orders)) => orders.iter().for_each(|order| drop(order.read())),
            Ok(Ask::Rewrap(records)) => records.iter().for_each(|record| drop(record.read())),
            Ok(Ask::Destroy(record)) => drop(record.read()),
            Ok(Ask::Objects | Ask::Forget(_) | Ask::Offer) | Err(_) => {}
        }
    }

    fn an_order() -> SigningOrder {
        SigningOrder {
            context: Arc::new(SealContext {
                store: [1; 16],
                key: KeyRef { id: KeyId::from_bytes([2; 16]), version: KeyVersion::FIRST },
                algorithm: Algorithm::EcdsaP384Sha384,
                purpose: Purpose::Raw,
                scope_hash: Sha256Digest::of(b"scope"),
            }),
            spki_sha256: Sha256Digest::of(b"spki"),
            material: Material::Sealed(SealedKey::from_bytes(&[1; 200]).unwrap()),
            inputs: vec![
                Signable::Message(b"message".to_vec()),
                Signable::Digest(Digest::Sha256([3; 32])),
                Signable::Digest(Digest::Sha384([4; 48])),
            ],
        }
    }

    #[test]
    fn a_token_key_comes_back_as_it_was_sent() {
        let token = "hsm".parse().unwrap();
        let sent = SigningOrder {
            material: Material::Token(TokenKey { token, object: ObjectId::from_bytes([9; 32]) }),
            ..an_order()
        };
        let bytes = encoded(&sent);

        let Ok(Ask::Sign(orders)) = postcard::from_bytes(&bytes) else { panic!("not an order") };

        assert_eq!(orders[0].read().unwrap().material, sent.material);
    }

    fn encoded(order: &SigningOrder) -> Vec<u8> {
        postcard::to_allocvec(&Ask::Sign(vec![order.into()])).unwrap()
    }

    #[test]
    fn an_order_comes_back_as_it_was_sent() {
        let sent = an_order();
        let bytes = encoded(&sent);

        let Ok(Ask::Sign(orders)) = postcard::from_bytes(&bytes) else { panic!("not an order") };
        let received = orders[0].read().unwrap();

        assert_eq!(received.context, sent.context);
        assert_eq!(received.spki_sha256, sent.spki_sha256);
        assert_eq!(received.material, sent.material);
        assert!(received.inputs == sent.inputs);
    }

    #[test]
    fn an_order_with_any_byte_changed_or_cut_short_never_panics() {
        let good = encoded(&an_order());
        for index in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[index] ^= flip;
                read_as_everything(&bad);
            }
            read_as_everything(&good[..index]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_from_either_side_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), kind in 0_u8..12) {
            read_as_everything(&bytes);
            read_as_everything(&[&[kind], bytes.as_slice()].concat());
        }
    }
}
