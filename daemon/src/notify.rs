//! What the service manager is told (sd_notify(3)); nothing where there is none.

use sd_notify::NotifyState;
use tracing::debug;

/// Every door is open.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// No new work is taken.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager was not told");
    }
}
