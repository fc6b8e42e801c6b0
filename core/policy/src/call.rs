//! What one question lends to a guest: the imports, bound to one plugin and one moment.
//!
//! A `Call` lives as long as its store: for one question, or for those to an instance that is kept. What outlasts it is in `Lent`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};
use wasmtime::ResourceLimiter;
use wasmtime::component::{HasSelf, Linker};

use crate::config::{Capability, PluginConfig};
use crate::contract::{clock, config, cut, jwt, kv, log, metrics, printable, types};
use crate::keys::{BadToken, KeyRings};
use crate::ledger::Ledger;
use crate::memory::NotKept;
use crate::quota::Quota;

/// What a plugin is lent for as long as it is loaded.
pub(crate) struct Lent {
    plugin: String,
    /// All settings as one JSON object.
    pub(crate) settings: String,
    setting: BTreeMap<String, String>,
    keys: Arc<KeyRings>,
    pub(crate) ledger: Arc<Ledger>,
    lines: Quota,
    /// The host's own lines about the plugin: one that floods the log does not hide its failures.
    told: Quota,
    max_calls: u32,
    max_memory: usize,
}

/// One instance's host state.
pub(crate) struct Call {
    lent: Arc<Lent>,
    now_ms: u64,
    calls: u32,
    memory: usize,
    starved: bool,
}

/// An import was called once too often: no answer that it could give would be true.
#[derive(Debug, thiserror::Error)]
#[error("more calls of imports than limits.host_calls allows for one question")]
pub(crate) struct TooManyCalls;

impl Lent {
    pub(crate) fn new(plugin: &PluginConfig, keys: Arc<KeyRings>, ledger: Arc<Ledger>) -> Self {
        let limits = &plugin.limits;
        Self {
            plugin: plugin.name.clone(),
            settings: Value::Object(plugin.settings.clone()).to_string(),
            setting: texts(&plugin.settings).collect(),
            keys,
            lines: Quota::new(limits.log_lines, Arc::clone(&ledger.lines_dropped)),
            told: Quota::new(MAX_TOLD, Arc::default()),
            max_calls: limits.host_calls,
            max_memory: limits.memory,
            ledger,
        }
    }

    /// Whether a line about the plugin may be written now.
    pub(crate) fn may_tell(&self) -> bool {
        self.told.take(Instant::now())
    }
}

impl Call {
    pub(crate) fn new(lent: Arc<Lent>, now_ms: u64) -> Self {
        Self { lent, now_ms, calls: 0, memory: 0, starved: false }
    }

    /// Makes it ready for the next question to the same instance, whose memory is as it was.
    pub(crate) fn begin(&mut self, now_ms: u64) {
        (self.now_ms, self.calls, self.starved) = (now_ms, 0, false);
    }

    /// Whether memory was refused.
    pub(crate) fn starved(&self) -> bool {
        self.starved
    }

    /// One more call of an import. The deadline does not see time that is spent in the host.
    fn called(&mut self) -> wasmtime::Result<()> {
        self.calls += 1;
        if self.calls > self.lent.max_calls { Err(TooManyCalls.into()) } else { Ok(()) }
    }
}

/// Links one import.
pub(crate) fn link(linker: &mut Linker<Call>, capability: Capability) -> wasmtime::Result<()> {
    match capability {
        Capability::Log => log::add_to_linker::<_, HasSelf<Call>>(linker, |call| call),
        Capability::Clock => clock::add_to_linker::<_, HasSelf<Call>>(linker, |call| call),
        Capability::Config => config::add_to_linker::<_, HasSelf<Call>>(linker, |call| call),
        Capability::Kv => kv::add_to_linker::<_, HasSelf<Call>>(linker, |call| call),
        Capability::Metrics => metrics::add_to_linker::<_, HasSelf<Call>>(linker, |call| call),
        Capability::Jwt => jwt::add_to_linker::<_, HasSelf<Call>>(linker, |call| call),
    }
}

impl log::Host for Call {
    fn write(&mut self, level: log::Level, message: String, fields: Vec<types::Attr>) -> wasmtime::Result<()> {
        self.called()?;
        if !self.lent.lines.take(Instant::now()) {
            return Ok(());
        }
        let mut text = message;
        for field in fields {
            if text.len() > MAX_LINE {
                break;
            }
            text.push_str(&format!(" {}={:?}", field.key, field.value));
        }
        cut(&mut text, MAX_LINE);
        let text: String = text.chars().map(printable).collect();
        let plugin = self.lent.plugin.as_str();
        match level {
            log::Level::Debug => tracing::debug!(target: "lockgate::plugin", plugin, "{text}"),
            log::Level::Info => tracing::info!(target: "lockgate::plugin", plugin, "{text}"),
            log::Level::Warn => tracing::warn!(target: "lockgate::plugin", plugin, "{text}"),
            log::Level::Error => tracing::error!(target: "lockgate::plugin", plugin, "{text}"),
        }
        Ok(())
    }
}

impl clock::Host for Call {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        self.called()?;
        Ok(self.now_ms)
    }
}

impl config::Host for Call {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        self.called()?;
        Ok(self.lent.setting.get(&key).cloned())
    }

    fn all(&mut self) -> wasmtime::Result<String> {
        self.called()?;
        Ok(self.lent.settings.clone())
    }
}

impl kv::Host for Call {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.called()?;
        Ok(self.lent.ledger.memory().get(&key, self.now_ms).map(<[u8]>::to_vec))
    }

    fn put(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u32>) -> wasmtime::Result<Result<(), kv::Failure>> {
        self.called()?;
        let kept = self.lent.ledger.memory().put(key, value, ttl_ms, self.now_ms);
        Ok(kept.map_err(|not_kept| match not_kept {
            NotKept::TooLong => kv::Failure::TooLong,
            NotKept::Full => kv::Failure::Full,
        }))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.called()?;
        self.lent.ledger.memory().delete(&key);
        Ok(())
    }
}

impl metrics::Host for Call {
    fn add(&mut self, name: String, amount: u64) -> wasmtime::Result<()> {
        self.called()?;
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        if name.is_empty() || name.len() > MAX_COUNTER_NAME || !name.bytes().all(plain) {
            return Ok(());
        }
        self.lent.ledger.add(name, amount);
        Ok(())
    }
}

impl jwt::Host for Call {
    fn verify(&mut self, key_ring: String, token: String) -> wasmtime::Result<Result<jwt::Claims, jwt::Failure>> {
        self.called()?;
        let verified = self.lent.keys.verify(&key_ring, &token, self.now_ms).map_err(failure);
        Ok(verified.map(|verified| jwt::Claims {
            algorithm: verified.algorithm,
            key_id: verified.key_id,
            claims: verified.claims.iter().map(|(key, value)| attr(key, value.to_string())).collect(),
        }))
    }
}

impl ResourceLimiter for Call {
    /// All memories of the guest together stay within the limit.
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let memory = self.memory.saturating_add(desired.saturating_sub(current));
        if memory > self.lent.max_memory {
            self.starved = true;
            return Ok(false);
        }
        self.memory = memory;
        self.lent.ledger.grown(memory);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= MAX_TABLE;
        self.starved |= !fits;
        Ok(fits)
    }
}

/// Settings for `config.get`: a text as it is, anything else as JSON text.
fn texts(settings: &Map<String, Value>) -> impl Iterator<Item = (String, String)> {
    settings.iter().map(|(key, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (key.clone(), text)
    })
}

fn attr(key: &str, value: String) -> types::Attr {
    types::Attr { key: key.to_owned(), value }
}

fn failure(bad: BadToken) -> jwt::Failure {
    match bad {
        BadToken::Malformed => jwt::Failure::Malformed,
        BadToken::Algorithm => jwt::Failure::Algorithm,
        BadToken::Key => jwt::Failure::Key,
        BadToken::Signature => jwt::Failure::Signature,
        BadToken::NoExpiry => jwt::Failure::NoExpiry,
        BadToken::Expired => jwt::Failure::Expired,
        BadToken::NotYetValid => jwt::Failure::NotYetValid,
        BadToken::Issuer => jwt::Failure::Issuer,
        BadToken::Audience => jwt::Failure::Audience,
        BadToken::KeyRing => jwt::Failure::KeyRing,
    }
}

const MAX_LINE: usize = 512;
/// Lines about its failures, a second.
const MAX_TOLD: u32 = 10;
const MAX_COUNTER_NAME: usize = 64;
pub(crate) const MAX_TABLE: usize = 20_000;
