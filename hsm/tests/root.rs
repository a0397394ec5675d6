//! The root key of a ring: moved from a file to a passphrase to a token and away again, and what no longer opens then.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod house;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use house::scene::until;
use house::token::{FaultHouse, TokenHouse};
use house::{House, Mount, STORE, context, order};
use trust::{Algorithm, Purpose, Signable};
use trust_hsm::worker::{Supervisor, TokenWorker, draw_and_wrap, unseal_through};
use trust_hsm::{
    AdoptOrder, Custodian as _, CustodyError, Passphrase, RootChange, RootPlace, RootSource, SigningOrder, WrappedRoot,
    Wrapping, make_root_file, root_place,
};

const WORDS: &str = "five words drawn by lot";

fn words(text: &str) -> Passphrase {
    Passphrase::take(&mut text.as_bytes().to_vec()).unwrap()
}

fn refusal<T>(outcome: Result<T, CustodyError>) -> String {
    match outcome.map(drop).unwrap_err() {
        CustodyError::Refused { why } => why,
        other => panic!("not refused: {other}"),
    }
}

/// A key that is sealed in the house, to see that the ring still opens it.
fn a_key(house: &House) -> SigningOrder {
    let context = context(Algorithm::Ed25519, Purpose::Image);
    let key = house.custodian.open().unwrap().generate(&context).unwrap();
    order(&context, &key, vec![Signable::Message(b"m".to_vec())])
}

fn signs(house: &House, order: &SigningOrder) -> bool {
    let signed = house.custodian.open().unwrap().sign(std::slice::from_ref(order), Duration::from_secs(60));
    signed.into_iter().all(|order| order.is_ok_and(|signatures| signatures.iter().all(Result::is_ok)))
}

fn into_token(house: &House, token: &Arc<TokenWorker>, recovery: Option<&str>) -> Vec<WrappedRoot> {
    let wraps = draw_and_wrap(&*house.ring, std::slice::from_ref(token)).unwrap();
    let change = RootChange::Token { wraps: wraps.clone(), recovery: recovery.map(words) };
    house.ring.change_root(change).unwrap();
    wraps
}

fn into_file(house: &House, name: &str) -> PathBuf {
    let path = house.directory.path().join(name);
    let offer = house.ring.offer().unwrap();
    let sealed = make_root_file(&path, &offer, &STORE).unwrap();
    house.ring.change_root(RootChange::File { path: path.clone(), offer: offer.id, sealed }).unwrap();
    path
}

#[test]
fn a_root_moves_from_file_to_passphrase_to_file_and_only_the_last_one_opens() {
    let house = House::open(Mount::InProcess);
    let key = a_key(&house);
    let store_key = *house.unseal().unwrap().store_key.expose();

    house.ring.change_root(RootChange::Passphrase(words(WORDS))).unwrap();
    house.ring.seal().unwrap();

    assert_eq!(root_place(&house.ring_path).unwrap(), (STORE, RootPlace::Passphrase));
    assert!(refusal(house.unseal()).contains("opens with a passphrase"));
    let unsealed = house.ring.unseal(RootSource::Passphrase(words(WORDS))).unwrap();
    assert_eq!(*unsealed.store_key.expose(), store_key);
    assert!(signs(&house, &key));

    let file = into_file(&house, "second.key");
    house.ring.seal().unwrap();
    assert!(refusal(house.ring.unseal(RootSource::Passphrase(words(WORDS)))).contains("root key file"));
    assert!(refusal(house.unseal()).contains("not the one"), "the first file is no root any more");
    let _ = house.ring.unseal(RootSource::File { path: file }).unwrap();
    assert!(signs(&house, &key));
}

/// The ring's file, and what lies beside it under `.new` and `.old`.
type Instant<'a> = (&'a [u8], Option<Vec<u8>>, Option<Vec<u8>>);

#[test]
fn at_every_instant_of_a_change_the_older_or_the_newer_root_opens() {
    let house = House::open(Mount::InProcess);
    let beside = |name: &str| house.ring_path.with_extension(format!("ring.{name}"));
    let older = fs::read(&house.ring_path).unwrap();
    let file = into_file(&house, "second.key");
    let newer = fs::read(&house.ring_path).unwrap();
    house.ring.seal().unwrap();
    let opens = |path: &PathBuf| {
        let opened = house.ring.unseal(RootSource::File { path: path.clone() }).is_ok();
        house.ring.seal().unwrap();
        opened
    };

    // Half of the newer one written; all of it; the older one with a second name; renamed; the older half overwritten.
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let instants: [Instant<'_>; 5] = [
        (&older, Some(half(&newer)), None),
        (&older, Some(newer.clone()), None),
        (&older, Some(newer.clone()), Some(older.clone())),
        (&newer, None, Some(older.clone())),
        (&newer, None, Some([vec![0; older.len() / 2], older[older.len() / 2..].to_vec()].concat())),
    ];
    for (number, (ring, new, old)) in instants.into_iter().enumerate() {
        for root_is_newer in [false, true] {
            fs::write(&house.ring_path, ring).unwrap();
            for (name, content) in [("new", &new), ("old", &old)] {
                let _ = fs::remove_file(beside(name));
                content.iter().for_each(|content| fs::write(beside(name), content).unwrap());
            }
            let path = if root_is_newer { &file } else { &house.root_file };

            assert_eq!(opens(path), root_is_newer == (ring == newer), "instant {number}, newer root: {root_is_newer}");
        }
    }
}

#[test]
fn a_change_that_cannot_be_written_leaves_the_older_root() {
    let house = House::open(Mount::InProcess);
    let obstacle = house.ring_path.with_extension("ring.new");
    fs::create_dir(&obstacle).unwrap();

    let refused = house.ring.change_root(RootChange::Passphrase(words(WORDS)));

    assert!(matches!(refused, Err(CustodyError::Failed { .. })), "{refused:?}");
    fs::remove_dir(&obstacle).unwrap();
    house.ring.seal().unwrap();
    assert!(house.unseal().is_ok());
}

#[test]
fn a_sealed_ring_draws_and_changes_no_root_and_no_wrap_is_taken_without_a_drawn_one() {
    let house = House::open(Mount::InProcess);
    let change = || RootChange::Token { wraps: Vec::new(), recovery: None };

    assert!(refusal(house.ring.change_root(change())).contains("no new root key was drawn"));
    let _ = house.ring.draw_root(&[]).unwrap();
    assert!(refusal(house.ring.change_root(change())).contains("one token or two"));
    house.ring.seal().unwrap();
    assert_eq!(house.ring.draw_root(&[]).unwrap_err(), CustodyError::Sealed);
    assert_eq!(house.ring.change_root(change()).unwrap_err(), CustodyError::Sealed);
    assert!(house.unseal().is_ok());
}

#[test]
fn a_token_wraps_the_root_and_opens_the_ring_once_per_unseal() {
    let (house, tokens) = (House::open(Mount::Worker), TokenHouse::new());
    let token = tokens.mount();
    let key = a_key(&house);

    let wraps = into_token(&house, &token, Some(WORDS));

    let place = RootPlace::Token { wraps: wraps.clone(), has_passphrase: true };
    assert_eq!(root_place(&house.ring_path).unwrap(), (STORE, place));
    assert!(matches!(wraps[0].how, Wrapping::AesGcm(_)), "{wraps:?}");
    house.ring.seal().unwrap();
    assert!(refusal(house.unseal()).contains("opens with the token test"), "the file of before opens nothing");
    for _ in 0..2 {
        let _ = unseal_through(&*house.ring, &token, &wraps[0]).unwrap();
        assert!(signs(&house, &key));
        house.ring.seal().unwrap();
    }
    assert!(refusal(house.ring.unseal(RootSource::Passphrase(words("another")))).contains("wrong passphrase"));
    let _ = house.ring.unseal(RootSource::Passphrase(words(WORDS))).unwrap();
    assert!(signs(&house, &key));

    // A rotation of KEK versions leaves the root where it is.
    house.ring.begin_rotation().unwrap();
    house.ring.seal().unwrap();
    let _ = unseal_through(&*house.ring, &token, &wraps[0]).unwrap();
    let file = into_file(&house, "second.key");
    house.ring.seal().unwrap();
    assert!(refusal(unseal_through(&*house.ring, &token, &wraps[0])).contains("not the one"));
    let _ = house.ring.unseal(RootSource::File { path: file }).unwrap();
    assert!(signs(&house, &key));
}

#[test]
fn the_wrapping_key_is_sensitive_never_extractable_and_only_decrypts() {
    let (house, tokens) = (House::open(Mount::InProcess), TokenHouse::new());
    let wraps = into_token(&house, &tokens.mount(), None);

    let listed = tokens.pkcs11_tool(&["--list-objects", "--type", "secrkey"]);

    assert!(listed.contains(&wraps[0].key.to_string()) && listed.contains("AES length 32"), "{listed}");
    for word in ["sensitive", "always sensitive", "never extractable", "local", "trustd root-kek 0303"] {
        assert!(listed.contains(word), "{word}: {listed}");
    }
    let uses = listed.lines().find(|line| line.contains("Usage:")).unwrap();
    assert_eq!(uses.split(':').nth(1).unwrap().trim(), "encrypt, decrypt", "{listed}");
}

#[test]
fn another_token_a_deleted_key_an_altered_wrap_and_another_store_open_nothing() {
    let (house, tokens, elsewhere) = (House::open(Mount::InProcess), TokenHouse::new(), TokenHouse::new());
    let token = tokens.mount();
    let wraps = into_token(&house, &token, None);
    house.ring.seal().unwrap();
    let unseal = |token: &TokenWorker, wrapped: &WrappedRoot| unseal_through(&*house.ring, token, wrapped).map(drop);

    assert!(refusal(unseal(&elsewhere.mount(), &wraps[0])).contains("it is another token, or the key was deleted"));
    let mut config = tokens.config();
    config.place.store = [9; 16];
    let foreign = Supervisor::mount(config).unwrap();
    assert!(matches!(unseal(&foreign, &wraps[0]), Err(CustodyError::Corrupt { .. })));
    let mut altered = wraps[0].clone();
    altered.bytes[0] ^= 1;
    assert!(matches!(unseal(&token, &altered), Err(CustodyError::Corrupt { .. })));
    let renamed = WrappedRoot { token: "other".parse().unwrap(), ..wraps[0].clone() };
    assert!(refusal(unseal(&token, &renamed)).contains("in the token other, not in test"));
    unseal(&token, &wraps[0]).unwrap();
    assert_eq!(token.trouble(), None, "none of it costs the token's worker its life");
    assert!(refusal(house.ring.unseal(RootSource::Passphrase(words(WORDS)))).contains("no recovery passphrase"));

    house.ring.seal().unwrap();
    token.destroy_wrap_key(&wraps[0]).unwrap();
    assert!(refusal(unseal(&token, &wraps[0])).contains("the key was deleted"));
}

#[test]
fn a_wrapping_key_is_called_gone_only_after_a_new_login_does_not_find_it() {
    let (house, fault) = (House::open(Mount::InProcess), FaultHouse::new());
    let token = fault.mount();
    let wraps = into_token(&house, &token, None);
    house.ring.seal().unwrap();
    token.destroy_wrap_key(&wraps[0]).unwrap();
    let logins = fault.calls("C_Login");

    let refused = refusal(unseal_through(&*house.ring, &token, &wraps[0]));

    assert!(refused.contains("the key was deleted"), "{refused}");
    assert_eq!(fault.calls("C_Login"), logins + 1);
    assert_eq!(token.trouble(), None, "it costs the token's worker nothing");
}

#[test]
fn either_of_two_tokens_opens() {
    let (house, first, second) = (House::open(Mount::InProcess), TokenHouse::new(), TokenHouse::new());
    let mut config = second.config();
    config.place.name = "spare".parse().unwrap();
    let tokens = [first.mount(), Supervisor::mount(config).unwrap()];

    let wraps = draw_and_wrap(&*house.ring, &tokens).unwrap();
    house.ring.change_root(RootChange::Token { wraps: wraps.clone(), recovery: None }).unwrap();

    for (token, wrapped) in tokens.iter().zip(&wraps) {
        house.ring.seal().unwrap();
        let _ = unseal_through(&*house.ring, token, wrapped).unwrap();
    }
}

#[test]
fn a_token_without_aes_wraps_by_rsa_and_one_with_neither_is_refused_and_leaves_nothing() {
    let house = House::open(Mount::InProcess);
    let fault = FaultHouse::new();
    let token = fault.mount();
    let ring = fs::read(&house.ring_path).unwrap();
    let all = |function: &str| (1..=20).map(|nth| format!("{function} {nth} rv 0x70\n")).collect::<String>();

    fault.command(&(all("C_GenerateKey") + &all("C_GenerateKeyPair")));
    let refused = refusal(draw_and_wrap(&*house.ring, std::slice::from_ref(&token)));

    for word in ["CKM_AES_GCM", "CKM_RSA_PKCS_OAEP", "CKR_MECHANISM_INVALID"] {
        assert!(refused.contains(word), "{refused}");
    }
    assert_eq!(fs::read(&house.ring_path).unwrap(), ring);
    fault.command(&all("C_GenerateKey"));
    let wraps = into_token(&house, &token, None);
    // SoftHSM 2.6 does OAEP with SHA-1 only.
    assert_eq!(wraps[0].how, Wrapping::RsaOaepSha1);
    let context = context(Algorithm::Rsa3072Pkcs1Sha256, Purpose::Image);
    let asked = AdoptOrder { context, id: wraps[0].key.as_bytes().to_vec(), spki_sha256: None, may_do_more: true };
    let adopted = refusal(token.open().unwrap().adopt(&asked));
    assert!(adopted.contains("may not sign"), "{adopted}");
    house.ring.seal().unwrap();
    let _ = unseal_through(&*house.ring, &token, &wraps[0]).unwrap();
    let left = fault.token.pkcs11_tool(&["--list-objects"]);
    assert_eq!(left.matches("trustd root-kek").count(), 2, "one pair and nothing else: {left}");
}

#[test]
fn a_module_that_crashes_or_hangs_over_the_unwrap_costs_a_moment() {
    let house = House::open(Mount::InProcess);
    let fault = FaultHouse::new();
    drop(fault.mount()); // its PIN is known to be right from here on, also where the machine is late with the next start
    let mut config = fault.config();
    config.hang_after = Duration::from_secs(1);
    let token = Supervisor::mount(config).unwrap();
    let wraps = into_token(&house, &token, None);
    for (action, expected) in [("segv", "Unavailable"), ("hang", "Late")] {
        house.ring.seal().unwrap();
        fault.at("C_Decrypt", 1, action);

        let failed = unseal_through(&*house.ring, &token, &wraps[0]).map(drop).unwrap_err();

        assert!(format!("{failed:?}").starts_with(expected), "{failed:?}");
        // A start that fails on a busy machine has the next ones refused at once: count time, not tries.
        until("the wrap opens", || unseal_through(&*house.ring, &token, &wraps[0]).is_ok());
    }
}
