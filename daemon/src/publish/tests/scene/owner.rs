//! An owner of a repository, with keys of root and targets outside the daemon.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, IsCa, KeyPair, SigningKey as _};
use trust::format::json::{Integer, Value};
use trust::format::tuf::plan::{Change as Planned, NewDelegation, NewTarget, Speakers, Unsigned};
use trust::format::tuf::{Document, Expires, Key, KeyKind, Repository, RoleName};
use trust::{Algorithm, Sha256Digest, Signature};

use super::{GUN, NOW};

/// Who owns a repository: the keys of root and targets.
pub(in super::super) struct Owner {
    root: Key,
    root_pair: KeyPair,
    targets: Key,
    targets_pair: ed25519_dalek::SigningKey,
    /// What was signed last, as the owner has it.
    pub(in super::super) repository: Repository,
}

impl Owner {
    pub(in super::super) fn new(seed: u8) -> Self {
        Self::for_gun(seed, GUN)
    }

    pub(in super::super) fn for_gun(seed: u8, name: &str) -> Self {
        let root_pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2046, 1, 1);
        params.is_ca = IsCa::ExplicitNoCa;
        let pem = params.self_signed(&root_pair).unwrap().pem();
        let targets_pair = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        Self {
            root: Key::new(KeyKind::EcdsaX509, pem.into_bytes()).unwrap(),
            root_pair,
            targets: Key::new(KeyKind::Ed25519, targets_pair.verifying_key().as_bytes().to_vec()).unwrap(),
            targets_pair,
            repository: Repository::default(),
        }
    }

    /// One with the targets key of `seed`, who goes on with a repository.
    pub(in super::super) fn of(seed: u8, repository: &Repository) -> Self {
        Self { repository: repository.clone(), ..Self::new(seed) }
    }

    /// The next root, with the daemon's keys in it.
    pub(in super::super) fn root(&mut self, snapshot: Key, timestamp: Key) -> Document {
        self.root_of(Speakers::one(snapshot), Speakers::one(timestamp))
    }

    /// The next root, whose snapshots are signed by the daemon or by the owner, with the key of the targets.
    pub(in super::super) fn root_with_either_snapshot(&mut self, snapshot: Key, timestamp: Key) -> Document {
        let keys = vec![snapshot, self.targets.clone()];
        self.root_of(Speakers { keys, threshold: 1 }, Speakers::one(timestamp))
    }

    /// The same with several of them.
    pub(in super::super) fn root_of(&mut self, snapshot: Speakers, timestamp: Speakers) -> Document {
        let speakers = [
            (RoleName::Root, Speakers::one(self.root.clone())),
            (RoleName::Targets, Speakers::one(self.targets.clone())),
            (RoleName::Snapshot, snapshot),
            (RoleName::Timestamp, timestamp),
        ];
        let unsigned = self.repository.next_root(&speakers, &far()).unwrap();
        self.sign(&unsigned)
    }

    /// The next root, whose snapshots the owner signs, by the key of the targets.
    pub(in super::super) fn root_with_own_snapshot(&mut self, timestamp: Key) -> Document {
        self.root(self.targets.clone(), timestamp)
    }

    /// The next snapshot, which counts for so long.
    pub(in super::super) fn snapshot(&mut self, life: Duration) -> Document {
        let ends = Expires::at(i64::try_from(NOW + life.as_secs()).unwrap()).unwrap();
        let unsigned = self.repository.next_snapshot(&ends).unwrap();
        self.sign(&unsigned)
    }

    /// The same in other words than the daemon would write.
    pub(in super::super) fn snapshot_otherwise(
        &mut self,
        life: Duration,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> Document {
        let planned = self.snapshot(life);
        let mut file: serde_json::Value = serde_json::from_slice(planned.raw()).unwrap();
        change(&mut file["signed"]);
        let read =
            |file: &serde_json::Value| Document::read(&RoleName::Snapshot, &serde_json::to_vec(file).unwrap()).unwrap();
        let signature = {
            use ed25519_dalek::Signer as _;
            self.targets_pair.sign(read(&file).signed_bytes()).to_bytes()
        };
        file["signatures"] = serde_json::json!([{
            "keyid": self.targets.id().to_hex(), "method": "eddsa", "sig": STANDARD.encode(signature),
        }]);
        let signed = read(&file);
        self.repository = self.repository.clone().with(signed.clone());
        signed
    }

    /// The next targets, with one more tag.
    pub(in super::super) fn targets(&mut self, tag: &str) -> Document {
        self.targets_saying(tag, None)
    }

    /// The same, with what its signer says besides.
    pub(in super::super) fn targets_saying(&mut self, tag: &str, custom: Option<Value>) -> Document {
        let length_bytes = Integer::try_from(7_u64).unwrap();
        let target = NewTarget { sha256: Sha256Digest::of(tag.as_bytes()), length_bytes, custom };
        let put = Planned::Put { name: tag.to_owned(), target };
        let unsigned = self.repository.next_targets(&RoleName::Targets, &[put], &far()).unwrap();
        self.sign(&unsigned)
    }

    /// The next file of targets or of a role below, with these changes; the key is that of the targets.
    pub(in super::super) fn changed(&mut self, role: &RoleName, changes: &[Planned]) -> Document {
        let unsigned = self.repository.next_targets(role, changes, &far()).unwrap();
        self.sign(&unsigned)
    }

    /// Lets a role sign, with the key of the targets.
    pub(in super::super) fn delegating(&self, name: &RoleName) -> Planned {
        let speakers = Speakers::one(self.targets.clone());
        Planned::Delegate(NewDelegation { name: name.clone(), speakers, paths: vec![String::new()] })
    }

    fn sign(&mut self, unsigned: &Unsigned) -> Document {
        let bytes = unsigned.document().signed_bytes();
        let (key, algorithm, signature) = if *unsigned.document().role() == RoleName::Root {
            (&self.root, Algorithm::EcdsaP256Sha256, self.root_pair.sign(bytes).unwrap())
        } else {
            use ed25519_dalek::Signer as _;
            (&self.targets, Algorithm::Ed25519, self.targets_pair.sign(bytes).to_bytes().to_vec())
        };
        let stamp = key.stamp(&Signature::new(algorithm, signature).unwrap()).unwrap();
        // Not held against root: what does not count is sent, too.
        let signed = unsigned.document().stamped(&[stamp]).unwrap();
        self.repository = self.repository.clone().with(signed.clone());
        signed
    }
}

/// Nothing of an owner's expires in these tests.
fn far() -> Expires {
    Expires::at(i64::try_from(NOW).unwrap() + 20 * 365 * 86_400).unwrap()
}
