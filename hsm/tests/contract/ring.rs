//! What a custodian with a KEK ring promises besides.

use trust::{Algorithm, KeyId, Purpose};
use trust_hsm::{CustodianState, CustodyError, KekState, Material, Offer, RootSource, SealedKey};

use super::house::{self, House, Mount, context, order};
use super::{LONG, message, orders_of_others, rewrap_order};

/// Runs a test over every custodian that has a KEK ring.
macro_rules! ring_contract {
    ($($name:ident)*) => {
        mod ring_in_process { $( #[test] fn $name() { super::$name(&super::House::open(super::Mount::InProcess)); } )* }
        mod ring_in_a_worker { $( #[test] fn $name() { super::$name(&super::House::open(super::Mount::Worker)); } )* }
    };
}

ring_contract! {
    a_record_is_rewrapped_under_its_own_context_only
    a_record_with_any_bit_flipped_does_not_open
    a_sealed_custodian_does_nothing
    sealing_takes_every_offer_back
    a_rotation_rewraps_and_destroys
    an_unfinished_rotation_is_resumed
    unsealing_twice_gives_the_same_store_key
}

fn a_record_is_rewrapped_under_its_own_context_only(house: &House) {
    let mut session = house.custodian.open().unwrap();
    let own = context(Algorithm::EcdsaP256Sha256, Purpose::Image);
    let key = session.generate(&own).unwrap();
    let orders = orders_of_others(&own, &key);

    let rewrapped = session.rewrap(&orders.iter().map(rewrap_order).collect::<Vec<_>>());

    for (index, rewrapped) in rewrapped.iter().enumerate() {
        assert!(matches!(rewrapped, Err(CustodyError::Corrupt { .. })), "order {index}: {rewrapped:?}");
    }
}

fn a_record_with_any_bit_flipped_does_not_open(house: &House) {
    let mut session = house.custodian.open().unwrap();
    let context = context(Algorithm::Ed25519, Purpose::Image);
    let key = session.generate(&context).unwrap();
    let Material::Sealed(sealed) = &key.material else { unreachable!() };
    let good = order(&context, &key, vec![message("m")]);

    for index in 0..sealed.as_bytes().len() {
        let mut bytes = sealed.to_bytes();
        bytes[index] ^= 1 << (index % 8);
        let Ok(flipped) = SealedKey::from_bytes(&bytes) else { continue };
        let mut bad = good.clone();
        bad.material = Material::Sealed(flipped);

        let signed = session.sign(&[bad, good.clone()], LONG);

        assert!(matches!(signed[0], Err(CustodyError::Corrupt { .. })), "byte {index}: {:?}", signed[0]);
        assert!(signed[1].is_ok());
    }
}

fn a_sealed_custodian_does_nothing(house: &House) {
    let mut session = house.custodian.open().unwrap();
    let context = context(Algorithm::Ed25519, Purpose::Image);
    let key = session.generate(&context).unwrap();
    let order = order(&context, &key, vec![message("m")]);
    session.sign(std::slice::from_ref(&order), LONG).remove(0).unwrap();

    house.ring.seal().unwrap();

    assert_eq!(house.custodian.state(), CustodianState::Sealed);
    assert_eq!(session.generate(&context).unwrap_err(), CustodyError::Sealed);
    assert_eq!(session.sign(std::slice::from_ref(&order), LONG).remove(0).unwrap_err(), CustodyError::Sealed);
    assert_eq!(session.rewrap(&[rewrap_order(&order)]).remove(0).unwrap_err(), CustodyError::Sealed);
    assert_eq!(house.ring.list().unwrap_err(), CustodyError::Sealed);
    assert_eq!(house.ring.begin_rotation().unwrap_err(), CustodyError::Sealed);
    assert_eq!(house.ring.finish_rotation().unwrap_err(), CustodyError::Sealed);
    let _ = house.unseal().unwrap();
    assert_eq!(house.custodian.state(), CustodianState::Ready);
    assert!(session.sign(&[order], LONG).remove(0).is_ok());
}

fn sealing_takes_every_offer_back(house: &House) {
    let mut session = house.custodian.open().unwrap();
    for _ in 0..Offer::OPEN_MAX {
        let _ = session.offer().unwrap();
    }
    assert!(session.offer().is_err());

    house.ring.seal().unwrap();

    let _ = session.offer().unwrap();
}

fn a_rotation_rewraps_and_destroys(house: &House) {
    let mut session = house.custodian.open().unwrap();
    let kept = context(Algorithm::Ed25519, Purpose::Image);
    let mut lost = kept.clone();
    lost.key.id = KeyId::from_bytes([0x77; 16]);
    let (kept_key, lost_key) = (session.generate(&kept).unwrap(), session.generate(&lost).unwrap());
    let (kept_order, lost_order) =
        (order(&kept, &kept_key, vec![message("m")]), order(&lost, &lost_key, vec![message("m")]));
    let older = std::fs::read(&house.ring_path).unwrap();

    let version = house.ring.begin_rotation().unwrap();
    let rewrapped = session.rewrap(&[rewrap_order(&kept_order)]).remove(0).unwrap();
    assert!(session.sign(&[kept_order.clone(), lost_order.clone()], LONG).iter().all(Result::is_ok));
    house.ring.finish_rotation().unwrap();

    let Material::Sealed(sealed) = &rewrapped else { unreachable!() };
    assert_eq!(sealed.kek_version(), version);
    let states: Vec<KekState> = house.ring.list().unwrap().iter().map(|line| line.state).collect();
    assert_eq!(states, [KekState::Destroyed, KekState::Current]);
    let mut renewed = kept_order.clone();
    renewed.material = rewrapped;
    let signed = session.sign(&[renewed.clone(), kept_order, lost_order.clone()], LONG);
    assert!(signed[0].is_ok());
    assert!(matches!(signed[1], Err(CustodyError::Corrupt { .. })));
    assert!(matches!(signed[2], Err(CustodyError::Corrupt { .. })));
    assert_eq!(session.rewrap(&[rewrap_order(&renewed)]).remove(0).unwrap(), renewed.material);

    // Neither do the new ring's file and the root secret open it again, and no older copy lies about.
    house.ring.seal().unwrap();
    let _ = house.unseal().unwrap();
    assert!(matches!(session.sign(&[lost_order], LONG)[0], Err(CustodyError::Corrupt { .. })));
    let beside = std::fs::read_dir(house.ring_path.parent().unwrap()).unwrap();
    for file in beside.map(|file| file.unwrap().path()) {
        assert!(!house::contains(&std::fs::read(&file).unwrap(), &older[older.len() - 40..]), "{}", file.display());
    }
}

fn an_unfinished_rotation_is_resumed(house: &House) {
    let first = house.ring.begin_rotation().unwrap();
    house.ring.seal().unwrap();
    let _ = house.unseal().unwrap();

    let second = house.ring.begin_rotation().unwrap();

    assert_eq!(first, second);
    assert_eq!(house.ring.list().unwrap().len(), 2);
}

fn unsealing_twice_gives_the_same_store_key(house: &House) {
    let (first, second) = (house.unseal().unwrap(), house.unseal().unwrap());

    assert_eq!(first.store, house::STORE);
    assert_eq!(first.store_key.expose(), second.store_key.expose());
    let wrong = RootSource::File { path: house.another_root_file() };
    assert!(matches!(house.ring.unseal(wrong), Err(CustodyError::Refused { .. })));
    assert_eq!(house.custodian.state(), CustodianState::Ready);
}
