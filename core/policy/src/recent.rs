//! The last decisions, for operators who look on. They are kept only while somebody looks: otherwise a question costs nothing more for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lockgate_model::policy::{Door, Hook};
use serde::Serialize;

use crate::journal::{Answered, DenialLine, HostReason, PluginLine, QuestionLine, VerdictLine};

/// The last decisions.
#[derive(Debug)]
pub(crate) struct Recent {
    began: Instant,
    /// Until when somebody looks on, in ms since it began.
    until_ms: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The number of the last one.
    last: u64,
    decisions: VecDeque<RecentDecision>,
}

/// Some of the last decisions.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecentDecisions {
    /// They, the oldest first.
    pub decisions: Vec<RecentDecision>,
    /// The number of the last one that there is.
    pub next: u64,
    /// How many there were since the one that was had before, and are not among these. What was decided while nobody looked is not counted.
    pub missed: u64,
}

/// What was decided, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecentDecision {
    /// Its number, from 1: one more than the one before.
    pub id: u64,
    /// When it was asked, in ms since 1970.
    pub time_ms: u64,
    /// The kind of question.
    pub hook: Hook,
    /// Where; absent: in no room yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_name: Option<String>,
    /// Who, as their token says; absent: nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Their name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Their place in the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher_id: Option<u64>,
    /// The door they are at, or came by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub door: Option<Door>,
    /// Which act a command is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
    /// How many things were asked about: tracks, or one.
    pub asked: usize,
    /// How many of them were denied.
    pub denied: usize,
    /// The first denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denial: Option<DenialLine>,
    /// What plugins said, in the order in which they were asked.
    pub plugins: Vec<RecentWord>,
    /// Why no plugin was heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostReason>,
    /// Which configuration of plugins was asked.
    pub epoch: u64,
    /// From the question to the answer, in microseconds.
    pub us: u64,
}

/// What a plugin said.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecentWord {
    /// Its name.
    pub plugin: String,
    /// What it said of all things together.
    pub said: RecentSaid,
    /// Why it gave no answer; what counted instead is in `said`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// How long it took, in microseconds.
    pub us: u64,
}

/// What a plugin said of all things that it was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecentSaid {
    /// Yes to all.
    Allow,
    /// No to all.
    Deny,
    /// Nothing.
    Abstain,
    /// Of some this, of others that.
    Mixed,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), until_ms: AtomicU64::new(0), kept: Mutex::default() }
    }

    /// Whether somebody looks on.
    pub(crate) fn is_watched(&self) -> bool {
        // Most nodes are looked at by nobody, and need not know what time it is.
        let until_ms = self.until_ms.load(Relaxed);
        until_ms > 0 && self.now_ms() < until_ms
    }

    /// Keeps a decision. Operators who come in are left out unless they are refused: whoever looks on would see themselves looking.
    pub(crate) fn keep(&self, answered: &Answered) {
        let decision = RecentDecision::of(answered.question_line(&[]));
        if decision.door == Some(Door::Admin) && decision.hook == Hook::Auth && decision.denied == 0 {
            return;
        }
        let mut kept = self.lock();
        kept.last += 1;
        let id = kept.last;
        kept.decisions.push_back(RecentDecision { id, ..decision });
        while kept.decisions.len() > MOST {
            kept.decisions.pop_front();
        }
    }

    /// The last decisions, at most so many, of those after `after`: all of them if there is no such decision. From now on, for a while,
    /// further ones are kept.
    pub(crate) fn after(&self, after: Option<u64>, most: usize) -> RecentDecisions {
        self.until_ms.store(self.now_ms() + LOOKS_ON_MS, Relaxed);
        let kept = self.lock();
        // The number is of an earlier run of the node.
        let after = after.filter(|after| *after <= kept.last);
        let newer = kept.decisions.iter().filter(|decision| after.is_none_or(|after| decision.id > after));
        let mut decisions: Vec<_> = newer.rev().take(most).cloned().collect();
        decisions.reverse();
        let missed = after.map_or(0, |after| kept.last - after - decisions.len() as u64);
        RecentDecisions { decisions, next: kept.last, missed }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecentDecision {
    fn of(line: QuestionLine) -> Self {
        let who = line.who.or(line.identity);
        let denials = || {
            line.decisions.iter().filter_map(|decision| match decision {
                VerdictLine::Deny(denial) => Some(denial),
                VerdictLine::Allow(_) | VerdictLine::Abstain => None,
            })
        };
        Self {
            id: 0,
            time_ms: line.asked_ms,
            hook: line.hook,
            room_name: line.room.map(|room| room.name.as_str().to_owned()),
            publisher_id: who.as_ref().and_then(|who| who.participant),
            door: line.door.or(who.as_ref().and_then(|who| who.door)),
            username: who.as_ref().and_then(|who| who.username.clone()),
            subject: who.map(|who| who.subject),
            act: line.command.map(|command| command.name),
            asked: line.decisions.len(),
            denied: denials().count(),
            denial: denials().next().cloned(),
            plugins: line.plugins.into_iter().take(MOST_WORDS).map(RecentWord::of).collect(),
            host: line.host,
            epoch: line.epoch,
            us: line.us,
        }
    }
}

impl RecentWord {
    fn of(line: PluginLine) -> Self {
        let PluginLine { plugin, failed, said, us, .. } = line;
        let each: Vec<_> = said.iter().map(RecentSaid::of).collect();
        let said = match each.split_first() {
            None => RecentSaid::Abstain,
            Some((first, others)) if others.iter().all(|other| other == first) => *first,
            Some(_) => RecentSaid::Mixed,
        };
        Self { plugin, said, failed, us }
    }
}

impl RecentSaid {
    fn of(verdict: &VerdictLine) -> Self {
        match verdict {
            VerdictLine::Allow(_) => Self::Allow,
            VerdictLine::Deny(_) => Self::Deny,
            VerdictLine::Abstain => Self::Abstain,
        }
    }
}

/// Decisions that are kept.
const MOST: usize = 512;
/// Words of plugins that are kept of one: more tracks than fit into one question make more of them than there are plugins.
const MOST_WORDS: usize = 32;
/// How long somebody who has looked is taken to look on, in ms.
const LOOKS_ON_MS: u64 = 15_000;

#[cfg(test)]
mod tests {
    use lockgate_model::policy::AuthQuestion;
    use lockgate_model::{ErrorCode, Secret};

    use super::*;
    use crate::config::PolicyConfig;
    use crate::policy::Policy;

    /// On a busy machine, too, it is the chain that answers.
    fn patient() -> Policy {
        let chain_budget = std::time::Duration::from_secs(10);
        Policy::load(PolicyConfig { chain_budget, ..PolicyConfig::default() }).unwrap()
    }

    fn ask(policy: &Policy, door: Door, times: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for _ in 0..times {
            let peer = std::net::Ipv4Addr::LOCALHOST.into();
            let question = AuthQuestion { token: Secret::new("a secret token"), door, peer, now_ms: 7 };
            let denial = runtime.block_on(policy.authenticate(question)).unwrap_err();
            assert_eq!(denial.code, ErrorCode::UNAUTHENTICATED);
        }
    }

    #[test]
    fn decisions_are_kept_while_somebody_looks_and_say_why() {
        let policy = patient();
        ask(&policy, Door::Ws, 1);
        let before = policy.recent_decisions(None, 10);
        assert_eq!((before.decisions.len(), before.next), (0, 0), "nobody had looked");
        ask(&policy, Door::Ws, 3);
        let seen = policy.recent_decisions(Some(before.next), 2);
        assert_eq!(
            (seen.decisions.iter().map(|one| one.id).collect::<Vec<_>>(), seen.next, seen.missed),
            (vec![2, 3], 3, 1)
        );
        let one = serde_json::to_value(&seen.decisions[0]).unwrap();
        assert_eq!((&one["hook"], &one["door"], &one["timeMs"]), (&"auth".into(), &"ws".into(), &7.into()));
        assert_eq!(
            (&one["asked"], &one["denied"], &one["denial"]["code"]),
            (&1.into(), &1.into(), &"unauthenticated".into())
        );
        assert!(!one.to_string().contains("a secret token"), "{one}");
        let again = policy.recent_decisions(Some(seen.next), 10);
        assert_eq!((again.decisions.len(), again.missed), (0, 0));
        assert_eq!(policy.recent_decisions(Some(1000), 10).decisions.len(), 3, "a number of an earlier run");
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let policy = patient();
        for _ in 0..MOST + 5 {
            policy.recent_decisions(None, 1);
            ask(&policy, Door::Ws, 1);
        }
        let seen = policy.recent_decisions(Some(0), usize::MAX);
        assert_eq!((seen.decisions.len(), seen.missed), (MOST, 5));
    }
}
