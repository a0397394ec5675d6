//! What the daemon listens to besides its doors: to end, and to reload.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::archive_policy;
use crate::health;
use crate::house::House;
use crate::notify;

/// The exit code of an end that did not wait.
const FORCED: i32 = 1;

/// What the daemon listens to besides its doors.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("listen to signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Reloads on SIGHUP; returns on SIGTERM and SIGINT.
    pub(super) async fn wait_for_end(&mut self, house: &House) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    notify::reloading();
                    // A reload waits for sessions of the old policy; whoever wants the daemon to end does not.
                    tokio::select! {
                        () = reload(house) => {}
                        _ = self.terminate.recv() => return,
                        _ = self.interrupt.recv() => return,
                    }
                    notify::ready();
                }
            }
        }
    }

    /// A second SIGTERM or SIGINT waits for nothing: as safe as a crash, after which start-up recovery closes what was open.
    #[expect(clippy::disallowed_methods, reason = "returning would wait for threads, which this is there not to do")]
    pub(super) async fn end_at_once(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        warn!("told a second time to end: nothing is waited for");
        std::process::exit(FORCED)
    }
}

/// Takes policy, certificates and revocation lists anew; what does not load leaves the old in force.
async fn reload(house: &House) {
    house.parts.identity.reload();
    health::retune_tokens(house);
    match house.authorizer().reload() {
        Ok(true) => {
            // Before the wait, which may be cut short: what decides already is on record.
            let archived = archive_policy(house).await;
            // In force for everybody once what began under the old one has ended (D10).
            house.settle().await;
            match archived {
                Ok(()) => info!(revision = %house.authorizer().revision(), "policy reloaded"),
                Err(error) => error!(error = format!("{error:#}"), "the new policy is in force and not archived"),
            }
        }
        Ok(false) => info!("policy unchanged"),
        Err(error) => error!(%error, "the policy is refused; the old one stays in force"),
    }
}
