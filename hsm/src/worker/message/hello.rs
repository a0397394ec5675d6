//! The first message: what the worker keeps, and what it may reach for that.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Bytes;
use crate::TokenSelector;

/// How the worker is to stand.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) struct Hello<'a> {
    pub(in crate::worker) protocol: u16,
    /// Process id of the daemon: a worker whose parent is another ends itself.
    pub(in crate::worker) parent: i32,
    #[serde(borrow)]
    pub(in crate::worker) post: Post<'a>,
}

/// What the worker keeps.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) enum Post<'a> {
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
pub(in crate::worker) struct Reach<'a> {
    pub(in crate::worker) connect: Vec<SocketAddr>,
    pub(in crate::worker) unix_sockets: bool,
    #[serde(borrow)]
    pub(in crate::worker) devices: Vec<Bytes<'a>>,
}

/// [`TokenSelector`] as text.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) enum Selector<'a> {
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
    pub(in crate::worker) fn read(&self) -> TokenSelector {
        match self {
            Self::Label(label) => TokenSelector::Label((*label).to_owned()),
            Self::Serial(serial) => TokenSelector::Serial((*serial).to_owned()),
        }
    }
}
