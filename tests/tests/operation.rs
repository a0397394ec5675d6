//! Configuration, policy and reload, as an administrator meets them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::time::Duration;

use tonic::Code;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::{Algorithm, CreateKeyRequest, Purpose};
use trust_tests::wait::until;
use trust_tests::{Daemon, Setup};

fn create(name: &str) -> CreateKeyRequest {
    CreateKeyRequest {
        name: name.to_owned(),
        purpose: Purpose::Raw.into(),
        algorithm: Algorithm::Ed25519.into(),
        ..CreateKeyRequest::default()
    }
}

/// Writes another policy and sends SIGHUP.
fn reload_policy(daemon: &mut Daemon, text: &str) {
    std::fs::write(daemon.directory().join("policy.cedar"), text).unwrap();
    daemon.process().unwrap().signal(rustix::process::Signal::HUP);
}

#[test]
fn five_faults_of_a_configuration_are_named_in_one_answer() {
    let daemon = Daemon::prepared(&Setup::default()).unwrap();
    let text = "data_directory = \"relative\"\nsocket = 7\nlog_origin = \"not a host name\"\n\
                no_such_key = true\n[tls]\nlisten = \"nowhere\"\n";
    std::fs::write(daemon.configuration(), text).unwrap();

    let ran = daemon.trustd(&["check"]).unwrap();

    assert_ne!(ran.code, Some(0), "{ran}");
    for fault in ["data_directory", "socket", "log_origin", "no_such_key", "[tls] listen"] {
        let is_named = ran.stderr.lines().any(|line| line.starts_with(&format!("  {fault}: ")));
        assert!(is_named, "{fault} is not named: {ran}");
    }
}

#[test]
fn a_daemon_without_init_does_not_start_and_names_the_remedy() {
    let daemon = Daemon::prepared(&Setup::default()).unwrap();

    let ran = daemon.trustd(&["serve"]).unwrap();

    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("trustd init"), "{ran}");
    assert!(!daemon.data().exists());
}

#[test]
fn init_refuses_a_directory_that_is_in_use() {
    let mut daemon = Daemon::start().unwrap();
    daemon.terminate().unwrap();

    let ran = daemon.trustd(&["init"]).unwrap();

    assert_ne!(ran.code, Some(0), "{ran}");
    daemon.launch().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_policy_is_kept_out_and_the_old_one_stays() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();

    reload_policy(&mut daemon, "permit(principal, action, resource) when { resource.no_such_attribute == 1 };\n");
    until("a word about the policy", Duration::from_secs(10), || {
        Ok(daemon.log().contains("no_such_attribute").then_some(()))
    })
    .unwrap();

    KeysClient::new(channel).create_key(create("raw/one")).await.unwrap();
    let started = daemon.restart().unwrap_err();
    assert!(format!("{started:#}").contains("no_such_attribute"), "{started:#}");
}

/// D10: a reload that was acknowledged is true of a key that is being made, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_waits_for_a_key_that_is_made_under_the_policy_before() {
    let setup = Setup { more: "[custody]\nhang_after_ms = 6000\n".to_owned(), ..Setup::allowing_raw() };
    let mut daemon = Daemon::with(&setup).unwrap();
    let user = daemon.caller().await.unwrap();
    let before = user.status().await.unwrap().log_size;
    daemon.stop_workers().unwrap();
    let mut keys = KeysClient::new(daemon.channel().await.unwrap());
    let making = tokio::spawn(async move { keys.create_key(create("raw/one")).await });
    while user.status().await.unwrap().log_size == before {
        tokio::task::yield_now().await;
    }
    // Its intent is durable, so it is on its way into the worker, or in it.
    tokio::time::sleep(Duration::from_millis(300)).await;

    reload_policy(&mut daemon, "forbid(principal, action, resource);\n");
    while user.get("raw/none").await.unwrap_err().code() != Code::PermissionDenied {
        tokio::task::yield_now().await;
    }
    // The new policy decides. That it is in force for everybody is said no sooner than the key was not made.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!daemon.log().contains("policy reloaded"), "{}", daemon.log());
    making.await.unwrap().unwrap_err();
    until("the reload", Duration::from_secs(10), || Ok(daemon.log().contains("policy reloaded").then_some(())))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_permits_nothing_denies_after_a_reload() {
    let mut daemon = Daemon::with(&Setup::allowing_raw()).unwrap();
    let channel = daemon.channel().await.unwrap();
    KeysClient::new(channel.clone()).create_key(create("raw/one")).await.unwrap();

    reload_policy(&mut daemon, "forbid(principal, action, resource);\n");

    let runtime = tokio::runtime::Handle::current();
    let mut keys = KeysClient::new(channel);
    let mut number = 0;
    let status = until("the denial", Duration::from_secs(10), || {
        number += 1;
        let request = keys.create_key(create(&format!("raw/after-{number}")));
        Ok(tokio::task::block_in_place(|| runtime.block_on(request)).err())
    });
    assert_eq!(status.unwrap().code(), Code::PermissionDenied);
}

#[test]
fn a_root_kek_that_others_can_read_stops_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let mut daemon = Daemon::start().unwrap();
    daemon.terminate().unwrap();
    let kek = daemon.root_kek();
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o644)).unwrap();

    let ran = daemon.trustd(&["serve"]).unwrap();

    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains(kek.to_str().unwrap()), "{ran}");
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o600)).unwrap();
    daemon.launch().unwrap();
}
