//! How trust data looks.

use serde::Serialize;
use trust::Gun;
use trust_proto::v1;

use super::proposal::Proposal;
use crate::failure::{Failure, printable};
use crate::output::{Paint, Shown};
use crate::time::rfc3339_or_none;

/// How much of a key's id people see, as with docker.
pub(super) const ID_SHOWN: usize = 12;

/// What a command published, or proposed, and where that stands in the log.
#[derive(Debug, Serialize)]
pub(crate) struct TrustChange {
    /// `proposed` where it waits for signatures of others.
    #[serde(rename = "result")]
    done: &'static str,
    /// Repository, or image with tag and digest.
    about: String,
    files: Vec<File>,
    /// That came into roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Key>,
    /// Roles whose files count no more until those who may sign them anew.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lapsed: Vec<String>,
    /// Of what was taken over: the keys of its snapshot, where the daemon cannot sign it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    snapshot_keys: Vec<Key>,
    /// What waits; nothing of it is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<Proposal>,
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
        let keys = change.keys.into_iter().map(Key::read).collect();
        let v1::TrustChange { lapsed, log_origin, leaves, proposal, .. } = change;
        let proposal = proposal.map(Proposal::read);
        let done = if proposal.is_some() { "proposed" } else { done };
        let snapshot_keys = Vec::new();
        Ok(Self { done, about, files, keys, lapsed, snapshot_keys, proposal, log_origin, leaves })
    }

    /// The same with the keys of a snapshot that the daemon cannot sign.
    pub(crate) fn with_snapshot_keys(mut self, keys: Vec<v1::TrustKey>) -> Self {
        self.snapshot_keys = keys.into_iter().map(Key::read).collect();
        self
    }

    /// Where the daemon cannot sign the snapshot: what that means, and what can be done.
    pub(crate) fn snapshot_words(&self, gun: &Gun, typed: &str) -> Option<[String; 2]> {
        let ids = self.snapshot_keys.iter().map(|key| printable(&key.id)).collect::<Vec<_>>().join(", ");
        let what =
            format!("the daemon cannot sign the snapshot of {gun}: only who has its key can publish there ({ids})");
        let remedy = format!(
            "  is it an owner's key, nothing has to be done; is it the old server's, import it (trustctl migrate notary \
             import signer-keys), or put the daemon's in its place: trustctl trust rotate {typed} snapshot, or \
             where root's key is elsewhere notary key rotate {gun} snapshot --server-managed"
        );
        (!ids.is_empty()).then_some([what, remedy])
    }

    /// Whether readers see it.
    ///
    /// # Errors
    /// Where it waits for signatures of others: the command did all it could, and is not done.
    pub(crate) fn check_published(&self, repository: &str) -> Result<(), Failure> {
        self.proposal.as_ref().map_or(Ok(()), |proposal| Err(proposal.waiting(repository)))
    }

    /// In a few words, where it stands.
    pub(crate) fn summary(&self) -> String {
        match &self.proposal {
            Some(proposal) => format!("proposed for the trust data: {}", proposal.progress().join("; ")),
            None => format!("in the trust data by {}", self.roles()),
        }
    }

    /// The roles whose files were published, each with its version.
    fn roles(&self) -> String {
        let roles = self.files.iter().map(|file| format!("{} version {}", printable(&file.role), file.version));
        roles.collect::<Vec<_>>().join(", ")
    }
}

impl Shown for TrustChange {
    fn text(&self, paint: Paint) -> String {
        let mut lines = vec![format!("{} {}", paint.good(self.done), printable(&self.about))];
        match &self.proposal {
            Some(proposal) => lines.extend(proposal.progress().iter().map(|file| format!("  {file}"))),
            None => {
                let file = |file: &File| format!("  {} version {}", printable(&file.role), file.version);
                lines.extend(self.files.iter().map(file));
            }
        }
        lines.extend(self.keys.iter().map(|key| format!("  key {}", key.words(paint))));
        lines.extend(self.lapsed.iter().map(|role| {
            let words = format!("  {role} counts no more until those who may sign it anew: trustctl trust witness");
            paint.bad(&words)
        }));
        lines.extend(self.snapshot_keys.iter().map(|key| format!("  snapshot key {}", key.words(paint))));
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
    /// What waits for signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<Proposal>,
}

#[derive(Debug, Serialize)]
pub(super) struct Role {
    name: String,
    /// None where nobody has published its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    threshold: u32,
    keys: Vec<Key>,
    /// How the names begin that a role below targets may sign.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Key {
    id: String,
    /// In the daemon, where it holds the key and you may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Target {
    pub(super) tag: String,
    pub(super) digest: String,
    length: u64,
    roles: Vec<String>,
}

impl Key {
    pub(super) fn read(key: v1::TrustKey) -> Self {
        Self { id: key.id, name: Some(key.name).filter(|name| !name.is_empty()) }
    }

    pub(super) fn words(&self, paint: Paint) -> String {
        let id: String = self.id.chars().take(ID_SHOWN).collect();
        let name = self.name.as_deref().map_or_else(|| paint.faint("not here"), printable);
        format!("{}  {name}", printable(&id))
    }
}

impl Target {
    pub(super) fn read(target: v1::TrustTarget) -> Self {
        Self { tag: target.name, digest: target.digest, length: target.length, roles: target.roles }
    }
}

impl Role {
    pub(super) fn read(role: v1::TrustRole) -> Self {
        Self {
            name: role.name,
            version: Some(role.version).filter(|version| *version > 0),
            expires_at: u64::try_from(role.expires_at_unix_seconds).ok().and_then(rfc3339_or_none),
            threshold: role.threshold,
            keys: role.keys.into_iter().map(Key::read).collect(),
            paths: role.paths,
        }
    }

    fn lines(&self, paint: Paint) -> Vec<String> {
        let file = match (self.version, &self.expires_at) {
            (Some(version), Some(end)) => format!("version {version}, until {end}"),
            _ => "nothing published yet".to_owned(),
        };
        let mut lines = vec![format!("  {}  {file}, {}", printable(&self.name), self.who())];
        lines.extend(self.keys.iter().map(|key| format!("    {}", key.words(paint))));
        lines
    }

    /// The same of a role as it would be: nothing is said of its file.
    pub(super) fn proposed(&self, paint: Paint) -> Vec<String> {
        let mut lines = vec![format!("  {} would have {}", printable(&self.name), self.who())];
        lines.extend(self.keys.iter().map(|key| format!("    {}", key.words(paint))));
        lines
    }

    /// How many keys sign, for which names.
    fn who(&self) -> String {
        let keys = match self.keys.len() {
            1 => "1 key".to_owned(),
            number => format!("{} of {number} keys", self.threshold),
        };
        let is_bounded = !self.paths.is_empty() && !self.paths.iter().any(String::is_empty);
        let names =
            if is_bounded { format!(", names that begin with {}", self.paths.join(" or ")) } else { String::new() };
        printable(&format!("{keys}{names}"))
    }
}

/// Who may sign besides the repository's owner.
#[derive(Debug, Serialize)]
pub(super) struct Delegations {
    repository: String,
    delegations: Vec<Role>,
}

impl Delegations {
    pub(super) fn read(repository: String, roles: Vec<v1::TrustRole>) -> Self {
        let below = roles.into_iter().filter(|role| role.name.starts_with("targets/"));
        Self { repository, delegations: below.map(Role::read).collect() }
    }
}

impl Shown for Delegations {
    fn text(&self, paint: Paint) -> String {
        let mut lines = vec![paint.strong(&self.repository)];
        if self.delegations.is_empty() {
            lines.push(paint.faint("  nobody signs but for targets"));
        }
        lines.extend(self.delegations.iter().flat_map(|role| role.lines(paint)));
        lines.join("\n")
    }
}

impl Inspected {
    pub(super) fn read(repository: String, answer: v1::InspectTrustResponse) -> Self {
        Self {
            repository,
            roles: answer.roles.into_iter().map(Role::read).collect(),
            targets: answer.targets.into_iter().map(Target::read).collect(),
            proposal: answer.proposal.map(Proposal::read),
        }
    }
}

impl Shown for Inspected {
    fn text(&self, paint: Paint) -> String {
        let mut lines = vec![paint.strong(&self.repository)];
        lines.extend(self.roles.iter().flat_map(|role| role.lines(paint)));
        if self.targets.is_empty() {
            lines.push(paint.faint("  nothing is signed"));
        }
        for target in &self.targets {
            let roles = printable(&target.roles.join(", "));
            lines.push(format!("  {}  {}  {roles}", paint.good(&printable(&target.tag)), printable(&target.digest)));
        }
        lines.extend(self.proposal.iter().flat_map(|proposal| proposal.lines(paint)));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_the_daemon_cannot_sign_is_said_with_what_to_do() {
        let adopted = |keys: Vec<v1::TrustKey>| {
            let change = Some(v1::TrustChange::default());
            TrustChange::read("adopted", "r.io/app".to_owned(), change).unwrap().with_snapshot_keys(keys)
        };
        let elsewhere = adopted(vec![v1::TrustKey { id: "ab".repeat(32), name: String::new() }]);

        assert!(elsewhere.text(Paint::default()).contains("snapshot key abababababab  not here"));
        let gun = "r.io/app".parse().unwrap();
        let [what, remedy] = elsewhere.snapshot_words(&gun, "--exact r.io/app").unwrap();
        assert!(what.contains("cannot sign the snapshot of r.io/app") && what.contains(&"ab".repeat(32)), "{what}");
        for way in ["signer-keys", "trustctl trust rotate --exact r.io/app snapshot", "snapshot --server-managed"] {
            assert!(remedy.contains(way), "{way}: {remedy}");
        }
        let json = serde_json::to_value(&elsewhere).unwrap();
        assert_eq!(json["snapshot_keys"][0]["id"], "ab".repeat(32));
        assert!(adopted(Vec::new()).snapshot_words(&gun, "r.io/app").is_none());
    }
}
