//! How fast the uploader may send and read: evenly, so that a call on the same line is not disturbed by bursts.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A limit of bytes in a second that all transfers share.
#[derive(Debug)]
pub(super) struct Pacer {
    /// Bytes in a second; none: as fast as it goes.
    rate: Option<u64>,
    /// When everything that was let through would have passed at this rate.
    free: Mutex<Instant>,
}

impl Pacer {
    /// `rate`: bytes in a second; none: no limit.
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self { rate, free: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes may pass. What was not used is not saved up for later.
    pub(super) async fn pass(&self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        let turn = turn(&mut self.free.lock().unwrap_or_else(PoisonError::into_inner), Instant::now(), bytes, rate);
        sleep_until(turn).await;
    }
}

/// When so many bytes may pass, and that the next wait for them.
fn turn(free: &mut Instant, now: Instant, bytes: usize, rate: u64) -> Instant {
    let turn = (*free).max(now);
    *free = turn + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
    turn
}

/// What passes at once, in bytes: small enough to be even, large enough to cost little.
pub(super) const SLICE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_share_the_rate_and_do_not_save_it_up() {
        let began = Instant::now();
        let (mut free, now) = (began, began + Duration::from_secs(60));
        let turns: Vec<_> = (0..10).map(|_| turn(&mut free, now, 100, 1000) - now).collect();
        let even: Vec<_> = (0..10).map(|index| Duration::from_millis(100 * index)).collect();
        assert_eq!(turns, even);
    }
}
