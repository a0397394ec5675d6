//! Times as people and programs read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second of the year 9999: what humantime can write.
const LATEST: u64 = 253_402_300_799;

/// Seconds since the Unix epoch, by this machine's clock.
#[expect(clippy::disallowed_methods, reason = "the one look at the clock: nothing waits for it")]
pub(crate) fn now_unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Seconds since the Unix epoch as RFC 3339 in UTC.
pub(crate) fn rfc3339(unix_seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LATEST));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The same, where 0 means that there is no such time.
pub(crate) fn rfc3339_or_none(unix_seconds: u64) -> Option<String> {
    (unix_seconds > 0).then(|| rfc3339(unix_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_from_a_daemon_can_be_written() {
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339_or_none(0), None);
    }
}
