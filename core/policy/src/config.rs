//! What the shell tells the host: which plugins, in which order, with which rights, limits and keys.
//!
//! Plain structs: reading `config.toml` is the shell's duty. Nothing here shows a secret when it is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lockgate_model::policy::Hook;

/// Everything the host needs.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    /// The plugins, in the order in which they are asked.
    pub plugins: Vec<PluginConfig>,
    /// The keys that tokens are verified with, by the name plugins know them by.
    pub key_rings: BTreeMap<String, KeyRing>,
    /// Longest time for one question through the whole chain, the wait for a thread counted in.
    pub chain_budget: Duration,
    /// The answer when all plugins abstain; authentication then always fails, and commands are then for admins only.
    pub default_allow: bool,
    /// Threads that run plugins, 1–16.
    pub threads: usize,
    /// Questions that may wait for a thread; more are denied with `overloaded`.
    pub queue: usize,
    /// How long a plugin's last verdict stands in for one that it fails to give, where a plugin is configured so.
    pub stale_max: Duration,
    /// Public Ed25519 keys in PEM, one of which must have signed each plugin's file; none: files need no signature.
    pub trusted_keys: Vec<PathBuf>,
    /// How these plugins take the place of others in a running host.
    pub canary: CanaryConfig,
    /// The folder in which machine code is kept that was made of plugins; none: each start compiles them anew.
    pub cache: Option<PathBuf>,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            plugins: Vec::new(),
            key_rings: BTreeMap::new(),
            chain_budget: Duration::from_millis(250),
            default_allow: false,
            threads: 2,
            queue: 1024,
            stale_max: Duration::from_secs(60),
            trusted_keys: Vec::new(),
            canary: CanaryConfig::default(),
            cache: None,
        }
    }
}

/// How other plugins come to answer in a running host, and when they are taken back by themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryConfig {
    /// The share of rooms that they answer for at first, 0–1; 0: they answer for all at once.
    pub share: f64,
    /// How long that is, and how long they are watched when they answer for all; zero: not at all.
    pub hold: Duration,
    /// Answers without which nothing is judged.
    pub min_answers: u64,
    /// The share of questions at which plugins may fail beyond what it was before, 0–1.
    pub max_failure_rise: f64,
    /// The share that may be denied beyond what the plugins before deny meanwhile, 0–1. Judged only while both answer.
    pub max_denial_rise: f64,
    /// How many times as long all but a hundredth of the answers may take, at least 1. Judged only while both answer.
    pub max_latency_ratio: f64,
}

impl Default for CanaryConfig {
    fn default() -> Self {
        Self {
            share: 0.0,
            hold: Duration::from_secs(60),
            min_answers: 20,
            max_failure_rise: 0.05,
            max_denial_rise: 0.2,
            max_latency_ratio: 2.0,
        }
    }
}

/// One plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConfig {
    /// Its name: 1–64 characters of `a–z 0–9 -`, unique in the chain.
    pub name: String,
    /// The component.
    pub file: PathBuf,
    /// Which of its hooks are asked; none: all that it exports.
    pub hooks: Option<BTreeSet<Hook>>,
    /// What it may import.
    pub grants: BTreeSet<Capability>,
    /// Its settings, which it checks itself.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Whether its instances are kept.
    pub isolation: Isolation,
    /// Whether it is asked beside the others, and its answers count for nothing; none: they count.
    pub shadow: Option<ShadowConfig>,
    /// What it may use up.
    pub limits: Limits,
    /// What its failures mean.
    pub on_failure: FailureModes,
    /// When it is not asked any more, since it keeps failing.
    pub breaker: BreakerConfig,
    /// The SHA-256 of the file in hexadecimal; none: any file.
    pub sha256: Option<String>,
}

impl PluginConfig {
    /// A plugin without rights and settings, fail-closed, with the default limits.
    pub fn new(name: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            file: file.into(),
            hooks: None,
            grants: BTreeSet::new(),
            settings: serde_json::Map::new(),
            isolation: Isolation::Fresh,
            shadow: None,
            limits: Limits::default(),
            on_failure: FailureModes::default(),
            breaker: BreakerConfig::default(),
            sha256: None,
        }
    }
}

/// How a plugin is asked that is only tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShadowConfig {
    /// The plugin whose answers its own are held against; none: what comes of questions is, as if it stood last.
    pub of: Option<String>,
}

/// What a plugin may use up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest time for one question.
    pub deadline: Duration,
    /// Other times for some hooks.
    pub hook_deadlines: BTreeMap<Hook, Duration>,
    /// Most memory, in bytes; at most 256 MiB.
    pub memory: usize,
    /// Most keys that it remembers.
    pub kv_keys: usize,
    /// Most bytes that it remembers, keys and values.
    pub kv_bytes: usize,
    /// Log lines a second.
    pub log_lines: u32,
    /// Most calls of its imports for one question, all of them together.
    pub host_calls: u32,
    /// Most questions to one instance that is kept.
    pub instance_questions: u32,
}

impl Limits {
    /// The longest time for one question to a hook.
    pub fn deadline_of(&self, hook: Hook) -> Duration {
        self.hook_deadlines.get(&hook).copied().unwrap_or(self.deadline)
    }

    /// These limits for a plugin whose chain has no more time than so much.
    pub(crate) fn within(&self, chain_budget: Duration) -> Self {
        let hook_deadlines =
            self.hook_deadlines.iter().map(|(hook, time)| (*hook, (*time).min(chain_budget))).collect();
        Self { deadline: self.deadline.min(chain_budget), hook_deadlines, ..self.clone() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(50),
            hook_deadlines: BTreeMap::new(),
            memory: 32 << 20,
            kv_keys: 1024,
            kv_bytes: 1 << 20,
            log_lines: 50,
            host_calls: 1000,
            instance_questions: 1000,
        }
    }
}

/// What is left of a plugin from one question to the next, beside what it asks the host to remember.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Nothing: each question has an instance of its own.
    #[default]
    Fresh,
    /// Whatever is in its memory: instances are kept until they fail or have answered so many questions. For languages whose first
    /// call takes milliseconds.
    Reuse,
}

/// What a plugin's failure means: trap, timeout, too much memory, a bad answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// A denial with `policy-unavailable`.
    #[default]
    Closed,
    /// An abstention.
    Open,
    /// What it said last of the same people and the same track, if it has not failed to answer about them for too long; else a denial. For subscriptions only.
    LastKnown,
}

/// What the failures of one plugin mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureModes {
    /// At the hooks that are not named.
    pub usual: OnFailure,
    /// At these.
    pub hooks: BTreeMap<Hook, OnFailure>,
}

impl FailureModes {
    /// What a failure at this hook means.
    pub fn of(&self, hook: Hook) -> OnFailure {
        self.hooks.get(&hook).copied().unwrap_or(self.usual)
    }
}

impl From<OnFailure> for FailureModes {
    fn from(usual: OnFailure) -> Self {
        Self { usual, hooks: BTreeMap::new() }
    }
}

/// When a plugin that keeps failing at a hook is asked no more for a while, so that nobody waits for its failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// So many failures within the window are too many, if they are half of all its answers there or more; 0: never.
    pub failures: u32,
    /// The time in which they are counted.
    pub window: Duration,
    /// How long it is not asked then; one question tells whether it works again, and if not, the next pause is twice as long.
    pub pause: Duration,
    /// The longest pause.
    pub max_pause: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 10,
            window: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            max_pause: Duration::from_secs(60),
        }
    }
}

/// Something a plugin may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// Lines in the operator's log.
    Log,
    /// The time of the question.
    Clock,
    /// Its settings.
    Config,
    /// Its memory from one question to the next.
    Kv,
    /// Its counters.
    Metrics,
    /// Verification of tokens.
    Jwt,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Log, Self::Clock, Self::Config, Self::Kv, Self::Metrics, Self::Jwt];

    /// The name of the import, and in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Clock => "clock",
            Self::Config => "config",
            Self::Kv => "kv",
            Self::Metrics => "metrics",
            Self::Jwt => "jwt",
        }
    }

    /// The capability of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == name)
    }
}

/// The keys for one kind of token, and what such a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    /// Allowed algorithms by their JWA names (RFC 7518 §3.1, RFC 8037 §3.1), as in `HS256`. Those that no key
    /// fits are never accepted; at least one must fit.
    pub algorithms: Vec<String>,
    /// The keys.
    pub keys: KeyMaterial,
    /// Whom tokens must be by (`iss`), one of these; empty: anybody.
    pub issuers: Vec<String>,
    /// Whom tokens must be for (`aud`), one of these; empty: not looked at.
    pub audiences: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
}

impl KeyRing {
    /// HS256 with one secret and no further conditions.
    pub fn hs256(secret: impl Into<Vec<u8>>) -> Self {
        Self {
            algorithms: vec!["HS256".into()],
            keys: KeyMaterial::Secret(secret.into()),
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway: Duration::ZERO,
        }
    }
}

/// Keys as they are in the operator's files.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// A shared secret, for HS256, HS384 and HS512.
    Secret(Vec<u8>),
    /// A public key in PEM, for the RS, PS and ES algorithms and EdDSA.
    Pem(Vec<u8>),
    /// A JSON Web Key Set (RFC 7517).
    Jwks(Vec<u8>),
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(…)",
            Self::Pem(_) => "Pem(…)",
            Self::Jwks(_) => "Jwks(…)",
        })
    }
}
