//! A decision that stands: until it ends, is asked about again, or is taken back.
//!
//! A first question that fails denies. One that is put again and fails changes nothing at first: the grant goes on until it ends by
//! itself, or for as long as the operator lets a stale one stand. Knows no clock and asks nobody: times come in, and are values.

use lockgate_model::ErrorCode;
use lockgate_model::policy::{Decision, Denial, Grant};

use crate::pending::Ticket;

/// What policy said last about one thing.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    decision: Decision,
    /// The question that it answers: older ones, answered late, change nothing.
    ticket: Ticket,
    /// When the grant ends, in ms since 1970.
    ends_ms: Option<u64>,
    /// When the question is to be put again. None: it is being asked, or needs not be.
    due_ms: Option<u64>,
    failing: Option<Failing>,
}

/// Questions, one after the other, that had no answer so far: since when, and how many of them failed.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since_ms: u64,
    times: u32,
}

/// When an answer came, to what, and what is to be made of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) now_ms: u64,
    pub(crate) ticket: Ticket,
    /// How long a grant stands that nobody can be asked about again.
    pub(crate) stale_max_ms: u64,
    /// Sets those apart that would be asked about at the same time: 0 … 255.
    pub(crate) spread: u8,
}

impl Standing {
    /// The first answer.
    pub(crate) fn first(heard: Heard, decision: Decision) -> Self {
        let Heard { now_ms, ticket, spread, .. } = heard;
        let mut standing = Self { decision, ticket, ends_ms: None, due_ms: None, failing: None };
        match &standing.decision {
            Ok(grant) => {
                standing.ends_ms = grant.expires_at_ms;
                let interval = grant.reask_after_ms.map(|interval| u64::from(interval).max(LEAST_INTERVAL_MS));
                standing.due_ms = interval.map(|interval| now_ms.saturating_add(earlier(interval, spread)));
            }
            Err(denial) if is_failure(denial) => standing.failed(heard),
            Err(denial) => {
                let after = denial.retry_after_ms.map(|after| after.max(LEAST_RETRY_MS));
                standing.due_ms = after.map(|after| now_ms.saturating_add(after));
            }
        }
        // An answer may have taken longer than what it grants.
        standing.end(now_ms);
        standing
    }

    /// What stands without a question.
    pub(crate) fn unasked(grant: Grant) -> Self {
        Self { decision: Ok(grant), ticket: Ticket(0), ends_ms: None, due_ms: None, failing: None }
    }

    /// What is taken back, whatever is being asked: `ticket` is the next question's.
    pub(crate) fn revoked(denial: Denial, ticket: Ticket) -> Self {
        Self { decision: Err(denial), ticket, ends_ms: None, due_ms: None, failing: None }
    }

    /// A later answer.
    pub(crate) fn hear(&mut self, heard: Heard, decision: Decision) {
        if heard.ticket < self.ticket {
            return;
        }
        if !decision.as_ref().is_err_and(is_failure) {
            *self = Self::first(heard, decision);
            return;
        }
        self.ticket = heard.ticket;
        self.failed(heard);
        if self.decision.is_err() {
            self.decision = decision;
        }
        self.end(heard.now_ms);
    }

    /// The question is to be put again as soon as may be.
    pub(crate) fn make_due(&mut self, now_ms: u64) {
        self.due_ms = Some(now_ms);
    }

    /// The question is put again. Until it is answered, the grant does not stand longer than a stale one may.
    pub(crate) fn ask(&mut self, now_ms: u64, stale_max_ms: u64) {
        self.due_ms = None;
        self.failing.get_or_insert(Failing { since_ms: now_ms, times: 0 });
        self.bound(stale_max_ms.max(LEAST_PATIENCE_MS));
    }

    /// Ends what is over by now. Returns why, the first time.
    pub(crate) fn end(&mut self, now_ms: u64) -> Option<Denial> {
        let Ok(grant) = &self.decision else { return None };
        self.ends_ms.filter(|ends| *ends <= now_ms)?;
        let denial = if grant.expires_at_ms.is_some_and(|ends| ends <= now_ms) {
            self.due_ms = None;
            Denial::new(ErrorCode::FORBIDDEN, ENDED)
        } else {
            Denial::new(ErrorCode::POLICY_UNAVAILABLE, STALE)
        };
        self.decision = Err(denial.clone());
        self.ends_ms = None;
        Some(denial)
    }

    /// What it says.
    pub(crate) fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Whether it says something about what there is since then: the question was not put before that.
    pub(crate) fn is_about(&self, since: Ticket) -> bool {
        self.ticket >= since
    }

    /// What it grants; nothing is less than that.
    pub(crate) fn grant(&self) -> Option<&Grant> {
        self.decision.as_ref().ok()
    }

    /// Whether the question is to be put again by then.
    pub(crate) fn is_due(&self, by_ms: u64) -> bool {
        self.due_ms.is_some_and(|due| due <= by_ms)
    }

    /// When what it grants ends.
    pub(crate) fn ends_ms(&self) -> Option<u64> {
        self.ends_ms
    }

    /// When there is something to do.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.ends_ms.into_iter().chain(self.due_ms).min()
    }

    /// Nobody could say: a grant stands on for a while, and the question is put again, less and less often.
    fn failed(&mut self, heard: Heard) {
        let Heard { now_ms, stale_max_ms, spread, .. } = heard;
        let failing = self.failing.get_or_insert(Failing { since_ms: now_ms, times: 0 });
        let wait = (LEAST_RETRY_MS << failing.times.min(5)).min(LONGEST_RETRY_MS);
        failing.times += 1;
        self.due_ms = Some(now_ms.saturating_add(earlier(wait, spread)));
        self.bound(stale_max_ms);
    }

    /// A grant about which there is no answer ends after so long, or by itself before that.
    fn bound(&mut self, stale_ms: u64) {
        let (Ok(grant), Some(failing)) = (&self.decision, self.failing) else { return };
        let stale = failing.since_ms.saturating_add(stale_ms);
        self.ends_ms = Some(grant.expires_at_ms.map_or(stale, |ends| ends.min(stale)));
    }
}

/// Whether an answer says that there is none.
pub(crate) fn is_failure(denial: &Denial) -> bool {
    [ErrorCode::POLICY_UNAVAILABLE, ErrorCode::OVERLOADED].contains(&denial.code)
}

/// Up to an eighth earlier, so that what was granted together is not asked about together.
fn earlier(interval_ms: u64, spread: u8) -> u64 {
    interval_ms - (interval_ms / 8).saturating_mul(spread.into()) / 256
}

/// Why a grant is over that had an end.
pub(crate) const ENDED: &str = "your grant has ended";
/// Why a grant is over that had none, or a later one.
pub(crate) const STALE: &str = "policy could not be asked again in time";
/// Questions are not put again more often, whatever a plugin says.
const LEAST_INTERVAL_MS: u64 = 250;
/// How soon a question that failed is put again for the first time.
const LEAST_RETRY_MS: u64 = 1000;
/// And how late at most.
const LONGEST_RETRY_MS: u64 = 15_000;
/// An answer may take so long, however short a stale grant may stand. Questions that policy has are answered sooner.
const LEAST_PATIENCE_MS: u64 = 15_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(now_ms: u64, ticket: u64) -> Heard {
        Heard { now_ms, ticket: Ticket(ticket), stale_max_ms: 60_000, spread: 0 }
    }

    fn yes(ends: Option<u64>, again: Option<u32>) -> Decision {
        Ok(Grant { expires_at_ms: ends, reask_after_ms: again, ..Grant::default() })
    }

    fn unavailable() -> Decision {
        Err(Denial::new(ErrorCode::POLICY_UNAVAILABLE, "trapped"))
    }

    #[test]
    fn a_grant_with_an_end_ends_then_and_says_so_once() {
        let mut standing = Standing::first(at(1000, 1), yes(Some(5000), None));
        assert_eq!((standing.next_ms(), standing.end(4999)), (Some(5000), None));
        assert_eq!(standing.end(5000).unwrap().code, ErrorCode::FORBIDDEN);
        assert_eq!((standing.end(5001), standing.next_ms()), (None, None));
        assert!(Standing::first(at(5000, 1), yes(Some(5000), None)).grant().is_none(), "it came too late");
    }

    #[test]
    fn a_question_that_fails_again_and_again_is_put_ever_less_often_until_the_grant_is_stale() {
        let mut standing = Standing::first(at(0, 1), yes(None, Some(10_000)));
        let (mut now, mut asked) = (0, Vec::new());
        while standing.grant().is_some() {
            now = standing.next_ms().unwrap();
            if standing.end(now).is_none() {
                standing.ask(now, 60_000);
                asked.push(now);
                standing.hear(at(now, 2), unavailable());
            }
        }
        assert_eq!(asked, [10_000, 11_000, 13_000, 17_000, 25_000, 40_000, 55_000]);
        assert_eq!((now, &standing.decision().as_ref().unwrap_err().code), (70_000, &ErrorCode::POLICY_UNAVAILABLE));
        assert!(standing.is_due(70_000), "it is still asked about, and may come back");
    }

    #[test]
    fn an_answer_in_time_makes_a_failing_grant_good_again() {
        let mut standing = Standing::first(at(0, 1), yes(None, Some(10_000)));
        standing.hear(at(10_000, 2), unavailable());
        standing.hear(at(11_000, 3), yes(None, Some(10_000)));
        assert_eq!((standing.end(70_000), standing.next_ms()), (None, Some(21_000)));
    }

    #[test]
    fn a_grant_that_ends_before_it_is_stale_ends_as_one_that_ended() {
        let mut standing = Standing::first(at(0, 1), yes(Some(12_000), Some(10_000)));
        standing.hear(at(10_000, 2), unavailable());
        assert_eq!(standing.end(12_000).unwrap().code, ErrorCode::FORBIDDEN);
        assert_eq!(standing.next_ms(), None);
    }

    #[test]
    fn an_older_question_that_is_answered_late_changes_nothing() {
        let mut standing = Standing::revoked(Denial::new(ErrorCode::FORBIDDEN, "out"), Ticket(5));
        standing.hear(at(1, 4), yes(None, None));
        assert!(standing.grant().is_none());
        standing.hear(at(1, 5), yes(None, None));
        assert!(standing.grant().is_some());
    }

    #[test]
    fn a_denial_that_says_when_is_asked_about_then_and_one_that_does_not_is_final() {
        let no = |after| Err(Denial { retry_after_ms: after, ..Denial::new(ErrorCode::FORBIDDEN, "no") });
        assert_eq!(Standing::first(at(0, 1), no(Some(30_000))).next_ms(), Some(30_000));
        assert_eq!(Standing::first(at(0, 1), no(Some(0))).next_ms(), Some(LEAST_RETRY_MS));
        assert_eq!(Standing::first(at(0, 1), no(None)).next_ms(), None);
        assert_eq!(Standing::first(at(0, 1), unavailable()).next_ms(), Some(LEAST_RETRY_MS));
    }

    #[test]
    fn a_question_without_an_answer_has_time_even_where_no_stale_grant_may_stand() {
        let strict = |now_ms, ticket| Heard { stale_max_ms: 0, ..at(now_ms, ticket) };
        let mut standing = Standing::first(strict(0, 1), yes(None, Some(10_000)));
        standing.ask(10_000, 0);
        assert_eq!((standing.end(10_000), standing.next_ms()), (None, Some(25_000)));
        standing.hear(strict(10_100, 2), yes(None, None));
        assert_eq!(standing.next_ms(), None);
        standing.ask(20_000, 0);
        standing.hear(strict(20_100, 3), unavailable());
        assert!(standing.grant().is_none(), "one that fails is an answer");
    }

    fn decisions() -> impl Strategy<Value = Decision> {
        let times = (proptest::option::of(0..200_000u64), proptest::option::of(0..100_000u32));
        prop_oneof![
            3 => times.prop_map(|(ends, again)| yes(ends, again)),
            2 => Just(unavailable()),
            1 => Just(Err(Denial::new(ErrorCode::FORBIDDEN, "no"))),
        ]
    }

    proptest! {
        /// Whatever is answered, or not: nothing stands beyond its end, nor longer without an answer than a stale one may.
        #[test]
        fn nothing_outlives_its_end(
            answers in prop::collection::vec((1..40_000u64, proptest::option::weighted(0.7, decisions())), 1..20),
            spread in any::<u8>(),
        ) {
            let heard = |now_ms, ticket| Heard { spread, ..at(now_ms, ticket) };
            let (mut now, mut told_ms, mut ends, mut asked_ms) = (0, 0, None, None);
            let mut standing: Option<Standing> = None;
            for (ticket, (pause, decision)) in answers.into_iter().enumerate() {
                now += pause;
                standing.iter_mut().for_each(|standing| drop(standing.end(now)));
                if let Some(standing) = &mut standing {
                    standing.ask(now, 60_000);
                    asked_ms.get_or_insert(now);
                }
                if let Some(Ok(grant)) = &decision {
                    (told_ms, ends, asked_ms) = (now, grant.expires_at_ms, None);
                }
                match (&mut standing, decision) {
                    (Some(standing), Some(decision)) => standing.hear(heard(now, ticket as u64), decision),
                    (none @ None, Some(decision)) => *none = Some(Standing::first(heard(now, ticket as u64), decision)),
                    (_, None) => {}
                }
                let Some(standing) = &standing else { continue };
                if standing.grant().is_some() {
                    prop_assert!(ends.is_none_or(|ends| ends > now));
                    prop_assert!(standing.failing.is_none_or(|failing| now < failing.since_ms + 60_000 && failing.since_ms >= told_ms));
                    prop_assert!(standing.failing.is_none() || standing.next_ms().is_some());
                    prop_assert!(asked_ms.is_none_or(|asked| now < asked + 60_000));
                }
            }
        }
    }
}
