//! Verification in memory that does not grow: neither with the items of a stream nor with the keys that come and go.
//!
//! `TRUSTD_TEST_LONG=1` makes a hundred million items of a million.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "verifying/signed.rs"]
#[allow(dead_code, reason = "it serves several tests")]
mod signed;

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::Duration;

use signed::{metric, sign};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use trust::{PublicKey, Sha256Digest};
use trust_proto::v1;
use trust_proto::v1::verification_client::VerificationClient;
use trust_proto::v1::{Algorithm, BatchKey, VerifyBatchRequest, batch_key, verify_batch_request};
use trust_tests::http::free_address;
use trust_tests::rounds::rounds;
use trust_tests::rpc::{Method, post_frames};
use trust_tests::wait::until;
use trust_tests::{Daemon, Setup, Trustctl};

/// Items of a message.
const ITEMS: usize = 4000;
/// What may come on top of the memory of the beginning, in KiB: pools of the allocator, not items. A million items are
/// some 100 MiB by themselves.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

fn total_items() -> usize {
    rounds(1_000_000, 100_000_000)
}

/// What a process has in memory now, in KiB; zero of one that is gone.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}

fn items32(messages: Vec<u8>, signatures: Vec<u8>, keys: Vec<BatchKey>) -> VerifyBatchRequest {
    VerifyBatchRequest {
        keys,
        messages: Some(verify_batch_request::Messages::Items32(messages.into())),
        signatures: signatures.into(),
        ..VerifyBatchRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_million_items_takes_no_more_memory_than_its_beginning() {
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    let signed = sign(&channel, "raw/one", Algorithm::Ed25519, ITEMS).await;
    let request = items32(
        signed.messages.concat(),
        signed.signatures.iter().flat_map(|signature| signature.to_vec()).collect(),
        Vec::new(),
    );
    let key = BatchKey { kind: Some(batch_key::Kind::Key("raw/one".to_owned())) };
    let messages = total_items() / ITEMS;
    let (sender, sent) = mpsc::channel(1);
    tokio::spawn(async move {
        for number in 0..messages {
            let keys = if number == 0 { vec![key.clone()] } else { Vec::new() };
            if sender.send(VerifyBatchRequest { keys, ..request.clone() }).await.is_err() {
                return;
            }
        }
    });
    let pid = daemon.id().unwrap();
    let mut answers =
        VerificationClient::new(channel).verify_stream(ReceiverStream::new(sent)).await.unwrap().into_inner();
    let (mut at_first, mut most, mut answered) = (0, 0, 0);

    while let Some(answer) = answers.message().await.unwrap() {
        assert!(answer.failures.is_empty(), "message {answered}");
        answered += 1;
        let now = resident_kib(pid);
        if answered <= messages / 5 { at_first = now.max(at_first) } else { most = now.max(most) }
    }

    assert_eq!(answered, messages);
    assert!(at_first > 0 && most <= at_first + GROWTH_KIB_MAX, "{at_first} KiB at first, then {most} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_keys_in_turn_are_not_all_prepared() {
    const KEYS: usize = 100;
    const TABLES: usize = 32;
    // As many as a key needs to be prepared at once.
    const ITEMS_OF_EACH: usize = 64;
    let address = free_address().unwrap();
    let more = format!("metrics = \"{address}\"\n[limits]\nverify_tables_max = {TABLES}\n");
    let daemon = Daemon::with(&Setup { more, ..Setup::allowing_raw() }).unwrap();
    let pid = daemon.id().unwrap();
    let mut client = VerificationClient::new(daemon.channel().await.unwrap());
    // About half of all numbers are points.
    let mut keys = (0_u32..)
        .filter_map(|number| PublicKey::from_ed25519_bytes(Sha256Digest::of(&number.to_be_bytes()).as_bytes()).ok());
    // s is 1: small enough to be one, so that the whole equation is computed.
    let signature: Vec<u8> = [&[7; 32][..], &[1], &[0; 31]].concat();
    let prepared = |name: &str| metric(address, name).parse::<usize>().unwrap();
    let (mut at_first, mut most) = (0, 0);
    for round in 0..10_000 / KEYS {
        let items = KEYS * ITEMS_OF_EACH;
        let wire = keys.by_ref().take(KEYS).map(|key| {
            let algorithm = Algorithm::Ed25519.into();
            let key = v1::PublicKey { algorithm, spki_der: key.spki_der().to_vec().into() };
            BatchKey { kind: Some(batch_key::Kind::PublicKey(key)) }
        });
        let mut request = items32(vec![5; 32 * items], signature.repeat(items), wire.collect());
        request.key_indexes = (0..u32::try_from(KEYS).unwrap()).flat_map(|key| [key; ITEMS_OF_EACH]).collect();

        let answer = client.verify_batch(request).await.unwrap().into_inner();

        assert_eq!(answer.failures.len(), items);
        assert!(prepared("trustd_prepared_keys") <= TABLES);
        assert!(prepared("trustd_prepared_bytes") <= TABLES * trust::verify::batch::Table::BYTES);
        let now = resident_kib(pid);
        if round < 20 { at_first = now.max(at_first) } else { most = now.max(most) }
    }

    // They were prepared in turn, thousands of times 387 KiB.
    assert!(prepared("trustd_key_preparations_total") > 2000);
    assert!(most <= at_first + GROWTH_KIB_MAX, "{at_first} KiB at first, then {most} KiB");
}

/// The most that a process ever had in memory, in KiB.
fn most_resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}

/// As a field of a message that says its length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut field).unwrap();
    [&field, bytes].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_short_on_the_wire_and_long_in_memory_is_refused_before_it_is_read() {
    const BYTES: usize = 8 * 1024 * 1024 - 64;
    let daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let (pid, channel) = (daemon.id().unwrap(), daemon.channel().await.unwrap());
    let method =
        |service: &str, name: &str| Method { service: service.to_owned(), name: name.to_owned(), names_key: true };
    let ends = vec![0; BYTES];
    // As long as the hostile ones, and short once it is read: what a request of such a length takes by itself.
    let honest = field(3, &ends);
    let verify = [field(2, &ends), field(4, &field(2, &ends)), field(6, &ends), [1 << 3 | 2, 0].repeat(BYTES / 2)];
    // Statements of nothing, files of nothing, and one form again and again.
    let nothing = [1 << 3 | 2, 0].repeat(BYTES / 2 - 8);
    let sign = [field(2, &nothing), field(6, &nothing), field(4, &ends), field(6, &field(4, &ends[8..]))];
    let methods = [
        ("Verification", "VerifyBatch", &verify),
        ("Verification", "VerifyStream", &verify),
        ("Signing", "SignBatch", &sign),
    ];
    let ask = async |service: &str, name: &str, message: &[u8]| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        post_frames(&channel, &method(service, name), [&[0][..], &length, message].concat()).await.unwrap()
    };
    // As often, because each thread keeps some of what it had.
    for (service, name, hostile) in methods {
        for _ in hostile {
            assert_eq!(ask(service, name, &honest).await.code, Code::InvalidArgument);
        }
    }
    let before = most_resident_kib(pid);

    for (service, name, hostile) in methods {
        for message in hostile {
            let answer = ask(service, name, message).await;
            assert_eq!(answer.code, Code::InvalidArgument, "{name}: {}", answer.message);
            let is_counted =
                ["items: ", "keys: ", "release: ", "forms: "].iter().any(|word| answer.message.starts_with(word));
            assert!(is_counted, "{name}: {}", answer.message);
        }
    }

    // A key of theirs would take some fifty bytes, and a statement more: 200 MiB together.
    let after = most_resident_kib(pid);
    assert!(after <= before + 2 * GROWTH_KIB_MAX, "{before} KiB before, then {after} KiB");
}

#[test]
fn a_batch_of_a_million_items_is_verified_here_in_memory_that_does_not_grow() {
    let user = Trustctl::new().unwrap();
    // The item of docs/verify.md, again and again.
    user.write("k.pub", signed::SAMPLE_KEY.as_bytes()).unwrap();
    let record = [hex(signed::SAMPLE_ITEM), hex(signed::SAMPLE_SIGNATURE)].concat();
    let mut command = user.command(&["verify", "--batch", "-", "--public-key", "k.pub", "--output", "json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, pid) = (child.stdin.take().unwrap(), child.id());
    let writer = std::thread::spawn(move || {
        stdin.write_all(&[&b"trustdv1"[..], &1_u32.to_le_bytes(), &64_u32.to_le_bytes()].concat()).unwrap();
        let many = record.repeat(1000);
        let (mut at_first, mut most) = (0, 0);
        for round in 0..total_items() / 1000 {
            stdin.write_all(&many).unwrap();
            let now = resident_kib(pid);
            if round < 200 { at_first = now.max(at_first) } else { most = now.max(most) }
        }
        (at_first, most)
    });

    let ended = until("the batch is verified", Duration::from_secs(7200), || Ok(child.try_wait()?)).unwrap();

    let (at_first, most) = writer.join().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(ended.success(), "{text}");
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["valid"], total_items(), "{text}");
    assert!(at_first > 0 && most <= at_first + GROWTH_KIB_MAX, "{at_first} KiB at first, then {most} KiB");
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
