//! Decision logs as commands read them: line by line, and never without looking whether they are as they were written.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use lockgate_model::{distance, parse_duration, parse_rfc3339};
use lockgate_policy::journal::{Line, ReadLine, Reader, Sealed, Spot, Verifier};

/// What keeps a log from being certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Doubts {
    /// Whether something was changed, taken out, put in or moved.
    pub(super) tampered: bool,
    /// Lines that the node lost, as it says itself.
    pub(super) lost: u64,
    /// Lines of a kind that this version does not know.
    pub(super) unread: u64,
}

/// Shows all lines that can be believed by themselves, in their order.
///
/// # Errors
/// In words, when there is no log or it cannot be read.
pub(super) fn read(logs: &[PathBuf], mut show: impl FnMut(&Spot, &Sealed, &Line)) -> Result<Doubts, String> {
    let files = Reader::files(logs).map_err(told)?;
    if files.is_empty() {
        let names: Vec<_> = logs.iter().map(|log| log.display().to_string()).collect();
        return Err(format!("{}: there is no decision log; see [policy.log] in config.toml", names.join(", ")));
    }
    let (mut verifier, mut unread) = (Verifier::default(), 0);
    for file in &files {
        let mut spot = Spot { file: file.display().to_string(), line: 0 };
        verifier.file(&spot.file);
        let mut reader = Reader::open(file).map_err(told)?;
        while let Some(line) = reader.next_line().map_err(told)? {
            spot.line += 1;
            let (Some(sealed), ReadLine::Whole(bytes)) = (verifier.line(&line), &line) else { continue };
            match serde_json::from_slice::<Line>(bytes) {
                Ok(line) => show(&spot, &sealed, &line),
                Err(_) => unread += 1,
            }
        }
    }
    let report = verifier.finish(false);
    Ok(Doubts { tampered: !report.findings.is_empty(), lost: report.lost, unread })
}

impl Doubts {
    /// For standard error.
    pub(super) fn complaint(&self) -> String {
        let mut complaint = String::new();
        if self.tampered {
            complaint.push_str("lockgate: this log is not as it was written: see lockgate policy verify-log\n");
        }
        if self.lost > 0 {
            complaint.push_str(&format!("lockgate: {} lines are missing, as the node says itself\n", self.lost));
        }
        if self.unread > 0 {
            complaint
                .push_str(&format!("lockgate: {} lines are of a kind that this version does not know\n", self.unread));
        }
        complaint
    }

    /// Whether there are none.
    pub(super) fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}

/// A time as people write it, in ms since 1970.
///
/// # Errors
/// In words, with what to write.
pub(super) fn time(text: &str) -> Result<u64, String> {
    let ago = |text: &str| {
        let ago = u64::try_from(parse_duration(text).ok()?.as_millis()).ok()?;
        Some(now_ms().saturating_sub(ago))
    };
    let found = parse_rfc3339(text).or_else(|| text.parse().ok()).or_else(|| ago(text));
    found.ok_or_else(|| {
        let hint = if distance(text, "now") < 2 { "leave it out for now" } else { "write 2026-01-31T12:00:00Z or 10m" };
        format!("is no time in UTC; {hint}")
    })
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn told(problem: impl ToString) -> String {
    problem.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_milliseconds_or_how_long_ago() {
        assert_eq!(time("1970-01-01T00:00:01Z"), Ok(1000));
        assert_eq!(time("1500"), Ok(1500));
        let ago = time("1h").unwrap();
        assert!((now_ms() - 3_601_000..=now_ms() - 3_599_000).contains(&ago));
        assert!(time("yesterday").unwrap_err().contains("10m") && time("now").unwrap_err().contains("leave it out"));
    }
}
