//! The face of the host: questions in, decisions out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lockgate_model::ErrorCode;
use lockgate_model::policy::{
    AdmissionQuestion, AuthQuestion, CommandAnswer, CommandQuestion, Decision, Denial, Identity, PublishQuestion,
    RecordQuestion, SubscribeQuestion,
};
use tokio::time::timeout;

use crate::chain::{Chain, RETRY_MS, unavailable};
use crate::config::{Isolation, PluginConfig, PolicyConfig};
use crate::engine::Runtime;
use crate::heard::{Heard, Words};
use crate::journal::{Answered, Hash, HostReason, Journal, JournalConfig, JournalError, PluginFacts, Policies};
use crate::keys::KeyRings;
use crate::load;
use crate::load_error::{LoadError, LoadProblem};
use crate::metrics::MetricsSnapshot;
use crate::plugin::{Moment, Plugin};
use crate::pool::Pool;
use crate::question::{Answer, Question};

/// The plugins of a node. Clones are cheap and share everything; the last one that is dropped waits for the questions that are being
/// answered.
#[derive(Clone)]
pub struct Policy {
    inner: Arc<Inner>,
    journal: Journal,
}

struct Inner {
    chain: Arc<Chain>,
    pool: Pool,
    /// Operators do not wait for everybody else.
    operators: Pool,
    budget: Duration,
    turned_away: AtomicU64,
    policies: Policies,
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
        let policies = facts(&config, &plugins);
        let chain = Arc::new(Chain { runtime, plugins, default_allow: config.default_allow });
        chain.warm_up(load::wall_clock_ms());
        let (budget, turned_away) = (config.chain_budget, AtomicU64::new(0));
        let inner = Arc::new(Inner { chain, pool, operators, budget, turned_away, policies });
        Ok(Self { inner, journal: Journal::default() })
    }

    /// Keeps a log of all decisions from now on: what plugins said, and what came of it. Call it once, before the first question.
    ///
    /// # Errors
    /// When the log cannot be written to.
    pub fn log_to(self, config: &JournalConfig) -> Result<Self, JournalError> {
        let journal = Journal::open(config, self.inner.policies.clone())?;
        Ok(Self { journal, ..self })
    }

    /// The log of all decisions, for what is decided elsewhere. One that nothing is written to, unless there is one.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Who is it? The first plugin that accepts says so; none: `unauthenticated`.
    ///
    /// # Errors
    /// A denial: `policy-unavailable` if a plugin failed or there was no time, `overloaded` if too many questions wait.
    pub async fn authenticate(&self, question: AuthQuestion) -> Result<Identity, Denial> {
        self.ask(Question::Auth(question)).await.into_identity()
    }

    /// May they enter?
    pub async fn admit(&self, question: AdmissionQuestion) -> Decision {
        self.ask(Question::Admission(question)).await.into_one()
    }

    /// May they publish these? One decision for each track, in their order.
    pub async fn publish(&self, question: PublishQuestion) -> Vec<Decision> {
        self.ask(Question::Publish(question)).await.into_many()
    }

    /// May they receive these, and how much? One decision for each publication, in their order.
    pub async fn subscribe(&self, question: SubscribeQuestion) -> Vec<Decision> {
        self.ask(Question::Subscribe(question)).await.into_many()
    }

    /// May these be recorded? One decision for each publication, in their order.
    pub async fn record(&self, question: RecordQuestion) -> Vec<Decision> {
        self.ask(Question::Record(question)).await.into_many()
    }

    /// May this act be done, and what else comes of it? If all plugins abstain, those with the `admin` grant may.
    pub async fn command(&self, question: CommandQuestion) -> CommandAnswer {
        self.ask(Question::Command(Box::new(question))).await.into_act()
    }

    /// All counters at this moment.
    pub fn stats(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            plugins: self.inner.chain.plugins.iter().map(Plugin::metrics).collect(),
            overloaded: self.inner.turned_away.load(Relaxed),
        }
    }

    /// Has a policy thread ask the chain. There is an answer, or none, within the budget; the log has what was given.
    async fn ask(&self, question: Question) -> Answer {
        let pool = if question.is_operators() { &self.inner.operators } else { &self.inner.pool };
        let put = Arc::new(Put { question: Arc::new(question), at: Instant::now(), settled: AtomicBool::new(false) });
        let moment = Moment { now_ms: put.question.now_ms(), until: put.at + self.inner.budget };
        let (chain, journal, job) = (Arc::clone(&self.inner.chain), self.journal.clone(), Arc::clone(&put));
        let (epoch, tended) = (self.inner.policies.epoch, Arc::clone(&chain));
        let tend = move || tended.warm_up(moment.now_ms);
        let why = match pool.submit(move || job.answer(&chain, moment, &journal, epoch), tend) {
            Err(_) => Unanswered::Full,
            // The thread keeps to the budget by itself; the rest is for a queue that does not move.
            Ok(mut answer) => match timeout(self.inner.budget + SLACK, &mut answer).await {
                Ok(Ok(Some(answer))) => return answer,
                Ok(_) => Unanswered::Lost,
                Err(_) if put.settle() => Unanswered::Late,
                // The log has it already, so it is what counts; it comes in a moment.
                Err(_) => match answer.await {
                    Ok(Some(answer)) => return answer,
                    Ok(None) | Err(_) => Unanswered::Lost,
                },
            },
        };
        self.unanswered(&put, why)
    }

    fn unanswered(&self, put: &Put, why: Unanswered) -> Answer {
        if let Unanswered::Full | Unanswered::Late = why {
            self.inner.turned_away.fetch_add(1, Relaxed);
        }
        let answer = put.question.denied(why.denial());
        put.log(&self.journal, Vec::new(), Some(why.reason()), &answer, self.inner.policies.epoch);
        answer
    }
}

/// A question on its way through the threads.
struct Put {
    question: Arc<Question>,
    at: Instant,
    /// Whether it is said already what the answer is.
    settled: AtomicBool,
}

impl Put {
    /// Asks the plugins. None: it was given up meanwhile.
    fn answer(&self, chain: &Chain, moment: Moment, journal: &Journal, epoch: u64) -> Option<Answer> {
        let mut heard = Heard::new(journal.is_on());
        let answer = self.question.put_to(chain, moment, &mut heard);
        self.settle().then(|| {
            self.log(journal, heard.into_words(), None, &answer, epoch);
            answer
        })
    }

    /// Whether nobody has said before what the answer is.
    fn settle(&self) -> bool {
        !self.settled.swap(true, Relaxed)
    }

    fn log(&self, journal: &Journal, words: Vec<Words>, host: Option<HostReason>, answer: &Answer, epoch: u64) {
        if journal.is_on() {
            let (question, took) = (Arc::clone(&self.question), self.at.elapsed());
            journal.answered(Answered { question, words, host, answer: answer.clone(), epoch, took });
        }
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
    fn reason(self) -> HostReason {
        match self {
            Self::Full => HostReason::Overloaded,
            Self::Late => HostReason::Late,
            Self::Lost => HostReason::Failed,
        }
    }

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

/// What the log says of the plugins.
fn facts(config: &PolicyConfig, plugins: &[Plugin]) -> Policies {
    let facts = |plugin: &Plugin| PluginFacts {
        name: plugin.name.clone(),
        sha256: plugin.sha256.to_string(),
        hooks: plugin.hooks.clone(),
    };
    let plugins: Vec<_> = plugins.iter().map(facts).collect();
    // Neither keys nor the values of settings, which may be passwords: nobody shall try them out on a hash.
    let configured = |plugin: &PluginConfig| {
        let settings: Vec<_> = plugin.settings.keys().collect();
        format!("{settings:?} {:?}", PluginConfig { settings: serde_json::Map::new(), ..plugin.clone() })
    };
    let PolicyConfig { chain_budget, default_allow, .. } = config;
    let configured: Vec<_> = config.plugins.iter().map(configured).collect();
    let all = format!("{configured:?} {chain_budget:?} {default_allow} {plugins:?}");
    let config = Hash::of(all.as_bytes()).to_string();
    Policies { epoch: 1, config, default_allow: Some(*default_allow), plugins }
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
    use lockgate_model::policy::Door;

    use super::*;

    #[test]
    fn operators_are_asked_about_though_all_threads_are_busy_and_the_queue_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let log = JournalConfig {
            directory: folder.path().to_owned(),
            max_size: 1 << 20,
            max_age: Duration::from_secs(60),
            keep: 1,
            omit: Vec::new(),
        };
        let policy = Policy::load(PolicyConfig { threads: 1, queue: 1, ..PolicyConfig::default() }).unwrap();
        let policy = policy.log_to(&log).unwrap();
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
        policy.journal().close();
        let text = std::fs::read_to_string(folder.path().join("decisions-000001.jsonl")).unwrap();
        let hosts: Vec<_> = text.lines().map(|line| line.contains("\"host\":\"overloaded\"")).collect();
        assert_eq!(hosts, [false, true, false, false], "a header, both questions and an end: {text}");
    }
}
