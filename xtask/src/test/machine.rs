//! Whether the machine gave a test its time. A virtual machine is at times given to others for seconds: then sound is late, pictures are
//! lost, and patience ends, whatever is tested. What fails meanwhile says nothing, and is asked again.

use std::fmt;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::console::brief;

/// Watches the machine while something runs.
pub(super) struct Watch {
    before: Option<Ticks>,
    end: Sender<()>,
    longest: JoinHandle<Duration>,
}

/// What the machine did meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    /// The share of its time that others had, 0 to 1.
    stolen: f64,
    /// How long a thread that was due did not run, at most.
    still: Duration,
}

/// The clock ticks of all processors since the start of the machine.
#[derive(Clone, Copy)]
struct Ticks {
    stolen: u64,
    all: u64,
}

impl Watch {
    pub(super) fn begin() -> Self {
        let (end, ended) = mpsc::channel();
        let longest = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            loop {
                let due = Instant::now() + LOOK_EVERY;
                match ended.recv_timeout(LOOK_EVERY) {
                    Err(RecvTimeoutError::Timeout) => longest = longest.max(due.elapsed()),
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return longest,
                }
            }
        });
        Self { before: Ticks::now(), end, longest }
    }

    pub(super) fn end(self) -> Machine {
        drop(self.end);
        let still = self.longest.join().unwrap_or_default();
        let stolen = self.before.zip(Ticks::now()).map_or(0.0, |(before, after)| before.stolen_until(after));
        Machine { stolen, still }
    }
}

impl Machine {
    /// Whether a test of media in real time may have failed by that: it is worth another try.
    pub(super) fn was_away(self) -> bool {
        self.stolen >= MUCH || self.still >= LONG
    }

    /// Whether such a test had no chance.
    pub(super) fn was_gone(self) -> bool {
        self.stolen >= MOST || self.still >= TOO_LONG
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stolen, still } = self;
        write!(f, "others had {:.0} % of its time, and it stood still for {} at most", stolen * 100.0, brief(*still))
    }
}

impl Ticks {
    /// Nothing where there is no such file: only Linux tells.
    fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).
    fn parse(stat: &str) -> Option<Self> {
        let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = numbers.take(8).map_while(|number| number.parse().ok()).collect();
        Some(Self { stolen: *ticks.get(7)?, all: ticks.iter().sum() })
    }

    fn stolen_until(self, after: Self) -> f64 {
        let (stolen, all) = (after.stolen.saturating_sub(self.stolen), after.all.saturating_sub(self.all));
        #[expect(clippy::cast_precision_loss, reason = "a share does not need so many digits")]
        if all == 0 { 0.0 } else { stolen as f64 / all as f64 }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A tenth of the time missing on the average is half of it missing for seconds.
const MUCH: f64 = 0.1;
/// What a socket of the system holds of media is full after about as long.
const LONG: Duration = Duration::from_millis(200);
/// With a quarter missing on the average nothing is left for seconds.
const MOST: f64 = 0.25;
/// Pictures freeze, and checks of connections go unanswered.
const TOO_LONG: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_had_is_a_share_of_all() {
        let ticks = |text: &str| Ticks::parse(text).unwrap();
        let before = ticks("cpu  100 0 50 800 10 0 5 35 0 0\ncpu0 1 2 3\n");
        let after = ticks("cpu  150 0 50 830 10 0 5 55 0 0\n");
        assert_eq!((before.all, before.stolen), (1000, 35));
        assert!((before.stolen_until(after) - 0.2).abs() < 1e-9);
        assert!((before.stolen_until(before)).abs() < 1e-9);
        assert!(Ticks::parse("cpu  1 2 3\n").is_none());
    }

    #[test]
    fn a_machine_is_away_when_much_is_missing_or_for_long() {
        let away = |stolen, still| Machine { stolen, still: Duration::from_millis(still) }.was_away();
        assert_eq!([away(0.02, 60), away(0.12, 60), away(0.0, 300)], [false, true, true]);
        let gone = |stolen, still| Machine { stolen, still: Duration::from_millis(still) }.was_gone();
        assert_eq!([gone(0.12, 300), gone(0.3, 60), gone(0.0, 1100)], [false, true, true]);
    }

    #[test]
    fn a_watch_ends_at_once() {
        assert!(Watch::begin().end().stolen <= 1.0);
    }
}
