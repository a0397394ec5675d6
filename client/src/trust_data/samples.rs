//! Files for tests of what is remembered: nobody has signed them, for nobody is asked to believe them here.

use base64::Engine as _;
use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::format::tuf::{Document, RoleName};

const LATER: &str = "2096-11-26T17:34:00Z";

/// A root of this version; roots of other seeds have other keys.
pub(super) fn root(version: u32, seed: u8) -> Document {
    let (id, key) = key(seed);
    let line = json!({"keyids": [id], "threshold": 1});
    let keys = serde_json::Map::from_iter([(id.clone(), key)]);
    document(
        &RoleName::Root,
        json!({
            "_type": "Root", "version": version, "expires": LATER, "consistent_snapshot": false, "keys": keys,
            "roles": {"root": line, "targets": line, "snapshot": line, "timestamp": line},
        }),
    )
}

/// The name of the key of such a root.
pub(super) fn key_id(seed: u8) -> Sha256Digest {
    Sha256Digest::from_hex(&key(seed).0).unwrap()
}

/// A timestamp of this version.
pub(super) fn timestamp(version: u32) -> Document {
    let hash = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let meta = json!({"snapshot": {"hashes": {"sha256": hash}, "length": 7}});
    document(&RoleName::Timestamp, json!({"_type": "Timestamp", "version": version, "expires": LATER, "meta": meta}))
}

fn key(seed: u8) -> (String, Value) {
    let signing = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let public = base64::engine::general_purpose::STANDARD.encode(signing.verifying_key().as_bytes());
    let canonical = format!("{{\"keytype\":\"ed25519\",\"keyval\":{{\"private\":null,\"public\":\"{public}\"}}}}");
    let entry = json!({"keytype": "ed25519", "keyval": {"private": null, "public": public}});
    (Sha256Digest::of(canonical.as_bytes()).to_hex(), entry)
}

fn document(role: &RoleName, signed: Value) -> Document {
    let bytes = serde_json::to_vec(&json!({"signed": signed, "signatures": []})).unwrap();
    Document::read(role, &bytes).unwrap()
}
