//! Keys on their way into custody, wherever they come from: what is there already is left alone, and of each there is a
//! report.

use std::collections::BTreeMap;
use std::process::ExitCode;

use trust::format::tuf::Key;
use trust::{Algorithm, Form, PublicKey, Purpose};
use trust_proto::v1;
use trust_proto::words::Word as _;

use super::ended;
use super::plan::Plan;
use super::report::{KeyReport, Outcome, Report};
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::key;
use crate::key::import::{algorithm, into_custody};
use crate::key::private_file::PrivateFile;

/// Brings every key that `read` opens into the daemon's custody, or into its token, and shows what became of each;
/// refused where one was left behind. Afterwards it is said what is `still_there`.
///
/// # Errors
/// When the daemon cannot be reached.
pub(super) async fn all<K>(
    context: &Context,
    keys: &[K],
    mut read: impl FnMut(&K, &Import<'_>) -> Result<Ready, Box<KeyReport>>,
    token: Option<&str>,
    still_there: &str,
) -> Result<ExitCode, Failure> {
    let daemon = context.daemon().await?;
    let mut import = Import::begin(&daemon, token).await?;
    let mut report = Report::default();
    let bar = context.output.progress(u64::try_from(keys.len()).unwrap_or_default(), "keys");
    for key in keys {
        let one = match bar.suspend(|| read(key, &import)) {
            Ok(ready) => import.key(ready).await?,
            Err(report) => *report,
        };
        report.keys.push(one);
        bar.inc(1);
    }
    bar.finish_and_clear();
    context.output.show(&report)?;
    if report.has_any() {
        context.output.warning(&format!("{still_there}: destroy them, and their backups"));
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

/// Keys on their way into one daemon.
pub(super) struct Import<'c> {
    daemon: &'c Daemon,
    held: BTreeMap<String, Held>,
    token: Option<&'c str>,
}

impl<'c> Import<'c> {
    /// Asks which keys are there.
    async fn begin(daemon: &'c Daemon, token: Option<&'c str>) -> Result<Self, Failure> {
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
    async fn key(&mut self, ready: Ready) -> Result<KeyReport, Failure> {
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
