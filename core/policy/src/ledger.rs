//! What belongs to a plugin's name and not to one version of it: what it remembers, and what was counted of it.
//!
//! A plugin whose file or configuration changes takes it over from the one before, so that its counters only grow and its memory stays.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_model::policy::Hook;

use crate::config::Limits;
use crate::memory::Memory;
use crate::metrics::Counters;
use crate::shadow::ShadowCounts;

/// One name's. Parts that count by themselves hold their counter as well.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    memory: Mutex<Memory>,
    own: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    pub(crate) counters: Counters,
    /// Times that a breaker opened, by hook.
    pub(crate) pauses: [Arc<AtomicU64>; Hook::ALL.len()],
    /// Verdicts for which the last ones stood in.
    pub(crate) lent: Arc<AtomicU64>,
    /// Log lines that were too many.
    pub(crate) lines_dropped: Arc<AtomicU64>,
    /// Instances that were made.
    pub(crate) made: AtomicU64,
    memory_peak: AtomicUsize,
    /// What came of it in shadow.
    pub(crate) shadow: ShadowCounts,
}

impl Ledger {
    /// One for a name that is new.
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let ledger = Self::default();
        ledger.limit(limits);
        Arc::new(ledger)
    }

    /// The plugin that is asked now may remember so much.
    fn limit(&self, limits: &Limits) {
        self.limit_to([limits]);
    }

    /// The versions that are asked now may remember so much: each of them what it is allowed.
    pub(crate) fn limit_to<'a>(&self, versions: impl IntoIterator<Item = &'a Limits>) {
        let most =
            |(keys, bytes): (usize, usize), limits: &Limits| (keys.max(limits.kv_keys), bytes.max(limits.kv_bytes));
        let (keys, bytes) = versions.into_iter().fold((0, 0), most);
        self.memory().limit(keys, bytes);
    }

    /// One that begins with what this one remembers, for a plugin that is only tried, with limits of its own: what it does is forgotten
    /// with it.
    pub(crate) fn copy(&self, limits: &Limits) -> Self {
        let copy = Self { memory: Mutex::new(self.memory().clone()), ..Self::default() };
        copy.limit(limits);
        copy
    }

    /// What the plugin remembers.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// Counts for the plugin itself.
    pub(crate) fn add(&self, name: String, amount: u64) {
        let mut own = lock(&self.own);
        if own.len() < MAX_COUNTERS || own.contains_key(&name) {
            own.entry(name).or_default().fetch_add(amount, Relaxed);
        }
    }

    /// The plugin's own counters.
    pub(crate) fn own(&self) -> Vec<(String, u64)> {
        lock(&self.own).iter().map(|(name, count)| (name.clone(), count.load(Relaxed))).collect()
    }

    /// An instance has so many bytes of memory.
    pub(crate) fn grown(&self, memory: usize) {
        self.memory_peak.fetch_max(memory, Relaxed);
    }

    /// Most bytes that one instance had.
    pub(crate) fn memory_peak(&self) -> u64 {
        u64::try_from(self.memory_peak.load(Relaxed)).unwrap_or(u64::MAX)
    }
}

/// A panic while the lock was held leaves nothing half-changed here, and one plugin's trouble must not become all others'.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAX_COUNTERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_tried_may_remember_what_it_is_to_be_allowed() {
        let limits = |kv_keys| Limits { kv_keys, ..Limits::default() };
        let ledger = Ledger::new(&limits(1));
        let put = |ledger: &Ledger, key: &str| ledger.memory().put(key.into(), Vec::new(), None, 0);
        assert!(put(&ledger, "a").is_ok() && put(&ledger, "b").is_err());
        let tried = ledger.copy(&limits(2));
        assert!(put(&tried, "b").is_ok() && put(&tried, "c").is_err());
        ledger.limit_to([&limits(1), &limits(3)]);
        assert!(put(&ledger, "b").is_ok(), "another version may, and what was only tried is forgotten");
    }
}
