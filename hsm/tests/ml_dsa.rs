//! A key of an algorithm that trustd does not have yet, in a token that has it (PKCS#11 3.2, FIPS 204).
//!
//! The module signs with it through the very calls that custody makes. What is missing is on our side, and is said.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod house;

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, MlDsaParameterSetType};
use house::context;
use house::token::{LABEL, Make, alone};
use trust::{Algorithm, Purpose};
use trust_hsm::{AdoptOrder, Custodian, CustodyError, KeyClass};

const ID: &[u8] = b"ml-dsa";

/// Has the token make an ML-DSA-65 key and sign with it, as a program beside trustd would.
fn make_and_sign() {
    let module = Pkcs11::new(Make::Kryoptic.module()).unwrap();
    let slots = module.get_slots_with_token().unwrap();
    let labelled = |slot: &_| module.get_token_info(*slot).is_ok_and(|token| token.label() == LABEL);
    let slot = slots.into_iter().find(labelled).unwrap();
    // Custody is logged in, and a login is the whole process's.
    let session = module.open_rw_session(slot).unwrap();
    let set = MlDsaParameterSetType::ML_DSA_65;
    let public = [
        Attribute::Token(true),
        Attribute::Id(ID.to_vec()),
        Attribute::Verify(true),
        Attribute::ParameterSet(set.into()),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Id(ID.to_vec()),
        Attribute::Sign(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
    ];
    let signing = Mechanism::MlDsa(SignAdditionalContext::new(HedgeType::Preferred, None));

    assert!(module.get_mechanism_list(slot).unwrap().contains(&MechanismType::ML_DSA));
    let (public, private) = session.generate_key_pair(&Mechanism::MlDsaKeyPairGen, &public, &private).unwrap();
    let signature = session.sign(&signing, private, b"a message").unwrap();

    assert_eq!(signature.len(), 3309, "FIPS 204, table 2");
    session.verify(&signing, public, b"a message", &signature).unwrap();
    session.verify(&signing, public, b"another message", &signature).unwrap_err();
}

fn it_is_listed_and_not_adopted(custodian: &dyn Custodian) {
    make_and_sign();
    let mut session = custodian.open().unwrap();

    let listed = session.objects().unwrap().objects;

    let mut found: Vec<_> =
        listed.iter().map(|object| (object.class, object.id.as_slice(), object.key_type.as_str())).collect();
    found.sort_by_key(|(class, ..)| class.name());
    assert_eq!(found, [(KeyClass::Private, ID, "ml-dsa"), (KeyClass::Public, ID, "ml-dsa")]);
    for algorithm in Algorithm::ALL {
        let context = context(algorithm, Purpose::Raw);
        let order = AdoptOrder { context, id: ID.to_vec(), spki_sha256: None, may_do_more: true };
        let Err(CustodyError::Refused { why }) = session.adopt(&order) else { panic!("{algorithm}: not refused") };
        assert_eq!(why, format!("the key with this id is none of {algorithm}"));
    }
    // And the session goes on.
    let _ = session.generate(&context(Algorithm::EcdsaP256Sha256, Purpose::Image)).unwrap();
}

#[test]
fn a_key_of_an_algorithm_that_nobody_here_knows_is_listed_and_not_adopted() {
    alone(
        Make::Kryoptic,
        "a_key_of_an_algorithm_that_nobody_here_knows_is_listed_and_not_adopted",
        it_is_listed_and_not_adopted,
    );
}
