//! The carrier of pipes between the threads of a process: a buffer that changes hands once per batch.
//!
//! Each direction has one slot. The writer swaps its buffer with the slot's when that is empty, else appends to it up to a limit;
//! what does not fit stays with the writer, who is called when there is room again. The lock is held for a swap, or the append of
//! one batch, and taken once per batch. A reader is woken once for all its pipes until it looks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;

/// A pipe's number in this process; both of its ends know it by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PipeNumber(pub(crate) u64);

/// Where a thread is told which of its pipes it should look at.
pub(crate) struct Dock {
    called: Mutex<Vec<PipeNumber>>,
    waker: Arc<Waker>,
}

impl Dock {
    pub(crate) fn new(waker: Arc<Waker>) -> Arc<Self> {
        Arc::new(Self { called: Mutex::default(), waker })
    }

    /// The pipes that were called since the last time, put behind those in `into`.
    pub(crate) fn take(&self, into: &mut Vec<PipeNumber>) {
        into.append(&mut lock(&self.called));
    }

    fn call(&self, pipe: PipeNumber) {
        let mut called = lock(&self.called);
        let first = called.is_empty();
        called.push(pipe);
        drop(called);
        if first {
            // A thread that cannot be woken is about to look anyway, or gone.
            let _ = self.waker.wake();
        }
    }
}

/// One direction of a pipe.
struct Lane {
    slot: Mutex<Slot>,
    writer: Arc<Dock>,
    reader: Arc<Dock>,
}

#[derive(Default)]
struct Slot {
    bytes: Vec<u8>,
    /// The writer has more than there was room for.
    refused: bool,
    closed: bool,
}

/// A thread's end of a pipe. Dropping it closes the pipe for the other one.
pub(crate) struct PipeEnd {
    number: PipeNumber,
    outgoing: Arc<Lane>,
    incoming: Arc<Lane>,
    /// For the next time that something is taken.
    spare: Vec<u8>,
}

/// What an end finds in its pipe.
pub(crate) enum Taken {
    /// Whole frames; none if nothing came. To be given back when they are done with.
    Batch(Vec<u8>),
    /// The other end is gone, and everything of it was taken.
    Closed,
}

impl PipeEnd {
    /// Both ends of a pipe between two threads.
    pub(crate) fn pair(number: PipeNumber, first: &Arc<Dock>, second: &Arc<Dock>) -> (Self, Self) {
        let lane = |writer: &Arc<Dock>, reader: &Arc<Dock>| {
            Arc::new(Lane { slot: Mutex::default(), writer: writer.clone(), reader: reader.clone() })
        };
        let (there, back) = (lane(first, second), lane(second, first));
        let end = |outgoing: &Arc<Lane>, incoming: &Arc<Lane>| Self {
            number,
            outgoing: outgoing.clone(),
            incoming: incoming.clone(),
            spare: Vec::new(),
        };
        (end(&there, &back), end(&back, &there))
    }

    pub(crate) fn number(&self) -> PipeNumber {
        self.number
    }

    /// Hands a batch over. What there is no room for stays, and the pipe is called when there is.
    pub(crate) fn hand_over(&self, batch: &mut Vec<u8>) {
        if batch.is_empty() {
            return;
        }
        let mut slot = lock(&self.outgoing.slot);
        let first = slot.bytes.is_empty();
        if first {
            std::mem::swap(&mut slot.bytes, batch);
        } else if slot.bytes.len() + batch.len() <= MAX_WAITING {
            slot.bytes.append(batch);
        } else {
            slot.refused = true;
        }
        drop(slot);
        if first {
            self.outgoing.reader.call(self.number);
        }
    }

    /// Takes what came.
    pub(crate) fn take(&mut self) -> Taken {
        let spare = std::mem::take(&mut self.spare);
        let mut slot = lock(&self.incoming.slot);
        let batch = std::mem::replace(&mut slot.bytes, spare);
        let (refused, closed) = (std::mem::take(&mut slot.refused), slot.closed);
        drop(slot);
        if refused {
            self.incoming.writer.call(self.number);
        }
        if closed && batch.is_empty() { Taken::Closed } else { Taken::Batch(batch) }
    }

    /// Takes a batch's buffer back for the next one.
    pub(crate) fn give_back(&mut self, mut batch: Vec<u8>) {
        batch.clear();
        batch.shrink_to(KEPT);
        self.spare = batch;
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        lock(&self.outgoing.slot).closed = true;
        self.outgoing.reader.call(self.number);
        // Nobody reads here any more.
        lock(&self.incoming.slot).bytes = Vec::new();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What may wait in one direction, beside what the writer's engine holds: a second or two of what a worker takes in.
const MAX_WAITING: usize = 4 << 20;
/// A buffer that was once larger is let go of.
const KEPT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use mio::{Events, Poll, Token};

    use super::*;

    struct Thread {
        poll: Poll,
        dock: Arc<Dock>,
    }

    impl Thread {
        fn new() -> Self {
            let poll = Poll::new().unwrap();
            let dock = Dock::new(Arc::new(Waker::new(poll.registry(), Token(7)).unwrap()));
            Self { poll, dock }
        }

        fn is_woken(&mut self) -> bool {
            let mut events = Events::with_capacity(4);
            self.poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
            !events.is_empty()
        }

        fn called(&self) -> Vec<PipeNumber> {
            let mut called = Vec::new();
            self.dock.take(&mut called);
            called
        }
    }

    const PIPE: PipeNumber = PipeNumber(3);

    fn bytes(end: &mut PipeEnd) -> Vec<u8> {
        let Taken::Batch(batch) = end.take() else { panic!("closed") };
        end.give_back(batch.clone());
        batch
    }

    #[test]
    fn a_batch_changes_hands_without_a_copy_and_its_reader_is_woken_once() {
        let (mut first, mut second) = (Thread::new(), Thread::new());
        let (here, mut there) = PipeEnd::pair(PIPE, &first.dock, &second.dock);
        let mut batch = b"one".to_vec();
        let lies = batch.as_ptr();
        here.hand_over(&mut batch);
        assert!(batch.is_empty());
        here.hand_over(&mut b"two".to_vec());
        assert!(second.is_woken() && !first.is_woken());
        assert_eq!(second.called(), [PIPE]);
        let Taken::Batch(taken) = there.take() else { panic!("closed") };
        assert_eq!((taken.as_ptr(), &taken[..3]), (lies, &b"one"[..]));
        there.give_back(taken);
        here.hand_over(&mut b"three".to_vec());
        assert_eq!((bytes(&mut there), second.called()), (b"three".to_vec(), vec![PIPE]));
        // Buffers go round: a reader's is the writer's after next.
        let mut again = Vec::with_capacity(64);
        let mut turn = || {
            again.extend_from_slice(b"x");
            let lies = again.as_ptr();
            here.hand_over(&mut again);
            let Taken::Batch(taken) = there.take() else { panic!("closed") };
            there.give_back(taken);
            lies
        };
        let buffers: Vec<_> = (0..12).map(|_| turn()).collect();
        assert!(buffers[6..].iter().all(|buffer| buffers[..6].contains(buffer)), "{buffers:?}");
    }

    #[test]
    fn what_there_is_no_room_for_stays_with_the_writer_who_is_called_later() {
        let (first, second) = (Thread::new(), Thread::new());
        let (here, mut there) = PipeEnd::pair(PIPE, &first.dock, &second.dock);
        here.hand_over(&mut vec![1; MAX_WAITING]);
        let mut batch = vec![2; 10];
        here.hand_over(&mut batch);
        assert_eq!((batch.len(), first.called()), (10, vec![]));
        assert_eq!(bytes(&mut there).len(), MAX_WAITING);
        assert_eq!(first.called(), [PIPE]);
        here.hand_over(&mut batch);
        assert_eq!((batch.len(), bytes(&mut there)), (0, vec![2; 10]));
    }

    #[test]
    fn an_end_that_is_gone_closes_the_pipe_behind_what_it_said() {
        let (first, second) = (Thread::new(), Thread::new());
        let (here, mut there) = PipeEnd::pair(PIPE, &first.dock, &second.dock);
        here.hand_over(&mut b"last".to_vec());
        drop(here);
        assert_eq!(second.called(), [PIPE, PIPE]);
        assert_eq!(bytes(&mut there), b"last");
        assert!(matches!(there.take(), Taken::Closed));
    }
}
