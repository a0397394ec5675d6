//! Another root KEK: drawn here, wrapped elsewhere, and taken for good only when it can be had again.
//!
//! Between the workers it travels sealed to a single-use offer of the one that receives it (RFC 9180), so that
//! the daemon, which passes it on, holds nothing that opens anything.

use std::path::Path;
use std::sync::PoisonError;

use zeroize::Zeroizing;

use super::SoftwareCustodian;
use crate::cipher::{KEY, Key, scrub_stack};
use crate::ring::{self, NewRoot, Ring};
use crate::{CustodyError, Offer, OfferId, PassphraseCost, RootChange, Unsealed, seal_to};

/// What a root key that travels to a token is sealed for.
pub(crate) fn to_wrap(store: &[u8; 16]) -> Vec<u8> {
    [b"trustd/root-kek/v1/to-wrap".as_slice(), store].concat()
}

/// What a root key that travels to the ring is sealed for.
pub(crate) fn to_open(store: &[u8; 16]) -> Vec<u8> {
    [b"trustd/root-kek/v1/to-open".as_slice(), store].concat()
}

/// The root key of an envelope that was opened.
pub(crate) fn read(plain: &Zeroizing<Vec<u8>>) -> Result<Key, CustodyError> {
    let root: &[u8; KEY] = plain.as_slice().try_into().map_err(|_| CustodyError::refused("a root key has 32 bytes"))?;
    Key::copy(root)
}

impl SoftwareCustodian {
    pub(super) fn open_offered(&self, offer: OfferId, sealed: &[u8]) -> Result<Unsealed, CustodyError> {
        let _one_at_a_time = self.0.unsealing.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = (|| {
            let (store, _) = ring::root_place(&self.0.ring_path)?;
            let root = read(&self.0.offers.open(offer, &to_open(&store), sealed)?)?;
            Ring::open_with(&self.0.ring_path, root)
        })();
        scrub_stack();
        Ok(self.stand_open(opened?))
    }

    pub(super) fn draw(&self, receivers: &[Offer]) -> Result<Vec<Vec<u8>>, CustodyError> {
        let _no_unseal = self.0.unsealing.lock().unwrap_or_else(PoisonError::into_inner);
        let store = self.0.with_ring(|ring| Ok(ring.store()))?;
        let root = Key::random()?;
        let sealed =
            receivers.iter().map(|offer| seal_to(&offer.public_key, &to_wrap(&store), root.expose())).collect();
        *self.0.drawn() = Some(root);
        scrub_stack();
        sealed
    }

    pub(super) fn change(&self, change: RootChange) -> Result<(), CustodyError> {
        let _no_unseal = self.0.unsealing.lock().unwrap_or_else(PoisonError::into_inner);
        // Good for one change: what failed begins anew, with another key.
        let drawn = self.0.drawn().take();
        let mut ring = self.0.ring.write().unwrap_or_else(PoisonError::into_inner);
        let ring = ring.as_mut().ok_or(CustodyError::Sealed)?;
        let cost = PassphraseCost::default();
        let changed = match &change {
            RootChange::File { offer, sealed, .. } => {
                let opened = self.0.offers.open(*offer, &to_open(&ring.store()), sealed);
                opened.and_then(|root| read(&root)).and_then(|root| ring.change_root(&root, NewRoot::File))
            }
            RootChange::Passphrase(passphrase) => {
                Key::random().and_then(|root| ring.change_root(&root, NewRoot::Passphrase(passphrase, cost)))
            }
            RootChange::Token { wraps, recovery } => {
                let recovery = recovery.as_ref().map(|passphrase| (passphrase, cost));
                let root = drawn.ok_or_else(|| CustodyError::refused("no new root key was drawn, or it was used"));
                root.and_then(|root| ring.change_root(&root, NewRoot::Token { wraps: wraps.clone(), recovery }))
            }
        };
        scrub_stack();
        changed
    }

    /// Keeps the opened ring, unless one is open already.
    pub(super) fn stand_open(&self, ring: Ring) -> Unsealed {
        let unsealed = Unsealed { store_key: ring.store_key(), store: ring.store() };
        self.0.ring.write().unwrap_or_else(PoisonError::into_inner).get_or_insert(ring);
        unsealed
    }
}

/// Makes a root key file, and seals what is in it to an offer of the custodian whose ring is to have it as its root.
///
/// # Errors
/// [`CustodyError::Refused`] when something is there already; nothing is left then, nor where the file cannot be made.
pub fn make_root_file(path: &Path, receiver: &Offer, store: &[u8; 16]) -> Result<Vec<u8>, CustodyError> {
    let root = Key::random()?;
    let sealed = seal_to(&receiver.public_key, &to_open(store), root.expose())?;
    ring::write_root_file(path, &root)?;
    Ok(sealed)
}
