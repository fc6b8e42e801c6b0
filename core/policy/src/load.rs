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
use crate::compiled::Compiled;
use crate::config::{Capability, Isolation, OnFailure, PluginConfig, PolicyConfig};
use crate::contract::{
    MAX_CLAIMS, PACKAGE, VERSION, admission, auth, command, lifecycle, publishing, read_attrs, recording, subscription,
};
use crate::engine::{MAX_MEMORY, Runtime};
use crate::guests::{Guests, Kept};
use crate::journal::Hash;
use crate::keys::KeyRings;
use crate::last_known::LastKnown;
use crate::ledger::Ledger;
use crate::load_error::{LoadError, LoadProblem};
use crate::plugin::{Exports, Plugin, Under};
use crate::shadow;
use crate::signature::TrustedKeys;

/// What plugins are made with.
pub(crate) struct Loader<'a> {
    pub(crate) host: &'a PolicyConfig,
    pub(crate) runtime: &'a Runtime,
    pub(crate) compiled: &'a Compiled,
    pub(crate) keys: &'a Arc<KeyRings>,
    /// Threads that may want an instance at a time.
    pub(crate) askers: usize,
    /// The plugins that are there already. One that is to be as it is stays the same; another of its name takes over its ledger.
    pub(crate) there: &'a [Arc<Plugin>],
}

impl Loader<'_> {
    /// Loads all plugins, in their order.
    pub(crate) fn plugins(&self) -> Result<Vec<Arc<Plugin>>, Vec<LoadError>> {
        let (mut plugins, mut problems) = (Vec::new(), Vec::new());
        let own = |problem| LoadError { place: "policy".into(), problem };
        let trusted =
            TrustedKeys::load(&self.host.trusted_keys).map_err(|bad| problems.extend(bad.into_iter().map(own))).ok();
        let mut names = BTreeSet::new();
        for config in &self.host.plugins {
            let mut found = check(config);
            if !names.insert(&config.name) {
                found.push(LoadProblem::Duplicate);
            }
            match (read(config, trusted.as_ref()), &trusted) {
                (Ok(bytes), Some(_)) => match self.plugin(&bytes, config) {
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

    fn plugin(&self, bytes: &[u8], config: &PluginConfig) -> Result<Arc<Plugin>, Vec<LoadProblem>> {
        let (sha256, under) = (Hash::of(bytes), Under::new(self.host, self.keys));
        let is_it =
            |plugin: &&Arc<Plugin>| plugin.sha256 == sha256 && plugin.config == *config && plugin.under == under;
        if let Some(it) = self.there.iter().find(is_it) {
            return Ok(Arc::clone(it));
        }
        let component = self
            .compiled
            .component(&self.runtime.engine, sha256, bytes)
            .map_err(|error| vec![LoadProblem::NotAComponent(first_line(&error))])?;
        let problems = foreign(&component, self.runtime, config);
        if !problems.is_empty() {
            return Err(problems);
        }
        let pre = link(&component, self.runtime, config).map_err(|problem| vec![problem])?;
        let exports = exports(&pre);
        let hooks = hooks(&exports, config)?;
        let before = self.there.iter().find(|plugin| plugin.name == config.name);
        let ledger = before.map_or_else(|| Ledger::new(&config.limits), |before| Arc::clone(&before.ledger));
        let tried = if before.is_some() { Arc::new(ledger.copy(&config.limits)) } else { Arc::clone(&ledger) };
        self.introduce(config, &exports, pre.clone(), &tried).map_err(|problem| vec![problem])?;
        tracing::debug!(plugin = config.name, %sha256, ?hooks, "what a plugin is asked");
        let askers = if config.shadow.is_some() { shadow::THREADS } else { self.askers };
        let kept = Kept::new(askers, config.limits.instance_questions);
        let lent = Arc::new(Lent::new(config, Arc::clone(self.keys), Arc::clone(&ledger)));
        Ok(Arc::new(Plugin {
            name: config.name.clone(),
            sha256,
            hooks,
            guests: Guests::new(pre, Arc::clone(&lent), (config.isolation == Isolation::Reuse).then_some(kept)),
            exports,
            limits: config.limits.within(self.host.chain_budget),
            last_known: self.last_known(config, sha256, &ledger),
            breakers: Breakers::new(config.breaker, Instant::now(), &ledger.pauses),
            lent,
            ledger,
            under,
            config: config.clone(),
        }))
    }

    /// What it said last, if that is wanted. The same file with the same settings would say it again.
    fn last_known(&self, config: &PluginConfig, sha256: Hash, ledger: &Ledger) -> Option<Arc<LastKnown>> {
        if config.on_failure.of(Hook::Subscription) != OnFailure::LastKnown {
            return None;
        }
        let stale_max = self.host.stale_max;
        let would_say_it = |plugin: &&Arc<Plugin>| {
            let known = (&plugin.name, plugin.sha256, &plugin.config.settings, plugin.under.stale_max);
            known == (&config.name, sha256, &config.settings, stale_max)
        };
        let known = self.there.iter().filter(would_say_it).find_map(|plugin| plugin.last_known.clone());
        Some(known.unwrap_or_else(|| Arc::new(LastKnown::new(stale_max, Arc::clone(&ledger.lent)))))
    }

    /// Has the plugin check its settings and say what it is, in instances that are thrown away. What it writes to this ledger meanwhile
    /// is its own, unless another version of it is asked already.
    fn introduce(
        &self,
        config: &PluginConfig,
        exports: &Exports,
        pre: InstancePre<Call>,
        ledger: &Arc<Ledger>,
    ) -> Result<(), LoadProblem> {
        let plugin = config.name.as_str();
        if exports.lifecycle.is_none() {
            tracing::info!(plugin, "plugin loaded; it does not check its settings");
            return Ok(());
        }
        let lent = Arc::new(Lent::new(config, Arc::clone(self.keys), Arc::clone(ledger)));
        let about = describe(&Guests::new(pre, Arc::clone(&lent), None), exports, &lent.settings, self.runtime)?;
        let about: Vec<String> = about.iter().map(|one| format!("{}={:?}", one.key, one.value)).collect();
        tracing::info!(plugin, about = about.join(" "), "plugin loaded");
        Ok(())
    }
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

fn describe(
    guests: &Guests,
    exports: &Exports,
    settings: &str,
    runtime: &Runtime,
) -> Result<Vec<Attribute>, LoadProblem> {
    let now_ms = wall_clock_ms();
    let _running = runtime.run();
    let ticks = Runtime::ticks(INTRODUCTION);
    let configured = guests.fresh(ticks, now_ms).and_then(|mut guest| {
        guest.ask(exports, |exports, store, instance| {
            exported(&exports.lifecycle)?.load(&mut *store, instance)?.call_configure(store, settings)
        })
    });
    configured.map_err(|(failure, _)| LoadProblem::Failed(failure))?.map_err(LoadProblem::Settings)?;
    let described = guests.fresh(ticks, now_ms).and_then(|mut guest| {
        guest.ask(exports, |exports, store, instance| {
            exported(&exports.lifecycle)?.load(&mut *store, instance)?.call_describe(store)
        })
    });
    described
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
