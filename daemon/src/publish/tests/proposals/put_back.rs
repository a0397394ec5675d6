//! An older store put back beside the log: it knows nothing of what was signed for others to sign further.

use trust_hsm::{KeyRing as _, RootSource, SoftwareCustodian};

use super::super::scene::{Owner, ended, open_log, published, try_open};
use super::*;
use crate::records::{RecordLimits, Records};
use crate::recover::Recovery;
use crate::store::{Change, Store};

impl Scene {
    /// A copy of the store as it is now.
    async fn kept(&self) -> Store {
        let rows = self.store.scan(b"", None, Store::SCAN_ROWS_MAX).await.unwrap();
        let copy = Store::memory();
        copy.write(rows.into_iter().map(|(key, row)| Change::Create { key, value: row.value }).collect())
            .await
            .unwrap();
        copy
    }

    /// The next process finds this store: it refuses to start, `trustd recover` says something, and then it starts.
    async fn put_back(self, older: Store, refused: &str) -> (Self, Vec<String>) {
        let Self { house, clock, config, directory, .. } = self;
        ended(house).await;
        let (house, opened) = try_open(&config, &older, &clock).await;
        let fault = opened.unwrap_err();
        assert!(fault.public().contains(refused), "{refused}: {fault:?}");
        ended(house).await;

        let records = Records::open(older.clone(), RecordLimits::default(), clock.clone()).await.unwrap();
        let source = RootSource::File { path: config.data_directory.join("root.kek") };
        records.unseal(&SoftwareCustodian::new(&config.ring(), 1).unseal(source).unwrap().store_key).await.unwrap();
        let (audit, history) = open_log(&config, &clock);
        let recovery =
            Recovery { records: &records, audit: &audit, history: &history, clock: &clock, principal: OWNER };
        let report = recovery.run().await.unwrap();
        drop(records);
        tokio::task::spawn_blocking(move || drop(audit)).await.unwrap();

        let (house, opened) = try_open(&config, &older, &clock).await;
        opened.unwrap();
        (Self { house, clock, store: older, config, directory }, report.lines)
    }

    /// Every version of `targets/qa` was signed with one content only.
    async fn signed_each_version_once(&self) {
        let mut signed = std::collections::BTreeMap::new();
        for (_, version, digest) in self.signed_for_qa().await {
            assert_eq!(*signed.entry(version).or_insert_with(|| digest.clone()), digest);
        }
    }
}

#[tokio::test]
async fn a_store_that_forgot_a_proposal_is_noticed_and_its_version_stays_burned() {
    let scene = Scene::shared().await;
    let older = scene.kept().await;
    scene.sign_in(&ALICE, qa(), "1.0").await.unwrap();

    let (scene, lines) = scene.put_back(older, "version 1 of the targets/qa of registry.example.com/team/app").await;

    let raised = "raised: the targets/qa of registry.example.com/team/app goes on behind version 1";
    assert!(lines.iter().any(|line| line.starts_with(raised)), "{lines:?}");
    assert!(scene.waits(&BOB).await.is_none());
    let again = scene.sign_in(&ALICE, qa(), "other").await.unwrap();
    assert_eq!(waiting(&again).files[0].version, version(2));
    scene.approve(&BOB, waiting(&again).digest).await.unwrap();
    scene.signed_each_version_once().await;
    // It knows all of it now.
    scene.restarted().await;
}

#[tokio::test]
async fn owners_files_go_on_behind_what_was_published_since_the_store_was_copied() {
    let scene = Scene::shared().await;
    scene.sign_in(&BOTH, qa(), "1.0").await.unwrap();
    let older = scene.kept().await;
    for tag in ["2.0", "3.0"] {
        scene.sign_in(&BOTH, qa(), tag).await.unwrap();
    }

    let (scene, lines) = scene.put_back(older, "of the timestamp of registry.example.com/team/app").await;

    for raised in
        ["targets/qa of registry.example.com/team/app goes on behind version 3", "the timestamp", "the snapshot"]
    {
        assert!(lines.iter().any(|line| line.contains(raised)), "{raised}: {lines:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("root")), "a gap there is an attack: {lines:?}");
    assert_eq!(scene.sign_in(&BOTH, qa(), "4.0").await.unwrap().files, [(qa(), version(4))]);
    scene.signed_each_version_once().await;
}

/// A store that is as new as the log is not taken for an older one.
#[tokio::test]
async fn what_was_proposed_withdrawn_or_not_published_is_known_at_the_next_start() {
    let scene = Scene::shared().await;
    let digest = waiting(&scene.sign_in(&ALICE, qa(), "1.0").await.unwrap()).digest;
    let scene = scene.restarted().await;
    scene.withdraw(&ALICE, digest).await.unwrap();
    let scene = scene.restarted().await;
    scene.set_use(Purpose::Timestamp, Use::Disabled).await;
    scene.sign_in(&BOTH, qa(), "2.0").await.unwrap_err();
    let scene = scene.restarted().await;
    scene.set_use(Purpose::Timestamp, Use::Active).await;
    // Root's version is not reserved.
    let rotation = crate::publish::Rotation { role: RoleName::Root, key: None, old: None, token: None };
    scene.set_use(Purpose::Snapshot, Use::Disabled).await;
    scene.publisher().rotate(&BOTH, &gun(GUN), rotation, scene.deadline()).await.unwrap_err();
    scene.restarted().await;
}

/// Somebody else begins anew, and signs snapshots with a key of their own: these begin with 1.
#[tokio::test]
async fn another_owner_of_a_deleted_repository_counts_anew() {
    let (scene, mut owner) = published().await;
    scene.publish(&[owner.targets("v2")]).await.unwrap();
    scene.publisher().delete(ASKER, &gun(GUN), scene.deadline()).await.unwrap();
    let (mut other, timestamp) = (Owner::new(2), scene.key(&RoleName::Timestamp).await);
    let (root, targets) = (other.root_with_own_snapshot(timestamp), other.targets("v1"));
    let snapshot = other.snapshot(Duration::from_hours(24));
    scene.publish(&[root, targets, snapshot]).await.unwrap();
    assert_eq!(scene.current(RoleName::Snapshot).await.version(), version(1));

    let scene = scene.restarted().await;

    assert_eq!(scene.current(RoleName::Snapshot).await.version(), version(1));
}
