//! The imports, as a specimen finds them.

use serde_json::{Map, Value};
use wasmtime::ResourceLimiter;
use wasmtime::component::{HasSelf, Linker};

use crate::config::Limits;
use crate::contract::{clock, config, jwt, kv, log, metrics, types};
use crate::memory::{Memory, NotKept};

/// What one call finds.
pub(super) struct Witness {
    settings: Map<String, Value>,
    now_ms: u64,
    kept: Memory,
    memory: usize,
    starved: bool,
}

impl Witness {
    pub(super) fn new(settings: Map<String, Value>, now_ms: u64) -> Self {
        let limits = Limits::default();
        Self { settings, now_ms, kept: Memory::new(limits.kv_keys, limits.kv_bytes), memory: 0, starved: false }
    }

    /// Whether memory was refused.
    pub(super) fn starved(&self) -> bool {
        self.starved
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
    fn write(&mut self, _: log::Level, _: String, _: Vec<types::Attr>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl clock::Host for Witness {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(self.now_ms)
    }
}

impl config::Host for Witness {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.settings.get(&key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    }

    fn all(&mut self) -> wasmtime::Result<String> {
        Ok(Value::Object(self.settings.clone()).to_string())
    }
}

impl kv::Host for Witness {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.kept.get(&key, self.now_ms).map(<[u8]>::to_vec))
    }

    fn put(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u32>) -> wasmtime::Result<Result<(), kv::Failure>> {
        Ok(self.kept.put(key, value, ttl_ms, self.now_ms).map_err(|not_kept| match not_kept {
            NotKept::TooLong => kv::Failure::TooLong,
            NotKept::Full => kv::Failure::Full,
        }))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.kept.delete(&key);
        Ok(())
    }
}

impl metrics::Host for Witness {
    fn add(&mut self, _: String, _: u64) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl jwt::Host for Witness {
    /// No key is here, so no token is good.
    fn verify(&mut self, _: String, _: String) -> wasmtime::Result<Result<jwt::Claims, jwt::Failure>> {
        Ok(Err(jwt::Failure::Malformed))
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
