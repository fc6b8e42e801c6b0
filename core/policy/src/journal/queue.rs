//! The way to the writer: a queue that is bounded in lines and bytes, and one thread at its end.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::entry::Answered;
use super::line::{Line, Omit};
use super::seal::Head;
use super::weight;

/// What goes into the log.
#[derive(Debug)]
pub(crate) enum Entry {
    Line(Box<Line>),
    Answered(Arc<Answered>),
}

impl Entry {
    /// About how many bytes it holds.
    fn weight(&self) -> usize {
        match self {
            Self::Line(line) => weight::line(line),
            Self::Answered(answered) => weight::answered(answered),
        }
    }
}

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    Entry { entry: Entry, time_ms: u64, weight: usize },
    Close,
}

/// The way to the thread.
#[derive(Debug)]
pub(crate) struct Shared {
    queue: SyncSender<Message>,
    /// Held open by the thread.
    done: Mutex<Receiver<()>>,
    pub(crate) counts: Arc<Counts>,
    /// What is left out.
    pub(crate) omit: Vec<Omit>,
}

/// What both sides count.
#[derive(Debug)]
pub(crate) struct Counts {
    /// Bytes in the queue, about.
    pub(super) weight: AtomicUsize,
    /// Lines that did not fit into it, and that the log does not tell of yet.
    pub(super) missed: AtomicU64,
    pub(crate) lines: AtomicU64,
    pub(crate) lost: AtomicU64,
    /// Whether what was written last is on the disk, as far as is known.
    pub(crate) works: AtomicBool,
    head: Mutex<Head>,
}

/// What the thread takes from. When a panic ends it, nothing is logged any more, and that is told.
struct Inbox {
    messages: Receiver<Message>,
    counts: Arc<Counts>,
}

impl Shared {
    /// Starts the thread: it takes messages until the last one.
    pub(super) fn start(
        counts: Arc<Counts>,
        omit: Vec<Omit>,
        write: impl FnOnce(&Receiver<Message>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, messages) = sync_channel(MAX_WAITING);
        let (open, done) = sync_channel(1);
        let inbox = Inbox { messages, counts: Arc::clone(&counts) };
        thread::Builder::new().name("decision-log".into()).spawn(move || run(open, inbox, write))?;
        Ok(Self { queue, done: Mutex::new(done), counts, omit })
    }

    /// Never waits: what does not fit is counted.
    pub(crate) fn hand_over(&self, entry: Entry, time_ms: u64) {
        let weight = entry.weight();
        let waiting = self.counts.weight.fetch_add(weight, Relaxed);
        let message = Message::Entry { entry, time_ms, weight };
        if waiting + weight > MAX_BYTES || self.queue.try_send(message).is_err() {
            self.counts.weight.fetch_sub(weight, Relaxed);
            self.counts.missed.fetch_add(1, Relaxed);
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }

    /// Waits for the end of the thread, so long at most.
    pub(crate) fn close(&self, within: Duration) {
        let until = Instant::now() + within;
        while let Err(TrySendError::Full(_)) = self.queue.try_send(Message::Close) {
            if Instant::now() >= until {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: the end of the thread is the message.
        let _ = done.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// The thread. `open` is closed last, when the rest is told, whichever way it ends.
fn run(_open: SyncSender<()>, inbox: Inbox, write: impl FnOnce(&Receiver<Message>)) {
    write(&inbox.messages);
}

impl Counts {
    pub(super) fn new(head: Head) -> Self {
        Self {
            weight: AtomicUsize::new(0),
            missed: AtomicU64::new(0),
            lines: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            works: AtomicBool::new(true),
            head: Mutex::new(head),
        }
    }

    pub(crate) fn head(&self) -> Head {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_head(&self, head: Head) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if thread::panicking() {
            self.counts.works.store(false, Relaxed);
            let entries = self.messages.try_iter().filter(|message| matches!(message, Message::Entry { .. }));
            self.counts.lost.fetch_add(entries.count() as u64, Relaxed);
            tracing::error!("the thread of the decision log has failed: nothing is logged until the node starts anew");
        }
    }
}

/// Lines that may wait for the disk.
const MAX_WAITING: usize = 16_384;
/// Bytes that may, about.
const MAX_BYTES: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn left() -> Entry {
        Entry::Line(Box::new(Line::Left { room: "board".into(), participant: 1 }))
    }

    #[test]
    fn a_thread_that_fails_is_told_and_what_it_did_not_write_is_lost() {
        let counts = Arc::new(Counts::new(Head::START));
        let (go, gone) = sync_channel::<()>(1);
        let shared = Shared::start(Arc::clone(&counts), Vec::new(), move |messages| {
            gone.recv().unwrap();
            messages.recv().unwrap();
            panic!("on purpose");
        })
        .unwrap();
        (0..3).for_each(|_| shared.hand_over(left(), 1));
        go.send(()).unwrap();
        shared.close(Duration::from_secs(30));
        assert!(!counts.works.load(Relaxed));
        assert_eq!(counts.lost.load(Relaxed), 2, "the one that it had is in no queue any more");
        shared.hand_over(left(), 1);
        assert_eq!(counts.lost.load(Relaxed), 3);
    }
}
