//! Keys that are in a token already, taken as they are.

use std::sync::Arc;
use std::time::Duration;

use trust::{Fault, Principal, Sha256Digest};
use trust_hsm::{AdoptOrder, SealContext};

use super::create::Source;
use super::{KeyReceipt, NewKey};
use crate::house::House;
use crate::idempotency::{IdempotencyKey, RequestHash};

/// How a key in a token is found and what it may be.
#[derive(Debug, Clone)]
pub(crate) struct Sought {
    /// Its `CKA_ID`, 1 to 64 bytes.
    pub(crate) id: Vec<u8>,
    /// What its public half has for a SHA-256, where that is known.
    pub(crate) spki_sha256: Option<Sha256Digest>,
    /// Whether it may be allowed to do more than to sign.
    pub(crate) may_do_more: bool,
}

impl Sought {
    pub(super) fn order(&self, context: SealContext) -> AdoptOrder {
        let Self { id, spki_sha256, may_do_more } = self.clone();
        AdoptOrder { context, id, spki_sha256, may_do_more }
    }

    /// The hash of a request for a key, with which one it is.
    pub(super) fn hash_with(&self, key: Sha256Digest) -> Sha256Digest {
        let spki = self.spki_sha256.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default();
        RequestHash::default().add(key.as_bytes()).add(&self.id).add(&spki).add(&[u8::from(self.may_do_more)]).finish()
    }
}

impl House {
    /// Takes a key that is in the token that it is to be in, after it has signed.
    pub(crate) async fn adopt_key(
        self: &Arc<Self>,
        principal: &Principal,
        new: NewKey,
        sought: Sought,
        idempotency: Option<IdempotencyKey>,
        deadline: Duration,
    ) -> Result<KeyReceipt, Fault> {
        self.make_key(principal, new, Source::Token(sought), idempotency, deadline).await
    }
}
