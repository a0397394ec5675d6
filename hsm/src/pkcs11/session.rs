//! One caller's way to the token, and the ladder that it climbs.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::session::Session as Pkcs11Session;
use trust::{Algorithm, KeyId, KeyRef, Signable, Signature, verify};

use super::doctor::now;
use super::fault::Fault;
use super::object::{self, Found};
use super::pool::Lent;
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

/// How often is waited for what others do to the sessions and the login.
const PATIENCE: u32 = 8;

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

/// A caller of the token: has a session while it needs one, and a new one after every fault.
pub(super) struct TokenSession {
    inner: Arc<Inner>,
}

/// An open session, the login it was opened under, and the keys it has found.
pub(super) struct Link {
    pub(super) session: Pkcs11Session,
    generation: u64,
    found: HashMap<KeyRef, Found>,
    used: Instant,
}

impl TokenSession {
    pub(super) const fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Does `work`, on one rung of the ladder after the other until it succeeds or nothing is left but a new process.
    pub(super) fn climb<T>(
        &self,
        access: Access,
        work: impl Fn(&Inner, &mut Link) -> Result<T, Fault>,
    ) -> Result<T, CustodyError> {
        self.climb_and_check(access, None, work, Ok)
    }

    /// The same; what comes out is checked when the session is another's already. `key` is the one that is used.
    fn climb_and_check<T, U>(
        &self,
        access: Access,
        key: Option<KeyRef>,
        work: impl Fn(&Inner, &mut Link) -> Result<T, Fault>,
        check: impl Fn(T) -> Result<U, Fault>,
    ) -> Result<U, CustodyError> {
        let (mut rung, mut only_unsound) = (Rung::Session, true);
        // Others' doings are waited for, but not for ever.
        let mut patience = PATIENCE;
        loop {
            if let Some(trouble) = self.inner.trouble() {
                return Err(trouble.into());
            }
            let seen = self.inner.login().generation();
            let fault = match self.attempt(access, seen, &work, &check) {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            only_unsound &= fault == Fault::Unsound;
            rung = match (fault, rung) {
                (Fault::Final(error), _) => return Err(error),
                (Fault::Crowded(_), rung) if patience > 0 => {
                    patience = patience.saturating_sub(1);
                    rung
                }
                (Fault::Crowded(what), _) => return Err(no_session_left(&what)),
                (Fault::Session(_) | Fault::Unsound | Fault::Missing(_), Rung::Session) => Rung::Login,
                // Lately a new login was no help for this key: it is spared to all the others.
                (Fault::Missing(error), Rung::Login) if self.is_lamented(key) => return Err(error),
                (Fault::Unsound, Rung::Login) if only_unsound && self.is_lamented(key) => {
                    return Err(CustodyError::failed(UNSOUND));
                }
                (
                    Fault::Session(_) | Fault::Unsound | Fault::Missing(_) | Fault::Login(_),
                    Rung::Session | Rung::Login,
                ) => {
                    let was_ours = self.inner.renew_login(seen).map_err(|fault| self.inner.give_up(&fault))?;
                    patience = patience.saturating_sub(1);
                    // What another's new login has upset is no sign that a login does not help.
                    if was_ours || patience == 0 { Rung::Process } else { Rung::Login }
                }
                // One key that signs wrongly is no reason to take the others from everybody.
                (Fault::Unsound, Rung::Process) if only_unsound => {
                    self.lament(key);
                    return Err(CustodyError::failed(UNSOUND));
                }
                // Nor is one that is gone, now that the token has taken a new login and should show it.
                (Fault::Missing(error), Rung::Process) => {
                    self.lament(key);
                    return Err(error);
                }
                (fault, _) => return Err(self.inner.give_up(&fault).into()),
            };
        }
    }

    /// One attempt, in one session. One that erred is never used again, and no handle outlives it.
    fn attempt<T, U>(
        &self,
        access: Access,
        generation: u64,
        work: impl Fn(&Inner, &mut Link) -> Result<T, Fault>,
        check: impl Fn(T) -> Result<U, Fault>,
    ) -> Result<U, Fault> {
        let mut lent = self.inner.sessions.borrow();
        let era = lent.era();
        let _handles_stay = match access {
            Access::Use => None,
            Access::Make => Some(self.inner.handles.read().unwrap_or_else(PoisonError::into_inner)),
        };
        let mut worked = self.open(&mut lent, access, generation).and_then(|link| work(&self.inner, link));
        if let Err(Fault::Crowded(what)) = &worked {
            let what = what.clone();
            lent.link = None;
            // Where no other session of ours is open there is none to wait for.
            if !lent.wait_for_others() {
                worked = Err(no_session_left(&what).into());
            }
        }
        // Few need one that makes keys, and tokens have few of them.
        if worked.is_err() || matches!(access, Access::Make) {
            lent.link = None;
        }
        drop(lent);
        let checked = worked.and_then(check);
        if matches!(checked, Err(Fault::Unsound)) {
            self.inner.sessions.distrust(era);
        }
        checked
    }

    /// The session that is open in this place, or a new one. One that makes keys is opened for each.
    fn open<'a>(&self, lent: &'a mut Lent<'_>, access: Access, generation: u64) -> Result<&'a mut Link, Fault> {
        let (inner, slot) = (&*self.inner, self.inner.slot);
        let is_stale = |link: &Link| link.generation != generation || inner.is_idle_too_long(link.used);
        let stale = lent.link.as_ref().is_none_or(is_stale);
        if stale || matches!(access, Access::Make) {
            lent.link = None; // closed first: some tokens have but one
            let session = match access {
                Access::Use => inner.context.open_ro_session(slot),
                Access::Make => inner.context.open_rw_session(slot),
            };
            let session = session.map_err(|error| Fault::of("open a session", &error))?;
            lent.link = Some(Link { session, generation, found: HashMap::new(), used: now() });
        }
        let link = lent.link.as_mut().ok_or(CustodyError::failed("keep a session"))?;
        link.used = now();
        Ok(link)
    }

    fn is_lamented(&self, key: Option<KeyRef>) -> bool {
        key.is_some_and(|key| self.inner.lamented.has(key, now()))
    }

    fn lament(&self, key: Option<KeyRef>) {
        if let Some(key) = key {
            self.inner.lamented.note(key, now());
        }
    }

    fn sign_order(&self, order: &SigningOrder) -> SignedOrder {
        order.check_size()?;
        let key = token_key(&order.material)?;
        self.inner.check(&order.context, key)?;
        let mut signed = Vec::with_capacity(order.inputs.len());
        for input in &order.inputs {
            let key_was_there = Cell::new(false);
            match self.sign_input(order, key, input, &key_was_there) {
                // Nothing of an order whose key is not there could have been signed.
                Err(error) if signed.is_empty() && !key_was_there.get() => return Err(error),
                answer => signed.push(answer),
            }
        }
        Ok(signed)
    }

    /// Signs, and verifies what came back while the session is another's: a handle may mean another key by now, and
    /// then the key must be found again.
    fn sign_input(
        &self,
        order: &SigningOrder,
        key: &TokenKey,
        input: &Signable,
        key_was_there: &Cell<bool>,
    ) -> Result<Signature, CustodyError> {
        let algorithm = order.context.algorithm;
        let preimage = mechanism::preimage(algorithm, input);
        let sign = |_: &Inner, link: &mut Link| {
            let found = link.key(order, key)?;
            key_was_there.set(true);
            let raw = sign_raw(&link.session, &found, algorithm, preimage.as_deref().map_err(Clone::clone)?)?;
            Ok((found, raw))
        };
        let key = order.context.key;
        let verify = |(found, raw): (Found, Vec<u8>)| verify_raw(&found, algorithm, input, raw);
        let signed = self.climb_and_check(Access::Use, Some(key), sign, verify)?;
        self.inner.lamented.signed(key);
        Ok(signed)
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

    /// Drops the handles of a key.
    pub(super) fn forget(&mut self, key: KeyId) {
        self.found.retain(|found, _| found.id != key);
    }
}

/// Signs, and verifies what came back.
pub(super) fn sign_with(
    session: &Pkcs11Session,
    found: &Found,
    algorithm: Algorithm,
    input: &Signable,
    preimage: &[u8],
) -> Result<Signature, Fault> {
    verify_raw(found, algorithm, input, sign_raw(session, found, algorithm, preimage)?)
}

fn sign_raw(session: &Pkcs11Session, found: &Found, algorithm: Algorithm, preimage: &[u8]) -> Result<Vec<u8>, Fault> {
    session.sign(&mechanism::signing(algorithm), found.private, preimage).map_err(|error| Fault::of("sign", &error))
}

fn verify_raw(found: &Found, algorithm: Algorithm, input: &Signable, raw: Vec<u8>) -> Result<Signature, Fault> {
    mechanism::signature(algorithm, raw)
        .filter(|signature| verify::one(&found.public_key, input, signature.as_bytes()).is_ok())
        .ok_or(Fault::Unsound)
}

impl Session for TokenSession {
    fn generate(&mut self, context: &SealContext) -> Result<Generated, CustodyError> {
        self.inner.refuse_foreign(context)?;
        context.refuse_impossible()?;
        self.climb(Access::Make, |inner, link| generate::generate(inner, &link.session, context))
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
        self.climb(Access::Make, |_, link| remove::remove(&link.session, object, algorithm, spki))
    }

    fn objects(&mut self) -> Result<TokenObjects, CustodyError> {
        self.climb(Access::Use, |_, link| listing::list(&link.session))
    }

    /// Drops the handles of the key; a handle is a number, and no secret is in this process.
    fn forget(&mut self, key: KeyId) -> Result<(), CustodyError> {
        self.inner.sessions.forget(key);
        Ok(())
    }
}

fn no_session_left(what: &str) -> CustodyError {
    CustodyError::unavailable(format!("the token has no session left: {what}; give it fewer `sessions`"))
}

fn token_key(material: &Material) -> Result<&TokenKey, CustodyError> {
    match material {
        Material::Token(key) => Ok(key),
        Material::Sealed(_) => Err(CustodyError::refused("the key is sealed, not in a token")),
    }
}
