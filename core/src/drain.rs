//! A node that lets nobody in any more and ends when it is empty, or when the time for that is over.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Whether the node drains, and until when.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    until: watch::Sender<Option<Instant>>,
}

/// Tells one session when draining begins.
pub(crate) struct Begins(watch::Receiver<Option<Instant>>);

impl Drain {
    /// Lets nobody in from now on. Whoever is in may stay for so long; said again, it counts from then.
    pub(crate) fn begin(&self, within: Duration) {
        self.until.send_replace(Some(Instant::now() + within));
    }

    /// Lets people in again. False: they were not kept out.
    pub(crate) fn stop(&self) -> bool {
        self.until.send_replace(None).is_some()
    }

    /// For how long people may stay; none: the node does not drain.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.until.borrow().map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// For a session to look at.
    pub(crate) fn watch(&self) -> Begins {
        let mut begins = self.until.subscribe();
        begins.mark_unchanged();
        Begins(begins)
    }

    /// Waits until the node drains, and is empty as it is now or must be.
    pub(crate) async fn is_over(&self, is_empty: bool) {
        let mut until = self.until.subscribe();
        loop {
            let deadline = *until.borrow_and_update();
            // It fails when the other end is gone, which is in here.
            match deadline {
                Some(_) if is_empty => return,
                Some(deadline) => tokio::select! {
                    () = sleep_until(deadline) => return,
                    _ = until.changed() => {}
                },
                None => drop(until.changed().await),
            }
        }
    }
}

impl Begins {
    /// Waits until the node drains, or is to drain by another time. Says how long people may stay.
    pub(crate) async fn next(&mut self) -> Duration {
        loop {
            if self.0.changed().await.is_err() {
                // The node is gone, and with it whoever would wait for this.
                std::future::pending::<()>().await;
            }
            let until = *self.0.borrow_and_update();
            if let Some(until) = until {
                return until.saturating_duration_since(Instant::now());
            }
        }
    }
}

/// In milliseconds, as clients are told.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether something is so without anything else happening.
    async fn now(future: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = future => true,
            () = tokio::task::yield_now() => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_draining_node_ends_when_it_is_empty_or_when_the_time_is_over() {
        let drain = Drain::default();
        assert!(drain.left().is_none() && !now(drain.is_over(true)).await);
        drain.begin(Duration::from_secs(60));
        assert_eq!(drain.left(), Some(Duration::from_secs(60)));
        assert!(now(drain.is_over(true)).await && !now(drain.is_over(false)).await);
        drain.is_over(false).await;
        assert_eq!(drain.left(), Some(Duration::ZERO));
        assert!(drain.stop() && !drain.stop() && !now(drain.is_over(true)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_hears_of_each_time_that_counts_from_then_on() {
        let drain = Drain::default();
        drain.begin(Duration::from_secs(60));
        let mut begins = drain.watch();
        assert!(!now(async { _ = begins.next().await }).await, "it began before the session did");
        drain.begin(Duration::from_secs(5));
        assert_eq!(begins.next().await, Duration::from_secs(5));
        drain.stop();
        assert!(!now(async { _ = begins.next().await }).await);
    }
}
