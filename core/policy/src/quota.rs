//! So many a second and no more: for log lines, which a guest could otherwise write without end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A number for each second.
#[derive(Debug)]
pub(crate) struct Quota {
    per_second: u32,
    window: Mutex<Window>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    used: u32,
}

impl Quota {
    /// Counts those that are too many in `dropped`.
    pub(crate) fn new(per_second: u32, dropped: Arc<AtomicU64>) -> Self {
        let window = Mutex::new(Window { began: Instant::now(), used: 0 });
        Self { per_second, window, dropped }
    }

    /// Whether there is one left; if not, it is counted.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let mut window = self.window.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.saturating_duration_since(window.began) >= SECOND {
            *window = Window { began: now, used: 0 };
        }
        let left = window.used < self.per_second;
        window.used += u32::from(left);
        drop(window);
        if !left {
            self.dropped.fetch_add(1, Relaxed);
        }
        left
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_for_a_second_is_counted_and_the_next_second_is_free_again() {
        let dropped = Arc::<AtomicU64>::default();
        let quota = Quota::new(2, Arc::clone(&dropped));
        let now = Instant::now();
        assert_eq!([(); 4].map(|()| quota.take(now)), [true, true, false, false]);
        assert_eq!(dropped.load(Relaxed), 2);
        assert!(quota.take(now + SECOND));
    }
}
