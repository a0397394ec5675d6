//! Targets: what is signed, and whom a role lets sign in its place.

use std::collections::BTreeMap;

use super::fields::{self, Fields};
use super::root::{Threshold, read_keys};
use super::{Authority, Hashes, Key, RoleName, Unsound};
use crate::format::json::Value;
use crate::{Malformed, Sha256Digest};

/// The most delegations of one file.
const DELEGATIONS_MAX: usize = 1024;

/// What a targets file says, of `targets` or of a delegation.
#[derive(Debug, Clone)]
pub struct Targets {
    targets: BTreeMap<String, Target>,
    keys: BTreeMap<Sha256Digest, Key>,
    delegations: Vec<Delegation>,
}

/// A thing that is signed: for docker a tag, and the digest and size of its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    hashes: Hashes,
    length_bytes: u64,
    custom: Option<Value>,
}

/// Whom a role lets sign in its place, for which names.
#[derive(Debug, Clone)]
pub struct Delegation {
    name: RoleName,
    threshold: Threshold,
    paths: Vec<String>,
}

impl Target {
    /// Its hashes.
    #[must_use]
    pub const fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// What its signer says of it besides, if anything.
    #[must_use]
    pub const fn custom(&self) -> Option<&Value> {
        self.custom.as_ref()
    }
}

impl Delegation {
    /// The role that may sign.
    #[must_use]
    pub const fn name(&self) -> &RoleName {
        &self.name
    }

    /// Whether it may sign for a target of this name: one of its paths begins it. Without paths it may sign nothing.
    #[must_use]
    pub fn may_sign(&self, target: &str) -> bool {
        self.paths.iter().any(|path| target.starts_with(path.as_str()))
    }

    /// The beginnings of the names that it may sign for; an empty one begins every name.
    #[must_use]
    pub fn paths(&self) -> &[String] {
        &self.paths
    }
}

impl Targets {
    pub(super) fn read(role: &RoleName, signed: &Value) -> Result<Self, Unsound> {
        let fields = Fields::of(signed, &["delegations", "targets"])?;
        let mut targets = BTreeMap::new();
        for (name, value) in fields.object("targets")?.into_iter().flatten() {
            targets.insert(fields::writable(name)?.to_owned(), Target::read(value)?);
        }
        let (mut keys, mut delegations) = (BTreeMap::new(), Vec::new());
        if let Some(value) = fields.member("delegations") {
            let fields = Fields::of(value, &["keys", "roles"])?;
            keys = read_keys(fields.member("keys"))?;
            for value in fields.array("roles")? {
                delegations.push(delegation(role, &keys, value)?);
            }
        }
        let mut names: Vec<&RoleName> = delegations.iter().map(|delegation| &delegation.name).collect();
        names.sort();
        if names.len() > DELEGATIONS_MAX || !names.is_sorted_by(|one, next| one < next) {
            return Err(Malformed::new("metadata", "at most 1024 delegations, each once").into());
        }
        Ok(Self { targets, keys, delegations })
    }

    /// What is signed, by name.
    #[must_use]
    pub const fn targets(&self) -> &BTreeMap<String, Target> {
        &self.targets
    }

    /// Whom it lets sign, in the order in which they are asked.
    #[must_use]
    pub fn delegations(&self) -> &[Delegation] {
        &self.delegations
    }

    /// Who speaks for a delegation of this file.
    #[must_use]
    pub fn authority<'a>(&'a self, role: &'a RoleName) -> Option<Authority<'a>> {
        let delegation = self.delegations.iter().find(|delegation| delegation.name == *role)?;
        Some(delegation.threshold.authority(role, &self.keys))
    }
}

impl Target {
    fn read(value: &Value) -> Result<Self, Malformed> {
        let fields = Fields::of(value, &["custom", "hashes", "length"])?;
        let hashes = Hashes::read(fields.member("hashes").ok_or(fields::WRONG)?)?;
        let length_bytes = fields.number("length")?.unwrap_or(0);
        Ok(Self { hashes, length_bytes, custom: fields.member("custom").cloned() })
    }
}

fn delegation(role: &RoleName, keys: &BTreeMap<Sha256Digest, Key>, value: &Value) -> Result<Delegation, Unsound> {
    let fields = Fields::of(value, &["keyids", "name", "paths", "threshold"])?;
    let text = fields.text("name")?.unwrap_or_default();
    let refused = || role.breaks(format!("delegation role {} invalid", fields::shown(text)));
    let name = text.parse::<RoleName>().map_err(|_| refused())?;
    // A role delegates to its direct children only, so every delegation has one parent.
    if !matches!(name, RoleName::Delegation(_)) || name.parent() != *role {
        return Err(refused());
    }
    let threshold = Threshold::read(&fields)?;
    if threshold.number == 0 {
        return Err(role.breaks(format!("invalid threshold specified for {name}: 0 ")));
    }
    if let Some(id) = threshold.keys.iter().find(|id| !keys.contains_key(id)) {
        let why = format!("key ID {} specified in {name} without corresponding key", id.to_hex());
        return Err(role.breaks(why));
    }
    let paths = fields.array("paths")?.iter();
    let paths = paths.map(|path| fields::writable(path.as_str().ok_or(fields::WRONG)?).map(str::to_owned));
    Ok(Delegation { name, threshold, paths: paths.collect::<Result<_, Malformed>>()? })
}
