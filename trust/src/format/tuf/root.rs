//! Root: which keys and how many of them speak for each of the four roles.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{self, Fields};
use super::{Authority, Key, RoleName, Unsound};
use crate::format::json::Value;
use crate::{Malformed, Sha256Digest};

/// The most keys of one file.
pub(super) const KEYS_MAX: usize = 1024;
/// The four roles of every root.
const ROLES: [RoleName; 4] = [RoleName::Root, RoleName::Targets, RoleName::Snapshot, RoleName::Timestamp];

/// What a root says.
#[derive(Debug, Clone)]
pub struct Root {
    keys: BTreeMap<Sha256Digest, Key>,
    roles: BTreeMap<RoleName, Threshold>,
}

/// Some keys, and how many of them are needed.
#[derive(Debug, Clone)]
pub(super) struct Threshold {
    pub(super) keys: BTreeSet<Sha256Digest>,
    pub(super) number: u32,
}

impl Root {
    pub(super) fn read(signed: &Value) -> Result<Self, Unsound> {
        let fields = Fields::of(signed, &["consistent_snapshot", "keys", "roles"])?;
        if fields.member("consistent_snapshot").is_some_and(|value| !matches!(value, Value::Bool(_))) {
            return Err(fields::WRONG.into());
        }
        let keys = read_keys(fields.member("keys"))?;
        let mut roles = BTreeMap::new();
        let listed = fields.object("roles")?;
        for role in ROLES {
            let Some(value) = listed.and_then(|listed| listed.get(role.as_str())) else {
                return Err(RoleName::Root.breaks(format!("missing {role} role specification")));
            };
            let threshold = Threshold::read(&Fields::of(value, &["keyids", "threshold"])?)?;
            if threshold.number == 0 {
                return Err(RoleName::Root.breaks(format!("invalid threshold specified for {role}: 0 ")));
            }
            if let Some(id) = threshold.keys.iter().find(|id| !keys.contains_key(id)) {
                let why = format!("key ID {} specified in {role} without corresponding key", id.to_hex());
                return Err(RoleName::Root.breaks(why));
            }
            roles.insert(role, threshold);
        }
        for (name, value) in listed.into_iter().flatten() {
            fields::writable(name)?;
            is_read_by_go(value)?;
        }
        Ok(Self { keys, roles })
    }

    /// Who speaks for a role; nobody for a delegation, of which its parent says that.
    #[must_use]
    pub fn authority<'a>(&'a self, role: &'a RoleName) -> Option<Authority<'a>> {
        self.roles.get(role).map(|threshold| threshold.authority(role, &self.keys))
    }
}

/// Whether Go reads this as a role, whoever knows it: where it does not, docker and notary read nothing of the root.
fn is_read_by_go(value: &Value) -> Result<(), Malformed> {
    if matches!(value, Value::Null) {
        return Ok(());
    }
    let role = Fields::of(value, &["keyids", "threshold"])?;
    let are_texts = role.array("keyids")?.iter().all(|id| id.as_str().is_some());
    let is_number = role.member("threshold").is_none_or(|number| matches!(number, Value::Integer(_)));
    if are_texts && is_number { Ok(()) } else { Err(fields::WRONG) }
}

impl Threshold {
    pub(super) fn read(role: &Fields<'_>) -> Result<Self, Malformed> {
        let mut keys = BTreeSet::new();
        for id in role.array("keyids")? {
            if !keys.insert(Sha256Digest::from_hex(id.as_str().ok_or(fields::WRONG)?)?) {
                return Err(Malformed::new("metadata", "each key of a role once"));
            }
        }
        let number = u32::try_from(role.number("threshold")?.unwrap_or(0)).map_err(|_| fields::WRONG)?;
        Ok(Self { keys, number })
    }

    pub(super) fn authority<'a>(&self, role: &'a RoleName, keys: &'a BTreeMap<Sha256Digest, Key>) -> Authority<'a> {
        Authority::new(role, self.keys.iter().filter_map(|id| keys.get(id)).collect(), self.number)
    }
}

pub(super) fn read_keys(value: Option<&Value>) -> Result<BTreeMap<Sha256Digest, Key>, Malformed> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let listed = value.as_object().ok_or(fields::WRONG)?;
    if listed.len() > KEYS_MAX {
        return Err(Malformed::new("metadata", "at most 1024 keys"));
    }
    listed.iter().map(|(id, value)| Key::read(id, value).map(|key| (key.id(), key))).collect()
}
