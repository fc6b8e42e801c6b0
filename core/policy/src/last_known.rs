//! A plugin's last verdicts about who may receive what, for the time in which it fails to give new ones.
//!
//! A verdict stands only for the very facts that it was given for: the same people with the same claims and rights, at the same
//! door and address, in the same room, recorded or not, about the same track as it is published now. So it never lets anybody see what a
//! changed token or role would not. What a plugin keeps in `kv` or reads off a clock is not among the facts.
//! It does not decide when it is wanted: that is the chain's.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_model::policy::{Denial, Grant, Identity, Participant, Publication, SubscribeQuestion, Verdict, Why};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What one plugin said last, of the pairs of viewer and track that it was asked about latest.
#[derive(Debug)]
pub(crate) struct LastKnown {
    stale_max_ms: u64,
    most: usize,
    said: Mutex<Said>,
    lent: Arc<AtomicU64>,
}

/// One question's pairs, as they are found again.
#[derive(Debug)]
pub(crate) struct Asked {
    why: Why,
    now_ms: u64,
    pairs: Vec<Pair>,
}

/// A digest of the facts about a viewer and a track.
type Pair = [u8; 32];

#[derive(Debug, Default)]
struct Said {
    of: HashMap<Pair, Entry>,
    /// The pairs by when they were asked about, the one that is forgotten next first.
    order: BTreeMap<u64, Pair>,
    /// The last place that was given.
    last: u64,
}

#[derive(Debug, Default)]
struct Entry {
    place: u64,
    /// May they know of it?
    announced: Option<Known>,
    /// May they have it?
    asked: Option<Known>,
    fails_since_ms: Option<u64>,
}

#[derive(Clone, Debug)]
struct Known {
    verdict: Verdict,
    /// When it wanted to be asked again.
    due_ms: Option<u64>,
}

impl Asked {
    /// The pairs of a question, or of a part of its publications.
    pub(crate) fn new(question: &SubscribeQuestion, publications: &[Publication]) -> Self {
        let viewer = Sha256::new().chain_update(line(&json!([
            question.room.name,
            question.room.recording,
            facts(&question.who)
        ])));
        // A publisher's tracks come one after the other.
        let mut publisher: Option<(&Participant, String)> = None;
        let mut pairs = Vec::with_capacity(publications.len());
        for Publication { publisher: whose, track } in publications {
            let of = match publisher.take() {
                Some((known, of)) if known == whose => of,
                _ => line(&facts(whose)),
            };
            let track = line(&json!(track));
            pairs.push(viewer.clone().chain_update(&of).chain_update(track).finalize().into());
            publisher = Some((whose, of));
        }
        Self { why: question.why, now_ms: question.now_ms, pairs }
    }
}

impl LastKnown {
    /// Counts in `lent` how many verdicts stood in.
    pub(crate) fn new(stale_max: Duration, lent: Arc<AtomicU64>) -> Self {
        let stale_max_ms = u64::try_from(stale_max.as_millis()).unwrap_or(u64::MAX);
        Self { stale_max_ms, most: MAX_PAIRS, said: Mutex::default(), lent }
    }

    /// The plugin has answered: one verdict for each pair.
    pub(crate) fn keep(&self, asked: &Asked, verdicts: &[Verdict]) {
        let mut said = self.lock();
        for (pair, verdict) in asked.pairs.iter().zip(verdicts) {
            said.entry(*pair).hear(asked, verdict);
            said.forget(self.most);
        }
    }

    /// The plugin has failed: what it said last of each pair, if that still stands.
    pub(crate) fn lend(&self, asked: &Asked) -> Vec<Option<Verdict>> {
        let mut said = self.lock();
        let known = |pair: &Pair| said.of.get_mut(pair)?.lend(asked, self.stale_max_ms);
        let lent: Vec<_> = asked.pairs.iter().map(known).collect();
        drop(said);
        self.lent.fetch_add(u64::try_from(lent.iter().flatten().count()).unwrap_or(u64::MAX), Relaxed);
        lent
    }

    /// A panic while the lock was held leaves a pair without its place in the order at most.
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    /// The pair's entry, now the youngest.
    fn entry(&mut self, pair: Pair) -> &mut Entry {
        // Places begin at 1: a new entry has none yet.
        self.last += 1;
        let place = self.last;
        let entry = self.of.entry(pair).or_default();
        self.order.remove(&entry.place);
        self.order.insert(place, pair);
        entry.place = place;
        entry
    }

    fn forget(&mut self, most: usize) {
        while self.of.len() > most {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.of.remove(&oldest);
        }
    }
}

impl Entry {
    fn hear(&mut self, asked: &Asked, verdict: &Verdict) {
        self.fails_since_ms = None;
        let due_ms = match verdict {
            Verdict::Allow(grant) => grant.reask_after_ms.map(|after| asked.now_ms.saturating_add(after.into())),
            Verdict::Deny(_) | Verdict::Abstain => None,
        };
        let known = fits(verdict).then(|| Known { verdict: verdict.clone(), due_ms });
        let denied = matches!(verdict, Verdict::Deny(_));
        let again = asked.why == Why::Recheck;
        // A no is one to both questions, and so is a new answer to both.
        if denied || asked.why == Why::Announce || again && self.announced.is_some() {
            self.announced.clone_from(&known);
        }
        if denied || matches!(asked.why, Why::Request | Why::Auto) || again && self.asked.is_some() {
            self.asked = known;
        }
    }

    /// A question that is put again is not answered: whoever put it keeps what there is, for as long as the operator allows.
    fn lend(&mut self, asked: &Asked, stale_max_ms: u64) -> Option<Verdict> {
        let now_ms = asked.now_ms;
        let since = *self.fails_since_ms.get_or_insert(now_ms);
        let known = match asked.why {
            Why::Announce => self.announced.as_ref(),
            Why::Request | Why::Auto => self.asked.as_ref(),
            Why::Recheck => None,
        }?;
        let stale_at = known.due_ms.map_or(since, |due| due.min(since)).saturating_add(stale_max_ms);
        if now_ms >= stale_at {
            return None;
        }
        lent(&known.verdict, now_ms)
    }
}

/// A verdict that stands in is asked about again soon: it ends with the failure.
fn lent(verdict: &Verdict, now_ms: u64) -> Option<Verdict> {
    Some(match verdict {
        Verdict::Allow(grant) if grant.expires_at_ms.is_some_and(|end| end <= now_ms) => return None,
        Verdict::Allow(grant) => {
            let reask_after_ms = Some(grant.reask_after_ms.map_or(AGAIN_MS, |own| own.min(AGAIN_MS)));
            Verdict::Allow(Grant { reask_after_ms, ..grant.clone() })
        }
        Verdict::Deny(denial) => {
            let soon = u64::from(AGAIN_MS);
            let retry_after_ms = Some(denial.retry_after_ms.map_or(soon, |own| own.min(soon)));
            Verdict::Deny(Denial { retry_after_ms, ..denial.clone() })
        }
        Verdict::Abstain => Verdict::Abstain,
    })
}

/// All that a policy may go by, but when it ends and is asked again: a renewed token is the same person's.
fn facts(who: &Participant) -> Value {
    let grant = Grant { expires_at_ms: None, reask_after_ms: None, ..who.identity.grant.clone() };
    let identity = Identity { expires_at_ms: None, grant, ..who.identity.clone() };
    json!([identity, who.door, who.peer])
}

/// Facts as a line of their own, so that no two different lists of facts are the same text.
fn line(facts: &Value) -> String {
    format!("{facts}\n")
}

/// A verdict that is too big to be kept by the thousand is not known later.
fn fits(verdict: &Verdict) -> bool {
    let Verdict::Allow(grant) = verdict else { return true };
    let attributes = grant.attributes.iter().map(|one| one.key.len() + one.value.len() + 64);
    let rooms = grant.rooms.iter().flatten().map(|room| room.len() + 64);
    attributes.chain(rooms).sum::<usize>() <= MAX_BYTES
}

/// Pairs of viewer and track that are remembered for one plugin: some 20 MB.
const MAX_PAIRS: usize = 32_768;
/// Of texts in one verdict.
const MAX_BYTES: usize = 512;
/// After so long what stands in is asked about again.
const AGAIN_MS: u32 = 1000;

#[cfg(test)]
mod tests;
