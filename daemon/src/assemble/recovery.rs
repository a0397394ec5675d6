//! `trustd recover`: store and log are opened and brought together again, and nobody is served.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use trust::Principal;
use trust_hsm::worker::WorkerCustodian;
use trust_hsm::{KeyRing as _, Passphrase, RootPlace, RootSource, Unsealed};

use super::{audit_config, open_records, spawn_worker, tokens};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{Config, RootConfig};
use crate::recover::Recovery;
use crate::root;
use crate::store::DirectoryLock;

/// `trustd recover`: opens store and log, compares them, does again what restricts and says what it cannot (D17).
pub(crate) async fn recover(config: &Config, passphrase: Option<Passphrase>) -> Result<ExitCode> {
    let clock = Clock::system();
    let _lock = DirectoryLock::take(&config.data_directory)?;
    let records = open_records(config, clock.clone()).await?;
    let read = Audit::read(audit_config(config))?;
    let (audit, history) = Audit::open(read, &records.store_uuid(), clock.clone())?;
    let worker = spawn_worker(config)?;
    let unsealed = match (root::place(config)?, &config.root_kek, passphrase) {
        (RootPlace::File, RootConfig::File(path), _) => {
            unseal_with(worker, RootSource::File { path: path.clone() }).await
        }
        (RootPlace::Token { wraps, .. }, _, None) => {
            let tokens = tokens::mount_one_by_one(config, records.store_uuid())?;
            let unseal = move || root::unseal_by_token(&*worker, &tokens, &wraps);
            tokio::task::spawn_blocking(unseal).await?.context("open the KEK ring by its token")
        }
        (RootPlace::Passphrase | RootPlace::Token { .. }, _, Some(passphrase)) => {
            unseal_with(worker, RootSource::Passphrase(passphrase)).await
        }
        (RootPlace::Passphrase | RootPlace::File, _, _) => bail!("the root key needs a passphrase, or its file"),
    }?;
    records.unseal(&unsealed.store_key).await?;
    let principal = Principal::LocalUid(rustix::process::geteuid().as_raw());
    let recovery = Recovery { records: &records, audit: &audit, history: &history, clock: &clock, principal };
    let report = recovery.run().await?;
    for line in &report.lines {
        println!("{line}");
    }
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn unseal_with(worker: Arc<WorkerCustodian>, source: RootSource) -> Result<Unsealed> {
    tokio::task::spawn_blocking(move || worker.unseal(source)).await?.context("open the KEK ring")
}
