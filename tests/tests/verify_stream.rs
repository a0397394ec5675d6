//! Signatures without end over one call: answers in order, nothing read that cannot be worked at, and every end documented.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "verify_stream/asking.rs"]
mod asking;
#[path = "verifying/signed.rs"]
#[allow(dead_code, reason = "it serves several tests")]
mod signed;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message as _;
use prost::bytes::Bytes;
use tonic::Code;
use trust_proto::v1::{
    Algorithm, PackedMessages, VerifyBatchRequest, VerifyBatchResponse, VerifyFailure, verify_batch_request,
};
use trust_tests::raw::Caller;
use trust_tests::rpc::{Method, post_frames};
use trust_tests::wait::until;

use asking::{LONG, Scene, Stream, ask_all, kept, message, naming};
use signed::{sign, slow, verdicts};

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_answered_in_its_turn_whatever_its_length_and_keys() {
    // A budget that two messages fill: the others wait their turn, and lose nothing.
    let scene = Scene::with("verify_items_max = 3000\nverify_items_at_work_max = 3000\n").await;
    let other = sign(&scene.channel, "raw/p256", Algorithm::EcdsaP256Sha256, 50).await;
    let lengths = [1, 3000, 7, 8, 9, 1023, 1024, 1025, 1, 2999, 64, 1];
    let is_broken = |item: usize| item % 997 == 3;
    let (mut messages, mut expected, mut from) = (Vec::new(), Vec::new(), 0);
    for (number, items) in (0..40).zip(lengths.into_iter().cycle()) {
        let message = message(&scene.signed, from, items, is_broken);
        // The key is named once, and again after the message of another key.
        messages.push(if number % 10 == 0 { naming("raw/one", message) } else { message });
        expected.push((from..from + items).map(|item| is_broken(item).then_some(VerifyFailure::Wrong)).collect());
        from += items;
        if number % 10 == 9 {
            let signatures: Vec<&[u8]> = other.signatures.iter().map(|signature| &signature[..]).collect();
            let ends = |lengths: &mut dyn Iterator<Item = usize>| -> Vec<u32> {
                lengths
                    .scan(0, |end, length| {
                        *end += length;
                        Some(u32::try_from(*end).unwrap())
                    })
                    .collect()
            };
            messages.push(VerifyBatchRequest {
                keys: vec![kept("raw/one"), kept("raw/p256")],
                key_indexes: vec![1; 50],
                messages: Some(verify_batch_request::Messages::Packed(PackedMessages {
                    bytes: other.messages.concat().into(),
                    ends: ends(&mut other.messages.iter().map(|message| message.len())),
                })),
                signature_ends: ends(&mut signatures.iter().map(|signature| signature.len())),
                signatures: signatures.concat().into(),
            });
            expected.push(vec![None; 50]);
        }
    }

    // Two streams of one principal at once share its budget.
    let (one, two) = tokio::join!(ask_all(&scene.channel, messages.clone()), ask_all(&scene.channel, messages));

    for (answers, end) in [one, two] {
        end.unwrap();
        assert_eq!(answers.len(), expected.len());
        for (number, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
            assert_eq!(&verdicts(answer, expected.len()), expected, "message {number}");
        }
    }
    let failed: usize = 2 * (0..from).filter(|item| is_broken(*item)).count();
    assert_eq!(scene.metric("trustd_verified_items_total{verdict=\"wrong\"}"), failed);
    assert_eq!(scene.metric("trustd_verified_items_total{verdict=\"valid\"}"), 2 * (from + 200) - failed);
    assert_eq!(scene.metric("trustd_verify_streams_total{answer=\"ok\"}"), 2);
    assert_eq!(scene.metric("trustd_verify_streams_open"), 0);
    assert_eq!(scene.metric("trustd_verify_items_at_work"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_ends_the_stream_and_the_answers_before_it_stand() {
    let scene = Scene::with("verify_items_max = 100\nverify_items_at_work_max = 100\n").await;
    let good = |from| naming("raw/one", message(&scene.signed, from, 100, |item| item == from + 1));
    type Change = fn(&mut VerifyBatchRequest);
    let changes: [(&str, Code, Change); 13] = [
        ("no items", Code::InvalidArgument, |bad| {
            bad.messages = Some(verify_batch_request::Messages::Items32(Bytes::new()));
        }),
        ("no messages", Code::InvalidArgument, |bad| bad.messages = None),
        ("a ragged item", Code::InvalidArgument, |bad| {
            bad.messages = Some(verify_batch_request::Messages::Items32(vec![0; 31].into()));
        }),
        ("a ragged signature", Code::InvalidArgument, |bad| bad.signatures = vec![0; 6399].into()),
        ("a quarter of the signatures", Code::InvalidArgument, |bad| bad.signatures.truncate(25 * 64)),
        ("an end that falls", Code::InvalidArgument, |bad| bad.signature_ends = vec![64, 63]),
        ("ends of messages that fall", Code::InvalidArgument, |bad| {
            let ends = (0..100).map(|item| if item == 50 { 0 } else { (item + 1) * 32 }).collect();
            let packed = PackedMessages { bytes: vec![0; 3200].into(), ends };
            bad.messages = Some(verify_batch_request::Messages::Packed(packed));
        }),
        ("keys for another number of items", Code::InvalidArgument, |bad| bad.key_indexes = vec![0; 99]),
        ("too many keys", Code::InvalidArgument, |bad| bad.keys = vec![kept("raw/one"); 4097]),
        ("more ends than any daemon takes", Code::InvalidArgument, |bad| bad.signature_ends = vec![0; 1_000_001]),
        ("an index without a key", Code::InvalidArgument, |bad| bad.key_indexes = vec![1; 100]),
        ("too many items", Code::InvalidArgument, |bad| {
            bad.messages = Some(verify_batch_request::Messages::Items32(vec![0; 32 * 101].into()));
            bad.signatures = vec![0; 64 * 101].into();
        }),
        ("a key that is not there", Code::NotFound, |bad| bad.keys = vec![kept("raw/none")]),
    ];
    for (what, code, change) in changes {
        let mut bad = good(200);
        change(&mut bad);

        let (answers, end) = ask_all(&scene.channel, vec![good(0), good(100), bad, good(300)]).await;

        assert_eq!(answers.len(), 2, "{what}");
        for answer in &answers {
            let failed: Vec<usize> =
                verdicts(answer, 100).iter().enumerate().filter_map(|(at, verdict)| verdict.map(|_| at)).collect();
            assert_eq!(failed, [1], "{what}");
        }
        assert_eq!(end.unwrap_err().code(), code, "{what}");
    }
    let (answers, end) = ask_all(&scene.channel, vec![message(&scene.signed, 0, 1, |_| false)]).await;
    assert!(answers.is_empty());
    assert_eq!(end.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(ask_all(&scene.channel, Vec::new()).await.1.map_err(|status| status.code()), Ok(()));
    assert_eq!(scene.metric("trustd_verify_streams_total{answer=\"malformed\"}"), 13);
    assert_eq!(scene.metric("trustd_verify_streams_total{answer=\"missing\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stops_in_the_middle_of_a_message_says_so_after_its_answers() {
    let scene = Scene::with("message_kib_max = 64\n").await;
    let method = Method { service: "Verification".to_owned(), name: "VerifyStream".to_owned(), names_key: true };
    let good = naming("raw/one", message(&scene.signed, 0, 10, |_| false)).encode_to_vec();
    let frame = |flag: u8, length: usize, bytes: &[u8]| {
        [&[flag][..], &u32::try_from(length).unwrap().to_be_bytes(), bytes].concat()
    };
    let whole = frame(0, good.len(), &good);
    for (what, rest) in [
        ("half a message", whole[..whole.len() / 2].to_vec()),
        ("half a head", whole[..3].to_vec()),
        ("a message that is too long", frame(0, 65 * 1024, &good)),
        ("a message that is compressed", frame(1, good.len(), &good)),
        ("a message of something else", frame(0, 3, &[0xff; 3])),
    ] {
        let answer = post_frames(&scene.channel, &method, [whole.clone(), whole.clone(), rest].concat()).await.unwrap();

        assert_eq!(answer.bodies.len(), 2, "{what}: {answer:?}");
        let first = VerifyBatchResponse::decode(answer.bodies[1].clone()).unwrap();
        assert_eq!(verdicts(&first, 10), vec![None; 10], "{what}");
        assert_eq!(answer.code, Code::InvalidArgument, "{what}: {answer:?}");
    }
    // Far longer than one message may be, all of them together.
    let all: Vec<u8> = std::iter::repeat_n(&whole, 500).flatten().copied().collect();
    let answer = post_frames(&scene.channel, &method, all).await.unwrap();
    assert_eq!((answer.code, answer.bodies.len()), (Code::Ok, 500), "{}", answer.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_reads_no_answers_is_not_read_from_either() {
    const MESSAGES: usize = 300;
    let scene = Scene::with("").await;
    let Stream { messages, mut answers } = Stream::open(&scene.channel).await.unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    // Every item fails, so that each answer is long; and without arithmetic, so that it is there soon.
    Caller::new(scene.channel.clone()).distrust("raw/one").await.unwrap();
    let all = message(&scene.signed, 0, 4000, |_| false);
    let sender = {
        let (sent, all) = (Arc::clone(&sent), naming("raw/one", all));
        tokio::spawn(async move {
            for _ in 0..MESSAGES {
                messages.send(all.clone()).await.unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
        })
    };

    let (mut last, mut same) = (0, 0);
    until("the sender waits", LONG, || {
        let now = sent.load(Ordering::Relaxed);
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
        // As often as it is asked in some seconds. One that only is slow has not sent half of it then.
        Ok((same > 600).then_some(()))
    })
    .unwrap();
    let at_rest = sent.load(Ordering::Relaxed);
    let at_work = scene.metric("trustd_verify_items_at_work");

    assert!(at_rest < MESSAGES / 2, "{at_rest} messages were taken");
    assert!(at_work <= 4 * 4000, "{at_work} items are at work");
    for number in 0..MESSAGES {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.failures.len(), 4000, "message {number}");
    }
    assert!(answers.message().await.unwrap().is_none());
    sender.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_leaves_nothing_at_work() {
    let scene = Scene::with("").await;
    let mut stream = Stream::open(&scene.channel).await.unwrap();
    stream.ask(naming("raw/one", message(&scene.signed, 0, 10, |_| false))).await.unwrap().unwrap();
    assert_eq!(scene.metric("trustd_verify_streams_open"), 1);

    drop(stream);

    until("the stream ends", LONG, || Ok((scene.metric("trustd_verify_streams_open") == 0).then_some(()))).unwrap();
    assert_eq!(scene.metric("trustd_verify_items_at_work"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_streams_no_more_is_at_work_than_their_principal_may_have() {
    let scene = Scene::with("verify_items_max = 3000\nverify_items_at_work_max = 3000\n").await;
    sign(&scene.channel, "raw/p384", Algorithm::EcdsaP384Sha256, 1).await;
    let mut callers = Vec::new();
    for _ in 0..2 {
        let Stream { messages, mut answers } = Stream::open(&scene.channel).await.unwrap();
        // Two of them fill the budget, and each stream has four of them at work.
        let all = slow("raw/p384", 1500);
        callers.push(tokio::spawn(async move { while messages.send(all.clone()).await.is_ok() {} }));
        callers.push(tokio::spawn(async move { while let Ok(Some(_)) = answers.message().await {} }));
    }
    let mut seen = 0;

    until("items are at work", LONG, || {
        let at_work = scene.metric("trustd_verify_items_at_work");
        assert!(at_work <= 3000, "{at_work} items are at work");
        seen += usize::from(at_work > 0);
        Ok((seen == 100).then_some(()))
    })
    .unwrap();

    // They hang up while there is work.
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    until("the streams end", LONG, || Ok((scene.metric("trustd_verify_streams_open") == 0).then_some(()))).unwrap();
    until("nothing is at work", LONG, || Ok((scene.metric("trustd_verify_items_at_work") == 0).then_some(()))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_faster_than_its_principals_rate_ends_and_its_answers_stand() {
    const MESSAGES: usize = 2000;
    let scene = Scene::with("rate_per_second = 1\nrate_burst = 50\n").await;
    let one = |item| naming("raw/one", message(&scene.signed, item, 1, |item| item % 2 == 1));

    let (answers, end) = ask_all(&scene.channel, (0..MESSAGES).map(one).collect()).await;

    let end = end.unwrap_err();
    assert_eq!(end.code(), Code::ResourceExhausted, "{end}");
    assert!((1..MESSAGES).contains(&answers.len()), "{} answers", answers.len());
    for (item, answer) in answers.iter().enumerate() {
        assert_eq!(verdicts(answer, 1), [(item % 2 == 1).then_some(VerifyFailure::Wrong)]);
    }
    assert_eq!(scene.metric("trustd_verify_streams_total{answer=\"busy\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_message_that_finds_the_daemon_sealed() {
    let scene = Scene::with("").await;
    let ten = || message(&scene.signed, 0, 10, |_| false);
    let mut stream = Stream::open(&scene.channel).await.unwrap();
    let before = stream.ask(naming("raw/one", ten())).await.unwrap().unwrap();
    assert_eq!(verdicts(&before, 10), vec![None; 10]);

    Caller::new(scene.channel.clone()).seal().await.unwrap();

    let refused = stream.ask(ten()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains("the daemon is sealed"), "{refused}");
    assert_eq!(scene.metric("trustd_verify_streams_total{answer=\"unavailable\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_and_the_policy_say_counts_for_the_next_message() {
    let mut scene = Scene::with("").await;
    let ten = |_: ()| message(&scene.signed, 0, 10, |_| false);
    let mut stream = Stream::open(&scene.channel).await.unwrap();
    let before = stream.ask(naming("raw/one", ten(()))).await.unwrap().unwrap();
    assert_eq!(verdicts(&before, 10), vec![None; 10]);

    Caller::new(scene.channel.clone()).distrust("raw/one").await.unwrap();

    let after = stream.ask(ten(())).await.unwrap().unwrap();
    assert_eq!(verdicts(&after, 10), vec![Some(VerifyFailure::Distrusted); 10]);

    let request = ten(());
    std::fs::write(
        scene.daemon.directory().join("policy.cedar"),
        "permit (principal, action == Action::\"read-status\", resource);",
    )
    .unwrap();
    scene.daemon.process().unwrap().signal(rustix::process::Signal::HUP);
    let handle = tokio::runtime::Handle::current();
    let denied = until("the policy counts", LONG, || {
        Ok(tokio::task::block_in_place(|| handle.block_on(stream.ask(request.clone()))).err())
    });
    assert_eq!(denied.unwrap().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_stream_and_so_does_the_daemons_end() {
    // Long enough for each call before it on a busy machine.
    let mut scene = Scene::with("request_ms_max = 10000\n").await;
    let ten = naming("raw/one", message(&scene.signed, 0, 10, |_| false));
    let mut silent = Stream::open(&scene.channel).await.unwrap();
    silent.ask(ten.clone()).await.unwrap().unwrap();

    assert_eq!(silent.answers.message().await.unwrap_err().code(), Code::DeadlineExceeded);

    let (mut talks, ends) = (Stream::open(&scene.channel).await.unwrap(), Arc::new(AtomicUsize::new(0)));
    let talking = {
        let ends = Arc::clone(&ends);
        tokio::spawn(async move {
            let mut answered = 0;
            loop {
                match talks.ask(ten.clone()).await {
                    Ok(Some(answer)) => assert_eq!(verdicts(&answer, 10), vec![None; 10]),
                    Ok(None) => panic!("an end without a word"),
                    Err(status) => return (answered, status),
                }
                answered += 1;
                ends.store(answered, Ordering::Relaxed);
            }
        })
    };
    until("it talks", LONG, || Ok((ends.load(Ordering::Relaxed) > 3).then_some(()))).unwrap();

    let ended = tokio::task::block_in_place(|| scene.daemon.terminate().unwrap());

    assert!(ended.success());
    let (answered, status) = talking.await.unwrap();
    assert!(answered > 3);
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("the daemon ends"), "{status}");
}
