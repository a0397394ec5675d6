//! Roles whose keys several hold: what one signs waits for the others, who sign the same bytes.

mod brought;
mod changed;
mod gone;
mod put_back;
mod seen;

use std::collections::BTreeSet;
use std::time::Duration;

use trust::format::tuf::RoleName;
use trust::{Fault, FaultKind, Principal, Purpose, Sha256Digest, Use};

use super::scene::{ASKER, GUN, OWNER, Scene, gun, version};
use crate::publish::{Asker, Beginning, Changed, Delegating, ShownProposal, Wish};

/// Two holders of a key each, somebody with both, somebody with none, and what policies say of them.
const ALICE: Principal = OWNER;
const BOB: Principal = Principal::LocalUid(1001);
const BOTH: Principal = Principal::LocalUid(0);
const NOBODY: Principal = Principal::LocalUid(1002);
/// Who administers the repository, and signs nothing.
const ADMIN: Principal = Principal::LocalUid(1003);
const POLICY: &str = "
    permit (principal, action, resource);
    forbid (principal == LocalUid::\"1000\", action == Action::\"sign-metadata\", resource)
    when { resource.name == \"team/two\" };
    forbid (principal == LocalUid::\"1001\", action == Action::\"sign-metadata\", resource)
    when { resource.name != \"team/two\" };
    forbid (principal == LocalUid::\"1002\", action in [Action::\"sign-metadata\", Action::\"delete-trust\"], resource);
    forbid (principal == LocalUid::\"1003\", action == Action::\"sign-metadata\", resource);
";

fn qa() -> RoleName {
    "targets/qa".parse().unwrap()
}

/// What a signature of this tag would say.
fn put(tag: &str) -> Wish {
    Wish::Sign { name: tag.to_owned(), sha256: Sha256Digest::of(tag.as_bytes()), length_bytes: 7 }
}

fn waiting(changed: &Changed) -> &ShownProposal {
    changed.proposal.as_ref().unwrap_or_else(|| panic!("nothing waits: {changed:?}"))
}

/// How many have signed the first file, and how many have to.
fn progress(proposal: &ShownProposal) -> (usize, u32) {
    let quorum = &proposal.files[0].quorums[0];
    (quorum.signed.len(), quorum.threshold)
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(ended: Result<T, Fault>, kind: FaultKind, words: &str) {
    let fault = ended.unwrap_err();
    assert!(fault.kind() == kind && fault.public().contains(words), "{kind:?} {words}: {fault:?}");
}

impl Scene {
    /// A repository in which two keys have to sign together for `targets/qa`.
    async fn shared() -> Self {
        Self::shared_under(POLICY).await
    }

    async fn shared_under(policy: &str) -> Self {
        let scene = Self::with(policy, |_| {}).await;
        scene.begin(GUN, Beginning::default()).await.unwrap();
        let mut keys = Vec::new();
        for name in ["team/one", "team/two"] {
            keys.push(scene.make(name, Purpose::Delegation, &[GUN]).await);
        }
        let delegating = Delegating { keys, threshold: Some(2), ..named("targets/qa") };
        scene.publisher().delegate(&ALICE, &gun(GUN), delegating, scene.deadline()).await.unwrap();
        scene
    }

    async fn sign_in(&self, who: &Principal, role: RoleName, tag: &str) -> Result<Changed, Fault> {
        self.publisher().change(who, &gun(GUN), put(tag), vec![role], self.deadline()).await
    }

    async fn approve(&self, who: &Principal, digest: Sha256Digest) -> Result<Changed, Fault> {
        self.publisher().approve(who, &gun(GUN), (digest, Vec::new()), self.deadline()).await
    }

    async fn withdraw(&self, who: &Principal, digest: Sha256Digest) -> Result<(), Fault> {
        self.publisher().withdraw(who, &gun(GUN), digest, self.deadline()).await
    }

    /// What waits, as somebody sees it.
    async fn waits(&self, who: &Principal) -> Option<ShownProposal> {
        self.publisher().shown(who, &gun(GUN), None, (None, 10)).await.unwrap().proposal
    }

    /// The names that `targets/qa` signs, and its version, as clients read them.
    async fn published_by_qa(&self) -> Option<(u32, Vec<String>)> {
        let (whole, role) = (self.walk().await, qa());
        let file = whole.file(&role)?;
        file.verify(&whole.authority(&role).unwrap()).unwrap();
        Some((file.version().number(), whole.targets(&role)?.targets().keys().cloned().collect()))
    }

    /// Who had which bytes of `targets/qa` signed, version by version.
    async fn signed_for_qa(&self) -> Vec<(String, String, String)> {
        let intents = self.intents().await.into_iter();
        let of_qa = intents.filter(|(_, role, ..)| role == "targets/qa");
        of_qa.map(|(who, _, version, digest)| (who, version, digest)).collect()
    }
}

fn named(name: &str) -> Delegating {
    let name = name.parse().unwrap();
    Delegating { name, keys: Vec::new(), public_keys: Vec::new(), paths: Vec::new(), threshold: None, token: None }
}

#[tokio::test]
async fn two_holders_sign_the_same_bytes_and_the_last_one_publishes() {
    let scene = Scene::shared().await;
    let before = scene.walk().await;

    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();

    let proposal = waiting(&proposed);
    assert_eq!((proposed.files.as_slice(), proposed.leaves.len()), (&[(qa(), version(1))][..], 1));
    assert_eq!(
        (progress(proposal), proposal.begun_by.as_str(), proposal.operation.as_str()),
        ((1, 2), "uid:1000", "sign")
    );
    assert_eq!(proposal.files[0].signs[0].name, "1.0");
    let open = &proposal.files[0].quorums[0].open;
    assert!(open.len() == 1 && open[0].name.as_deref() == Some("team/two"), "{open:?}");
    let now = scene.walk().await;
    for (role, file) in before.files() {
        assert_eq!(now.file(role).unwrap().raw(), file.raw(), "{role}: nothing is published");
    }
    assert_eq!(scene.waits(&BOB).await.unwrap().digest, proposal.digest);

    let published = scene.approve(&BOB, proposal.digest).await.unwrap();

    assert!(published.proposal.is_none() && published.files == [(qa(), version(1))], "{published:?}");
    assert_eq!(scene.published_by_qa().await, Some((1, vec!["1.0".to_owned()])));
    assert!(scene.waits(&BOB).await.is_none());
    let signed = scene.signed_for_qa().await;
    let digest = proposal.files[0].digest.to_string();
    let expected = ["uid:1000", "uid:1001"].map(|who| (who.to_owned(), "1".to_owned(), digest.clone()));
    assert_eq!(signed, expected, "each under a policy of its own, over the same bytes");
    is_refused(scene.approve(&BOB, proposal.digest).await, FaultKind::Missing, "nothing waits");
    // One more of it: versions go on.
    let again = scene.sign_in(&BOB, qa(), "2.0").await.unwrap();
    scene.approve(&ALICE, waiting(&again).digest).await.unwrap();
    assert_eq!(scene.published_by_qa().await, Some((2, vec!["1.0".to_owned(), "2.0".to_owned()])));
}

#[tokio::test]
async fn a_key_counts_once_and_other_bytes_are_not_signed() {
    let scene = Scene::shared().await;
    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    let digest = waiting(&proposed).digest;
    let signed = scene.signed_for_qa().await.len();

    is_refused(scene.approve(&ALICE, digest).await, FaultKind::Refused, "has signed it");
    is_refused(scene.approve(&BOB, Sha256Digest::of(b"other")).await, FaultKind::Conflict, "look at it first");
    is_refused(scene.approve(&NOBODY, digest).await, FaultKind::Forbidden, "");
    is_refused(scene.sign_in(&ALICE, qa(), "1.0").await, FaultKind::Refused, "approve or withdraw it first");
    is_refused(scene.sign_in(&NOBODY, qa(), "1.0").await, FaultKind::Forbidden, "");

    assert_eq!(scene.signed_for_qa().await.len(), signed, "nothing more was signed");
    assert_eq!(progress(&scene.waits(&ALICE).await.unwrap()), (1, 2));
    // Replaced under somebody's eyes: what was looked at is not what would be signed.
    scene.withdraw(&ALICE, digest).await.unwrap();
    let other = scene.sign_in(&ALICE, qa(), "evil").await.unwrap();
    is_refused(scene.approve(&BOB, digest).await, FaultKind::Conflict, "look at it first");
    assert_eq!(waiting(&other).files[0].version, version(2), "the first version stays burned");
    scene.approve(&BOB, waiting(&other).digest).await.unwrap();
    assert_eq!(scene.published_by_qa().await, Some((2, vec!["evil".to_owned()])));
}

#[tokio::test]
async fn what_was_published_meanwhile_makes_it_stale_and_its_version_stays_burned() {
    let scene = Scene::shared().await;
    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    let digest = waiting(&proposed).digest;

    let whole = scene.sign_in(&BOTH, qa(), "2.0").await.unwrap();

    assert_eq!((whole.files, whole.proposal.is_none()), (vec![(qa(), version(2))], true));
    let shown = scene.waits(&BOB).await.unwrap();
    assert!(shown.over.unwrap().contains("another version of targets/qa"), "it says so");
    is_refused(scene.approve(&BOB, digest).await, FaultKind::Conflict, "another version of targets/qa");
    assert!(scene.waits(&BOB).await.is_none(), "and is dropped");
    assert_eq!(scene.published_by_qa().await, Some((2, vec!["2.0".to_owned()])));
    let next = scene.sign_in(&ALICE, qa(), "3.0").await.unwrap();
    assert_eq!(waiting(&next).files[0].version, version(3));
    // A stale one stands in nobody's way either.
    scene.sign_in(&BOTH, qa(), "4.0").await.unwrap();
    let last = scene.sign_in(&ALICE, qa(), "5.0").await.unwrap();
    scene.approve(&BOB, waiting(&last).digest).await.unwrap();
    assert_eq!(scene.published_by_qa().await.unwrap().0, 5);
    let signed: BTreeSet<_> =
        scene.signed_for_qa().await.into_iter().map(|(_, version, digest)| (version, digest)).collect();
    let versions: BTreeSet<_> = signed.iter().map(|(version, _)| version).collect();
    assert_eq!(versions.len(), signed.len(), "a version was signed with two contents: {signed:?}");
}

#[tokio::test]
async fn publications_of_other_roles_do_not_disturb_it() {
    let scene = Scene::shared().await;
    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    let digest = waiting(&proposed).digest;

    scene.sign_in(&ALICE, RoleName::Targets, "nightly").await.unwrap();
    scene.clock.advance(Duration::from_hours(25));
    assert_eq!(scene.house.renew_timestamps().await.unwrap(), 1);
    scene.approve(&BOB, digest).await.unwrap();

    assert_eq!(scene.published_by_qa().await, Some((1, vec!["1.0".to_owned()])));
    let whole = scene.walk().await;
    assert!(whole.targets(&RoleName::Targets).unwrap().targets().contains_key("nightly"));
}

/// What is durable when the daemon dies: after the versions are reserved, after the first signature is kept, and after the
/// last one is made, before anything is published.
#[tokio::test]
async fn a_crash_at_each_step_keeps_it_or_burns_its_version_and_publishes_no_half() {
    let mut scene = Scene::shared().await;
    let records = scene.house.records();
    let mut head = records.head(&gun(GUN)).await.unwrap();
    head.raise(&qa(), version(1));
    records.publish(&gun(GUN), head, &[], None, scene.house.anchor()).await.unwrap();
    scene = scene.restarted().await;
    assert!(scene.waits(&ALICE).await.is_none() && scene.published_by_qa().await.is_none());

    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    let digest = waiting(&proposed).digest;
    assert_eq!(waiting(&proposed).files[0].version, version(2));
    scene = scene.restarted().await;
    assert_eq!(progress(&scene.waits(&BOB).await.unwrap()), (1, 2));
    assert!(scene.published_by_qa().await.is_none());

    // Bob's signature is made, and what has to follow it is not.
    scene.set_use(Purpose::Timestamp, Use::Disabled).await;
    assert_eq!(scene.approve(&BOB, digest).await.unwrap_err().kind(), FaultKind::Refused);
    assert_eq!(scene.signed_for_qa().await.len(), 2);
    scene = scene.restarted().await;
    assert!(scene.published_by_qa().await.is_none());
    scene.set_use(Purpose::Timestamp, Use::Active).await;
    assert_eq!(progress(&scene.waits(&BOB).await.unwrap()), (1, 2));
    scene.approve(&BOB, digest).await.unwrap();

    scene = scene.restarted().await;
    assert_eq!(scene.published_by_qa().await, Some((2, vec!["1.0".to_owned()])));
    assert!(scene.waits(&BOB).await.is_none());
    assert!(scene.house.records().check_rows().await.unwrap().is_some());
}

/// Another publication of the role was signed behind the proposal, and came to nothing.
#[tokio::test]
async fn a_version_beyond_the_proposal_stays_burned_when_it_is_published() {
    let scene = Scene::shared().await;
    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    scene.set_use(Purpose::Timestamp, Use::Disabled).await;
    scene.sign_in(&BOTH, qa(), "2.0").await.unwrap_err();
    scene.set_use(Purpose::Timestamp, Use::Active).await;
    scene.approve(&BOB, waiting(&proposed).digest).await.unwrap();
    assert_eq!(scene.published_by_qa().await.unwrap().0, 1);

    let next = scene.sign_in(&BOTH, qa(), "3.0").await.unwrap();

    assert_eq!(next.files, [(qa(), version(3))]);
    let mut signed = std::collections::BTreeMap::new();
    for (_, version, digest) in scene.signed_for_qa().await {
        assert_eq!(*signed.entry(version).or_insert_with(|| digest.clone()), digest);
    }
    assert_eq!(signed.len(), 3);
}

#[tokio::test]
async fn a_key_that_may_sign_no_more_has_signed_in_vain() {
    let scene = Scene::shared().await;
    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    scene.set_use(Purpose::Delegation, Use::Disabled).await;
    let shown = scene.waits(&BOB).await.unwrap();
    assert!(shown.over.unwrap().contains("may sign no more"));
    is_refused(scene.approve(&BOB, waiting(&proposed).digest).await, FaultKind::Conflict, "may sign no more");
    assert!(scene.waits(&BOB).await.is_none());
    scene.set_use(Purpose::Delegation, Use::Active).await;

    let again = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    scene.approve(&BOB, waiting(&again).digest).await.unwrap();
    assert_eq!(scene.published_by_qa().await, Some((2, vec!["1.0".to_owned()])));
}

#[tokio::test]
async fn a_backup_brings_it_back() {
    let scene = Scene::shared().await;
    let proposed = scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();
    let digest = waiting(&proposed).digest;

    let scene = scene.copied().await;

    assert_eq!(progress(&scene.waits(&BOB).await.unwrap()), (1, 2));
    scene.approve(&BOB, digest).await.unwrap();
    assert_eq!(scene.published_by_qa().await, Some((1, vec!["1.0".to_owned()])));
}

#[tokio::test]
async fn a_threshold_that_was_lowered_meanwhile_is_met() {
    let scene = Scene::shared().await;
    let digest = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;
    let alone = Delegating { threshold: Some(1), ..named("targets/qa") };
    scene.publisher().delegate(&ALICE, &gun(GUN), alone, scene.deadline()).await.unwrap();

    let published = scene.approve(&BOB, digest).await.unwrap();

    assert!(published.proposal.is_none() && published.leaves.is_empty(), "{published:?}");
    assert_eq!(scene.published_by_qa().await, Some((1, vec!["1.0".to_owned()])));
}

#[tokio::test]
async fn without_a_role_one_signs_alone_what_one_can_and_proposes_the_rest() {
    let scene = Scene::shared().await;
    let tag = |who: Principal, tag: &'static str| {
        let scene = &scene;
        async move { scene.publisher().change(&who, &gun(GUN), put(tag), Vec::new(), scene.deadline()).await.unwrap() }
    };

    let alone = tag(ALICE, "1.0").await;
    let shared = tag(BOB, "2.0").await;

    assert_eq!((alone.files[0].0.clone(), alone.proposal.is_none()), (RoleName::Targets, true));
    assert_eq!((shared.files[0].0.clone(), progress(waiting(&shared))), (qa(), (1, 2)));
}

/// The keys of a role that two sign for are changed by two, and the second sees which, as his policy does.
#[tokio::test]
async fn a_policy_decides_about_an_approval_by_what_it_changes() {
    let policy = format!(
        "{POLICY} forbid (principal == LocalUid::\"1001\", action == Action::\"sign-metadata\", resource)
         when {{ context.is_approval && context.operation == \"delegate\" && context.roles.contains(\"targets/qa/hidden\") }};
         forbid (principal, action == Action::\"sign-metadata\", resource)
         when {{ context.operation == \"delegate\" && context.keys_elsewhere }};
         forbid (principal, action == Action::\"sign-metadata\", resource)
         when {{ context.roles.contains(\"targets/qa/open\") && context.paths.contains(\"\") }};"
    );
    let scene = Scene::shared_under(&policy).await;
    let delegate = async |new: Delegating| scene.publisher().delegate(&ALICE, &gun(GUN), new, scene.deadline()).await;
    let of = |name: &str, paths: &[&str]| Delegating {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        ..named(name)
    };
    let keys = scene.house.records().trust_key_count().unwrap();

    is_refused(delegate(of("targets/qa/open", &[])).await, FaultKind::Forbidden, "");
    let pair = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let public = pair.verifying_key().as_bytes().to_vec();
    let key = trust::format::tuf::Key::new(trust::format::tuf::KeyKind::Ed25519, public).unwrap();
    let foreign = Delegating { public_keys: vec![key], ..of("targets/qa/open", &["v"]) };
    is_refused(delegate(foreign).await, FaultKind::Forbidden, "");
    assert_eq!(scene.house.records().trust_key_count().unwrap(), keys, "no key was made for what is refused");

    let hidden = waiting(&delegate(of("targets/qa/hidden", &["v"])).await.unwrap()).digest;
    is_refused(scene.approve(&BOB, hidden).await, FaultKind::Forbidden, "");
    scene.withdraw(&ALICE, hidden).await.unwrap();
    let open = delegate(of("targets/qa/open", &["v"])).await.unwrap();
    let proposal = waiting(&open);
    let role = &proposal.files[0].roles[0];
    assert_eq!(
        (role.name.as_str(), role.threshold, role.paths.as_slice()),
        ("targets/qa/open", 1, &["v".to_owned()][..])
    );
    scene.approve(&BOB, proposal.digest).await.unwrap();
    let (whole, open) = (scene.walk().await, "targets/qa/open".parse().unwrap());
    assert_eq!(whole.authority(&open).unwrap().keys().len(), 1);
}
