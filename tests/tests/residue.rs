//! What is left of a private key once it was made, used and destroyed: in the memory of daemon and worker, and in every
//! file they wrote. The key is known, as a test build takes it from a file; in a build that leaks, the same look must
//! find it (D34).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use trust::Sha256Digest;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::{Algorithm, CreateKeyRequest, Purpose, Use, UseChange};
use trust_tests::memory::Shards;
use trust_tests::program::{self, ours, run_with_input};
use trust_tests::token::Token;
use trust_tests::wait::until;
use trust_tests::{Daemon, Setup};

/// A key as the worker imports it, and every form of its secret part to look for.
struct Known {
    algorithm: Algorithm,
    import: Vec<u8>,
    secrets: Vec<Vec<u8>>,
}

/// What openssl writes for these arguments.
fn openssl(options: &[&str], from: &[u8]) -> Vec<u8> {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("key");
    run_with_input(program::openssl().unwrap().args(options).arg("-out").arg(&file), from).unwrap().ok().unwrap();
    std::fs::read(file).unwrap()
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// The seed (RFC 8410 §7: the last 32 bytes).
fn ed25519() -> Known {
    let der = openssl(&["genpkey", "-algorithm", "ed25519", "-outform", "DER"], &[]);
    let seed = der[der.len() - 32..].to_vec();
    Known { algorithm: Algorithm::Ed25519, import: seed.clone(), secrets: vec![seed] }
}

/// The scalar in both byte orders (RFC 5915 §3: version, then 32 bytes; the point is at the end).
fn ecdsa() -> Known {
    let der = openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-outform", "DER"], &[]);
    assert_eq!(der[5..7], [4, 32]);
    let (scalar, point) = (der[7..39].to_vec(), &der[der.len() - 65..]);
    let import = [&scalar, point].concat();
    Known { algorithm: Algorithm::EcdsaP256Sha256, import, secrets: vec![reversed(&scalar), scalar] }
}

/// Everything behind modulus and public exponent (RFC 8017 §A.1.2: d, p, q, dP, dQ, qInv), in both byte orders.
fn rsa() -> Known {
    let pem = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"], &[]);
    let import = openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &pem);
    let secret = import[import.len() - (384 + 5 * 192)..].to_vec();
    Known { algorithm: Algorithm::Rsa3072Pkcs1Sha256, import, secrets: vec![reversed(&secret), secret] }
}

/// A life from import to destruction; answers what was found where, in words.
async fn traces(program: &str, known: &Known) -> Traces {
    let setup = Setup {
        program: program.to_owned(),
        more: "[keys]\ndestroy_after_seconds = 0\n".to_owned(),
        ..Setup::allowing_raw()
    };
    let daemon = Daemon::with(&setup).unwrap();
    let shards = Shards::of(&known.secrets);
    std::fs::write(daemon.data().join("kek/import.key"), &known.import).unwrap();
    let caller = daemon.caller().await.unwrap();
    let request = CreateKeyRequest {
        name: "raw/known".to_owned(),
        purpose: Purpose::Raw.into(),
        algorithm: known.algorithm.into(),
        ..CreateKeyRequest::default()
    };
    let made = KeysClient::new(daemon.channel().await.unwrap()).create_key(request).await;
    let made = made.unwrap_or_else(|status| panic!("{:?}: {status:?}\n{}", known.algorithm, daemon.log()));
    let spki = made.into_inner().key.unwrap().versions[0].spki_der.clone();
    assert!(contains(&spki, &public(known)), "another key was made");
    for turn in 0..50_u8 {
        caller.sign("raw/known", &[turn; 40]).await.unwrap();
    }
    let while_used = shards.in_process(daemon.id().unwrap()).unwrap();

    caller.change("raw/known", UseChange::Retire).await.unwrap();
    caller.change("raw/known", UseChange::Destroy).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let key = || tokio::task::block_in_place(|| runtime.block_on(caller.get("raw/known")));
    until("the destruction", Duration::from_secs(30), || Ok((key()?.r#use() == Use::Destroyed).then_some(()))).unwrap();
    caller.rotate_kek().await.unwrap();
    assert!(!key().unwrap().shred_pending, "a rotation ends the shredding");

    let workers = daemon.workers().unwrap();
    assert!(!workers.is_empty());
    Traces {
        daemon: while_used + shards.in_process(daemon.id().unwrap()).unwrap(),
        worker: workers.iter().map(|pid| shards.in_process(*pid).unwrap()).sum(),
        files: shards.in_files(daemon.directory()).unwrap(),
    }
}

/// Where shards of the key were found.
#[derive(Debug)]
struct Traces {
    daemon: usize,
    worker: usize,
    files: Vec<String>,
}

/// Bytes of the public key that are in the imported form, too; for Ed25519 there are none, and the seed says enough.
fn public(known: &Known) -> Vec<u8> {
    match known.algorithm {
        Algorithm::EcdsaP256Sha256 => known.import[32..].to_vec(),
        // Where the modulus begins: version, algorithm, and the tags around it.
        Algorithm::Rsa3072Pkcs1Sha256 => known.import[60..300].to_vec(),
        _ => Vec::new(),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

fn program(name: &str, feature: &str) -> String {
    ours(name).unwrap_or_else(|_| {
        panic!("missing: {name}. Build it: cargo build --locked -p trustd --features {feature} --bin {name}")
    });
    name.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_key_is_in_no_memory_and_no_file_and_never_was_in_the_daemon() {
    let program = program("trustd-known-key", "test-import");
    for known in [ed25519(), ecdsa(), rsa()] {
        let traces = traces(&program, &known).await;

        assert!(
            traces.daemon == 0 && traces.worker == 0 && traces.files.is_empty(),
            "{:?}: {traces:?}",
            known.algorithm
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_leaks_is_found_out() {
    let program = program("trustd-leaking", "test-leak");
    for known in [ed25519(), ecdsa(), rsa()] {
        let traces = traces(&program, &known).await;

        assert!(traces.worker > 0, "{:?}: the look does not find what was leaked", known.algorithm);
        assert!(traces.daemon == 0 && traces.files.is_empty(), "{:?}: {traces:?}", known.algorithm);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_program_takes_no_key_from_a_file() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let file = daemon.data().join("kek/import.key");
    std::fs::write(&file, Sha256Digest::of(b"a key that nobody asked for").as_bytes()).unwrap();

    daemon.caller().await.unwrap().create("raw/one").await.unwrap();

    assert!(Path::new(&file).exists(), "it was read");
}

/// A PIN that nothing else contains, long enough to be looked for.
fn a_long_pin() -> String {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).unwrap();
    Sha256Digest::of(&bytes).to_hex()[..40].to_owned()
}

/// Makes a key in the token and uses it; how often the PIN stands in the memory of daemon and workers, and in which of
/// the daemon's files.
async fn pin_traces(daemon: &Daemon, pin: &str) -> (usize, usize, Vec<String>) {
    let user = daemon.user().unwrap();
    until("the token", Duration::from_secs(60), || {
        Ok(user.run(&["status"])?.stdout.contains("hsm: ready").then_some(()))
    })
    .unwrap();
    user.run(&["key", "create", "raw/in-token", "--purpose", "raw", "--token", "hsm"]).unwrap().ok().unwrap();
    daemon.caller().await.unwrap().sign("raw/in-token", b"a message").await.unwrap();
    let shards = Shards::of(&[pin]);
    let workers = daemon.workers().unwrap();
    assert!(workers.len() > 1, "{workers:?}");
    (
        shards.in_process(daemon.id().unwrap()).unwrap(),
        workers.iter().map(|pid| shards.in_process(*pid).unwrap()).sum(),
        shards.in_files(daemon.directory()).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_in_no_readable_memory_and_in_no_file_but_its_own() {
    let token = Token::new().unwrap();
    let pin = a_long_pin();
    token.pkcs11_tool(&["--change-pin", "--new-pin", &pin]).unwrap().ok().unwrap();
    token.write_pin(&pin, 0o600).unwrap();
    let setup = Setup { policy: Setup::ALLOW_ALL.to_owned(), ..token.setup() };

    let found = Shards::of(&[&pin]).in_files(token.path("pin").parent().unwrap()).unwrap();
    assert_eq!(found, [token.path("pin").display().to_string()], "the look finds it where it is");

    let daemon = Daemon::with(&setup).unwrap();
    assert_eq!(pin_traces(&daemon, &pin).await, (0, 0, Vec::new()), "from a file");
    drop(daemon);

    // Given over the socket, the daemon keeps it for as long as it lives.
    let without = setup.more.lines().filter(|line| !line.starts_with("pin_file")).collect::<Vec<_>>().join("\n");
    let daemon = Daemon::with(&Setup { more: without, ..setup }).unwrap();
    let user = daemon.user().unwrap();
    let file = token.path("pin").display().to_string();
    user.run(&["hsm", "login", "hsm", "--pin-file", &file]).unwrap().ok().unwrap();
    assert_eq!(pin_traces(&daemon, &pin).await, (0, 0, Vec::new()), "from a person");
}
