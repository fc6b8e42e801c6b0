//! From the configuration's plugins to the host that runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Display, Path};
use std::time::Instant;

use lockgate_model::Secret;
use lockgate_policy::{
    Capability, JournalConfig, JournalError, KeyMaterial, KeyRing, Limits, LoadError, PluginConfig, Policy,
    PolicyConfig, Swap,
};

use crate::config::{Auth, Config, Import, KeySource, Plugin, PluginLimits, PolicyLog};

/// Loads all plugins. Takes a moment: they are compiled.
///
/// # Errors
/// All problems there are, in words.
pub(crate) fn load(config: &Config, dev_secret: Option<&Secret>) -> Result<Policy, Vec<String>> {
    let name = config.file.display();
    let policy = of(config, config, dev_secret)?;
    Policy::load(policy).map_err(|errors| in_words(&name, &errors))
}

/// Has other plugins answer in a running node: those of `config`, with the keys and times of the configuration that the node runs with.
/// Returns what came of it. Takes a moment: what is new is compiled.
///
/// # Errors
/// All problems there are, in words; then nothing has changed.
pub(crate) fn swap(
    policy: &Policy,
    config: &Config,
    running: &Config,
    dev_secret: Option<&Secret>,
    why: &str,
) -> Result<Swap, Vec<String>> {
    let wanted = of(config, running, dev_secret).inspect_err(|_| policy.refused())?;
    let candidate = policy.prepare(&wanted).map_err(|errors| in_words(&config.file.display(), &errors))?;
    Ok(policy.swap(candidate, why, Instant::now()))
}

/// Plugins of one configuration, with what cannot change of another.
fn of(config: &Config, running: &Config, dev_secret: Option<&Secret>) -> Result<PolicyConfig, Vec<String>> {
    let keys = key_ring(&running.auth, dev_secret).map_err(|problem| vec![problem])?;
    Ok(PolicyConfig {
        plugins: config.plugins.iter().map(plugin).collect(),
        key_rings: BTreeMap::from([(KEY_RING.to_owned(), keys)]),
        chain_budget: config.policy.chain_deadline,
        default_allow: config.policy.default_allow,
        threads: running.policy.threads,
        queue: running.policy.queue,
        stale_max: running.policy.stale_max,
        trusted_keys: config.policy.trusted_keys.clone(),
        canary: config.policy.canary.clone(),
        cache: running.policy.cache.clone(),
    })
}

fn in_words(file: &Display<'_>, errors: &[LoadError]) -> Vec<String> {
    errors.iter().map(|error| format!("{file}: {error}")).collect()
}

/// Has the decisions of a running node logged, if the configuration wants that.
///
/// # Errors
/// When the log cannot be written to.
pub(crate) fn log_to(policy: Policy, log: Option<&PolicyLog>) -> Result<Policy, JournalError> {
    let Some(PolicyLog { directory, max_size, max_age, keep, omit }) = log else { return Ok(policy) };
    policy.log_to(&JournalConfig {
        directory: directory.clone(),
        max_size: u64::try_from(*max_size).unwrap_or(u64::MAX),
        max_age: *max_age,
        keep: *keep,
        omit: omit.clone(),
    })
}

fn key_ring(auth: &Auth, dev_secret: Option<&Secret>) -> Result<KeyRing, String> {
    let secret = |secret: &Secret| KeyMaterial::Secret(secret.expose().as_bytes().to_vec());
    let keys = match (&auth.key, dev_secret) {
        (Some(KeySource::Secret(configured)), _) => secret(configured),
        (Some(KeySource::PublicKey(file)), _) => KeyMaterial::Pem(read("auth.public_key_file", file)?),
        (Some(KeySource::Jwks(file)), _) => KeyMaterial::Jwks(read("auth.jwks_file", file)?),
        (None, Some(drawn)) => secret(drawn),
        (None, None) => return Err("auth.secret: is missing; name one".into()),
    };
    Ok(KeyRing {
        algorithms: auth.algorithms.clone(),
        keys,
        issuers: auth.issuer.iter().cloned().collect(),
        audiences: auth.audience.iter().cloned().collect(),
        leeway: auth.leeway,
    })
}

fn read(key: &str, file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{key} = {}: {error}; check the path", file.display()))
}

/// A plugin as its host is told of it.
pub(crate) fn plugin(plugin: &Plugin) -> PluginConfig {
    PluginConfig {
        name: plugin.name.clone(),
        file: plugin.file.clone(),
        hooks: plugin.hooks.as_ref().map(|hooks| hooks.iter().copied().collect()),
        grants: plugin.grants.iter().filter_map(|Import(name)| Capability::from_name(name)).collect::<BTreeSet<_>>(),
        settings: plugin.settings.clone(),
        isolation: plugin.isolation,
        shadow: plugin.shadow.clone(),
        limits: limits(&plugin.limits),
        on_failure: plugin.on_failure.clone(),
        breaker: plugin.breaker,
        sha256: plugin.sha256.clone(),
    }
}

fn limits(limits: &PluginLimits) -> Limits {
    Limits {
        deadline: limits.deadline,
        hook_deadlines: limits.hook_deadlines.clone(),
        memory: limits.memory,
        kv_keys: limits.kv_keys,
        kv_bytes: limits.kv_bytes,
        log_lines: limits.log_lines,
        host_calls: limits.host_calls,
        instance_questions: limits.instance_questions,
    }
}

/// The key ring that plugins find without being told another name.
const KEY_RING: &str = "default";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_of_the_configuration_is_one_that_the_host_has() {
        for capability in Capability::ALL {
            let text = format!(
                "[dev]\nenabled = true\n[[plugin]]\nname = \"a\"\nfile = \"a\"\ngrants = [\"{}\"]\n",
                capability.as_str()
            );
            let config = Config::read("c", &text, ".".into(), []).unwrap();
            assert_eq!(plugin(&config.plugins[0]).grants, BTreeSet::from([capability]));
        }
    }

    #[test]
    fn all_that_is_wrong_with_the_plugins_is_told_at_once() {
        let text = "[dev]\nenabled = true\n[[plugin]]\nname = \"a\"\nfile = \"none.wasm\"\n[[plugin]]\nname = \"b\"\nfile = \"none\"\n";
        let config = Config::read("c", text, ".".into(), []).unwrap();
        let problems = load(&config, Some(&Secret::new("x".repeat(32)))).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("none.wasm") && problems[0].contains("cargo xtask plugins"), "{problems:?}");
    }
}
