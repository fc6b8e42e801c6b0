//! The engine that runs guests, and the clock that ends those who take too long.
//!
//! One engine for all plugins of a host; compiled code and pooled memory live in it. It decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use wasmtime::{Cache, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// An engine whose epoch advances once a millisecond while anything runs, and rests otherwise.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    ticks: Arc<Ticks>,
    ticker: Thread,
    thread: Option<JoinHandle<()>>,
}

/// A call that may be ended by the epoch: the clock runs as long as one of these lives.
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a Ticks);

#[derive(Debug, Default)]
struct Ticks {
    running: AtomicUsize,
    stop: AtomicBool,
}

impl Runtime {
    /// An engine for as many calls at once, which keeps its machine code there.
    pub(crate) fn new(calls: usize, cache: Option<Cache>) -> Result<Self, String> {
        let engine = Engine::new(config(calls).cache(cache)).map_err(|error| format!("{error:#}"))?;
        let ticks = Arc::<Ticks>::default();
        let thread = {
            let (ticks, engine) = (Arc::clone(&ticks), engine.clone());
            thread::Builder::new()
                .name("policy-clock".into())
                .spawn(move || ticks.run(&engine))
                .map_err(|error| error.to_string())?
        };
        let ticker = thread.thread().clone();
        Ok(Self { engine, ticks, ticker, thread: Some(thread) })
    }

    /// Keeps the clock running while the result lives.
    pub(crate) fn run(&self) -> Running<'_> {
        if self.ticks.running.fetch_add(1, SeqCst) == 0 {
            self.ticker.unpark();
        }
        Running(&self.ticks)
    }

    /// The number of ticks that surely cover so much time.
    pub(crate) fn ticks(time: Duration) -> u64 {
        // As many more as the present sleep may count for, which may be nearly over.
        u64::try_from(time.div_duration_f64(TICK).ceil() as u128)
            .unwrap_or(u64::MAX / 2)
            .saturating_add(MAX_TICKS.into())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.ticks.stop.store(true, SeqCst);
        self.ticker.unpark();
        if let Some(thread) = self.thread.take() {
            // It cannot panic: it only counts and sleeps.
            let _ = thread.join();
        }
    }
}

impl Ticks {
    fn run(&self, engine: &Engine) {
        let mut counted = Counted(Instant::now());
        while !self.stop.load(SeqCst) {
            if self.running.load(SeqCst) == 0 {
                // An `unpark` that came since the line above makes this return at once.
                thread::park();
                counted = Counted(Instant::now());
                continue;
            }
            thread::sleep(TICK);
            for _ in 0..counted.due(Instant::now()) {
                engine.increment_epoch();
            }
        }
    }
}

/// Until when time has been counted in ticks.
#[derive(Debug)]
struct Counted(Instant);

impl Counted {
    /// The ticks since then. On a busy machine each sleep is longer than was asked for, and ticks that were counted by sleeps would give
    /// a guest twice its time; but who stood still with the whole machine is not charged with that.
    fn due(&mut self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.0).div_duration_f64(TICK);
        if passed >= f64::from(MAX_TICKS) {
            self.0 = now;
            return MAX_TICKS;
        }
        let due = passed as u32;
        self.0 += TICK * due;
        due
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

fn config(calls: usize) -> Config {
    let calls = u32::try_from(calls).unwrap_or(16) + 2;
    let mut pool = PoolingAllocationConfig::new();
    // A guest composed of several components has several memories and many small core instances.
    pool.total_component_instances(calls)
        .total_core_instances(calls * 16)
        .total_memories(calls * 4)
        .total_tables(calls * 8)
        .max_core_instances_per_component(64)
        .max_memories_per_component(4)
        .max_tables_per_component(32)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(1 << 20)
        .max_memory_size(MAX_MEMORY)
        .max_unused_warm_slots(calls)
        .linear_memory_keep_resident(KEPT_MEMORY)
        .table_keep_resident(KEPT_TABLES)
        .pagemap_scan(wasmtime::Enabled::Auto);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK);
    config
}

/// The most memory that a plugin can be given.
pub(crate) const MAX_MEMORY: usize = 256 << 20;
const WASM_STACK: usize = 256 << 10;
const TICK: Duration = Duration::from_millis(1);
/// What one sleep counts for at most.
const MAX_TICKS: u32 = 5;
/// Bytes that a slot of the pool wipes by itself and keeps, instead of giving them back to the system: cheaper than faults.
const KEPT_MEMORY: usize = 2 << 20;
const KEPT_TABLES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_cut_short_by_a_tick_that_has_begun() {
        assert_eq!(Runtime::ticks(Duration::from_millis(10)), 15);
        assert_eq!(Runtime::ticks(Duration::from_micros(1)), 6);
    }

    #[test]
    fn sleeps_that_are_too_long_are_counted_by_their_length_and_a_standstill_is_not() {
        let start = Instant::now();
        let at = |micros| start + Duration::from_micros(micros);
        let mut counted = Counted(start);
        // Half a tick too long each: what is left over of one counts with the next.
        let due: Vec<u32> = (1..=4).map(|sleep| counted.due(at(sleep * 1500))).collect();
        assert_eq!(due, [1, 2, 1, 2]);
        assert_eq!((counted.due(at(500_000)), counted.due(at(501_000))), (MAX_TICKS, 1));
    }

    #[test]
    fn the_clock_runs_only_while_something_runs() {
        let runtime = Runtime::new(1, None).unwrap();
        // Two overlapping calls: the clock goes on until the last one is over.
        let one = runtime.run();
        let other = runtime.run();
        drop(one);
        assert_eq!(runtime.ticks.running.load(SeqCst), 1);
        drop(other);
        assert_eq!(runtime.ticks.running.load(SeqCst), 0);
    }
}
