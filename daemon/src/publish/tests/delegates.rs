//! Others who may sign in a repository whose keys the daemon holds, and other keys in the place of old ones.

use std::collections::BTreeSet;

use trust::format::tuf::plan::{Change, NewTarget, Unsigned};
use trust::format::tuf::{Document, Key, KeyKind, RoleName};
use trust::{Algorithm, Fault, FaultKind, Purpose, Sha256Digest, Signature};

use super::scene::{ASKER, GUN, NOW, OWNER, Scene, gun, version};
use crate::keys::KeySelector;
use crate::publish::authorize::Warrant;
use crate::publish::update::ends;
use crate::publish::{Asked, Beginning, Changed, Delegating, PublishError, Rotation, Wish};

const EVERYTHING: &str = "permit (principal, action, resource);";

/// Nothing but a name.
fn named(name: &str) -> Delegating {
    let name = name.parse().unwrap();
    Delegating { name, keys: Vec::new(), public_keys: Vec::new(), paths: Vec::new(), threshold: None, token: None }
}

fn role(name: &str) -> RoleName {
    name.parse().unwrap()
}

/// A key that somebody keeps.
fn kept(seed: u8) -> Key {
    let pair = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    Key::new(KeyKind::Ed25519, pair.verifying_key().as_bytes().to_vec()).unwrap()
}

/// A file signed by the key of `seed`.
fn signed_with(seed: u8, unsigned: &Unsigned) -> Document {
    let pair = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let signature = ed25519_dalek::Signer::sign(&pair, unsigned.document().signed_bytes()).to_bytes().to_vec();
    let stamp = kept(seed).stamp(&Signature::new(Algorithm::Ed25519, signature).unwrap()).unwrap();
    unsigned.signed(&[stamp]).unwrap()
}

fn roles_of(changed: &Changed) -> Vec<String> {
    changed.files.iter().map(|(role, _)| role.to_string()).collect()
}

impl Scene {
    async fn begun() -> Self {
        let scene = Self::new().await;
        scene.begin(GUN, Beginning::default()).await.unwrap();
        scene
    }

    async fn delegate(&self, new: Delegating) -> Result<Changed, Fault> {
        self.publisher().delegate(&OWNER, &gun(GUN), new, self.deadline()).await
    }

    async fn undelegate(&self, name: &str, keys: &[Sha256Digest]) -> Result<Changed, Fault> {
        let going = (name.parse().unwrap(), keys.iter().copied().collect::<BTreeSet<_>>());
        self.publisher().undelegate(&OWNER, &gun(GUN), going, self.deadline()).await
    }

    async fn rotate(&self, name: &str) -> Result<Changed, Fault> {
        self.rotate_to(name, None, None).await
    }

    async fn rotate_to(
        &self,
        name: &str,
        key: Option<KeySelector>,
        old: Option<Sha256Digest>,
    ) -> Result<Changed, Fault> {
        let rotation = Rotation { role: role(name), key, old, token: None };
        self.publisher().rotate(&OWNER, &gun(GUN), rotation, self.deadline()).await
    }

    async fn witness(&self, names: &[&str]) -> Result<Changed, Fault> {
        let roles = names.iter().map(|name| role(name)).collect();
        self.publisher().witness(&OWNER, &gun(GUN), roles, self.deadline()).await
    }

    /// The bare keys that a role lists now.
    async fn keys_of(&self, name: &str) -> Vec<Sha256Digest> {
        let (whole, role) = (self.walk().await, role(name));
        whole
            .authority(&role)
            .map_or_else(Vec::new, |authority| authority.keys().iter().map(|key| key.canonical_id()).collect())
    }

    /// The names that a role signs, where its file counts.
    async fn signed_by(&self, name: &str) -> Option<Vec<String>> {
        let (whole, role) = (self.walk().await, role(name));
        let authority = whole.authority(&role)?;
        whole.file(&role)?.verify(&authority).ok()?;
        Some(whole.targets(&role)?.targets().keys().cloned().collect())
    }
}

#[tokio::test]
async fn a_signer_gets_a_key_a_role_and_a_place_in_releases() {
    let scene = Scene::begun().await;

    let added = scene.delegate(named("alice")).await.unwrap();
    assert_eq!(added.files, [(RoleName::Targets, version(2))]);
    assert!(added.keys.len() == 1 && added.keys[0].name.is_some() && added.lapsed.is_empty(), "{added:?}");
    let key = added.keys[0].id;
    assert_eq!((scene.keys_of("targets/alice").await, scene.keys_of("targets/releases").await), (vec![key], vec![key]));
    assert_eq!(scene.signed_by("targets/alice").await, None, "nobody has signed yet");
    // Another signer has another key.
    let bob = scene.delegate(named("bob")).await.unwrap().keys[0].id;
    assert_ne!(bob, key);
    assert_eq!(BTreeSet::from_iter(scene.keys_of("targets/releases").await), BTreeSet::from([key, bob]));

    let signed = scene.sign_tag("1.0").await.unwrap();
    assert_eq!(
        BTreeSet::from_iter(roles_of(&signed)),
        ["targets/alice", "targets/bob", "targets/releases"].map(String::from).into()
    );
    assert_eq!(scene.signed_by("targets/releases").await, Some(vec!["1.0".to_owned()]));

    // Who goes leaves a release that counts, signed by the one who stays.
    let removed = scene.undelegate("alice", &[]).await.unwrap();
    let mended = roles_of(&removed) == ["targets", "targets/releases"];
    let still = roles_of(&removed) == ["targets"];
    assert!((mended || still) && removed.lapsed.is_empty(), "{removed:?}");
    assert_eq!(scene.keys_of("targets/releases").await, [bob]);
    assert_eq!(scene.signed_by("targets/releases").await, Some(vec!["1.0".to_owned()]));
    // The last one takes releases with him.
    scene.undelegate("bob", &[]).await.unwrap();
    assert!(scene.keys_of("targets/releases").await.is_empty());
    assert_eq!(roles_of(&scene.sign_tag("2.0").await.unwrap()), ["targets"]);
    let none = scene.undelegate("bob", &[]).await.unwrap_err();
    assert_eq!((none.kind(), none.public()), (FaultKind::Refused, "there is no role targets/bob"));
}

#[tokio::test]
async fn what_counts_no_more_is_said_and_signed_by_nobody_before_it_is_witnessed() {
    let scene = Scene::begun().await;
    let alice = scene.delegate(named("alice")).await.unwrap().keys[0].id;
    scene.sign_tag("1.0").await.unwrap();
    let bob = kept(1);
    let added = scene.delegate(Delegating { public_keys: vec![bob.clone()], ..named("bob") }).await.unwrap();
    assert_eq!((added.keys[0].id, &added.keys[0].name), (bob.canonical_id(), &None));

    // Bob's key is his own: the daemon cannot sign in his place.
    let removed = scene.undelegate("alice", &[]).await.unwrap();
    assert_eq!((roles_of(&removed), removed.lapsed), (vec!["targets".to_owned()], vec![RoleName::releases()]));
    assert_eq!(scene.signed_by("targets/releases").await, None);
    let own = scene.make("team/carol", Purpose::Delegation, &[GUN]).await;
    scene.delegate(Delegating { keys: vec![own], ..named("targets/releases") }).await.unwrap();
    let refused = scene.sign_tag("2.0").await.unwrap_err();
    assert_eq!(refused.kind(), FaultKind::Refused);
    assert!(refused.public().contains("witness it first"), "{refused:?}");
    scene.witness(&["targets/releases"]).await.unwrap();
    assert_eq!(scene.signed_by("targets/releases").await, Some(vec!["1.0".to_owned()]));
    scene.sign_tag("2.0").await.unwrap();
    assert_eq!(scene.signed_by("targets/releases").await, Some(vec!["1.0".to_owned(), "2.0".to_owned()]));

    let stranger = scene.undelegate("bob", &[alice]).await.unwrap_err();
    assert!(stranger.public().contains("does not list the key"), "{stranger:?}");
    let last = scene.undelegate("targets/bob", &[bob.canonical_id()]).await.unwrap_err();
    assert!(last.public().contains("would have 0 keys, and needs 1"), "{last:?}");
}

#[tokio::test]
async fn a_role_signs_together_and_for_the_names_it_was_given() {
    let scene = Scene::begun().await;
    let [one, two] = ["team/one", "team/two"];
    let keys =
        vec![scene.make(one, Purpose::Delegation, &[GUN]).await, scene.make(two, Purpose::Delegation, &[GUN]).await];
    let qa = Delegating { keys, paths: vec!["v".to_owned()], threshold: Some(2), ..named("targets/qa") };
    scene.delegate(qa.clone()).await.unwrap();

    assert_eq!(roles_of(&scene.sign_tag("v1").await.unwrap()), ["targets/qa"]);
    assert_eq!(scene.signed_by("targets/qa").await, Some(vec!["v1".to_owned()]));
    assert_eq!(roles_of(&scene.sign_tag("1.0").await.unwrap()), ["targets"]);
    // More of it: the rest stays.
    scene.delegate(Delegating { paths: vec!["1".to_owned()], ..named("targets/qa") }).await.unwrap();
    assert_eq!(roles_of(&scene.sign_tag("1.0").await.unwrap()), ["targets/qa"]);
    let whole = scene.walk().await;
    let targets = whole.targets(&RoleName::Targets).unwrap();
    assert_eq!(targets.delegations()[0].paths(), ["v", "1"]);
    let role = role("targets/qa");
    assert_eq!(whole.authority(&role).unwrap().threshold(), 2);

    for (wrong, words) in [
        (named("targets/qa"), "is there already"),
        (Delegating { threshold: Some(3), ..named("targets/qa") }, "at least one key"),
        (
            Delegating { keys: vec![scene.make("team/targets", Purpose::Targets, &[GUN]).await], ..named("eve") },
            "signs nothing else",
        ),
    ] {
        let refused = scene.delegate(wrong).await.unwrap_err();
        assert!(refused.kind() == FaultKind::Refused && refused.public().contains(words), "{refused:?}");
    }
    let unknown = Delegating { keys: vec![KeySelector::parse("team/nobody").unwrap()], ..named("eve") };
    assert_eq!(scene.delegate(unknown).await.unwrap_err().kind(), FaultKind::Missing);
}

#[tokio::test]
async fn every_key_is_rotated_and_each_root_is_signed_by_those_before_it() {
    let scene = Scene::begun().await;
    let alice = scene.delegate(named("alice")).await.unwrap().keys[0].id;
    scene.sign_tag("1.0").await.unwrap();

    let mut before = scene.current(RoleName::Root).await;
    for (name, files) in [
        ("root", &["root"][..]),
        ("root", &["root"]),
        ("targets", &["root", "targets"]),
        ("snapshot", &["root"]),
        ("timestamp", &["root"]),
    ] {
        let old = scene.keys_of(name).await;
        let rotated = scene.rotate(name).await.unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
        assert_eq!(roles_of(&rotated), files, "{name}");
        assert_eq!(scene.keys_of(name).await, [rotated.keys[0].id], "{name}");
        assert_ne!(scene.keys_of(name).await, old, "{name}");
        assert!(rotated.keys[0].name.is_some(), "{name}");
        let root = scene.current(RoleName::Root).await;
        assert_eq!(Some(root.version()), before.version().next());
        root.verify(&before.as_root().unwrap().authority(&RoleName::Root).unwrap()).unwrap();
        before = root;
    }
    let rotated = scene.rotate("targets/alice").await.unwrap();
    assert_eq!(roles_of(&rotated), ["targets", "targets/alice", "targets/releases"]);
    let new = rotated.keys[0].id;
    assert_ne!(new, alice);
    for name in ["targets/alice", "targets/releases"] {
        assert_eq!(scene.keys_of(name).await, [new]);
        assert_eq!(scene.signed_by(name).await, Some(vec!["1.0".to_owned()]));
    }
    scene.sign_tag("2.0").await.unwrap();

    let there = scene.house.records().keys_of(&gun(GUN), Purpose::Root).unwrap();
    assert_eq!(there.len(), 3);
    let none = scene.rotate("targets/bob").await.unwrap_err();
    assert_eq!(none.public(), "there is no role targets/bob");
    let other = scene.rotate_to("root", None, Some(Sha256Digest::of(b"x"))).await.unwrap_err();
    assert!(other.public().contains("does not list the key"), "{other:?}");
    assert_eq!(scene.house.records().keys_of(&gun(GUN), Purpose::Root).unwrap().len(), 4, "it is taken the next time");
    scene.rotate("root").await.unwrap();
    assert_eq!(scene.house.records().keys_of(&gun(GUN), Purpose::Root).unwrap().len(), 4);
}

#[tokio::test]
async fn the_key_that_goes_is_named_where_there_are_several() {
    let scene = Scene::begun().await;
    let keys = vec![
        scene.make("team/one", Purpose::Delegation, &[GUN]).await,
        scene.make("team/two", Purpose::Delegation, &[GUN]).await,
    ];
    let added = scene.delegate(Delegating { keys, threshold: Some(2), ..named("targets/qa") }).await.unwrap();
    scene.sign_tag("1.0").await.unwrap();
    let third = scene.make("team/three", Purpose::Delegation, &[GUN]).await;

    let which = scene.rotate_to("targets/qa", Some(third.clone()), None).await.unwrap_err();
    assert!(which.public().contains("lists 2 keys"), "{which:?}");
    let [going, staying] = [added.keys[0].id, added.keys[1].id];
    scene.rotate_to("targets/qa", Some(third.clone()), Some(going)).await.unwrap();
    let now = scene.keys_of("targets/qa").await;
    assert!(now.len() == 2 && now.contains(&staying) && !now.contains(&going), "{now:?}");
    assert_eq!(scene.signed_by("targets/qa").await, Some(vec!["1.0".to_owned()]));
    let again = scene.rotate_to("targets/qa", Some(third), Some(staying)).await.unwrap_err();
    assert!(again.public().contains("lists that key already"), "{again:?}");
}

#[tokio::test]
async fn witnessing_says_the_same_in_the_next_version() {
    let scene = Scene::begun().await;
    scene.sign_tag("1.0").await.unwrap();
    let before = scene.walk().await;

    let done = scene.witness(&["targets", "root"]).await.unwrap();

    assert_eq!(done.files, [(RoleName::Root, version(2)), (RoleName::Targets, version(3))]);
    let after = scene.walk().await;
    let file =
        |whole: &trust::format::tuf::Repository, role: &RoleName| -> Document { whole.file(role).unwrap().clone() };
    for role in [RoleName::Root, RoleName::Targets] {
        assert!(file(&after, &role).renews(&file(&before, &role)), "{role}");
    }
    scene.delegate(named("alice")).await.unwrap();
    let nothing = scene.witness(&["targets/alice"]).await.unwrap_err();
    assert!(nothing.public().contains("nobody has published targets/alice"), "{nothing:?}");
    let nobody = scene.witness(&["targets/bob"]).await.unwrap_err();
    assert_eq!(nobody.public(), "there is no role targets/bob");
}

#[tokio::test]
async fn what_the_policy_forbids_makes_no_key_and_no_signature() {
    for operation in ["delegate", "rotate", "witness"] {
        let forbid = format!(
            "forbid (principal, action == Action::\"sign-metadata\", resource) when {{ context.operation == \"{operation}\" }};"
        );
        let scene = Scene::with(&format!("{EVERYTHING}\n{forbid}"), |_| {}).await;
        scene.begin(GUN, Beginning::default()).await.unwrap();
        let (before, keys) = (scene.intents().await.len(), scene.house.records().trust_key_count().unwrap());

        let denied = match operation {
            "delegate" => scene.delegate(named("alice")).await,
            "rotate" => scene.rotate("root").await,
            _ => scene.witness(&["targets"]).await,
        };

        assert_eq!(denied.unwrap_err().kind(), FaultKind::Forbidden, "{operation}");
        let after = (scene.intents().await.len(), scene.house.records().trust_key_count().unwrap());
        assert_eq!(after, (before, keys), "{operation}");
        scene.sign_tag("1.0").await.unwrap();
    }
}

#[tokio::test]
async fn a_name_is_taken_back_where_it_counts() {
    let scene = Scene::begun().await;
    scene.delegate(named("alice")).await.unwrap();
    scene.sign_tag("1.0").await.unwrap();
    scene.delegate(Delegating { public_keys: vec![kept(2)], ..named("bob") }).await.unwrap();
    scene.undelegate("alice", &[]).await.unwrap();
    scene.sign_tag("1.0").await.unwrap();

    // In releases it stands under a key that is gone.
    let revoked = scene.wish(Wish::Revoke { name: "1.0".to_owned() }).await.unwrap();
    assert_eq!(roles_of(&revoked), ["targets"]);
    let left = scene.wish(Wish::Revoke { name: "1.0".to_owned() }).await.unwrap_err();
    assert_eq!(left.kind(), FaultKind::Refused);
}

#[tokio::test]
async fn what_another_holder_says_keeps_nobody_from_taking_a_name_back() {
    let scene = Scene::begun().await;
    scene.delegate(named("alice")).await.unwrap();
    scene.delegate(Delegating { public_keys: vec![kept(1)], ..named("bob") }).await.unwrap();
    let target = NewTarget { sha256: Sha256Digest::of(b"1.0"), length_bytes: 7_u32.into(), custom: None };
    let puts = [Change::Put { name: "1.0".to_owned(), target }];
    let expires = ends(i64::try_from(NOW).unwrap(), 1000).unwrap();
    let unsigned = scene.walk().await.next_targets(&role("targets/bob"), &puts, &expires).unwrap();
    scene.publish(&[signed_with(1, &unsigned)]).await.unwrap();
    scene.sign_tag("1.0").await.unwrap();

    let revoked = scene.wish(Wish::Revoke { name: "1.0".to_owned() }).await.unwrap();

    assert_eq!(roles_of(&revoked), ["targets/alice", "targets/releases"]);
    assert_eq!(scene.signed_by("targets/releases").await, Some(Vec::new()));
    assert_eq!(scene.signed_by("targets/bob").await, Some(vec!["1.0".to_owned()]));
    let left = scene.wish(Wish::Revoke { name: "1.0".to_owned() }).await.unwrap_err();
    assert!(left.public().contains("the daemon has 0 of them"), "{left:?}");
}

#[tokio::test]
async fn what_was_deleted_goes_on_under_its_last_root_and_begins_anew_under_another() {
    let scene = Scene::begun().await;
    scene.sign_tag("1.0").await.unwrap();
    let (root, targets) = (scene.keys_of("root").await, scene.keys_of("targets").await);
    let first = scene.current(RoleName::Root).await;
    let delete = async || scene.publisher().delete(ASKER, &gun(GUN), scene.deadline()).await.unwrap();

    delete().await;
    let again = scene.begin(GUN, Beginning::default()).await.unwrap();
    assert_eq!(again.files, [(RoleName::Root, version(2)), (RoleName::Targets, version(3))]);
    assert_eq!(again.leaves.len(), 2, "there is a certificate already");
    assert_eq!((scene.keys_of("root").await, scene.keys_of("targets").await), (root.clone(), targets));
    assert_eq!(scene.signed_by("targets").await, Some(Vec::new()));
    let gone = scene.publisher().by_version(&OWNER, &gun(GUN), &RoleName::Root, version(1)).await;
    assert!(matches!(gone, Err(PublishError::NotFound)), "{gone:?}");
    // Whoever knew it follows.
    let authority = first.as_root().unwrap().authority(&RoleName::Root).unwrap();
    scene.current(RoleName::Root).await.verify(&authority).unwrap();
    scene.sign_tag("1.0").await.unwrap();

    delete().await;
    let other = scene.make("team/other", Purpose::Root, &[GUN]).await;
    let anew = scene.begin(GUN, Beginning { root: Some(other), ..Beginning::default() }).await.unwrap();
    assert_eq!(anew.files[0], (RoleName::Root, version(1)));
    assert_ne!(scene.keys_of("root").await, root);
}

/// It is not reserved, for a gap between roots is one that no client gets over.
#[tokio::test]
async fn a_root_that_was_signed_when_the_process_was_killed_is_read_by_nobody_and_leaves_no_gap() {
    let (scene, name) = (Scene::begun().await, gun(GUN));
    let publisher = scene.publisher();
    let held = publisher.generation(&name).await.unwrap();
    let next = held.repository.next_root(&[], &ends(i64::try_from(NOW).unwrap(), 1000).unwrap()).unwrap();
    let root = held.repository.authority(&RoleName::Root).unwrap();
    let key = publisher.held_keys(&name, Purpose::Root).unwrap().pop().unwrap().listed_as((*root.keys()[0]).clone());
    let asked = Asked::by(&OWNER, &name, scene.deadline());
    let (lost, _) = publisher.signed(&asked, &Warrant::Renewal, &next, &[key]).await.unwrap();

    let scene = scene.restarted().await;
    let read = scene.publisher().by_version(&OWNER, &name, &RoleName::Root, lost.version()).await;
    assert!(matches!(read, Err(PublishError::NotFound)), "{read:?}");
    scene.rotate("root").await.unwrap();

    let root = scene.current(RoleName::Root).await;
    assert!(root.version() == lost.version() && root.raw() != lost.raw());
    let records = scene.house.records();
    let again = records.publish(&name, records.head(&name).await.unwrap(), &[lost], None, scene.house.anchor()).await;
    assert!(again.is_err(), "a version has other bytes: {again:?}");
}
