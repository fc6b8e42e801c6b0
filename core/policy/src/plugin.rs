//! One loaded plugin: its compiled component, what it exports, and how one question is put to it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use lockgate_model::policy::Hook;
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::breaker::{Breakers, Outcome, Turn};
use crate::call::{Call, Lent};
use crate::config::{Limits, PluginConfig, PolicyConfig};
use crate::contract::{admission, auth, command, lifecycle, publishing, recording, subscription};
use crate::engine::Runtime;
use crate::failure::Failure;
use crate::guests::{Fault, Guest, Guests};
use crate::journal::{Hash, PluginFacts};
use crate::keys::KeyRings;
use crate::last_known::LastKnown;
use crate::ledger::Ledger;
use crate::metrics::PluginMetrics;

/// A plugin that can be asked.
pub(crate) struct Plugin {
    pub(crate) name: String,
    /// As it is configured.
    pub(crate) config: PluginConfig,
    /// Of its file.
    pub(crate) sha256: Hash,
    pub(crate) guests: Guests,
    pub(crate) exports: Exports,
    pub(crate) hooks: Vec<Hook>,
    /// Its limits within those of the chain.
    pub(crate) limits: Limits,
    pub(crate) breakers: Breakers,
    /// Its last verdicts, if they are to stand for those that it fails to give.
    pub(crate) last_known: Option<Arc<LastKnown>>,
    pub(crate) lent: Arc<Lent>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) under: Under,
}

/// What a host gives to all of its plugins.
pub(crate) struct Under {
    keys: Arc<KeyRings>,
    chain_budget: Duration,
    pub(crate) stale_max: Duration,
}

impl Under {
    pub(crate) fn new(host: &PolicyConfig, keys: &Arc<KeyRings>) -> Self {
        Self { keys: Arc::clone(keys), chain_budget: host.chain_budget, stale_max: host.stale_max }
    }
}

impl PartialEq for Under {
    fn eq(&self, other: &Self) -> bool {
        let times = |it: &Self| (it.chain_budget, it.stale_max);
        Arc::ptr_eq(&self.keys, &other.keys) && times(self) == times(other)
    }
}

/// Where a component's exports are; none: it does not export that interface.
#[derive(Default)]
pub(crate) struct Exports {
    pub(crate) lifecycle: Option<lifecycle::GuestIndices>,
    pub(crate) auth: Option<auth::GuestIndices>,
    pub(crate) admission: Option<admission::GuestIndices>,
    pub(crate) publishing: Option<publishing::GuestIndices>,
    pub(crate) subscription: Option<subscription::GuestIndices>,
    pub(crate) recording: Option<recording::GuestIndices>,
    pub(crate) command: Option<command::GuestIndices>,
}

/// When a question is put, and until when its chain must be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Milliseconds since 1970, for the guest.
    pub(crate) now_ms: u64,
    pub(crate) until: Instant,
}

/// Puts a question to an instance, through one of the plugin's exports.
pub(crate) trait Ask<R>: Fn(&Exports, &mut Store<Call>, &Instance) -> wasmtime::Result<R> {}

impl<R, F: Fn(&Exports, &mut Store<Call>, &Instance) -> wasmtime::Result<R>> Ask<R> for F {}

impl Plugin {
    /// Whether questions of this kind are put to it.
    pub(crate) fn is_asked(&self, hook: Hook) -> bool {
        self.hooks.contains(&hook)
    }

    /// With less time than this, that it was not done in time says nothing of it.
    pub(crate) fn enough(&self, hook: Hook) -> Duration {
        self.limits.deadline_of(hook) / 2
    }

    /// Puts a question to an instance, and counts how that went. `read` bounds the answer.
    pub(crate) fn ask<A, R>(
        &self,
        runtime: &Runtime,
        hook: Hook,
        moment: Moment,
        ask: impl Ask<A>,
        read: impl FnOnce(A) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let started = Instant::now();
        let left = moment.until.saturating_duration_since(started);
        if left.is_zero() {
            return Err(self.fail(hook, Failure::Budget, None));
        }
        let Some(pass) = self.breakers.of(hook).enter(started) else {
            // No line in the log: that it is asked no more was told.
            self.ledger.counters.failure(hook, Failure::Paused);
            return Err(Failure::Paused);
        };
        let deadline = self.limits.deadline_of(hook);
        let result = {
            let _running = runtime.run();
            self.put(Runtime::ticks(deadline.min(left)), moment.now_ms, ask, read)
        };
        let now = Instant::now();
        self.ledger.counters.call(hook, now - started);
        let outcome = match &result {
            Ok(_) => Outcome::Answered,
            Err((Failure::Timeout, _)) if left < self.enough(hook) => Outcome::CutShort,
            Err(_) => Outcome::Failed,
        };
        let turn = self.breakers.of(hook).leave(pass, outcome, now);
        let result = result.map_err(|(failure, error)| self.fail(hook, failure, error));
        self.tell(hook, turn);
        result
    }

    /// Puts something to an instance that may run for so many ticks, and bounds what it answers.
    fn put<A, R>(
        &self,
        ticks: u64,
        now_ms: u64,
        ask: impl Ask<A>,
        read: impl FnOnce(A) -> Result<R, Failure>,
    ) -> Result<R, Fault> {
        let mut guest = self.guests.take(ticks, now_ms)?;
        let answer = guest.ask(&self.exports, ask)?;
        let answer = read(answer).map_err(|failure| (failure, None))?;
        self.guests.give_back(guest);
        Ok(answer)
    }

    /// Forgets what it was told to remember.
    pub(crate) fn forget(&self) {
        self.ledger.memory().clear();
    }

    /// Makes instances ready that are to be kept, as many as are wanted: their first call, which in some languages takes long, is
    /// over before somebody waits for it. Policy threads do it between two questions.
    pub(crate) fn warm_up(&self, runtime: &Runtime, now_ms: u64) {
        while self.guests.wants_one() {
            let _running = runtime.run();
            match self.warmed(Runtime::ticks(self.limits.deadline), now_ms) {
                Ok(guest) => self.guests.keep(guest),
                Err((failure, error)) => {
                    self.guests.give_up();
                    if self.lent.may_tell() {
                        let (plugin, error) = (self.name.as_str(), error.map(brief));
                        tracing::warn!(plugin, %failure, error, "an instance of a plugin could not be made ready");
                    }
                }
            }
        }
    }

    /// A new instance that has been called once.
    fn warmed(&self, ticks: u64, now_ms: u64) -> Result<Guest, Fault> {
        let mut guest = self.guests.fresh(ticks, now_ms)?;
        if let Some(lifecycle) = &self.exports.lifecycle {
            guest
                .ask(&self.exports, |_, store, instance| lifecycle.load(&mut *store, instance)?.call_describe(store))?;
        }
        Ok(guest)
    }

    /// Counts a failure and tells of it, as often as the log has room for that.
    fn fail(&self, hook: Hook, failure: Failure, error: Option<wasmtime::Error>) -> Failure {
        self.ledger.counters.failure(hook, failure);
        if self.lent.may_tell() {
            let (plugin, hook) = (self.name.as_str(), hook.as_str());
            tracing::warn!(plugin, hook, %failure, error = error.map(brief), "a plugin failed");
        }
        failure
    }

    /// Tells that it is asked no more, or again.
    fn tell(&self, hook: Hook, turn: Option<Turn>) {
        let (plugin, hook) = (self.name.as_str(), hook.as_str());
        match turn {
            Some(Turn::Opened(pause)) => {
                tracing::error!(plugin, hook, ?pause, "a plugin failed too often and is not asked for a while");
            }
            Some(Turn::Closed) => tracing::info!(plugin, hook, "a plugin answers again"),
            None => {}
        }
    }

    /// What the decision log says of it.
    pub(crate) fn facts(&self) -> PluginFacts {
        PluginFacts { name: self.name.clone(), sha256: self.sha256.to_string(), hooks: self.hooks.clone() }
    }

    pub(crate) fn metrics(&self) -> PluginMetrics {
        let in_shadow = self.hooks.iter().filter(|_| self.config.shadow.is_some());
        PluginMetrics {
            plugin: self.name.clone(),
            hooks: self.ledger.counters.hooks(&self.breakers),
            failures: self.ledger.counters.failures(),
            last_known: self.ledger.lent.load(Relaxed),
            instances: self.ledger.made.load(Relaxed),
            kept: u64::try_from(self.guests.alive()).unwrap_or(u64::MAX),
            memory_peak: self.ledger.memory_peak(),
            log_dropped: self.ledger.lines_dropped.load(Relaxed),
            own: self.ledger.own(),
            shadow: in_shadow.map(|hook| (*hook, self.ledger.shadow.of(*hook))).collect(),
        }
    }
}

/// An error's first line: the rest is a backtrace through the guest.
fn brief(error: wasmtime::Error) -> String {
    error.root_cause().to_string().lines().next().unwrap_or_default().to_owned()
}
