//! Keys that strangers have the daemon make: whoever may publish without a name may ask for one under each name that
//! there is. Of all that there may be one address has a share, so that others can begin something, too.

use std::net::IpAddr;
use std::time::Duration;

use crate::authorize::Pace;
use crate::config::Config;

/// The part of all keys that one address may have made at once, and again in the time after which unused ones go.
const SHARE: usize = 4;
/// How many one repository takes.
const OF_ONE: u32 = 2;
/// That time, where they stay.
const TIME: Duration = Duration::from_hours(30 * 24);

/// How many keys strangers have made, by their addresses.
#[derive(Debug)]
pub(crate) struct Strangers(Pace<IpAddr>);

impl Strangers {
    pub(crate) fn new(config: &Config) -> Self {
        let share = u32::try_from(config.limits.trust_keys_max / SHARE).unwrap_or(u32::MAX);
        Self(Pace::over(share.max(OF_ONE), config.keys.unused_trust_keys_after.unwrap_or(TIME)))
    }

    /// Whether this address has not had its share, at a time of the clock's `monotonic`; a key counts when it is asked for.
    pub(crate) fn may_have_made(&self, from: IpAddr, now: Duration) -> bool {
        self.0.take(&from, now).is_ok()
    }
}
