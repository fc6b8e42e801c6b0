//! Replacing the plugins of a running host: a new set is made ready beside the one that answers, takes its place at once or for a share
//! of the rooms first, and is taken back if it does worse.
//!
//! Time comes in as an argument: somebody calls [`Policy::tend`] every now and then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lockgate_model::RoomName;

use crate::config::{CanaryConfig, PolicyConfig};
use crate::journal::{Line, Policies, SwapLine, SwapOutcome};
use crate::load;
use crate::load_error::LoadError;
use crate::policy::Policy;
use crate::question::of_room;
use crate::set::{FIRST, Set};
use crate::sets::{Other, Role, Sets, Turn};

/// Plugins that are ready to answer in the place of others.
pub struct Candidate {
    set: Set,
    canary: CanaryConfig,
}

/// What came of a change.
#[derive(Clone, Debug)]
pub struct Swap {
    /// Which.
    pub outcome: SwapOutcome,
    /// Who answered before, for all or for those whom it concerns.
    pub from: Policies,
    /// Who answers now.
    pub to: Policies,
    /// What led to it.
    pub why: String,
}

/// Which plugins answer.
#[derive(Clone, Debug)]
pub struct PolicyStatus {
    /// For everybody, but for whom a canary answers.
    pub live: Policies,
    /// The newer ones that answer for a share of the rooms.
    pub canary: Option<CanaryStatus>,
    /// The number of the older ones that answer again if those that answer now fail.
    pub fallback: Option<u64>,
}

/// How a canary does.
#[derive(Clone, Debug)]
pub struct CanaryStatus {
    /// Who it is.
    pub policies: Policies,
    /// The share of rooms that it answers for.
    pub share: f64,
    /// Questions that it has answered.
    pub answers: u64,
    /// How long until it answers for all.
    pub left: Duration,
}

/// What is counted and given out once for all sets of a host. Whoever holds it may change them.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The highest number of a set.
    epoch: u64,
    counts: [u64; SwapOutcome::ALL.len()],
}

impl Default for Changes {
    fn default() -> Self {
        Self { epoch: FIRST, counts: Default::default() }
    }
}

impl Policy {
    /// Makes other plugins ready: reads, checks and compiles them, and has them check their settings in instances that are thrown away.
    /// Nothing else changes. Those that are as they were are not touched; a file that was compiled before is not compiled again. Takes up
    /// to seconds: call it where nobody waits. `threads` and `queue` stay as they were at the start.
    ///
    /// # Errors
    /// All problems there are, each with a remedy. That is counted as a refusal.
    pub fn prepare(&self, config: &PolicyConfig) -> Result<Candidate, Vec<LoadError>> {
        let sets = self.sets();
        let set = self.inner.ground.set(config, &sets.all());
        // What was refused is compiled all the same.
        let in_use: Vec<_> = sets.all().into_iter().chain(&set).collect();
        self.inner.ground.forget_beside(&in_use);
        let set = set.inspect_err(|_| self.refused())?;
        set.chain.warm_up(load::wall_clock_ms());
        Ok(Candidate { set, canary: config.canary.clone() })
    }

    /// Counts a change that was refused before it could be prepared.
    pub fn refused(&self) {
        self.changes().count(SwapOutcome::Refused);
    }

    /// Has these plugins answer every question that is put from now on, or those about a share of the rooms, as their configuration says.
    /// Questions that were put before are answered by whom they were put to. Where nothing differs, nothing changes, but that a canary
    /// ends.
    ///
    /// Other keys count for everybody at once, and are not taken back: one that was taken away may be in the wrong hands.
    pub fn swap(&self, candidate: Candidate, why: &str, now: Instant) -> Swap {
        let Candidate { mut set, canary } = candidate;
        let mut changes = self.changes();
        let before = self.sets();
        let live = before.stable.policies.clone();
        let tried = before.canary().map(|other| other.set.policies.clone());
        if set.is_like(&before.stable) {
            let Some(tried) = tried else {
                return self.tell(&mut changes, SwapOutcome::Unchanged, [&live, &live], why);
            };
            let swap = self.tell(&mut changes, SwapOutcome::Withdrawn, [&tried, &live], why);
            self.put(&before, Sets::of(Arc::clone(&before.stable)));
            return swap;
        }
        let is_tried = |other: &Other| set.is_like(&other.set) && other.canary == canary;
        if let Some(tried) = tried.filter(|_| before.canary().is_some_and(is_tried)) {
            return self.tell(&mut changes, SwapOutcome::Unchanged, [&tried, &tried], why);
        }
        changes.epoch += 1;
        set.policies.epoch = changes.epoch;
        let is_final = canary.hold.is_zero() || !set.has_keys_of(&before.stable);
        let (set, stable) = (Arc::new(set), Arc::clone(&before.stable));
        let (outcome, after) = match (is_final, canary.share > 0.0) {
            (true, _) => (SwapOutcome::Swapped, Sets::of(Arc::clone(&set))),
            (false, false) => {
                // Those that are watched still are not what to go back to.
                let watched = before.other.as_ref().filter(|other| other.role == Role::Previous);
                let proven = watched.map_or(stable, |other| Arc::clone(&other.set));
                (SwapOutcome::Swapped, Sets::beside(Arc::clone(&set), proven, Role::Previous, canary, now))
            }
            (false, true) => (SwapOutcome::Canary, Sets::beside(stable, Arc::clone(&set), Role::Canary, canary, now)),
        };
        let swap = self.tell(&mut changes, outcome, [&live, &set.policies], why);
        self.put(&before, after);
        swap
    }

    /// Looks whether a new set does well: lets a canary answer for all when its time has come, and goes back where one does worse. To be
    /// called every second or so.
    pub fn tend(&self, now: Instant) -> Option<Swap> {
        let mut changes = self.changes();
        let before = self.sets();
        let Other { set: other, role, canary, .. } = before.other.as_ref()?;
        let stable = Arc::clone(&before.stable);
        let (live, theirs) = (&stable.policies, &other.policies);
        let (outcome, told, why, after) = match (before.turn(now)?, role) {
            (Turn::Settled, _) => {
                self.put(&before, Sets::of(stable));
                return None;
            }
            (Turn::On, _) => {
                let why = format!("{} answers were as good as the others", other.tally.counts().answers);
                let after = Sets::beside(Arc::clone(other), Arc::clone(&stable), Role::Previous, canary.clone(), now);
                (SwapOutcome::Promoted, [live, theirs], why, after)
            }
            (Turn::Back(worse), Role::Canary) => {
                (SwapOutcome::RolledBack, [theirs, live], worse.to_string(), Sets::of(Arc::clone(&stable)))
            }
            (Turn::Back(worse), Role::Previous) => {
                (SwapOutcome::RolledBack, [live, theirs], worse.to_string(), Sets::of(Arc::clone(other)))
            }
        };
        let swap = self.tell(&mut changes, outcome, told, &why);
        self.put(&before, after);
        Some(swap)
    }

    /// The number of the set that answers questions about a room.
    pub fn epoch_of(&self, room: &RoomName) -> u64 {
        self.sets().pick(|| Some(of_room(room))).policies.epoch
    }

    /// Which plugins answer at this moment.
    pub fn status(&self, now: Instant) -> PolicyStatus {
        let sets = self.sets();
        let status = |other: &Other| CanaryStatus {
            policies: other.set.policies.clone(),
            share: other.canary.share,
            answers: other.set.tally.counts().answers,
            left: other.canary.hold.saturating_sub(now.saturating_duration_since(other.since)),
        };
        let fallback = sets.other.as_ref().filter(|other| other.role == Role::Previous);
        PolicyStatus {
            live: sets.stable.policies.clone(),
            canary: sets.canary().map(status),
            fallback: fallback.map(|other| other.set.policies.epoch),
        }
    }

    /// How often what came of changes.
    pub(crate) fn swaps(&self) -> Vec<(SwapOutcome, u64)> {
        SwapOutcome::ALL.into_iter().zip(self.changes().counts).collect()
    }

    /// Before anybody is answered otherwise: so the log has the line first.
    fn tell(&self, changes: &mut Changes, outcome: SwapOutcome, [from, to]: [&Policies; 2], why: &str) -> Swap {
        changes.count(outcome);
        let swap = Swap { outcome, from: from.clone(), to: to.clone(), why: why.to_owned() };
        if outcome != SwapOutcome::Unchanged {
            let Swap { outcome, from, to, why } = swap.clone();
            self.journal().note(Line::Swap(Box::new(SwapLine { outcome, why, from, to })));
        }
        swap
    }

    fn put(&self, before: &Sets, after: Sets) {
        let after = Arc::new(after);
        let asked = after.asked();
        for plugin in &asked {
            let versions = asked.iter().filter(|other| Arc::ptr_eq(&other.ledger, &plugin.ledger));
            plugin.ledger.limit_to(versions.map(|version| &version.limits));
        }
        // Only whole sets are ever put there.
        *self.inner.sets.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&after);
        let left = after.plugins();
        // A candidate may share one with a set that has gone since it was prepared.
        left.iter().for_each(|plugin| plugin.guests.resume());
        let gone = before.plugins().into_iter().filter(|old| !left.iter().any(|plugin| Arc::ptr_eq(plugin, old)));
        gone.for_each(|plugin| plugin.guests.retire());
        self.inner.ground.forget_beside(&after.all());
    }

    /// Numbers are added to and nothing else, so a panic in between leaves none half-changed.
    fn changes(&self) -> MutexGuard<'_, Changes> {
        let changes: &Mutex<Changes> = &self.inner.changes;
        changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    fn count(&mut self, outcome: SwapOutcome) {
        self.counts[crate::metrics::place(&SwapOutcome::ALL, outcome)] += 1;
    }
}

#[cfg(test)]
mod tests;
