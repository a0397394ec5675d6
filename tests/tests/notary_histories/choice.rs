//! What comes next in a history, by chance: mostly what its owner would do, and often enough something else.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Fault, File, OWN, ROOTS, Role, Root, Snapshot, Targets, Upload};
use super::random::Random;

pub(crate) const ABSENT: &str = "a snapshot of files that are not there";
pub(crate) const DELETED: &str = "a repository that was deleted and is published again";
pub(crate) const EMPTY: &str = "an upload without a file";
pub(crate) const KEY_TWICE: &str = "a key twice in a role";
pub(crate) const LEAP: &str = "a version far beyond the last";
pub(crate) const LENGTH: &str = "a snapshot with another length or SHA-512";
pub(crate) const LEFT_OUT: &str = "a snapshot that leaves out a delegation's file";
pub(crate) const NOBODYS: &str = "a root that leaves the targets to nobody";
pub(crate) const NO_ROLE: &str = "a snapshot that names what is no role";
pub(crate) const ROLE_TWICE: &str = "a role twice in one upload";
/// How the rows begin of docs/content-trust.md that a difference may come from.
pub(crate) const ROWS: [&str; 10] =
    [ABSENT, DELETED, EMPTY, KEY_TWICE, LEAP, LEFT_OUT, LENGTH, NOBODYS, NO_ROLE, ROLE_TWICE];

const LEAP_MAX: u32 = 1 << 20;
/// Delegations, parents first.
const BELOW: [&str; 3] = ["targets/a", "targets/b", "targets/a/b"];

/// What both have of a repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub(crate) root: Option<Root>,
    pub(crate) targets: BTreeMap<&'static str, Targets>,
    pub(crate) snapshot: u32,
    /// Which versions roles had before the repository was deleted.
    pub(crate) marks: BTreeMap<&'static str, u32>,
}

/// What is sent, which rows may make a difference to it, and what there is when it is taken.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) upload: Upload,
    pub(crate) rows: BTreeSet<&'static str>,
    pub(crate) after: Held,
}

impl Held {
    pub(crate) fn deleted(&self) -> Self {
        let mut marks = self.marks.clone();
        let root = self.root.iter().map(|root| ("root", root.version));
        let targets = self.targets.iter().map(|(role, targets)| (*role, targets.version));
        for (role, version) in root.chain(targets).chain([("snapshot", self.snapshot)]) {
            let mark = marks.entry(role).or_default();
            *mark = version.max(*mark);
        }
        Self { marks, ..Self::default() }
    }

    fn authority(&self, role: &str) -> Role {
        let said = match role.rsplit_once('/') {
            None => self.root.as_ref().map(|root| root.targets.clone()),
            Some((parent, _)) => self
                .targets
                .get(parent)
                .and_then(|parent| parent.below.iter().find(|(name, _)| name == role).map(|(_, said)| said.clone())),
        };
        // Whoever is not delegated to sends all the same.
        said.unwrap_or_else(|| Role::of(&[10]))
    }
}

pub(crate) fn step(held: &Held, random: &mut Random) -> Step {
    let is_new = held.root.is_none();
    let mut step = Step { upload: Vec::new(), rows: BTreeSet::new(), after: held.clone() };
    if if is_new { !random.is_one_in(20) } else { random.is_one_in(5) } {
        step.root(random);
    }
    if if is_new { !random.is_one_in(20) } else { random.is_one_in(2) } {
        step.targets("targets", random);
    }
    for role in BELOW {
        let is_delegated = step.after.targets.values().any(|parent| parent.below.iter().any(|(name, _)| name == role));
        if random.is_one_in(if is_delegated { 2 } else { 25 }) {
            step.targets(role, random);
        }
    }
    // A history ends where the two differ, and of nothing they make something else.
    if step.upload.is_empty() && !random.is_one_in(12) {
        step.targets("targets", random);
    }
    if !step.upload.is_empty() && random.is_one_in(30) {
        step.twice(random);
    }
    let is_of_client = step.after.root.as_ref().is_some_and(|root| root.snapshot.keys.contains(&5));
    if if is_of_client { !random.is_one_in(12) } else { random.is_one_in(20) } {
        step.snapshot(random);
    }
    if random.is_one_in(12) {
        let odd = [("timestamp", "{}"), ("bogus", "{}"), ("targets/UPPER", "{}"), ("", "{}"), ("targets/b", "{")];
        let (name, bytes) = *random.one_of(&odd);
        if step.upload.iter().all(|(sent, _)| *sent != name) {
            step.upload.push((name, File::Bytes(bytes)));
        }
    }
    step.differences(held);
    for place in (1..step.upload.len()).rev() {
        let other = random.below(place + 1);
        // Of two for one role the last counts for the original.
        if !step.rows.contains(ROLE_TWICE) {
            step.upload.swap(place, other);
        }
    }
    step
}

/// The next version, or one that is not.
fn version(last: Option<u32>, random: &mut Random) -> u32 {
    let last = last.unwrap_or(0);
    match random.below(36) {
        0 | 1 => last,
        2 => last.saturating_sub(1),
        3 => 0,
        4 => last + 2,
        5 => last + 9,
        6 => last + LEAP_MAX + 1,
        7 => last + LEAP_MAX,
        8 => 0x7fff_ffff,
        _ => last + 1,
    }
}

impl Step {
    fn root(&mut self, random: &mut Random) {
        let last = self.after.root.clone();
        let mut root = last.clone().unwrap_or_else(|| Root {
            version: 0,
            expired: false,
            roots: Role::of(&ROOTS[..1]),
            targets: Role::of(&[3]),
            snapshot: Role::of(if random.is_one_in(3) { &[5] } else { &[OWN] }),
            timestamp: Role::of(&[OWN]),
            signers: Vec::new(),
        });
        root.version = match (&last, self.after.marks.get("root")) {
            // A version that leaps is wrong for both.
            (None, Some(ended)) => *random.one_of(&[1, 2, *ended, ended + 1]),
            _ if random.is_one_in(6) => version(last.as_ref().map(|root| root.version), random),
            (last, _) => last.as_ref().map_or(0, |root| root.version) + 1,
        };
        root.expired = random.is_one_in(30);
        if random.is_one_in(4) {
            root.targets = Role::of(random.one_of::<&[u8]>(&[&[3], &[4], &[3, 4]]));
            root.targets.threshold = *random.one_of(&[1, 1, 1, 2, 0]);
        }
        if random.is_one_in(4) {
            root.snapshot = Role::of(random.one_of::<&[u8]>(&[&[OWN], &[5], &[OWN, 5]]));
        }
        if random.is_one_in(25) {
            root.timestamp = Role::of(random.one_of::<&[u8]>(&[&[6], &[OWN, 6]]));
        }
        if random.is_one_in(4) {
            root.roots = Role::of(random.one_of::<&[u8]>(&[&ROOTS[..1], &ROOTS[1..], &ROOTS]));
            root.roots.threshold = *random.one_of(&[1, 1, 2]);
        }
        let before = last.iter().flat_map(|last| last.roots.keys.clone());
        let both: BTreeSet<_> = root.roots.keys.iter().copied().chain(before).collect();
        root.signers = both.into_iter().collect();
        if random.is_one_in(8) {
            root.signers = random.one_of::<&[u8]>(&[&ROOTS[..1], &ROOTS[1..], &[9], &[]]).to_vec();
        }
        self.after.root = Some(root.clone());
        self.upload.push(("root", File::Root(root)));
    }

    fn targets(&mut self, role: &'static str, random: &mut Random) {
        let last = self.after.targets.get(role);
        let authority = self.after.authority(role);
        let behind = last.map(|last| last.version).or_else(|| self.after.marks.get(role).copied());
        let mut targets = Targets {
            kind: if random.is_one_in(60) { "Root" } else { "Targets" },
            version: version(behind, random),
            expired: random.is_one_in(40),
            tag: random.next() % 100,
            below: last.map(|last| last.below.clone()).unwrap_or_default(),
            signers: authority.keys.clone(),
        };
        let children: &[(&'static str, &[u8])] = match role {
            "targets" => &[("targets/a", &[10, 11]), ("targets/b", &[12])],
            "targets/a" => &[("targets/a/b", &[13])],
            _ => &[],
        };
        for (name, keys) in children {
            if random.is_one_in(3) {
                targets.below.retain(|(child, _)| child != name);
                if !random.is_one_in(4) {
                    let mut said = Role::of(random.one_of::<&[u8]>(&[keys, &keys[..1], &keys[keys.len() - 1..]]));
                    said.threshold = *random.one_of(&[1, 1, 1, 1, 2, 3, 0]);
                    if random.is_one_in(30) {
                        said.keys.push(said.keys[0]);
                    }
                    targets.below.push(((*name).to_owned(), said));
                }
            }
        }
        if random.is_one_in(10) {
            targets.signers =
                random.one_of::<&[u8]>(&[&authority.keys[..1], &[9], &[], &[3, 3], &[3], &[10, 10]]).to_vec();
        }
        self.after.targets.insert(role, targets.clone());
        self.upload.push((role, File::Targets(targets)));
    }

    fn twice(&mut self, random: &mut Random) {
        let mut again = random.one_of(&self.upload).clone();
        if let File::Targets(targets) = &mut again.1 {
            targets.version += 1;
            self.after.targets.insert(again.0, targets.clone());
        }
        self.rows.insert(ROLE_TWICE);
        self.upload.push(again);
    }

    fn snapshot(&mut self, random: &mut Random) {
        let root = self.after.root.as_ref();
        let last = Some(self.after.snapshot).filter(|last| *last > 0);
        let is_right = !random.is_one_in(6);
        let role = *random.one_of(&["root", "targets", "targets/a"]);
        let fault = match random.below(7) {
            _ if is_right => Fault::None,
            0 | 1 => Fault::Another(role),
            2 => Fault::Length(role),
            3 => Fault::LongHash(role),
            4 => Fault::NoLongHash,
            5 => Fault::NoRole,
            _ => Fault::Without(role),
        };
        let behind = last.or_else(|| self.after.marks.get("snapshot").copied());
        let snapshot = Snapshot {
            version: version(behind, random),
            expired: random.is_one_in(30),
            signers: if random.is_one_in(20) {
                vec![9]
            } else {
                root.map_or(vec![5], |root| root.snapshot.keys.clone())
            },
            fault,
        };
        self.after.snapshot = snapshot.version;
        self.upload.push(("snapshot", File::Snapshot(snapshot)));
    }

    /// Names the rows that may make a difference to what is sent.
    fn differences(&mut self, held: &Held) {
        let sends = |role: &str| self.upload.iter().any(|(name, _)| *name == role);
        let mut rows = Vec::new();
        if self.upload.iter().all(|(role, _)| *role == "timestamp") {
            rows.push(EMPTY);
        }
        if let (true, false, Some(root)) = (sends("root"), sends("targets"), &self.after.root) {
            rows.extend(
                held.targets.get("targets").filter(|last| !root.targets.is_met_by(&last.signers)).map(|_| NOBODYS),
            );
        }
        for (name, file) in &self.upload {
            let (version, last) = match file {
                File::Bytes(_) => continue,
                File::Root(root) => (root.version, held.root.as_ref().map(|root| root.version)),
                File::Snapshot(snapshot) => (snapshot.version, Some(held.snapshot)),
                File::Targets(targets) => (targets.version, held.targets.get(name).map(|last| last.version)),
            };
            if version > last.unwrap_or(0).saturating_add(LEAP_MAX) || version >= 0x7fff_ffff {
                rows.push(LEAP);
            }
            if held.marks.get(name).is_some_and(|mark| version <= *mark || (*name == "root" && version > 2)) {
                rows.push(DELETED);
            }
            match file {
                File::Targets(targets) => {
                    let is_twice = |role: &Role| role.keys.iter().collect::<BTreeSet<_>>().len() < role.keys.len();
                    rows.extend(targets.below.iter().filter(|(_, role)| is_twice(role)).map(|_| KEY_TWICE));
                }
                File::Snapshot(snapshot) => rows.extend(match snapshot.fault {
                    // Of what is sent with it, the original looks at it, too.
                    Fault::Another(role) if !sends(role) => Some(ABSENT),
                    Fault::Length(_) => Some(LENGTH),
                    Fault::LongHash(role) if !sends(role) => Some(LENGTH),
                    Fault::NoRole => Some(NO_ROLE),
                    Fault::Without(role) if role.contains('/') => Some(LEFT_OUT),
                    _ => None,
                }),
                File::Bytes(_) | File::Root(_) => {}
            }
        }
        self.rows.extend(rows);
    }
}
