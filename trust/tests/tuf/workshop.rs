//! Where tests make Notary's metadata: keys, certificates, and files that say whatever the test wants.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use ed25519_dalek::{Signer as _, SigningKey};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use trust::format::tuf::plan::Stamp;
use trust::format::tuf::{Document, Key, Part, Repository, RoleName, canonical};
use trust::{Algorithm, Sha256Digest, Signature};

/// 2026-11-26T17:34:00Z, when every test plays.
pub const NOW: i64 = 1_795_714_440;
/// A date that has not passed.
pub const LATER: &str = "2027-11-26T17:34:00Z";
/// The repository of the tests.
pub const GUN: &str = "registry.example.com/team/app";

/// A key that signs, and its entry in metadata.
pub struct TestKey {
    pub id: String,
    pub entry: Value,
    pair: Pair,
}

enum Pair {
    Ed25519(SigningKey),
    P256(Vec<u8>),
}

/// What a certificate says.
pub struct Certificate<'a> {
    pub name: &'a str,
    /// Years of its begin and end.
    pub years: [i32; 2],
    pub ca: bool,
}

impl TestKey {
    pub fn ed25519(seed: u8) -> Self {
        let signing = SigningKey::from_bytes(&[seed; 32]);
        let entry = entry("ed25519", signing.verifying_key().as_bytes());
        Self { id: id_of(&entry), entry, pair: Pair::Ed25519(signing) }
    }

    /// A new key, bare.
    pub fn p256() -> Self {
        let pair = KeyPair::generate().unwrap();
        let entry = entry("ecdsa", &rcgen::PublicKeyData::subject_public_key_info(&pair));
        Self { id: id_of(&entry), entry, pair: Pair::P256(pair.serialize_der()) }
    }

    /// A new key in a certificate that is good for the tests' repository.
    pub fn root() -> Self {
        Self::certified(&Certificate { name: GUN, years: [2026, 2036], ca: false })
    }

    /// A new key in a certificate.
    pub fn certified(says: &Certificate<'_>) -> Self {
        let pair = KeyPair::generate().unwrap();
        Self::within(&certificate(says, &pair), &pair)
    }

    /// A key of P-256 in a certificate that there is.
    pub fn within(pem: &str, pair: &KeyPair) -> Self {
        let entry = entry("ecdsa-x509", pem.as_bytes());
        Self { id: id_of(&entry), entry, pair: Pair::P256(pair.serialize_der()) }
    }

    pub fn key(&self) -> Key {
        Key::read_served(&serde_json::to_vec(&self.entry).unwrap()).unwrap()
    }

    /// What custody would answer, and what becomes of it.
    pub fn stamp(&self, document: &Document) -> Stamp {
        let signature = match &self.pair {
            Pair::Ed25519(key) => {
                let bytes = key.sign(document.signed_bytes()).to_bytes().to_vec();
                Signature::new(Algorithm::Ed25519, bytes)
            }
            Pair::P256(pkcs8) => {
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).unwrap();
                let der = key.sign(&SystemRandom::new(), document.signed_bytes()).unwrap();
                Signature::new(Algorithm::EcdsaP256Sha256, der.as_ref().to_vec())
            }
        };
        self.key().stamp(&signature.unwrap()).unwrap()
    }

    pub fn sign(&self, signed: &Value) -> Value {
        self.sign_bytes(&canonical_of(signed))
    }

    pub fn sign_bytes(&self, bytes: &[u8]) -> Value {
        match &self.pair {
            Pair::Ed25519(key) => {
                json!({"keyid": self.id, "method": "eddsa", "sig": base64(&key.sign(bytes).to_bytes())})
            }
            Pair::P256(pkcs8) => {
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).unwrap();
                let signature = key.sign(&SystemRandom::new(), bytes).unwrap();
                json!({"keyid": self.id, "method": "ecdsa", "sig": base64(signature.as_ref())})
            }
        }
    }
}

pub fn certificate(says: &Certificate<'_>, pair: &KeyPair) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, says.name);
    let [begin, end] = says.years;
    params.not_before = rcgen::date_time_ymd(begin, 1, 1);
    params.not_after = rcgen::date_time_ymd(end, 1, 1);
    params.is_ca = if says.ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    params.self_signed(pair).unwrap().pem()
}

/// The keys of one repository, and the files they sign.
pub struct House {
    pub root: TestKey,
    pub targets: TestKey,
    pub snapshot: TestKey,
    pub timestamp: TestKey,
}

impl House {
    pub fn new() -> Self {
        let [targets, snapshot, timestamp] = [1, 2, 3].map(TestKey::ed25519);
        Self { root: TestKey::root(), targets, snapshot, timestamp }
    }

    /// A root that is sound.
    pub fn root_of(&self, version: u32) -> Value {
        let line = |key: &TestKey| json!({"keyids": [key.id], "threshold": 1});
        let keys: serde_json::Map<String, Value> = [&self.root, &self.targets, &self.snapshot, &self.timestamp]
            .into_iter()
            .map(|key| (key.id.clone(), key.entry.clone()))
            .collect();
        json!({
            "_type": "Root", "version": version, "expires": LATER, "consistent_snapshot": false, "keys": keys,
            "roles": {"root": line(&self.root), "targets": line(&self.targets), "snapshot": line(&self.snapshot),
                "timestamp": line(&self.timestamp)},
        })
    }

    /// The same file each time, though ECDSA signs otherwise each time: a snapshot names one file.
    pub fn signed_root(&self, version: u32) -> Vec<u8> {
        static SIGNED: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
        let signed = self.root_of(version);
        let mut kept = SIGNED.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(signed.to_string()).or_insert_with(|| file(&signed, &[&self.root])).clone()
    }

    pub fn signed_targets(&self, version: u32) -> Vec<u8> {
        file(&targets(version), &[&self.targets])
    }

    /// A snapshot of these files.
    pub fn signed_snapshot(&self, version: u32, files: &[(&str, &[u8])]) -> Vec<u8> {
        file(&snapshot(version, files), &[&self.snapshot])
    }

    /// A repository of version 1 whose snapshot and timestamp are this one's too.
    pub fn repository(&self, root: &[u8], others: &[(&str, &[u8])]) -> Repository {
        let files: Vec<(&str, &[u8])> = [("root", root)].into_iter().chain(others.iter().copied()).collect();
        let snapshot = self.signed_snapshot(1, &files);
        let timestamp = file(
            &json!({"_type": "Timestamp", "version": 1, "expires": LATER, "meta": {"snapshot": meta(&snapshot)}}),
            &[&self.timestamp],
        );
        let all = files.into_iter().chain([("snapshot", &snapshot[..]), ("timestamp", &timestamp[..])]);
        Repository::of(all.map(|(name, bytes)| read(name, bytes)))
    }
}

/// Targets that are sound: one tag, named by the version.
pub fn targets(version: u32) -> Value {
    json!({
        "_type": "Targets", "version": version, "expires": LATER, "delegations": {"keys": {}, "roles": []},
        "targets": {format!("v{version}"): {"hashes": {"sha256": base64(&[7; 32])}, "length": 7}},
    })
}

/// Targets that delegate a role to these keys.
pub fn delegating(version: u32, role: &str, keys: &[&TestKey], threshold: u32) -> Value {
    let mut signed = targets(version);
    let entries: serde_json::Map<String, Value> = keys.iter().map(|key| (key.id.clone(), key.entry.clone())).collect();
    let ids: Vec<&String> = keys.iter().map(|key| &key.id).collect();
    signed["delegations"] = json!({
        "keys": entries, "roles": [{"name": role, "keyids": ids, "threshold": threshold, "paths": [""]}],
    });
    signed
}

pub fn snapshot(version: u32, files: &[(&str, &[u8])]) -> Value {
    let meta: serde_json::Map<String, Value> =
        files.iter().map(|(name, bytes)| ((*name).to_owned(), meta(bytes))).collect();
    json!({"_type": "Snapshot", "version": version, "expires": LATER, "meta": meta})
}

pub fn meta(bytes: &[u8]) -> Value {
    use sha2::Digest as _;
    json!({
        "hashes": {
            "sha256": base64(Sha256Digest::of(bytes).as_bytes()), "sha512": base64(&sha2::Sha512::digest(bytes)),
        },
        "length": bytes.len(),
    })
}

/// The file as Go writes it.
pub fn file(signed: &Value, keys: &[&TestKey]) -> Vec<u8> {
    let signatures: Vec<Value> = keys.iter().map(|key| key.sign(signed)).collect();
    written(signed, &signatures)
}

/// The same with these lines.
pub fn written(signed: &Value, lines: &[Value]) -> Vec<u8> {
    let lines = lines.iter().map(canonical_of).collect::<Vec<_>>().join(&b","[..]);
    [&b"{\"signed\":"[..], &canonical_of(signed), b",\"signatures\":[", &lines, b"]}"].concat()
}

pub fn role(name: &str) -> RoleName {
    name.parse().unwrap()
}

pub fn read(name: &str, bytes: &[u8]) -> Document {
    Document::read(&role(name), bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub fn part(name: &str, bytes: &[u8]) -> Part {
    Part::read(&role(name), bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub fn entry(kind: &str, public: &[u8]) -> Value {
    json!({"keytype": kind, "keyval": {"private": null, "public": base64(public)}})
}

pub fn id_of(entry: &Value) -> String {
    Sha256Digest::of(&canonical_of(entry)).to_hex()
}

pub fn canonical_of(value: &Value) -> Vec<u8> {
    let text = serde_json::to_vec(value).unwrap();
    canonical(&trust::format::json::read("test", &text, 1 << 20).unwrap())
}
