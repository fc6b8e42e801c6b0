//! Refusals that somebody can bring about without end: the first one is told in full, those after it only as a number.
//!
//! Whoever knocks at the doors again and again would else make the files of the log turn over, until what was before is deleted.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use lockgate_model::network;
use lockgate_model::policy::Door;

use super::line::{Line, Omit};
use super::queue::Entry;
use crate::question::{Answer, Question};

/// The refusals of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Folds {
    /// How often each came again, and since when; bounded.
    again: HashMap<Kind, Again>,
    /// In the order in which their time is over.
    order: VecDeque<Kind>,
}

/// What counts as the same refusal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    of: String,
    /// None: of all those that there is no place for.
    whose: Option<Whose>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    /// Somebody from this network, at a door, with such a refusal.
    Stranger { from: IpAddr, door: Door, code: String },
    /// Somebody whose token was accepted.
    Known { subject: String, code: String },
}

#[derive(Debug)]
struct Again {
    since_ms: u64,
    times: u64,
}

impl Folds {
    /// Whether it is to be told in full; if not, it is counted.
    pub(super) fn tells(&mut self, entry: &Entry, now_ms: u64) -> bool {
        let Some(mut kind) = Kind::of(entry) else { return true };
        let is_new = !self.again.contains_key(&kind);
        if is_new && self.again.len() >= MOST {
            kind.whose = None;
        }
        if let Some(again) = self.again.get_mut(&kind) {
            again.times += 1;
            return false;
        }
        // There is no place: not even the first one is told.
        let times = u64::from(kind.whose.is_none());
        self.again.insert(kind.clone(), Again { since_ms: now_ms, times });
        self.order.push_back(kind);
        times == 0
    }

    /// What came again in the minutes that are over: they begin anew.
    pub(super) fn over(&mut self, now_ms: u64, omit: &[Omit]) -> Vec<Line> {
        let mut lines = Vec::new();
        while self.is_over(now_ms) {
            lines.extend(self.take(omit));
        }
        lines
    }

    /// All of it.
    pub(super) fn all(&mut self, omit: &[Omit]) -> Vec<Line> {
        let mut lines = Vec::new();
        while !self.order.is_empty() {
            lines.extend(self.take(omit));
        }
        lines
    }

    /// When something is over next, in ms since 1970.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let next = self.again.get(self.order.front()?)?;
        Some(next.since_ms.saturating_add(FOR_MS))
    }

    /// Whether the oldest is. The clock may have been set back: then it began in the future.
    fn is_over(&self, now_ms: u64) -> bool {
        let oldest = self.order.front().and_then(|oldest| self.again.get(oldest));
        oldest.is_some_and(|oldest| !(oldest.since_ms..oldest.since_ms.saturating_add(FOR_MS)).contains(&now_ms))
    }

    fn take(&mut self, omit: &[Omit]) -> Option<Line> {
        let kind = self.order.pop_front()?;
        let again = self.again.remove(&kind)?;
        (again.times > 0).then(|| kind.line(&again, omit))
    }
}

impl Kind {
    fn of(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Answered(answered) => {
                let (Question::Auth(question), Answer::Identity(Err(denial))) = (&*answered.question, &answered.answer)
                else {
                    return None;
                };
                let (from, code) = (network(question.peer), denial.code.as_str().to_owned());
                let whose = Whose::Stranger { from, door: question.door, code };
                Some(Self { of: "auth".into(), whose: Some(whose) })
            }
            Entry::Line(line) => match &**line {
                // Who is in a room has a bound there.
                Line::Refused { participant: None, subject: Some(subject), of, denial, .. } => {
                    let whose = Whose::Known { subject: subject.clone(), code: denial.code.clone() };
                    Some(Self { of: of.clone(), whose: Some(whose) })
                }
                _ => None,
            },
        }
    }

    fn line(self, again: &Again, omit: &[Omit]) -> Line {
        let (mut peer, mut at, mut who, mut why) = (None, None, None, None);
        match self.whose {
            Some(Whose::Stranger { from, door, code }) => {
                let shown = if from.is_ipv6() { format!("{from}/64") } else { from.to_string() };
                peer = (!omit.contains(&Omit::Peer)).then_some(shown);
                (at, why) = (Some(door), Some(code));
            }
            Some(Whose::Known { subject, code }) => (who, why) = (Some(subject), Some(code)),
            None => {}
        }
        let Again { since_ms, times } = *again;
        Line::Repeated { of: self.of, door: at, peer, subject: who, code: why, times, since_ms }
    }
}

/// Kinds of refusals that are told apart at a time.
const MOST: usize = 256;
/// How long refusals of one kind are counted before the next one is told in full, in ms.
const FOR_MS: u64 = 5 * 60 * 1000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lockgate_model::policy::{AuthQuestion, Denial};
    use lockgate_model::{ErrorCode, Secret};
    use serde_json::{Value, json};

    use super::*;
    use crate::journal::{Answered, DenialLine};

    fn knock(peer: &str, code: ErrorCode) -> Entry {
        let (token, peer) = (Secret::new("no"), peer.parse().unwrap());
        let question = Question::Auth(AuthQuestion { token, door: Door::Ws, peer, now_ms: 0 });
        let answer = Answer::Identity(Err(Denial::new(code, "no")));
        let (question, took) = (Arc::new(question), Duration::ZERO);
        Entry::Answered(Arc::new(Answered { question, words: Vec::new(), host: None, answer, epoch: 1, took }))
    }

    fn refused(subject: &str) -> Entry {
        let denial = DenialLine::of(&Denial::new(ErrorCode::FORBIDDEN, "no"));
        let (of, subject) = ("admin".into(), Some(subject.into()));
        Entry::Line(Box::new(Line::Refused { room: None, participant: None, subject, of, denial }))
    }

    fn json(lines: Vec<Line>) -> Vec<Value> {
        lines.into_iter().map(|line| serde_json::to_value(line).unwrap()).collect()
    }

    #[test]
    fn who_knocks_without_end_is_told_once_and_counted() {
        let mut folds = Folds::default();
        let told: Vec<_> =
            (0..1000).filter(|n| folds.tells(&knock("2001:db8::1", ErrorCode::UNAUTHENTICATED), *n)).collect();
        assert_eq!(told, [0]);
        // The same network, with another address; another refusal, and another network.
        assert!(!folds.tells(&knock("2001:db8::ffff", ErrorCode::UNAUTHENTICATED), 1000));
        assert!(folds.tells(&knock("2001:db8::1", ErrorCode::POLICY_UNAVAILABLE), 1000));
        assert!(folds.tells(&knock("2001:db8:0:1::1", ErrorCode::UNAUTHENTICATED), 1000));
        assert_eq!((folds.over(FOR_MS - 1, &[]).len(), folds.next_ms()), (0, Some(FOR_MS)));
        let line = json!({"kind": "repeated", "of": "auth", "door": "ws", "peer": "2001:db8::/64",
            "code": "unauthenticated", "times": 1000, "sinceMs": 0});
        assert_eq!(json(folds.over(FOR_MS, &[])), [line]);
        assert!(folds.tells(&knock("2001:db8::1", ErrorCode::UNAUTHENTICATED), FOR_MS), "it begins anew");
        assert_eq!(json(folds.all(&[])), [Value::Null; 0], "nothing came again");
    }

    #[test]
    fn who_is_known_is_counted_by_name_and_addresses_are_left_out_on_demand() {
        let mut folds = Folds::default();
        assert!(folds.tells(&refused("7"), 0) && folds.tells(&refused("8"), 0) && !folds.tells(&refused("7"), 0));
        let unknown = || knock("192.0.2.1", ErrorCode::UNAUTHENTICATED);
        assert!(folds.tells(&unknown(), 1) && !folds.tells(&unknown(), 1));
        let [known, stranger] = &json(folds.all(&[Omit::Peer]))[..] else { panic!("two kinds came again") };
        assert_eq!((&known["subject"], &known["of"], &known["times"]), (&json!("7"), &json!("admin"), &json!(1)));
        assert_eq!((stranger.get("peer"), &stranger["door"]), (None, &json!("ws")));
    }

    #[test]
    fn there_is_a_bound_whoever_knocks() {
        let mut folds = Folds::default();
        let from = |n: usize| knock(&format!("10.0.{}.{}", n / 256, n % 256), ErrorCode::UNAUTHENTICATED);
        let told = (0..5000).filter(|n| folds.tells(&from(*n), 0)).count();
        assert_eq!((told, folds.again.len(), folds.order.len()), (MOST, MOST + 1, MOST + 1));
        let lines = json(folds.over(FOR_MS, &[]));
        assert_eq!(lines, [json!({"kind": "repeated", "of": "auth", "times": 5000 - MOST, "sinceMs": 0})]);
    }

    #[test]
    fn what_is_allowed_or_asked_in_a_room_is_always_told() {
        let mut folds = Folds::default();
        let denial = || DenialLine::of(&Denial::new(ErrorCode::FORBIDDEN, "no"));
        let inside =
            || Line::Refused { room: None, participant: Some(1), subject: None, of: "chat".into(), denial: denial() };
        assert!((0..3).all(|_| folds.tells(&Entry::Line(Box::new(inside())), 0)));
        assert!((0..3).all(|_| folds.tells(&Entry::Line(Box::new(Line::End {})), 0)));
    }
}
