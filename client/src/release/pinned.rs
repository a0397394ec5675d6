//! `trustctl release pin …`, and which keys of the pins are believed for a project.

use std::path::{Path, PathBuf};

use serde::Serialize;
use trust::PublicKey;

use super::judge::Keys;
use crate::command_line::release::{ReleasePinAdd, ReleasePinCommand};
use crate::config::{self, added_release_pins};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Paint, Shown};
use crate::pin::{PinSource, read_public_key};
use crate::pin_file;
use crate::release_pin::{KEYS_MAX, ReleasePin, ReleasePinEntry, name};

/// The most pins in the file that `release pin add` writes.
const PINS_MAX: usize = 1000;

/// The file that `release pin add` writes.
#[derive(Debug, Serialize)]
struct ReleasePinFile {
    release_pins: Vec<ReleasePinEntry>,
}

/// A pin as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// SHA-256 of each key's SubjectPublicKeyInfo.
    keys: Vec<String>,
    blob_keys: Vec<String>,
    source: PinSource,
}

#[derive(Debug, Serialize)]
struct Rows {
    /// "added", "changed", "kept", "removed"; nothing where pins are only listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    release_pins: Vec<Row>,
}

impl Shown for Rows {
    fn text(&self, paint: Paint) -> String {
        if self.release_pins.is_empty() {
            return paint.faint("no release pins; `trustctl release pin add NAME --public-key FILE` makes one");
        }
        let lines = self.release_pins.iter().map(|row| {
            let mut words = vec![paint.strong(&row.name)];
            words.extend(self.result.map(|result| paint.faint(result)));
            words.extend(row.keys.iter().cloned());
            words.extend(row.blob_keys.iter().map(|key| format!("blob {key}")));
            match row.source {
                PinSource::Host => words.push(paint.faint("(this host)")),
                PinSource::User => words.push(paint.faint("(config.toml)")),
                PinSource::Added => {}
            }
            words.join("  ")
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// One pin, shown.
fn row(pin: &ReleasePin) -> Row {
    let hashes = |keys: &[PublicKey]| keys.iter().map(|key| key.spki_sha256().to_string()).collect();
    Row { name: pin.name.to_string(), keys: hashes(&pin.statement), blob_keys: hashes(&pin.blob), source: pin.source }
}

/// The keys believed for a project: those of the first source that names it. `pins` are the host's first.
pub(super) fn keys(pins: &[ReleasePin], project: &str) -> Result<Keys, Failure> {
    let project = name(project)?;
    let pin = pins.iter().find(|pin| pin.name == project).ok_or_else(|| {
        Failure::refused(
            format!("no keys are pinned for the releases of {project}"),
            format!("if you know the key that signs them: trustctl release pin add {project} --public-key FILE"),
        )
    })?;
    Ok(Keys { statement: pin.statement.clone(), blob: pin.blob.clone() })
}

/// Reads public keys the user named.
pub(super) fn read_keys(paths: &[PathBuf]) -> Result<Vec<PublicKey>, Failure> {
    if paths.len() > KEYS_MAX {
        return Err(Failure::usage("more than 16 keys", "name those that may have signed the release"));
    }
    paths.iter().map(|path| read_public_key(path)).collect()
}

/// Runs `trustctl release pin …`.
pub(crate) fn run(context: &Context, command: ReleasePinCommand) -> Result<(), Failure> {
    match command {
        ReleasePinCommand::Add(arguments) => add(context, &arguments),
        ReleasePinCommand::List => {
            let rows = context.config.release_pins.iter().map(row).collect();
            context.output.show(&Rows { result: None, release_pins: rows })
        }
        ReleasePinCommand::Remove { name } => remove(context, &name),
    }
}

fn add(context: &Context, arguments: &ReleasePinAdd) -> Result<(), Failure> {
    let pin = ReleasePin {
        name: name(&arguments.name)?,
        statement: read_keys(&arguments.public_key)?,
        blob: read_keys(&arguments.blob_public_key)?,
        source: PinSource::Added,
    };
    let directory = context.config.places.configuration_or_fail()?;
    let _lock = pin_file::locked(directory)?;
    let mut pins = added_release_pins(directory)?;
    let result = pin_file::put(&mut pins, &pin, |other| other.name == pin.name);
    if pins.len() > PINS_MAX {
        let remedy = "remove some: `trustctl release pin remove`";
        return Err(Failure::usage(format!("more than {PINS_MAX} release pins"), remedy));
    }
    write(directory, &pins)?;
    let elsewhere = |other: &&ReleasePin| other.name == pin.name && other.source != PinSource::Added;
    if context.config.release_pins.iter().any(|other| elsewhere(&other)) {
        context.output.warning("a configuration file names this project, too, and is what counts");
    }
    context.output.show(&Rows { result: Some(result), release_pins: vec![row(&pin)] })
}

fn remove(context: &Context, project: &str) -> Result<(), Failure> {
    let project = name(project)?;
    let directory = context.config.places.configuration_or_fail()?;
    let _lock = pin_file::locked(directory)?;
    let (gone, kept): (Vec<_>, Vec<_>) =
        added_release_pins(directory)?.into_iter().partition(|pin| pin.name == project);
    if gone.is_empty() {
        return Err(Failure::refused(
            format!("no release pin for {project} was added here"),
            "`trustctl release pin list` shows what there is, and which stand in a configuration file",
        ));
    }
    write(directory, &kept)?;
    context.output.show(&Rows { result: Some("removed"), release_pins: gone.iter().map(row).collect() })
}

fn write(directory: &Path, pins: &[ReleasePin]) -> Result<(), Failure> {
    let entries = ReleasePinFile { release_pins: pins.iter().map(ReleasePin::entry).collect() };
    let about = "Written by `trustctl release pin add` and `remove`: whose releases are believed.";
    pin_file::write(&config::release_pin_file(directory), about, &entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::{context_below, pin};

    fn adding(name: &str, file: &Path) -> ReleasePinAdd {
        ReleasePinAdd { name: name.to_owned(), public_key: vec![file.to_owned()], blob_public_key: Vec::new() }
    }

    #[test]
    fn a_pin_is_added_once_changed_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("k.pub");
        std::fs::write(&key, pin("r.example.com/a").key.to_pem()).unwrap();
        let reload = || context_below(home.path());

        add(&reload(), &adding("acme/app", &key)).unwrap();
        add(&reload(), &adding("acme/app", &key)).unwrap();
        assert_eq!(reload().config.release_pins.len(), 1);
        add(&reload(), &ReleasePinAdd { blob_public_key: vec![key.clone()], ..adding("acme/app", &key) }).unwrap();
        let found = keys(&reload().config.release_pins, "acme/app").unwrap();
        assert_eq!((found.statement.len(), found.blob.len()), (1, 1));

        assert_eq!(keys(&reload().config.release_pins, "acme/other").unwrap_err().exit().code(), 1);
        assert_eq!(add(&reload(), &adding("Acme App", &key)).unwrap_err().exit().code(), 2);
        remove(&reload(), "acme/app").unwrap();
        assert!(reload().config.release_pins.is_empty());
        assert_eq!(remove(&reload(), "acme/app").unwrap_err().exit().code(), 1);
    }

    #[test]
    fn where_the_host_names_a_project_a_users_keys_do_not_count() {
        let home = tempfile::tempdir().unwrap();
        let (users, hosts) = (home.path().join("k.pub"), pin("r.example.com/a").key.to_pem());
        std::fs::write(&users, include_str!("../../../trust/tests/samples/release/ed25519.pub")).unwrap();
        add(&context_below(home.path()), &adding("acme/app", &users)).unwrap();
        let table = format!("[[release_pins]]\nname = \"acme/app\"\npublic_keys = [\"\"\"{hosts}\"\"\"]\n");
        let file = home.path().join("etc.toml");
        std::fs::write(&file, &table).unwrap();
        std::os::unix::fs::chown(&file, Some(rustix::process::geteuid().as_raw()), None).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();

        let found = keys(&context_below(home.path()).config.release_pins, "acme/app").unwrap();

        assert_eq!(found.statement, [pin("r.example.com/a").key]);
    }
}
