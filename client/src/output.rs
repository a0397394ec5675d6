//! What is said: text for people, or one JSON document for programs.
//!
//! Results go to standard output, words about them to standard error. Colours and progress bars are for a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::failure::{Failure, printable};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// One JSON document.
    Json,
    /// For people.
    #[default]
    Text,
}

/// Colours for text; empty styles where there is no terminal.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Paint {
    coloured: bool,
}

impl Paint {
    /// Something that is as it should be.
    pub(crate) fn good(self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    /// Something to look at.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    /// The thing itself, among words about it.
    pub(crate) fn strong(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    /// Words that may be skipped.
    pub(crate) fn faint(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    fn with(self, style: Style, text: &str) -> String {
        let text = printable(text);
        if self.coloured { format!("{style}{text}{style:#}") } else { text }
    }
}

/// A result that can be shown either way.
pub(crate) trait Shown: Serialize {
    /// The text for people, without a newline at its end; may have several lines.
    fn text(&self, paint: Paint) -> String;
}

/// Where the results of one call go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    results: Paint,
    remarks: Paint,
    progress: bool,
}

impl Output {
    /// For this process' standard output and error.
    pub(crate) fn new(format: Format) -> Self {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        Self {
            format,
            results: Paint { coloured: colours && out && format == Format::Text },
            remarks: Paint { coloured: colours && err },
            progress: err && format == Format::Text,
        }
    }

    /// The same without bars: for work that is one step of a bar of its own.
    #[must_use]
    pub(crate) const fn without_bars(mut self) -> Self {
        self.progress = false;
        self
    }

    /// Shows a result on standard output.
    pub(crate) fn show(&self, result: &impl Shown) -> Result<(), Failure> {
        match self.format {
            Format::Text => self.line(&result.text(self.results)),
            Format::Json => self.json(result),
        }
    }

    /// Writes a text as it is, whatever the format: a key, a checkpoint, a completion script.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(closed)
    }

    /// A word about what happens, on standard error; none with JSON.
    pub(crate) fn remark(&self, text: &str) {
        if self.format == Format::Text {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr().lock(), "{}", printable(text));
        }
    }

    /// A word that must not be missed, on standard error, with JSON too: `{"warning": …}`.
    pub(crate) fn warning(&self, text: &str) {
        let line = match self.format {
            Format::Text => format!("{} {}", self.remarks.bad("warning:"), printable(text)),
            Format::Json => json!({"warning": printable(text)}).to_string(),
        };
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    /// Says why a command did not work, on standard error: two lines, or a JSON object.
    pub(crate) fn failure(&self, failure: &Failure) {
        let text = match self.format {
            Format::Text => format!(
                "{} {}\n{}",
                self.remarks.bad("trustctl:"),
                failure.what(),
                self.remarks.faint(&format!("  {}", failure.remedy()))
            ),
            Format::Json => failure.to_json().to_string(),
        };
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// A bar for `total` steps of `what`; invisible where nobody looks.
    pub(crate) fn progress(&self, total: u64, what: &str) -> ProgressBar {
        if !self.progress {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        bar.set_message(printable(what));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// A bar for bytes of `what`, where it is not known how many there are a mere count; invisible where nobody looks.
    pub(crate) fn progress_bytes(&self, total: Option<u64>, what: &str) -> ProgressBar {
        let bar = self.progress(0, what);
        let template = match total {
            Some(total) => {
                bar.set_length(total);
                "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
            }
            None => {
                bar.unset_length();
                "{msg} {spinner} {bytes} {bytes_per_sec}"
            }
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    }

    /// A result's word for what is as it should be.
    pub(crate) fn good(&self, text: &str) -> String {
        self.results.good(text)
    }

    /// A result's word for what is not.
    pub(crate) fn bad(&self, text: &str) -> String {
        self.results.bad(text)
    }

    /// Whether a person may be asked: standard input and error are terminals.
    pub(crate) fn asks() -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// How results are written.
    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    fn line(&self, text: &str) -> Result<(), Failure> {
        if text.is_empty() { Ok(()) } else { self.raw(format!("{text}\n").as_bytes()) }
    }

    fn json(&self, result: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(result).map_err(|error| {
            Failure::other("write the result as JSON", "this is a fault of trustctl").because(error)
        })?;
        self.line(&text)
    }
}

fn closed(error: std::io::Error) -> Failure {
    Failure::other("write to standard output", "did the program that reads it end?").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_there_is_no_colour() {
        let paint = Paint::default();

        assert_eq!(paint.good("verified") + &paint.bad("no"), "verifiedno");
    }

    #[test]
    fn colours_end_where_they_began() {
        let paint = Paint { coloured: true };

        assert_eq!(paint.strong("x"), "\u{1b}[1mx\u{1b}[0m");
        assert_eq!(paint.faint("a\u{1b}b").matches('\u{1b}').count(), 2);
    }
}
