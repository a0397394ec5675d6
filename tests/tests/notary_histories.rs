//! Repositories whose life is chance, at Debian's notary-server and at the daemon: what one of them takes the other takes,
//! and both then have the same files in the same versions. Where they differ, the documents say so in a row of their table,
//! which has to be about what was sent.
//!
//! `TRUSTD_TEST_LONG=1` goes on for five minutes, with others each time; `TRUSTD_TEST_SEED` plays those of a seed again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "scene and workshop serve several tests")]

#[path = "notary_histories/choice.rs"]
mod choice;
#[path = "notary_histories/model.rs"]
mod model;
#[path = "notary/original.rs"]
mod original;
#[path = "notary/random.rs"]
mod random;
#[path = "notary/scene.rs"]
mod scene;
#[path = "../../trust/tests/tuf/workshop.rs"]
mod workshop;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use serde_json::Value;
use trust::Sha256Digest;

use choice::{DELETED, EMPTY, Held, ROLE_TWICE, ROWS, Step, step};
use model::{File, Keys, ROLES, Server};
use original::original;
use random::{Random, is_long, seed};
use scene::{Plan, Scene};

/// So many uploads have a repository at most.
const STEPS_MAX: usize = 16;
/// Up to here each version is asked for.
const VERSIONS_MAX: u32 = 20;
/// How many differences are shown.
const SHOWN_MAX: usize = 8;

/// What came of a step, at both.
enum Came {
    Refused,
    Taken,
    /// They differ, and a row says why.
    Differs(&'static str),
    /// They differ, and none does.
    Wrong(String),
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a real program runs in real time")]
fn what_one_of_them_takes_the_other_takes_and_has() {
    let seed = seed();
    let (histories, end) = if is_long() { (100_000, 300) } else { (30, 60) };
    let end = Instant::now() + Duration::from_secs(end);
    let scene = Scene::started(&Plan::open());
    let (_running, door) = original(&scene);
    let mut servers = [Server::new(door), Server::new(scene.at(scene.address))];
    let keys = Keys::new();
    let mut random = Random(seed);
    let (mut taken, mut refused, mut rows, mut wrong) = (0_u32, 0_u32, BTreeMap::<_, u32>::new(), Vec::new());

    for history in 0..histories {
        if Instant::now() > end || wrong.len() >= SHOWN_MAX {
            break;
        }
        servers.iter_mut().for_each(|server| server.begins(&format!("ex.io/history-{history}")));
        let (mut held, mut is_same) = (Held::default(), true);
        for number in 0..STEPS_MAX {
            if held.root.is_some() && random.is_one_in(20) {
                assert_eq!([200; 2], [0, 1].map(|at: usize| servers[at].delete()));
                servers.iter_mut().for_each(Server::ends);
                held = held.deleted();
            }
            let step = step(&held, &mut random);
            match played(&mut servers, &keys, &held, &step) {
                Came::Refused => refused += 1,
                Came::Taken => {
                    taken += 1;
                    held = Held { snapshot: version_of(&servers[1].get("snapshot").json()), ..step.after };
                }
                // From here on they have different things.
                Came::Differs(row) => {
                    *rows.entry(row).or_default() += 1;
                    is_same = false;
                    break;
                }
                Came::Wrong(why) => {
                    wrong.push(format!("history {history}, step {number}: {why}\n{:#?}", step.upload));
                    is_same = false;
                    break;
                }
            }
        }
        if let Some(why) = is_same.then(|| older(&servers, &held)).flatten() {
            wrong.push(format!("history {history}, at its end: {why}"));
        }
    }

    println!("{taken} taken and {refused} refused by both; by row: {rows:#?}");
    assert!(wrong.is_empty(), "seed {seed}: differences of which no row speaks:\n{}", wrong.join("\n"));
    assert!(taken > 0 && refused > 0, "nothing was compared");
}

#[test]
fn each_row_that_may_make_a_difference_stands_in_the_document() {
    let document = include_str!("../../docs/content-trust.md");
    let table = document.split("## What differs from notary-server").nth(1).unwrap();

    for row in ROWS {
        assert!(table.lines().any(|line| line.starts_with(&format!("| {row}"))), "no row begins with {row:?}");
    }
}

/// Sends a step to both, and looks what they have then.
fn played(servers: &mut [Server; 2], keys: &Keys, held: &Held, step: &Step) -> Came {
    let files = [0, 1].map(|at: usize| servers[at].written(keys, &step.upload));
    let [(theirs, why), (ours, said)] = [0, 1].map(|at: usize| servers[at].send(&files[at]));
    let differs = |what: String| {
        let row = step.rows.iter().find(|row| explains(row, theirs, ours));
        row.map_or(Came::Wrong(what), |row| Came::Differs(row))
    };
    let code = |said: &str| said.split(' ').next().unwrap_or_default().to_owned();
    if (theirs, code(&why)) != (ours, code(&said)) {
        return differs(format!("{theirs} {why}, ours {ours} {said}"));
    }
    if ours != 200 {
        return Came::Refused;
    }
    for (server, files) in servers.iter_mut().zip(&files) {
        for ((name, bytes), (_, file)) in files.iter().zip(&step.upload) {
            let version = match file {
                // A timestamp that is sent is passed over.
                File::Bytes(_) => continue,
                File::Root(root) => root.version,
                File::Snapshot(snapshot) => snapshot.version,
                File::Targets(targets) => targets.version,
            };
            server.held.insert(name, bytes.clone());
            server.taken.insert((name, version), bytes.clone());
        }
        if step.upload.iter().all(|(name, _)| *name != "snapshot") {
            server.held.remove("snapshot");
        }
    }
    current(servers, held).map_or(Came::Taken, differs)
}

/// Whether such a difference may come of a row.
fn explains(row: &str, theirs: u16, ours: u16) -> bool {
    match row {
        // It takes what the original does not, too; and refuses with another code what both refuse.
        DELETED | ROLE_TWICE => true,
        EMPTY => theirs == 200 && ours == 200,
        _ => theirs == 200 && ours == 400,
    }
}

/// What they have now that is not the same, or not what was sent.
fn current(servers: &[Server; 2], held: &Held) -> Option<String> {
    let mut both = Vec::new();
    for server in servers {
        let answers = ROLES.map(|role| (role, server.get(role)));
        let files: BTreeMap<_, _> = answers.iter().filter(|(_, answer)| answer.status == 200).cloned().collect();
        for (role, sent) in &server.held {
            if files.get(role).map(|answer| &answer.body) != Some(sent) {
                return Some(format!("{role} is not what was sent"));
            }
        }
        let mut known = BTreeMap::new();
        for (role, answer) in &files {
            let file = answer.json();
            known.insert((*role).to_owned(), version_of(&file));
            if !matches!(*role, "snapshot" | "timestamp") {
                continue;
            }
            for (named, meta) in file["signed"]["meta"].as_object().into_iter().flatten() {
                let body = files.get(named.as_str()).map(|answer| Sha256Digest::of(&answer.body));
                if body.map(|hash| workshop::base64(hash.as_bytes())).as_deref() != meta["hashes"]["sha256"].as_str() {
                    return Some(format!("{named} is not what {role} names"));
                }
                known.insert(format!("{named} in {role}"), 1);
            }
        }
        both.push(known);
    }
    same(both, held)
}

/// What there is of older versions that is not the same, or not what was sent.
fn older(servers: &[Server; 2], held: &Held) -> Option<String> {
    let mut both = Vec::new();
    for server in servers {
        let mut known = BTreeMap::new();
        for ((role, version), sent) in &server.taken {
            let answer = server.get(&format!("{version}.{role}"));
            if answer.status != 200 || answer.body != *sent {
                return Some(format!("version {version} of {role} is not what was sent: {}", answer.status));
            }
        }
        for role in ROLES {
            let is_read = |version: &u32| server.get(&format!("{version}.{role}")).status == 200;
            known.insert(role.to_owned(), (1..=VERSIONS_MAX).filter(is_read).collect::<Vec<_>>());
        }
        both.push(known);
    }
    same(both, held)
}

/// What differs in what both have, by role.
fn same<T: PartialEq + Debug>(mut both: Vec<BTreeMap<String, T>>, held: &Held) -> Option<String> {
    // Behind a deletion the original begins with version 1 again: that is the row's.
    let is_other = |role: &str| !held.marks.is_empty() && matches!(role, "snapshot" | "timestamp");
    both.iter_mut().for_each(|known| known.retain(|role, _| !is_other(role)));
    (both[0] != both[1]).then(|| format!("theirs {:?}, ours {:?}", both[0], both[1]))
}

fn version_of(file: &Value) -> u32 {
    file["signed"]["version"].as_u64().and_then(|version| version.try_into().ok()).unwrap_or(0)
}
