//! Who may call what: docs/permissions.md against the real daemon, method by method, and D28 to the byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "access/requests.rs"]
mod requests;
#[path = "access/scene.rs"]
mod scene;
#[path = "access/table.rs"]
mod table;

use std::collections::BTreeSet;

use requests::request;
use scene::{PRINCIPALS, Scene, Transport};
use table::Cell;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;
use trust_tests::raw::Caller;
use trust_tests::rpc::{Answer, Method, call, methods};

#[test]
fn every_method_has_its_row_and_no_row_is_left_over() {
    let methods: BTreeSet<String> = methods().unwrap().iter().map(Method::label).collect();
    let rows: BTreeSet<String> = table::rows().into_keys().collect();

    assert_eq!(methods.difference(&rows).collect::<Vec<_>>(), Vec::<&String>::new(), "methods without a row");
    assert_eq!(rows.difference(&methods).collect::<Vec<_>>(), Vec::<&String>::new(), "rows without a method");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_answers_as_the_published_table_says() {
    let scene = Scene::new().await;
    let mut wrong = Vec::new();

    for transport in Transport::ALL {
        for sealed in [false, true] {
            for (column, principal) in PRINCIPALS.iter().enumerate() {
                let channel = scene.channel(transport, principal).await;
                for (number, method) in methods().unwrap().iter().enumerate() {
                    let key = format!("acme/{}-{column}-{number}-{}", transport.name(), method.name.to_lowercase());
                    scene.prepare(&key, method, sealed).await;

                    let answer = call(&channel, method, request(method, &key)).await.unwrap();

                    let cell = table::rows()[&method.label()][column + if sealed { PRINCIPALS.len() } else { 0 }];
                    if !cell.is(&answer, transport) {
                        let state = if sealed { "sealed" } else { "unsealed" };
                        let who = principal.name;
                        wrong.push(format!("{} {who} {} {state}: {answer:?}", method.label(), transport.name()));
                    }
                }
            }
        }
    }

    assert!(wrong.is_empty(), "docs/permissions.md says otherwise:\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_no_method_is_reached() {
    let scene = Scene::new().await;

    let alert = scene.alert_without_certificate().await;
    for method in methods().unwrap() {
        let words = scene.answer_without_certificate(&method).await;

        assert_eq!(words, None, "{}", method.label());
    }

    assert!(alert.contains("CertificateRequired"), "{alert}");
}

/// Calls a method about each key and hopes for the same answer.
async fn same(channel: &Channel, method: &Method, keys: [&str; 2]) -> Answer {
    let first = call(channel, method, request(method, keys[0])).await.unwrap();
    let second = call(channel, method, request(method, keys[1])).await.unwrap();
    assert_eq!(first, second, "{}: {keys:?}", method.label());
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_key_and_an_unknown_one_answer_the_same_bytes() {
    let scene = Scene::new().await;
    let id = scene.create("other/key").await.id;
    let unknown_id = "f".repeat(32);

    for sealed in [false, true] {
        scene.be(sealed).await;
        for transport in Transport::ALL {
            for principal in PRINCIPALS.iter().filter(|principal| principal.name != "admin") {
                let channel = scene.channel(transport, principal).await;
                for method in methods().unwrap().iter().filter(|method| method.names_key) {
                    let by_name = same(&channel, method, ["other/key", "other/no-such-key"]).await;
                    let by_id = same(&channel, method, [&id, &unknown_id]).await;

                    assert_eq!(by_name, by_id, "{}", method.label());
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_could_get_a_key_of_that_name_reads_that_there_is_none() {
    let scene = Scene::new().await;
    let signer = scene.channel(Transport::Socket, &PRINCIPALS[2]).await;

    for method in methods().unwrap().iter().filter(|method| method.names_key) {
        let answer = call(&signer, method, request(method, "acme/no-such-key")).await.unwrap();

        if method.name == "MaySign" {
            assert!(answer.bodies[0].ends_with(b"no such key"), "{answer:?}");
        } else {
            assert_eq!((answer.code, answer.message.as_str()), (Code::NotFound, "no such key"), "{}", method.label());
        }
    }
}

/// Rules that give a denied key away unless somebody takes care: names that may be got, though not this one; a scope
/// that is held before the policy; images allowed with any key.
const TEMPTING: &str = "
    @id(\"admin\")
    permit (principal is LocalUid, action, resource) when { principal.uid == 0 };
    permit (principal, action == Action::\"get-key\", resource) when { resource.name like \"acme/*\" };
    forbid (principal, action == Action::\"get-key\", resource)
    when { resource.algorithm == \"ed25519\" && principal is LocalUid && principal.uid != 0 };
    permit (principal, action == Action::\"sign-image\", resource) when { context.tag == \"never\" };
    permit (principal, action == Action::\"verify\", resource);
";

#[tokio::test(flavor = "multi_thread")]
async fn no_policy_makes_a_hidden_key_differ_from_one_that_is_not_there() {
    let scene = Scene::with(TEMPTING).await;
    let eve = scene.channel(Transport::Socket, &PRINCIPALS[0]).await;
    scene.create("acme/one").await;
    scene.create("other/one").await;
    scene.create_elsewhere("acme/elsewhere").await;
    scene.create_raw("acme/raw").await;
    scene.create_raw("other/raw").await;

    for method in methods().unwrap().iter().filter(|method| method.names_key) {
        for hidden in ["acme/one", "acme/elsewhere", "acme/raw"] {
            same(&eve, method, [hidden, "acme/no-such-key"]).await;
        }
        for hidden in ["other/one", "other/raw"] {
            same(&eve, method, [hidden, "other/no-such-key"]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_a_hidden_key_and_an_unknown_one_apart_as_little() {
    let scene = Scene::new().await;
    scene.create("other/key").await;
    let get = methods().unwrap().into_iter().find(|method| method.name == "GetKey").unwrap();
    let mut leaves = Vec::new();

    for (uid, key) in [(5001, "other/key"), (5002, "other/no-such-key")] {
        let channel = scene.local(uid).await;
        call(&channel, &get, request(&get, key)).await.unwrap();
        leaves.push(scene.refusal_of(&format!("uid:{uid}")).await);
    }

    for leaf in &mut leaves {
        for own in ["principal", "first", "last", "time"] {
            leaf.as_object_mut().unwrap().remove(own);
        }
    }
    assert_eq!(leaves[0], leaves[1]);
}

/// Images allowed with any key, which nobody but the administrator may get.
const BLIND: &str = "
    @id(\"admin\")
    permit (principal is LocalUid, action, resource) when { principal.uid == 0 };
    permit (principal, action == Action::\"sign-image\", resource);
    permit (principal, action == Action::\"disable-key\", resource);
    permit (principal, action == Action::\"rotate-key\", resource);
";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hidden_key_does_not_allow_reads_as_if_it_were_not_there() {
    let scene = Scene::with(BLIND).await;
    let admin = scene.local(0).await;
    let eve = scene.channel(Transport::Socket, &PRINCIPALS[0]).await;
    scene.create_raw("acme/raw").await;
    scene.create("acme/disabled").await;
    let methods = methods().unwrap();
    let of = |label: &str| methods.iter().find(|method| method.label() == label).unwrap();
    let disable = of("Keys/ChangeUse");
    let disabled = call(&admin, disable, request(disable, "acme/disabled")).await.unwrap();
    assert_eq!(disabled.code, Code::Ok, "{disabled:?}");

    for (label, hidden) in [
        ("Signing/Sign", "acme/raw"),
        ("Signing/Sign", "acme/disabled"),
        ("Signing/SignBatch", "acme/raw"),
        ("Signing/SignBatch", "acme/disabled"),
        ("Signing/MaySign", "acme/raw"),
        ("Signing/MaySign", "acme/disabled"),
        ("Keys/ChangeUse", "acme/disabled"),
        ("Keys/RotateKey", "acme/disabled"),
    ] {
        same(&eve, of(label), [hidden, "acme/no-such-key"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_does_not_allow_leaves_a_leaf() {
    let scene = Scene::new().await;
    let admin = scene.local(0).await;
    let methods = methods().unwrap();
    let of = |label: &str| methods.iter().find(|method| method.label() == label).unwrap();
    let (sign, change, distrust) = (of("Signing/Sign"), of("Keys/ChangeUse"), of("Keys/DistrustKey"));
    let (create, import, adopt) = (of("Keys/CreateKey"), of("Keys/ImportKey"), of("Keys/AdoptKey"));
    let (rotate, may) = (of("Keys/RotateKey"), of("Signing/MaySign"));
    let disabled = scene.create("acme/disabled").await.id;
    let distrusted = scene.create("acme/distrusted").await.id;
    let narrow = scene.create("acme/narrow").await.id;
    let raw = scene.create_raw("acme/raw").await.id;
    let impossible = requests::create_impossible("acme/impossible");
    for (method, key) in [(change, "acme/disabled"), (distrust, "acme/distrusted")] {
        let answer = call(&admin, method, request(method, key)).await.unwrap();
        assert_eq!(answer.code, Code::Ok, "{answer:?}");
    }
    // Asking is no attempt, and leaves nothing.
    call(&scene.local(4302).await, may, request(may, "acme/disabled")).await.unwrap();

    for (method, bytes, code, action, reason, key) in [
        (sign, request(sign, "acme/disabled"), Code::FailedPrecondition, "sign-image", "state", Some(&disabled)),
        (sign, request(sign, "acme/raw"), Code::FailedPrecondition, "sign-image", "purpose", Some(&raw)),
        (sign, requests::sign_raw_form("acme/narrow"), Code::FailedPrecondition, "sign-image", "form", Some(&narrow)),
        (change, request(change, "acme/disabled"), Code::FailedPrecondition, "disable-key", "state", Some(&disabled)),
        (rotate, request(rotate, "acme/disabled"), Code::FailedPrecondition, "rotate-key", "state", Some(&disabled)),
        (
            distrust,
            request(distrust, "acme/distrusted"),
            Code::FailedPrecondition,
            "distrust-key",
            "state",
            Some(&distrusted),
        ),
        (create, requests::create_encoded("acme/narrow"), Code::AlreadyExists, "create-key", "taken", None),
        (create, impossible, Code::FailedPrecondition, "create-key", "algorithm", None),
        (import, requests::import_encoded("acme/narrow"), Code::AlreadyExists, "import-key", "taken", None),
        (adopt, requests::adopt_encoded("acme/narrow"), Code::AlreadyExists, "adopt-key", "taken", None),
        (adopt, requests::adopt_encoded("acme/adopted"), Code::FailedPrecondition, "adopt-key", "token", None),
    ] {
        let answer = call(&admin, method, bytes).await.unwrap();
        assert_eq!(answer.code, code, "{action} {reason}: {answer:?}");

        let leaf = scene.refusal_for(action, reason).await;

        assert_eq!(leaf["principal"], "uid:0", "{leaf}");
        assert_eq!(leaf["key"].as_str(), key.map(String::as_str), "{leaf}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_one_kind_leave_a_bounded_number_of_leaves() {
    let scene = Scene::new().await;
    let stranger = scene.channel(Transport::Socket, &PRINCIPALS[0]).await;
    let status = methods().unwrap().into_iter().find(|method| method.name == "ListKeys").unwrap();
    let admin = Caller::new(scene.local(0).await);
    let before = admin.status().await.unwrap().log_size;

    for _ in 0..500 {
        let answer = call(&stranger, &status, request(&status, "")).await.unwrap();
        assert_eq!(answer.code, Code::PermissionDenied);
    }

    scene.refusal_of("uid:4242").await;
    let after = admin.status().await.unwrap().log_size;
    assert!(after - before <= 3, "500 refusals left {} leaves", after - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_holds_a_principal_to_its_rate_and_leaves_no_leaf_of_it() {
    let scene = Scene::configured("[limits]\nrate_per_second = 1\nrate_burst = 40\n").await;
    let stranger = scene.channel(Transport::Socket, &PRINCIPALS[0]).await;
    let methods = methods().unwrap();
    let list = methods.iter().find(|method| method.name == "ListKeys").unwrap();
    for _ in 0..60 {
        call(&stranger, list, request(list, "")).await.unwrap();
    }
    let admin = Caller::new(scene.local(0).await);
    let before = admin.status().await.unwrap().log_size;

    for method in &methods {
        // Tokens may have come in, and come while a busy machine answers: of many calls at once they serve only some.
        let mut calls = JoinSet::new();
        for _ in 0..20 {
            let (stranger, method) = (stranger.clone(), method.clone());
            calls.spawn(async move { call(&stranger, &method, request(&method, "acme/one")).await.unwrap() });
        }
        let answers = calls.join_all().await;
        let refused = answers.iter().find(|answer| answer.code == Code::ResourceExhausted);
        let answer = refused.unwrap_or_else(|| panic!("{}: {answers:?}", method.label()));

        assert!(answer.metadata.iter().any(|line| line.starts_with("trustd-retry-after-ms: ")), "{answer:?}");
    }

    let after = admin.status().await.unwrap().log_size;
    // Those that a token let through were denied, each kind once.
    assert!(after - before <= 10, "{} leaves", after - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_errs_denies_what_another_permits_and_is_on_record() {
    // Sound by its types; overflows for every tag but one. Cedar alone would skip the forbid, and permit.
    let policy = "
        permit (principal, action, resource);
        @id(\"errs\")
        forbid (principal, action == Action::\"sign-image\", resource)
        when { context.tag != \"fine\" && context.items * 9223372036854775807 + context.items > 0 };
    ";
    let scene = Scene::with(policy).await;
    let key = scene.create("acme/one").await;
    let admin = scene.local(0).await;

    let denied = call(&admin, &requests::sign(), requests::sign_tag("acme/one", "1.0")).await.unwrap();
    let allowed = call(&admin, &requests::sign(), requests::sign_tag("acme/one", "fine")).await.unwrap();

    assert_eq!(denied.code, Code::PermissionDenied, "{denied:?}");
    assert_eq!(allowed.code, Code::Ok, "{allowed:?}");
    let leaf = scene.refusal_of("uid:0").await;
    assert_eq!(leaf["reason"], "policy-error", "{leaf}");
    assert_eq!(leaf["key"], key.id.as_str(), "{leaf}");
    assert!(scene.log().contains("a policy that errs denies"), "{}", scene.log());
}

impl Cell {
    fn is(self, answer: &Answer, transport: Transport) -> bool {
        match self {
            Self::Yes => answer.code == Code::Ok,
            Self::No => answer.code == Code::PermissionDenied,
            Self::Nothing => answer.code == Code::NotFound,
            Self::Refused => answer.code == Code::FailedPrecondition,
            Self::Sealed => answer.code == Code::Unavailable && answer.message.contains("the daemon is sealed"),
            Self::Local => {
                answer.code == if transport == Transport::Socket { Code::Ok } else { Code::FailedPrecondition }
            }
        }
    }
}
