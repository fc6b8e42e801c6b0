//! From a configuration to plugins that can be asked: read, check, compile, link, ask them to check their settings.
//!
//! Goes on after a problem, so that an operator sees all of them at once.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockgate_model::policy::{Attribute, Hook};
use wasmtime::component::{Component, InstancePre, Linker};

use crate::breaker::Breakers;
use crate::call::{self, Call, Lent};
use crate::config::{Capability, Isolation, OnFailure, PluginConfig, PolicyConfig};
use crate::contract::{
    MAX_CLAIMS, PACKAGE, VERSION, admission, auth, command, lifecycle, publishing, read_attrs, recording, subscription,
};
use crate::engine::{MAX_MEMORY, Runtime};
use crate::guests::{Guests, Kept};
use crate::journal::Hash;
use crate::keys::KeyRings;
use crate::last_known::LastKnown;
use crate::load_error::{LoadError, LoadProblem};
use crate::metrics::Counters;
use crate::plugin::{Exports, Plugin};
use crate::signature::TrustedKeys;

/// Loads all plugins, in their order.
pub(crate) fn plugins(
    host: &PolicyConfig,
    runtime: &Runtime,
    keys: &Arc<KeyRings>,
) -> Result<Vec<Plugin>, Vec<LoadError>> {
    let (mut plugins, mut problems) = (Vec::new(), Vec::new());
    let trusted = TrustedKeys::load(&host.trusted_keys)
        .map_err(|bad| problems.extend(bad.into_iter().map(|problem| LoadError { place: "policy".into(), problem })))
        .ok();
    let mut names = BTreeSet::new();
    for config in &host.plugins {
        let mut found = check(config);
        if !names.insert(&config.name) {
            found.push(LoadProblem::Duplicate);
        }
        match (read(config, trusted.as_ref()), &trusted) {
            (Ok(bytes), Some(_)) => match plugin(&bytes, config, host, runtime, keys) {
                Ok(plugin) => plugins.push(plugin),
                Err(more) => found.extend(more),
            },
            // Nobody can say whose it is: not one instruction of it runs.
            (Ok(_), None) => {}
            (Err(more), _) => found.extend(more),
        }
        let place = format!("plugin {:?}", config.name);
        problems.extend(found.into_iter().map(|problem| LoadError { place: place.clone(), problem }));
    }
    if problems.is_empty() { Ok(plugins) } else { Err(problems) }
}

/// What can be said without the file.
fn check(config: &PluginConfig) -> Vec<LoadProblem> {
    let mut problems = Vec::new();
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if config.name.is_empty() || config.name.len() > MAX_NAME || !config.name.bytes().all(plain) {
        problems.push(LoadProblem::Name);
    }
    let limits = &config.limits;
    if !(MIN_MEMORY..=MAX_MEMORY).contains(&limits.memory) {
        problems.push(LoadProblem::Limit("its memory limit is not within 1 MiB … 256 MiB"));
    }
    let deadlines = limits.hook_deadlines.values().chain([&limits.deadline]);
    if deadlines.into_iter().any(|deadline| !(MIN_DEADLINE..=MAX_DEADLINE).contains(deadline)) {
        problems.push(LoadProblem::Limit("its deadline is not within 1 ms … 10 s"));
    }
    let others = Hook::ALL.into_iter().filter(|hook| *hook != Hook::Subscription);
    let stale = |hook: &Hook| config.on_failure.of(*hook) == OnFailure::LastKnown;
    problems.extend(others.filter(stale).map(|hook| LoadProblem::LastKnown(hook.as_str())));
    problems
}

fn plugin(
    bytes: &[u8],
    config: &PluginConfig,
    host: &PolicyConfig,
    runtime: &Runtime,
    keys: &Arc<KeyRings>,
) -> Result<Plugin, Vec<LoadProblem>> {
    let component =
        Component::new(&runtime.engine, bytes).map_err(|error| vec![LoadProblem::NotAComponent(first_line(&error))])?;
    let problems = foreign(&component, runtime, config);
    if !problems.is_empty() {
        return Err(problems);
    }
    let remembers = config.on_failure.of(Hook::Subscription) == OnFailure::LastKnown;
    let pre = link(&component, runtime, config).map_err(|problem| vec![problem])?;
    let exports = exports(&pre);
    let lent = Arc::new(Lent::new(config, Arc::clone(keys)));
    let most = host.threads + OPERATORS;
    let kept = (config.isolation == Isolation::Reuse).then(|| Kept::new(most, config.limits.instance_questions));
    let plugin = Plugin {
        name: config.name.clone(),
        sha256: Hash::of(bytes),
        hooks: hooks(&exports, config)?,
        guests: Guests::new(pre, Arc::clone(&lent), kept),
        exports,
        limits: config.limits.within(host.chain_budget),
        on_failure: config.on_failure.clone(),
        last_known: remembers.then(|| LastKnown::new(host.stale_max)),
        breakers: Breakers::new(config.breaker, Instant::now()),
        lent,
        counters: Counters::default(),
    };
    introduce(&plugin, runtime).map_err(|problem| vec![problem])?;
    Ok(plugin)
}

/// The file, which is the one that the operator means, and signed where keys are known.
fn read(config: &PluginConfig, trusted: Option<&TrustedKeys>) -> Result<Vec<u8>, Vec<LoadProblem>> {
    let unreadable = |source| vec![LoadProblem::Unreadable { file: config.file.clone(), source }];
    let bytes = fs::read(&config.file).map_err(unreadable)?;
    let signed = trusted.map_or(Ok(()), |trusted| trusted.check(&config.file, &bytes));
    let checks = [pinned(config, &bytes), signed];
    let problems: Vec<_> = checks.into_iter().filter_map(Result::err).collect();
    if problems.is_empty() { Ok(bytes) } else { Err(problems) }
}

fn pinned(config: &PluginConfig, bytes: &[u8]) -> Result<(), LoadProblem> {
    let Some(expected) = &config.sha256 else { return Ok(()) };
    let actual = Hash::of(bytes).to_string();
    if actual.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(LoadProblem::Digest { expected: expected.clone(), actual })
    }
}

/// Imports that the plugin may not have, and interfaces of a version that is not spoken here.
fn foreign(component: &Component, runtime: &Runtime, config: &PluginConfig) -> Vec<LoadProblem> {
    let mut problems = Vec::new();
    let kind = component.component_type();
    for (name, _) in kind.imports(&runtime.engine) {
        let Some((interface, version)) = interface(name) else {
            problems.push(LoadProblem::ForeignImport(name.to_owned()));
            continue;
        };
        match Capability::from_name(interface) {
            _ if version != VERSION => problems.push(LoadProblem::UnknownVersion(name.to_owned())),
            Some(wanted) if !config.grants.contains(&wanted) => {
                problems.push(LoadProblem::NotGranted(wanted.as_str()));
            }
            None if interface != "types" => problems.push(LoadProblem::ForeignImport(name.to_owned())),
            Some(_) | None => {}
        }
    }
    for (name, _) in kind.exports(&runtime.engine) {
        if interface(name).is_some_and(|(_, version)| version != VERSION) {
            problems.push(LoadProblem::UnknownVersion(name.to_owned()));
        }
    }
    problems
}

/// Takes `lockgate:policy/log@0.1.0` apart into `log` and `0.1.0`.
pub(crate) fn interface(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PACKAGE)?.split_once('@')
}

fn link(component: &Component, runtime: &Runtime, config: &PluginConfig) -> Result<InstancePre<Call>, LoadProblem> {
    let mut linker = Linker::new(&runtime.engine);
    config
        .grants
        .iter()
        .try_for_each(|capability| call::link(&mut linker, *capability))
        .and_then(|()| linker.instantiate_pre(component))
        .map_err(|error| LoadProblem::NotAComponent(first_line(&error)))
}

pub(crate) fn exports<T: 'static>(pre: &InstancePre<T>) -> Exports {
    Exports {
        lifecycle: lifecycle::GuestIndices::new(pre).ok(),
        auth: auth::GuestIndices::new(pre).ok(),
        admission: admission::GuestIndices::new(pre).ok(),
        publishing: publishing::GuestIndices::new(pre).ok(),
        subscription: subscription::GuestIndices::new(pre).ok(),
        recording: recording::GuestIndices::new(pre).ok(),
        command: command::GuestIndices::new(pre).ok(),
    }
}

/// The hooks that are asked: those exported, or those of them that the configuration names.
fn hooks(exports: &Exports, config: &PluginConfig) -> Result<Vec<Hook>, Vec<LoadProblem>> {
    let exported: Vec<Hook> = Hook::ALL.into_iter().filter(|hook| exports.has(*hook)).collect();
    if exported.is_empty() {
        return Err(vec![LoadProblem::NoHook]);
    }
    let Some(named) = &config.hooks else { return Ok(exported) };
    let missing = named.iter().filter(|hook| !exported.contains(hook));
    let problems: Vec<_> = missing.map(|hook| LoadProblem::HookNotExported(hook.as_str())).collect();
    if problems.is_empty() { Ok(named.iter().copied().collect()) } else { Err(problems) }
}

impl Exports {
    fn has(&self, hook: Hook) -> bool {
        match hook {
            Hook::Auth => self.auth.is_some(),
            Hook::Admission => self.admission.is_some(),
            Hook::Publishing => self.publishing.is_some(),
            Hook::Subscription => self.subscription.is_some(),
            Hook::Recording => self.recording.is_some(),
            Hook::Command => self.command.is_some(),
        }
    }
}

/// Has the plugin check its settings and say what it is.
fn introduce(plugin: &Plugin, runtime: &Runtime) -> Result<(), LoadProblem> {
    if plugin.exports.lifecycle.is_some() {
        let about = describe(plugin, runtime)?;
        let about: Vec<String> = about.iter().map(|one| format!("{}={:?}", one.key, one.value)).collect();
        tracing::info!(plugin = plugin.name, about = about.join(" "), hooks = ?plugin.hooks, "plugin loaded");
    } else {
        tracing::info!(plugin = plugin.name, hooks = ?plugin.hooks, "plugin loaded; it does not check its settings");
    }
    Ok(())
}

fn describe(plugin: &Plugin, runtime: &Runtime) -> Result<Vec<Attribute>, LoadProblem> {
    let now_ms = wall_clock_ms();
    let _running = runtime.run();
    let ticks = Runtime::ticks(INTRODUCTION);
    plugin
        .run(ticks, now_ms, |exports, store, instance| {
            let lifecycle = exported(&exports.lifecycle)?.load(&mut *store, instance)?;
            lifecycle.call_configure(store, &plugin.lent.settings)
        })
        .map_err(|(failure, _)| LoadProblem::Failed(failure))?
        .map_err(LoadProblem::Settings)?;
    plugin
        .run(ticks, now_ms, |exports, store, instance| {
            exported(&exports.lifecycle)?.load(&mut *store, instance)?.call_describe(store)
        })
        .map_err(|(failure, _)| failure)
        .and_then(|about| read_attrs(about, MAX_CLAIMS))
        .map_err(LoadProblem::Failed)
}

/// The place of an export that is asked for: the host asks only what there is.
pub(crate) fn exported<T>(place: &Option<T>) -> wasmtime::Result<&T> {
    place.as_ref().ok_or_else(|| wasmtime::Error::msg("not exported"))
}

pub(crate) fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn first_line(error: &wasmtime::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

/// Threads beside the policy threads that ask plugins.
pub(crate) const OPERATORS: usize = 1;
/// Time for a plugin to check its settings; nobody waits at a door for this.
const INTRODUCTION: Duration = Duration::from_secs(1);
const MAX_NAME: usize = 64;
const MIN_MEMORY: usize = 1 << 20;
const MIN_DEADLINE: Duration = Duration::from_millis(1);
const MAX_DEADLINE: Duration = Duration::from_secs(10);
