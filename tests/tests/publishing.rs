//! Trust data through rollbacks, kills and crowds: readers see one publication or the next, and a version that the
//! daemon signed never comes again with other bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "scene, workshop and owner serve several tests")]

#[path = "publishing/crowd.rs"]
mod crowd;
#[path = "publishing/older_store.rs"]
mod older_store;
#[path = "notary/owner.rs"]
mod owner;
#[path = "notary/scene.rs"]
mod scene;
#[path = "../../trust/tests/tuf/workshop.rs"]
mod workshop;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use trust::Sha256Digest;
use trust_tests::rounds::{random_below, rounds};
use trust_tests::wait::soon;

use owner::Owner;
use scene::{Door, Plan, Scene};
use workshop::TestKey;

/// What some reader saw of the files that the daemon signs, over all its lives: no version twice with other bytes.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<(String, u64), Sha256Digest>>);

impl Seen {
    fn note(&self, gun: &str, role: &str, version: u64, bytes: &[u8]) {
        let sha256 = Sha256Digest::of(bytes);
        let held = *self.0.lock().unwrap().entry((format!("{gun} {role}"), version)).or_insert(sha256);
        assert_eq!(held, sha256, "version {version} of the {role} of {gun} came again with other bytes");
    }
}

/// What a client reads, as docker does: the timestamp, and by their hashes what it names and what that names.
struct Generation {
    timestamp: Vec<u8>,
    snapshot: Vec<u8>,
    /// Of every file.
    versions: BTreeMap<String, u64>,
}

fn version_in(bytes: &[u8]) -> u64 {
    serde_json::from_slice::<Value>(bytes).unwrap()["signed"]["version"].as_u64().unwrap()
}

impl Generation {
    /// Every file is there and is the one that is named.
    fn read(door: &Door, gun: &str, seen: &Seen) -> Self {
        let get = |name: &str| {
            let answer = door.ask(&format!("GET /v2/{gun}/_trust/tuf/{name}.json"));
            assert_eq!(answer.status, 200, "{name} of {gun}: {}", answer.text());
            answer.body
        };
        let by_hash = |role: &str, meta: &Value| {
            let wanted = STANDARD.decode(meta["hashes"]["sha256"].as_str().unwrap()).unwrap();
            let bytes = get(&format!("{role}.{}", Sha256Digest::from_bytes(wanted.try_into().unwrap()).to_hex()));
            assert_eq!(workshop::meta(&bytes), *meta, "{role} of {gun}");
            bytes
        };
        let signed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["signed"].clone();
        let timestamp = get("timestamp");
        let snapshot = by_hash("snapshot", &signed(&timestamp)["meta"]["snapshot"]);
        let mut versions = BTreeMap::from([
            ("timestamp".to_owned(), version_in(&timestamp)),
            ("snapshot".to_owned(), version_in(&snapshot)),
        ]);
        for (role, meta) in signed(&snapshot)["meta"].as_object().unwrap() {
            versions.insert(role.clone(), version_in(&by_hash(role, meta)));
        }
        seen.note(gun, "timestamp", versions["timestamp"], &timestamp);
        seen.note(gun, "snapshot", versions["snapshot"], &snapshot);
        Self { timestamp, snapshot, versions }
    }
}

/// A repository whose targets and delegation are always of the same version: whoever sees two sees a mixture.
struct Pair {
    owner: Owner,
    alice: TestKey,
}

impl Pair {
    /// Published once.
    fn new(door: &Door, name: &str) -> Self {
        let pair = Self { owner: Owner::of(door, name), alice: TestKey::ed25519(6) };
        let (targets, delegated) = pair.files(1);
        let root = pair.owner.signed_root(1);
        pair.owner.taken(&[("root", &root), ("targets", &targets), ("targets/a", &delegated)]);
        pair
    }

    fn files(&self, version: u32) -> (Vec<u8>, Vec<u8>) {
        let targets = owner::delegating(version, "targets/a", &self.alice);
        (workshop::file(&targets, &[&self.owner.targets]), workshop::file(&owner::targets(version), &[&self.alice]))
    }

    /// Whether it was acknowledged; an error where the daemon is gone.
    fn publish(&self, version: u32) -> std::io::Result<()> {
        let (targets, delegated) = self.files(version);
        let answer =
            self.owner.door.try_publish(&self.owner.gun, &[("targets", &targets), ("targets/a", &delegated)])?;
        assert_eq!(answer.status, 200, "version {version}: {}", answer.text());
        Ok(())
    }

    /// The version of what is current, the whole of it.
    fn check(&self, seen: &Seen) -> u32 {
        let read = Generation::read(&self.owner.door, &self.owner.gun, seen);
        assert_eq!(read.versions.len(), 5, "{:?}", read.versions);
        assert_eq!(read.versions["targets"], read.versions["targets/a"], "a mixture: {:?}", read.versions);
        u32::try_from(read.versions["targets"]).unwrap()
    }
}

/// How far the writers of one round are.
#[derive(Default)]
struct Progress {
    begun: AtomicBool,
    acknowledged: AtomicBool,
}

/// Publishes one version after the other until the daemon is gone; the last that was acknowledged, and the last of all.
fn publish_until_killed(pair: &Pair, from: u32, progress: &Progress) -> (u32, u32) {
    let mut acknowledged = from;
    loop {
        let next = acknowledged + 1;
        progress.begun.store(true, Ordering::Release);
        if pair.publish(next).is_err() {
            return (acknowledged, next);
        }
        progress.acknowledged.store(true, Ordering::Release);
        acknowledged = next;
    }
}

/// Of every version that the log says was to be signed, the one hash of what its signature covers.
async fn signed_once(scene: &Scene) -> usize {
    let user = scene.daemon.caller().await.unwrap();
    let (mut first, mut signed) = (0_u64, BTreeMap::new());
    loop {
        let leaves = user.leaves(first).await.unwrap();
        if leaves.is_empty() {
            return signed.len();
        }
        first += u64::try_from(leaves.len()).unwrap();
        for subject in leaves.iter().filter(|leaf| leaf["kind"] == "intent").map(|leaf| &leaf["subject"]) {
            if subject["type"] == "tuf" {
                let place = [&subject["reference"], &subject["name"], &subject["version"]].map(Value::to_string);
                let digest = subject["digest"].to_string();
                assert_eq!(*signed.entry(place.clone()).or_insert_with(|| digest.clone()), digest, "{place:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_instants_it_shows_the_old_or_the_new_and_no_version_twice() {
    let kills = rounds(100, 1000);
    let mut scene = Scene::started(&Plan::open());
    let pairs = ["one", "two"].map(|name| Pair::new(&scene, name));
    let (mut current, seen) = ([1, 1], Seen::default());

    for round in 0..kills {
        let progress = &Progress::default();
        let instant = Duration::from_micros(random_below(150_000));
        let ends = std::thread::scope(|scope| {
            let writers: Vec<_> = pairs
                .iter()
                .zip(current)
                .map(|(pair, from)| scope.spawn(move || publish_until_killed(pair, from, progress)))
                .collect();
            // Every other round after a whole publication, however long that takes on this machine.
            let reached = if round % 2 == 0 { &progress.begun } else { &progress.acknowledged };
            soon("a publication", || reached.load(Ordering::Acquire)).unwrap();
            std::thread::sleep(instant); // the random instant is what is tested
            scene.daemon.kill().unwrap();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
        });
        scene.daemon.launch().unwrap_or_else(|error| panic!("round {round}, killed after {instant:?}: {error:#}"));

        for ((pair, now), (acknowledged, tried)) in pairs.iter().zip(&mut current).zip(ends) {
            *now = pair.check(&seen);
            let is_either = *now == acknowledged || *now == tried;
            assert!(
                is_either,
                "round {round}, {instant:?}: {now} of {acknowledged} and {tried}\n{}",
                scene.daemon.log()
            );
        }
    }
    assert!(current.iter().sum::<u32>() > kills / 2, "every other round publishes: {current:?}");
    for (pair, now) in pairs.iter().zip(current) {
        pair.publish(now + 1).unwrap();
        assert_eq!(pair.check(&seen), now + 1);
    }
    let signed = signed_once(&scene).await;
    println!("{kills} kills, versions {current:?} reached, {signed} versions signed, none twice");
}

/// Says so when it goes, in whatever way.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn eight_readers_see_whole_publications_and_never_an_older_one() {
    const READERS: usize = 8;
    let publications = rounds(1000, 10_000);
    let scene = Scene::started(&Plan::open());
    let pair = Pair::new(&scene, "read");
    let (seen, is_over) = (Seen::default(), AtomicBool::new(false));

    let reads: usize = std::thread::scope(|scope| {
        let read = || {
            let (mut last, mut reads, mut is_last) = (0, 0, false);
            while !is_last {
                // Once more after the end: whoever saw nothing of it sees the last.
                is_last = is_over.load(Ordering::Acquire);
                let (before, now) = (Generation::read(&scene, &pair.owner.gun, &seen), pair.check(&seen));
                assert!(now >= last, "{now} after {last}");
                (last, reads) = (now, reads + 1);
                // What is current by name, between two looks at a timestamp that stayed.
                let snapshot = pair.owner.get("snapshot.json").body;
                if pair.owner.get("timestamp.json").body == before.timestamp {
                    assert_eq!(snapshot, before.snapshot);
                }
            }
            assert_eq!(last, publications + 1);
            reads
        };
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        // Also when a publication fails: the readers would go on for ever.
        let over = OnDrop(&is_over);
        for version in 2..=publications + 1 {
            pair.publish(version).unwrap();
        }
        drop(over);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });

    println!("{publications} publications, {reads} generations read by {READERS}");
    a_page_of_the_changefeed_ends(&pair.owner, publications + 1);
}

/// Somebody who asks for all changes gets the first or the last thousand, and comes back for the others.
fn a_page_of_the_changefeed_ends(owner: &Owner, changes: u32) {
    let page = |query: &str| {
        let answer = owner.door.ask(&format!("GET /v2/{}/_trust/changefeed?{query}", owner.gun));
        let page: Value = answer.json();
        let ids =
            page["records"].as_array().unwrap().iter().map(|record| record["ID"].as_str().unwrap().parse::<u32>());
        let ids: Vec<u32> = ids.collect::<Result<_, _>>().unwrap();
        assert_eq!(page["count"], ids.len());
        (ids.len(), *ids.first().unwrap(), *ids.last().unwrap())
    };
    assert!(changes > 1000, "{changes}");

    assert_eq!(page("records=2147483647"), (1000, 1, 1000));
    assert_eq!(page("records=-2147483647"), (1000, changes - 999, changes));
    let rest = page("records=2147483647&change_id=1000");
    assert_eq!((rest.0, rest.1), ((changes - 1000).min(1000).try_into().unwrap(), 1001));
}
