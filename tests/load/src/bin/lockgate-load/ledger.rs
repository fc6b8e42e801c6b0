//! What clients have told of themselves, counted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_load::Histogram;
use tokio::sync::Notify;

use crate::client::News;
use crate::failure::{Failure, Failures};

/// The counts, shared by all clients.
#[derive(Default)]
pub(crate) struct Ledger {
    inner: Mutex<Entries>,
    changed: Notify,
}

/// What was told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    pub(crate) publishers: Side,
    pub(crate) subscribers: Side,
    pub(crate) errors: Failures,
}

/// The clients of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    pub(crate) asked: u64,
    pub(crate) joined: u64,
    pub(crate) refused: u64,
    pub(crate) lost: u64,
    pub(crate) join: Histogram,
}

impl Side {
    /// Whether of all who asked it is known what became of them.
    pub(crate) fn is_settled(&self) -> bool {
        self.joined + self.refused == self.asked
    }
}

impl Ledger {
    /// Notes a client that begins to join.
    pub(crate) fn ask(&self, publishes: bool) {
        self.lock().side(publishes).asked += 1;
    }

    /// Notes news of a client.
    pub(crate) fn note(&self, publishes: bool, news: News) {
        let mut entries = self.lock();
        match news {
            News::Joined { took } => entries.on_joined(publishes, took),
            News::Refused(failure) => {
                entries.side(publishes).refused += 1;
                entries.on_failure(failure);
            }
            News::Lost(failure) => {
                entries.side(publishes).lost += 1;
                entries.on_failure(failure);
            }
            News::Trouble(failure) => entries.on_failure(failure),
        }
        drop(entries);
        self.changed.notify_one();
    }

    /// Resolves after news.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn entries(&self) -> Entries {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn side(&mut self, publishes: bool) -> &mut Side {
        if publishes { &mut self.publishers } else { &mut self.subscribers }
    }

    fn on_joined(&mut self, publishes: bool, took: Duration) {
        let side = self.side(publishes);
        side.joined += 1;
        side.join.note_us(took.as_micros() as u64);
    }

    fn on_failure(&mut self, failure: Failure) {
        let text = format!("{}: {}", failure.code, failure.message);
        if self.errors.note(failure) {
            eprintln!("{text}");
        }
    }
}
