//! The one place that names concrete backends and puts the house together.

mod chores;
mod opening;
mod signals;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tracing::{info, warn};
use trust::Principal;
use trust_hsm::worker::{Supervisor, WorkerConfig, WorkerCustodian};
use trust_hsm::{Custodian, CustodyError, KeyRing, Passphrase, RootPlace, RootSource, Unsealed};
use trust_proto::notary::key_management_server::KeyManagementServer;
use trust_proto::notary::signer_server::SignerServer;
use trust_proto::v1;

use crate::api::{CallLayer, Door, NOTARY_BYTES_MAX, NotaryDoor, NotaryListener};
use crate::archive;
use crate::audit::{Audit, AuditConfig, History, Leaf, PolicyLeaf, StartLeaf};
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
use crate::recover::Recovery;
use crate::root;
use crate::scrape;
use crate::serving;
use crate::store::{DirectoryLock, SledOptions, SledStore, Store};
use crate::tables::Tables;
use crate::tls::{Manner, TlsState};

use self::signals::Signals;
pub(crate) use self::tokens::token_worker;

/// How long an answer to a retry is kept (D14).
const REPLAYS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long requests in flight may take after SIGTERM.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(8);
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
    let clock = Clock::system();
    let lock = DirectoryLock::take(&config.data_directory)?;
    let root_place = root::place(&config)?;
    // Log and store are read at the same time, and compared when both are open.
    let log = audit_config(&config);
    let log = tokio::task::spawn_blocking(move || Audit::read(log));
    let records = open_records(&config, clock.clone()).await?;
    let (audit, history) = Audit::open(log.await.context("read the log")??, &records.store_uuid(), clock.clone())?;
    let audit = Arc::new(audit);
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
    let pids = pids(&worker, &custody);
    let identity = Identity::new(tls.clone(), notary, pids);
    let house =
        build(&config, clock, records, Arc::clone(&audit), authorizer, &worker, custody, tables, identity, history);
    // Aborted when it is dropped.
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&audit).publish());

    // Before anything is written: a log that was put back is left as it is.
    opening::open_house(&house, &config, root_place).await?;
    announce(&house).await?;

    // Before the doors open: whoever finds them open may send a signal, and it must not end the daemon.
    let mut signals = Signals::new()?;
    let drain = house.parts.drain.clone();
    health::report(&house).await;
    // The Unix socket comes last: whoever finds it finds the others.
    let metrics = scrape::bind(config.metrics).await?;
    let notary = notary_listener(&house).await?;
    let doors = serving::bind(&config, tls, services(&house)?, Arc::clone(&house)).await?;
    let drained = drain.clone();
    let served = tokio::spawn(async move {
        let notary = async {
            if let Some(listener) = notary {
                listener.serve(drained.clone()).await;
            }
        };
        tokio::join!(doors.serve(drained.clone()), notary);
    });
    if let Some(listener) = metrics {
        background.spawn(listener.serve(Arc::clone(&house), drain.clone()));
    }
    background.spawn(chores::destructions(Arc::clone(&house)));
    background.spawn(chores::renewals(Arc::clone(&house)));
    background.spawn(chores::unused_keys(Arc::clone(&house)));
    background.spawn(Arc::clone(&house).check_rows());
    background.spawn(Arc::clone(&house).save_index_at_times());
    background.spawn(Arc::clone(&house).follow_custody());
    background.spawn(Arc::clone(&house).follow_token());
    background.spawn(health::probe_tokens(Arc::clone(&house)));
    background.spawn(health::watch(Arc::clone(&house), drain.clone()));
    notify::ready();
    info!(socket = %config.unix.path.display(), origin = config.log_origin, "serving");
    signals.wait_for_end(&house).await;

    notify::stopping();
    info!("draining");
    drop(tokio::spawn(signals.end_at_once()));
    drain.cancel();
    if tokio::time::timeout(END_MAX, end(&house, served)).await.is_err() {
        warn!("some work past its permit did not end in time; start-up recovery closes its intents");
    }
    // Nobody waits for a token any more; a probe may, in a module that hangs.
    house.custodians().stop_tokens();
    background.shutdown().await;
    if tokio::time::timeout(SAVE_MAX, house.save_index()).await.is_err() {
        warn!("the file of the index was not written in time; the next start reads every row");
    }
    // The lock goes last: whoever takes it next finds nothing at work.
    let rest = (house, start, audit, worker);
    let dropped = tokio::task::spawn_blocking(move || {
        drop(rest);
        drop(lock);
    });
    if tokio::time::timeout(REST_MAX, dropped).await.is_err() {
        warn!("a custody worker does not end; the daemon ends without it");
    }
    Ok(())
}

/// Ends what is in flight. What hangs in a token's module ends with the module's process, as work whose end is not known.
async fn end(house: &House, served: JoinHandle<()>) {
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

#[expect(clippy::too_many_arguments, reason = "the one place where everything meets")]
fn build(
    config: &Config,
    clock: Clock,
    records: Records,
    audit: Arc<Audit>,
    authorizer: Arc<Authorizer>,
    worker: &Arc<WorkerCustodian>,
    custody: Custodians,
    tables: Arc<Tables>,
    identity: Identity,
    history: History,
) -> Arc<House> {
    let keyring: Arc<dyn KeyRing> = Arc::<WorkerCustodian>::clone(worker);
    let started_at_unix_seconds = clock.now_unix_seconds();
    let parts = Parts {
        config: config.clone(),
        clock,
        records,
        audit,
        authorizer,
        custody,
        tables,
        keyring,
        identity,
        pace: Pace::new(config.limits.rate_per_second, config.limits.rate_burst),
        metrics: Metrics::default(),
        health: HealthReporter::new(),
        tasks: TaskTracker::new(),
        drain: CancellationToken::new(),
        started_at_unix_seconds,
    };
    House::new(parts, history)
}

/// The process ids of all our workers, as they are when it is asked.
fn pids(worker: &Arc<WorkerCustodian>, custody: &Custodians) -> WorkerPids {
    let (worker, tokens) = (Arc::clone(worker), custody.all_tokens().to_vec());
    let of_tokens = move || tokens.iter().filter_map(|token| token.worker()).flat_map(|worker| worker.pids()).collect();
    Box::new(move || [worker.pids(), of_tokens()].concat())
}

/// Starts the session threads of a custodian.
pub(crate) type CustodyStarter = Arc<dyn Fn(Arc<dyn Custodian>, usize) -> Result<Custody, CustodyError> + Send + Sync>;

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

/// The Notary door, bound and not yet served; `None` where none is configured.
async fn notary_listener(house: &Arc<House>) -> Result<Option<NotaryListener>> {
    let (Some(config), Some(tls)) = (&house.config().notary, house.parts.identity.notary_tls()) else {
        return Ok(None);
    };
    NotaryListener::bind(NotaryDoor::new(Arc::clone(house), config.clone()), tls).await.map(Some)
}

/// Every service of `trust.v1` with reflection, behind the sizes of the configuration.
fn services(house: &Arc<House>) -> Result<tonic::service::Routes> {
    let door = Door::new(Arc::clone(house));
    let bytes_max = house.limits().message_bytes_max;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .build_v1()
        .context("build the reflection service")?;
    let mut routes = tonic::service::Routes::builder();
    routes
        .add_service(v1::keys_server::KeysServer::new(door.clone()).max_decoding_message_size(bytes_max))
        .add_service(v1::signing_server::SigningServer::new(door.clone()).max_decoding_message_size(bytes_max))
        .add_service(
            v1::verification_server::VerificationServer::new(door.clone()).max_decoding_message_size(bytes_max),
        )
        .add_service(v1::audit_server::AuditServer::new(door.clone()))
        .add_service(
            v1::content_trust_server::ContentTrustServer::new(door.clone()).max_decoding_message_size(bytes_max),
        )
        .add_service(v1::hsm_server::HsmServer::new(door.clone()))
        .add_service(v1::admin_server::AdminServer::new(door.clone()))
        .add_service(HealthServer::new(HealthService::from_health_reporter(house.parts.health.clone())))
        .add_service(reflection);
    if house.config().notary_signer {
        routes
            .add_service(SignerServer::new(door.clone()).max_decoding_message_size(NOTARY_BYTES_MAX))
            .add_service(KeyManagementServer::new(door).max_decoding_message_size(NOTARY_BYTES_MAX));
    }
    Ok(routes.routes().into_axum_router().layer(CallLayer::new(Arc::clone(house))).into())
}

async fn unseal_with(worker: Arc<WorkerCustodian>, source: RootSource) -> Result<Unsealed> {
    tokio::task::spawn_blocking(move || worker.unseal(source)).await?.context("open the KEK ring")
}

/// `trustd recover`: opens store and log, compares them, does again what restricts and says what it cannot (D17).
pub(crate) async fn recover(config: &Config, passphrase: Option<Passphrase>) -> Result<std::process::ExitCode> {
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
    Ok(if report.is_whole() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE })
}
