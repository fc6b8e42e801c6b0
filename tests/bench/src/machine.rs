//! The machine: its facts, its cores, and how much of them a thread has used.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;

use crate::heap;

/// What a reader of the numbers has to know.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Whether the worker had a core to itself, as far as we can tell: ours are on another.
    pub(crate) pinned: bool,
    /// Processes that wanted a core when the run began, ours not counted: numbers of a busy machine are worth less.
    pub(crate) load: f64,
}

impl Machine {
    pub(crate) fn here(pinned: bool) -> Self {
        let text = |file| fs::read_to_string(file).unwrap_or_default();
        let processors = text("/proc/cpuinfo");
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = text("/proc/loadavg");
        Self {
            processor: model.map_or_else(|| "unknown".into(), |(_, name)| name.to_owned()),
            cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            pinned,
            load: load.split(' ').next().and_then(|one| one.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// Keeps this thread, and those that it will start, on one core. False if there is no such core, or the system forbids it.
pub(crate) fn pin(core: usize) -> bool {
    let mut set = CpuSet::new();
    set.set(core).is_ok() && sched_setaffinity(Pid::from_raw(0), &set).is_ok()
}

/// A thread of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Thread(i32);

impl Thread {
    /// The media threads of this process.
    pub(crate) fn media() -> Result<BTreeSet<Self>> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir("/proc/self/task")? {
            let entry = entry?;
            // One may have ended since the folder was read.
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if name.starts_with("media-") {
                found.insert(Self(entry.file_name().to_string_lossy().parse().context("a thread has a number")?));
            }
        }
        Ok(found)
    }

    /// A media thread that was not there before. A thread gives itself its name, so it may take a moment until it has it.
    pub(crate) fn media_besides(before: &BTreeSet<Self>) -> Result<Self> {
        let begun = Instant::now();
        loop {
            if let Some(new) = Self::media()?.difference(before).next() {
                return Ok(*new);
            }
            ensure!(begun.elapsed() < PATIENCE, "the worker has no thread");
            std::thread::yield_now();
        }
    }

    /// How often it asked for memory so far.
    pub(crate) fn allocations(self) -> Result<u64> {
        heap::allocations(self.0).context("no account is kept of what the media thread allocates")
    }

    /// How long it has run on a core so far, in user and kernel mode.
    pub(crate) fn used(self) -> Result<Duration> {
        // Linux makes the clock of a thread from its number (MAKE_THREAD_CPUCLOCK in the kernel's posix-timers.h).
        read(ClockId::from_raw((!self.0) << 3 | PER_THREAD | SCHEDULED))
    }
}

/// How long the calling thread has run on a core so far.
pub(crate) fn used_by_this_thread() -> Result<Duration> {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// The same of all threads of this process.
pub(crate) fn used_by_this_process() -> Result<Duration> {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// The same of another process, by its number.
pub(crate) fn used_by(process: i32) -> Result<Duration> {
    // MAKE_PROCESS_CPUCLOCK in the kernel's posix-timers.h, which clock_getcpuclockid(3) stands on.
    read(ClockId::from_raw((!process) << 3 | SCHEDULED))
}

/// The wall clock, which the system stamps arriving packets with.
pub(crate) fn wall_clock() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_REALTIME).unwrap_or(nix::sys::time::TimeSpec::new(0, 0)))
}

/// Bytes of this process that are in memory.
pub(crate) fn resident() -> u64 {
    resident_of("self")
}

/// The same of a process by its number.
pub(crate) fn resident_of(process: &str) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE
}

fn read(clock: ClockId) -> Result<Duration> {
    Ok(Duration::from(clock_gettime(clock).context("the thread or process has ended")?))
}

const PER_THREAD: i32 = 4;
const SCHEDULED: i32 = 2;
const PAGE: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::TryRecvError;

    use super::*;

    #[test]
    fn a_media_thread_is_found_and_its_work_is_seen_by_others() {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        // On a busy machine it may take any time until it was seen at work.
        let work = move || {
            while wait.try_recv() == Err(TryRecvError::Empty) {
                std::hint::spin_loop();
            }
        };
        let thread = std::thread::Builder::new().name("media-test".into()).spawn(work).unwrap();
        let own = Thread::media_besides(&BTreeSet::new()).unwrap();
        while own.used().unwrap() < Duration::from_millis(5) {
            std::thread::yield_now();
        }
        drop(done);
        thread.join().unwrap();
        assert!(used_by_this_process().unwrap() >= Duration::from_millis(5));
    }
}
