//! One component that is looked at, by itself and with every import linked: nobody has decided yet what to grant.
//!
//! On an engine that counts what guests compute, the same question costs the same on every machine, and a guest that goes on for
//! ever ends when its fuel is used up. On an engine with a node's settings, it takes the time that it takes there.

use std::time::{Duration, Instant};

use wasmtime::component::{Component, Instance, InstancePre, Linker};
use wasmtime::{Config, Engine, Store, Trap};

use crate::engine::{Running, Runtime};
use crate::failure::Failure;
use crate::kit::witness::{self, Witness};
use crate::load;
use crate::load_error::LoadProblem;
use crate::plugin::Exports;

/// The engine of specimens.
pub(super) enum Bench {
    /// Counts.
    Fuel(Engine),
    /// As on a node.
    Clock(Runtime),
}

/// A component that can be asked.
pub(super) struct Specimen {
    pre: InstancePre<Witness>,
    exports: Exports,
    is_fuelled: bool,
}

/// An instance that can be asked again and again.
pub(super) struct Warm<'a> {
    specimen: &'a Specimen,
    store: Store<Witness>,
    instance: Instance,
}

/// How a call went.
pub(super) struct Run<A> {
    pub(super) result: Result<A, Stopped>,
    /// What the guest computed, about one for each instruction; zero on an engine that does not count.
    pub(super) cost: u64,
    pub(super) took: Duration,
    pub(super) witness: Witness,
}

/// Why there is no answer: the cause, and what the engine says of it.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) failure: Failure,
    pub(super) detail: Option<String>,
}

impl Bench {
    /// An engine that counts.
    pub(super) fn counting() -> Result<Self, LoadProblem> {
        let mut config = Config::new();
        config.concurrency_support(false).consume_fuel(true).max_wasm_stack(STACK);
        Engine::new(&config).map(Self::Fuel).map_err(|error| LoadProblem::Engine(load::first_line(&error)))
    }

    /// An engine as on a node.
    pub(super) fn timing() -> Result<Self, LoadProblem> {
        Runtime::new(1, None).map(Self::Clock).map_err(LoadProblem::Engine)
    }

    /// Keeps the clock running while the result lives, if there is one.
    pub(super) fn run(&self) -> Option<Running<'_>> {
        match self {
            Self::Fuel(_) => None,
            Self::Clock(runtime) => Some(runtime.run()),
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        match self {
            Self::Fuel(engine) => engine,
            Self::Clock(runtime) => &runtime.engine,
        }
    }

    /// Compiles it.
    ///
    /// # Errors
    /// If it is no component.
    pub(super) fn compile(&self, bytes: &[u8]) -> Result<Component, LoadProblem> {
        if !bytes.starts_with(CORE_MODULE.split_at(4).0) {
            return Err(LoadProblem::NotAComponent("it is no WebAssembly".into()));
        }
        if bytes.starts_with(CORE_MODULE) {
            return Err(LoadProblem::NotAComponent("it is a core module".into()));
        }
        Component::new(self.engine(), bytes).map_err(|error| LoadProblem::NotAComponent(load::first_line(&error)))
    }

    /// Makes it ready to be asked.
    ///
    /// # Errors
    /// If it imports what is not the contract's.
    pub(super) fn link(&self, component: &Component) -> Result<Specimen, LoadProblem> {
        let mut linker = Linker::new(self.engine());
        let is_fuelled = matches!(self, Self::Fuel(_));
        witness::link(&mut linker)
            .and_then(|()| linker.instantiate_pre(component))
            .map(|pre| Specimen { exports: load::exports(&pre), pre, is_fuelled })
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
    ) -> Run<A> {
        let started = Instant::now();
        let mut store = self.store(witness);
        let result = self.instantiate(&mut store).and_then(|instance| {
            ask(&self.exports, &mut store, &instance)
                .map_err(|error| stopped(&error, store.data().starved(), Failure::BadAnswer))
        });
        let cost = if self.is_fuelled { FUEL - store.get_fuel().unwrap_or(FUEL) } else { 0 };
        Run { result, cost, took: started.elapsed(), witness: store.into_data() }
    }

    /// An instance that is kept.
    pub(super) fn warm(&self, witness: Witness) -> Result<Warm<'_>, Stopped> {
        let mut store = self.store(witness);
        let instance = self.instantiate(&mut store)?;
        Ok(Warm { specimen: self, store, instance })
    }

    fn store(&self, witness: Witness) -> Store<Witness> {
        let mut store = Store::new(self.pre.engine(), witness);
        store.limiter(|witness| witness);
        store.set_hostcall_fuel(crate::guests::HOSTCALL_BYTES);
        if self.is_fuelled {
            // It fails only on an engine that does not count.
            let _ = store.set_fuel(FUEL);
        } else {
            store.set_epoch_deadline(Runtime::ticks(PATIENCE));
        }
        store
    }

    fn instantiate(&self, store: &mut Store<Witness>) -> Result<Instance, Stopped> {
        self.pre
            .instantiate(&mut *store)
            .map_err(|error| stopped(&error, store.data().starved(), Failure::Instantiation))
    }
}

impl Warm<'_> {
    /// Puts something to the instance once more, and tells how long it took.
    pub(super) fn again<A>(
        &mut self,
        ask: impl FnOnce(&Exports, &mut Store<Witness>, &Instance) -> wasmtime::Result<A>,
    ) -> (Result<A, Stopped>, Duration) {
        let started = Instant::now();
        self.store.data_mut().begin();
        self.store.set_epoch_deadline(Runtime::ticks(PATIENCE));
        self.store.set_hostcall_fuel(crate::guests::HOSTCALL_BYTES);
        let result = ask(&self.specimen.exports, &mut self.store, &self.instance);
        let took = started.elapsed();
        (result.map_err(|error| stopped(&error, self.store.data().starved(), Failure::BadAnswer)), took)
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

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.failure),
            None => write!(f, "{}", self.failure),
        }
    }
}

/// How a core module begins; a component has another number there.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// As on a node.
const STACK: usize = 256 << 10;
/// About so many instructions: a second or so, far more than any deadline leaves.
const FUEL: u64 = 1_000_000_000;
/// For one call, where time counts.
const PATIENCE: Duration = Duration::from_secs(10);
