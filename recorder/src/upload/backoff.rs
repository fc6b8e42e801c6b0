//! How long to wait after failures.

use std::time::Duration;

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// Nothing failed: nothing to wait for.
    pub(super) fn worked(&mut self) -> Duration {
        self.0 = 0;
        Duration::ZERO
    }

    /// One more: twice as long as the last time, up to a limit; some more or less, so that many do not come at once.
    pub(super) fn failed(&mut self) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.0.min(16)).min(LAST);
        self.0 = self.0.saturating_add(1);
        wait.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        for exponent in 0..40_u32 {
            let most = FIRST.saturating_mul(1 << exponent.min(16)).min(LAST);
            let wait = backoff.failed();
            assert!(wait >= most / 2 && wait <= most, "{wait:?}");
        }
        backoff.worked();
        assert!(backoff.failed() <= FIRST);
    }
}
