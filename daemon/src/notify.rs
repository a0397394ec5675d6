//! What the service manager is told (sd_notify(3)); nothing where there is none.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// Every door is open, or open again after a reload.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Policy and certificates are being taken anew; [`ready`] follows.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "the service manager was not told"),
    }
}

/// No new work is taken.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// We are alive; missed for longer than [`watchdog`] says, we are killed.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often the service manager wants to hear [`alive`]; `None` where it does not listen.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager was not told");
    }
}
