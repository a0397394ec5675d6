//! The life of a key through the real daemon: what was acknowledged is true, and what is final stays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::time::{Duration, Instant};

use tonic::Code;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::{
    Algorithm, ChangeUseRequest, CreateKeyRequest, Key, Receipt, RotateKeyRequest, SignResponse, Trust, Use, UseChange,
};
use trust_tests::raw::{Caller, create_request};
use trust_tests::wait::until;
use trust_tests::{Daemon, Setup};

async fn scene(more: &str) -> (Daemon, Caller) {
    let daemon = Daemon::with(&Setup { more: more.to_owned(), ..Setup::allowing_raw() }).unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/one").await.unwrap();
    (daemon, user)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_the_way_of_its_life_and_no_other() {
    let (_daemon, user) = scene("").await;
    let refused = |key: Result<Key, tonic::Status>| assert_eq!(key.unwrap_err().code(), Code::FailedPrecondition);

    refused(user.change("raw/one", UseChange::Enable).await);
    refused(user.change("raw/one", UseChange::Destroy).await);
    assert_eq!(user.change("raw/one", UseChange::Disable).await.unwrap().r#use(), Use::Disabled);
    refused(user.change("raw/one", UseChange::Disable).await);
    assert_eq!(user.sign("raw/one", b"no").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(user.change("raw/one", UseChange::Enable).await.unwrap().r#use(), Use::Active);
    user.sign("raw/one", b"yes").await.unwrap();
    assert_eq!(user.change("raw/one", UseChange::Retire).await.unwrap().r#use(), Use::Retired);
    refused(user.change("raw/one", UseChange::Enable).await);
    refused(user.rotate("raw/one").await);
    assert_eq!(user.change("raw/one", UseChange::Destroy).await.unwrap().r#use(), Use::DestroyScheduled);
    assert_eq!(user.change("raw/one", UseChange::CancelDestroy).await.unwrap().r#use(), Use::Retired);
    assert_eq!(user.sign("raw/one", b"no").await.unwrap_err().code(), Code::FailedPrecondition);

    // The two questions are two: a retired key's signatures still count, until it is distrusted, for good.
    assert_eq!(user.get("raw/one").await.unwrap().trust(), Trust::Trusted);
    assert_eq!(user.distrust("raw/one").await.unwrap().trust(), Trust::Distrusted);
    refused(user.distrust("raw/one").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_key_is_shred_pending_until_a_kek_rotation_and_its_row_stays() {
    let (mut daemon, user) = scene("[keys]\ndestroy_after_seconds = 0\n").await;
    let before = user.rotate("raw/one").await.unwrap();
    user.create("raw/two").await.unwrap();
    user.change("raw/one", UseChange::Retire).await.unwrap();
    user.change("raw/one", UseChange::Destroy).await.unwrap();

    let runtime = tokio::runtime::Handle::current();
    let get = || tokio::task::block_in_place(|| runtime.block_on(user.get("raw/one")));
    let gone = until("the destruction", Duration::from_secs(20), || {
        let key = get()?;
        Ok((key.r#use() == Use::Destroyed).then_some(key))
    })
    .unwrap();

    assert!(gone.shred_pending, "{gone:?}");
    assert_eq!(gone.versions, before.versions);
    user.rotate_kek().await.unwrap();
    assert!(!user.get("raw/one").await.unwrap().shred_pending);
    assert_eq!(user.create("raw/one").await.unwrap_err().code(), Code::AlreadyExists);
    daemon.restart().unwrap();
    let user = daemon.caller().await.unwrap();
    let key = user.get("raw/one").await.unwrap();
    assert_eq!((key.r#use(), key.shred_pending, key.versions.len()), (Use::Destroyed, false, 2), "{key:?}");
    assert_eq!(user.sign("raw/one", b"no").await.unwrap_err().code(), Code::FailedPrecondition);
    user.sign("raw/two", b"yes").await.unwrap();
}

type Hanging = Vec<tokio::task::JoinHandle<(Result<SignResponse, tonic::Status>, Instant)>>;

/// Stops every worker and has signs reach them, or nearly; each says when it ended.
#[expect(clippy::disallowed_methods, reason = "the order of real answers is what is tested")]
async fn signs_that_hang(daemon: &Daemon, user: &Caller) -> Hanging {
    user.sign("raw/one", b"before").await.unwrap();
    let has_grown_to = async |size: u64| {
        while user.status().await.unwrap().log_size < size {
            tokio::task::yield_now().await;
        }
    };
    // Of the log and the daemon 3, of the key and the signature 2 each.
    tokio::time::timeout(Duration::from_secs(2), has_grown_to(7)).await.unwrap();
    daemon.stop_workers().unwrap();
    let signs = (0..3_u8).map(|turn| {
        let user = user.clone();
        tokio::spawn(async move { (user.sign("raw/one", &[turn]).await, Instant::now()) })
    });
    let signs = signs.collect();
    tokio::time::timeout(Duration::from_secs(2), has_grown_to(8)).await.unwrap();
    // An intent is durable, so its sign is on its way into the worker, or in it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    signs
}

/// Each ended in time, or met the new state; how many of them had reached the worker.
async fn ended_before(signs: Hanging, acknowledged: Instant) -> usize {
    let mut hung = 0;
    for sign in signs {
        let (signed, ended) = sign.await.unwrap();
        let refused = signed.unwrap_err();
        // Those that had reached the worker ended before the acknowledgement; one that had not met the new state.
        match refused.code() {
            Code::DeadlineExceeded | Code::Unavailable => {
                hung += 1;
                assert!(ended < acknowledged + Duration::from_millis(200), "{refused:?}");
            }
            Code::FailedPrecondition | Code::Aborted => {}
            _ => panic!("{refused:?}"),
        }
    }
    hung
}

/// D10: acknowledged means true. A sign that hangs in the worker may still come out, so `disable` waits for it.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the order of two real answers is what is tested")]
async fn disable_is_acknowledged_only_after_a_sign_that_hangs_in_the_worker_has_ended() {
    let (daemon, user) = scene("[custody]\nhang_after_ms = 3000\n").await;
    let workers = daemon.workers().unwrap();
    let signs = signs_that_hang(&daemon, &user).await;

    let asked = Instant::now();
    let disabled = user.change("raw/one", UseChange::Disable).await.unwrap();
    let acknowledged = Instant::now();

    assert_eq!(disabled.r#use(), Use::Disabled);
    assert!(acknowledged - asked > Duration::from_secs(1), "it did not wait: {:?}", acknowledged - asked);
    assert!(ended_before(signs, acknowledged).await > 0, "no sign hung in the worker");
    assert_eq!(user.sign("raw/one", b"after").await.unwrap_err().code(), Code::FailedPrecondition);
    // No outcome after the one of the disable says that something was signed.
    let leaves = user.leaves(0).await.unwrap();
    let at = leaves.iter().position(|leaf| leaf["operation"] == "disable").unwrap();
    let signed = |leaf: &&serde_json::Value| leaf["kind"] == "outcome" && leaf.get("signatures").is_some();
    assert_eq!(leaves[at..].iter().filter(signed).count(), 0, "{leaves:#?}");
    assert_ne!(daemon.workers().unwrap(), workers);
}

/// D10 and D14: who asks again, because the answer was lost, hears no sooner that it is true than who asked first.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the order of real answers is what is tested")]
async fn a_disable_that_is_asked_for_again_waits_for_the_sign_that_hangs_too() {
    let (daemon, user) = scene("[custody]\nhang_after_ms = 3000\n").await;
    let channel = daemon.channel().await.unwrap();
    let disable = async || {
        let request = ChangeUseRequest {
            key: "raw/one".to_owned(),
            change: UseChange::Disable.into(),
            idempotency_key: "disable-1".to_owned(),
        };
        KeysClient::new(channel.clone()).change_use(request).await.unwrap().into_inner()
    };
    let signs = signs_that_hang(&daemon, &user).await;
    let again = async {
        // The change is committed, and nobody has heard so yet.
        while user.get("raw/one").await.unwrap().r#use() != Use::Disabled {
            tokio::task::yield_now().await;
        }
        (disable().await, Instant::now())
    };

    let (first, (again, acknowledged)) = tokio::join!(disable(), again);

    assert_eq!(again.receipt, first.receipt);
    assert!(ended_before(signs, acknowledged).await > 0, "no sign hung in the worker");
}

/// Asks four times at once, and once more; every answer is the first one's.
async fn all_get_one_answer<F: Future<Output = Result<Option<Receipt>, tonic::Status>>>(
    ask: impl Fn() -> F,
) -> Receipt {
    let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
    let mut receipts = Vec::new();
    for answer in [a, b, c, d, ask().await] {
        receipts.push(answer.unwrap().unwrap());
    }
    receipts.dedup();
    assert_eq!(receipts.len(), 1, "{receipts:?}");
    receipts.remove(0)
}

/// D14: whoever asks again before there is an answer waits for the first one's; other content is refused as ever.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_idempotency_key_that_come_at_once_get_one_answer() {
    let (daemon, user) = scene("").await;
    let channel = daemon.channel().await.unwrap();
    let keys = || KeysClient::new(channel.clone());
    let create = |name: &str| {
        let request = CreateKeyRequest {
            // It takes long enough for all of them to come while the first one is at work.
            algorithm: Algorithm::Rsa3072Pkcs1Sha256.into(),
            idempotency_key: "at-once".to_owned(),
            ..create_request(name)
        };
        let mut keys = keys();
        async move { keys.create_key(request).await.map(|answer| answer.into_inner().receipt) }
    };
    let rotate = || async {
        let request = RotateKeyRequest { key: "raw/two".to_owned(), idempotency_key: "at-once".to_owned() };
        Ok(keys().rotate_key(request).await?.into_inner().receipt)
    };
    let disable = || async {
        let request = ChangeUseRequest {
            key: "raw/two".to_owned(),
            change: UseChange::Disable.into(),
            idempotency_key: "at-once".to_owned(),
        };
        Ok(keys().change_use(request).await?.into_inner().receipt)
    };

    let created = all_get_one_answer(|| create("raw/two")).await;
    let rotated = all_get_one_answer(rotate).await;
    all_get_one_answer(disable).await;

    assert_eq!((created.key_version, rotated.key_version), (1, 2));
    assert_eq!(user.get("raw/two").await.unwrap().versions.len(), 2);
    let refused = create("raw/three").await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{refused:?}");
    let intents = user.leaves(0).await.unwrap().into_iter().filter(|leaf| leaf["kind"] == "intent");
    let mut operations: Vec<String> = intents.map(|leaf| leaf["operation"].to_string()).collect();
    operations.retain(|operation| operation != "\"unseal\"");
    assert_eq!(operations, ["\"create\"", "\"create\"", "\"rotate\"", "\"disable\""]);
}
