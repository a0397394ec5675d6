//! What goes over the control connection: the worker as a whole, its ring, its token, root keys.

use serde::{Deserialize, Serialize};
use trust::Malformed;
use zeroize::Zeroizing;

use super::{Bytes, Hello};
use crate::doctor::{Plan, Progress, Report};
use crate::{CustodyError, Judged, OfferId, Passphrase, RootChange, TokenFacts, TokenTrouble, WrappedRoot};

/// Asked over the control connection.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) enum Control<'a> {
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
    /// Use the token so from now on.
    Tune(Tune),
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

/// How a token's sessions are used.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::worker) struct Tune {
    /// How many may be open at once.
    pub(in crate::worker) sessions_max: u32,
    /// One that was idle for longer is opened anew, in milliseconds; `None` where they may be idle for ever.
    pub(in crate::worker) idle_max_ms: Option<u64>,
}

impl Default for Tune {
    /// What nobody has said.
    fn default() -> Self {
        Self { sessions_max: u32::MAX, idle_max_ms: None }
    }
}

/// [`RootChange`] as bytes.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) enum Change<'a> {
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
    pub(in crate::worker) fn read(self) -> Result<RootChange, Malformed> {
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

/// Answered over the control connection.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) enum ControlAnswer<'a> {
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
pub(in crate::worker) struct Facts<'a> {
    label: &'a str,
    serial: &'a str,
    manufacturer: &'a str,
    model: &'a str,
    firmware: &'a str,
    module: &'a str,
}

impl<'a> From<&'a TokenFacts> for Facts<'a> {
    fn from(facts: &'a TokenFacts) -> Self {
        Self {
            label: &facts.label,
            serial: &facts.serial,
            manufacturer: &facts.manufacturer,
            model: &facts.model,
            firmware: &facts.firmware,
            module: &facts.module,
        }
    }
}

impl Facts<'_> {
    pub(in crate::worker) fn read(&self) -> TokenFacts {
        TokenFacts::new(self.label, self.serial, self.manufacturer, self.model, self.firmware, self.module)
    }
}
