//! `trustctl pin`: makes, shows and removes the pins of a user.

use std::path::Path;

use serde::Serialize;
use trust::Malformed;
use trust::scope::RepositoryPattern;

use crate::command_line::pin::{PinAdd, PinCommand, PinRemove};
use crate::config::{self, added_pins};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Paint, Shown};
use crate::pin::{Pin, PinEntry, PinSource, read_public_key};
use crate::pin_file;

/// The most pins in the file that `pin add` writes.
const PINS_MAX: usize = 10_000;

#[derive(Serialize)]
struct PinFile<'a> {
    pins: &'a [PinEntry],
}

/// A pin as it is shown.
#[derive(Debug, Serialize)]
struct PinRow {
    repository: String,
    /// SHA-256 of the key's SubjectPublicKeyInfo.
    key: String,
    algorithm: &'static str,
    any_tag: bool,
    required: bool,
    source: PinSource,
}

impl From<&Pin> for PinRow {
    fn from(pin: &Pin) -> Self {
        Self {
            repository: pin.pattern.to_string(),
            key: pin.key.spki_sha256().to_string(),
            algorithm: pin.key.algorithm().name(),
            any_tag: pin.any_tag,
            required: pin.required,
            source: pin.source,
        }
    }
}

#[derive(Debug, Serialize)]
struct Pins {
    pins: Vec<PinRow>,
}

impl Shown for Pins {
    fn text(&self, paint: Paint) -> String {
        if self.pins.is_empty() {
            return paint.faint("no pins; `trustctl pin add REPOSITORY --public-key FILE` makes one");
        }
        let lines = self.pins.iter().map(|pin| {
            let mut words = vec![paint.strong(&pin.repository), pin.key.clone(), pin.algorithm.to_owned()];
            words.extend(pin.any_tag.then(|| "any-tag".to_owned()));
            words.extend(pin.required.then(|| "required".to_owned()));
            words.push(paint.faint(match pin.source {
                PinSource::Host => "(this host)",
                PinSource::User => "(config.toml)",
                PinSource::Added => "",
            }));
            words.join("  ").trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[derive(Debug, Serialize)]
struct Changed {
    /// "added", "changed", "kept" or "removed".
    result: &'static str,
    pins: Vec<PinRow>,
    /// What follows from it, where that may surprise.
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

impl Shown for Changed {
    fn text(&self, paint: Paint) -> String {
        let mut lines: Vec<String> = self
            .pins
            .iter()
            .map(|pin| format!("{} {}  {}", self.result, paint.strong(&pin.repository), pin.key))
            .collect();
        if !self.note.is_empty() {
            lines.push(paint.faint(&self.note));
        }
        lines.join("\n")
    }
}

/// Runs `trustctl pin …`.
pub(crate) fn run(context: &Context, command: PinCommand) -> Result<(), Failure> {
    match command {
        PinCommand::Add(arguments) => add(context, &arguments),
        PinCommand::List => context.output.show(&Pins { pins: context.config.pins.iter().map(PinRow::from).collect() }),
        PinCommand::Remove(arguments) => remove(context, &arguments),
    }
}

fn add(context: &Context, arguments: &PinAdd) -> Result<(), Failure> {
    let pattern = RepositoryPattern::normalise(&arguments.repository).map_err(not_a_pattern)?;
    let pin = Pin {
        pattern,
        key: read_public_key(&arguments.public_key)?,
        any_tag: arguments.any_tag,
        required: arguments.required,
        source: PinSource::Added,
    };
    let directory = context.config.places.configuration_or_fail()?;
    let _lock = pin_file::locked(directory)?;
    let mut pins = added_pins(directory)?;
    let result = pin_file::put(&mut pins, &pin, |other| other.pattern == pin.pattern && other.key == pin.key);
    if pins.len() > PINS_MAX {
        return Err(Failure::usage(format!("more than {PINS_MAX} pins"), "remove some: `trustctl pin remove`"));
    }
    write(directory, &pins)?;
    let hidden = context.config.pins.iter().any(|other| other.source == PinSource::Host && overlaps(other, &pin));
    let note = if hidden { "pins of this host decide where they match; this one only decides elsewhere" } else { "" };
    context.output.show(&Changed { result, pins: vec![PinRow::from(&pin)], note: note.to_owned() })
}

/// True when a host's pin may cover what the other is for.
fn overlaps(host: &Pin, pin: &Pin) -> bool {
    match &pin.pattern {
        RepositoryPattern::Exact(repository) => host.pattern.covers(repository),
        RepositoryPattern::Below(prefix) => {
            host.pattern == pin.pattern || host.pattern.to_string().starts_with(&format!("{prefix}/"))
        }
    }
}

fn remove(context: &Context, arguments: &PinRemove) -> Result<(), Failure> {
    let pattern = RepositoryPattern::normalise(&arguments.repository).map_err(not_a_pattern)?;
    let key = arguments.public_key.as_deref().map(read_public_key).transpose()?;
    let chosen = |pin: &Pin| pin.pattern == pattern && key.as_ref().is_none_or(|key| pin.key == *key);
    let directory = context.config.places.configuration_or_fail()?;
    let _lock = pin_file::locked(directory)?;
    let (gone, kept): (Vec<Pin>, Vec<Pin>) = added_pins(directory)?.into_iter().partition(chosen);
    if gone.is_empty() {
        let elsewhere = context.config.pins.iter().any(chosen);
        let remedy = if elsewhere {
            "it stands in a configuration file: remove it there; `trustctl pin list` says in which"
        } else {
            "`trustctl pin list` shows what there is"
        };
        return Err(Failure::refused(format!("no pin for {pattern} was added here"), remedy));
    }
    write(directory, &kept)?;
    let note = if kept.iter().any(|pin| pin.pattern == pattern) {
        String::new()
    } else {
        "without a pin, the keys that an enrolled daemon reports are believed".to_owned()
    };
    context.output.show(&Changed { result: "removed", pins: gone.iter().map(PinRow::from).collect(), note })
}

fn not_a_pattern(malformed: Malformed) -> Failure {
    Failure::usage(
        "not a repository, nor a prefix of some",
        format!("it has to be {}, for example registry.example.com/team/*", malformed.expected),
    )
}

fn write(directory: &Path, pins: &[Pin]) -> Result<(), Failure> {
    let entries: Vec<PinEntry> = pins.iter().map(Pin::entry).collect();
    let about = "Written by `trustctl pin add` and `pin remove`: whose signatures are believed.";
    pin_file::write(&config::pin_file(directory), about, &PinFile { pins: &entries })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::context::tests::{context_below, pin};

    fn adding(repository: &str, file: PathBuf) -> PinAdd {
        PinAdd { repository: repository.to_owned(), public_key: file, any_tag: false, required: false }
    }

    #[test]
    fn a_pin_is_added_once_changed_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("k.pub");
        std::fs::write(&key, pin("r.example.com/a").key.to_pem()).unwrap();
        let reload = || context_below(home.path());

        add(&reload(), &adding("r.example.com/team/*", key.clone())).unwrap();
        add(&reload(), &adding("r.example.com/team/*", key.clone())).unwrap();
        assert_eq!(reload().config.pins.len(), 1);
        add(&reload(), &PinAdd { required: true, ..adding("r.example.com/team/*", key.clone()) }).unwrap();
        assert!(reload().config.pins[0].required);
        add(&reload(), &adding("busybox", key)).unwrap();
        assert_eq!(reload().config.pins[1].pattern.to_string(), "docker.io/library/busybox");

        let which = |repository: &str| PinRemove { repository: repository.to_owned(), public_key: None };
        remove(&reload(), &which("r.example.com/team/*")).unwrap();
        assert_eq!(reload().config.pins.len(), 1);
        assert_eq!(remove(&reload(), &which("r.example.com/team/*")).unwrap_err().exit().code(), 1);
    }

    #[test]
    fn what_is_no_key_or_no_repository_is_a_usage_error() {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("k.pub");
        std::fs::write(&key, "not a key").unwrap();
        let context = context_below(home.path());

        for (repository, file) in [
            ("r.example.com/a", key.clone()),
            ("r.example.com/*x", key),
            ("r.example.com/a", home.path().join("absent")),
        ] {
            assert_eq!(add(&context, &adding(repository, file)).unwrap_err().exit().code(), 2);
        }
    }
}
