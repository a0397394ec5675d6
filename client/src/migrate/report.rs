//! What became of each key.

use serde::Serialize;

use super::plan::Plan;
use crate::failure::{Failure, printable};
use crate::output::{Paint, Shown};

/// Of all keys.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) keys: Vec<KeyReport>,
}

/// Of one.
#[derive(Debug, Serialize)]
pub(super) struct KeyReport {
    /// As docker and `trust inspect` show it; of a file that cannot be read its name.
    id: String,
    role: String,
    repositories: Vec<String>,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub(super) enum Outcome {
    Imported {
        /// Of the key here.
        name: String,
        /// The name that metadata knows it by, where the file has another.
        #[serde(skip_serializing_if = "Option::is_none")]
        other_id: Option<String>,
    },
    AlreadyThere {
        name: String,
    },
    LeftBehind {
        why: String,
        remedy: String,
    },
}

impl Outcome {
    pub(super) fn left_behind(failure: &Failure) -> Self {
        Self::LeftBehind { why: failure.what(), remedy: failure.remedy() }
    }
}

impl Report {
    /// Whether any is.
    pub(super) fn has_any(&self) -> bool {
        self.keys.iter().any(|key| !matches!(key.outcome, Outcome::LeftBehind { .. }))
    }

    /// Whether every key is there now.
    pub(super) fn is_whole(&self) -> bool {
        !self.keys.iter().any(|key| matches!(key.outcome, Outcome::LeftBehind { .. }))
    }
}

impl KeyReport {
    pub(super) fn new(id: &str, role: &str, outcome: Outcome) -> Self {
        Self { id: id.to_owned(), role: role.to_owned(), repositories: Vec::new(), outcome }
    }

    /// Of a file that is no key.
    pub(super) fn unread(file: &str, failure: &Failure) -> Self {
        Self::new(file, "", Outcome::left_behind(failure))
    }

    /// The same with the repositories that it is for.
    pub(super) fn of(mut self, plan: &Plan) -> Self {
        self.repositories = plan.scope();
        self
    }
}

impl Shown for Report {
    fn text(&self, paint: Paint) -> String {
        let mut lines = Vec::new();
        for key in &self.keys {
            key.lines(paint, &mut lines);
        }
        lines.join("\n")
    }
}

impl KeyReport {
    fn lines(&self, paint: Paint, lines: &mut Vec<String>) {
        let what = [printable(&self.id), printable(&self.role), printable(&self.repositories.join(", "))];
        let what = what.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join("  ");
        match &self.outcome {
            Outcome::Imported { name, other_id } => {
                lines.push(format!("{}  {what}", paint.good("imported")));
                lines.push(format!("  as {}", paint.strong(name)));
                if let Some(id) = other_id {
                    lines.push(format!("  the file's name is not the key's, which is {}", printable(id)));
                }
            }
            Outcome::AlreadyThere { name } => {
                lines.push(format!("there already  {what}"));
                lines.push(format!("  as {}", paint.strong(name)));
            }
            Outcome::LeftBehind { why, remedy } => {
                lines.push(format!("{}  {what}", paint.bad("left behind")));
                lines.push(format!("  {}", printable(why)));
                lines.push(paint.faint(&format!("  {remedy}")));
            }
        }
    }
}
