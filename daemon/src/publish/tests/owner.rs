//! Repositories whose root and targets keys the daemon holds.

use trust::format::tuf::{KeyKind, RoleName};
use trust::state::DistrustReason;
use trust::{FaultKind, Purpose, Scope, Sha256Digest, Trust, Use};

use super::scene::{GUN, OWNER, Scene, gun, version};
use crate::keys::{KeySelector, NewKey};
use crate::publish::{Beginning, Changed, PublishError, Wish};
use crate::records::StateChange;

const EVERYTHING: &str = "permit (principal, action, resource);";

impl Scene {
    pub(super) async fn begin(&self, name: &str, beginning: Beginning) -> Result<Changed, trust::Fault> {
        self.publisher().begin(&OWNER, &gun(name), beginning, self.deadline()).await
    }

    pub(super) async fn wish(&self, wish: Wish) -> Result<Changed, trust::Fault> {
        self.publisher().change(&OWNER, &gun(GUN), wish, Vec::new(), self.deadline()).await
    }

    pub(super) async fn sign_tag(&self, tag: &str) -> Result<Changed, trust::Fault> {
        self.wish(Wish::Sign { name: tag.to_owned(), sha256: Sha256Digest::of(tag.as_bytes()), length_bytes: 7 }).await
    }

    pub(super) async fn set_use(&self, purpose: Purpose, use_: Use) {
        for view in self.house.records().keys_of(&gun(GUN), purpose).unwrap() {
            let (to, anchor) = (StateChange { use_, trust: Trust::Trusted }, self.house.anchor());
            self.house.records().set_state(view.record.id, view.state.epoch, to, anchor, None).await.unwrap();
        }
    }

    /// From now on these keys are in other hands: nobody has disabled them yet.
    async fn distrust(&self, purpose: Purpose) {
        let trust = Trust::Distrusted { reason: DistrustReason::KeyCompromise, since_leaf: 0 };
        for view in self.house.records().keys_of(&gun(GUN), purpose).unwrap() {
            let (to, anchor) = (StateChange { use_: view.state.use_, trust: trust.clone() }, self.house.anchor());
            self.house.records().set_state(view.record.id, view.state.epoch, to, anchor, None).await.unwrap();
        }
    }

    pub(super) async fn make(&self, name: &str, purpose: Purpose, guns: &[&str]) -> KeySelector {
        let new = NewKey {
            name: name.parse().unwrap(),
            purpose,
            algorithm: purpose.default_algorithm(),
            scope: Scope::read(purpose, guns.iter().copied()).unwrap(),
            forms: purpose.forms(purpose.default_algorithm()).to_vec(),
            token: None,
        };
        self.house.create_key(&OWNER, new, None, self.deadline()).await.unwrap();
        KeySelector::parse(name).unwrap()
    }
}

#[tokio::test]
async fn what_the_notary_listener_does_not_serve_is_not_begun() {
    for (prefix, is_served) in [("registry.example.com/other/", false), ("registry.example.com/team/", true)] {
        let scene = Scene::serving(prefix).await;

        let begun = scene.begin(GUN, Beginning::default()).await;

        let why = begun.as_ref().err().map(|fault| (fault.kind(), fault.public().contains("gun_prefixes")));
        assert_eq!(why, (!is_served).then_some((FaultKind::Refused, true)), "{begun:?}");
        assert_eq!(scene.house.records().trust_key_count().unwrap().0 > 0, is_served, "no key is made for nothing");
        assert_eq!(scene.intents().await.is_empty(), !is_served);
    }
}

#[tokio::test]
async fn an_owner_without_a_key_begins_signs_and_revokes() {
    let scene = Scene::new().await;

    let begun = scene.begin(GUN, Beginning::default()).await.unwrap();
    let whole = scene.walk().await;
    let root = whole.root().unwrap().authority(&RoleName::Root).unwrap().keys()[0].clone();
    assert_eq!(root.kind(), Some(KeyKind::EcdsaX509));
    assert_eq!(begun.files, [(RoleName::Root, version(1)), (RoleName::Targets, version(1))]);
    assert_eq!(begun.leaves.len(), 3, "a certificate, root and targets");

    let signed = scene.sign_tag("1.0").await.unwrap();
    assert_eq!((signed.files, signed.leaves.len()), (vec![(RoleName::Targets, version(2))], 1));
    let whole = scene.walk().await;
    let target = &whole.targets(&RoleName::Targets).unwrap().targets()["1.0"];
    assert_eq!((target.hashes().sha256(), target.length_bytes()), (Some(Sha256Digest::of(b"1.0")), 7));
    let shown = scene.publisher().shown(&OWNER, &gun(GUN), None, (None, 1)).await.unwrap();
    assert_eq!((shown.targets.len(), shown.next, shown.roles.len()), (1, None, 4));
    assert!(shown.roles.iter().all(|role| role.keys.len() == 1 && role.keys[0].name.is_some()));

    scene.wish(Wish::Revoke { name: "1.0".to_owned() }).await.unwrap();
    assert!(scene.walk().await.targets(&RoleName::Targets).unwrap().targets().is_empty());
    let again = scene.wish(Wish::Revoke { name: "1.0".to_owned() }).await.unwrap_err();
    assert_eq!((again.kind(), again.public()), (FaultKind::Refused, "1.0 is not signed"));
    let again = scene.begin(GUN, Beginning::default()).await.unwrap_err();
    assert_eq!(again.kind(), FaultKind::Refused);
    let roles: Vec<String> = scene.intents().await.into_iter().map(|(_, role, version, _)| role + &version).collect();
    let expected = "root1 targets1 snapshot1 timestamp1 targets2 snapshot2 timestamp2 targets3 snapshot3 timestamp3";
    assert_eq!(roles, expected.split(' ').collect::<Vec<_>>());
}

#[tokio::test]
async fn a_version_that_was_signed_and_not_published_is_never_used_again() {
    let scene = Scene::new().await;
    scene.begin(GUN, Beginning::default()).await.unwrap();

    scene.set_use(Purpose::Timestamp, Use::Disabled).await;
    let refused = scene.sign_tag("1.0").await.unwrap_err();
    assert_eq!(refused.kind(), FaultKind::Refused, "{refused:?}");
    assert!(scene.intents().await.iter().any(|(_, role, version, _)| role == "targets" && version == "2"));
    scene.set_use(Purpose::Timestamp, Use::Active).await;
    let signed = scene.sign_tag("1.0").await.unwrap();

    assert_eq!(signed.files, [(RoleName::Targets, version(3))]);
    scene.walk().await;
}

#[tokio::test]
async fn one_root_key_begins_several_repositories_and_need_not_be_named() {
    let scene = Scene::new().await;
    let root = scene.make("team/root", Purpose::Root, &[GUN, "registry.example.com/team/other"]).await;
    let begun = scene.begin(GUN, Beginning { root: Some(root), ..Beginning::default() }).await.unwrap();
    assert_eq!(begun.leaves.len(), 3);

    // Nobody names it here: it is the oldest that this repository has not used.
    scene.begin("registry.example.com/team/other", Beginning::default()).await.unwrap();

    let keys = |name: &str| scene.house.records().keys_of(&gun(name), Purpose::Root).unwrap();
    assert_eq!((keys(GUN).len(), keys("registry.example.com/team/other").len()), (1, 1));
}

#[tokio::test]
async fn a_key_of_another_purpose_repository_or_state_begins_nothing() {
    let scene = Scene::new().await;
    let targets = scene.make("team/targets", Purpose::Targets, &[GUN]).await;
    let elsewhere = scene.make("team/elsewhere", Purpose::Root, &["registry.example.com/elsewhere"]).await;
    let nobody = KeySelector::parse("team/nobody").unwrap();

    for (root, kind, words) in [
        (targets, FaultKind::Refused, "the key is for targets and signs nothing else"),
        (elsewhere, FaultKind::Refused, "the key's scope does not cover this repository"),
        (nobody, FaultKind::Missing, "no such key"),
    ] {
        let refused = scene.begin(GUN, Beginning { root: Some(root), ..Beginning::default() }).await.unwrap_err();
        assert_eq!((refused.kind(), refused.public()), (kind, words));
    }
    assert!(scene.intents().await.is_empty());
}

#[tokio::test]
async fn a_distrusted_key_comes_into_no_role_and_is_told_to_nobody_as_new() {
    let scene = Scene::new().await;
    let (root, unused) = (scene.make("team/root", Purpose::Root, &[GUN]).await, scene.key(&RoleName::Timestamp).await);
    scene.distrust(Purpose::Root).await;
    scene.distrust(Purpose::Timestamp).await;

    let refused = scene.begin(GUN, Beginning { root: Some(root), ..Beginning::default() }).await.unwrap_err();
    assert_eq!((refused.kind(), refused.public()), (FaultKind::Refused, "the key is distrusted"));
    assert_ne!(scene.key(&RoleName::Timestamp).await, unused);

    // What lists one already goes on, so that it can be taken out.
    scene.begin(GUN, Beginning::default()).await.unwrap();
    scene.distrust(Purpose::Targets).await;
    scene.sign_tag("1.0").await.unwrap();
}

#[tokio::test]
async fn whoever_may_not_use_the_key_or_publish_the_role_signs_nothing() {
    for forbid in [
        "forbid (principal, action == Action::\"sign-metadata\", resource) when { context.operation == \"sign\" };",
        "forbid (principal, action == Action::\"sign-metadata\", resource) when { context.targets.contains(\"1.0\") };",
        "forbid (principal, action == Action::\"publish\", resource) when { context.role == \"targets\" && !context.is_new };",
    ] {
        let scene = Scene::with(&format!("{EVERYTHING}\n{forbid}"), |_| {}).await;
        scene.begin(GUN, Beginning::default()).await.unwrap();
        let before = scene.intents().await.len();

        let denied = scene.sign_tag("1.0").await.unwrap_err();

        assert_eq!(denied.kind(), FaultKind::Forbidden, "{forbid}");
        assert_eq!(scene.intents().await.len(), before, "{forbid}");
        assert_eq!(scene.walk().await.file(&RoleName::Targets).unwrap().version(), version(1));
    }
}

#[tokio::test]
async fn without_trust_data_there_is_nothing_to_sign_in_or_to_show() {
    let scene = Scene::new().await;

    for fault in [
        scene.sign_tag("1.0").await.unwrap_err(),
        scene.publisher().shown(&OWNER, &gun(GUN), None, (None, 10)).await.unwrap_err(),
    ] {
        assert_eq!(fault.kind(), FaultKind::Missing);
    }
    assert!(matches!(scene.publisher().current(&OWNER, &gun(GUN), &RoleName::Root).await, Err(PublishError::NotFound)));
}

#[tokio::test]
async fn a_role_whose_keys_are_elsewhere_is_refused_and_named() {
    let (scene, _) = super::scene::published().await;

    let refused = scene.sign_tag("1.0").await.unwrap_err();

    assert_eq!(refused.kind(), FaultKind::Refused);
    assert!(
        refused.public().ends_with("targets needs 1 of its keys to sign, and the daemon has 0 of them"),
        "{refused:?}"
    );
}
