//! What is said of a batch: each item that is not verified, as soon as it is known, and at the end how many there were.
//!
//! Nothing is kept of an item: a batch may be longer than memory.

use std::fmt::Write as _;

use indicatif::ProgressBar;
use serde_json::json;
use trust::verify::NotValid;
use trust_proto::v1::VerifyFailure;

use crate::failure::{Failure, printable};
use crate::output::{Format, Output};

/// Why an item is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The key's signatures do not count any more.
    Distrusted,
    /// No signature of this algorithm has such bytes.
    Encoding,
    /// The key's algorithm takes no such input.
    Input,
    /// It does not fit the key and the message.
    Wrong,
}

impl Reason {
    /// The word for it in JSON.
    const fn name(self) -> &'static str {
        match self {
            Self::Distrusted => "distrusted",
            Self::Encoding => "encoding",
            Self::Input => "input",
            Self::Wrong => "wrong",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Distrusted => "the key is distrusted",
            Self::Encoding => "the signature has not the length that the key's algorithm makes",
            Self::Input => "the key's algorithm takes no such input",
            Self::Wrong => "the signature does not fit the key and the message",
        }
    }
}

impl From<NotValid> for Reason {
    fn from(why: NotValid) -> Self {
        match why {
            NotValid::Encoding => Self::Encoding,
            NotValid::Input => Self::Input,
            NotValid::Wrong => Self::Wrong,
        }
    }
}

impl From<VerifyFailure> for Reason {
    fn from(why: VerifyFailure) -> Self {
        match why {
            VerifyFailure::Distrusted => Self::Distrusted,
            VerifyFailure::Encoding => Self::Encoding,
            VerifyFailure::Input => Self::Input,
            // A reason that this version does not know is no reason to count it.
            VerifyFailure::Wrong | VerifyFailure::Unspecified => Self::Wrong,
        }
    }
}

/// Says it as it comes.
#[derive(Debug)]
pub(super) struct Report {
    output: Output,
    bar: ProgressBar,
    /// Under whose key, in words.
    key: String,
    /// What to look at where no item fits the key.
    doubt: String,
    items: u64,
    failed: u64,
    /// Of those that failed: how many by their signature, which another key may have made.
    wrong: u64,
}

impl Report {
    pub(super) const fn new(output: Output, bar: ProgressBar, key: String, doubt: String) -> Self {
        Self { output, bar, key, doubt, items: 0, failed: 0, wrong: 0 }
    }

    /// The verdicts of the next items, in order, after so many bytes of the batch.
    pub(super) fn add(
        &mut self,
        verdicts: impl IntoIterator<Item = Result<(), Reason>>,
        read_bytes: u64,
    ) -> Result<(), Failure> {
        let mut text = String::new();
        for verdict in verdicts {
            if let Err(reason) = verdict {
                self.note(&mut text, reason);
            }
            self.items = self.items.saturating_add(1);
        }
        self.bar.set_position(read_bytes);
        if text.is_empty() { Ok(()) } else { self.bar.suspend(|| self.output.raw(text.as_bytes())) }
    }

    fn note(&mut self, text: &mut String, reason: Reason) {
        let index = self.items;
        // Writing to a string does not fail.
        let _ = match self.output.format() {
            Format::Text => writeln!(text, "{} item {index}: {}", self.output.bad("not verified"), reason.words()),
            Format::Json => {
                let before = if self.failed == 0 { "{\n\"failed\": [\n" } else { ",\n" };
                write!(text, "{before}{}", json!({"index": index, "reason": reason.name()}))
            }
        };
        self.failed = self.failed.saturating_add(1);
        self.wrong = self.wrong.saturating_add(u64::from(reason == Reason::Wrong));
    }

    /// Says how many there were. What kept the rest from being verified goes before what failed.
    pub(super) fn finish(self, broken: Option<Failure>) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let Self { output, key, doubt, items, failed, wrong, .. } = self;
        let valid = items.saturating_sub(failed);
        match output.format() {
            Format::Json => {
                let before = if failed == 0 { "{\n\"failed\": [" } else { "\n" };
                let rest =
                    json!({"complete": broken.is_none(), "items": items, "key": printable(&key), "valid": valid});
                let rest = rest.to_string();
                let rest = rest.strip_prefix('{').unwrap_or_default();
                output.raw(format!("{before}],\n{rest}\n").as_bytes())?;
            }
            Format::Text if broken.is_none() && failed == 0 => {
                let word = if items == 1 { "item" } else { "items" };
                let line = format!("{} {items} {word} under {}\n", output.good("verified"), printable(&key));
                output.raw(line.as_bytes())?;
            }
            Format::Text if items == 0 => {}
            Format::Text => output.remark(&format!("{valid} of {items} items are verified under {key}")),
        }
        match broken {
            Some(failure) => Err(failure),
            None if failed > 0 => {
                let mut remedy = "use none of them; the indexes above count the items of the batch from 0".to_owned();
                if wrong == items {
                    remedy = format!("{remedy}; {doubt}");
                }
                Err(Failure::refused(format!("{failed} of {items} items are not verified"), remedy))
            }
            None => Ok(()),
        }
    }
}
