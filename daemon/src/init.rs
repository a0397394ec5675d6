//! `trustd init`: makes what `serve` opens, whole or not at all (D25).
//!
//! Everything is made beside its place and renamed into it at the end: a
//! directory that is there is complete.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use trust::tlog::VerifierKey;
use trust::{KeyId, KeyRef, KeyVersion};
use trust_hsm::{Custodian as _, KeyRing as _, Passphrase, PassphraseCost, RootSource, create_root_file, init_ring};
use zeroize::Zeroizing;

use crate::assemble::{record_limits, spawn_worker};
use crate::audit::{Audit, InitLeaf};
use crate::clock::Clock;
use crate::config::{Config, RootConfig};
use crate::house::log_context;
use crate::records::{LogKey, Records};
use crate::store::{SledOptions, SledStore, Store};

/// How long the log's key may take.
const GENERATE_PATIENCE: Duration = Duration::from_secs(30);

/// Makes the data directory of `config`. `passphrase` is needed only where the configuration wants one.
pub(crate) async fn init(config: &Config, passphrase: Option<Zeroizing<Vec<u8>>>) -> Result<VerifierKey> {
    let target = &config.data_directory;
    if is_used(target)? {
        bail!("{} is in use: trustd init makes a new directory and never touches an old one", target.display());
    }
    let made = beside(target)?;
    if made.exists() {
        std::fs::remove_dir_all(&made).with_context(|| format!("remove the unfinished {}", made.display()))?;
    }
    // A root key below the data directory is made with it.
    let config = Config {
        data_directory: made.clone(),
        root_kek: match &config.root_kek {
            RootConfig::File(path) => RootConfig::File(moved(path, target, &made)),
            RootConfig::Passphrase => RootConfig::Passphrase,
        },
        ..config.clone()
    };
    private_directory(&made)?;
    let key = fill(&config, passphrase).await?;
    sync(&made)?;
    if target.exists() {
        std::fs::remove_dir(target).with_context(|| format!("replace the empty {}", target.display()))?;
    }
    std::fs::rename(&made, target).with_context(|| format!("rename {} to {}", made.display(), target.display()))?;
    if let Some(parent) = target.parent() {
        sync(parent)?;
    }
    Ok(key)
}

async fn fill(config: &Config, passphrase: Option<Zeroizing<Vec<u8>>>) -> Result<VerifierKey> {
    let clock = Clock::system();
    let mut store_uuid = [0; 16];
    getrandom::fill(&mut store_uuid).map_err(|error| anyhow::anyhow!("read random bytes: {error}"))?;
    let ring = config.ring();
    private_directory(ring.parent().context("the ring has a directory")?)?;
    if let RootConfig::File(path) = &config.root_kek
        && !path.exists()
    {
        create_root_file(path)?;
    }
    let source = || -> Result<RootSource> {
        Ok(match (&config.root_kek, &passphrase) {
            (RootConfig::File(path), _) => RootSource::File { path: path.clone() },
            (RootConfig::Passphrase, Some(bytes)) => {
                RootSource::Passphrase(Passphrase::take(&mut Zeroizing::new(bytes.to_vec()))?)
            }
            (RootConfig::Passphrase, None) => bail!("the configuration wants a passphrase"),
        })
    };
    let unsealed = init_ring(&ring, store_uuid, &source()?, PassphraseCost::default())?;

    let store = SledStore::create(&config.store_directory(), SledOptions::default())?;
    let store = Store::Sled(Arc::new(store));
    let records = Records::create(store, store_uuid, &unsealed.store_key, record_limits(config), clock.clone()).await?;
    let worker = spawn_worker(config)?;
    let root = source()?;
    let log_key = tokio::task::spawn_blocking({
        let origin = config.log_origin.clone();
        move || -> Result<LogKey> {
            let _ = worker.unseal(root)?;
            let mut id = [0; 16];
            getrandom::fill(&mut id).map_err(|error| anyhow::anyhow!("read random bytes: {error}"))?;
            let key = KeyRef { id: KeyId::from_bytes(id), version: KeyVersion::FIRST };
            let generated = worker.open()?.generate(&log_context(store_uuid, key))?;
            Ok(LogKey { key, public_key: generated.public_key, material: generated.material, origin })
        }
    });
    let log_key = tokio::time::timeout(GENERATE_PATIENCE, log_key).await.context("make the log's key in time")???;
    let verifier = VerifierKey::new(&log_key.origin, log_key.public_key.clone())?;
    records.set_log_key_once(log_key).await?;
    let directory = config.log_directory();
    private_directory(&directory)?;
    Audit::create(&directory, InitLeaf::new(clock.now_unix_ms(), &config.log_origin, &store_uuid, None))?;
    Ok(verifier)
}

/// Whether something is in the way.
fn is_used(directory: &Path) -> Result<bool> {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("look into {}", directory.display())),
    }
}

/// Where the directory is made before it is renamed.
fn beside(target: &Path) -> Result<PathBuf> {
    let name = target.file_name().context("data_directory has no name")?.to_string_lossy();
    let parent = target.parent().context("data_directory has no parent")?;
    std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    Ok(parent.join(format!(".{name}.unfinished")))
}

/// A path below `target`, as it is while everything still is below `made`.
fn moved(path: &Path, target: &Path, made: &Path) -> PathBuf {
    path.strip_prefix(target).map_or_else(|_| path.to_owned(), |below| made.join(below))
}

pub(crate) fn private_directory(directory: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("make {}", directory.display()))
}

fn sync(directory: &Path) -> Result<()> {
    std::fs::File::open(directory)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("flush {}", directory.display()))
}

/// Makes the data directory from a backup. The log is a new one that cites the old log's last checkpoint; its
/// origin must be another than the old one's (D18).
pub(crate) async fn import(config: &Config, identity: &Path, backup: &Path) -> Result<()> {
    let _ = (config, identity, backup);
    bail!("import is not there yet")
}
