//! One component on an engine that counts what guests compute: the same question always costs the same.
//!
//! Every import is linked, as a plugin is examined before anybody decides what to grant. A guest that goes on for ever ends when its
//! fuel is used up, not at a time.

use wasmtime::component::{Component, Instance, InstancePre, Linker};
use wasmtime::{Config, Engine, Store, Trap};

use crate::failure::Failure;
use crate::kit::witness::{self, Witness};
use crate::load;
use crate::load_error::LoadProblem;
use crate::plugin::Exports;

/// The engine of specimens.
pub(super) struct Bench(pub(super) Engine);

/// A component that can be asked.
pub(super) struct Specimen {
    pre: InstancePre<Witness>,
    exports: Exports,
}

/// Why there is no answer: the cause, and what the engine says of it.
pub(super) struct Stopped {
    pub(super) failure: Failure,
    pub(super) detail: Option<String>,
}

impl Bench {
    pub(super) fn new() -> Result<Self, LoadProblem> {
        let mut config = Config::new();
        config.concurrency_support(false).consume_fuel(true).max_wasm_stack(STACK);
        Engine::new(&config).map(Self).map_err(|error| LoadProblem::Engine(load::first_line(&error)))
    }

    /// Compiles it.
    ///
    /// # Errors
    /// If it is no component.
    pub(super) fn compile(&self, bytes: &[u8]) -> Result<Component, LoadProblem> {
        if bytes.starts_with(CORE_MODULE) {
            return Err(LoadProblem::NotAComponent("it is a core module".into()));
        }
        Component::new(&self.0, bytes).map_err(|error| LoadProblem::NotAComponent(load::first_line(&error)))
    }

    /// Makes it ready to be asked.
    ///
    /// # Errors
    /// If it imports what is not the contract's.
    pub(super) fn link(&self, component: &Component) -> Result<Specimen, LoadProblem> {
        let mut linker = Linker::new(&self.0);
        witness::link(&mut linker)
            .and_then(|()| linker.instantiate_pre(component))
            .map(|pre| Specimen { exports: load::exports(&pre), pre })
            .map_err(|error| LoadProblem::NotAComponent(load::first_line(&error)))
    }
}

impl Specimen {
    pub(super) fn exports(&self) -> &Exports {
        &self.exports
    }

    /// Puts something to a fresh instance.
    pub(super) fn run<A>(
        &self,
        witness: Witness,
        ask: impl FnOnce(&Exports, &mut Store<Witness>, &Instance) -> wasmtime::Result<A>,
    ) -> Result<A, Stopped> {
        let mut store = Store::new(self.pre.engine(), witness);
        store.limiter(|witness| witness);
        store.set_hostcall_fuel(crate::guests::HOSTCALL_BYTES);
        store.set_fuel(FUEL).map_err(|error| stopped(&error, false, Failure::Instantiation))?;
        let instance = self
            .pre
            .instantiate(&mut store)
            .map_err(|error| stopped(&error, store.data().starved(), Failure::Instantiation))?;
        ask(&self.exports, &mut store, &instance)
            .map_err(|error| stopped(&error, store.data().starved(), Failure::BadAnswer))
    }
}

/// The cause of an error; `other` is what it is when the guest did nothing illegal.
fn stopped(error: &wasmtime::Error, starved: bool, other: Failure) -> Stopped {
    let failure = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Failure::Timeout,
        _ => match Failure::of_call(error, starved) {
            Failure::BadAnswer => other,
            failure => failure,
        },
    };
    let detail = error.root_cause().to_string().lines().next().map(str::to_owned);
    Stopped { failure, detail }
}

/// How a core module begins; a component has another number there.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// As on a node.
const STACK: usize = 256 << 10;
/// About so many instructions: a second or so, far more than any deadline leaves.
const FUEL: u64 = 1_000_000_000;
