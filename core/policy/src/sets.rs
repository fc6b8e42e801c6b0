//! Which set answers: one for all, or a new one for a share of the rooms; and whether the new one stays.
//!
//! What is here are values: whoever replaces them, tells of it and counts it is `swap`.

use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::chain::first_u64;
use crate::config::CanaryConfig;
use crate::plugin::Plugin;
use crate::set::Set;
use crate::tally::{Counts, Worse, fails_more, is_proven, is_worse};

/// The sets that there are at a time.
#[derive(Clone)]
pub(crate) struct Sets {
    /// For everybody, but for whom a canary answers.
    pub(crate) stable: Arc<Set>,
    pub(crate) other: Option<Other>,
}

/// A set beside the one for everybody.
#[derive(Clone)]
pub(crate) struct Other {
    pub(crate) set: Arc<Set>,
    pub(crate) role: Role,
    /// How the newer one of the two is judged, and since when.
    pub(crate) canary: CanaryConfig,
    pub(crate) since: Instant,
    /// What the stable set had counted then.
    stable_then: Counts,
}

/// What the other set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Newer: it answers for a share of the rooms.
    Canary,
    /// Older: it answers again if the newer one fails.
    Previous,
}

/// What time brought.
pub(crate) enum Turn {
    /// The new set does worse: the old one answers again.
    Back(Worse),
    /// The canary has done well: it answers for all.
    On,
    /// The new set has done well: the old one is not needed any more.
    Settled,
}

impl Sets {
    /// One that answers for all.
    pub(crate) fn of(stable: Arc<Set>) -> Self {
        Self { stable, other: None }
    }

    /// The same with another one beside it.
    pub(crate) fn beside(stable: Arc<Set>, set: Arc<Set>, role: Role, canary: CanaryConfig, now: Instant) -> Self {
        let stable_then = stable.tally.counts();
        Self { stable, other: Some(Other { set, role, canary, since: now, stable_then }) }
    }

    /// Who answers questions of this subject; none: those of operators.
    pub(crate) fn pick(&self, subject: impl FnOnce() -> Option<[Vec<u8>; 2]>) -> &Arc<Set> {
        if let Some(other) = self.canary()
            && subject().is_some_and(|subject| is_chosen(&subject, other))
        {
            return &other.set;
        }
        &self.stable
    }

    pub(crate) fn canary(&self) -> Option<&Other> {
        self.other.as_ref().filter(|other| other.role == Role::Canary)
    }

    /// The plugins of those that answer: a set that is only kept to go back to does not.
    pub(crate) fn asked(&self) -> Vec<&Arc<Plugin>> {
        self.stable.plugins().chain(self.canary().into_iter().flat_map(|other| other.set.plugins())).collect()
    }

    /// All of them, the stable one first.
    pub(crate) fn all(&self) -> Vec<&Set> {
        let other = self.other.as_ref().map(|other| &*other.set);
        [&*self.stable].into_iter().chain(other).collect()
    }

    /// Each plugin of all of them once.
    pub(crate) fn plugins(&self) -> Vec<&Arc<Plugin>> {
        let mut plugins: Vec<&Arc<Plugin>> = self.stable.plugins().collect();
        for plugin in self.other.iter().flat_map(|other| other.set.plugins()) {
            if !plugins.iter().any(|known| Arc::ptr_eq(known, plugin)) {
                plugins.push(plugin);
            }
        }
        plugins
    }

    /// What is to be done at this time; none: nothing.
    pub(crate) fn turn(&self, now: Instant) -> Option<Turn> {
        let Other { set, role, canary, since, stable_then } = self.other.as_ref()?;
        let is_over = now.saturating_duration_since(*since) >= canary.hold;
        match role {
            Role::Canary => {
                let (new, old) = (set.tally.counts(), self.stable.tally.counts().since(stable_then));
                let worse = is_worse(canary, &new, &old);
                worse.map(Turn::Back).or_else(|| (is_over && is_proven(canary, &new, &old)).then_some(Turn::On))
            }
            Role::Previous => {
                let new = self.stable.tally.counts().since(stable_then);
                let worse = fails_more(canary, &new, &set.tally.counts());
                worse.map(Turn::Back).or_else(|| is_over.then_some(Turn::Settled))
            }
        }
    }
}

/// Whether a canary answers for this subject. Which ones it answers for is another matter for each canary, so that not always the same
/// rooms go first.
fn is_chosen(subject: &[Vec<u8>; 2], canary: &Other) -> bool {
    let mut hash = Sha256::new().chain_update(canary.set.policies.epoch.to_be_bytes());
    for part in subject {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let number = first_u64(&hash.finalize());
    // 2^64 has no u64: the largest one is as near as a share can be told.
    (number as f64) < canary.canary.share * u64::MAX as f64 || canary.canary.share >= 1.0
}
