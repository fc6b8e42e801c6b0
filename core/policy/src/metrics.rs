//! What plugins cost and how they answer, counted without locks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use lockgate_model::policy::Hook;

use crate::breaker::{Breaker, Breakers};
use crate::failure::Failure;
use crate::journal::SwapOutcome;

/// All counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// One for each plugin, in the order of the chain.
    pub plugins: Vec<PluginMetrics>,
    /// Questions that no plugin was asked, since too many were waiting or their turn did not come in time.
    pub overloaded: u64,
    /// The number of the configuration that answers.
    pub epoch: u64,
    /// The number of the one that answers for a share of the rooms.
    pub canary: Option<u64>,
    /// What came of changes, how often.
    pub swaps: Vec<(SwapOutcome, u64)>,
}

/// One plugin's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginMetrics {
    /// The plugin's name.
    pub plugin: String,
    /// One for each of its hooks that were asked.
    pub hooks: Vec<HookMetrics>,
    /// Failures by cause, those that happened.
    pub failures: Vec<(Failure, u64)>,
    /// Verdicts that it failed to give and for which its last ones stood in.
    pub last_known: u64,
    /// Instances that were made, those for checking its settings included.
    pub instances: u64,
    /// Instances that are kept for further questions.
    pub kept: u64,
    /// Most memory that one of them had, in bytes.
    pub memory_peak: u64,
    /// Log lines that were too many.
    pub log_dropped: u64,
    /// The plugin's own counters.
    pub own: Vec<(String, u64)>,
    /// What came of its hooks in shadow, in the order of [`ShadowResult::ALL`]; empty for a plugin whose answers count.
    pub shadow: Vec<(Hook, [u64; ShadowResult::ALL.len()])>,
}

impl PluginMetrics {
    /// Adds what another version of the same name has of its own; what was counted belongs to the name, and is in both.
    pub(crate) fn join(&mut self, other: Self) {
        self.kept += other.kept;
        for (hook, paused) in other.hooks.iter().map(|hook| (hook.hook, hook.paused)) {
            self.hooks.iter_mut().filter(|known| known.hook == hook).for_each(|known| known.paused |= paused);
        }
        if self.shadow.is_empty() {
            self.shadow = other.shadow;
        }
    }
}

/// What came of a question to a plugin in shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowResult {
    /// It says what the other one says.
    Same,
    /// It does not.
    Different,
    /// It gave no answer.
    Failed,
    /// It was not asked, as too many questions were waiting.
    Dropped,
}

impl ShadowResult {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Same, Self::Different, Self::Failed, Self::Dropped];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// The counters of one hook of one plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookMetrics {
    /// The hook.
    pub hook: Hook,
    /// Calls, each of which may give many verdicts.
    pub calls: u64,
    /// Verdicts that allow.
    pub allowed: u64,
    /// Verdicts that deny.
    pub denied: u64,
    /// Abstentions.
    pub abstained: u64,
    /// Questions that it failed to answer, or was not asked as it failed too often.
    pub failed: u64,
    /// Whether it is not asked at the moment, as it failed too often.
    pub paused: bool,
    /// How often a pause has begun.
    pub pauses: u64,
    /// Time of all calls together.
    pub latency_sum: Duration,
    /// Calls within [`LATENCY_BOUNDS`], not accumulated; the last one counts those beyond.
    pub latency: [u64; LATENCY_BOUNDS.len() + 1],
}

/// Upper bounds of the latency buckets.
pub const LATENCY_BOUNDS: [Duration; 10] = [
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
];

/// The live counters of one plugin.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    hooks: [HookCounters; Hook::ALL.len()],
    failures: [AtomicU64; Failure::ALL.len()],
}

#[derive(Debug, Default)]
struct HookCounters {
    calls: AtomicU64,
    allowed: AtomicU64,
    denied: AtomicU64,
    abstained: AtomicU64,
    failed: AtomicU64,
    nanoseconds: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
}

/// What one verdict was.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said {
    Yes,
    No,
    Nothing,
}

impl Counters {
    pub(crate) fn call(&self, hook: Hook, took: Duration) {
        let hook = self.hook(hook);
        hook.calls.fetch_add(1, Relaxed);
        hook.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        let bucket = LATENCY_BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(LATENCY_BOUNDS.len());
        hook.latency[bucket].fetch_add(1, Relaxed);
    }

    pub(crate) fn verdict(&self, hook: Hook, said: Said) {
        let hook = self.hook(hook);
        match said {
            Said::Yes => &hook.allowed,
            Said::No => &hook.denied,
            Said::Nothing => &hook.abstained,
        }
        .fetch_add(1, Relaxed);
    }

    pub(crate) fn failure(&self, hook: Hook, failure: Failure) {
        self.hook(hook).failed.fetch_add(1, Relaxed);
        self.failures[place(&Failure::ALL, failure)].fetch_add(1, Relaxed);
    }

    pub(crate) fn hooks(&self, breakers: &Breakers) -> Vec<HookMetrics> {
        let snapshot = |hook| self.hook(hook).snapshot(hook, breakers.of(hook));
        Hook::ALL.into_iter().map(snapshot).filter(HookMetrics::seen).collect()
    }

    pub(crate) fn failures(&self) -> Vec<(Failure, u64)> {
        let counts = self.failures.iter().map(|count| count.load(Relaxed));
        Failure::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    fn hook(&self, hook: Hook) -> &HookCounters {
        &self.hooks[place(&Hook::ALL, hook)]
    }
}

impl HookCounters {
    fn snapshot(&self, hook: Hook, breaker: &Breaker) -> HookMetrics {
        HookMetrics {
            hook,
            calls: self.calls.load(Relaxed),
            allowed: self.allowed.load(Relaxed),
            denied: self.denied.load(Relaxed),
            abstained: self.abstained.load(Relaxed),
            failed: self.failed.load(Relaxed),
            paused: breaker.is_open(),
            pauses: breaker.opened(),
            latency_sum: Duration::from_nanos(self.nanoseconds.load(Relaxed)),
            latency: std::array::from_fn(|bucket| self.latency[bucket].load(Relaxed)),
        }
    }
}

impl HookMetrics {
    fn seen(&self) -> bool {
        self.calls > 0 || self.failed > 0
    }
}

/// Every value of such an enum is in its `ALL`.
pub(crate) fn place<T: PartialEq>(all: &[T], value: T) -> usize {
    all.iter().position(|one| *one == value).unwrap_or_default()
}
