//! `trustctl migrate notary import keys`: what lies in a docker trust directory goes into custody.
//!
//! Each key is sealed here to an offer of the custodian, as `key import` does; none is written anywhere.

pub(super) mod directory;
pub(super) mod docker_key;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use trust::format::tuf::Key;
use trust::{Algorithm, Form, Gun, PublicKey, Purpose, Repository};
use trust_proto::v1;
use trust_proto::words::Word as _;

use self::directory::Listed;
use self::docker_key::DockerKey;
use super::ended;
use super::passphrases::Passphrases;
use super::plan::Plan;
use super::report::{KeyReport, Outcome, Report};
use crate::command_line::migrate::ImportKeys;
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::key;
use crate::key::import::{algorithm, into_custody};
use crate::key::private_file::PrivateFile;

/// Runs `trustctl migrate notary import keys`; refused where a key was left behind, after the report.
pub(super) async fn run(context: &Context, arguments: &ImportKeys) -> Result<ExitCode, Failure> {
    let files = directory::key_files(&arguments.from)?;
    let listed = directory::listed(&arguments.from);
    let named = arguments.repository.iter().map(|typed| Ok(Repository::normalise(typed)?.as_str().parse::<Gun>()?));
    let named = named.collect::<Result<Vec<_>, Failure>>()?;
    let mut passphrases = Passphrases::read(&arguments.passphrase_file)?;
    let daemon = context.daemon().await?;
    let mut import = Import::begin(&daemon, arguments.token.as_deref()).await?;
    let directory = Directory { listed, named };
    let mut report = Report::default();
    let bar = context.output.progress(u64::try_from(files.len()).unwrap_or_default(), "keys");
    for file in &files {
        let one = bar.suspend(|| directory.read(file, &import, &mut passphrases));
        let one = match one {
            Ok(read) => import.key(read).await?,
            Err(report) => *report,
        };
        report.keys.push(one);
        bar.inc(1);
    }
    bar.finish_and_clear();
    context.output.show(&report)?;
    if report.has_any() {
        let place = arguments.from.display();
        context.output.warning(&format!("{place} still holds the private keys: destroy them, and their backups"));
    }
    Ok(ended(report.is_whole()))
}

/// A key that the daemon has already.
struct Held {
    name: String,
    scope: Vec<String>,
}

/// The daemon's keys of trust data that the caller may see, by the names that docker shows.
async fn held(daemon: &Daemon) -> Result<BTreeMap<String, Held>, Failure> {
    let mut held = BTreeMap::new();
    for key in key::list_all(daemon).await? {
        if !Purpose::from_wire(key.purpose).is_ok_and(Purpose::is_of_trust_data) {
            continue;
        }
        for id in ids(&key) {
            held.insert(id, Held { name: key.name.clone(), scope: key.scope.clone() });
        }
    }
    Ok(held)
}

/// The names in metadata of a key's versions; those that this version cannot read have none.
fn ids(key: &v1::Key) -> Vec<String> {
    let algorithm = Algorithm::from_wire(key.algorithm).ok();
    let id = |version: &v1::KeyVersion| {
        let public_key = PublicKey::from_spki_der(algorithm?, &version.spki_der).ok()?;
        Some(Key::of(&public_key).ok()?.canonical_id().to_hex())
    };
    key.versions.iter().filter_map(id).collect()
}

/// A key that was read and opened, and what it is to be.
pub(super) struct Ready {
    id: String,
    role: String,
    plan: Plan,
    algorithm: Algorithm,
    file: PrivateFile,
}

impl Ready {
    /// With the first algorithm that key and purpose have in common.
    pub(super) fn new(id: &str, role: &str, plan: Plan, file: PrivateFile) -> Result<Self, Failure> {
        let algorithm = algorithm(file.kind, None, plan.purpose.name())?;
        Ok(Self { id: id.to_owned(), role: role.to_owned(), plan, algorithm, file })
    }
}

/// What a trust directory and the call say of which key is for what.
struct Directory {
    listed: Listed,
    named: Vec<Gun>,
}

impl Directory {
    /// Reads and opens a key, unless it is there already; else what there is to report of it.
    fn read(&self, path: &Path, import: &Import<'_>, passphrases: &mut Passphrases) -> Result<Ready, Box<KeyReport>> {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let key = DockerKey::read(path).map_err(|failure| Box::new(KeyReport::unread(&file, &failure)))?;
        let left = |outcome| KeyReport::new(&key.id, &key.role, outcome);
        let plan = Plan::of(&key, &self.listed, &self.named);
        let plan = plan.map_err(|failure| Box::new(left(Outcome::left_behind(&failure))))?;
        if let Some(outcome) = import.already(&key.id, &plan) {
            return Err(Box::new(left(outcome).of(&plan)));
        }
        let what = format!("{} ({} of {})", key.id, key.role, plan.scope().join(", "));
        let opened = if key.held.is_locked() {
            passphrases.open(&what, |passphrase| key.held.open(passphrase))
        } else {
            key.held.plain()
        };
        opened
            .and_then(|file| Ready::new(&key.id, &key.role, plan.clone(), file))
            .map_err(|failure| Box::new(left(Outcome::left_behind(&failure)).of(&plan)))
    }
}

/// Keys on their way into one daemon.
pub(super) struct Import<'c> {
    daemon: &'c Daemon,
    held: BTreeMap<String, Held>,
    token: Option<&'c str>,
}

impl<'c> Import<'c> {
    /// Asks which keys are there.
    pub(super) async fn begin(daemon: &'c Daemon, token: Option<&'c str>) -> Result<Self, Failure> {
        Ok(Self { held: held(daemon).await?, daemon, token })
    }

    /// What there is to report of a key that is there already, by its name in metadata.
    pub(super) fn already(&self, id: &str, plan: &Plan) -> Option<Outcome> {
        self.held.get(id).map(|held| already(held, plan))
    }

    /// Brings it into custody.
    ///
    /// # Errors
    /// When the daemon cannot be reached: no other key would fare better.
    pub(super) async fn key(&mut self, ready: Ready) -> Result<KeyReport, Failure> {
        let Ready { id, role, plan, algorithm, file } = ready;
        let imported = v1::ImportedKey {
            name: plan.name.to_string(),
            purpose: plan.purpose.to_wire(),
            algorithm: algorithm.to_wire(),
            scope: plan.scope(),
            forms: vec![Form::Tuf.to_wire()],
            token: self.token.unwrap_or_default().to_owned(),
        };
        let outcome = match into_custody(self.daemon, imported, file.pkcs8).await {
            Ok(answer) => {
                let key = answer.key.unwrap_or_default();
                let found = ids(&key);
                for id in &found {
                    self.held.insert(id.clone(), Held { name: key.name.clone(), scope: key.scope.clone() });
                }
                // Another name in metadata than the file has: a renamed file.
                let other = found.into_iter().next_back().filter(|found| *found != id);
                Outcome::Imported { name: key.name, other_id: other }
            }
            Err(failure) if failure.exit() == Exit::Unreachable => return Err(failure),
            Err(failure) => Outcome::left_behind(&failure),
        };
        Ok(KeyReport::new(&id, &role, outcome).of(&plan))
    }
}

/// A key's scope is for life: one that is there for less cannot be made to be for more.
fn already(held: &Held, plan: &Plan) -> Outcome {
    let missing: Vec<String> = plan.scope().into_iter().filter(|gun| !held.scope.contains(gun)).collect();
    if missing.is_empty() {
        return Outcome::AlreadyThere { name: held.name.clone() };
    }
    Outcome::left_behind(&Failure::refused(
        format!("it is there already as {}, but not for {}", held.name, missing.join(", ")),
        "a key's scope is for life: those repositories need another key",
    ))
}
