//! The story with keys that never leave a PKCS#11 token: an image pushed and pulled, a release signed, both checked by
//! the programs of strangers; and what a token that goes away costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tonic::transport::Channel;
use trust::Sha256Digest;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::v1::statement::Kind;
use trust_proto::v1::{BlobStatement, SignRequest, Statement};
use trust_tests::http::{free_address, http};
use trust_tests::token::Token;
use trust_tests::{Daemon, Engine, Registry, Setup, Shell, Trustctl, wait};

fn create(user: &Trustctl, name: &str, more: &[&str]) {
    user.run(&[&["key", "create", name], more].concat()).unwrap().ok().unwrap();
}

/// Every private key in the token: how many, each made there and never to come out.
fn assert_that_no_key_can_leave(token: &Token, keys: usize) {
    let listed = token.pkcs11_tool(&["--list-objects", "--type", "privkey"]).unwrap().ok().unwrap().stdout;

    assert_eq!(listed.matches("Private Key Object").count(), keys, "{listed}");
    let access = "Access:     sensitive, always sensitive, never extractable, local";
    assert_eq!(listed.matches(access).count(), keys, "{listed}");
}

#[test]
fn an_image_signed_in_the_token_is_pulled_and_verified_by_cosign() {
    let (token, registry) = (Token::new().unwrap(), Registry::debian().unwrap());
    let daemon = Daemon::with(&token.setup()).unwrap();
    let engine = Engine::docker().unwrap();
    let user = daemon.user().unwrap().using(&engine);
    let (app, image) = (registry.reference("team/app"), registry.reference("team/app:1.0"));
    create(&user, "app", &["--purpose", "image", "--scope", &app, "--token", "hsm"]);
    let pem = user.run(&["key", "public", "app"]).unwrap().ok().unwrap().stdout;
    let key = user.write("app.pub", pem.as_bytes()).unwrap();
    user.run(&["pin", "add", &app, "--public-key", "app.pub"]).unwrap().ok().unwrap();
    engine.build(&image, "hello from a key in a token").unwrap();

    user.run(&["push", &image]).unwrap().ok().unwrap();

    engine.forget(&image).unwrap();
    user.run(&["pull", &image]).unwrap().ok().unwrap();
    let cosign = trust_tests::peer::Cosign::three().unwrap();
    cosign.verify(&key, &image, &[]).unwrap().ok().unwrap();
    let unsigned = registry.reference("team/app:2.0");
    engine.build(&unsigned, "hello from nobody").unwrap();
    engine.cli(&["push", &unsigned]).unwrap().ok().unwrap();
    assert_ne!(user.run(&["pull", &unsigned]).unwrap().code, Some(0));
    assert_ne!(cosign.verify(&key, &unsigned, &[]).unwrap().code, Some(0));
    assert_that_no_key_can_leave(&token, 1);
}

/// What a stranger types, with everybody's tools; each line accepts the release and refuses it when it was changed.
const CHECKS: [&str; 6] = [
    "cosign verify-blob --key release.pub --bundle dist/SHA256SUMS.sigstore.json --insecure-ignore-tlog=true dist/SHA256SUMS",
    "cosign verify-blob --key blobs.pub --bundle dist/app.tar.sigstore.json --insecure-ignore-tlog=true dist/app.tar",
    "openssl base64 -d -A -in dist/app.tar.sig -out file.raw && openssl dgst -sha256 -verify blobs.pub -signature file.raw dist/app.tar",
    "ssh-keygen -Y verify -f allowed_signers -I acme -n file -s dist/app.tar.sshsig < dist/app.tar",
    "cd dist && sha256sum -c --strict SHA256SUMS",
    "trustctl release verify dist --public-key release.pub --blob-public-key blobs.pub --version 1.0",
];
const MINISIGN: &str = "minisign -V -H -p minisign.pub -m dist/app.tar";

#[test]
fn a_release_signed_in_the_token_is_verified_by_strangers() {
    let token = Token::new().unwrap();
    let daemon = Daemon::with(&token.setup()).unwrap();
    for (algorithm, more) in [("ed25519", &[MINISIGN][..]), ("ecdsa-p256-sha256", &[])] {
        let shell = Shell::of(daemon.user().unwrap()).unwrap();
        let user = &shell.user;
        let (release, blobs) = (format!("{algorithm}/release"), format!("{algorithm}/blobs"));
        create(user, &release, &["--purpose", "release-statement", "--algorithm", algorithm, "--token", "hsm"]);
        create(user, &blobs, &["--purpose", "release-blob", "--token", "hsm"]);
        std::fs::create_dir(user.file("dist")).unwrap();
        user.write("dist/app.tar", b"an archive\n").unwrap();
        user.write("dist/notes.txt", b"what is new\n").unwrap();
        let public = format!(
            "trustctl key public {release} > release.pub\ntrustctl key public {blobs} > blobs.pub\n\
             printf 'acme namespaces=\"file\" %s\\n' \"$(trustctl key public {release} --format openssh)\" > allowed_signers\n"
        );
        shell.run("cosign3", &public).unwrap().ok().unwrap();
        if !more.is_empty() {
            let minisign = format!("trustctl key public {release} --format minisign > minisign.pub");
            shell.run("cosign3", &minisign).unwrap().ok().unwrap();
        }

        let sign = ["release", "sign", "dist", "--key", &release, "--blob-key", &blobs, "--version", "1.0"];
        user.run(&sign).unwrap().ok().unwrap();

        let checks: Vec<&str> = CHECKS.iter().chain(more).copied().collect();
        for check in &checks {
            shell.run("cosign3", check).unwrap().ok().unwrap();
        }
        user.write("dist/app.tar", b"another archive\n").unwrap();
        user.write("dist/SHA256SUMS", b"another list\n").unwrap();
        for check in &checks {
            assert_ne!(shell.run("cosign3", check).unwrap().code, Some(0), "{algorithm}: {check}");
        }
    }
    assert_that_no_key_can_leave(&token, 4);
}

/// What the clients with one key saw.
#[derive(Default)]
struct Seen {
    signed: AtomicU64,
    refused: AtomicU64,
    /// The longest wait for a refusal, in ms.
    slowest_refusal_ms: AtomicU64,
    /// Answers that a token that is away is no reason for.
    wrong: Mutex<Vec<tonic::Status>>,
}

impl Seen {
    fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    /// Signs until it is told to stop.
    async fn sign(&self, channel: Channel, key: &str, stop: &AtomicBool) {
        let mut client = SigningClient::new(channel);
        while !stop.load(Ordering::Relaxed) {
            let sha256 = Sha256Digest::of(&self.signed().to_le_bytes()).as_bytes().to_vec().into();
            let blob = BlobStatement { sha256, name: "app.tar".to_owned(), size: 8 };
            let statement = Some(Statement { kind: Some(Kind::Blob(blob)) });
            let request = SignRequest { key: key.to_owned(), statement, ..SignRequest::default() };
            let (took, answer) = timed(client.sign(request)).await;
            match answer {
                Ok(_) => {
                    self.signed.fetch_add(1, Ordering::Relaxed);
                }
                Err(status) if status.code() != tonic::Code::Unavailable => {
                    return self.wrong.lock().unwrap().push(status);
                }
                Err(_) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    self.slowest_refusal_ms.fetch_max(u64::try_from(took.as_millis()).unwrap(), Ordering::Relaxed);
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a real program runs in real time")]
async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let start = std::time::Instant::now();
    let result = work.await;
    (start.elapsed(), result)
}

const SOON: Duration = Duration::from_secs(60);
/// The number: long enough for every limit between daemon and token to be reached.
const AWAY: Duration = Duration::from_secs(30);

/// What nobody notices but whoever asks for its keys: software keys sign on, and status, health and metrics say it.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_gone_for_half_a_minute_under_load_comes_back_without_a_restart() {
    let (token, address) = (Token::new().unwrap(), free_address().unwrap());
    let setup = token.setup();
    // The table of the token comes last: what is before it is the daemon's own.
    let daemon = Daemon::with(&Setup { more: format!("metrics = \"{address}\"\n{}", setup.more), ..setup }).unwrap();
    let user = daemon.user().unwrap();
    create(&user, "hard", &["--purpose", "release-blob", "--token", "hsm"]);
    create(&user, "soft", &["--purpose", "release-blob"]);
    let pid = daemon.id().unwrap();
    let status = || user.run(&["status"]).unwrap().stdout;
    let says =
        |page: &str, state: &str| page.contains(&format!("trustd_token_state{{token=\"hsm\",state=\"{state}\"}} 1\n"));
    let (hard, soft): (&Seen, &Seen) = (Box::leak(Box::default()), Box::leak(Box::default()));
    let stop: &AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let mut clients = Vec::new();
    for (seen, key) in [(hard, "hard"), (hard, "hard"), (hard, "hard"), (soft, "soft"), (soft, "soft")] {
        let channel = daemon.channel().await.unwrap();
        clients.push(tokio::spawn(async move { seen.sign(channel, key, stop).await }));
    }
    tokio::task::block_in_place(|| {
        let until = |what: &str, done: &dyn Fn() -> bool| {
            wait::until(what, SOON, || Ok(done().then_some(()))).unwrap();
        };
        let more = |seen: &'static Seen, what: &str| {
            let before = seen.signed();
            until(what, &|| seen.signed() > before);
        };
        more(hard, "the token's key signs");
        assert!(says(&http(address, "GET /metrics HTTP/1.1").unwrap(), "ready") && status().contains("hsm: ready"));

        token.take_away().unwrap();
        until("status names the token", &|| status().contains("hsm: unavailable"));
        until("so do the metrics", &|| says(&http(address, "GET /metrics HTTP/1.1").unwrap(), "unavailable"));
        assert!(http(address, "GET /metrics HTTP/1.1").unwrap().contains("trustd_trouble{kind=\"token\"} 1\n"));
        assert!(status().contains("a token does not serve"));
        let refused = || hard.refused.load(Ordering::Relaxed);
        let before = refused();
        until("those that were under way have ended", &|| refused() > before + 10);
        let (signed, before) = (hard.signed(), refused());
        wait::throughout("the token stays away and software keys sign", AWAY, || {
            more(soft, "the software key signs");
            Ok(says(&http(address, "GET /metrics HTTP/1.1").unwrap(), "unavailable"))
        })
        .unwrap();
        assert_eq!(hard.signed(), signed, "something signed with a key that was not there");
        assert!(refused() > before);

        token.put_back().unwrap();
        more(hard, "the token's key signs again");
        until("status says so", &|| status().contains("hsm: ready") && status().contains("serving"));
        until("and the metrics", &|| {
            http(address, "GET /metrics HTTP/1.1").unwrap().contains("trustd_trouble{kind=\"token\"} 0\n")
        });
        assert!(says(&http(address, "GET /metrics HTTP/1.1").unwrap(), "ready"));
    });
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }

    for seen in [hard, soft] {
        let wrong = seen.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{wrong:?}\n{}", daemon.log());
    }
    assert_eq!(daemon.id().unwrap(), pid);
    assert_eq!(soft.refused.load(Ordering::Relaxed), 0, "a software key waited for the token");
    // Nobody waits for a module's own timeouts: `hang_after_ms` is 10 s.
    let slowest = hard.slowest_refusal_ms.load(Ordering::Relaxed);
    assert!(slowest < 15_000, "a refusal took {slowest} ms");
    user.run(&["audit", "verify"]).unwrap().ok().unwrap();
}
