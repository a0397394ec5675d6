//! A house over a store in memory, with software custody in this process and a clock that stands still; and owners of
//! repositories who sign what they publish.

mod owner;

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use tonic_health::server::HealthReporter;
use trust::format::tuf::{Document, Gun, Key, Part, Repository, RoleName, Version};
use trust::{KeyId, KeyRef, KeyVersion, Principal, Sha256Digest};
use trust_hsm::{Custodian, KeyRing, PassphraseCost, RootSource, SoftwareCustodian, create_root_file, init_ring};

use super::super::{Asker, PublishError, Publisher, Sent};
use crate::audit::{Audit, AuditConfig, History, InitLeaf};
use crate::authorize::{Authorizer, Pace, PolicySource};
use crate::clock::Clock;
use crate::config::{Config, PolicyConfig};
use crate::custody::{Custodians, Custody, CustodyLimits};
use crate::house::{House, Opening, Parts, log_context};
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::records::{LogKey, Provenance, RecordLimits, Records, UnsealError};
use crate::shelf::{Turn, Waiter};
use crate::store::{Change, Store};
use crate::tables::Tables;

pub(super) use owner::Owner;

/// 2026-11-26T17:34:00Z.
pub(super) const NOW: u64 = 1_795_714_440;
pub(super) const GUN: &str = "registry.example.com/team/app";
/// Who publishes in these tests: the policy lets this user do everything.
pub(super) const OWNER: Principal = Principal::LocalUid(1000);
/// As a door lets them ask.
pub(super) const ASKER: Asker<'static> = Asker::named(&OWNER);
const STORE: [u8; 16] = [7; 16];

pub(super) struct Scene {
    pub(super) house: Arc<House>,
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) config: Config,
    pub(super) directory: TempDir,
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::with("permit (principal, action, resource);", |_| {}).await
    }

    /// With a policy, and a configuration that was changed.
    pub(super) async fn with(policy: &str, change: impl FnOnce(&mut Config)) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        let mut config = Config::without_file(path, &path.join("socket"), 0);
        config.log_origin = "log.example.com".to_owned();
        config.policy = PolicyConfig::File(path.join("policy.cedar"));
        config.keys.unused_trust_keys_after = Some(Duration::from_hours(7 * 24));
        change(&mut config);
        std::fs::write(path.join("policy.cedar"), policy).unwrap();
        std::fs::create_dir(path.join("kek")).unwrap();
        std::fs::create_dir(config.log_directory()).unwrap();
        create_root_file(&path.join("root.kek")).unwrap();
        let source = RootSource::File { path: path.join("root.kek") };
        let unsealed = init_ring(&config.ring(), STORE, &source, PassphraseCost::FLOOR).unwrap();
        let (clock, store) = (Clock::manual(NOW * 1000), Store::memory());
        let limits = RecordLimits::default();
        let made = Records::create(store.clone(), STORE, &unsealed.store_key, limits, clock.clone()).await.unwrap();
        let custodian = SoftwareCustodian::new(&config.ring(), 16);
        let _ = custodian.unseal(source).unwrap();
        let key = KeyRef { id: KeyId::from_bytes([9; 16]), version: KeyVersion::FIRST };
        let generated = custodian.open().unwrap().generate(&log_context(STORE, key)).unwrap();
        let (public_key, material) = (generated.public_key, generated.material);
        made.set_log_key_once(LogKey { key, public_key, material, origin: config.log_origin.clone() }).await.unwrap();
        Audit::create(&config.log_directory(), InitLeaf::new(0, &config.log_origin, &STORE, None)).unwrap();
        let house = open(&config, &store, &clock).await;
        Self { house, clock, store, config, directory }
    }

    /// With a Notary listener that serves repositories below this prefix.
    pub(super) async fn serving(prefix: &str) -> Self {
        let text = format!(
            "data_directory = \"/d\"\nlog_origin = \"log.example.org\"\nsocket = \"/s\"\n[root_kek]\nfile = \"/k\"\n\
             [notary]\nlisten = \"127.0.0.1:4443\"\ncertificate = \"/c\"\nkey = \"/k\"\nauth = \"none\"\n\
             gun_prefixes = [\"{prefix}\"]\n"
        );
        let notary = Config::parse(&text).unwrap().notary;
        Self::with("permit (principal, action, resource);", |config| config.notary = notary).await
    }

    /// The same store and log, as the next process finds them.
    pub(super) async fn restarted(self) -> Self {
        let Self { house, clock, store, config, directory } = self;
        ended(house).await;
        let house = open(&config, &store, &clock).await;
        Self { house, clock, store, config, directory }
    }

    /// A house over a copy of the store, as a backup brings it back, beside the same log and ring.
    pub(super) async fn copied(self) -> Self {
        let provenance = Provenance { made_at_unix_seconds: NOW, checkpoint: String::new(), ring_sha256: [0; 32] };
        let mut snapshot = self.house.records().snapshot().await.unwrap();
        let copy = Store::memory();
        loop {
            snapshot.read_ahead().await.unwrap();
            let Some(rows) = snapshot.next_rows(&provenance).unwrap() else { break };
            let changes = rows.into_iter().map(|(key, value)| Change::Create { key, value }).collect();
            copy.write(changes).await.unwrap();
        }
        // What an import makes anew at its first unseal.
        let log_key = self.house.records().log_key().unwrap().unwrap();
        let source = RootSource::File { path: self.config.data_directory.join("root.kek") };
        let store_key = SoftwareCustodian::new(&self.config.ring(), 1).unseal(source).unwrap().store_key;
        let records = Records::open(copy.clone(), RecordLimits::default(), self.clock.clone()).await.unwrap();
        records.unseal(&store_key).await.unwrap();
        records.set_log_key_once(log_key).await.unwrap();
        drop(records);
        Self { store: copy, ..self }.restarted().await
    }

    /// What an unseal says when a row of this kind was taken away; it is put back.
    pub(super) async fn without_row(&self, kind: &[u8]) -> UnsealError {
        let (key, row) = self.store.scan(kind, None, 1).await.unwrap().pop().unwrap();
        self.store.write(vec![Change::Remove { key: key.clone(), expected: row.revision }]).await.unwrap();
        let source = RootSource::File { path: self.config.data_directory.join("root.kek") };
        let store_key = SoftwareCustodian::new(&self.config.ring(), 1).unseal(source).unwrap().store_key;
        let records = Records::open(self.store.clone(), RecordLimits::default(), self.clock.clone()).await.unwrap();
        let error = records.unseal(&store_key).await.unwrap_err();
        self.store.write(vec![Change::Create { key, value: row.value }]).await.unwrap();
        error
    }

    /// Writes something else into the first row of a kind.
    pub(super) async fn damage(&self, kind: &[u8]) {
        let (key, row) = self.store.scan(kind, None, 1).await.unwrap().pop().unwrap();
        let value = row.value.iter().rev().copied().collect();
        self.store.write(vec![Change::Replace { key, expected: row.revision, value }]).await.unwrap();
    }

    /// Another repository, with its first publication.
    pub(super) async fn published_to(&self, name: &str) {
        let (mut owner, gun) = (Owner::for_gun(2, name), gun(name));
        let mut keys = Vec::new();
        for role in [RoleName::Snapshot, RoleName::Timestamp] {
            keys.push(self.publisher().server_key(ASKER, &gun, &role, self.deadline()).await.unwrap());
        }
        let root = owner.root(keys.remove(0), keys.remove(0));
        self.publish_to(name, &[root, owner.targets("v1")]).await.unwrap();
    }

    /// From now on the daemon's keys for a role of a repository sign no more.
    pub(super) async fn retire(&self, name: &str, purpose: trust::Purpose) {
        for view in self.house.records().keys_of(&gun(name), purpose).unwrap() {
            let to = crate::records::StateChange { use_: trust::Use::Retired, trust: trust::Trust::Trusted };
            let anchor = self.house.anchor();
            self.house.records().set_state(view.record.id, view.state.epoch, to, anchor, None).await.unwrap();
        }
    }

    /// Custody comes back, which was sealed behind the daemon's back.
    pub(super) fn unseal_custody(&self) {
        let source = RootSource::File { path: self.config.data_directory.join("root.kek") };
        let _ = self.house.parts.keyring.unseal(source).unwrap();
    }

    /// From now on this policy is in force.
    pub(super) fn put_policy(&self, policy: &str) {
        std::fs::write(self.config.data_directory.join("policy.cedar"), policy).unwrap();
        assert!(self.house.authorizer().reload().unwrap(), "the policy is another one");
    }

    pub(super) fn publisher(&self) -> Publisher<'_> {
        self.house.publisher()
    }

    pub(super) fn deadline(&self) -> Duration {
        self.clock.monotonic() + Duration::from_secs(60)
    }

    /// Has the repository to itself.
    pub(super) async fn turn(&self) -> Turn {
        self.house.shelf().turn(&gun(GUN), &Waiter::Upkeep, Duration::from_secs(60)).await.unwrap()
    }

    pub(super) async fn publish(&self, files: &[Document]) -> Result<(), PublishError> {
        self.publish_to(GUN, files).await
    }

    pub(super) async fn publish_to(&self, name: &str, files: &[Document]) -> Result<(), PublishError> {
        self.publisher().publish(ASKER, &gun(name), sent(files), self.deadline()).await
    }

    pub(super) async fn key(&self, role: &RoleName) -> Key {
        self.publisher().server_key(ASKER, &gun(GUN), role, self.deadline()).await.unwrap()
    }

    pub(super) async fn current(&self, role: RoleName) -> Document {
        let served = self.publisher().current(&OWNER, &gun(GUN), &role).await.unwrap();
        Document::read(&role, &served.bytes).unwrap()
    }

    /// What a client walks: timestamp, then the others by the hashes in it. They are of one generation, or it panics.
    pub(super) async fn walk(&self) -> Repository {
        let timestamp = self.current(RoleName::Timestamp).await;
        let named = timestamp.as_timestamp().unwrap().snapshot().sha256();
        let snapshot = self.by_hash(RoleName::Snapshot, named).await;
        let files = snapshot.as_snapshot().unwrap().files().clone();
        let mut all = vec![timestamp, snapshot];
        for (role, meta) in files {
            all.push(self.by_hash(role, meta.sha256()).await);
        }
        let repository = Repository::of(all);
        repository.check_whole(&gun(GUN), i64::try_from(NOW).unwrap()).unwrap();
        repository
    }

    async fn by_hash(&self, role: RoleName, sha256: Sha256Digest) -> Document {
        let served = self.publisher().by_hash(&OWNER, &gun(GUN), &role, sha256).await.unwrap();
        Document::read(&role, &served.bytes).unwrap()
    }

    /// Every leaf of the log.
    pub(super) async fn leaves(&self) -> Vec<serde_json::Value> {
        let (size, _) = self.house.audit().durable();
        let entries = self.house.audit().entries(0, size, usize::MAX).await.unwrap();
        entries.iter().map(|entry| serde_json::from_slice(entry).unwrap()).collect()
    }

    /// Every intent to sign in the log: who, which role, which version, and the hash of what was signed.
    pub(super) async fn intents(&self) -> Vec<(String, String, String, String)> {
        let leaves = self.leaves().await.into_iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        leaves
            .filter(|leaf| leaf["kind"] == "intent" && leaf["subject"]["type"] == "tuf")
            .map(|leaf| {
                let subject = &leaf["subject"];
                (text(&leaf["principal"]), text(&subject["name"]), text(&subject["version"]), text(&subject["digest"]))
            })
            .collect()
    }
}

/// As a process ends.
pub(super) async fn ended(house: Arc<House>) {
    house.parts.tasks.close();
    house.parts.tasks.wait().await;
    tokio::task::spawn_blocking(move || drop(house)).await.unwrap();
}

async fn open(config: &Config, store: &Store, clock: &Clock) -> Arc<House> {
    let (house, opened) = try_open(config, store, clock).await;
    opened.unwrap();
    house
}

pub(super) fn open_log(config: &Config, clock: &Clock) -> (Audit, History) {
    let log = AuditConfig {
        directory: config.log_directory(),
        origin: config.log_origin.clone(),
        waiting_max: 1024,
        free_bytes_min: 0,
    };
    Audit::open(Audit::read(log).unwrap(), &STORE, clock.clone()).unwrap()
}

/// A house, and whether it opens.
pub(super) async fn try_open(config: &Config, store: &Store, clock: &Clock) -> (Arc<House>, Result<(), trust::Fault>) {
    let records = Records::open(store.clone(), RecordLimits::default(), clock.clone()).await.unwrap();
    let (audit, history) = open_log(config, clock);
    let PolicyConfig::File(policy) = &config.policy else { panic!("no policy") };
    let authorizer = Arc::new(Authorizer::load(PolicySource::File(policy.clone())).unwrap());
    let custodian = SoftwareCustodian::new(&config.ring(), 64);
    let revision = {
        let authorizer = Arc::clone(&authorizer);
        Box::new(move || authorizer.revision())
    };
    let shared: Arc<dyn Custodian> = Arc::new(custodian.clone());
    let limits = CustodyLimits { sessions: 2, waiting_max: 256 };
    let tables = Arc::new(Tables::new(4, clock.clone()));
    let custody =
        Custody::start(shared, records.clone(), clock.clone(), Arc::clone(&tables), limits, revision).unwrap();
    let keyring: Arc<dyn KeyRing> = Arc::new(custodian);
    let parts = Parts {
        config: config.clone(),
        clock: clock.clone(),
        records,
        audit: Arc::new(audit),
        authorizer,
        custody: Custodians::new(custody, Vec::new()),
        tables,
        keyring,
        identity: Identity::new(None, None, Box::new(Vec::new)),
        pace: Pace::new(1000, 1000),
        metrics: Metrics::default(),
        health: HealthReporter::new(),
        tasks: TaskTracker::new(),
        drain: tokio_util::sync::CancellationToken::new(),
        started_at_unix_seconds: NOW,
    };
    let house = House::new(parts, history);
    let source = RootSource::File { path: config.data_directory.join("root.kek") };
    let opened = house.open_up(Opening::Secret(source)).await;
    (house, opened)
}

/// Files as a door hands them over.
pub(super) fn sent(files: &[Document]) -> Sent {
    let parts = files.iter().map(|file| Part::read(file.role(), file.raw()).unwrap()).collect();
    Sent { parts, held: Vec::new() }
}

/// Who comes to the Notary door without a name.
pub(super) fn nobody() -> Principal {
    Principal::Anonymous(trust::principal::Name::parse("notary").unwrap())
}

pub(super) fn gun(name: &str) -> Gun {
    name.parse().unwrap()
}

pub(super) fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// A repository with its first publication.
pub(super) async fn published() -> (Scene, Owner) {
    let (scene, mut owner) = (Scene::new().await, Owner::new(1));
    let files = first(&scene, &mut owner).await;
    scene.publish(&files).await.unwrap();
    (scene, owner)
}

/// What is sent first.
pub(super) async fn first(scene: &Scene, owner: &mut Owner) -> Vec<Document> {
    let (snapshot, timestamp) = (scene.key(&RoleName::Snapshot).await, scene.key(&RoleName::Timestamp).await);
    vec![owner.root(snapshot, timestamp), owner.targets("v1")]
}
