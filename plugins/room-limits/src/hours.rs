//! Times of the week: `"mon-fri 08:00-18:00"`, `"sat"`, `"22:00-02:00"`.

/// Times of the week, in milliseconds from Monday's midnight, apart from each other and in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hours(Vec<(u64, u64)>);

impl Hours {
    /// Reads the texts at a place of the settings.
    pub(crate) fn read(place: &str, texts: &[String]) -> Result<Self, String> {
        let mut times = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let wrong =
                || format!("{place}[{at}]: {text:?} is no time of the week: write it as in \"mon-fri 08:00-18:00\"");
            times.extend(window(text).ok_or_else(wrong)?);
        }
        times.sort_unstable();
        let mut apart: Vec<(u64, u64)> = Vec::new();
        for (from, to) in times {
            match apart.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => apart.push((from, to)),
            }
        }
        Ok(Self(apart))
    }

    /// When it is open: in how many milliseconds it closes, none: never. When it is closed: in how many it opens.
    pub(crate) fn at(&self, now_ms: u64, offset_ms: i64) -> Result<Option<u64>, u64> {
        // The first of January 1970 was a Thursday.
        let now = (now_ms % WEEK).saturating_add(3 * DAY + WEEK).saturating_add_signed(offset_ms) % WEEK;
        if let Some((from, to)) = self.0.iter().find(|(from, to)| (*from..*to).contains(&now)) {
            // What goes on over Sunday's midnight is written in two.
            let on = self.0.first().filter(|(first, _)| *first == 0 && *to == WEEK).map_or(0, |(_, rest)| *rest);
            return Ok((to - from < WEEK).then_some(to - now + on));
        }
        let next = self.0.iter().map(|(from, _)| (*from + WEEK - now) % WEEK).min();
        Err(next.unwrap_or(WEEK))
    }
}

/// `+01:30` in milliseconds.
pub(crate) fn offset_ms(text: &str) -> Result<i64, String> {
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => (0, ""),
    };
    let ahead = clock(rest).filter(|ahead| *ahead <= 14 * HOUR).and_then(|ahead| i64::try_from(ahead).ok());
    let wrong =
        || format!("utc_offset: {text:?} is no offset from UTC: write it as in \"+01:00\", from -14:00 to +14:00");
    ahead.map(|ahead| sign * ahead).ok_or_else(wrong)
}

/// The times of each of its days; what goes on over midnight goes on into the next day.
fn window(text: &str) -> Option<Vec<(u64, u64)>> {
    let (days, hours) = match text.split_once(' ') {
        Some((days, hours)) => (days, hours),
        None if text.contains(':') => ("mon-sun", text),
        None => (text, "00:00-24:00"),
    };
    let (first, last) = days.split_once('-').unwrap_or((days, days));
    let day = |name: &str| DAYS.iter().position(|day| *day == name).and_then(|day| u64::try_from(day).ok());
    let (first, last) = (day(first)?, day(last)?);
    let (from, to) = hours.split_once('-')?;
    let (from, to) = (clock(from)?, clock(to)?);
    if from >= DAY || to == from {
        return None;
    }
    let length = if to > from { to - from } else { DAY - from + to };
    let starts = (0..=(last + 7 - first) % 7).map(|day| (first + day) % 7 * DAY + from);
    let parts = starts.flat_map(|start| {
        let end = start + length;
        [(start, end.min(WEEK)), (0, end.saturating_sub(WEEK))]
    });
    Some(parts.filter(|(from, to)| from < to).collect())
}

/// `08:30` in milliseconds; at most `24:00`.
fn clock(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let (hours, minutes): (u64, u64) = (digits(hours) && digits(minutes))
        .then(|| Some((hours.parse().ok()?, minutes.parse().ok()?)))
        .flatten()
        .filter(|(_, minutes)| *minutes < 60)?;
    Some(hours * HOUR + minutes * 60_000).filter(|time| *time <= DAY)
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

#[cfg(test)]
mod tests {
    use super::*;

    /// Thursday, the first of January 2026, noon in UTC.
    const THURSDAY_NOON: u64 = 1_767_268_800_000;

    fn hours(texts: &[&str]) -> Hours {
        Hours::read("open", &texts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    fn at(texts: &[&str], hours_later: u64) -> Result<Option<u64>, u64> {
        let ms = |ms: u64| ms / HOUR;
        hours(texts).at(THURSDAY_NOON + hours_later * HOUR, 0).map(|closes| closes.map(ms)).map_err(ms)
    }

    #[test]
    fn a_room_closes_at_the_end_of_its_hours_and_opens_at_the_next() {
        let office = ["mon-fri 08:00-18:00"];
        assert_eq!(at(&office, 0), Ok(Some(6)), "Thursday noon");
        assert_eq!(at(&office, 6), Err(14), "Thursday 18:00: opens on Friday");
        assert_eq!(at(&office, 30), Err(62), "Friday 18:00: opens on Monday");
        assert_eq!(at(&["thu"], 0), Ok(Some(12)));
        assert_eq!(at(&["08:00-09:00"], 0), Err(20));
    }

    #[test]
    fn hours_that_touch_or_go_over_midnight_are_one() {
        assert_eq!(at(&["08:00-12:00", "12:00-20:00"], 0), Ok(Some(8)));
        assert_eq!(at(&["thu 22:00-06:00"], 17), Ok(Some(1)), "Friday 05:00");
        assert_eq!(at(&["sun 22:00-06:00"], 83), Ok(Some(7)), "Sunday 23:00, over the end of the week");
        assert_eq!(at(&["sun 22:00-06:00"], 89), Ok(Some(1)), "Monday 05:00");
        assert_eq!(at(&["sat-mon 00:00-24:00"], 60), Ok(Some(48)), "Sunday 00:00");
        assert_eq!(at(&["mon-sun"], 0), Ok(None), "never closes");
        assert_eq!(at(&["fri-thu"], 0), Ok(None));
        assert_eq!(at(&[], 0), Err(7 * 24), "never opens");
    }

    #[test]
    fn hours_are_those_of_the_offset() {
        let night = hours(&["thu 22:00-24:00"]);
        assert_eq!(night.at(THURSDAY_NOON, offset_ms("+11:30").unwrap()), Ok(Some(HOUR / 2)));
        assert_eq!(night.at(THURSDAY_NOON, offset_ms("-11:00").unwrap()), Err(21 * HOUR));
        assert_eq!(
            hours(&["wed 23:00-24:00"]).at(THURSDAY_NOON - 12 * HOUR, offset_ms("-01:00").unwrap()),
            Ok(Some(HOUR))
        );
    }

    #[test]
    fn what_is_no_time_is_refused_with_its_place() {
        for bad in [
            "",
            "monday",
            "mon 8:00-18:00",
            "mon 08:00",
            "mon 08:60-18:00",
            "mon 25:00-26:00",
            "mon 08:00-08:00",
            "mon-fri-sat",
        ] {
            let wrong = Hours::read("rules[0].open", &["mon".into(), bad.into()]).unwrap_err();
            assert!(wrong.starts_with(&format!("rules[0].open[1]: {bad:?} is no time")), "{wrong}");
        }
        for bad in ["", "1", "01:00", "+15:00", "+1:00", "é1:00"] {
            assert!(offset_ms(bad).unwrap_err().contains("\"+01:00\""), "{bad}");
        }
    }
}
