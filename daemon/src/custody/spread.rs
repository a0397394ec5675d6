//! One order of many signatures by a token's key, done by all of the token's sessions together.
//!
//! A token takes its milliseconds for each signature and does several at a time. So an order of many is not one
//! session's: each session that is free takes the next input, a few in a turn, and then whatever else waits. The state
//! of the key is looked at again before each, so that who disables it need not wait for a thousand signatures.
//! Whoever has the last answer gives the intent back with all of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use trust::{PublicKey, Signable, Signature};
use trust_hsm::{CustodyError, Session, SignedOrder, SigningOrder};

use super::session::{end_of, recheck, sift, verify_all};
use super::{NotBegun, Shared, Visit, VisitEnd, is_lost};
use crate::order::SignOrder;
use crate::permit::Intent;
use crate::tables::Tables;

/// How many signatures a session makes before it looks for other work.
const TURN_INPUTS: usize = 4;

/// What the sessions that share the order see.
pub(super) struct Spread {
    /// The order without its inputs.
    head: SigningOrder,
    inputs: Vec<Signable>,
    public_key: PublicKey,
    /// How many sessions could not be told of it, because too much waited.
    untold: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    /// The first input that no session has taken.
    next: usize,
    /// How many that were taken are not answered.
    open: usize,
    signed: Vec<Option<Result<Signature, CustodyError>>>,
    /// Why the rest is not done.
    stopped: Option<Stop>,
    /// Whether the token was asked for any of it.
    is_touched: bool,
    /// What a call met whose answer did not come: the token may have signed.
    lost: Option<CustodyError>,
    /// Where the intent goes in the end; `None` once it went.
    waiting: Option<(Intent<SignOrder>, oneshot::Sender<Visit>)>,
}

/// What ends an order before its inputs do.
enum Stop {
    /// It may not be done any more.
    NotBegun(NotBegun),
    /// The token has answered so for the key, whatever the input.
    Custody(CustodyError),
}

/// Whether there may be more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Others wait, too; come back.
    MoreWaits,
    /// Nothing is left to take.
    Over,
}

impl Spread {
    /// Shares an order of one input or more.
    pub(super) fn new(intent: Intent<SignOrder>, answer: oneshot::Sender<Visit>) -> Self {
        let mut head = intent.operation().to_custody();
        let inputs = std::mem::take(&mut head.inputs);
        let public_key = intent.operation().public_key().clone();
        let state = State {
            next: 0,
            open: 0,
            signed: inputs.iter().map(|_| None).collect(),
            stopped: None,
            is_touched: false,
            lost: None,
            waiting: Some((intent, answer)),
        };
        Self { head, inputs, public_key, untold: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    /// One more session could not be told.
    pub(super) fn left_untold(&self) {
        self.untold.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether a session is to be told that could not be before. Says so once for each.
    pub(super) fn is_to_be_told(&self) -> bool {
        self.untold.fetch_update(Ordering::AcqRel, Ordering::Acquire, |untold| untold.checked_sub(1)).is_ok()
    }

    /// How many signatures it takes.
    pub(super) const fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Gives it back undone: no session was found for it.
    pub(super) fn refuse(&self, why: NotBegun) {
        let mut state = self.state();
        state.stopped = Some(Stop::NotBegun(why));
        state.finish();
    }

    /// Does a few of what is left over `session`.
    pub(super) fn turn(&self, session: &mut dyn Session, shared: &Shared) -> Turn {
        for _ in 0..TURN_INPUTS {
            // Taken before the recheck: a state change either is seen there, or waits for this ticket.
            let ticket = shared.grace.enter();
            let Some((place, input, left)) = self.take(shared) else { return Turn::Over };
            let order = SigningOrder { inputs: vec![input.clone()], ..self.head.clone_head() };
            let orders = [order];
            let answers = session.sign(&orders, left);
            let is_touched = !session.is_untouched(0);
            drop(ticket);
            self.put(place, self.verified(&orders, answers, &shared.tables), is_touched);
        }
        Turn::MoreWaits
    }

    /// The next input, and how long it may take; `None` where none is left.
    fn take(&self, shared: &Shared) -> Option<(usize, &Signable, Duration)> {
        let mut state = self.state();
        let (intent, _) = state.waiting.as_ref()?;
        let place = state.next;
        let input = self.inputs.get(place).filter(|_| state.stopped.is_none())?;
        match recheck(intent, shared, (shared.policy_revision)()) {
            Ok(left) => {
                state.next = place.saturating_add(1);
                state.open = state.open.saturating_add(1);
                Some((place, input, left))
            }
            Err(why) => {
                state.stopped = Some(Stop::NotBegun(why));
                state.finish();
                None
            }
        }
    }

    /// The one signature of an answer, if it verifies.
    fn verified(
        &self,
        orders: &[SigningOrder],
        mut answers: Vec<SignedOrder>,
        tables: &Tables,
    ) -> Result<Result<Signature, CustodyError>, CustodyError> {
        let verdicts = verify_all(std::slice::from_ref(&self.public_key), orders, &answers, tables);
        let signed = answers.pop().transpose()?.zip(verdicts.first());
        let signature = signed.and_then(|(signed, sound)| sift(signed, sound).pop());
        signature.ok_or_else(|| CustodyError::Failed { what: "custody answered fewer inputs than it got".into() })
    }

    fn put(&self, place: usize, answer: Result<Result<Signature, CustodyError>, CustodyError>, is_touched: bool) {
        let mut state = self.state();
        state.open = state.open.saturating_sub(1);
        state.is_touched |= is_touched;
        if let Err(error) = &answer
            && is_touched
            && is_lost(error)
        {
            state.lost.get_or_insert_with(|| error.clone());
        }
        let signed = answer.unwrap_or_else(|error| {
            state.stopped.get_or_insert_with(|| Stop::Custody(error.clone()));
            Err(error)
        });
        if let Some(slot) = state.signed.get_mut(place) {
            *slot = Some(signed);
        }
        state.finish();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A session that panicked has taken an input with it, which stays open: nobody is told a wrong end.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives the intent back once nothing is done or to be done.
    fn finish(&mut self) {
        let is_all_taken = self.next >= self.signed.len() || self.stopped.is_some();
        if !is_all_taken || self.open > 0 {
            return;
        }
        if let Some((intent, answer)) = self.waiting.take() {
            let end = self.end();
            // The pipeline waits detached from its caller, so somebody is always there; if not, recovery closes it.
            drop(answer.send(Visit { intent, end }));
        }
    }

    fn end(&mut self) -> VisitEnd {
        let has_signed = self.signed.iter().any(|signed| matches!(signed, Some(Ok(_))));
        match (self.stopped.take(), self.lost.take()) {
            // Whatever came first: nobody knows that nothing was signed.
            (_, Some(lost)) if !has_signed => VisitEnd::Unknown(lost),
            (Some(Stop::NotBegun(why)), _) if !self.is_touched => VisitEnd::NotBegun(why),
            (Some(Stop::Custody(error)), _) if !self.is_touched => VisitEnd::NotBegun(NotBegun::Custody(error)),
            (Some(Stop::Custody(error)), _) if !has_signed => end_of(error),
            (stopped, _) => {
                let rest = match stopped {
                    Some(Stop::Custody(error)) => error,
                    Some(Stop::NotBegun(NotBegun::Late)) => CustodyError::Late,
                    Some(Stop::NotBegun(_)) | None => {
                        CustodyError::Refused { why: "the key or the policy changed before all was signed".to_owned() }
                    }
                };
                let signed = self.signed.drain(..).map(|signed| signed.unwrap_or_else(|| Err(rest.clone())));
                VisitEnd::Signed(signed.collect())
            }
        }
    }
}
