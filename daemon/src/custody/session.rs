//! One session thread: take what waits, recheck, visit the key, verify, answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::error;
use trust::{PublicKey, Sha256Digest, Signable, Signature, verify};
use trust_hsm::{CustodyError, Session, SignedOrder, SigningOrder};

use super::spread::{Spread, Turn};
use super::{NotBegun, Shared, Visit, VisitEnd, Work, is_lost};
use crate::order::SignOrder;
use crate::permit::Intent;

/// The most preimages that share one visit.
const FRAME_INPUTS_MAX: usize = 1024;

/// Runs until the queue is closed and empty.
pub(super) fn run(mut session: Box<dyn Session>, shared: &Shared) {
    loop {
        let mut room = FRAME_INPUTS_MAX;
        let taken = shared.queue.take(|work| match work {
            Work::Sign { intent, .. } => {
                let inputs = intent.operation().inputs();
                let fits = inputs <= room;
                room = room.saturating_sub(inputs);
                fits
            }
            _ => false,
        });
        let Some(mut turn) = taken else { return };
        // Taken alone: nobody else's work is dropped with it.
        if matches!(turn.work.as_slice(), [Work::Leave]) {
            return;
        }
        let mut signs = Vec::with_capacity(turn.work.len());
        for work in turn.work.drain(..) {
            match work {
                Work::Sign { intent, answer } => signs.push((intent, answer)),
                Work::Share(spread) => share(session.as_mut(), shared, &spread),
                // Whoever waited may have hung up; the work is done all the same.
                Work::Generate { context, answer } => drop(answer.send(session.generate(&context))),
                Work::Import { order, answer } => drop(answer.send(session.import(&order))),
                Work::Adopt { order, answer } => drop(answer.send(session.adopt(&order))),
                Work::Offer { answer } => drop(answer.send(session.offer())),
                Work::Rewrap { orders, answer } => drop(answer.send(session.rewrap(&orders))),
                Work::Destroy { order, answer } => drop(answer.send(session.destroy(&order))),
                Work::Objects { answer } => drop(answer.send(session.objects())),
                Work::Forget { key, answer } => drop(answer.send(session.forget(key))),
                Work::Leave => {}
            }
        }
        if !signs.is_empty() {
            sign(session.as_mut(), shared, signs);
        }
        drop(turn);
    }
}

/// A turn of an order that all sessions share, and then whatever else waits. One that is closed makes the turn longer.
fn share(session: &mut dyn Session, shared: &Shared, spread: &Arc<Spread>) {
    while spread.turn(session, shared) == Turn::MoreWaits {
        let again = Work::Share(Arc::clone(spread));
        let cost = again.cost();
        if spread.is_to_be_told() && shared.queue.push(Work::Share(Arc::clone(spread)), cost).is_err() {
            spread.left_untold();
        }
        if shared.queue.put_back(again, cost).is_ok() {
            return;
        }
    }
}

type Waiting = (Intent<SignOrder>, oneshot::Sender<Visit>);

fn sign(session: &mut dyn Session, shared: &Shared, signs: Vec<Waiting>) {
    // Taken before the recheck: a state change either is seen below, or waits for this ticket.
    let ticket = shared.grace.enter();
    let revision = (shared.policy_revision)();
    let mut begun = Vec::with_capacity(signs.len());
    let mut patience = Duration::MAX;
    for (intent, answer) in signs {
        match recheck(&intent, shared, revision) {
            Ok(left) => {
                patience = patience.min(left);
                begun.push((intent, answer));
            }
            Err(why) => reply(answer, intent, VisitEnd::NotBegun(why)),
        }
    }
    if begun.is_empty() {
        return;
    }
    let orders: Vec<SigningOrder> = begun.iter().map(|(intent, _)| intent.operation().to_custody()).collect();
    let answers = session.sign(&orders, patience);
    let untouched: Vec<bool> = (0..orders.len()).map(|order| session.is_untouched(order)).collect();
    // The keys are at rest again; verifying uses no secret.
    drop(ticket);
    answer_all(begun, &orders, answers, &untouched);
}

/// Whether what was permitted may still be done, and in what time. Have a ticket first.
pub(super) fn recheck(
    intent: &Intent<SignOrder>,
    shared: &Shared,
    revision: Sha256Digest,
) -> Result<Duration, NotBegun> {
    let order = intent.operation();
    let (state, is_current) = shared.records.state_for(order.key(), order.material()).map_err(|_| NotBegun::Stale)?;
    // Material that was wrapped anew meanwhile may be under a KEK version that is about to be destroyed.
    let is_same = is_current && state.epoch == order.epoch() && intent.policy_revision() == revision;
    if !is_same || !state.use_.may_sign() {
        return Err(NotBegun::Stale);
    }
    intent.time_left(&shared.clock).ok_or(NotBegun::Late)
}

fn answer_all(begun: Vec<Waiting>, orders: &[SigningOrder], answers: Vec<SignedOrder>, untouched: &[bool]) {
    let keys: Vec<PublicKey> = begun.iter().map(|(intent, _)| intent.operation().public_key().clone()).collect();
    let verdicts = verify_all(&keys, orders, &answers);
    let mut answers = answers.into_iter();
    for (((intent, answer), sound), untouched) in begun.into_iter().zip(verdicts).zip(untouched) {
        let end = match answers.next() {
            Some(Ok(signatures)) => VisitEnd::Signed(sift(signatures, &sound)),
            Some(Err(error)) if *untouched => VisitEnd::NotBegun(NotBegun::Custody(error)),
            Some(Err(error)) => end_of(error),
            None => {
                VisitEnd::Unknown(CustodyError::Failed { what: "custody answered fewer orders than it got".into() })
            }
        };
        reply(answer, intent, end);
    }
}

/// Whether the key may have been used (D12) when custody answers an order with `error`.
pub(super) fn end_of(error: CustodyError) -> VisitEnd {
    if is_lost(&error) { VisitEnd::Unknown(error) } else { VisitEnd::NotBegun(NotBegun::Custody(error)) }
}

/// Drops every signature that does not verify.
pub(super) fn sift(
    signatures: Vec<Result<Signature, CustodyError>>,
    sound: &[bool],
) -> Vec<Result<Signature, CustodyError>> {
    let mut sound = sound.iter();
    signatures
        .into_iter()
        .map(|signature| match (signature, sound.next()) {
            (Ok(signature), Some(true)) => Ok(signature),
            (Ok(_), _) => Err(CustodyError::Failed { what: "a signature did not verify".into() }),
            (Err(error), _) => Err(error),
        })
        .collect()
}

/// Verifies what came back, all of one key at once; one verdict per input of each order.
pub(super) fn verify_all(keys: &[PublicKey], orders: &[SigningOrder], answers: &[SignedOrder]) -> Vec<Vec<bool>> {
    let mut verdicts: Vec<Vec<bool>> = orders.iter().map(|order| vec![false; order.inputs.len()]).collect();
    let mut by_key: HashMap<Sha256Digest, Group<'_>> = HashMap::new();
    for (place, ((key, order), answer)) in keys.iter().zip(orders).zip(answers).enumerate() {
        let Ok(signatures) = answer else { continue };
        let group = by_key.entry(order.spki_sha256).or_insert_with(|| Group { key, items: Vec::new() });
        for (input_place, (input, signature)) in order.inputs.iter().zip(signatures).enumerate() {
            if let Ok(signature) = signature {
                group.items.push(((place, input_place), input, signature));
            }
        }
    }
    for group in by_key.values() {
        let items: Vec<(&Signable, &[u8])> =
            group.items.iter().map(|(_, input, signature)| (*input, signature.as_bytes())).collect();
        for ((place, _, _), sound) in group.items.iter().zip(verify::own(group.key, &items)) {
            if !sound {
                error!(stage = "custody", "a custodian returned a signature that does not verify");
            }
            if let Some(verdict) = verdicts.get_mut(place.0).and_then(|order| order.get_mut(place.1)) {
                *verdict = sound;
            }
        }
    }
    verdicts
}

struct Group<'a> {
    key: &'a PublicKey,
    items: Vec<((usize, usize), &'a Signable, &'a Signature)>,
}

fn reply(answer: oneshot::Sender<Visit>, intent: Intent<SignOrder>, end: VisitEnd) {
    // The pipeline waits detached from its caller, so somebody is always there; if not, recovery closes the intent.
    drop(answer.send(Visit { intent, end }));
}
