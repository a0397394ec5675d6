//! A session whose custodian is in the worker.

mod packing;

use std::cell::Cell;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use trust::{Algorithm, KeyId, PublicKey, Scheme};

use self::packing::{RECORDS_MAX, cost, fit_in_a_frame, read_signed};
use super::breaker::Work;
use super::exchange::{exchange, limit};
use super::frame;
use super::live::Live;
use super::making::MAKING_PATIENCE;
use super::message::{Answer, Ask, Bytes, Context, Kept, Object, Order, Record};
use super::supervisor::Shared;
use crate::{
    AdoptOrder, CustodyError, DestroyOrder, Generated, ImportOrder, Material, Offer, OfferId, Removed, RewrapOrder,
    SealContext, Session, SignedOrder, SigningOrder, TokenObjects, TokenTrouble,
};

/// What a list of every key in a token may take beyond the patience with any call: two calls to the module for each.
const LISTING_PATIENCE: Duration = Duration::from_secs(60);

/// One thread's way into the worker; finds the way anew after a restart.
pub(super) struct WorkerSession {
    shared: Arc<Shared>,
    link: Option<Link>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    cost: Cell<Cost>,
    /// Whether the worker was asked for what is signed now.
    has_asked: bool,
    /// For each order of the last call whether the worker was never asked for it.
    untouched: Vec<bool>,
}

/// A stream to one particular worker process.
struct Link {
    live: Arc<Live>,
    stream: UnixStream,
    /// What the stream's timeouts are set to.
    patience: Duration,
}

impl Link {
    fn exchange(
        &mut self,
        outgoing: &[u8],
        incoming: &mut Vec<u8>,
        patience: Duration,
        waits_on: impl FnMut() -> bool,
    ) -> io::Result<()> {
        if self.patience != patience {
            limit(&self.stream, patience)?;
            self.patience = patience;
        }
        exchange(&mut self.stream, outgoing, incoming, waits_on)
    }
}

/// What the last call has done to its worker.
#[derive(Clone, Copy)]
enum Cost {
    /// Nothing that the work would be to blame for.
    Nothing,
    /// It answered.
    Answered,
    /// It died of it, hung in it, or gave up at it.
    Worker,
}

/// What to do when a token is silent for longer than a call may take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// It may be making an RSA key for another session.
    MayBeExcused,
    /// It hangs: this very call had its time.
    Hangs,
}

impl WorkerSession {
    /// Takes one of the places that the configuration allows.
    pub(super) fn open(shared: Arc<Shared>) -> Result<Self, CustodyError> {
        let callers_max = shared.launch.callers_max;
        let place = |callers: usize| (callers < callers_max).then(|| callers.saturating_add(1));
        shared
            .callers
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, place)
            .map_err(|_| CustodyError::unavailable(format!("all {callers_max} custody sessions are open")))?;
        Ok(Self {
            shared,
            link: None,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            cost: Cell::new(Cost::Nothing),
            has_asked: false,
            untouched: Vec::new(),
        })
    }

    /// Asks and waits; the answer is in `incoming` then.
    fn call(&mut self, ask: &Ask<'_>, patience: Duration, silence: Silence) -> Result<(), CustodyError> {
        frame::encode(ask, &mut self.outgoing).map_err(|error| CustodyError::refused(error.to_string()))?;
        if self.link.as_ref().is_none_or(|link| !self.shared.is_current(&link.live)) {
            let (live, stream) = self.shared.attach()?;
            self.link = Some(Link { live, stream, patience: Duration::ZERO });
        }
        let link = self.link.as_mut().ok_or(CustodyError::failed("keep a session"))?;
        let mut turn = self.shared.turns.begin(self.shared.launch.tune().sessions_max);
        let mut excuses = self.shared.making.excuses(patience);
        let waits_on = || silence == Silence::MayBeExcused && (turn.may_have_begun_late() || excuses());
        self.has_asked = true;
        match link.exchange(&self.outgoing, &mut self.incoming, patience, waits_on) {
            Ok(()) => Ok(()),
            Err(error) => {
                // What was lost with a worker that somebody else had killed is not to blame.
                let hangs = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                if hangs || !link.live.was_killed() {
                    self.cost.set(Cost::Worker);
                }
                let outcome = self.shared.judge(&link.live, &error);
                self.link = None;
                Err(outcome)
            }
        }
    }

    /// The answer in `incoming`; an answer out of protocol costs the worker its life.
    fn answer<T>(&self, read: impl FnOnce(Answer<'_>) -> Option<Result<T, CustodyError>>) -> Result<T, CustodyError> {
        let answer = postcard::from_bytes::<Answer<'_>>(&self.incoming).ok().and_then(|answer| match answer {
            Answer::Sick(trouble) if self.shared.is_token() => self.link.as_ref().map(|link| {
                // Who is first to say so was at work; a token that is away or takes no PIN is no key's fault.
                if matches!(trouble, TokenTrouble::Failed { .. }) && self.shared.is_current(&link.live) {
                    self.cost.set(Cost::Worker);
                }
                Err(self.shared.replace(&link.live, trouble))
            }),
            other => {
                let read = if let Answer::Failed(error) = other { Some(Err(error)) } else { read(other) };
                if let (Some(_), Some(link)) = (&read, &self.link) {
                    link.live.proved_useful();
                    self.cost.set(Cost::Answered);
                }
                read
            }
        });
        answer.unwrap_or_else(|| Err(self.out_of_protocol()))
    }

    /// The answer to a key that was to be made or taken.
    fn made(&self, algorithm: Algorithm) -> Result<Generated, CustodyError> {
        self.answer(|answer| match answer {
            Answer::Generated { spki, material } => {
                let public_key = PublicKey::from_spki_der(algorithm, spki.0).ok()?;
                Some(Ok(Generated { public_key, material: material.read().ok()? }))
            }
            _ => None,
        })
    }

    /// Does one piece of work in a token, unless it has cost too many workers, and notes what it cost.
    fn careful<T>(
        &mut self,
        work: Work,
        call: impl FnOnce(&mut Self) -> Result<T, CustodyError>,
    ) -> Result<T, CustodyError> {
        if !self.shared.is_token() {
            return call(self);
        }
        self.shared.breaker.admit(work)?;
        self.cost.set(Cost::Nothing);
        let outcome = call(self);
        match self.cost.get() {
            Cost::Nothing => {}
            Cost::Answered => self.shared.breaker.answered(work),
            Cost::Worker => self.shared.breaker.cost_a_worker(work),
        }
        outcome
    }

    fn out_of_protocol(&self) -> CustodyError {
        match &self.link {
            Some(link) => self.shared.judge(&link.live, &io::Error::from(io::ErrorKind::InvalidData)),
            None => CustodyError::unavailable("the custody worker is gone"),
        }
    }

    fn patience(&self) -> Duration {
        self.shared.launch.hang_after()
    }

    fn sign_frame(&mut self, orders: &[SigningOrder]) -> Vec<SignedOrder> {
        let patience = self.patience().saturating_add(orders.iter().map(cost).sum());
        let asked = Ask::Sign(orders.iter().map(Order::from).collect());
        let signed = self.call(&asked, patience, Silence::MayBeExcused).and_then(|()| {
            self.answer(|answer| match answer {
                Answer::Signed(signed) if signed.len() == orders.len() => orders
                    .iter()
                    .zip(signed)
                    .map(|(order, signed)| read_signed(order, signed))
                    .collect::<Option<_>>()
                    .map(Ok),
                _ => None,
            })
        });
        signed.unwrap_or_else(|error| orders.iter().map(|_| Err(error.clone())).collect())
    }

    /// A frame for every input: a token takes its time for each, and only so does the patience with one call
    /// tell a token that works from one that hangs. What a hop costs is nothing beside it.
    fn sign_one_by_one(&mut self, order: &SigningOrder, is_late: impl Fn() -> bool) -> SignedOrder {
        let mut signed = Vec::with_capacity(order.inputs.len());
        for input in &order.inputs {
            let one = SigningOrder { inputs: vec![input.clone()], ..order.clone_head() };
            let answer = if is_late() {
                Err(CustodyError::Late)
            } else {
                self.careful(Work::Use(order.context.key), |session| {
                    session.sign_frame(&[one]).pop().unwrap_or(Err(CustodyError::failed("sign")))
                })
            };
            match answer {
                Ok(answer) => signed.extend(answer),
                // The key is not there, or not ours: so it is for the other inputs.
                Err(error) if signed.is_empty() => return Err(error),
                Err(error) => {
                    signed.resize(order.inputs.len(), Err(error));
                    break;
                }
            }
        }
        Ok(signed)
    }

    fn rewrap_frame(&mut self, orders: &[RewrapOrder]) -> Vec<Result<Material, CustodyError>> {
        let asked = Ask::Rewrap(orders.iter().map(Record::from).collect());
        let rewrapped = self.call(&asked, self.patience(), Silence::MayBeExcused).and_then(|()| {
            self.answer(|answer| match answer {
                Answer::Rewrapped(records) if records.len() == orders.len() => {
                    let read = |record: Result<Kept<'_>, CustodyError>| match record {
                        Ok(kept) => kept.read().ok().map(Ok),
                        Err(error) => Some(Err(error)),
                    };
                    records.into_iter().map(read).collect::<Option<Vec<_>>>().map(Ok)
                }
                _ => None,
            })
        });
        rewrapped.unwrap_or_else(|error| orders.iter().map(|_| Err(error.clone())).collect())
    }
}

impl Session for WorkerSession {
    fn generate(&mut self, context: &SealContext) -> Result<Generated, CustodyError> {
        // Others who wait for the token meanwhile are told why it is silent; this call has all its time at once.
        let shared = Arc::clone(&self.shared);
        let (patience, made) = match context.algorithm.scheme() {
            Scheme::RsaPkcs1 | Scheme::RsaPss => {
                let made = shared.is_token().then(|| shared.making.begin());
                (self.patience().saturating_add(MAKING_PATIENCE), made)
            }
            Scheme::EcdsaP256 | Scheme::EcdsaP384 | Scheme::Ed25519 => (self.patience(), None),
        };
        let silence = if made.is_some() { Silence::Hangs } else { Silence::MayBeExcused };
        self.careful(Work::Make(context.algorithm), |session| {
            session.call(&Ask::Generate(Context::from(context)), patience, silence)?;
            session.made(context.algorithm)
        })
    }

    fn import(&mut self, order: &ImportOrder) -> Result<Generated, CustodyError> {
        let ask = Ask::Import {
            context: Context::from(&order.context),
            offer: *order.offer.as_bytes(),
            info: Bytes(&order.info),
            envelope: Bytes(&order.envelope),
        };
        // To check an RSA key takes longer than to use it.
        let patience = self.patience().saturating_add(Duration::from_secs(2));
        self.careful(Work::Make(order.context.algorithm), |session| {
            session.call(&ask, patience, Silence::MayBeExcused)?;
            session.made(order.context.algorithm)
        })
    }

    fn adopt(&mut self, order: &AdoptOrder) -> Result<Generated, CustodyError> {
        let ask = Ask::Adopt {
            context: Context::from(&order.context),
            id: Bytes(&order.id),
            spki_sha256: order.spki_sha256.map(|digest| *digest.as_bytes()),
            may_do_more: order.may_do_more,
        };
        let patience = self.patience();
        self.careful(Work::Use(order.context.key), |session| {
            session.call(&ask, patience, Silence::MayBeExcused)?;
            session.made(order.context.algorithm)
        })
    }

    fn offer(&mut self) -> Result<Offer, CustodyError> {
        self.call(&Ask::Offer, self.patience(), Silence::MayBeExcused)?;
        self.answer(|answer| match answer {
            Answer::Offered { id, public_key } => Some(Ok(Offer { id: OfferId::from_bytes(id), public_key })),
            _ => None,
        })
    }

    fn sign(&mut self, orders: &[SigningOrder], deadline: Duration) -> Vec<SignedOrder> {
        let begun = now();
        let is_late = || begun.elapsed() >= deadline;
        let mut signed = Vec::with_capacity(orders.len());
        self.untouched.clear();
        let mut rest = orders;
        while let Some((first, others)) = rest.split_first() {
            if is_late() {
                signed.extend(rest.iter().map(|_| Err(CustodyError::Late)));
                self.untouched.resize(orders.len(), true);
                break;
            }
            self.has_asked = false;
            if let Err(refused) = first.check_size() {
                signed.push(Err(refused));
                self.untouched.push(true);
                rest = others;
                continue;
            }
            if self.shared.is_token() {
                signed.push(self.sign_one_by_one(first, is_late));
                self.untouched.push(!self.has_asked);
                rest = others;
                continue;
            }
            let Some((now, later)) = rest.split_at_checked(fit_in_a_frame(rest)) else { break };
            signed.extend(self.sign_frame(now));
            self.untouched.resize(signed.len(), !self.has_asked);
            rest = later;
        }
        signed
    }

    fn is_untouched(&self, order: usize) -> bool {
        self.untouched.get(order).is_some_and(|untouched| *untouched)
    }

    fn rewrap(&mut self, orders: &[RewrapOrder]) -> Vec<Result<Material, CustodyError>> {
        orders.chunks(RECORDS_MAX).flat_map(|orders| self.rewrap_frame(orders)).collect()
    }

    fn destroy(&mut self, order: &DestroyOrder) -> Result<Removed, CustodyError> {
        self.careful(Work::Use(order.context.key), |session| {
            session.call(&Ask::Destroy(Record::from(order)), session.patience(), Silence::MayBeExcused)?;
            session.answer(|answer| match answer {
                Answer::Destroyed { were_there: true } => Some(Ok(Removed::Deleted)),
                Answer::Destroyed { were_there: false } => Some(Ok(Removed::NotFound)),
                _ => None,
            })
        })
    }

    fn objects(&mut self) -> Result<TokenObjects, CustodyError> {
        self.call(&Ask::Objects, self.patience().saturating_add(LISTING_PATIENCE), Silence::MayBeExcused)?;
        self.answer(|answer| match answer {
            Answer::Objects { objects, is_whole } if objects.len() <= TokenObjects::MAX => {
                Some(Ok(TokenObjects { objects: objects.iter().map(Object::read).collect(), is_whole }))
            }
            _ => None,
        })
    }

    fn forget(&mut self, key: KeyId) -> Result<(), CustodyError> {
        self.call(&Ask::Forget(*key.as_bytes()), self.patience(), Silence::MayBeExcused)?;
        self.answer(|answer| matches!(answer, Answer::Forgotten).then_some(Ok(())))
    }
}

impl Drop for WorkerSession {
    fn drop(&mut self) {
        self.shared.callers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[expect(clippy::disallowed_methods, reason = "a caller's time left is counted from the call; custody knows no Clock")]
fn now() -> Instant {
    Instant::now()
}
