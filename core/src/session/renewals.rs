//! How often one socket may show a token: each one is a question to policy, and a line in the decision log.

use std::time::Duration;

use tokio::time::Instant;

/// A few at once, and one more now and then.
#[derive(Debug)]
pub(super) struct Renewals {
    left: u32,
    /// When the last one that is paid for was given back.
    since: Instant,
}

impl Renewals {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, since: now }
    }

    /// Takes one.
    ///
    /// # Errors
    /// There is none: the time until there is.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        while self.left < AT_ONCE && now >= self.since + EVERY {
            self.left += 1;
            self.since += EVERY;
        }
        if self.left == 0 {
            return Err(self.since + EVERY - now);
        }
        if self.left == AT_ONCE {
            self.since = now;
        }
        self.left -= 1;
        Ok(())
    }
}

/// So many may follow each other: a client that failed with one token tries another.
const AT_ONCE: u32 = 3;
/// After so long there is one more. A token that ends sooner is of no use.
const EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_allowed_at_once_and_one_more_now_and_then() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut renewals = Renewals::new(start);
        let mut taken =
            |seconds: &[u64]| -> Vec<_> { seconds.iter().map(|second| renewals.take(at(*second)).err()).collect() };
        let wait = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(taken(&[5, 5, 6, 6, 14]), [None, None, None, wait(9), wait(1)]);
        assert_eq!(taken(&[15, 16, 24, 25, 25]), [None, wait(9), wait(1), None, wait(10)]);
        assert_eq!(taken(&[3600, 3600, 3600, 3600]), [None, None, None, wait(10)], "no more than a few are saved up");
    }
}
