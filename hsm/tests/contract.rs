//! What every custodian promises, in this process and behind the worker.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod house;
#[path = "contract/ring.rs"]
mod ring;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use trust::{Algorithm, Digest, KeyId, Purpose, Scheme, Sha256Digest, Signable};
use trust_hsm::{Custodian, CustodyError, Generated, Offer, RewrapOrder, SealContext, SigningOrder};

use house::token::{FaultHouse, Make, TokenHouse, alone};
use house::{House, Mount, context, order};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// Runs a test over every custodian.
macro_rules! contract {
    ($($name:ident)*) => {
        mod software_in_process { $( #[test] fn $name() { super::$name(&*super::House::open(super::Mount::InProcess).custodian); } )* }
        mod software_in_a_worker { $( #[test] fn $name() { super::$name(&*super::House::open(super::Mount::Worker).custodian); } )* }
        mod softhsm_in_process { $( #[test] fn $name() {
            super::alone(super::Make::Softhsm, concat!("softhsm_in_process::", stringify!($name)), super::$name);
        } )* }
        mod softhsm_in_a_worker { $( #[test] fn $name() {
            super::$name(&*super::TokenHouse::of(super::Make::Softhsm).mount());
        } )* }
        // The fault module hands everything on until it is told otherwise: what it breaks elsewhere, it breaks on command.
        mod fault_module_in_a_worker { $( #[test] fn $name() {
            super::$name(&*super::FaultHouse::new().mount());
        } )* }
        mod kryoptic_in_process { $( #[test] fn $name() {
            super::alone(super::Make::Kryoptic, concat!("kryoptic_in_process::", stringify!($name)), super::$name);
        } )* }
        mod kryoptic_in_a_worker { $( #[test] fn $name() {
            super::$name(&*super::TokenHouse::of(super::Make::Kryoptic).mount());
        } )* }
    };
}

contract! {
    every_algorithm_signs_messages_and_digests_that_verify
    openssl_accepts_a_signature_of_every_algorithm
    an_ed25519_key_refuses_a_digest_and_signs_the_other_inputs
    a_digest_of_another_function_is_refused
    a_key_signs_under_its_own_context_only
    an_impossible_pair_of_purpose_and_algorithm_is_refused
    a_context_of_another_store_is_refused
    an_order_without_inputs_or_with_too_many_is_refused_and_the_others_are_signed
    a_deadline_that_has_passed_is_late
    a_forgotten_key_signs_again_from_its_record
    a_record_that_is_current_is_rewrapped_to_itself
    many_orders_are_answered_in_order
    offers_differ_and_are_bounded
}

fn message(text: &str) -> Signable {
    Signable::Message(text.as_bytes().to_vec())
}

fn purpose_of(algorithm: Algorithm) -> Purpose {
    if algorithm == Algorithm::Ed25519 { Purpose::Image } else { Purpose::Raw }
}

fn every_algorithm_signs_messages_and_digests_that_verify(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    for algorithm in Algorithm::ALL {
        let context = context(algorithm, purpose_of(algorithm));
        let key = session.generate(&context).unwrap();
        let mut inputs = vec![message(""), message("a message"), Signable::Message(vec![7; 100_000])];
        if let Some(function) = algorithm.prehash() {
            inputs.push(Signable::Digest(Digest::of(function, b"a message")));
        }

        let signed = session.sign(&[order(&context, &key, inputs.clone())], LONG).remove(0).unwrap();

        assert_eq!(key.public_key.algorithm(), algorithm);
        assert_eq!(signed.len(), inputs.len());
        for (input, signature) in inputs.iter().zip(signed) {
            trust::verify::one(&key.public_key, input, signature.unwrap().as_bytes()).unwrap();
        }
    }
}

fn openssl_accepts_a_signature_of_every_algorithm(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    for algorithm in Algorithm::ALL {
        let context = context(algorithm, purpose_of(algorithm));
        let key = session.generate(&context).unwrap();
        let input = message("for a second opinion");

        let signed = session.sign(&[order(&context, &key, vec![input])], LONG).remove(0).unwrap().remove(0).unwrap();

        let accepts = |text: &str| {
            house::openssl_verifies(algorithm, key.public_key.spki_der(), text.as_bytes(), signed.as_bytes())
        };
        assert!(accepts("for a second opinion"), "{algorithm}");
        assert!(!accepts("for another opinion"), "{algorithm}");
    }
}

fn an_ed25519_key_refuses_a_digest_and_signs_the_other_inputs(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    let context = context(Algorithm::Ed25519, Purpose::Raw);
    let key = session.generate(&context).unwrap();
    let digest = Signable::Digest(Digest::Sha256([1; 32]));

    let signed =
        session.sign(&[order(&context, &key, vec![message("a"), digest, message("b")])], LONG).remove(0).unwrap();

    assert!(signed[0].is_ok());
    assert!(matches!(signed[1], Err(CustodyError::Refused { .. })));
    assert!(signed[2].is_ok());
}

fn a_digest_of_another_function_is_refused(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    for (algorithm, digest) in [
        (Algorithm::EcdsaP384Sha256, Digest::Sha384([1; 48])),
        (Algorithm::EcdsaP384Sha384, Digest::Sha256([1; 32])),
        (Algorithm::EcdsaP256Sha256, Digest::Sha384([1; 48])),
    ] {
        let context = context(algorithm, Purpose::Raw);
        let key = session.generate(&context).unwrap();

        let signed = session.sign(&[order(&context, &key, vec![Signable::Digest(digest)])], LONG).remove(0).unwrap();

        assert!(matches!(signed[0], Err(CustodyError::Refused { .. })), "{algorithm}");
    }
}

fn offers_differ_and_are_bounded(custodian: &dyn Custodian) {
    let (mut session, mut another) = (custodian.open().unwrap(), custodian.open().unwrap());

    let offers: Vec<_> = (0..Offer::OPEN_MAX).map(|_| session.offer().unwrap()).collect();

    let ids: HashSet<_> = offers.iter().map(|offer| offer.id).collect();
    let keys: HashSet<_> = offers.iter().map(|offer| offer.public_key).collect();
    assert_eq!((ids.len(), keys.len()), (Offer::OPEN_MAX, Offer::OPEN_MAX));
    assert!(matches!(another.offer(), Err(CustodyError::Unavailable { .. })));
}

/// Orders whose context or public key is not the one that `key` was made under, one part at a time.
fn orders_of_others(own: &SealContext, key: &Generated) -> Vec<SigningOrder> {
    let (mut other_id, mut other_version, mut other_algorithm, mut other_purpose, mut other_scope) =
        (own.clone(), own.clone(), own.clone(), own.clone(), own.clone());
    other_id.key.id = KeyId::from_bytes([0x55; 16]);
    other_version.key.version = own.key.version.next().unwrap();
    other_algorithm.algorithm = Algorithm::EcdsaP384Sha256;
    other_purpose.purpose = Purpose::ReleaseBlob;
    other_scope.scope_hash = Sha256Digest::of(b"another scope");
    let mut other_spki = order(own, key, vec![message("m")]);
    other_spki.spki_sha256 = Sha256Digest::of(b"another key");
    let mut orders: Vec<SigningOrder> = [other_id, other_version, other_algorithm, other_purpose, other_scope]
        .iter()
        .map(|context| order(context, key, vec![message("m")]))
        .collect();
    orders.push(other_spki);
    orders
}

fn a_key_signs_under_its_own_context_only(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    let own = context(Algorithm::EcdsaP256Sha256, Purpose::Image);
    let key = session.generate(&own).unwrap();
    let mut orders = orders_of_others(&own, &key);
    // Before and after the right one: what is open already must not make the wrong ones work.
    let right = orders.len();
    orders.push(order(&own, &key, vec![message("m")]));
    orders.extend(orders_of_others(&own, &key));

    let signed = session.sign(&orders, LONG);

    for (index, signed) in signed.iter().enumerate() {
        let corrupt = matches!(signed, Err(CustodyError::Corrupt { .. }));
        assert_eq!((signed.is_ok(), corrupt), (index == right, index != right), "order {index}: {signed:?}");
    }
}

fn a_record_that_is_current_is_rewrapped_to_itself(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    let own = context(Algorithm::Ed25519, Purpose::Image);
    let key = session.generate(&own).unwrap();
    let mut other = own.clone();
    other.scope_hash = Sha256Digest::of(b"another scope");
    let orders = [&own, &other].map(|context| rewrap_order(&order(context, &key, Vec::new())));

    let rewrapped = session.rewrap(&orders);

    assert_eq!(rewrapped[0].as_ref().unwrap(), &key.material);
    assert!(matches!(rewrapped[1], Err(CustodyError::Corrupt { .. })));
}

fn rewrap_order(order: &SigningOrder) -> RewrapOrder {
    RewrapOrder {
        context: Arc::clone(&order.context),
        spki_sha256: order.spki_sha256,
        material: order.material.clone(),
    }
}

fn an_impossible_pair_of_purpose_and_algorithm_is_refused(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();

    let refused = session.generate(&context(Algorithm::Rsa3072PssSha256, Purpose::Image)).unwrap_err();

    assert!(matches!(refused, CustodyError::Refused { .. }));
    assert!(refused.to_string().contains("rsa3072-pss-sha256"));
}

fn a_context_of_another_store_is_refused(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    let own = context(Algorithm::Ed25519, Purpose::Image);
    let key = session.generate(&own).unwrap();
    let mut foreign = own.clone();
    foreign.store = [9; 16];

    let made = session.generate(&foreign).unwrap_err();
    let signed = session.sign(&[order(&foreign, &key, vec![message("m")])], LONG).remove(0).unwrap_err();

    assert!(matches!(made, CustodyError::Refused { .. }));
    assert!(matches!(signed, CustodyError::Refused { .. }));
}

fn an_order_without_inputs_or_with_too_many_is_refused_and_the_others_are_signed(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    let context = context(Algorithm::Ed25519, Purpose::Image);
    let key = session.generate(&context).unwrap();
    let good = order(&context, &key, vec![message("m")]);
    let empty = order(&context, &key, Vec::new());
    let many = order(&context, &key, vec![message(""); SigningOrder::INPUTS_MAX + 1]);
    let large = order(&context, &key, vec![Signable::Message(vec![0; SigningOrder::BYTES_MAX + 1])]);
    let largest = order(&context, &key, vec![Signable::Message(vec![0; SigningOrder::BYTES_MAX])]);

    let signed = session.sign(&[good.clone(), empty, many, good.clone(), large, largest, good], LONG);

    for (index, order) in signed.iter().enumerate() {
        let refused = matches!(order, Err(CustodyError::Refused { .. }));
        assert_eq!(refused, [1, 2, 4].contains(&index), "order {index}");
        assert_eq!(order.is_ok(), !refused, "order {index}");
    }
}

fn a_deadline_that_has_passed_is_late(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    let context = context(Algorithm::Ed25519, Purpose::Image);
    let key = session.generate(&context).unwrap();

    let signed = session.sign(&[order(&context, &key, vec![message("m")])], Duration::ZERO);

    assert_eq!(signed, [Err(CustodyError::Late)]);
}

fn a_forgotten_key_signs_again_from_its_record(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    let context = context(Algorithm::Ed25519, Purpose::Image);
    let key = session.generate(&context).unwrap();
    let order = order(&context, &key, vec![message("m")]);
    let before = session.sign(std::slice::from_ref(&order), LONG);

    session.forget(context.key.id).unwrap();

    assert_eq!(session.sign(&[order], LONG), before);
}

fn many_orders_are_answered_in_order(custodian: &dyn Custodian) {
    let mut session = custodian.open().unwrap();
    let keys: Vec<_> = [Algorithm::Ed25519, Algorithm::EcdsaP256Sha256, Algorithm::EcdsaP384Sha384]
        .into_iter()
        .zip(1_u8..)
        .map(|(algorithm, number)| {
            let mut context = context(algorithm, Purpose::Raw);
            context.key.id = KeyId::from_bytes([number; 16]);
            let key = session.generate(&context).unwrap();
            (context, key)
        })
        .collect();
    let orders: Vec<SigningOrder> = (0..300)
        .map(|number| {
            let (context, key) = &keys[number % keys.len()];
            assert_eq!(context.algorithm.scheme() == Scheme::Ed25519, number % 3 == 0);
            order(context, key, vec![message(&number.to_string()), message("again")])
        })
        .collect();

    let signed = session.sign(&orders, LONG);

    assert_eq!(signed.len(), orders.len());
    for (number, (order, signed)) in orders.iter().zip(signed).enumerate() {
        for (input, signature) in order.inputs.iter().zip(signed.unwrap()) {
            let (_, key) = &keys[number % keys.len()];
            trust::verify::one(&key.public_key, input, signature.unwrap().as_bytes()).unwrap();
        }
    }
}
