//! What an export came to: what was carried over, what was there, and what could not be carried over and why.

use serde::Serialize;
use trust::Repository;

use crate::failure::{Failure, printable};
use crate::image::{Evidence, Resigned};
use crate::output::{Paint, Shown};
use crate::trust_data::{SignedTag, SignedTags, Unusable};

/// Of all repositories.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    to: Vec<String>,
    carried_over: usize,
    already_there: usize,
    /// Tags, and repositories of which nothing could be read.
    left_behind: usize,
    repositories: Vec<RepositoryReport>,
}

/// Of one repository.
#[derive(Debug, Serialize)]
pub(super) struct RepositoryReport {
    repository: String,
    /// The key that signs it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trust_data: Option<TrustData>,
    /// Why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_behind: Option<Why>,
    pub(super) tags: Vec<TagReport>,
    /// What could not be read of delegations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// What was believed.
#[derive(Debug, Serialize)]
struct TrustData {
    server: String,
    timestamp: u32,
    root_keys: Vec<String>,
    pinned: bool,
}

/// Of one tag.
#[derive(Debug, Serialize)]
pub(super) struct TagReport {
    tag: String,
    /// Who had signed it.
    role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
enum Outcome {
    CarriedOver { evidence: Vec<Evidence> },
    AlreadyThere,
    LeftBehind(Why),
}

#[derive(Debug, Serialize)]
struct Why {
    why: String,
    remedy: String,
}

impl Why {
    fn of(failure: &Failure) -> Self {
        Self { why: failure.what(), remedy: failure.remedy() }
    }
}

impl Report {
    pub(super) const fn new(to: Vec<String>) -> Self {
        Self { to, carried_over: 0, already_there: 0, left_behind: 0, repositories: Vec::new() }
    }

    pub(super) fn add(&mut self, repository: RepositoryReport) {
        let mut left_behind = usize::from(repository.left_behind.is_some());
        for tag in &repository.tags {
            match tag.outcome {
                Outcome::CarriedOver { .. } => self.carried_over = self.carried_over.saturating_add(1),
                Outcome::AlreadyThere => self.already_there = self.already_there.saturating_add(1),
                Outcome::LeftBehind(_) => left_behind = left_behind.saturating_add(1),
            }
        }
        self.left_behind = self.left_behind.saturating_add(left_behind);
        self.repositories.push(repository);
    }

    /// Whether everything is on the other side now.
    pub(super) const fn is_whole(&self) -> bool {
        self.left_behind == 0
    }
}

impl RepositoryReport {
    pub(super) fn of(repository: &Repository, key: &str, signed: &SignedTags) -> Self {
        Self {
            repository: repository.to_string(),
            key: Some(key.to_owned()),
            trust_data: Some(TrustData {
                server: signed.server.clone(),
                timestamp: signed.timestamp,
                root_keys: signed.root_keys.clone(),
                pinned: signed.pinned,
            }),
            left_behind: None,
            tags: Vec::new(),
            notes: signed.notes.clone(),
        }
    }

    /// Nothing of it could be carried over.
    pub(super) fn failed(repository: &str, failure: &Failure) -> Self {
        Self {
            repository: printable(repository),
            key: None,
            trust_data: None,
            left_behind: Some(Why::of(failure)),
            tags: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl TagReport {
    pub(super) fn done(tag: &SignedTag, resigned: Resigned) -> Self {
        let outcome = match resigned {
            Resigned::Already => Outcome::AlreadyThere,
            Resigned::Now(evidence) => Outcome::CarriedOver { evidence },
        };
        Self::new(tag, outcome)
    }

    pub(super) fn failed(tag: &SignedTag, failure: &Failure) -> Self {
        Self::new(tag, Outcome::LeftBehind(Why::of(failure)))
    }

    pub(super) fn unusable(tag: &SignedTag, why: &Unusable) -> Self {
        let remedy = match why {
            Unusable::Disagreement { .. } => {
                "whichever is right: have the other role sign it, too, or withdraw it there; or `trustctl image sign`"
            }
            Unusable::Lapsed => {
                "have it signed anew, by docker trust sign or by `trustctl trust witness REPOSITORY targets/releases`"
            }
            Unusable::Name(_) => "it is no image; files are signed with `trustctl sign`",
            Unusable::NoSha256 => "docker does not pull it either; if it is an image: `trustctl image sign`",
            Unusable::OnlyDelegated => "if it is to be pulled: `trustctl image sign`",
        };
        Self::new(tag, Outcome::LeftBehind(Why { why: printable(&why.to_string()), remedy: remedy.to_owned() }))
    }

    fn new(tag: &SignedTag, outcome: Outcome) -> Self {
        let digest = tag.content.as_ref().ok().map(|content| content.digest.to_string());
        Self { tag: tag.name.clone(), role: tag.role.to_string(), digest, outcome }
    }
}

impl Shown for Report {
    fn text(&self, paint: Paint) -> String {
        let mut lines = Vec::new();
        for repository in &self.repositories {
            repository.lines(paint, &mut lines);
        }
        let Self { carried_over, already_there, left_behind, .. } = self;
        let sum = format!("{carried_over} carried over, {already_there} there already, {left_behind} left behind");
        lines.push(if self.is_whole() { paint.good(&sum) } else { paint.bad(&sum) });
        lines.join("\n")
    }
}

impl RepositoryReport {
    fn lines(&self, paint: Paint, lines: &mut Vec<String>) {
        let by = self.key.as_ref().map(|key| format!("  by {}", printable(key)));
        lines.push(format!("{}{}", paint.strong(&self.repository), by.unwrap_or_default()));
        if let Some(read) = &self.trust_data {
            let TrustData { server, timestamp, root_keys, pinned } = read;
            let why = if *pinned { "pinned root" } else { "the first root that was seen" };
            let root_keys = root_keys.join(", ");
            lines.push(paint.faint(&format!("  trust data: {server}, timestamp {timestamp}; {why} {root_keys}")));
        }
        if let Some(why) = &self.left_behind {
            lines.push(format!("  {}  {}", paint.bad("left behind"), printable(&why.why)));
            lines.push(paint.faint(&format!("    {}", why.remedy)));
        }
        for tag in &self.tags {
            tag.lines(paint, lines);
        }
        lines.extend(self.notes.iter().map(|note| paint.faint(&format!("  not read: {note}"))));
    }
}

impl TagReport {
    fn lines(&self, paint: Paint, lines: &mut Vec<String>) {
        let tag = printable(&self.tag);
        let digest = self.digest.as_deref().unwrap_or_default();
        match &self.outcome {
            Outcome::CarriedOver { .. } => lines.push(format!("  {}  {tag}  {digest}", paint.good("carried over"))),
            Outcome::AlreadyThere => lines.push(format!("  there already  {tag}  {digest}")),
            Outcome::LeftBehind(why) => {
                lines.push(format!("  {}  {tag}  {}", paint.bad("left behind"), printable(&why.why)));
                lines.push(paint.faint(&format!("    {}", why.remedy)));
            }
        }
    }
}
