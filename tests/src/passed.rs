//! What passed a place on its way from the node, and when the last of it did.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts packets or bytes, as its owner likes.
#[derive(Debug)]
pub(crate) struct Passed {
    begun: Instant,
    amount: AtomicU64,
    last_us: AtomicU64,
}

impl Passed {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), amount: AtomicU64::new(0), last_us: AtomicU64::new(0) }
    }

    /// So much more passes now.
    pub(crate) fn note(&self, amount: u64) {
        let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_us.store(now, Ordering::Relaxed);
        self.amount.fetch_add(amount, Ordering::Relaxed);
    }

    /// All that passed, and when the last of it did.
    pub(crate) fn read(&self) -> (u64, Instant) {
        let last = Duration::from_micros(self.last_us.load(Ordering::Relaxed));
        (self.amount.load(Ordering::Relaxed), self.begun + last)
    }
}
