//! The one place that names concrete backends: it puts the house together over them, serves it, and ends it.

mod chores;
mod doors;
mod opening;
mod recovery;
mod signals;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::server::HealthReporter;
use tracing::{info, warn};
use trust_hsm::worker::{Supervisor, WorkerConfig, WorkerCustodian};
use trust_hsm::{Custodian, CustodyError};

use crate::archive;
use crate::audit::{Audit, AuditConfig, Leaf, PolicyLeaf, StartLeaf};
use crate::authorize::{Authorizer, Pace, PolicySource};
use crate::clock::Clock;
use crate::config::{Config, PolicyConfig, RootConfig};
use crate::custody::{Custodians, Custody, CustodyLimits};
use crate::health;
use crate::house::{House, Parts};
use crate::identity::{Identity, NotaryIdentity, WorkerPids};
use crate::metrics::Metrics;
use crate::notify;
use crate::records::{RecordLimits, Records, ReplayLimits};
use crate::root;
use crate::store::{DirectoryLock, SledOptions, SledStore, Store};
use crate::tables::Tables;
use crate::tls::{Manner, TlsState};

use self::doors::Doors;
pub(crate) use self::recovery::recover;
use self::signals::Signals;
pub(crate) use self::tokens::token_worker;

/// How long an answer to a retry is kept (D14).
const REPLAYS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long requests in flight may take after SIGTERM.
const DRAIN_MAX: Duration = Duration::from_secs(8);
/// How long the whole end may take: requests, and work past its permit.
const END_MAX: Duration = Duration::from_secs(10);
/// How long the index may take on its way into its file, at the end.
const SAVE_MAX: Duration = Duration::from_secs(5);
/// How long custody's threads and processes may take to end, after all that.
const REST_MAX: Duration = Duration::from_secs(3);
/// Sessions beside those of the custody threads: the log's key and one spare.
const SESSIONS_SPARE: usize = 2;

/// Opens what `trustd init` made and serves until SIGTERM or SIGINT.
pub(crate) async fn serve(config: Config) -> Result<()> {
    let lock = DirectoryLock::take(&config.data_directory)?;
    let root_place = root::place(&config)?;
    let house = build(config).await?;
    let audit = Arc::clone(&house.parts.audit);
    // Aborted when it is dropped.
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&audit).publish());

    // Before anything is written: a log that was put back is left as it is.
    opening::open_house(&house, root_place).await?;
    announce(&house).await?;

    // Before the doors open: whoever finds them open may send a signal, and it must not end the daemon.
    let mut signals = Signals::new()?;
    health::report(&house).await;
    let doors = Doors::bind(&house).await?;
    let served = doors.serve(&house, &mut background);
    chores::begin(&house, &mut background);
    notify::ready();
    info!(socket = %house.config().unix.path.display(), origin = house.log_origin(), "serving");
    signals.wait_for_end(&house).await;

    notify::stopping();
    info!("draining");
    drop(tokio::spawn(signals.end_at_once()));
    end(&house, served, background).await;
    // Custody ends, then the log, and last the lock: whoever takes that next finds nothing at work.
    let dropped = tokio::task::spawn_blocking(move || {
        drop(house);
        drop(audit);
        drop(lock);
    });
    if tokio::time::timeout(REST_MAX, dropped).await.is_err() {
        warn!("a custody worker does not end; the daemon ends without it");
    }
    Ok(())
}

/// Reads store and log, starts custody, and makes of them a house that is still sealed.
async fn build(config: Config) -> Result<Arc<House>> {
    let clock = Clock::system();
    // Log and store are read at the same time, and compared when both are open.
    let log = audit_config(&config);
    let log = tokio::task::spawn_blocking(move || Audit::read(log));
    let records = open_records(&config, clock.clone()).await?;
    let (audit, history) = Audit::open(log.await.context("read the log")??, &records.store_uuid(), clock.clone())?;
    let authorizer = Arc::new(Authorizer::load(policy_source(&config.policy))?);
    let worker = spawn_worker(&config)?;
    let tls = config.tls.as_ref().map(|tls| TlsState::load(tls, Manner::Custody, clock.clone()));
    let tls = tls.transpose()?.map(Arc::new);
    let notary = config.notary.as_ref().map(|notary| NotaryIdentity::load(notary, &clock)).transpose()?;
    let tables = Arc::new(Tables::new(config.limits.verify_tables_max, clock.clone()));
    let start = custody_starter(&config, &clock, &records, &tables, &authorizer);
    let tokens = tokens::mount(&config, records.store_uuid(), &start).await?;
    let software = start(Arc::<WorkerCustodian>::clone(&worker), config.custody.sessions)?;
    let custody = Custodians::new(software, tokens);
    let identity = Identity::new(tls, notary, pids(&worker, &custody));
    let parts = Parts {
        started_at_unix_seconds: clock.now_unix_seconds(),
        pace: Pace::new(config.limits.rate_per_second, config.limits.rate_burst),
        config,
        clock,
        records,
        audit: Arc::new(audit),
        authorizer,
        custody,
        tables,
        keyring: worker,
        identity,
        metrics: Metrics::default(),
        health: HealthReporter::new(),
        tasks: TaskTracker::new(),
        drain: CancellationToken::new(),
    };
    Ok(House::new(parts, history))
}

/// Shuts the doors, waits for what is in flight, stops what is in the background, and writes the index down; each of it
/// for a bounded time.
async fn end(house: &House, served: JoinHandle<()>, mut background: JoinSet<()>) {
    house.parts.drain.cancel();
    if tokio::time::timeout(END_MAX, in_flight(house, served)).await.is_err() {
        warn!("some work past its permit did not end in time; start-up recovery closes its intents");
    }
    // Nobody waits for a token any more; a probe may, in a module that hangs.
    house.custodians().stop_tokens();
    background.shutdown().await;
    if tokio::time::timeout(SAVE_MAX, house.save_index()).await.is_err() {
        warn!("the file of the index was not written in time; the next start reads every row");
    }
}

/// Waits for what is in flight. What hangs in a token's module ends with the module's process, as work whose end is not
/// known.
async fn in_flight(house: &House, served: JoinHandle<()>) {
    let work = async {
        // One that panicked has ended, too.
        let _ = served.await;
        house.parts.tasks.close();
        house.parts.tasks.wait().await;
    };
    if tokio::time::timeout(DRAIN_MAX, work).await.is_err() {
        warn!("some requests did not end in time");
        house.custodians().stop_tokens();
        house.parts.tasks.close();
        house.parts.tasks.wait().await;
    }
}

/// The process ids of all our workers, as they are when it is asked.
fn pids(worker: &Arc<WorkerCustodian>, custody: &Custodians) -> WorkerPids {
    let (worker, tokens) = (Arc::clone(worker), custody.all_tokens().to_vec());
    let of_tokens = move || tokens.iter().filter_map(|token| token.worker()).flat_map(|worker| worker.pids()).collect();
    Box::new(move || [worker.pids(), of_tokens()].concat())
}

/// Starts the session threads of a custodian.
type CustodyStarter = Arc<dyn Fn(Arc<dyn Custodian>, usize) -> Result<Custody, CustodyError> + Send + Sync>;

fn custody_starter(
    config: &Config,
    clock: &Clock,
    records: &Records,
    tables: &Arc<Tables>,
    authorizer: &Arc<Authorizer>,
) -> CustodyStarter {
    let (clock, records, authorizer) = (clock.clone(), records.clone(), Arc::clone(authorizer));
    let tables = Arc::clone(tables);
    let waiting_max = config.limits.custody_waiting_max;
    Arc::new(move |custodian, sessions| {
        let authorizer = Arc::clone(&authorizer);
        let limits = CustodyLimits { sessions, waiting_max };
        let revision = Box::new(move || authorizer.revision());
        Custody::start(custodian, records.clone(), clock.clone(), Arc::clone(&tables), limits, revision)
    })
}

/// The daemon's first leaves: that it started, and which policy is in force.
async fn announce(house: &House) -> Result<()> {
    let now = house.clock().now_unix_ms();
    // Not waited for: a daemon whose disk is full must start, and nothing that waits comes before these.
    house.audit().append_soon(Leaf::Start(StartLeaf::new(now))).await?;
    archive_policy(house).await
}

/// Archives the policy in force by hash, and says so in the log (D27).
async fn archive_policy(house: &House) -> Result<()> {
    let policy = house.authorizer().policy();
    let (text, schema) = policy.texts();
    let archive = house.config().data_directory.join("policies");
    let keep = |text: &str| {
        archive::keep(&archive, text).with_context(|| format!("archive the policy in {}", archive.display()))
    };
    let (text_hash, schema_hash) = (keep(text)?, keep(schema)?);
    let leaf = PolicyLeaf::new(house.clock().now_unix_ms(), policy.revision(), text_hash, schema_hash);
    house.audit().append_soon(Leaf::Policy(leaf)).await?;
    Ok(())
}

async fn open_records(config: &Config, clock: Clock) -> Result<Records> {
    let directory = config.store_directory();
    if !directory.exists() {
        let remedy = if config.log_directory().exists() || config.ring().exists() {
            "its log or key ring is there: bring the store back, or import a backup into a new directory"
        } else {
            "run `trustd init` first"
        };
        bail!("no store in {}\n{remedy}", config.data_directory.display());
    }
    let store = SledStore::open(&directory, SledOptions::default())?;
    Ok(Records::open(Store::Sled(Arc::new(store)), record_limits(config), clock).await?)
}

/// Makes an empty store where `config` says that it is.
///
/// # Errors
/// Where something is there already, or the disk refuses it.
pub(crate) fn create_store(config: &Config) -> Result<Store> {
    let store = SledStore::create(&config.store_directory(), SledOptions::default())?;
    Ok(Store::Sled(Arc::new(store)))
}

pub(crate) fn record_limits(config: &Config) -> RecordLimits {
    RecordLimits {
        replays: ReplayLimits {
            keep: REPLAYS_KEPT,
            per_principal_max: config.limits.replays_per_principal_max,
            total_max: config.limits.replays_max,
        },
    }
}

fn audit_config(config: &Config) -> AuditConfig {
    AuditConfig {
        directory: config.log_directory(),
        origin: config.log_origin.clone(),
        waiting_max: config.limits.log_waiting_max,
        free_bytes_min: config.limits.log_free_bytes_min,
    }
}

/// Starts the custody worker: this very program, as its hidden subcommand.
pub(crate) fn spawn_worker(config: &Config) -> Result<Arc<WorkerCustodian>> {
    Ok(Supervisor::spawn(WorkerConfig {
        // Not by its path: an upgrade replaces the file there, and a worker of another version must not answer us.
        program: PathBuf::from("/proc/self/exe"),
        arguments: vec!["custody-worker".into()],
        ring: absolute(&config.ring())?,
        root_file: match &config.root_kek {
            RootConfig::File(path) => Some(absolute(path)?),
            RootConfig::Passphrase | RootConfig::Token(_) => None,
        },
        sessions_max: config.custody.sessions.saturating_add(SESSIONS_SPARE),
        opened_keys_max: config.custody.opened_keys_max,
        hang_after: config.custody.hang_after,
    })?)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("make {} absolute", path.display()))
}

pub(crate) fn policy_source(policy: &PolicyConfig) -> PolicySource {
    match policy {
        PolicyConfig::Default => PolicySource::Default,
        PolicyConfig::DefaultFor(uid) => PolicySource::DefaultFor(*uid),
        PolicyConfig::File(path) => PolicySource::File(path.clone()),
    }
}
