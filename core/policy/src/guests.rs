//! The instances of one plugin: a new one for each question, or a few that are kept.
//!
//! A kept instance answers one question at a time, and is thrown away after any failure and after so many questions. It does not
//! say what a failure means, nor put questions.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::call::{Call, Lent};
use crate::failure::Failure;
use crate::plugin::{Ask, Exports};

/// Where instances come from.
pub(crate) struct Guests {
    pub(crate) pre: InstancePre<Call>,
    lent: Arc<Lent>,
    kept: Option<Kept>,
}

/// How instances are kept.
pub(crate) struct Kept {
    /// So many at most: one for each thread that may want one.
    pub(crate) most: usize,
    /// So many questions are put to each at most.
    pub(crate) questions: u32,
    idle: Mutex<Vec<Guest>>,
    alive: Arc<AtomicUsize>,
    /// One could not be made ready: none is, until a question has been answered.
    cold: AtomicBool,
    /// Other plugins are asked in its place: none is kept any more.
    retired: AtomicBool,
}

/// One instance.
pub(crate) struct Guest {
    store: Store<Call>,
    instance: Instance,
    /// Questions that may still be put to it.
    left: u32,
    _alive: Option<Alive>,
}

/// Counts the instances that there are to be kept.
struct Alive(Arc<AtomicUsize>);

/// A failure, and what the engine says of it.
pub(crate) type Fault = (Failure, Option<wasmtime::Error>);

impl Kept {
    pub(crate) fn new(most: usize, questions: u32) -> Self {
        let (cold, retired) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { most, questions, idle: Mutex::default(), alive: Arc::default(), cold, retired }
    }

    /// A panic while the lock was held has at most lost an instance.
    fn idle(&self) -> MutexGuard<'_, Vec<Guest>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    pub(crate) fn new(pre: InstancePre<Call>, lent: Arc<Lent>, kept: Option<Kept>) -> Self {
        Self { pre, lent, kept }
    }

    /// One that may run for so many ticks: of those kept, if there is one.
    pub(crate) fn take(&self, ticks: u64, now_ms: u64) -> Result<Guest, Fault> {
        let Some(mut guest) = self.kept.as_ref().and_then(|kept| kept.idle().pop()) else {
            return self.fresh(ticks, now_ms);
        };
        guest.store.data_mut().begin(now_ms);
        guest.store.set_epoch_deadline(ticks);
        Ok(guest)
    }

    /// A new one that may run for so many ticks, its start included.
    pub(crate) fn fresh(&self, ticks: u64, now_ms: u64) -> Result<Guest, Fault> {
        let mut store = Store::new(self.pre.engine(), Call::new(Arc::clone(&self.lent), now_ms));
        store.limiter(|call| call);
        store.set_epoch_deadline(ticks);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        self.lent.ledger.made.fetch_add(1, Relaxed);
        let instance = self.pre.instantiate(&mut store).map_err(|error| {
            // The guest's own start code runs here too, and can trap, loop and grow like any other.
            let failure = match Failure::of_call(&error, store.data().starved()) {
                Failure::BadAnswer => Failure::Instantiation,
                failure => failure,
            };
            (failure, Some(error))
        })?;
        let left = self.kept.as_ref().map_or(1, |kept| kept.questions);
        Ok(Guest { store, instance, left, _alive: self.kept.as_ref().map(|kept| Alive::new(&kept.alive)) })
    }

    /// Takes one back that has answered. Those that have failed are dropped instead.
    pub(crate) fn give_back(&self, mut guest: Guest) {
        let Some(kept) = &self.kept else { return };
        guest.left = guest.left.saturating_sub(1);
        kept.cold.store(false, Relaxed);
        if guest.left > 0 {
            self.keep(guest);
        }
    }

    /// Keeps one that is ready for its first question.
    pub(crate) fn keep(&self, guest: Guest) {
        let Some(kept) = &self.kept else { return };
        let mut idle = kept.idle();
        if idle.len() < kept.most && !kept.retired.load(Relaxed) {
            idle.push(guest);
        }
    }

    /// Makes none ready any more until a question has been answered.
    pub(crate) fn give_up(&self) {
        if let Some(kept) = &self.kept {
            kept.cold.store(true, Relaxed);
        }
    }

    /// Whether another one should be made ready.
    pub(crate) fn wants_one(&self) -> bool {
        let wants = |kept: &Kept| {
            let rests = kept.cold.load(Relaxed) || kept.retired.load(Relaxed);
            !rests && kept.alive.load(Relaxed) < kept.most
        };
        self.kept.as_ref().is_some_and(wants)
    }

    /// Keeps some again.
    pub(crate) fn resume(&self) {
        if let Some(kept) = &self.kept {
            kept.retired.store(false, Relaxed);
        }
    }

    /// Keeps none any more: those that are answering are thrown away when they have.
    pub(crate) fn retire(&self) {
        if let Some(kept) = &self.kept {
            // Under the lock under which one is kept: so none is after this.
            let mut idle = kept.idle();
            kept.retired.store(true, Relaxed);
            idle.clear();
        }
    }

    /// How many are kept, those included that are answering.
    pub(crate) fn alive(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.alive.load(Relaxed))
    }
}

impl Guest {
    /// Puts something to it. After a failure it must not be asked again.
    pub(crate) fn ask<A>(&mut self, exports: &Exports, ask: impl Ask<A>) -> Result<A, Fault> {
        ask(exports, &mut self.store, &self.instance)
            .map_err(|error| (Failure::of_call(&error, self.store.data().starved()), Some(error)))
    }
}

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Most bytes that one call between guest and host may hand over: far above every bound of the contract.
pub(crate) const HOSTCALL_BYTES: usize = 4 << 20;
