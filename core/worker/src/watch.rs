//! Looks after the workers' threads: one that ends or stands still is noticed, logged and told of.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::vitals::{Vitals, WorkerState};
use crate::workers::Workers;

/// How a worker was when it was last looked at.
struct Look {
    state: WorkerState,
    turns: u64,
    /// How often in a row it had not turned. Counted in looks, not in time: when the whole process stands still, so do these.
    still: u32,
}

impl Workers {
    /// Watches the threads until all have ended. Owners of routers on a worker that is gone or stands still are told
    /// that their transports there are closed; nothing new is placed on it. One that turns again is used again.
    pub async fn watch(self) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks: Vec<_> = self.all().each().map(|one| Look::new(&one.vitals)).collect();
        loop {
            let timed = tokio::select! {
                _ = ticks.tick() => true,
                () = self.all().news().notified() => false,
            };
            for ((worker, one), look) in (0..).zip(self.all().each()).zip(&mut looks) {
                if timed {
                    look.count(&one.vitals);
                }
                if look.is_lost(worker, &one.vitals) {
                    self.all().tell_lost(worker);
                }
            }
            if looks.iter().all(|look| matches!(look.state, WorkerState::Stopped | WorkerState::Gone)) {
                return;
            }
        }
    }
}

impl Look {
    fn new(vitals: &Vitals) -> Self {
        Self { state: vitals.state(), turns: vitals.turns(), still: 0 }
    }

    fn count(&mut self, vitals: &Vitals) {
        let turns = vitals.turns();
        self.still = if turns == self.turns { self.still.saturating_add(1) } else { 0 };
        self.turns = turns;
        vitals.set_stalled(self.still >= STILL);
    }

    /// Reports a change. True: what the worker carried is lost.
    fn is_lost(&mut self, worker: u32, vitals: &Vitals) -> bool {
        let before = std::mem::replace(&mut self.state, vitals.state());
        if before == self.state {
            return false;
        }
        match self.state {
            WorkerState::Turns => tracing::warn!(worker, "a media worker turns again"),
            WorkerState::Stalled => tracing::error!(worker, "a media worker stands still; what it carried is closed"),
            WorkerState::Gone => tracing::error!(worker, "a media worker is gone, and with it what it carried"),
            WorkerState::Stopped => {}
        }
        matches!(self.state, WorkerState::Stalled | WorkerState::Gone)
    }
}

/// How often the threads are looked at.
const LOOK: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_millis(500) };
/// A thread that has not turned for so many looks stands still: three seconds, six times what it may wait.
const STILL: u32 = if cfg!(test) { 100 } else { 6 };
