//! Signatures that holders of keys outside the daemon bring.

use ed25519_dalek::{Signer as _, SigningKey};
use trust::format::tuf::{Key, KeyKind};

use super::*;
use crate::publish::Brought;

/// Somebody's own key.
struct Outside {
    pair: SigningKey,
    key: Key,
}

impl Outside {
    fn new() -> Self {
        let pair = SigningKey::from_bytes(&[3; 32]);
        let key = Key::new(KeyKind::Ed25519, pair.verifying_key().as_bytes().to_vec()).unwrap();
        Self { pair, key }
    }

    /// Its signature of the one file of a proposal.
    fn signature(&self, proposal: &ShownProposal) -> Brought {
        let file = proposal.files[0].file.as_ref().unwrap();
        let signature = self.pair.sign(file.signed_bytes()).to_bytes().to_vec();
        Brought { role: qa(), key: self.key.canonical_id(), signature }
    }
}

impl Scene {
    /// All of these keys of the daemon, and one outside, have to sign for `targets/qa`.
    async fn shared_with(outside: &Outside, names: &[&str]) -> Self {
        let scene = Self::with(POLICY, |_| {}).await;
        scene.begin(GUN, Beginning::default()).await.unwrap();
        let mut keys = Vec::new();
        for name in names {
            keys.push(scene.make(name, Purpose::Delegation, &[GUN]).await);
        }
        let threshold = Some(u32::try_from(names.len()).unwrap() + 1);
        let public_keys = vec![outside.key.clone()];
        let delegating = Delegating { keys, public_keys, threshold, ..named("targets/qa") };
        scene.publisher().delegate(&ALICE, &gun(GUN), delegating, scene.deadline()).await.unwrap();
        scene
    }

    async fn bring(&self, who: &Principal, digest: Sha256Digest, brought: Vec<Brought>) -> Result<Changed, Fault> {
        self.publisher().approve(who, &gun(GUN), (digest, brought), self.deadline()).await
    }

    /// Who brought signatures, as the log has it.
    async fn brought(&self) -> Vec<String> {
        let leaves = self.leaves().await.into_iter();
        let approvals = leaves.filter(|leaf| leaf["kind"] == "intent" && leaf["operation"] == "approve");
        approvals
            .map(|leaf| {
                assert_eq!(leaf["subject"]["evidence"], "brought");
                assert_eq!(leaf["subject"]["reference"], GUN);
                leaf["principal"].as_str().unwrap().to_owned()
            })
            .collect()
    }
}

#[tokio::test]
async fn a_key_outside_the_daemon_signs_the_same_bytes() {
    let outside = Outside::new();
    let scene = Scene::shared_with(&outside, &["team/one"]).await;
    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    let proposal = waiting(&proposed);
    assert_eq!(progress(proposal), (1, 2));
    is_refused(scene.approve(&ALICE, proposal.digest).await, FaultKind::Refused, "has signed it");

    // Who brings it needs no key of the daemon, but has to be one who may publish.
    let published = scene.bring(&NOBODY, proposal.digest, vec![outside.signature(proposal)]).await.unwrap();

    assert!(published.proposal.is_none() && published.files == [(qa(), version(1))], "{published:?}");
    assert_eq!(scene.published_by_qa().await, Some((1, vec!["1.0".to_owned()])));
    assert_eq!(scene.brought().await, ["uid:1002"]);
}

#[tokio::test]
async fn what_does_not_verify_or_is_not_asked_for_is_refused() {
    let outside = Outside::new();
    let scene = Scene::shared_with(&outside, &["team/one", "team/two"]).await;
    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    let (proposal, good) = (waiting(&proposed), outside.signature(waiting(&proposed)));
    let quorum = &proposal.files[0].quorums[0];
    let of = |name: &str| {
        let mut keys = quorum.signed.iter().chain(&quorum.open);
        keys.find(|key| key.name.as_deref() == Some(name)).unwrap().id
    };

    let other = SigningKey::from_bytes(&[4; 32]);
    let mut wrong = good.signature.clone();
    wrong[7] ^= 1;
    for (bad, words) in [
        (Brought { signature: wrong, ..good.clone() }, "does not verify"),
        (Brought { signature: other.sign(b"other").to_bytes().to_vec(), ..good.clone() }, "does not verify"),
        (Brought { signature: vec![1], ..good.clone() }, "does not verify"),
        (Brought { key: Sha256Digest::of(b"nobody"), ..good.clone() }, "does not list the key"),
        (Brought { key: of("team/one"), ..good.clone() }, "has signed targets/qa already"),
        (Brought { key: of("team/two"), ..good.clone() }, "the daemon has the key"),
        (Brought { role: RoleName::Targets, ..good.clone() }, "no file of targets"),
    ] {
        is_refused(scene.bring(&BOB, proposal.digest, vec![good.clone(), bad]).await, FaultKind::Refused, words);
    }
    is_refused(
        scene.bring(&BOB, Sha256Digest::of(b"other"), vec![good]).await,
        FaultKind::Conflict,
        "look at it first",
    );

    assert_eq!(progress(&scene.waits(&BOB).await.unwrap()), (1, 3));
    assert!(scene.brought().await.is_empty());
}

#[tokio::test]
async fn it_waits_for_others_and_counts_as_long_as_its_holder_may_publish() {
    let outside = Outside::new();
    let scene = Scene::shared_with(&outside, &["team/one", "team/two"]).await;
    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    let (digest, signature) = (waiting(&proposed).digest, outside.signature(waiting(&proposed)));

    let brought = scene.bring(&NOBODY, digest, vec![signature.clone()]).await.unwrap();

    assert_eq!(progress(waiting(&brought)), (2, 3));
    is_refused(scene.bring(&BOB, digest, vec![signature]).await, FaultKind::Refused, "has signed targets/qa already");
    scene.put_policy(&format!(
        "{POLICY} forbid (principal == LocalUid::\"1002\", action == Action::\"publish\", resource);"
    ));
    is_refused(scene.approve(&BOB, digest).await, FaultKind::Refused, "uid:1002 has had made counts no more");
    scene.put_policy(POLICY);
    let scene = scene.restarted().await;
    scene.approve(&BOB, digest).await.unwrap();
    assert_eq!(scene.published_by_qa().await, Some((1, vec!["1.0".to_owned()])));
}
