//! How a worker is: whether it turns, and how busy it is. Its thread writes it, everybody may read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// What is known of a worker from outside.
pub(crate) struct Vitals {
    /// Counts up with each turn of its loop.
    turns: AtomicU64,
    /// The busy share of its last second, in thousandths.
    load: AtomicU32,
    /// What was placed on it since that was measured.
    placed: AtomicU32,
    state: AtomicU8,
    /// Told when a thread ends.
    news: Arc<Notify>,
}

/// Whether a worker can be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WorkerState {
    /// It does its work.
    Turns,
    /// It has not looked at its work for some seconds. What it carries stands still.
    Stalled,
    /// Its thread ended by itself. What it carried is gone.
    Gone,
    /// It was told to stop, and did.
    Stopped,
}

/// How a worker is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerHealth {
    /// Which one, from 0.
    pub worker: u32,
    /// Whether it can be relied upon.
    pub state: WorkerState,
    /// The busy share of its thread's last second, 0 to 1.
    pub load: f64,
}

impl Vitals {
    pub(crate) fn new(news: Arc<Notify>) -> Arc<Self> {
        let (turns, load, placed) = (AtomicU64::new(0), AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(Self { turns, load, placed, state: AtomicU8::new(WorkerState::Turns as u8), news })
    }

    pub(crate) fn state(&self) -> WorkerState {
        let states = [WorkerState::Turns, WorkerState::Stalled, WorkerState::Gone, WorkerState::Stopped];
        let state = self.state.load(Ordering::Acquire);
        states.into_iter().find(|own| *own as u8 == state).unwrap_or(WorkerState::Gone)
    }

    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// The busy share of the last second, in thousandths, and an estimate for what was placed on it since.
    pub(crate) fn load(&self) -> u32 {
        let placed = self.placed.load(Ordering::Relaxed);
        self.load.load(Ordering::Relaxed).saturating_add(placed.saturating_mul(PLACED))
    }

    pub(crate) fn measured_load(&self) -> f64 {
        f64::from(self.load.load(Ordering::Relaxed)) / 1000.0
    }

    /// Something more is placed on it.
    pub(crate) fn place(&self) {
        self.placed.fetch_add(1, Ordering::Relaxed);
    }

    /// It does not turn, or turns again. One that has ended stays so.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        let (from, to) = match stalled {
            true => (WorkerState::Turns, WorkerState::Stalled),
            false => (WorkerState::Stalled, WorkerState::Turns),
        };
        // Otherwise it is in that state already, or has ended.
        let _ = self.state.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// The thread's end: told before and after each wait, and dropped when the thread ends, for whatever reason.
pub(crate) struct Pulse {
    vitals: Arc<Vitals>,
    woke: Instant,
    busy: Duration,
    since: Instant,
    stopped: bool,
}

impl Pulse {
    pub(crate) fn new(vitals: Arc<Vitals>, now: Instant) -> Self {
        Self { vitals, woke: now, busy: Duration::ZERO, since: now, stopped: false }
    }

    /// The thread waits from here on.
    pub(crate) fn sleeps(&mut self, now: Instant) {
        self.busy += now.saturating_duration_since(self.woke);
        self.woke = now;
    }

    /// The thread has something to do, or had waited long enough.
    pub(crate) fn wakes(&mut self, now: Instant) {
        self.woke = now;
        self.vitals.turns.fetch_add(1, Ordering::Relaxed);
        let passed = now.saturating_duration_since(self.since);
        if passed >= WINDOW {
            let share = self.busy.as_secs_f64() / passed.as_secs_f64();
            self.vitals.load.store((share * 1000.0) as u32, Ordering::Relaxed);
            self.vitals.placed.store(0, Ordering::Relaxed);
            (self.since, self.busy) = (now, Duration::ZERO);
        }
    }

    /// The thread ends because it was told to.
    pub(crate) fn stops(&mut self) {
        self.stopped = true;
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let state = if self.stopped { WorkerState::Stopped } else { WorkerState::Gone };
        self.vitals.state.store(state as u8, Ordering::Release);
        self.vitals.news.notify_one();
    }
}

/// A thread with nothing to do wakes so often to show that it could.
pub(crate) const BEAT: Duration = Duration::from_millis(500);
/// Loads are those of so long.
const WINDOW: Duration = Duration::from_secs(1);
/// What a transport is taken to cost until the load was measured with it, in thousandths.
const PLACED: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_the_busy_share_of_the_last_second_and_what_came_since_counts_on_top() {
        let (start, vitals) = (Instant::now(), Vitals::new(Arc::default()));
        let mut pulse = Pulse::new(vitals.clone(), start);
        for tenth in 0..10 {
            let woke = start + Duration::from_millis(100 * tenth);
            pulse.wakes(woke);
            pulse.sleeps(woke + Duration::from_millis(25));
        }
        vitals.place();
        assert_eq!(vitals.load(), PLACED);
        pulse.wakes(start + Duration::from_secs(1));
        assert_eq!((vitals.load(), vitals.turns()), (250, 11));
        (0..3).for_each(|_| vitals.place());
        assert_eq!(vitals.load(), 250 + 3 * PLACED);
    }

    #[test]
    fn an_end_is_told_apart_from_a_stop_and_is_for_good() {
        let vitals = Vitals::new(Arc::default());
        vitals.set_stalled(true);
        assert_eq!(vitals.state(), WorkerState::Stalled);
        vitals.set_stalled(false);
        assert_eq!(vitals.state(), WorkerState::Turns);
        drop(Pulse::new(vitals.clone(), Instant::now()));
        vitals.set_stalled(true);
        assert_eq!(vitals.state(), WorkerState::Gone);
        let mut pulse = Pulse::new(vitals.clone(), Instant::now());
        pulse.stops();
        drop(pulse);
        assert_eq!(vitals.state(), WorkerState::Stopped);
    }
}
