//! One thread's way to the token, and the ladder that it climbs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki::session::Session as Pkcs11Session;
use trust::{Algorithm, KeyId, KeyRef, Signable, Signature, verify};

use super::doctor::now;
use super::fault::Fault;
use super::object::{self, Found};
use super::{Inner, adopt, generate, import, listing, mechanism, remove};
use crate::cipher::scrub_stack;
use crate::imported;
use crate::{
    AdoptOrder, CustodyError, DestroyOrder, Generated, ImportOrder, Material, Offer, Removed, RewrapOrder, SealContext,
    Session, SignedOrder, SigningOrder, TokenKey, TokenObjects,
};

/// The most handles that a session keeps; when there are more, it begins anew.
const HANDLES_MAX: usize = 4096;

/// What is said of a key whose signatures are wrong on a new session and a new login, too.
const UNSOUND: &str = "sign: the token's signature does not verify under the key's registered public half";

/// Where on the ladder (D24) the next fault leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rung {
    Session,
    Login,
    Process,
}

/// Whether a session only uses keys, or makes them.
#[derive(Clone, Copy)]
pub(super) enum Access {
    Use,
    Make,
}

/// A session that opens itself when it is needed, and anew after every fault.
pub(super) struct TokenSession {
    inner: Arc<Inner>,
    link: Option<Link>,
}

/// An open session, the login it was opened under, and the keys it has found.
pub(super) struct Link {
    pub(super) session: Pkcs11Session,
    generation: u64,
    found: HashMap<KeyRef, Found>,
    used: Instant,
}

impl TokenSession {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, link: None }
    }

    /// Does `work`, on one rung of the ladder after the other until it succeeds or nothing is left but a new process.
    pub(super) fn climb<T>(
        &mut self,
        access: Access,
        work: impl Fn(&Inner, &mut Link) -> Result<T, Fault>,
    ) -> Result<T, CustodyError> {
        let (mut rung, mut only_unsound) = (Rung::Session, true);
        loop {
            if let Some(trouble) = self.inner.trouble() {
                return Err(trouble.into());
            }
            let seen = self.inner.login().generation();
            let fault = match self.link(access, seen).and_then(|(inner, link)| work(inner, link)) {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            // A session that erred is never used again, and no handle outlives it.
            self.link = None;
            only_unsound &= fault == Fault::Unsound;
            rung = match (fault, rung) {
                (Fault::Final(error), _) => return Err(error),
                (Fault::Session(_) | Fault::Unsound | Fault::Missing(_), Rung::Session) => Rung::Login,
                (
                    Fault::Session(_) | Fault::Unsound | Fault::Missing(_) | Fault::Login(_),
                    Rung::Session | Rung::Login,
                ) => {
                    self.inner.renew_login(seen).map_err(|fault| self.inner.give_up(&fault))?;
                    Rung::Process
                }
                // One key that signs wrongly is no reason to take the others from everybody.
                (Fault::Unsound, Rung::Process) if only_unsound => return Err(CustodyError::failed(UNSOUND)),
                // Nor is one that is gone, now that the token has taken a new login and should show it.
                (Fault::Missing(error), Rung::Process) => return Err(error),
                (fault, _) => return Err(self.inner.give_up(&fault).into()),
            };
        }
    }

    /// The open session, or a new one. One that makes keys is opened for each: few need it, and tokens have few of them.
    fn link(&mut self, access: Access, generation: u64) -> Result<(&Inner, &mut Link), Fault> {
        let (inner, slot) = (&*self.inner, self.inner.slot);
        let is_stale = |link: &Link| link.generation != generation || inner.is_idle_too_long(link.used);
        let stale = self.link.as_ref().is_none_or(is_stale);
        if stale || matches!(access, Access::Make) {
            self.link = None; // closed first: some tokens have but one
            let session = match access {
                Access::Use => inner.context.open_ro_session(slot),
                Access::Make => inner.context.open_rw_session(slot),
            };
            let session = session.map_err(|error| Fault::of("open a session", &error))?;
            self.link = Some(Link { session, generation, found: HashMap::new(), used: now() });
        }
        let link = self.link.as_mut().ok_or(CustodyError::failed("keep a session"))?;
        link.used = now();
        Ok((inner, link))
    }

    fn sign_order(&mut self, order: &SigningOrder) -> SignedOrder {
        order.check_size()?;
        let key = token_key(&order.material)?;
        self.inner.check(&order.context, key)?;
        let algorithm = order.context.algorithm;
        // The key first: an order whose key is not there has no input that could have been signed.
        self.climb(Access::Use, |_, link| link.key(order, key).map(drop))?;
        let sign = |input: &Signable| {
            let preimage = mechanism::preimage(algorithm, input)?;
            self.climb(Access::Use, |_, link| link.sign(order, key, input, &preimage))
        };
        Ok(order.inputs.iter().map(sign).collect())
    }
}

impl Link {
    /// The key of an order: kept from before, or found and compared now.
    fn key(&mut self, order: &SigningOrder, key: &TokenKey) -> Result<Found, Fault> {
        let context = &order.context;
        if let Some(found) = self.found.get(&context.key) {
            if found.public_key.spki_sha256() == order.spki_sha256 {
                return Ok(found.clone());
            }
            return Err(CustodyError::corrupt("a token's key: tampered with, or of another row").into());
        }
        let found = object::find(&self.session, &key.object, context.algorithm, order.spki_sha256)?;
        if self.found.len() >= HANDLES_MAX {
            self.found.clear();
        }
        self.found.insert(context.key, found.clone());
        Ok(found)
    }

    fn sign(
        &mut self,
        order: &SigningOrder,
        key: &TokenKey,
        input: &Signable,
        preimage: &[u8],
    ) -> Result<Signature, Fault> {
        let found = self.key(order, key)?;
        sign_with(&self.session, &found, order.context.algorithm, input, preimage)
    }
}

/// Signs, and verifies what came back: a handle may mean another key by now, and then the key must be found again.
pub(super) fn sign_with(
    session: &Pkcs11Session,
    found: &Found,
    algorithm: Algorithm,
    input: &Signable,
    preimage: &[u8],
) -> Result<Signature, Fault> {
    let raw = session
        .sign(&mechanism::signing(algorithm), found.private, preimage)
        .map_err(|error| Fault::of("sign", &error))?;
    mechanism::signature(algorithm, raw)
        .filter(|signature| verify::one(&found.public_key, input, signature.as_bytes()).is_ok())
        .ok_or(Fault::Unsound)
}

impl Session for TokenSession {
    fn generate(&mut self, context: &SealContext) -> Result<Generated, CustodyError> {
        self.inner.refuse_foreign(context)?;
        context.refuse_impossible()?;
        let generated = self.climb(Access::Make, |inner, link| generate::generate(inner, &link.session, context));
        self.link = None;
        generated
    }

    fn import(&mut self, order: &ImportOrder) -> Result<Generated, CustodyError> {
        let context = &order.context;
        self.inner.refuse_foreign(context)?;
        context.refuse_impossible()?;
        let opened = self.inner.offers.open(order.offer, &order.info, &order.envelope)?;
        let key = imported::read(context.algorithm, &opened);
        let created = key.and_then(|key| {
            self.climb(Access::Make, |inner, link| import::import(inner, &link.session, context, &key))
        });
        self.link = None;
        scrub_stack();
        created
    }

    fn adopt(&mut self, order: &AdoptOrder) -> Result<Generated, CustodyError> {
        self.inner.refuse_foreign(&order.context)?;
        order.context.refuse_impossible()?;
        self.climb(Access::Use, |inner, link| adopt::adopt(inner, &link.session, order))
    }

    fn offer(&mut self) -> Result<Offer, CustodyError> {
        self.inner.offers.make()
    }

    fn sign(&mut self, orders: &[SigningOrder], deadline: Duration) -> Vec<SignedOrder> {
        let late = || Err(CustodyError::Late);
        orders.iter().map(|order| if deadline.is_zero() { late() } else { self.sign_order(order) }).collect()
    }

    /// Nothing wraps a key that is in a token: what is the context's comes back unchanged.
    fn rewrap(&mut self, orders: &[RewrapOrder]) -> Vec<Result<Material, CustodyError>> {
        let rewrap = |order: &RewrapOrder| {
            let key = token_key(&order.material)?;
            self.inner.check(&order.context, key)?;
            Ok(order.material.clone())
        };
        orders.iter().map(rewrap).collect()
    }

    fn destroy(&mut self, order: &DestroyOrder) -> Result<Removed, CustodyError> {
        let key = token_key(&order.material)?;
        self.inner.check(&order.context, key)?;
        let (object, algorithm, spki) = (&key.object, order.context.algorithm, order.spki_sha256);
        let removed = self.climb(Access::Make, |_, link| remove::remove(&link.session, object, algorithm, spki));
        self.link = None;
        removed
    }

    fn objects(&mut self) -> Result<TokenObjects, CustodyError> {
        self.climb(Access::Use, |_, link| listing::list(&link.session))
    }

    /// Drops this session's handles of the key; a handle is a number, and no secret is in this process.
    fn forget(&mut self, key: KeyId) -> Result<(), CustodyError> {
        if let Some(link) = &mut self.link {
            link.found.retain(|found, _| found.id != key);
        }
        Ok(())
    }
}

fn token_key(material: &Material) -> Result<&TokenKey, CustodyError> {
    match material {
        Material::Token(key) => Ok(key),
        Material::Sealed(_) => Err(CustodyError::refused("the key is sealed, not in a token")),
    }
}
