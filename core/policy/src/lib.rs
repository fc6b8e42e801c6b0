//! The WASM plugin host: load, limit, ask, merge.
//!
//! [`Policy::load`] compiles the plugins of a configuration. After that every question is put to an instance of each plugin
//! that answers such questions, on threads of this crate, under a deadline; the answers become one decision. Nothing a
//! plugin does can keep a question from being answered: a failure is an answer too, and it is no.
//!
//! It does not read configuration files, keep rooms, or enforce what is granted.

mod breaker;
mod cache;
mod call;
mod chain;
mod compare;
mod compiled;
mod config;
mod contract;
mod engine;
mod failure;
mod guests;
mod heard;
pub mod journal;
mod keys;
pub mod kit;
mod last_known;
mod ledger;
mod load;
mod load_error;
mod memory;
mod metrics;
mod plugin;
mod policy;
mod pool;
mod question;
mod quota;
mod recent;
pub mod replay;
mod secrecy;
mod set;
mod sets;
mod shadow;
mod signature;
mod swap;
mod tally;

pub use cache::CacheError;
pub use compare::{Change, Said};
pub use config::{
    BreakerConfig, CanaryConfig, Capability, FailureModes, Isolation, KeyMaterial, KeyRing, Limits, OnFailure,
    PluginConfig, PolicyConfig, ShadowConfig,
};
pub use failure::Failure;
pub use journal::{Journal, JournalConfig, JournalError};
pub use load_error::{LoadError, LoadProblem};
pub use metrics::{HookMetrics, LATENCY_BOUNDS, MetricsSnapshot, PluginMetrics, ShadowResult};
pub use policy::Policy;
pub use recent::{RecentDecision, RecentDecisions, RecentSaid, RecentWord};
pub use signature::signature_file;
pub use swap::{CanaryStatus, Candidate, PolicyStatus, Swap};

/// The contract that this host speaks.
pub const CONTRACT: &str = "lockgate:policy@0.1.0";
