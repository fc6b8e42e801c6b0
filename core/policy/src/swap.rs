//! Replacing the plugins of a running host: a new set is made ready beside the one that answers, and then takes its place at once.

use std::mem;
use std::sync::{Arc, PoisonError};

use crate::config::PolicyConfig;
use crate::load;
use crate::load_error::LoadError;
use crate::policy::Policy;
use crate::set::Set;

/// Plugins that are ready to answer in the place of others.
pub struct Candidate {
    set: Set,
}

impl Policy {
    /// Makes other plugins ready: reads, checks and compiles them, and has them check their settings in instances that are thrown away.
    /// Nothing else changes. Those that are as they were are not touched; a file that was compiled before is not compiled again. Takes up
    /// to seconds: call it where nobody waits. `threads` and `queue` stay as they were at the start.
    ///
    /// # Errors
    /// All problems there are, each with a remedy.
    pub fn prepare(&self, config: &PolicyConfig) -> Result<Candidate, Vec<LoadError>> {
        let set = self.inner.ground.set(config, &[&self.live()])?;
        set.chain.warm_up(load::wall_clock_ms());
        Ok(Candidate { set })
    }

    /// Has these plugins answer every question that is put from now on. Those that were put before are answered by the ones before.
    pub fn swap(&self, candidate: Candidate) {
        let Candidate { mut set } = candidate;
        let mut live = self.inner.live.write().unwrap_or_else(PoisonError::into_inner);
        set.policies.epoch = live.policies.epoch + 1;
        let set = Arc::new(set);
        let before = mem::replace(&mut *live, Arc::clone(&set));
        drop(live);
        for plugin in &set.chain.plugins {
            plugin.ledger.limit(&plugin.limits);
        }
        let gone = before.chain.plugins.iter().filter(|old| !set.chain.plugins.iter().any(|new| Arc::ptr_eq(old, new)));
        gone.for_each(|plugin| plugin.guests.retire());
        self.inner.ground.forget_beside(&[&set]);
    }
}
