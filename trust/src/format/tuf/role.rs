//! Names of roles.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Unsound;
use crate::Malformed;

/// The longest name, in bytes.
const BYTES_MAX: usize = 255;

/// A role of a repository: one of the four, or a delegation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "closed set: TUF's roles")]
pub enum RoleName {
    /// `root`
    Root,
    /// `targets`
    Targets,
    /// `snapshot`
    Snapshot,
    /// `timestamp`
    Timestamp,
    /// `targets/…`
    Delegation(DelegationName),
}

/// The name of a delegation: `targets/` and segments of `a-z`, `0-9`, `-` and `_`, at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DelegationName(Arc<str>);

impl RoleName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
            Self::Delegation(name) => &name.0,
        }
    }

    /// `targets/releases`: those who sign for docker's users, whom it asks first.
    #[must_use]
    pub fn releases() -> Self {
        Self::Delegation(DelegationName("targets/releases".into()))
    }

    /// The role that says who may sign for it: `targets/a` for `targets/a/b`, and root for the four.
    #[must_use]
    pub fn parent(&self) -> Self {
        let Self::Delegation(name) = self else { return Self::Root };
        match name.0.rsplit_once('/') {
            None | Some(("targets", _)) => Self::Targets,
            Some((parent, _)) => Self::Delegation(DelegationName(parent.into())),
        }
    }

    /// The roles above a delegation, from `targets` down to its parent; none above the four.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        let name = if let Self::Delegation(name) = self { &*name.0 } else { "" };
        name.match_indices('/').filter_map(|(end, _)| name.get(..end)?.parse().ok())
    }

    /// What `_type` says in its files.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Root => "Root",
            Self::Targets | Self::Delegation(_) => "Targets",
            Self::Snapshot => "Snapshot",
            Self::Timestamp => "Timestamp",
        }
    }

    pub(super) fn breaks(&self, why: String) -> Unsound {
        Unsound::Structure { role: self.clone(), why }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RoleName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        match text {
            "root" => return Ok(Self::Root),
            "targets" => return Ok(Self::Targets),
            "snapshot" => return Ok(Self::Snapshot),
            "timestamp" => return Ok(Self::Timestamp),
            _ => {}
        }
        let segment = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        };
        let below = text.strip_prefix("targets/").filter(|_| text.len() <= BYTES_MAX);
        if below.is_some_and(|below| below.split('/').all(segment)) {
            return Ok(Self::Delegation(DelegationName(text.into())));
        }
        Err(Malformed::new("role", "root, targets, snapshot, timestamp, or targets/ and segments of a-z 0-9 - _"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delegation_is_of_small_letters_below_targets() {
        let longest = format!("targets/{}", "a".repeat(247));
        for good in ["root", "targets", "targets/releases", "targets/a-b_c/0", &longest] {
            assert_eq!(good.parse::<RoleName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "Root",
            "mirrors",
            "targets/",
            "targets//a",
            "targets/a/",
            "targets/A",
            "targets/.",
            "targets/../a",
            "targets/a b",
            "targets/\u{e9}",
            "/targets",
            "targetsa",
            &format!("{longest}a"),
        ] {
            assert!(bad.parse::<RoleName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn each_role_has_its_parent() {
        for (role, parent) in [
            ("root", "root"),
            ("targets", "root"),
            ("timestamp", "root"),
            ("targets/a", "targets"),
            ("targets/a/b", "targets/a"),
        ] {
            assert_eq!(role.parse::<RoleName>().unwrap().parent().as_str(), parent);
        }
        let above = |role: &str| role.parse::<RoleName>().unwrap().ancestors().collect::<Vec<_>>();
        assert_eq!(above("targets/a-b/c"), ["targets", "targets/a-b"].map(|role| role.parse().unwrap()));
        assert!(above("targets").is_empty() && above("root").is_empty());
    }
}
