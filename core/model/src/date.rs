//! Wall-clock times as text (RFC 3339), in UTC.

/// A time in microseconds since 1970 as RFC 3339 with milliseconds, `2026-01-31T12:00:00.000Z`.
pub fn rfc3339(micros: u64) -> String {
    let (days, rest) = (micros / DAY, micros % DAY / 1000);
    let (year, month, day) = civil(days);
    let (hour, minute, second, milli) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Reads `2026-01-31T12:00:00Z`, with or without a fraction of the second, from 1970 to 9999, as milliseconds since 1970. None: it is
/// no such time. Other offsets than `Z` are none.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix(['Z', 'z'])?.split_once(['T', 't', ' '])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let milli: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let day = day_of(year, month, day)?;
    let fits = hour < 24 && minute < 60 && second < 60;
    fits.then(|| day * (DAY / 1000) + ((hour * 60 + minute) * 60 + second) * 1000 + milli)
}

/// Three numbers of so many digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut next = |digits: usize| {
        let part =
            parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        part.parse().ok()
    };
    let numbers = [next(digits[0])?, next(digits[1])?, next(digits[2])?];
    parts.next().is_none().then_some(numbers)
}

/// The day since 1970 of a date that there is.
fn day_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    let march_year = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (march_year / 400, march_year % 400);
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // Whatever the calendar does not have comes out as another day.
    let days = days.checked_sub(EPOCH)?;
    (civil(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of a day since 1970, in the Gregorian calendar counted in eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

const DAY: u64 = 86_400_000_000;
/// Days from the first of March of the year 0 to 1970.
const EPOCH: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_on_every_day_of_four_centuries() {
        for day in 0..146_097 {
            let ms = day * 86_400_000 + day * 7919 % 86_400_000;
            assert_eq!(parse_rfc3339(&rfc3339(ms * 1000)), Some(ms));
        }
    }

    #[test]
    fn dates_that_are_none_are_not_read() {
        assert_eq!(parse_rfc3339("2000-02-29T00:00:00Z"), Some(951_782_400_000));
        assert_eq!(parse_rfc3339("2000-02-29 00:00:00.5z"), Some(951_782_400_500));
        for bad in [
            "",
            "Z",
            "2001-02-29T00:00:00Z",
            "2000-02-29T24:00:00Z",
            "2000-02-29T00:00:00",
            "2000-02-29T00:00:00+01:00",
            "2000-2-29T00:00:00Z",
            "2000-02-29T00:00:00.Z",
            "1969-12-31T00:00:00Z",
            "2000-13-01T00:00:00Z",
            "2000-00-01T00:00:00Z",
            "2000-01-00T00:00:00Z",
            "2000-01-01-01T00:00:00Z",
            "+200-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
