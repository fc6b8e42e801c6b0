//! Values that people write, and what they may have meant.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write a whole number and a unit, as in \"10ms\", \"30s\", \"5m\" or \"2h\"")]
pub struct InvalidDuration;

/// Reads `10ms`, `30s`, `5m`, `2h`, `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(InvalidDuration)?;
    let number: u64 = text[..digits].parse().map_err(|_| InvalidDuration)?;
    let unit_ms: u64 = match text[digits..].trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(InvalidDuration),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or(InvalidDuration)
}

/// Why a text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size; write a whole number and a unit, as in \"64 KiB\" or \"32 MiB\"")]
pub struct InvalidBytes;

/// Reads `64 KiB`, `32 MiB`, as bytes. The space must be there: it is how sizes are written.
pub fn parse_bytes(text: &str) -> Result<u64, InvalidBytes> {
    let (number, unit) = text.trim().split_once(' ').ok_or(InvalidBytes)?;
    let unit: u64 = match unit.trim() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return Err(InvalidBytes),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or(InvalidBytes)
}

/// Levenshtein's distance, for "did you mean".
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_whole_number_and_a_unit() {
        assert_eq!([parse_bytes("64 KiB"), parse_bytes(" 32  MiB ")], [Ok(64 << 10), Ok(32 << 20)]);
        for bad in ["", "5", "5MiB", "5 MB", "-1 KiB", "1.5 MiB", "MiB", "18446744073709551615 KiB"] {
            assert_eq!(parse_bytes(bad), Err(InvalidBytes), "{bad}");
        }
    }

    #[test]
    fn the_distance_counts_what_was_mistyped() {
        assert_eq!(
            [("", ""), ("alice", "alcie"), ("bob", "rob"), ("bob", "")].map(|(a, b)| distance(a, b)),
            [0, 2, 1, 3]
        );
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("10ms"), Ok(Duration::from_millis(10)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "10", "s", "1.5s", "-1s", "99999999999999999999s", "9999999999999999d"] {
            assert_eq!(parse_duration(bad), Err(InvalidDuration), "{bad}");
        }
    }
}
