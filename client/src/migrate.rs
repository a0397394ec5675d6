//! `trustctl migrate …`: the way in and out.

mod export;
mod import;
mod keys;
mod passphrases;
mod plan;
mod report;
mod repository;
mod signer;

use std::process::ExitCode;

use crate::command_line::migrate::{MigrateCommand, NotaryCommand, NotaryImport};
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// Runs `trustctl migrate …`.
pub(crate) async fn run(context: &Context, command: MigrateCommand) -> Result<ExitCode, Failure> {
    let MigrateCommand::Notary(command) = command;
    match command {
        NotaryCommand::Export(arguments) => export::run(context, &arguments).await,
        NotaryCommand::Import(NotaryImport::Keys(arguments)) => keys::run(context, &arguments).await,
        NotaryCommand::Import(NotaryImport::Repository(arguments)) => {
            repository::run(context, &arguments).await.map(|()| ExitCode::SUCCESS)
        }
        NotaryCommand::Import(NotaryImport::SignerKeys(arguments)) => signer::run(context, &arguments).await,
    }
}

/// How a migration ends whose report has been shown.
fn ended(is_whole: bool) -> ExitCode {
    if is_whole { ExitCode::SUCCESS } else { ExitCode::from(Exit::Refused.code()) }
}
