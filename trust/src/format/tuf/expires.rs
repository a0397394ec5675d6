//! Until when metadata counts.

use std::fmt;
use std::str::FromStr;

use crate::Malformed;
use crate::format::calendar::{self, clock, date, days, days_of};

const EXPECTED: Malformed = Malformed::new("expiry date", "RFC 3339: 2026-11-26T17:34:00.5Z");

/// An expiry date as Go writes it: RFC 3339 with up to nine digits behind the second, in any zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expires {
    text: String,
    unix_seconds: i64,
}

/// A date's parts, the named ones in English.
struct Parts {
    weekday: &'static str,
    year: i64,
    month: &'static str,
    day: i64,
    clock: String,
}

impl Expires {
    /// Whether it has passed at `now`, in seconds of Unix time. Its fraction of a second is left out: it makes
    /// the date earlier, never later.
    #[must_use]
    pub const fn has_passed(&self, now_unix_seconds: i64) -> bool {
        self.unix_seconds <= now_unix_seconds
    }

    /// The date of a second of Unix time, from the year 0 to 9999.
    ///
    /// # Errors
    /// [`Malformed`] outside of them.
    pub fn at(unix_seconds: i64) -> Result<Self, Malformed> {
        let text = calendar::rfc3339(unix_seconds).ok_or(EXPECTED)?;
        Ok(Self { text, unix_seconds })
    }

    /// The date as Notary's messages have it, in UTC: `Sun Nov 22 05:36:01 UTC 2026`.
    #[must_use]
    pub fn unix_date(&self) -> String {
        let Some(Parts { weekday, year, month, day, clock }) = self.parts() else { return self.text.clone() };
        format!("{weekday} {month} {day} {clock} UTC {year:04}")
    }

    /// The date as Notary's headers have it, in UTC: `Sun, 22 Nov 2026 05:36:01 UTC`.
    #[must_use]
    pub fn http_date(&self) -> String {
        let Some(Parts { weekday, year, month, day, clock }) = self.parts() else { return self.text.clone() };
        format!("{weekday}, {day:02} {month} {year:04} {clock} UTC")
    }

    fn parts(&self) -> Option<Parts> {
        const WEEK: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const YEAR: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (days, of_day) = (self.unix_seconds.div_euclid(86_400), self.unix_seconds.rem_euclid(86_400));
        let (year, month, day) = date(days)?;
        let named = |names: &'static [&str], index: i64| {
            usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
        };
        let weekday = named(&WEEK, days.rem_euclid(7));
        let month = named(&YEAR, month.saturating_sub(1));
        let [hour, minute, second] = clock(of_day);
        Some(Parts { weekday, year, month, day, clock: format!("{hour:02}:{minute:02}:{second:02}") })
    }

    /// The date in seconds of Unix time, its fraction left out.
    #[must_use]
    pub const fn unix_seconds(&self) -> i64 {
        self.unix_seconds
    }
}

impl fmt::Display for Expires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Expires {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let unix_seconds = seconds(text).ok_or(EXPECTED)?;
        Ok(Self { text: text.to_owned(), unix_seconds })
    }
}

fn seconds(text: &str) -> Option<i64> {
    let (date, clock) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone_at = clock.find(['Z', '+', '-'])?;
    let (clock, zone) = clock.split_at_checked(zone_at)?;
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, digits)| (clock, Some(digits)));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let sound = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 59
        && fraction.is_none_or(|digits| (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()));
    if !sound {
        return None;
    }
    let of_day = hour.checked_mul(3600)?.checked_add(minute.checked_mul(60)?)?.checked_add(second)?;
    days(year, month, day)?.checked_mul(86_400)?.checked_add(of_day)?.checked_sub(offset_seconds(zone)?)
}

/// How much later than UTC a zone's clock is: `Z`, `+02:00`, `-08:00`.
fn offset_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, zone) = zone.split_at_checked(1)?;
    let [hours, minutes] = numbers(zone, ':', [2, 2])?;
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
    if sign == "-" { seconds.checked_neg() } else { Some(seconds) }
}

/// Numbers of so many digits each, and nothing else.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut read = [0; N];
    for (place, length) in read.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != length || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *place = part.parse().ok()?;
    }
    parts.next().is_none().then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_every_zone_are_read() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-26T17:34:00.5Z", 1_795_714_440),
            ("2116-01-11T16:58:57.119711158-08:00", 4_608_233_937),
            ("2026-11-26T19:34:00+02:00", 1_795_714_440),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
        ] {
            assert_eq!(text.parse::<Expires>().unwrap().unix_seconds(), seconds, "{text}");
        }
    }

    #[test]
    fn a_date_is_made_of_every_day_that_is_read() {
        for day in (-719_528..2_932_896_i64).step_by(29).chain([-719_528, -1, 0, 59, 60, 11_016, 2_932_896]) {
            let date = Expires::at(day * 86_400 + 86_399).unwrap();

            assert_eq!(date.to_string().parse::<Expires>().unwrap(), date);
            assert!(date.to_string().ends_with("T23:59:59Z"));
        }
        for seconds in [i64::MIN, -62_167_219_201, 253_402_300_800, i64::MAX] {
            assert!(Expires::at(seconds).is_err(), "{seconds}");
        }
    }

    #[test]
    fn messages_have_the_date_as_go_prints_it() {
        for (text, printed) in [
            ("2026-11-22T05:36:01.9Z", "Sun Nov 22 05:36:01 UTC 2026"),
            ("2026-11-01T01:36:01+02:00", "Sat Oct 31 23:36:01 UTC 2026"),
            ("2000-03-01T00:00:00Z", "Wed Mar 1 00:00:00 UTC 2000"),
            ("0001-01-01T00:00:00Z", "Mon Jan 1 00:00:00 UTC 0001"),
        ] {
            assert_eq!(text.parse::<Expires>().unwrap().unix_date(), printed);
        }
    }

    #[test]
    fn a_header_has_it_in_another_order() {
        let date: Expires = "2026-11-03T05:23:32.870Z".parse().unwrap();

        assert_eq!(date.http_date(), "Tue, 03 Nov 2026 05:23:32 UTC");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026",
            "2026-11-26",
            "2026-11-26T17:34:00",
            "2026-11-26 17:34:00Z",
            "2026-11-26t17:34:00Z",
            "2026-11-26T17:34:00z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2026-11-26T24:00:00Z",
            "2026-11-26T00:60:00Z",
            "2026-11-26T00:00:60Z",
            "2026-11-26T00:00:00.Z",
            "2026-11-26T00:00:00.1234567890Z",
            "2026-11-26T00:00:00+0200",
            "2026-11-26T00:00:00+24:00",
            "2026-1-26T00:00:00Z",
            "12026-11-26T00:00:00Z",
            "2026-11-26T00:00:00ZZ",
        ] {
            assert!(text.parse::<Expires>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_date_has_passed_at_its_own_second() {
        let date: Expires = "1970-01-01T00:01:40.9Z".parse().unwrap();

        assert!(!date.has_passed(99) && date.has_passed(100));
    }
}
