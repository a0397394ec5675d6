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
    /// Whether every key is there now.
    pub(super) fn is_whole(&self) -> bool {
        self.left_behind() == 0
    }

    fn left_behind(&self) -> usize {
        self.keys.iter().filter(|key| matches!(key.outcome, Outcome::LeftBehind { .. })).count()
    }

    /// What is to become of the files that the keys are `still_there` in; nothing to say where none came from them.
    pub(super) fn parting(&self, still_there: &str) -> Option<String> {
        let left = self.left_behind();
        if left == self.keys.len() {
            return None;
        }
        Some(if left == 0 {
            format!("{still_there}: destroy them, and their backups, when you have seen that all is signed from here")
        } else {
            format!("{still_there}, and those that were left behind ({left}) may be nowhere else: destroy nothing yet")
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_destroy_what_was_left_behind() {
        let of = |behind: &[bool]| {
            let outcome = |is_behind: &bool| {
                let failure = Failure::refused("it is there for something else", "another key");
                if *is_behind { Outcome::left_behind(&failure) } else { Outcome::AlreadyThere { name: "a".to_owned() } }
            };
            let keys = behind.iter().map(|is_behind| KeyReport::new("id", "targets", outcome(is_behind))).collect();
            Report { keys }.parting("the files still hold the private keys")
        };

        assert!(of(&[false, false]).unwrap().contains("destroy them"));
        let partly = of(&[false, true, true]).unwrap();
        assert!(partly.contains("left behind (2)") && partly.contains("destroy nothing"), "{partly}");
        assert_eq!((of(&[true]), of(&[])), (None, None));
    }
}
