//! The face of the host: questions in, decisions out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lockgate_model::ErrorCode;
use lockgate_model::policy::{
    AdmissionQuestion, AuthQuestion, CommandAnswer, CommandQuestion, Decision, Denial, Door, Identity, PublishQuestion,
    RecordQuestion, SubscribeQuestion,
};

use crate::chain::{Chain, RETRY_MS, denied, unavailable};
use crate::config::{Isolation, PolicyConfig};
use crate::engine::Runtime;
use crate::keys::KeyRings;
use crate::load;
use crate::load_error::{LoadError, LoadProblem};
use crate::metrics::MetricsSnapshot;
use crate::plugin::Moment;
use crate::pool::Pool;

/// The plugins of a node. Clones are cheap and share everything; the last one that is dropped waits for the questions that are being
/// answered.
#[derive(Clone)]
pub struct Policy {
    inner: Arc<Inner>,
}

struct Inner {
    chain: Arc<Chain>,
    pool: Pool,
    /// Operators do not wait for everybody else.
    operators: Pool,
    budget: Duration,
    turned_away: AtomicU64,
}

impl Policy {
    /// Reads, checks and compiles all plugins, and has them check their settings. Takes seconds: call it before the doors open.
    ///
    /// # Errors
    /// All problems there are, each with a remedy.
    pub fn load(config: PolicyConfig) -> Result<Self, Vec<LoadError>> {
        let own = |problem| LoadError { place: "policy".into(), problem };
        if !(1..=MAX_THREADS).contains(&config.threads) {
            return Err(vec![own(LoadProblem::Limit("the number of threads is not within 1 … 16"))]);
        }
        let askers = config.threads + load::OPERATORS;
        // Those of a plugin that are kept, and as many that are being made or thrown away.
        let kept = config.plugins.iter().filter(|plugin| plugin.isolation == Isolation::Reuse).count() * 2;
        let runtime = Runtime::new(askers * (1 + kept)).map_err(|error| vec![own(LoadProblem::Engine(error))])?;
        let (keys, mut problems) = match KeyRings::load(&config.key_rings) {
            Ok(keys) => (keys, Vec::new()),
            Err(bad) => (KeyRings::default(), bad.into_iter().map(bad_ring).collect()),
        };
        let plugins = match load::plugins(&config, &runtime, &Arc::new(keys)) {
            Ok(plugins) if problems.is_empty() => plugins,
            Ok(_) => return Err(problems),
            Err(more) => {
                problems.extend(more);
                return Err(problems);
            }
        };
        let start = |name, threads, queue| {
            Pool::new(name, threads, queue).map_err(|error| vec![own(LoadProblem::Engine(error.to_string()))])
        };
        let pool = start("policy", config.threads, config.queue)?;
        let operators = start("policy-admin", load::OPERATORS, MAX_OPERATORS)?;
        let chain = Arc::new(Chain { runtime, plugins, default_allow: config.default_allow });
        chain.warm_up(load::wall_clock_ms());
        let inner = Inner { chain, pool, operators, budget: config.chain_budget, turned_away: AtomicU64::new(0) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Who is it? The first plugin that accepts says so; none: `unauthenticated`.
    ///
    /// # Errors
    /// A denial: `policy-unavailable` if a plugin failed or there was no time, `overloaded` if too many questions wait.
    pub async fn authenticate(&self, question: AuthQuestion) -> Result<Identity, Denial> {
        let (now_ms, inner) = (question.now_ms, &self.inner);
        let pool = if question.door == Door::Admin { &inner.operators } else { &inner.pool };
        self.ask_in(pool, now_ms, move |chain, moment| chain.authenticate(&question, moment))
            .await
            .unwrap_or_else(|why| Err(why.denial()))
    }

    /// May they enter?
    pub async fn admit(&self, question: AdmissionQuestion) -> Decision {
        let now_ms = question.now_ms;
        self.ask(now_ms, move |chain, moment| chain.admit(&question, moment))
            .await
            .unwrap_or_else(|why| Err(why.denial()))
    }

    /// May they publish these? One decision for each track, in their order.
    pub async fn publish(&self, question: PublishQuestion) -> Vec<Decision> {
        let (now_ms, count) = (question.now_ms, question.tracks.len());
        self.ask(now_ms, move |chain, moment| chain.publish(&question, moment)).await.unwrap_or_else(none_of(count))
    }

    /// May they receive these, and how much? One decision for each publication, in their order.
    pub async fn subscribe(&self, question: SubscribeQuestion) -> Vec<Decision> {
        let (now_ms, count) = (question.now_ms, question.publications.len());
        self.ask(now_ms, move |chain, moment| chain.subscribe(&question, moment)).await.unwrap_or_else(none_of(count))
    }

    /// May these be recorded? One decision for each publication, in their order.
    pub async fn record(&self, question: RecordQuestion) -> Vec<Decision> {
        let (now_ms, count) = (question.now_ms, question.publications.len());
        self.ask(now_ms, move |chain, moment| chain.record(&question, moment)).await.unwrap_or_else(none_of(count))
    }

    /// May this act be done, and what else comes of it? If all plugins abstain, those with the `admin` grant may.
    pub async fn command(&self, question: CommandQuestion) -> CommandAnswer {
        let now_ms = question.now_ms;
        self.ask(now_ms, move |chain, moment| chain.command(&question, moment))
            .await
            .unwrap_or_else(|why| denied(why.denial()))
    }

    /// All counters at this moment.
    pub fn stats(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            plugins: self.inner.chain.plugins.iter().map(crate::plugin::Plugin::metrics).collect(),
            overloaded: self.inner.turned_away.load(Relaxed),
        }
    }

    async fn ask<R: Send + 'static>(
        &self,
        now_ms: u64,
        ask: impl FnOnce(&Chain, Moment) -> R + Send + 'static,
    ) -> Result<R, Unanswered> {
        self.ask_in(&self.inner.pool, now_ms, ask).await
    }

    /// Has a policy thread ask the chain. There is an answer, or none, within the budget.
    async fn ask_in<R: Send + 'static>(
        &self,
        pool: &Pool,
        now_ms: u64,
        ask: impl FnOnce(&Chain, Moment) -> R + Send + 'static,
    ) -> Result<R, Unanswered> {
        let chain = Arc::clone(&self.inner.chain);
        let moment = Moment { now_ms, until: Instant::now() + self.inner.budget };
        let tended = Arc::clone(&chain);
        let answer = pool
            .submit(move || ask(&chain, moment), move || tended.warm_up(now_ms))
            .map_err(|_| self.count(Unanswered::Full))?;
        // The thread keeps to the budget by itself; the rest is for a queue that does not move.
        match tokio::time::timeout(self.inner.budget + SLACK, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unanswered::Lost),
            Err(_) => Err(self.count(Unanswered::Late)),
        }
    }

    fn count(&self, why: Unanswered) -> Unanswered {
        self.inner.turned_away.fetch_add(1, Relaxed);
        why
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.inner.chain.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
        f.debug_struct("Policy").field("plugins", &names).finish_non_exhaustive()
    }
}

/// Why no plugin was heard.
#[derive(Clone, Copy)]
enum Unanswered {
    /// Too many questions are waiting.
    Full,
    /// Its turn did not come in time.
    Late,
    /// The host itself failed.
    Lost,
}

impl Unanswered {
    fn denial(self) -> Denial {
        match self {
            Self::Full => Denial {
                retry_after_ms: Some(RETRY_MS),
                ..Denial::new(ErrorCode::OVERLOADED, "too many questions wait for policy")
            },
            Self::Late | Self::Lost => unavailable(),
        }
    }
}

fn none_of(count: usize) -> impl FnOnce(Unanswered) -> Vec<Decision> {
    move |why| vec![Err(why.denial()); count]
}

fn bad_ring((name, problem): (String, String)) -> LoadError {
    LoadError { place: format!("key ring {name:?}"), problem: LoadProblem::Keys(problem) }
}

const MAX_THREADS: usize = 16;
/// Operators who may wait at a time.
const MAX_OPERATORS: usize = 16;
/// Epochs end a guest up to two ticks late, and the system's scheduler has its own mind.
const SLACK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use lockgate_model::Secret;

    use super::*;

    #[test]
    fn operators_are_asked_about_though_all_threads_are_busy_and_the_queue_is_full() {
        let policy = Policy::load(PolicyConfig { threads: 1, queue: 1, ..PolicyConfig::default() }).unwrap();
        let (started, has_started) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let busy = move || {
            started.send(()).unwrap();
            released.recv().unwrap();
        };
        let busy = policy.inner.pool.submit(busy, || ());
        has_started.recv().unwrap();
        let waiting = policy.inner.pool.submit(|| (), || ());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let ask = |door| {
            let peer = std::net::Ipv4Addr::LOCALHOST.into();
            let question = AuthQuestion { token: Secret::new("t"), door, peer, now_ms: 0 };
            runtime.block_on(policy.authenticate(question)).unwrap_err().code
        };
        assert_eq!((ask(Door::Ws), ask(Door::Admin)), (ErrorCode::OVERLOADED, ErrorCode::UNAUTHENTICATED));
        release.send(()).unwrap();
        drop((busy, waiting));
    }
}
