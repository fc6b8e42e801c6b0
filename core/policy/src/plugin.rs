//! One loaded plugin: its compiled component, what it exports, and how one question is put to it.

use std::sync::Arc;
use std::time::Instant;

use lockgate_model::policy::Hook;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::breaker::{Breakers, Outcome, Turn};
use crate::call::{Call, Lent};
use crate::config::{FailureModes, Limits};
use crate::contract::{admission, auth, command, lifecycle, publishing, recording, subscription};
use crate::engine::Runtime;
use crate::failure::Failure;
use crate::last_known::LastKnown;
use crate::metrics::{Counters, PluginMetrics};

/// A plugin that can be asked.
pub(crate) struct Plugin {
    pub(crate) name: String,
    pub(crate) pre: InstancePre<Call>,
    pub(crate) exports: Exports,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) limits: Limits,
    pub(crate) on_failure: FailureModes,
    pub(crate) breakers: Breakers,
    /// Its last verdicts, if they are to stand for those that it fails to give.
    pub(crate) last_known: Option<LastKnown>,
    pub(crate) lent: Arc<Lent>,
    pub(crate) counters: Counters,
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
            self.counters.failure(hook, Failure::Paused);
            return Err(Failure::Paused);
        };
        let deadline = self.limits.deadline_of(hook);
        let result = {
            let _running = runtime.run();
            self.run(Runtime::ticks(deadline.min(left)), moment.now_ms, ask)
                .and_then(|answer| read(answer).map_err(|failure| (failure, None)))
        };
        let now = Instant::now();
        self.counters.call(hook, now - started);
        let outcome = match &result {
            Ok(_) => Outcome::Answered,
            Err((Failure::Timeout, _)) if left < deadline / 2 => Outcome::CutShort,
            Err(_) => Outcome::Failed,
        };
        let turn = self.breakers.of(hook).leave(pass, outcome, now);
        let result = result.map_err(|(failure, error)| self.fail(hook, failure, error));
        self.tell(hook, turn);
        result
    }

    /// Puts something to a fresh instance that may run for so many ticks.
    pub(crate) fn run<A>(
        &self,
        ticks: u64,
        now_ms: u64,
        ask: impl Ask<A>,
    ) -> Result<A, (Failure, Option<wasmtime::Error>)> {
        let mut store = Store::new(self.pre.engine(), Call::new(Arc::clone(&self.lent), now_ms));
        store.limiter(|call| call);
        store.set_epoch_deadline(ticks);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        self.counters.instance();
        let instance = self.pre.instantiate(&mut store).map_err(|error| {
            // The guest's own start code runs here too, and can trap, loop and grow like any other.
            let failure = match Failure::of_call(&error, store.data().starved()) {
                Failure::BadAnswer => Failure::Instantiation,
                failure => failure,
            };
            (failure, Some(error))
        })?;
        ask(&self.exports, &mut store, &instance)
            .map_err(|error| (Failure::of_call(&error, store.data().starved()), Some(error)))
    }

    /// Counts a failure and tells of it, as often as the log has room for that.
    fn fail(&self, hook: Hook, failure: Failure, error: Option<wasmtime::Error>) -> Failure {
        self.counters.failure(hook, failure);
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

    pub(crate) fn metrics(&self) -> PluginMetrics {
        PluginMetrics {
            plugin: self.name.clone(),
            hooks: self.counters.hooks(&self.breakers),
            failures: self.counters.failures(),
            last_known: self.last_known.as_ref().map_or(0, LastKnown::lent),
            instances: self.counters.instances(),
            memory_peak: self.lent.memory_peak(),
            log_dropped: self.lent.dropped_lines(),
            own: self.lent.counters(),
        }
    }
}

/// An error's first line: the rest is a backtrace through the guest.
fn brief(error: wasmtime::Error) -> String {
    error.root_cause().to_string().lines().next().unwrap_or_default().to_owned()
}

/// Most bytes that one call of a guest may hand to the host: far above every bound of the contract.
pub(crate) const HOSTCALL_BYTES: usize = 4 << 20;
