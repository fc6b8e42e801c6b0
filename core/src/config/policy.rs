//! The sections that say who decides: `[policy]` and `[[plugin]]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate_model::policy::Hook;
use lockgate_policy::{BreakerConfig, CanaryConfig, FailureModes, Isolation, OnFailure, ShadowConfig};

use super::policy_log::PolicyLog;
use super::section::{Bytes, FromValue, Section};
use super::tree::Value;

/// `[policy]`
#[derive(Clone, Debug)]
pub struct PolicySection {
    /// Whether something is allowed on which every plugin abstains; tokens are never, commands then for admins only.
    pub default_allow: bool,
    /// How long one question may take, through all plugins and the wait for a thread.
    pub chain_deadline: Duration,
    /// How long a grant stands that plugins cannot be asked about again.
    pub stale_max: Duration,
    /// How many threads answer questions.
    pub threads: usize,
    /// How many questions may wait for a thread; more are denied with `overloaded`.
    pub queue: usize,
    /// The keys of which one must have signed each plugin's file; none: files need no signature.
    pub trusted_keys: Vec<PathBuf>,
    /// Whether a change of plugins' files or of their configuration is noticed while the node runs.
    pub watch: bool,
    /// How other plugins come to answer while the node runs.
    pub canary: CanaryConfig,
    /// The folder in which machine code made of plugins is kept; none: each start compiles them anew.
    pub cache: Option<PathBuf>,
    /// The log of all decisions; none: there is none.
    pub log: Option<PolicyLog>,
}

/// `allow` or `deny`.
struct AllowOrDeny(bool);

impl FromValue for AllowOrDeny {
    const REMEDY: &'static str = "write \"allow\" or \"deny\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) if text == "allow" => Ok(Self(true)),
            Value::Text(text) if text == "deny" => Ok(Self(false)),
            _ => Err("is neither \"allow\" nor \"deny\"".into()),
        }
    }
}

impl PolicySection {
    pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Self {
        let trusted_keys: Vec<String> = section.get("trusted_keys", Vec::new());
        let policy = Self {
            default_allow: section.get("default", AllowOrDeny(true)).0,
            chain_deadline: section.within(
                "chain_deadline",
                Duration::from_millis(250),
                Duration::from_millis(1),
                Duration::from_secs(10),
            ),
            stale_max: section.within("stale_max", Duration::from_secs(60), Duration::ZERO, Duration::from_secs(3600)),
            threads: section.within("threads", 2, 1, 16),
            queue: section.within("queue", 1024, 1, 65_536),
            trusted_keys: trusted_keys.iter().map(|file| folder.join(file)).collect(),
            watch: section.get("watch", true),
            canary: canary(section.below("canary")),
            cache: section.find("cache").map(|cache: String| folder.join(cache)),
            log: section.find_below("log").map(|log| PolicyLog::read(log, folder)),
        };
        section.finish();
        policy
    }
}

/// `[policy.canary]`
fn canary(mut section: Section<'_>) -> CanaryConfig {
    let usual = CanaryConfig::default();
    let canary = CanaryConfig {
        share: section.within("share", usual.share, 0.0, 1.0),
        hold: section.within("hold", usual.hold, Duration::ZERO, Duration::from_secs(24 * 3600)),
        min_answers: section.within("min_answers", usual.min_answers, 1, 1_000_000),
        max_failure_rise: section.within("max_failure_rise", usual.max_failure_rise, 0.0, 1.0),
        max_denial_rise: section.within("max_denial_rise", usual.max_denial_rise, 0.0, 1.0),
        max_latency_ratio: section.within("max_latency_ratio", usual.max_latency_ratio, 1.0, 1000.0),
    };
    if canary.share > 0.0 && canary.hold.is_zero() {
        section.contradict("a share of the rooms goes first, for no time", "set hold, or share = 0");
    }
    section.finish();
    canary
}

/// `[[plugin]]`
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Its name in logs, metrics and attributes.
    pub name: String,
    /// The component.
    pub file: PathBuf,
    /// The hooks it is asked; none: all that it exports.
    pub hooks: Option<Vec<Hook>>,
    /// The host imports it may have.
    pub grants: Vec<Import>,
    /// Its own settings, as JSON.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Whether its instances are kept.
    pub isolation: Isolation,
    /// Whether it is only tried beside the others; none: its answers count.
    pub shadow: Option<ShadowConfig>,
    /// What it may use up.
    pub limits: PluginLimits,
    /// What its failures mean.
    pub on_failure: FailureModes,
    /// When it is asked no more for a while.
    pub breaker: BreakerConfig,
    /// The digest that the file must have, in hexadecimal.
    pub sha256: Option<String>,
}

/// `[plugin.limits]`
#[derive(Clone, Debug)]
pub struct PluginLimits {
    /// How long one call may take.
    pub deadline: Duration,
    /// Other times for some hooks.
    pub hook_deadlines: BTreeMap<Hook, Duration>,
    /// How much memory one call may have, in bytes.
    pub memory: usize,
    /// How many keys it may remember.
    pub kv_keys: usize,
    /// How many bytes it may remember, keys and values.
    pub kv_bytes: usize,
    /// How many lines it may log in a second.
    pub log_lines: u32,
    /// How often it may call its imports for one question.
    pub host_calls: u32,
    /// How many questions one instance answers that is kept.
    pub instance_questions: u32,
}

impl PluginLimits {
    fn read(mut section: Section<'_>) -> Self {
        let (low, high) = (Duration::from_millis(1), Duration::from_secs(5));
        let mut hooks = section.below("hook_deadlines");
        let hook_deadlines =
            Hook::ALL.into_iter().filter_map(|hook| Some((hook, hooks.find(hook.as_str())?))).collect();
        hooks.finish();
        let limits = Self {
            deadline: section.within("deadline", Duration::from_millis(50), low, high),
            hook_deadlines,
            memory: section.within("memory", Bytes(32 << 20), Bytes(1 << 20), Bytes(256 << 20)).0,
            kv_keys: section.within("kv_keys", 1024, 0, 1_000_000),
            kv_bytes: section.within("kv_bytes", Bytes(1 << 20), Bytes(0), Bytes(256 << 20)).0,
            log_lines: section.within("log_lines", 50, 0, 10_000),
            host_calls: section.within("host_calls", 1000, 1, 1_000_000),
            instance_questions: section.within("instance_questions", 1000, 1, 1_000_000),
        };
        section.finish();
        limits
    }
}

/// A host import that a plugin can be granted, by its name in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import(pub &'static str);

impl FromValue for Import {
    const REMEDY: &'static str = "the imports are \"log\", \"clock\", \"config\", \"kv\", \"metrics\", \"jwt\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Text(text) = value else { return Err("is no import".into()) };
        IMPORTS.into_iter().find(|import| import == text).map(Self).ok_or_else(|| "is no import".into())
    }
}

/// What failures mean at any hook.
struct Plain(OnFailure);

impl FromValue for Plain {
    const REMEDY: &'static str =
        "write \"closed\" or \"open\", or \"last-known\" for subscriptions, as in { subscription = \"last-known\" }";
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) if text == "closed" => Ok(Self(OnFailure::Closed)),
            Value::Text(text) if text == "open" => Ok(Self(OnFailure::Open)),
            Value::Text(text) if text == "last-known" => Err("is for subscriptions only".into()),
            _ => Err("is no failure mode".into()),
        }
    }
}

/// What failures mean where the last answer can stand in.
struct OfSubscriptions(OnFailure);

impl FromValue for OfSubscriptions {
    const REMEDY: &'static str = "write \"closed\", \"open\" or \"last-known\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) if text == "last-known" => Ok(Self(OnFailure::LastKnown)),
            other => Plain::from_value(other).map(|Plain(mode)| Self(mode)),
        }
    }
}

/// One word for all hooks, or one for each; hooks without a word fail closed.
fn failure_modes(section: &mut Section<'_>) -> FailureModes {
    if !section.holds_table("on_failure") {
        return section.get("on_failure", Plain(OnFailure::Closed)).0.into();
    }
    let mut table = section.below("on_failure");
    let mut mode = |hook| match hook {
        Hook::Subscription => Some((hook, table.find::<OfSubscriptions>(hook.as_str())?.0)),
        hook => Some((hook, table.find::<Plain>(hook.as_str())?.0)),
    };
    let hooks = Hook::ALL.into_iter().filter_map(&mut mode).collect();
    table.finish();
    FailureModes { usual: OnFailure::Closed, hooks }
}

/// `shadow` and `shadow_of`
fn shadow(section: &mut Section<'_>) -> Option<ShadowConfig> {
    let (shadow, of) = (section.get("shadow", false), section.find::<String>("shadow_of"));
    if of.is_some() && !shadow {
        section.contradict("shadow_of is for plugins in shadow", "set shadow = true, or leave it out");
    }
    shadow.then_some(ShadowConfig { of })
}

/// `[plugin.breaker]`
fn breaker(mut section: Section<'_>) -> BreakerConfig {
    let usual = BreakerConfig::default();
    let (low, high) = (Duration::from_millis(100), Duration::from_secs(3600));
    let breaker = BreakerConfig {
        failures: section.within("failures", usual.failures, 0, 10_000),
        window: section.within("window", usual.window, low, high),
        pause: section.within("pause", usual.pause, low, high),
        max_pause: section.within("max_pause", usual.max_pause, low, high),
    };
    if breaker.max_pause < breaker.pause {
        section.contradict("max_pause is shorter than pause", "make it as long at least");
    }
    section.finish();
    breaker
}

impl FromValue for Isolation {
    const REMEDY: &'static str = "write \"fresh\" or \"reuse\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) if text == "fresh" => Ok(Self::Fresh),
            Value::Text(text) if text == "reuse" => Ok(Self::Reuse),
            _ => Err("is no isolation".into()),
        }
    }
}

impl FromValue for Hook {
    const REMEDY: &'static str =
        "the hooks are \"auth\", \"admission\", \"publishing\", \"subscription\", \"recording\", \"command\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Text(text) = value else { return Err("is not a hook".into()) };
        Self::ALL.into_iter().find(|hook| hook.as_str() == text).ok_or_else(|| "is not a hook".into())
    }
}

impl Plugin {
    pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Self {
        let name = section.find::<String>("name");
        let file = section.find::<String>("file");
        if name.is_none() {
            section.miss("name", "give the plugin a name");
        }
        if file.is_none() {
            section.miss("file", "name the component, as in \"plugins/dist/jwt-auth.wasm\"");
        }
        let plugin = Self {
            name: name.unwrap_or_default(),
            file: folder.join(file.unwrap_or_default()),
            hooks: section.find("hooks"),
            grants: section.get("grants", Vec::new()),
            settings: settings(&mut section),
            isolation: section.get("isolation", Isolation::Fresh),
            shadow: shadow(&mut section),
            limits: PluginLimits::read(section.below("limits")),
            on_failure: failure_modes(&mut section),
            breaker: breaker(section.below("breaker")),
            sha256: section.find("sha256"),
        };
        section.finish();
        plugin
    }
}

/// The plugin's own keys are its own to check.
fn settings(section: &mut Section<'_>) -> serde_json::Map<String, serde_json::Value> {
    let Some(node) = section.take("settings") else { return serde_json::Map::new() };
    match node.value.to_json() {
        serde_json::Value::Object(settings) => settings,
        _ => {
            section.complain("settings", &node, "is a section", "write [plugin.settings]");
            serde_json::Map::new()
        }
    }
}

const IMPORTS: [&str; 6] = ["log", "clock", "config", "kv", "metrics", "jwt"];
