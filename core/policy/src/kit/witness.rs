//! The imports, as a plugin finds them that is looked at: everything that it asks of its host is written down.
//!
//! Its memory has the bounds of a node's defaults. Tokens are good or bad as the case says: no key is here, so that a case is as
//! good tomorrow, and on anybody's machine.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use wasmtime::ResourceLimiter;
use wasmtime::component::{HasSelf, Linker};

use crate::call::TooManyCalls;
use crate::config::Limits;
use crate::contract::{clock, config, jwt, kv, log, metrics, types};
use crate::kit::call::{Bytes, HostCall};
use crate::kit::case::{Token, TokenFailure};
use crate::kit::words::{attr, map};
use crate::memory::{Memory, NotKept};

/// What one call finds, and what it did.
#[derive(Debug)]
pub(super) struct Witness {
    settings: Map<String, Value>,
    tokens: Vec<Token>,
    now_ms: u64,
    kept: Memory,
    seen: Vec<HostCall>,
    memory: usize,
    starved: bool,
}

impl Witness {
    pub(super) fn new(settings: Map<String, Value>, tokens: Vec<Token>, now_ms: u64) -> Self {
        let limits = Limits::default();
        let kept = Memory::new(limits.kv_keys, limits.kv_bytes);
        Self { settings, tokens, now_ms, kept, seen: Vec::new(), memory: 0, starved: false }
    }

    /// Has it remember something. What does not fit is not remembered.
    pub(super) fn remember(&mut self, kept: BTreeMap<String, Bytes>) {
        for (key, value) in kept {
            let _ = self.kept.put(key, value.into(), None, self.now_ms);
        }
    }

    /// Whether memory was refused.
    pub(super) fn starved(&self) -> bool {
        self.starved
    }

    /// Bytes of memory that the guest has.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// What it remembers under a key.
    pub(super) fn kept(&self, key: &str) -> Option<Bytes> {
        self.kept.get(key, self.now_ms).map(|value| value.to_vec().into())
    }

    /// What it did.
    pub(super) fn into_seen(self) -> Vec<HostCall> {
        self.seen
    }

    /// Makes it ready for the next question to the same instance.
    pub(super) fn begin(&mut self) {
        self.seen.clear();
        self.starved = false;
    }

    /// Writes a call down, unless there are more than a node allows by default.
    fn see(&mut self, call: HostCall) -> wasmtime::Result<()> {
        let fits = self.seen.len() < usize::try_from(Limits::default().host_calls).unwrap_or(usize::MAX);
        self.seen.push(call);
        if fits { Ok(()) } else { Err(TooManyCalls.into()) }
    }
}

/// Links every import of the contract.
pub(super) fn link(linker: &mut Linker<Witness>) -> wasmtime::Result<()> {
    log::add_to_linker::<_, HasSelf<Witness>>(linker, |witness| witness)?;
    clock::add_to_linker::<_, HasSelf<Witness>>(linker, |witness| witness)?;
    config::add_to_linker::<_, HasSelf<Witness>>(linker, |witness| witness)?;
    kv::add_to_linker::<_, HasSelf<Witness>>(linker, |witness| witness)?;
    metrics::add_to_linker::<_, HasSelf<Witness>>(linker, |witness| witness)?;
    jwt::add_to_linker::<_, HasSelf<Witness>>(linker, |witness| witness)
}

impl log::Host for Witness {
    fn write(&mut self, level: log::Level, message: String, fields: Vec<types::Attr>) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warn => "warn",
            log::Level::Error => "error",
        };
        self.see(HostCall::Log { level, message, fields: map(fields, |text| text) })
    }
}

impl clock::Host for Witness {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        self.see(HostCall::Clock)?;
        Ok(self.now_ms)
    }
}

impl config::Host for Witness {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        let value = self.settings.get(&key);
        let answer = value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        self.see(HostCall::Setting { key, answer: answer.clone() })?;
        Ok(answer)
    }

    fn all(&mut self) -> wasmtime::Result<String> {
        self.see(HostCall::Settings)?;
        Ok(Value::Object(self.settings.clone()).to_string())
    }
}

impl kv::Host for Witness {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let answer = self.kept.get(&key, self.now_ms).map(<[u8]>::to_vec);
        self.see(HostCall::Get { key, answer: answer.clone().map(Bytes::from) })?;
        Ok(answer)
    }

    fn put(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u32>) -> wasmtime::Result<Result<(), kv::Failure>> {
        let kept = self.kept.put(key.clone(), value.clone(), ttl_ms, self.now_ms);
        let failure = kept.err().map(|not_kept| match not_kept {
            NotKept::TooLong => ("too-long", kv::Failure::TooLong),
            NotKept::Full => ("full", kv::Failure::Full),
        });
        self.see(HostCall::Put { key, value: value.into(), ttl_ms, failure: failure.map(|(name, _)| name) })?;
        Ok(failure.map_or(Ok(()), |(_, failure)| Err(failure)))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.kept.delete(&key);
        self.see(HostCall::Delete { key })
    }
}

impl metrics::Host for Witness {
    fn add(&mut self, name: String, amount: u64) -> wasmtime::Result<()> {
        self.see(HostCall::Count { name, amount })
    }
}

impl jwt::Host for Witness {
    /// A token that the case does not mention is none.
    fn verify(&mut self, key_ring: String, token: String) -> wasmtime::Result<Result<jwt::Claims, jwt::Failure>> {
        let found = self.tokens.iter().find(|one| one.token == token && one.key_ring == key_ring).cloned();
        let verified = match found {
            Some(Token { failure: Some(failure), .. }) => Err(failure),
            Some(known) => Ok(known),
            None => Err(TokenFailure::Malformed),
        };
        self.see(HostCall::Verify { key_ring, failure: verified.as_ref().err().map(|failure| failure.as_str()) })?;
        Ok(verified.map_err(TokenFailure::into_contract).map(|known| jwt::Claims {
            algorithm: known.algorithm,
            key_id: known.key_id,
            claims: known.claims.into_iter().map(|(key, value)| attr(key, value.to_string())).collect(),
        }))
    }
}

impl ResourceLimiter for Witness {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let memory = self.memory.saturating_add(desired.saturating_sub(current));
        let fits = memory <= Limits::default().memory;
        self.starved |= !fits;
        self.memory = if fits { memory } else { self.memory };
        Ok(fits)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= crate::call::MAX_TABLE;
        self.starved |= !fits;
        Ok(fits)
    }
}
