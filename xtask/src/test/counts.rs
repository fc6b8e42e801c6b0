//! How many tests came out how: read from what test programs print.

use std::collections::BTreeMap;
use std::fmt;

/// How many tests came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) skipped: u32,
    /// How many were run again, as the machine had not been there for them.
    pub(super) again: u32,
    /// Of how many nothing can be said, as the machine was never there for them.
    pub(super) unjudged: u32,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.again += other.again;
        self.unjudged += other.unjudged;
    }

    /// Reads the line that closes a test run: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut numbers = BTreeMap::new();
        for part in rest.split(';') {
            if let Some((number, name)) = part.trim().split_once(' ') {
                numbers.insert(name, number.parse().unwrap_or(0));
            }
        }
        let number = |name| numbers.get(name).copied().unwrap_or(0);
        let (passed, failed, skipped) = (number("passed"), number("failed"), number("ignored"));
        Some(Self { passed, failed, skipped, ..Self::default() })
    }

    /// Reads the lines that close a run of Node.js's tests, one number each: `ℹ pass 3`.
    pub(super) fn parse_node(line: &str) -> Option<Self> {
        let (word, number) = line.strip_prefix("ℹ ")?.split_once(' ')?;
        let number = number.parse().ok()?;
        match word {
            "pass" => Some(Self { passed: number, ..Self::default() }),
            "fail" => Some(Self { failed: number, ..Self::default() }),
            "skipped" => Some(Self { skipped: number, ..Self::default() }),
            _ => None,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        if self.again > 0 {
            write!(f, ", {} run again", self.again)?;
        }
        if self.unjudged > 0 {
            write!(f, ", {} not judged", self.unjudged)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_a_run_is_read() {
        let line = "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.22s";
        assert_eq!(Counts::parse(line), Some(Counts { passed: 12, failed: 2, skipped: 1, ..Counts::default() }));
        assert_eq!(Counts::parse("test a::b ... ok"), None);
    }

    #[test]
    fn what_was_not_judged_is_told_beside_the_rest() {
        let counts = Counts { passed: 3, again: 2, unjudged: 1, ..Counts::default() };
        assert_eq!(counts.to_string(), "3 passed, 0 failed, 2 run again, 1 not judged");
    }
}
