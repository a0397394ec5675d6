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
use crate::believed::confidant;
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
    let daemon = confidant(context).await?;
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
    if let Some(parting) = report.parting(still_there) {
        context.output.warning(&parting);
    }
    Ok(ended(report.is_whole()))
}

/// A key of trust data that the daemon has already.
struct Held {
    name: String,
    purpose: Purpose,
    scope: Vec<String>,
    use_: v1::Use,
    trust: v1::Trust,
}

impl Held {
    /// None of a key that is for something else.
    fn read(key: &v1::Key) -> Option<Self> {
        let purpose = Purpose::from_wire(key.purpose).ok().filter(|purpose| purpose.is_of_trust_data())?;
        let (use_, trust) = (key.r#use(), key.trust());
        Some(Self { name: key.name.clone(), purpose, scope: key.scope.clone(), use_, trust })
    }
}

/// The daemon's keys of trust data that the caller may see, by the names that docker shows.
async fn held(daemon: &Daemon) -> Result<BTreeMap<String, Held>, Failure> {
    let mut held = BTreeMap::new();
    for key in key::list_all(daemon).await? {
        held.extend(by_ids(&key));
    }
    Ok(held)
}

fn by_ids(key: &v1::Key) -> impl Iterator<Item = (String, Held)> {
    ids(key).into_iter().filter_map(move |id| Some((id, Held::read(key)?)))
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
                self.held.extend(by_ids(&key));
                // Another name in metadata than the file has: a renamed file.
                let other = ids(&key).into_iter().next_back().filter(|found| *found != id);
                Outcome::Imported { name: key.name, other_id: other }
            }
            Err(failure) if failure.exit() == Exit::Unreachable => return Err(failure),
            Err(failure) => Outcome::left_behind(&failure),
        };
        Ok(KeyReport::new(&id, &role, outcome).of(&plan))
    }
}

/// Purpose and scope of a key are for life, and so is most of what ends it: one that is there for something else, or for
/// nothing any more, is not what was to be brought.
fn already(held: &Held, plan: &Plan) -> Outcome {
    let name = &held.name;
    let left = |why: &str, remedy: &str| {
        Outcome::left_behind(&Failure::refused(format!("it is there already as {name}, {why}"), remedy))
    };
    if held.purpose != plan.purpose {
        let remedy = "a key's purpose is for life: that role needs another key";
        return left(&format!("for {} and not for {}", held.purpose, plan.purpose), remedy);
    }
    let ended = |word: &str| left(&format!("and is {word}"), "it does not come back: its roles need another key");
    match (held.trust, held.use_) {
        (v1::Trust::Distrusted, _) => return ended("distrusted"),
        (_, v1::Use::Active) => {}
        (_, v1::Use::Disabled) => return left("and is disabled", &format!("trustctl key enable {name}")),
        (_, other) => return ended(key::use_word(other)),
    }
    let missing: Vec<String> = plan.scope().into_iter().filter(|gun| !held.scope.contains(gun)).collect();
    if missing.is_empty() {
        return Outcome::AlreadyThere { name: name.clone() };
    }
    let remedy = "a key's scope is for life: those repositories need another key";
    left(&format!("but not for {}", missing.join(", ")), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUN: &str = "registry.example.com/team/app";

    fn targets_key(change: impl FnOnce(&mut v1::Key)) -> v1::Key {
        let mut key = v1::Key { name: "team/targets".to_owned(), scope: vec![GUN.to_owned()], ..v1::Key::default() };
        key.purpose = Purpose::Targets.to_wire();
        key.set_use(v1::Use::Active);
        key.set_trust(v1::Trust::Trusted);
        change(&mut key);
        key
    }

    fn plan(guns: &[&str]) -> Plan {
        let repositories = guns.iter().map(|gun| gun.parse().unwrap()).collect();
        Plan { name: "notary/targets".parse().unwrap(), purpose: Purpose::Targets, repositories }
    }

    #[test]
    fn a_key_is_there_when_it_can_do_what_it_was_to_be_brought_for() {
        let of = |key: &v1::Key, guns: &[&str]| already(&Held::read(key).unwrap(), &plan(guns));
        let there = of(&targets_key(|_| {}), &[GUN]);
        assert!(matches!(&there, Outcome::AlreadyThere { name } if name == "team/targets"), "{there:?}");

        let another = format!("{GUN}-2");
        for (key, guns, expected) in [
            (targets_key(|_| {}), &[GUN, another.as_str()][..], "not for registry.example.com/team/app-2"),
            (
                targets_key(|key| key.purpose = Purpose::Delegation.to_wire()),
                &[GUN],
                "for delegation and not for targets",
            ),
            (targets_key(|key| key.set_use(v1::Use::Disabled)), &[GUN], "is disabled"),
            (targets_key(|key| key.set_use(v1::Use::Retired)), &[GUN], "is retired"),
            (targets_key(|key| key.set_use(v1::Use::DestroyScheduled)), &[GUN], "is destroy-scheduled"),
            (targets_key(|key| key.set_use(v1::Use::Destroyed)), &[GUN], "is destroyed"),
            (targets_key(|key| key.set_trust(v1::Trust::Distrusted)), &[GUN], "is distrusted"),
        ] {
            let left = of(&key, guns);
            assert!(matches!(&left, Outcome::LeftBehind { why, .. } if why.ends_with(expected)), "{left:?}");
        }
    }

    #[test]
    fn a_key_that_signs_something_else_is_none_of_trust_data() {
        assert!(Held::read(&targets_key(|key| key.purpose = Purpose::Timestamp.to_wire())).is_some());
        for purpose in Purpose::ALL.iter().filter(|purpose| !purpose.is_of_trust_data()) {
            assert!(Held::read(&targets_key(|key| key.purpose = purpose.to_wire())).is_none(), "{purpose}");
        }
    }
}
