//! The Gregorian calendar, in UTC: days since 1970-01-01 as dates, and the other way
//! (H. Hinnant, "chrono-compatible low-level date algorithms").

/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;

/// A second of Unix time as RFC 3339 §5.6 writes it, in UTC; `None` outside of the years 0 to 9999.
pub(super) fn rfc3339(unix_seconds: i64) -> Option<String> {
    let (day, of_day) = (unix_seconds.div_euclid(86_400), unix_seconds.rem_euclid(86_400));
    let (year, month, day) = date(day).filter(|(year, ..)| (0..=9999).contains(year))?;
    let [hour, minute, second] = clock(of_day);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// The days of a month, 1 to 12.
pub(super) const fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01. The year begins in March, so that the leap day is its last.
pub(super) fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let (year, month) =
        if month > 2 { (year, month.checked_sub(3)?) } else { (year.checked_sub(1)?, month.checked_add(9)?) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    // (153 m + 2) / 5 are the days before the m-th month from March on.
    let of_year = month.checked_mul(153)?.checked_add(2)?.checked_div(5)?.checked_add(day)?.checked_sub(1)?;
    let leap_days = of_era.checked_div(4)?.checked_sub(of_era.checked_div(100)?)?;
    let of_era = of_era.checked_mul(365)?.checked_add(leap_days)?.checked_add(of_year)?;
    era.checked_mul(146_097)?.checked_add(of_era)?.checked_sub(DAYS_TO_EPOCH)
}

/// Hour, minute and second of a second of the day.
pub(super) const fn clock(of_day: i64) -> [i64; 3] {
    [of_day / 3600, of_day / 60 % 60, of_day % 60]
}

/// Year, month and day of a day since 1970-01-01: [`days`] the other way.
pub(super) fn date(day: i64) -> Option<(i64, i64, i64)> {
    let day = day.checked_add(DAYS_TO_EPOCH)?;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    // The days of four years, of a century and of 400 years end with a leap day or lack one.
    let leap_days = of_era / 1460 - of_era / 36_524 + of_era / 146_096;
    let year = (of_era - leap_days) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    Some((era.checked_mul(400)?.checked_add(year)?.checked_add(later)?, month, day))
}
