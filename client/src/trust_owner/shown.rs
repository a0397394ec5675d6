//! How trust data looks.

use serde::Serialize;
use trust_proto::v1;

use crate::failure::{Failure, printable};
use crate::output::{Paint, Shown};
use crate::time::rfc3339_or_none;

/// How much of a key's id people see, as with docker.
const ID_SHOWN: usize = 12;

/// What a command published, and where that stands in the log.
#[derive(Debug, Serialize)]
pub(crate) struct TrustChange {
    #[serde(rename = "result")]
    done: &'static str,
    /// Repository, or image with tag and digest.
    about: String,
    files: Vec<File>,
    log_origin: String,
    leaves: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct File {
    role: String,
    version: u32,
}

impl TrustChange {
    pub(crate) fn read(done: &'static str, about: String, change: Option<v1::TrustChange>) -> Result<Self, Failure> {
        let change = change.ok_or_else(|| {
            Failure::other("the daemon's answer is incomplete", "is it of the same version? `trustctl status`")
        })?;
        let files = change.files.into_iter().map(|file| File { role: file.role, version: file.version }).collect();
        Ok(Self { done, about, files, log_origin: change.log_origin, leaves: change.leaves })
    }
}

impl Shown for TrustChange {
    fn text(&self, paint: Paint) -> String {
        let mut lines = vec![format!("{} {}", paint.good(self.done), printable(&self.about))];
        lines.extend(self.files.iter().map(|file| format!("  {} version {}", printable(&file.role), file.version)));
        if self.leaves.is_empty() {
            return lines.join("\n");
        }
        let leaves: Vec<String> = self.leaves.iter().map(u64::to_string).collect();
        let place = format!("  log {} leaf {}", printable(&self.log_origin), leaves.join(", "));
        lines.push(paint.faint(&place));
        lines.join("\n")
    }
}

/// What is in a repository's trust data.
#[derive(Debug, Serialize)]
pub(super) struct Inspected {
    repository: String,
    roles: Vec<Role>,
    targets: Vec<Target>,
}

#[derive(Debug, Serialize)]
struct Role {
    name: String,
    /// None where nobody has published its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    threshold: u32,
    keys: Vec<Key>,
}

#[derive(Debug, Serialize)]
struct Key {
    id: String,
    /// In the daemon, where it holds the key and you may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Debug, Serialize)]
struct Target {
    tag: String,
    digest: String,
    length: u64,
    roles: Vec<String>,
}

impl Inspected {
    pub(super) fn read(repository: String, answer: v1::InspectTrustResponse) -> Self {
        let key = |key: v1::TrustKey| Key { id: key.id, name: Some(key.name).filter(|name| !name.is_empty()) };
        let role = |role: v1::TrustRole| Role {
            name: role.name,
            version: Some(role.version).filter(|version| *version > 0),
            expires_at: u64::try_from(role.expires_at_unix_seconds).ok().and_then(rfc3339_or_none),
            threshold: role.threshold,
            keys: role.keys.into_iter().map(key).collect(),
        };
        let target = |target: v1::TrustTarget| Target {
            tag: target.name,
            digest: target.digest,
            length: target.length,
            roles: target.roles,
        };
        Self {
            repository,
            roles: answer.roles.into_iter().map(role).collect(),
            targets: answer.targets.into_iter().map(target).collect(),
        }
    }
}

impl Shown for Inspected {
    fn text(&self, paint: Paint) -> String {
        let mut lines = vec![paint.strong(&self.repository)];
        for role in &self.roles {
            let file = match (role.version, &role.expires_at) {
                (Some(version), Some(end)) => format!("version {version}, until {end}"),
                _ => "nothing published yet".to_owned(),
            };
            let keys = match role.keys.len() {
                1 => "1 key".to_owned(),
                number => format!("{} of {number} keys", role.threshold),
            };
            lines.push(format!("  {}  {file}, {keys}", printable(&role.name)));
            for key in &role.keys {
                let id: String = key.id.chars().take(ID_SHOWN).collect();
                let name = key.name.as_deref().map_or_else(|| paint.faint("not here"), printable);
                lines.push(format!("    {}  {name}", printable(&id)));
            }
        }
        if self.targets.is_empty() {
            lines.push(paint.faint("  nothing is signed"));
        }
        for target in &self.targets {
            let roles = printable(&target.roles.join(", "));
            lines.push(format!("  {}  {}  {roles}", paint.good(&printable(&target.tag)), printable(&target.digest)));
        }
        lines.join("\n")
    }
}
