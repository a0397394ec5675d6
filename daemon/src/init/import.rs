//! `trustd store import`: a new data directory from a backup (D18).
//!
//! Nothing here needs the root key: the directory starts sealed, and the first unseal holds every row, ring and log
//! against the backup's seal and gives the new log its key. Where the root key file is there already, that is tried
//! out before the directory is put in its place.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use trust::Sha256Digest;
use trust_hsm::{KeyRing as _, RootPlace, RootSource, root_place_in};

use super::making::{Making, private_directory};
use crate::assemble::{create_store, record_limits, spawn_worker};
use crate::audit::{Audit, InitLeaf};
use crate::backup::{self, Identities, Imported};
use crate::clock::Clock;
use crate::config::{Config, RootConfig};
use crate::records::Records;
use crate::root;
use crate::store::Store;

/// The longest checkpoint that leaf 0 of the new log cites, in bytes: escaped it must fit into a leaf.
const CITED_BYTES_MAX: usize = 16 * 1024;

/// What an import made, for the operator.
pub(crate) struct Made {
    /// How many keys came with the backup.
    pub(crate) key_count: u64,
    /// What is to be done before or at the first start.
    pub(crate) next: String,
}

/// Makes the data directory of `config` from the file `backup`. The log is a new one that cites the old log's last
/// checkpoint; its origin must be another than the old one's.
pub(crate) async fn import(config: &Config, identity: &Path, backup: &Path) -> Result<Made> {
    let identities = Identities::read(identity)?;
    let file = File::open(backup).with_context(|| format!("open the backup {}", backup.display()))?;
    let making = Making::begin(config, "trustd store import")?;
    let inner = making.config();
    let ring = inner.ring();
    private_directory(ring.parent().context("the ring has a directory")?)?;

    let store = create_store(inner)?;
    let imported = backup::import(BufReader::new(file), &identities, &store)
        .await
        .with_context(|| format!("import {}", backup.display()))?;
    check_origin(&imported.checkpoint, &config.log_origin)?;
    backup::write_ring(&ring, &imported.ring)?;
    let log = inner.log_directory();
    private_directory(&log)?;
    let cites = Some(imported.checkpoint.clone()).filter(|checkpoint| !checkpoint.is_empty());
    let now = Clock::system().now_unix_ms();
    Audit::create(&log, InitLeaf::new(now, &config.log_origin, &imported.store_uuid, cites))?;

    let (_, place) = root_place_in(&imported.ring).context("read the backup's KEK ring")?;
    if let Some(why) = root::unreachable(&place, config) {
        bail!("{why}; nothing was made");
    }
    let next = match (&place, &inner.root_kek, &config.root_kek) {
        (RootPlace::Token { wraps, has_passphrase }, _, _) => {
            let token = root::names(wraps);
            let else_ =
                if *has_passphrase { "; without it, `trustctl unseal` with the recovery passphrase" } else { "" };
            format!("connect the token {token}, which has the root key wrapped, then start `trustd serve`{else_}")
        }
        (RootPlace::File, RootConfig::File(path), _) if path.exists() => {
            try_out(inner, path.clone(), store, &imported).await?;
            "start it with `trustd serve`".to_owned()
        }
        (RootPlace::File, _, RootConfig::File(path)) => {
            format!("put the old daemon's root key file at {}, mode 0600, then start `trustd serve`", path.display())
        }
        (RootPlace::File | RootPlace::Passphrase, _, _) => {
            "start `trustd serve`, then `trustctl unseal` with the old daemon's passphrase".to_owned()
        }
    };
    making.finish()?;
    Ok(Made { key_count: imported.key_count, next })
}

/// One origin, one key: the new log has a new one.
fn check_origin(checkpoint: &str, origin: &str) -> Result<()> {
    ensure!(checkpoint.len() <= CITED_BYTES_MAX, "the backup's checkpoint is longer than a leaf of the log can cite");
    if checkpoint.lines().next() == Some(origin) {
        bail!(
            "log_origin is {origin}, the origin of the log that the backup was made beside: a new log needs a new \
             name, for it has a new key. Set another log_origin in the configuration"
        );
    }
    Ok(())
}

/// Opens everything with the root key, as the first start will, and changes nothing.
async fn try_out(config: &Config, root: PathBuf, store: Store, imported: &Imported) -> Result<()> {
    let worker = spawn_worker(config)?;
    let unsealed = tokio::task::spawn_blocking(move || worker.unseal(RootSource::File { path: root }))
        .await?
        .context("open the backup's KEK ring with the root key file; it must be the old daemon's")?;
    ensure!(unsealed.store == imported.store_uuid, "the backup is damaged: its KEK ring belongs to another store");
    let records = Records::open(store, record_limits(config), Clock::system()).await?;
    records.unseal(&unsealed.store_key).await?;
    let from = records.provenance()?.context("the backup is damaged: no row says where it comes from")?;
    let is_whole = from.checkpoint == imported.checkpoint
        && from.ring_sha256 == *Sha256Digest::of(&imported.ring).as_bytes()
        && from.made_at_unix_seconds == imported.made_at_unix_seconds;
    ensure!(is_whole, "the backup is damaged: its head and ring are not the ones its rows were sealed with");
    Ok(())
}
