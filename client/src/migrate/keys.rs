//! `trustctl migrate notary import keys`: what lies in a docker trust directory goes into custody.
//!
//! Each key is sealed here to an offer of the custodian, as `key import` does; none is written anywhere.

pub(super) mod directory;
pub(super) mod docker_key;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use trust::Gun;

use self::directory::{KeyFiles, Listed};
use self::docker_key::DockerKey;
use super::import::{self, Import, Ready};
use super::passphrases::Passphrases;
use super::plan::Plan;
use super::report::{KeyReport, Outcome};
use crate::command_line::migrate::ImportKeys;
use crate::command_line::trust::gun;
use crate::context::Context;
use crate::failure::Failure;

/// Runs `trustctl migrate notary import keys`; refused where a key was left behind, after the report.
pub(super) async fn run(context: &Context, arguments: &ImportKeys) -> Result<ExitCode, Failure> {
    let KeyFiles { private, files } = KeyFiles::of(&arguments.from)?;
    let listed = directory::listed(&arguments.from)?;
    for file in &listed.mute {
        context.output.warning(&format!(
            "{} cannot be read: which keys it lists is not known. What a key is for is for life: --repository names more",
            file.display()
        ));
    }
    let named = arguments.repository.iter().map(|typed| gun(typed, arguments.exact));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let mut passphrases = Passphrases::read(&arguments.passphrase_file)?;
    let directory = Directory { private, listed, named };
    let still_there = format!("{} still holds the private keys", arguments.from.display());
    let read = |file: &PathBuf, import: &Import<'_>| directory.read(file, import, &mut passphrases);
    import::all(context, &files, read, arguments.token.as_deref(), &still_there).await
}

/// What a trust directory and the call say of which key is for what.
struct Directory {
    private: PathBuf,
    listed: Listed,
    named: Vec<Gun>,
}

impl Directory {
    /// Reads and opens a key, unless it is there already; else what there is to report of it.
    fn read(&self, path: &Path, import: &Import<'_>, passphrases: &mut Passphrases) -> Result<Ready, Box<KeyReport>> {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let key =
            DockerKey::read(path, &self.private).map_err(|failure| Box::new(KeyReport::unread(&file, &failure)))?;
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
