//! Whether the daemon does all it is for, and whom that is told: callers, gRPC health, the service manager.
//!
//! The watchdog is fed only while the log's writer and custody get on with what waits for them, and log and store can
//! be written. Custody's worker has a supervisor of its own, with less patience: it goes first.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{error, info, warn};
use trust_hsm::CustodianState;

use crate::custody::{Token, TokenStatus};
use crate::house::House;
use crate::notify;
use crate::store::StoreTrouble;

/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often a token is looked for.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// How long what waits for the log may wait without one flush.
const LOG_PATIENCE: Duration = Duration::from_secs(10);
/// How many times longer than a silent worker is borne, custody may stand still.
const CUSTODY_PATIENCE: u32 = 6;
/// The services of `trust.v1`, and the daemon as a whole.
const SERVICES: [&str; 8] = [
    "",
    "trust.v1.Admin",
    "trust.v1.Audit",
    "trust.v1.ContentTrust",
    "trust.v1.Hsm",
    "trust.v1.Keys",
    "trust.v1.Signing",
    "trust.v1.Verification",
];
/// What a notary-server looks for every ten seconds; names that are none of a service (SPEC §1.4).
const NOTARY_SERVICES: [&str; 2] = ["grpc.health.v1.Health.KeyManagement", "grpc.health.v1.Health.Signer"];

/// What keeps the daemon from doing all it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The custody worker is being brought back.
    Custody,
    /// A flush of the log failed: nothing is signed until a restart.
    LogClosed,
    /// The disk of the log is full; freeing space is enough.
    LogFull,
    /// Somebody must unseal.
    Sealed,
    /// A write of the store failed: no key changes until a restart.
    StoreClosed,
    /// The disk of the store is full; freeing space is enough.
    StoreFull,
    /// A token does not serve; keys elsewhere do.
    Token,
}

impl Trouble {
    /// Every one.
    pub(crate) const ALL: [Self; 7] =
        [Self::Custody, Self::LogClosed, Self::LogFull, Self::Sealed, Self::StoreClosed, Self::StoreFull, Self::Token];

    /// The word for it in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Custody => "custody",
            Self::LogClosed => "log-closed",
            Self::LogFull => "log-full",
            Self::Sealed => "sealed",
            Self::StoreClosed => "store-closed",
            Self::StoreFull => "store-full",
            Self::Token => "token",
        }
    }

    /// What a person reads in status.
    const fn words(self) -> &'static str {
        match self {
            Self::Custody => "custody is unavailable",
            Self::LogClosed => "the log cannot be written",
            Self::LogFull => "the disk of the log is full",
            Self::Sealed => "sealed",
            Self::StoreClosed => "the store cannot be written",
            Self::StoreFull => "the disk of the store is full",
            Self::Token => "a token does not serve",
        }
    }
}

impl House {
    /// Everything that is wrong now.
    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        let (_, custodian, _) = self.custody().status();
        let store = self.records().store_trouble();
        Trouble::ALL
            .into_iter()
            .filter(|trouble| match trouble {
                Trouble::Custody => custodian == CustodianState::Unavailable,
                Trouble::LogClosed => self.audit().is_closed(),
                Trouble::LogFull => self.audit().is_full(),
                Trouble::Sealed => self.is_sealed(),
                Trouble::StoreClosed => store == Some(StoreTrouble::Closed),
                Trouble::StoreFull => store == Some(StoreTrouble::Full),
                Trouble::Token => self.custodians().tokens().iter().any(|token| token.trouble.is_some()),
            })
            .collect()
    }

    /// `serving`, or `degraded: ` and why.
    pub(crate) fn health(&self) -> String {
        let health = words(&self.troubles());
        let tokens = self.custodians().tokens();
        let named = tokens.iter().filter_map(|token| token.word().map(|word| format!("; {}: {word}", token.name)));
        let health = named.fold(health, |health, token| health + &token);
        self.root_trouble().map_or_else(|| health.clone(), |why| format!("{health}; {why}"))
    }
}

fn words(troubles: &[Trouble]) -> String {
    if troubles.is_empty() {
        return "serving".to_owned();
    }
    let words: Vec<&str> = troubles.iter().map(|trouble| trouble.words()).collect();
    format!("degraded: {}", words.join(", "))
}

/// Whether a service does what it is for under these troubles.
fn serves(service: &str, troubles: &[Trouble]) -> bool {
    match service {
        // They are how the others are mended.
        "trust.v1.Admin" | "trust.v1.Hsm" => true,
        "trust.v1.Audit" => !troubles.contains(&Trouble::LogClosed),
        // Nothing is reported as trusted while sealed (D21); it uses no private key, and writes nothing.
        "trust.v1.Verification" => !troubles.contains(&Trouble::Sealed),
        // Whoever asks for a key in the token hears of it; the others are served.
        _ => troubles.iter().all(|trouble| *trouble == Trouble::Token),
    }
}

/// Tells gRPC health how it is now.
pub(crate) async fn report(house: &House) {
    let troubles = house.troubles();
    tell(house, |service| serves(service, &troubles), |token| token.trouble.is_none()).await;
}

/// Tells how each service is, and each token as a service of its own: `token/NAME`.
async fn tell(house: &House, serves: impl Fn(&str) -> bool, token_serves: impl Fn(&TokenStatus) -> bool) {
    let status = |serves| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    let reporter: &HealthReporter = &house.parts.health;
    for service in SERVICES {
        reporter.set_service_status(service, status(serves(service))).await;
    }
    if house.config().notary_signer {
        for service in NOTARY_SERVICES {
            reporter.set_service_status(service, status(serves("trust.v1.Signing"))).await;
        }
    }
    for token in house.custodians().tokens() {
        reporter.set_service_status(format!("token/{}", token.name), status(token_serves(&token))).await;
    }
}

/// Has every token's worker look whether the token is there, until it is aborted: one that went away is noticed
/// although nobody signs with it. Each by itself: one that hangs holds up no other.
pub(crate) async fn probe_tokens(house: Arc<House>) {
    let mut probes = JoinSet::new();
    for token in house.custodians().all_tokens() {
        probes.spawn(probe(Arc::clone(token)));
    }
    // They end with this one.
    while probes.join_next().await.is_some() {}
}

async fn probe(token: Arc<Token>) {
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        let probed = Arc::clone(&token);
        // Ended early only with the daemon.
        drop(tokio::task::spawn_blocking(move || probed.probe()).await);
    }
}

/// Has every token used as its profile says now, each by itself: nobody waits for one that hangs.
pub(crate) fn retune_tokens(house: &House) {
    for token in house.custodians().all_tokens() {
        let token = Arc::clone(token);
        drop(house.parts.tasks.spawn_blocking(move || token.retune()));
    }
}

/// Looks, tells and feeds the watchdog until it is aborted. From `drain` on, nobody is sent here any more.
pub(crate) async fn watch(house: Arc<House>, drain: CancellationToken) {
    let watchdog = notify::watchdog();
    let interval = watchdog.map_or(INTERVAL, |watchdog| INTERVAL.min(watchdog / 4));
    let custody_patience = house.config().custody.hang_after.saturating_mul(CUSTODY_PATIENCE);
    let (mut log, mut custody) = (Progress::default(), Progress::default());
    let mut known = Vec::new();
    loop {
        let troubles = house.troubles();
        if troubles != known {
            if troubles.is_empty() {
                info!(health = house.health(), "health changed");
            } else {
                warn!(health = house.health(), "health changed");
            }
            known.clone_from(&troubles);
        }
        if drain.is_cancelled() {
            tell(&house, |_| false, |_| false).await;
        } else {
            report(&house).await;
        }
        house.custodians().nudge();
        let now = house.clock().monotonic();
        // A full disk is waited out, not mended by a restart.
        let log_waits = if troubles.contains(&Trouble::LogFull) { 0 } else { house.audit().waiting() };
        let log_stands = log.stands_still(log_waits, house.audit().groups(), now);
        let custody_stands = custody.stands_still(house.custody().waiting(), house.custody().taken(), now);
        let is_closed = [Trouble::LogClosed, Trouble::StoreClosed].iter().any(|closed| troubles.contains(closed));
        if is_closed || log_stands > LOG_PATIENCE || custody_stands > custody_patience {
            error!(?log_stands, ?custody_stands, "log, store or custody does not answer; the watchdog is not fed");
        } else if watchdog.is_some() {
            notify::alive();
        }
        tokio::time::sleep(interval).await;
    }
}

/// Whether a queue moves.
#[derive(Debug, Default)]
struct Progress {
    done: u64,
    since: Duration,
}

impl Progress {
    /// How long something has waited without anything being done; zero while nothing waits.
    fn stands_still(&mut self, waiting: usize, done: u64, now: Duration) -> Duration {
        if waiting == 0 || done != self.done {
            self.done = done;
            self.since = now;
        }
        now.saturating_sub(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_names_everything_that_is_wrong() {
        assert_eq!(words(&[]), "serving");
        assert_eq!(words(&[Trouble::LogFull, Trouble::Sealed]), "degraded: the disk of the log is full, sealed");
    }

    #[test]
    fn a_sealed_daemon_is_administered_and_read_and_nothing_else() {
        let serving: Vec<&str> = SERVICES.into_iter().filter(|service| serves(service, &[Trouble::Sealed])).collect();

        assert_eq!(serving, ["trust.v1.Admin", "trust.v1.Audit", "trust.v1.Hsm"]);
        assert!(SERVICES.into_iter().all(|service| serves(service, &[])));
        assert!(SERVICES.into_iter().all(|service| serves(service, &[Trouble::Token])));
    }

    #[test]
    fn a_queue_stands_still_only_while_something_waits_and_nothing_is_done() {
        let seconds = Duration::from_secs;
        let mut progress = Progress::default();

        assert_eq!(progress.stands_still(0, 5, seconds(1)), seconds(0));
        assert_eq!(progress.stands_still(3, 5, seconds(4)), seconds(3));
        assert_eq!(progress.stands_still(3, 6, seconds(9)), seconds(0));
        assert_eq!(progress.stands_still(3, 6, seconds(20)), seconds(11));
        assert_eq!(progress.stands_still(0, 6, seconds(21)), seconds(0));
        assert_eq!(progress.stands_still(1, 6, seconds(22)), seconds(1));
    }
}
