//! Root with other speakers.

use super::Speakers;
use crate::format::json::{Object, Value};
use crate::format::tuf::{Key, RoleName, Root};

/// Gives roles their speakers, and keeps the keys that some role lists.
pub(super) fn apply(signed: &mut Object, before: Option<&Root>, changes: &[(RoleName, Speakers)]) {
    let (mut keys, mut roles) = (Object::new(), Object::new());
    for role in [RoleName::Root, RoleName::Targets, RoleName::Snapshot, RoleName::Timestamp] {
        let changed = changes.iter().rev().find(|(changed, _)| *changed == role).map(|(_, speakers)| speakers.clone());
        let kept = before.and_then(|root| root.authority(&role)).map(|authority| Speakers::of(&authority));
        let Some(speakers) = changed.or(kept) else { continue };
        list(&mut keys, &speakers.keys);
        roles.insert(role.as_str().to_owned(), line(&speakers));
    }
    signed.entry("consistent_snapshot".to_owned()).or_insert(Value::Bool(false));
    signed.insert("keys".to_owned(), keys.into());
    signed.insert("roles".to_owned(), roles.into());
}

/// Who speaks, in the words of a role.
pub(super) fn line(speakers: &Speakers) -> Value {
    let ids: Vec<Value> = speakers.keys.iter().map(|key| key.id().to_hex().into()).collect();
    Value::object([("keyids", ids.into()), ("threshold", speakers.threshold.into())])
}

/// Adds keys to those that a file lists.
pub(super) fn list(listed: &mut Object, keys: &[Key]) {
    for key in keys {
        listed.insert(key.id().to_hex(), key.to_value());
    }
}
