//! One session thread: take what waits, recheck, visit the key, verify, answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::error;
use trust::verify::batch::{self, Input, Item, Key, Table};
use trust::{PublicKey, Sha256Digest, Signature};
use trust_hsm::{CustodyError, Session, SignedOrder, SigningOrder};

use super::spread::{Spread, Turn};
use super::work::Work;
use super::{NotBegun, Shared, Visit, VisitEnd, is_lost};
use crate::order::SignOrder;
use crate::permit::Intent;
use crate::tables::Tables;

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
    answer_all(begun, &orders, answers, &untouched, &shared.tables);
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

fn answer_all(
    begun: Vec<Waiting>,
    orders: &[SigningOrder],
    answers: Vec<SignedOrder>,
    untouched: &[bool],
    tables: &Tables,
) {
    let keys: Vec<PublicKey> = begun.iter().map(|(intent, _)| intent.operation().public_key().clone()).collect();
    let verdicts = verify_all(&keys, orders, &answers, tables);
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

/// Verifies what came back, all of it at once; one verdict per input of each order.
pub(super) fn verify_all(
    keys: &[PublicKey],
    orders: &[SigningOrder],
    answers: &[SignedOrder],
    tables: &Tables,
) -> Vec<Vec<bool>> {
    let came_back = || keys.iter().zip(orders).zip(answers).enumerate();
    let mut uses: HashMap<Sha256Digest, (&PublicKey, usize)> = HashMap::new();
    for (_, ((key, order), answer)) in came_back() {
        let (_, signatures) = uses.entry(order.spki_sha256).or_insert((key, 0));
        *signatures = signatures.saturating_add(answer.as_ref().map_or(0, Vec::len));
    }
    let prepared: HashMap<Sha256Digest, Arc<Table>> =
        uses.into_iter().filter_map(|(name, (key, items))| Some((name, tables.earn(key, items)?))).collect();

    let (mut places, mut items) = (Vec::new(), Vec::new());
    for (place, ((key, order), answer)) in came_back() {
        let key = prepared.get(&order.spki_sha256).map_or(Key::Plain(key), |table| Key::Known(table));
        for (input_place, (input, signature)) in order.inputs.iter().zip(answer.iter().flatten()).enumerate() {
            if let Ok(signature) = signature {
                places.push((place, input_place));
                items.push(Item { key, input: Input::from(input), signature: signature.as_bytes() });
            }
        }
    }
    let mut verdicts: Vec<Vec<bool>> = orders.iter().map(|order| vec![false; order.inputs.len()]).collect();
    for ((place, input_place), verdict) in places.into_iter().zip(batch::chunk(&items)) {
        if verdict.is_err() {
            error!(stage = "custody", "a custodian returned a signature that does not verify");
        }
        if let Some(sound) = verdicts.get_mut(place).and_then(|order| order.get_mut(input_place)) {
            *sound = verdict.is_ok();
        }
    }
    verdicts
}

fn reply(answer: oneshot::Sender<Visit>, intent: Intent<SignOrder>, end: VisitEnd) {
    // The pipeline waits detached from its caller, so somebody is always there; if not, recovery closes the intent.
    drop(answer.send(Visit { intent, end }));
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use trust::{Algorithm, KeyId, KeyRef, KeyVersion, Purpose, Scope, Signable};
    use trust_hsm::{Material, SealContext, SealedKey};

    use super::*;
    use crate::clock::Clock;

    fn public(key: &SigningKey) -> PublicKey {
        PublicKey::from_ed25519_bytes(key.verifying_key().as_bytes()).unwrap()
    }

    /// So many messages for a key, and what it answers.
    fn signed(key: &SigningKey, count: usize) -> (SigningOrder, SignedOrder) {
        let key_ref = KeyRef { id: KeyId::from_bytes([1; 16]), version: KeyVersion::FIRST };
        let context = SealContext {
            store: [2; 16],
            key: key_ref,
            algorithm: Algorithm::Ed25519,
            purpose: Purpose::Raw,
            scope_hash: Scope::Unbound.hash(),
        };
        // Format 1, sealed under version 1 of the ring; nothing opens it here.
        let sealed: Vec<u8> = [1, 1].into_iter().chain([0; 198]).collect();
        let messages: Vec<Vec<u8>> = (0..count).map(|place| vec![7; place]).collect();
        let sign = |message: &Vec<u8>| Signature::new(Algorithm::Ed25519, key.sign(message).to_bytes().to_vec());
        let signatures = messages.iter().map(|message| Ok(sign(message).unwrap())).collect();
        let order = SigningOrder {
            context: Arc::new(context),
            spki_sha256: public(key).spki_sha256(),
            material: Material::Sealed(SealedKey::from_bytes(&sealed).unwrap()),
            inputs: messages.into_iter().map(Signable::Message).collect(),
        };
        (order, Ok(signatures))
    }

    fn spoil(answer: &mut SignedOrder, place: usize) {
        let signature = answer.as_mut().unwrap().get_mut(place).unwrap();
        let mut bytes = signature.as_ref().unwrap().as_bytes().to_vec();
        bytes[40] ^= 1;
        *signature = Ok(Signature::new(Algorithm::Ed25519, bytes).unwrap());
    }

    #[test]
    fn a_wrong_signature_is_found_among_those_of_several_keys_whether_they_are_prepared_or_not() {
        let (often, rarely) = (SigningKey::from_bytes(&[3; 32]), SigningKey::from_bytes(&[4; 32]));
        let tables = Tables::new(4, Clock::manual(0));
        let keys = [public(&often), public(&rarely), public(&often), public(&rarely)];
        let (orders, mut answers): (Vec<_>, Vec<_>) =
            [signed(&often, 70), signed(&rarely, 2), signed(&often, 3), signed(&rarely, 1)].into_iter().unzip();
        spoil(&mut answers[0], 69);
        spoil(&mut answers[1], 0);
        answers[2].as_mut().unwrap()[1] = Err(CustodyError::Late);
        answers[3] = Err(CustodyError::Sealed);

        let verdicts = verify_all(&keys, &orders, &answers, &tables);

        let first: Vec<bool> = (0..70).map(|place| place != 69).collect();
        assert_eq!(verdicts, [first, vec![false, true], vec![true, false, true], vec![false]]);
        assert_eq!(tables.prepared().keys, 1);
    }

    #[test]
    fn the_answer_to_another_order_is_found() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let tables = Tables::new(0, Clock::manual(0));
        let (orders, mut answers): (Vec<_>, Vec<_>) = [signed(&key, 2), signed(&key, 3)].into_iter().unzip();
        answers.swap(0, 1);

        let verdicts = verify_all(&[public(&key), public(&key)], &orders, &answers, &tables);

        assert_eq!(verdicts, [vec![true, true], vec![true, true, false]]);

        answers.truncate(1);
        let verdicts = verify_all(&[public(&key), public(&key)], &orders, &answers, &tables);
        assert_eq!(verdicts, [vec![true, true], vec![false; 3]]);
    }
}
