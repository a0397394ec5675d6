//! Changes to targets, and to whom they delegate.

use super::Speakers;
use super::root::{line, list};
use crate::Sha256Digest;
use crate::format::base64;
use crate::format::json::{Integer, Object, Value};
use crate::format::tuf::RoleName;

/// A change to a targets file. Of two that concern one name the later counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: what a targets file holds")]
pub enum Change {
    /// Lets a role sign, or changes for whom and with which keys.
    Delegate(NewDelegation),
    /// Signs a thing under a name, which may have meant another.
    Put {
        /// Its name: for docker a tag.
        name: String,
        /// What it is.
        target: NewTarget,
    },
    /// Signs a name no more; one that is not there changes nothing.
    Remove {
        /// The name.
        name: String,
    },
    /// Lets a role sign no more; one that is not there changes nothing.
    Undelegate(RoleName),
}

/// A thing that is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "all there is to say")]
pub struct NewTarget {
    /// Its SHA-256: for docker the manifest's digest.
    pub sha256: Sha256Digest,
    /// Its length in bytes.
    pub length_bytes: Integer,
    /// What its signer says of it besides.
    pub custom: Option<Value>,
}

/// Whom a role is to let sign.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "all there is to say")]
pub struct NewDelegation {
    /// The role: a child of the one that delegates.
    pub name: RoleName,
    /// Who speaks for it.
    pub speakers: Speakers,
    /// The beginnings of the names that it may sign for; `""` begins every name.
    pub paths: Vec<String>,
}

/// Makes the changes, in order.
pub(super) fn apply(signed: &mut Object, changes: &[Change]) {
    let mut targets = object(signed.remove("targets"));
    let mut delegations = object(signed.remove("delegations"));
    let mut keys = object(delegations.remove("keys"));
    let mut roles = match delegations.remove("roles") {
        Some(Value::Array(roles)) => roles,
        _ => Vec::new(),
    };
    for change in changes {
        match change {
            Change::Delegate(new) => {
                list(&mut keys, &new.speakers.keys);
                delegate(&mut roles, new);
            }
            Change::Put { name, target } => drop(targets.insert(name.clone(), target.to_value())),
            Change::Remove { name } => drop(targets.remove(name)),
            Change::Undelegate(name) => roles.retain(|role| !is_of(role, name)),
        }
    }
    keys.retain(|id, _| roles.iter().any(|role| lists(role, id)));
    delegations.insert("keys".to_owned(), keys.into());
    delegations.insert("roles".to_owned(), roles.into());
    signed.insert("targets".to_owned(), targets.into());
    signed.insert("delegations".to_owned(), delegations.into());
}

impl NewTarget {
    fn to_value(&self) -> Value {
        let hashes = Value::object([("sha256", base64::encode(self.sha256.as_bytes()).into())]);
        let mut members =
            Object::from([("hashes".to_owned(), hashes), ("length".to_owned(), self.length_bytes.into())]);
        members.extend(self.custom.clone().map(|custom| ("custom".to_owned(), custom)));
        members.into()
    }
}

/// In the place of the role's older line, so that the order in which roles are asked stays.
fn delegate(roles: &mut Vec<Value>, new: &NewDelegation) {
    let mut role = object(Some(line(&new.speakers)));
    let paths: Vec<Value> = new.paths.iter().map(|path| path.as_str().into()).collect();
    role.insert("name".to_owned(), new.name.as_str().into());
    role.insert("paths".to_owned(), paths.into());
    match roles.iter_mut().find(|role| is_of(role, &new.name)) {
        Some(place) => *place = role.into(),
        None => roles.push(role.into()),
    }
}

fn is_of(role: &Value, name: &RoleName) -> bool {
    role.member("name").and_then(Value::as_str) == Some(name.as_str())
}

fn lists(role: &Value, id: &str) -> bool {
    role.member("keyids").and_then(Value::as_array).is_some_and(|ids| ids.iter().any(|key| key.as_str() == Some(id)))
}

/// The members of an object; none of `null` and of what is not there.
fn object(value: Option<Value>) -> Object {
    if let Some(Value::Object(members)) = value { members } else { Object::new() }
}
