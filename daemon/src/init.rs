//! `trustd init` and `trustd store import`: they make what `serve` opens, whole or not at all (D25).
//!
//! Everything is made apart and renamed into its place at the end, the KEK ring last: a directory with a ring is
//! complete.

mod import;
mod making;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use trust::tlog::VerifierKey;
use trust::{KeyId, KeyRef, KeyVersion};
use trust_hsm::{Custodian as _, KeyRing as _, Passphrase, PassphraseCost, RootSource, create_root_file, init_ring};
use zeroize::Zeroizing;

use crate::assemble::{create_store, record_limits, spawn_worker};
use crate::audit::{Audit, InitLeaf};
use crate::clock::Clock;
use crate::config::{Config, RootConfig};
use crate::house::log_context;
use crate::records::{LogKey, Records};
use crate::root::PASSPHRASE_BYTES_MIN;

pub(crate) use import::import;
use making::Making;
pub(crate) use making::{UNFINISHED, private_directory, was_cut_short};

/// How long the log's key may take.
const GENERATE_PATIENCE: Duration = Duration::from_secs(30);

/// Makes the data directory of `config`. `passphrase` is needed only where the configuration wants one.
pub(crate) async fn init(config: &Config, passphrase: Option<Zeroizing<Vec<u8>>>) -> Result<VerifierKey> {
    if passphrase.as_ref().is_some_and(|passphrase| passphrase.len() < PASSPHRASE_BYTES_MIN) {
        bail!(
            "the passphrase is shorter than {PASSPHRASE_BYTES_MIN} bytes\nwhoever guesses it has every key: take a long \
             one, as five words drawn by lot; nothing was made"
        );
    }
    if let RootConfig::Token(name) = &config.root_kek {
        bail!(
            "`trustd init` makes no root key in a token\nsay file = … or passphrase = true in [root_kek], run `trustd init` \
             and `trustd serve`, then `trustctl kek rotate --to token {name}`; nothing was made"
        );
    }
    let making = Making::begin(config, "trustd init")?;
    let key = fill(making.config(), passphrase).await?;
    making.finish()?;
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
            (RootConfig::Passphrase | RootConfig::Token(_), _) => bail!("the configuration wants a passphrase"),
        })
    };
    let unsealed = init_ring(&ring, store_uuid, &source()?, PassphraseCost::default())?;

    let store = create_store(config)?;
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
