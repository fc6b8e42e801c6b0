//! The face of the host: questions in, decisions out.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use lockgate_model::ErrorCode;
use lockgate_model::policy::{
    AdmissionQuestion, AuthQuestion, CommandAnswer, CommandQuestion, Decision, Denial, Identity, PublishQuestion,
    RecordQuestion, SubscribeQuestion,
};
use tokio::time::timeout;

use crate::chain::{RETRY_MS, unavailable};
use crate::config::PolicyConfig;
use crate::heard::{Heard, Words};
use crate::journal::{Answered, HostReason, Journal, JournalConfig, JournalError};
use crate::load;
use crate::load_error::{LoadError, LoadProblem};
use crate::metrics::{MetricsSnapshot, PluginMetrics};
use crate::plugin::Moment;
use crate::pool::Pool;
use crate::question::{Answer, Question};
use crate::recent::{Recent, RecentDecisions};
use crate::set::{Ground, Set};
use crate::sets::Sets;
use crate::shadow::Lane;
use crate::swap::Changes;
use crate::tally::Outcome;

/// The plugins of a node. Clones are cheap and share everything; the last one that is dropped waits for the questions that are being
/// answered.
#[derive(Clone)]
pub struct Policy {
    pub(crate) inner: Arc<Inner>,
    journal: Journal,
}

pub(crate) struct Inner {
    /// Locked only to read or replace it, and never while plugins are asked.
    pub(crate) sets: RwLock<Arc<Sets>>,
    pub(crate) changes: Mutex<Changes>,
    pub(crate) ground: Ground,
    pub(crate) pool: Pool,
    /// Operators do not wait for everybody else.
    operators: Pool,
    /// The way to plugins in shadow.
    shadows: Arc<Lane>,
    turned_away: AtomicU64,
    /// The last decisions, while somebody looks at them.
    recent: Arc<Recent>,
}

impl Policy {
    /// Reads, checks and compiles all plugins, and has them check their settings. Takes seconds: call it before the doors open.
    ///
    /// # Errors
    /// All problems there are, each with a remedy.
    pub fn load(config: PolicyConfig) -> Result<Self, Vec<LoadError>> {
        let own = |problem| vec![LoadError { place: "policy".into(), problem }];
        if !(1..=MAX_THREADS).contains(&config.threads) {
            return Err(own(LoadProblem::Limit("the number of threads is not within 1 … 16")));
        }
        let engine = |error: String| own(LoadProblem::Engine(error));
        let ground = Ground::new(&config, config.threads + load::OPERATORS).map_err(own)?;
        let set = ground.set(&config, &[])?;
        let start = |name, threads, queue| Pool::new(name, threads, queue).map_err(|error| engine(error.to_string()));
        let pool = start("policy", config.threads, config.queue)?;
        let operators = start("policy-admin", load::OPERATORS, MAX_OPERATORS)?;
        let shadows = Arc::new(Lane::new().map_err(|error| engine(error.to_string()))?);
        set.chain.warm_up(load::wall_clock_ms());
        let sets = RwLock::new(Arc::new(Sets::of(Arc::new(set))));
        let (changes, turned_away) = (Mutex::default(), AtomicU64::new(0));
        let recent = Arc::new(Recent::new());
        let inner = Inner { sets, changes, ground, pool, operators, shadows, turned_away, recent };
        Ok(Self { inner: Arc::new(inner), journal: Journal::default() })
    }

    /// Keeps a log of all decisions from now on: what plugins said, and what came of it. Call it once, before the first question.
    ///
    /// # Errors
    /// When the log cannot be written to.
    pub fn log_to(self, config: &JournalConfig) -> Result<Self, JournalError> {
        let journal = Journal::open(config, self.sets().stable.policies.clone())?;
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
        let sets = self.sets();
        let mut plugins: Vec<PluginMetrics> = Vec::new();
        for plugin in sets.plugins() {
            match plugins.iter_mut().find(|known| known.plugin == plugin.name) {
                Some(known) => known.join(plugin.metrics()),
                None => plugins.push(plugin.metrics()),
            }
        }
        MetricsSnapshot {
            plugins,
            overloaded: self.inner.turned_away.load(Relaxed),
            epoch: sets.stable.policies.epoch,
            canary: sets.canary().map(|other| other.set.policies.epoch),
            swaps: self.swaps(),
        }
    }

    /// The last decisions, at most so many, of those after one of them; what it takes to know them is kept for 15 s from now on.
    pub fn recent_decisions(&self, after: Option<u64>, most: usize) -> RecentDecisions {
        self.inner.recent.after(after, most)
    }

    /// The sets that answer now.
    pub(crate) fn sets(&self) -> Arc<Sets> {
        Arc::clone(&self.inner.sets.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has a policy thread ask the chain. There is an answer, or none, within the budget; the log has what was given.
    async fn ask(&self, question: Question) -> Answer {
        let pool = if question.is_operators() { &self.inner.operators } else { &self.inner.pool };
        let set = Arc::clone(self.sets().pick(|| question.subject()));
        let put =
            Arc::new(Put { question: Arc::new(question), at: Instant::now(), settled: AtomicBool::new(false), set });
        let (budget, now_ms) = (put.set.budget, put.question.now_ms());
        let moment = Moment { now_ms, until: put.at + budget };
        let (journal, job, tended) = (self.journal.clone(), Arc::clone(&put), Arc::clone(&put));
        let (shadows, recent) = (Arc::clone(&self.inner.shadows), Arc::clone(&self.inner.recent));
        let tend = move || tended.set.chain.warm_up(now_ms);
        let why = match pool.submit(move || job.answer(moment, &journal, &shadows, &recent), tend) {
            Err(_) => Unanswered::Full,
            // The thread keeps to the budget by itself; the rest is for a queue that does not move.
            Ok(mut answer) => match timeout(budget + SLACK, &mut answer).await {
                Ok(Ok(Some(answer))) => return answer,
                Ok(Ok(None)) => Unanswered::Late,
                Ok(Err(_)) => Unanswered::Lost,
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
        let watched = self.inner.recent.is_watched();
        if self.journal.is_on() || watched {
            let answered = put.answered(Vec::new(), Some(why.reason()), &answer);
            if watched {
                self.inner.recent.keep(&answered);
            }
            self.journal.answered(answered);
        }
        answer
    }
}

/// A question on its way through the threads.
struct Put {
    question: Arc<Question>,
    at: Instant,
    /// Whether it is said already what the answer is.
    settled: AtomicBool,
    /// Who answers it, whoever may answer later ones.
    set: Arc<Set>,
}

impl Put {
    /// Asks the plugins. None: it waited for its turn until too little time was left, or was given up meanwhile.
    fn answer(&self, moment: Moment, journal: &Journal, shadows: &Lane, recent: &Recent) -> Option<Answer> {
        let (hook, began) = (self.question.hook(), Instant::now());
        // So all that is asked counts, also where each question takes the time of those behind it.
        if moment.until.saturating_duration_since(began) < self.set.least(hook) {
            return None;
        }
        let has_shadow = self.set.shadows.iter().any(|shadow| shadow.is_asked(hook));
        let watched = recent.is_watched();
        let mut heard = Heard::new(journal.is_on() || has_shadow || watched);
        let answer = self.question.put_to(&self.set.chain, moment, &mut heard);
        let (decisions, denials) = answer.counted();
        self.set.tally.note(Outcome { failed: heard.failed(), decisions, denials, took: began.elapsed() });
        self.settle().then(|| {
            if journal.is_on() || has_shadow || watched {
                let answered = self.answered(heard.into_words(), None, &answer);
                if watched {
                    recent.keep(&answered);
                }
                journal.answered(Arc::clone(&answered));
                if has_shadow {
                    shadows.hand_over(answered, &self.set, journal);
                }
            }
            answer
        })
    }

    /// Whether nobody has said before what the answer is.
    fn settle(&self) -> bool {
        !self.settled.swap(true, Relaxed)
    }

    fn answered(&self, words: Vec<Words>, host: Option<HostReason>, answer: &Answer) -> Arc<Answered> {
        let (question, took, epoch) = (Arc::clone(&self.question), self.at.elapsed(), self.set.policies.epoch);
        Arc::new(Answered { question, words, host, answer: answer.clone(), epoch, took })
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = self.sets();
        let names: Vec<&str> = sets.stable.chain.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
        f.debug_struct("Policy").field("plugins", &names).finish_non_exhaustive()
    }
}

/// Why no plugin was heard.
#[derive(Clone, Copy)]
enum Unanswered {
    /// Too many questions are waiting.
    Full,
    /// Its turn did not come while there was time enough to ask.
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
