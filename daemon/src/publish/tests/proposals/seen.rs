//! What whoever approves is shown: what else would count, and what would count no more.

use super::*;
use crate::publish::DelegateName;

impl Scene {
    /// Two have to sign for `targets/qa`, and nobody but an administrator may use a third key of it.
    async fn shared_with_a_third_key() -> Self {
        let forbid = "forbid (principal, action == Action::\"sign-metadata\", resource)
            when { principal != LocalUid::\"0\" && resource.name == \"team/three\" };";
        let scene = Self::shared_under(&format!("{POLICY} {forbid}")).await;
        scene.make("team/three", Purpose::Delegation, &[GUN]).await;
        scene
    }

    async fn delegates(&self, who: &Principal, name: &str, key: Option<&str>) -> Changed {
        let keys = key.into_iter().map(|key| crate::keys::KeySelector::parse(key).unwrap()).collect();
        let new = Delegating { keys, ..named(name) };
        self.publisher().delegate(who, &gun(GUN), new, self.deadline()).await.unwrap()
    }

    /// Takes these of a role's keys away from it, by the names that they have in the daemon; without any the role.
    async fn undelegates(&self, who: &Principal, name: &str, keys: impl Fn(&str) -> bool) -> Changed {
        let shown = self.publisher().shown(&BOTH, &gun(GUN), None, (None, 10)).await.unwrap();
        let role = shown.roles.into_iter().find(|role| role.name.to_string() == name).unwrap();
        let going = role.keys.into_iter().filter(|key| keys(key.name.as_deref().unwrap())).map(|key| key.id);
        let name: DelegateName = name.parse().unwrap();
        let going = (name, going.collect());
        self.publisher().undelegate(who, &gun(GUN), going, self.deadline()).await.unwrap()
    }
}

fn names(roles: &[RoleName]) -> Vec<&str> {
    roles.iter().map(RoleName::as_str).collect()
}

#[tokio::test]
async fn whoever_witnesses_what_counts_no_more_is_shown_all_of_it() {
    let scene = Scene::shared_with_a_third_key().await;
    scene.sign_in(&BOTH, qa(), "1.0").await.unwrap();
    scene.delegates(&BOTH, "targets/qa/open", None).await;
    scene.delegates(&ALICE, "targets/qa", Some("team/three")).await;
    let shown = waiting(&scene.sign_in(&ALICE, qa(), "2.0").await.unwrap()).clone();
    assert!(!shown.files[0].is_anew && shown.files[0].signs.len() == 1, "{shown:?}");
    scene.withdraw(&ALICE, shown.digest).await.unwrap();
    let removed = scene.undelegates(&ALICE, "targets/qa", |key| key == "team/two").await;
    assert_eq!(removed.lapsed, [qa()]);

    let witnessed = scene.publisher().witness(&ALICE, &gun(GUN), vec![qa()], scene.deadline()).await.unwrap();

    let file = &waiting(&witnessed).files[0];
    assert!(file.is_anew && file.left_out == 0, "{file:?}");
    assert_eq!(file.signs.iter().map(|target| target.name.as_str()).collect::<Vec<_>>(), ["1.0"]);
    assert_eq!(file.roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["targets/qa/open"]);
    assert!(waiting(&witnessed).lapses.is_empty());
    scene.approve(&BOTH, waiting(&witnessed).digest).await.unwrap();
    assert_eq!(scene.published_by_qa().await.unwrap().1, ["1.0"]);
}

#[tokio::test]
async fn what_would_count_no_more_is_shown_down_to_the_last_role() {
    let scene = Scene::shared_with_a_third_key().await;
    for name in ["targets/qa/open", "targets/qa/open/deep"] {
        // The parent has a file by then.
        let role: RoleName = name.parse().unwrap();
        if role.parent() != qa() {
            scene.sign_in(&BOTH, role.parent(), "1.0").await.unwrap();
        }
        scene.delegates(&BOTH, name, None).await;
    }
    scene.sign_in(&BOTH, "targets/qa/open/deep".parse().unwrap(), "1.0").await.unwrap();

    let whole = scene.undelegates(&ALICE, "targets/qa/open", |_| false).await;

    let proposal = waiting(&whole);
    assert_eq!(names(&proposal.files[0].removes), ["targets/qa/open"]);
    assert_eq!(names(&proposal.lapses), ["targets/qa/open/deep"]);
    scene.withdraw(&ALICE, proposal.digest).await.unwrap();
    scene.delegates(&BOTH, "targets/qa/open", Some("team/three")).await;

    let key = scene.undelegates(&ALICE, "targets/qa/open", |key| key != "team/three").await;

    let proposal = waiting(&key);
    assert_eq!(names(&proposal.lapses), ["targets/qa/open", "targets/qa/open/deep"]);
    assert!(proposal.files[0].removes.is_empty());
    scene.approve(&BOB, proposal.digest).await.unwrap();
    let (whole, open) = (scene.walk().await, "targets/qa/open".parse().unwrap());
    whole.file(&open).unwrap().verify(&whole.authority(&open).unwrap()).unwrap_err();
}
