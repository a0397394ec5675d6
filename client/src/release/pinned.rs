//! Release pins: for the releases of a project, these keys are believed and no others.
//!
//! They stand in the host's configuration, in the user's, and in a file that `release pin add` writes, and count in
//! that order: where one of them names a project, the others say nothing of it. A changed environment, which may point
//! to other user files, so cannot add a key to a project of the host's.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trust::{KeyName, Malformed, PublicKey};

use super::judge::Keys;
use crate::command_line::release::{ReleasePinAdd, ReleasePinCommand};
use crate::config::user_file;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Paint, Shown};
use crate::pin::{PinSource, read_public_key};
use crate::pin_file;

/// The most pins in the file that `release pin add` writes.
const PINS_MAX: usize = 1000;
/// The most keys of one kind in a pin.
const KEYS_MAX: usize = 16;

/// The keys of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReleasePin {
    /// What the user calls it.
    name: KeyName,
    /// Of list, manifest, minisign's and OpenSSH's forms: at least one.
    statement: Vec<PublicKey>,
    /// Of the digests of files.
    blob: Vec<PublicKey>,
    /// Who made it.
    source: PinSource,
}

/// A pin as it stands in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleasePinEntry {
    name: String,
    public_keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blob_public_keys: Vec<String>,
}

/// The pins that `release pin add` wrote.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleasePinFile {
    #[serde(default)]
    release_pins: Vec<ReleasePinEntry>,
}

impl ReleasePin {
    fn read(entry: &ReleasePinEntry, source: PinSource) -> Result<Self, Malformed> {
        let keys = |texts: &[String]| {
            if texts.len() > KEYS_MAX {
                return Err(Malformed::new("release pin", "at most 16 keys of each kind"));
            }
            texts.iter().map(|text| PublicKey::from_pem(text)).collect::<Result<Vec<_>, _>>()
        };
        let (statement, blob) = (keys(&entry.public_keys)?, keys(&entry.blob_public_keys)?);
        if statement.is_empty() {
            return Err(Malformed::new("release pin", "at least one key in public_keys"));
        }
        Ok(Self { name: name(&entry.name)?, statement, blob, source })
    }

    fn entry(&self) -> ReleasePinEntry {
        let pem = |keys: &[PublicKey]| keys.iter().map(PublicKey::to_pem).collect();
        ReleasePinEntry {
            name: self.name.to_string(),
            public_keys: pem(&self.statement),
            blob_public_keys: pem(&self.blob),
        }
    }

    fn row(&self) -> Row {
        let hashes = |keys: &[PublicKey]| keys.iter().map(|key| key.spki_sha256().to_string()).collect();
        Row {
            name: self.name.to_string(),
            keys: hashes(&self.statement),
            blob_keys: hashes(&self.blob),
            source: self.source,
        }
    }
}

fn name(text: &str) -> Result<KeyName, Malformed> {
    text.parse().map_err(|malformed: Malformed| Malformed::new("name of a project", malformed.expected))
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

/// Reads the pins of one file.
pub(crate) fn read_all(
    path: &Path,
    entries: Vec<ReleasePinEntry>,
    source: PinSource,
) -> Result<Vec<ReleasePin>, Failure> {
    let mut pins: Vec<ReleasePin> = Vec::new();
    for entry in entries {
        let unreadable = |why: Malformed| {
            Failure::usage(
                format!("the release pin for {:?} in {} cannot be read", entry.name, path.display()),
                "mend it, or remove it and use `trustctl release pin add`",
            )
            .because(why)
        };
        let pin = ReleasePin::read(&entry, source).map_err(unreadable)?;
        if pins.iter().any(|other| other.name == pin.name) {
            return Err(unreadable(Malformed::new("release pin", "the only one of its name in its file")));
        }
        pins.push(pin);
    }
    Ok(pins)
}

/// The pins that `release pin add` wrote.
pub(crate) fn added(directory: &Path) -> Result<Vec<ReleasePin>, Failure> {
    let path = file(directory);
    let entries: ReleasePinFile = user_file(&path)?;
    read_all(&path, entries.release_pins, PinSource::Added)
}

fn file(directory: &Path) -> PathBuf {
    directory.join("release-pins.toml")
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
            let rows = context.config.release_pins.iter().map(ReleasePin::row).collect();
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
    let mut pins = added(directory)?;
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
    context.output.show(&Rows { result: Some(result), release_pins: vec![pin.row()] })
}

fn remove(context: &Context, project: &str) -> Result<(), Failure> {
    let project = name(project)?;
    let directory = context.config.places.configuration_or_fail()?;
    let _lock = pin_file::locked(directory)?;
    let (gone, kept): (Vec<_>, Vec<_>) = added(directory)?.into_iter().partition(|pin| pin.name == project);
    if gone.is_empty() {
        return Err(Failure::refused(
            format!("no release pin for {project} was added here"),
            "`trustctl release pin list` shows what there is, and which stand in a configuration file",
        ));
    }
    write(directory, &kept)?;
    context.output.show(&Rows { result: Some("removed"), release_pins: gone.iter().map(ReleasePin::row).collect() })
}

fn write(directory: &Path, pins: &[ReleasePin]) -> Result<(), Failure> {
    let entries = ReleasePinFile { release_pins: pins.iter().map(ReleasePin::entry).collect() };
    let about = "Written by `trustctl release pin add` and `remove`: whose releases are believed.";
    pin_file::write(&file(directory), about, &entries)
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

    #[test]
    fn a_pin_without_keys_twice_or_with_something_else_for_a_key_is_named() {
        let pem = pin("r.example.com/a").key.to_pem();
        let entry = |keys: &[&str]| ReleasePinEntry {
            name: "acme/app".to_owned(),
            public_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            blob_public_keys: Vec::new(),
        };
        for entries in [
            vec![entry(&[])],
            vec![entry(&["no key"])],
            vec![entry(&vec![pem.as_str(); KEYS_MAX + 1])],
            vec![entry(&[&pem]), entry(&[&pem])],
        ] {
            let failure = read_all(Path::new("f.toml"), entries, PinSource::User).unwrap_err();

            assert!(failure.what().contains("acme/app") && failure.what().contains("f.toml"), "{failure:?}");
        }
        assert_eq!(read_all(Path::new("f.toml"), vec![entry(&[&pem])], PinSource::User).unwrap().len(), 1);
    }
}
