//! A set: plugins as they answer together, in one order and under one configuration. A node replaces it as a whole.
//!
//! A question keeps the set that it was put to until it is answered. Sets share what is the same in both: plugins that did not change,
//! compiled code, ledgers, threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::policy::Hook;

use crate::cache;
use crate::chain::Chain;
use crate::compiled::Compiled;
use crate::config::{Isolation, KeyRing, PluginConfig, PolicyConfig};
use crate::engine::Runtime;
use crate::journal::{Hash, Policies};
use crate::keys::KeyRings;
use crate::load::Loader;
use crate::load_error::{LoadError, LoadProblem};
use crate::plugin::Plugin;
use crate::shadow::{self, Shadow};
use crate::tally::Tally;

/// Plugins that answer together.
pub(crate) struct Set {
    pub(crate) chain: Chain,
    /// Those whose answers count for nothing.
    pub(crate) shadows: Vec<Shadow>,
    /// For one question, the wait for a thread counted in.
    pub(crate) budget: Duration,
    /// What the decision log says of it; its epoch is its number.
    pub(crate) policies: Policies,
    /// How it does.
    pub(crate) tally: Tally,
    rings: BTreeMap<String, KeyRing>,
    keys: Arc<KeyRings>,
}

impl Set {
    /// All that it has, those in shadow last.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.chain.plugins.iter().chain(self.shadows.iter().flat_map(Shadow::plugins))
    }

    /// A question with less time than this is not put: it could fail without any fault of the plugins.
    pub(crate) fn least(&self, hook: Hook) -> Duration {
        let asked = self.chain.plugins.iter().filter(|plugin| plugin.is_asked(hook));
        asked.map(|plugin| plugin.enough(hook)).max().unwrap_or_default()
    }

    /// Whether there is no question that it answers otherwise, or by other plugins.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let facts = |set: &Self| (set.chain.default_allow, set.budget, set.plugins().count());
        let plugins = || self.plugins().zip(other.plugins());
        facts(self) == facts(other) && self.has_keys_of(other) && plugins().all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// Whether tokens are verified with the same keys.
    pub(crate) fn has_keys_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
    }
}

/// What all sets of a host stand on.
pub(crate) struct Ground {
    runtime: Arc<Runtime>,
    compiled: Compiled,
    /// Threads that ask plugins.
    askers: usize,
    /// Plugins that may keep instances: the engine has room for no more.
    keepers: usize,
}

impl Ground {
    /// For so many threads, and sets like this configuration's.
    ///
    /// # Errors
    /// When the system has no memory or thread for it, or the cache cannot be used.
    pub(crate) fn new(config: &PolicyConfig, askers: usize) -> Result<Self, LoadProblem> {
        let keepers = keepers(config) + SPARE_KEEPERS;
        let cache = config.cache.as_deref().map(cache::open).transpose()?;
        // For each thread: an instance that answers, one that is being made or thrown away, and those that are kept.
        let runtime =
            Runtime::new((askers + shadow::THREADS) * (2 + keepers * SETS), cache).map_err(LoadProblem::Engine)?;
        Ok(Self { runtime: Arc::new(runtime), compiled: Compiled::default(), askers, keepers })
    }

    /// Reads, checks and compiles a set, and has its plugins check their settings. Its number is still to come.
    ///
    /// # Errors
    /// All problems there are, each with a remedy.
    pub(crate) fn set(&self, config: &PolicyConfig, there: &[&Set]) -> Result<Set, Vec<LoadError>> {
        let mut problems = Vec::new();
        if keepers(config) > self.keepers {
            let problem = LoadProblem::Restart("more plugins keep instances than the node has set memory aside for");
            problems.push(LoadError { place: "policy".into(), problem });
        }
        let same = there.iter().find(|set| set.rings == config.key_rings).map(|set| Arc::clone(&set.keys));
        let keys = same.map_or_else(|| KeyRings::load(&config.key_rings).map(Arc::new), Ok).unwrap_or_else(|bad| {
            problems.extend(bad.into_iter().map(bad_ring));
            Arc::default()
        });
        let there: Vec<_> = there.iter().flat_map(|set| set.plugins()).map(Arc::clone).collect();
        let (runtime, compiled, askers) = (&self.runtime, &self.compiled, self.askers);
        let loader = Loader { host: config, runtime, compiled, keys: &keys, askers, there: &there };
        let plugins = loader.plugins().unwrap_or_else(|more| {
            problems.extend(more);
            Vec::new()
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let (shadows, plugins): (Vec<_>, Vec<_>) =
            plugins.into_iter().partition(|plugin| plugin.config.shadow.is_some());
        let problems = strangers(&shadows, &plugins);
        if !problems.is_empty() {
            return Err(problems);
        }
        let chain = |plugins| Chain { runtime: Arc::clone(runtime), plugins, default_allow: config.default_allow };
        let shadows: Vec<_> = shadows.into_iter().map(|one| Shadow::new(chain(vec![one]))).collect();
        let chain = chain(plugins);
        let policies = facts(config, &chain.plugins, &shadows);
        let (budget, rings) = (config.chain_budget, config.key_rings.clone());
        Ok(Set { chain, shadows, budget, policies, tally: Tally::default(), rings, keys })
    }

    /// Forgets compiled code that none of these sets has, but for a little.
    pub(crate) fn forget_beside(&self, sets: &[&Set]) {
        let in_use: Vec<_> = sets.iter().flat_map(|set| set.plugins()).map(|plugin| plugin.sha256).collect();
        self.compiled.forget_beside(&in_use);
    }
}

fn keepers(config: &PolicyConfig) -> usize {
    config.plugins.iter().filter(|plugin| plugin.isolation == Isolation::Reuse).count()
}

/// Those in shadow that are to be held against a plugin that is not asked.
fn strangers(shadows: &[Arc<Plugin>], plugins: &[Arc<Plugin>]) -> Vec<LoadError> {
    let of = |shadow: &Arc<Plugin>| {
        let of = shadow.config.shadow.as_ref().and_then(|shadow| shadow.of.clone())?;
        let place = format!("plugin {:?}", shadow.name);
        let is_there = plugins.iter().any(|plugin| plugin.name == of);
        (!is_there).then_some(LoadError { place, problem: LoadProblem::ShadowOf(of) })
    };
    shadows.iter().filter_map(of).collect()
}

/// What the log says of the plugins.
fn facts(config: &PolicyConfig, plugins: &[Arc<Plugin>], shadows: &[Shadow]) -> Policies {
    let plugins: Vec<_> = plugins.iter().map(|plugin| plugin.facts()).collect();
    let shadows: Vec<_> = shadows.iter().flat_map(Shadow::facts).collect();
    // Neither keys nor the values of settings, which may be passwords: nobody shall try them out on a hash.
    let configured = |plugin: &PluginConfig| {
        let settings: Vec<_> = plugin.settings.keys().collect();
        format!("{settings:?} {:?}", PluginConfig { settings: serde_json::Map::new(), ..plugin.clone() })
    };
    let PolicyConfig { chain_budget, default_allow, .. } = config;
    let configured: Vec<_> = config.plugins.iter().map(configured).collect();
    let all = format!("{configured:?} {chain_budget:?} {default_allow} {plugins:?} {shadows:?}");
    let config = Hash::of(all.as_bytes()).to_string();
    Policies { epoch: FIRST, config, default_allow: Some(*default_allow), plugins, shadows }
}

fn bad_ring((name, problem): (String, String)) -> LoadError {
    LoadError { place: format!("key ring {name:?}"), problem: LoadProblem::Keys(problem) }
}

/// The number of a host's first set.
pub(crate) const FIRST: u64 = 1;
/// Sets that may keep instances at a time: the one that answers, one that is tried or could be gone back to, one that is being loaded.
const SETS: usize = 3;
/// Plugins that may come to keep instances while the node runs.
const SPARE_KEEPERS: usize = 2;
