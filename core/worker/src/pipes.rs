//! A thread's pipes to the others: its engine's ends, and what carries them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use lockgate_media::{Engine, PipeId, RouterId};

use crate::carrier::{Dock, PipeEnd, PipeNumber, Taken};

/// All pipes of a thread.
pub(crate) struct Pipes {
    open: HashMap<PipeNumber, Open>,
    numbers: HashMap<PipeId, PipeNumber>,
    dock: Arc<Dock>,
    called: Vec<PipeNumber>,
}

struct Open {
    pipe: PipeId,
    router: RouterId,
    end: PipeEnd,
}

/// What came over a pipe.
pub(crate) struct Batch {
    number: PipeNumber,
    pub(crate) pipe: PipeId,
    pub(crate) frames: Vec<u8>,
}

impl Open {
    /// Gives a buffer back; and hands over what waits, as the pipe may have been called because there is room again.
    fn give_way(&mut self, engine: &mut Engine, frames: Vec<u8>) {
        self.end.give_back(frames);
        if let Some(waiting) = engine.pipe_bytes(self.pipe) {
            self.end.hand_over(waiting);
        }
    }
}

impl Pipes {
    pub(crate) fn new(dock: Arc<Dock>) -> Self {
        Self { open: HashMap::new(), numbers: HashMap::new(), dock, called: Vec::new() }
    }

    /// Joins a router to the one at the other end; if it is gone, the pipe is closed again.
    pub(crate) fn open(&mut self, now: Instant, engine: &mut Engine, router: RouterId, end: PipeEnd) {
        let Some(pipe) = engine.open_pipe(now, router) else { return };
        self.numbers.insert(pipe, end.number());
        // The other end may have been here first.
        self.called.push(end.number());
        self.open.insert(end.number(), Open { pipe, router, end });
    }

    pub(crate) fn close(&mut self, now: Instant, engine: &mut Engine, number: PipeNumber) {
        if let Some(open) = self.open.remove(&number) {
            self.numbers.remove(&open.pipe);
            engine.close_pipe(now, open.pipe);
        }
    }

    /// A router is gone, and its pipes with it.
    pub(crate) fn forget(&mut self, router: RouterId) {
        self.open.retain(|_, open| open.router != router);
        self.numbers.retain(|_, number| self.open.contains_key(number));
    }

    /// Looks which pipes have something: once per turn.
    pub(crate) fn look(&mut self) {
        self.dock.take(&mut self.called);
    }

    /// The next batch of those that were there at the last look. To be given back with [`Self::done`].
    pub(crate) fn next_batch(&mut self, now: Instant, engine: &mut Engine) -> Option<Batch> {
        while let Some(number) = self.called.pop() {
            let Some(open) = self.open.get_mut(&number) else { continue };
            match open.end.take() {
                Taken::Batch(frames) if frames.is_empty() => open.give_way(engine, frames),
                Taken::Batch(frames) => return Some(Batch { number, pipe: open.pipe, frames }),
                Taken::Closed => self.close(now, engine, number),
            }
        }
        None
    }

    /// A batch was taken in.
    pub(crate) fn done(&mut self, engine: &mut Engine, batch: Batch) {
        if let Some(open) = self.open.get_mut(&batch.number) {
            open.give_way(engine, batch.frames);
        }
    }

    /// Hands over what the engine has for other ends. A router whose pipe is broken comes back: its two halves do not know the same
    /// any more.
    pub(crate) fn hand_over(&self, engine: &mut Engine) -> Option<RouterId> {
        let mut broken = None;
        while let Some(pipe) = engine.poll_pipe() {
            let Some(open) = self.numbers.get(&pipe).and_then(|number| self.open.get(number)) else { continue };
            if engine.is_pipe_broken(pipe) {
                broken = Some(open.router);
            }
            if let Some(waiting) = engine.pipe_bytes(pipe) {
                open.end.hand_over(waiting);
            }
        }
        broken
    }
}
