//! Private keys in this process' memory, sealed at rest.
//!
//! A private key is in the clear between opening its record and [`Session::forget`],
//! sealing, or its turn to make room for another.

#[cfg(feature = "test-import")]
mod import;
pub(crate) mod key;
mod opened;
pub(crate) mod root;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use trust::{KeyId, Sha256Digest, Signable};

use crate::cipher::{Key, scrub_stack};
use crate::imported;
use crate::offer::Offers;
use crate::ring::{self, Ring};
use crate::sealing;
use crate::{
    AdoptOrder, Custodian, CustodianState, CustodyError, DestroyOrder, Generated, ImportOrder, KekInfo, KekVersion,
    KeyRing, Material, Offer, OfferId, PassphraseCost, Removed, RewrapOrder, RootChange, RootSource, SealContext,
    SealedKey, Session, SignedOrder, SigningOrder, TokenObjects, Unsealed,
};
use key::PrivateKey;
use opened::OpenedKeys;

/// The custodian's name, in sealing contexts for ever.
pub(crate) const NAME: &str = "software";

/// The custodian that makes, seals and uses keys in its own process.
///
/// In production only the worker process holds one; tests and `trustd init` mount it directly.
/// Starts sealed. Cheap to clone; clones are the same custodian.
#[derive(Clone)]
pub struct SoftwareCustodian(Arc<Inner>);

struct Inner {
    ring_path: PathBuf,
    /// `None` while sealed. Held for reading while a key is in use, so that sealing waits for it.
    ring: RwLock<Option<Ring>>,
    opened: Mutex<OpenedKeys>,
    /// One unseal at a time: each may take Argon2id's memory.
    unsealing: Mutex<()>,
    offers: Offers,
    /// The root key to come, until tokens have wrapped it.
    drawn: Mutex<Option<Key>>,
}

impl SoftwareCustodian {
    /// Stands before the ring at `ring`; keeps at most `opened_keys_max` opened keys.
    #[must_use]
    pub fn new(ring: &Path, opened_keys_max: usize) -> Self {
        Self(Arc::new(Inner {
            ring_path: ring.to_owned(),
            ring: RwLock::new(None),
            opened: Mutex::new(OpenedKeys::new(opened_keys_max)),
            unsealing: Mutex::new(()),
            offers: Offers::new(),
            drawn: Mutex::new(None),
        }))
    }
}

impl fmt::Debug for SoftwareCustodian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareCustodian({}, {})", self.0.ring_path.display(), self.state().name())
    }
}

/// Makes the KEK ring of a new store, mode 0600, durably, with one KEK version.
///
/// `cost` counts for a passphrase only; a root key file must exist already.
///
/// # Errors
/// [`CustodyError::Refused`] when the ring exists, the secret's file is loose, or the cost out of bounds.
pub fn init_ring(
    ring: &Path,
    store: [u8; 16],
    root: &RootSource,
    cost: PassphraseCost,
) -> Result<Unsealed, CustodyError> {
    let store_key = Ring::create(ring, store, root, cost)?;
    Ok(Unsealed { store_key, store })
}

/// Makes a root key file: 32 random bytes, mode 0600, durably.
///
/// # Errors
/// [`CustodyError::Refused`] when something is there already.
pub fn create_root_file(path: &Path) -> Result<(), CustodyError> {
    ring::create_root_file(path)
}

/// Says what is wrong with a root key file, without reading the key.
///
/// # Errors
/// [`CustodyError::Refused`] for a file that unsealing would refuse, too.
pub fn examine_root_file(path: &Path) -> Result<(), CustodyError> {
    ring::examine_root_file(path)
}

impl Custodian for SoftwareCustodian {
    fn open(&self) -> Result<Box<dyn Session>, CustodyError> {
        Ok(Box::new(SoftwareSession(Arc::clone(&self.0))))
    }

    fn name(&self) -> &str {
        NAME
    }

    fn state(&self) -> CustodianState {
        let ring = self.0.ring.read().unwrap_or_else(PoisonError::into_inner);
        if ring.is_some() { CustodianState::Ready } else { CustodianState::Sealed }
    }

    fn restarts(&self) -> u64 {
        0
    }
}

impl KeyRing for SoftwareCustodian {
    fn unseal(&self, source: RootSource) -> Result<Unsealed, CustodyError> {
        let _one_at_a_time = self.0.unsealing.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = Ring::open(&self.0.ring_path, &source);
        scrub_stack();
        Ok(self.stand_open(opened?))
    }

    fn offer(&self) -> Result<Offer, CustodyError> {
        self.0.offers.make_for_root()
    }

    fn unseal_offered(&self, offer: OfferId, sealed: &[u8]) -> Result<Unsealed, CustodyError> {
        self.open_offered(offer, sealed)
    }

    fn draw_root(&self, receivers: &[Offer]) -> Result<Vec<Vec<u8>>, CustodyError> {
        self.draw(receivers)
    }

    fn change_root(&self, change: RootChange) -> Result<(), CustodyError> {
        self.change(change)
    }

    fn seal(&self) -> Result<(), CustodyError> {
        let _no_unseal = self.0.unsealing.lock().unwrap_or_else(PoisonError::into_inner);
        *self.0.ring.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.opened().clear();
        self.0.offers.clear();
        *self.0.drawn() = None;
        scrub_stack();
        Ok(())
    }

    fn list(&self) -> Result<Vec<KekInfo>, CustodyError> {
        self.0.with_ring(|ring| Ok(ring.list()))
    }

    fn begin_rotation(&self) -> Result<KekVersion, CustodyError> {
        let _no_unseal = self.0.unsealing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ring = self.0.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.as_mut().ok_or(CustodyError::Sealed)?.begin_rotation()
    }

    fn finish_rotation(&self) -> Result<(), CustodyError> {
        let _no_unseal = self.0.unsealing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ring = self.0.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.as_mut().ok_or(CustodyError::Sealed)?.finish_rotation()?;
        // A key that was not rewrapped must not live on because it happened to be open.
        self.0.opened().clear();
        scrub_stack();
        Ok(())
    }
}

impl Inner {
    fn drawn(&self) -> MutexGuard<'_, Option<Key>> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> MutexGuard<'_, OpenedKeys> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_ring<T>(&self, work: impl FnOnce(&Ring) -> Result<T, CustodyError>) -> Result<T, CustodyError> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        work(ring.as_ref().ok_or(CustodyError::Sealed)?)
    }

    fn generate(&self, context: &SealContext) -> Result<Generated, CustodyError> {
        self.with_ring(|ring| refuse_foreign(ring, context))?;
        context.refuse_impossible()?;
        // Without the lock: an RSA key takes seconds, and who wants to seal should not wait for it.
        let (private, plain) = self.make(context)?;
        let public_key = private.public_key()?;
        prove(&private, &public_key)?;
        let binding = sealing::binding(context, public_key.spki_sha256());
        let sealed = self.with_ring(|ring| sealing::seal(ring, &binding, &plain))?;
        Ok(Generated { public_key, material: Material::Sealed(sealed) })
    }

    fn import(&self, order: &ImportOrder) -> Result<Generated, CustodyError> {
        let context = &order.context;
        self.with_ring(|ring| refuse_foreign(ring, context))?;
        context.refuse_impossible()?;
        let opened = self.offers.open(order.offer, &order.info, &order.envelope)?;
        let imported = imported::read(context.algorithm, &opened)?;
        let binding = sealing::binding(context, imported.public_key.spki_sha256());
        let sealed = self.with_ring(|ring| sealing::seal(ring, &binding, &imported.plain))?;
        Ok(Generated { public_key: imported.public_key, material: Material::Sealed(sealed) })
    }

    #[cfg(not(feature = "test-import"))]
    fn make(&self, context: &SealContext) -> Result<(PrivateKey, key::Plain), CustodyError> {
        PrivateKey::generate(context.algorithm)
    }

    #[cfg(feature = "test-import")]
    fn make(&self, context: &SealContext) -> Result<(PrivateKey, key::Plain), CustodyError> {
        match import::take(&self.ring_path)? {
            Some(plain) => Ok((PrivateKey::parse(context.algorithm, &plain)?, plain)),
            None => PrivateKey::generate(context.algorithm),
        }
    }

    fn sign(&self, ring: &Ring, order: &SigningOrder) -> SignedOrder {
        order.check_size()?;
        refuse_foreign(ring, &order.context)?;
        let key = self.open(ring, &order.context, order.spki_sha256, &order.material)?;
        Ok(order.inputs.iter().map(|input| key.sign(input)).collect())
    }

    /// The opened key of a record: kept from before, or opened now.
    fn open(
        &self,
        ring: &Ring,
        context: &SealContext,
        spki_sha256: Sha256Digest,
        material: &Material,
    ) -> Result<Arc<PrivateKey>, CustodyError> {
        let sealed = sealed(material)?;
        let binding = sealing::binding(context, spki_sha256);
        if let Some(key) = self.opened().find(context.key, &binding, sealed) {
            return Ok(key);
        }
        let plain = sealing::open(ring, &binding, sealed)?;
        let private = Arc::new(PrivateKey::parse(context.algorithm, &plain)?);
        self.opened().keep(context.key, binding, sealed.clone(), Arc::clone(&private));
        Ok(private)
    }
}

/// A session of the custodian in the same process.
struct SoftwareSession(Arc<Inner>);

impl Session for SoftwareSession {
    fn generate(&mut self, context: &SealContext) -> Result<Generated, CustodyError> {
        let generated = self.0.generate(context);
        scrub_stack();
        generated
    }

    fn import(&mut self, order: &ImportOrder) -> Result<Generated, CustodyError> {
        let imported = self.0.import(order);
        scrub_stack();
        imported
    }

    fn adopt(&mut self, _: &AdoptOrder) -> Result<Generated, CustodyError> {
        Err(CustodyError::refused("keys are adopted in tokens; software custody has none but its own"))
    }

    fn offer(&mut self) -> Result<Offer, CustodyError> {
        self.0.offers.make()
    }

    fn sign(&mut self, orders: &[SigningOrder], deadline: Duration) -> Vec<SignedOrder> {
        let sign_one = |order: &SigningOrder| {
            if deadline.is_zero() { Err(CustodyError::Late) } else { self.0.with_ring(|ring| self.0.sign(ring, order)) }
        };
        let signed = orders.iter().map(sign_one).collect();
        scrub_stack();
        signed
    }

    fn rewrap(&mut self, orders: &[RewrapOrder]) -> Vec<Result<Material, CustodyError>> {
        let rewrap_one = |ring: &Ring, order: &RewrapOrder| {
            refuse_foreign(ring, &order.context)?;
            let sealed = sealed(&order.material)?;
            let binding = sealing::binding(&order.context, order.spki_sha256);
            sealing::rewrap(ring, &binding, sealed).map(Material::Sealed)
        };
        let rewrapped = orders.iter().map(|order| self.0.with_ring(|ring| rewrap_one(ring, order))).collect();
        scrub_stack();
        rewrapped
    }

    fn destroy(&mut self, order: &DestroyOrder) -> Result<Removed, CustodyError> {
        self.forget(order.context.key.id).map(|()| Removed::Deleted)
    }

    fn objects(&mut self) -> Result<TokenObjects, CustodyError> {
        Ok(TokenObjects { objects: Vec::new(), is_whole: true })
    }

    fn forget(&mut self, key: KeyId) -> Result<(), CustodyError> {
        self.0.opened().forget(key);
        scrub_stack();
        Ok(())
    }
}

/// The sealed record; a token's key is none.
fn sealed(material: &Material) -> Result<&SealedKey, CustodyError> {
    match material {
        Material::Sealed(sealed) => Ok(sealed),
        Material::Token(key) => Err(CustodyError::refused(format!("the key is in the token {}", key.token))),
    }
}

/// A record of another store would not open anyway; this says so in words.
fn refuse_foreign(ring: &Ring, context: &SealContext) -> Result<(), CustodyError> {
    if ring.store() == context.store {
        return Ok(());
    }
    Err(CustodyError::refused("the KEK ring is not this store's: one of them was restored or exchanged"))
}

/// A key that cannot make a signature that verifies must never be registered (FIPS 140-3, pairwise consistency).
pub(crate) fn prove(private: &PrivateKey, public_key: &trust::PublicKey) -> Result<(), CustodyError> {
    let probe = Signable::Message(b"trustd pairwise consistency".to_vec());
    let signature = private.sign(&probe)?;
    trust::verify::one(public_key, &probe, signature.as_bytes())
        .map_err(|error| CustodyError::failed(format!("prove a new key of {}: {error}", public_key.algorithm())))
}
