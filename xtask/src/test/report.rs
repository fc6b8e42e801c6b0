//! The summary at the end of `cargo xtask test`.

use std::fmt;
use std::time::Duration;

use super::counts::Counts;
use crate::console::brief;

/// What each step came to.
#[derive(Debug, Default)]
pub(super) struct Report {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    step: &'static str,
    time: Duration,
    counts: Counts,
    failure: Option<String>,
}

impl Report {
    pub(super) fn add(&mut self, step: &'static str, time: Duration, counts: Counts, failure: Option<String>) {
        self.lines.push(Line { step, time, counts, failure });
    }

    pub(super) fn passed(&self) -> bool {
        !self.lines.is_empty() && self.lines.iter().all(|line| line.failure.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let mut total = Counts::default();
        for line in &self.lines {
            let verdict = if line.failure.is_some() { "FAILED" } else { "ok" };
            write!(f, "{verdict:>6}  {:<8} {:>7}", line.step, brief(line.time))?;
            if line.counts != Counts::default() {
                write!(f, "  {}", line.counts)?;
            }
            if let Some(failure) = &line.failure {
                write!(f, "  {}", failure.lines().next().unwrap_or_default())?;
            }
            writeln!(f)?;
            total.add(line.counts);
        }
        if total != Counts::default() {
            writeln!(f, "\n{total}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_steps_has_not_passed() {
        assert!(!Report::default().passed());
    }

    #[test]
    fn it_ends_with_the_sum_of_all_tests() {
        let mut report = Report::default();
        report.add("unit", Duration::from_secs(61), Counts { passed: 40, skipped: 1, ..Counts::default() }, None);
        report.add("fmt", Duration::from_millis(900), Counts::default(), None);
        assert!(report.passed());
        report.add(
            "system",
            Duration::from_secs(9),
            Counts { passed: 2, failed: 1, again: 3, ..Counts::default() },
            Some("call failed".into()),
        );
        assert!(!report.passed());
        let text = report.to_string();
        assert!(text.ends_with("\n42 passed, 1 failed, 1 skipped, 3 run again\n"), "{text}");
        assert!(text.contains("FAILED  system"), "{text}");
        assert!(text.contains("1m01s"), "{text}");
    }
}
