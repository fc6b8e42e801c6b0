//! What one viewer may ask of a track: packets again, and key frames.
//!
//! Whoever asks for more than a bad link explains gets no more: packets cost us, key frames cost the publisher and everybody who
//! watches. Requests that are merged with others' are none.

use std::time::{Duration, Instant};

/// What was asked for lately. Small, as every viewer of every track has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demands {
    /// When the current second began.
    second: Instant,
    /// Packets in it.
    repairs: u16,
    /// Seconds until all key frames are made up for.
    debt: u8,
}

impl Demands {
    pub(crate) fn new(now: Instant) -> Self {
        Self { second: now, repairs: 0, debt: 0 }
    }

    /// Whether one more packet may be sent again: a second has so many.
    pub(crate) fn may_repair(&mut self, now: Instant) -> bool {
        self.go_on(now);
        let may = self.repairs < MAX_REPAIRS;
        self.repairs += u16::from(may);
        may
    }

    /// Whether one more key frame may be asked for: some at once, and then one every [`KEY_FRAME`] seconds.
    pub(crate) fn may_have_key(&mut self, now: Instant) -> bool {
        self.go_on(now);
        let may = self.debt + KEY_FRAME <= MAX_DEBT;
        self.debt += if may { KEY_FRAME } else { 0 };
        may
    }

    /// Whether anything of it still counts.
    pub(crate) fn is_owed(&mut self, now: Instant) -> bool {
        self.go_on(now);
        self.debt > 0 || self.repairs > 0
    }

    fn go_on(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.second).as_secs();
        if seconds > 0 {
            self.second += Duration::from_secs(seconds);
            self.repairs = 0;
            self.debt = self.debt.saturating_sub(seconds.min(u64::from(MAX_DEBT)) as u8);
        }
    }
}

/// A viewer of 4 Mbit/s that loses every fourth packet asks for fewer.
const MAX_REPAIRS: u16 = 500;
/// In seconds: about what encoders do by themselves anyway.
const KEY_FRAME: u8 = 2;
/// In seconds: eight at once, for somebody who joins, changes layers and loses some.
const MAX_DEBT: u8 = 16;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_repairs() {
        let now = Instant::now();
        let mut demands = Demands::new(now);
        let granted = |demands: &mut Demands, at| (0..2000).filter(|_| demands.may_repair(at)).count();
        assert_eq!(granted(&mut demands, now), 500);
        assert_eq!(granted(&mut demands, now + Duration::from_millis(999)), 0);
        assert_eq!(granted(&mut demands, now + Duration::from_millis(1500)), 500);
    }

    #[test]
    fn key_frames_come_in_a_burst_and_then_now_and_then() {
        let now = Instant::now();
        let mut demands = Demands::new(now);
        let mut granted = |from: u64, to: u64| {
            (from..to).filter(|tenth| demands.may_have_key(now + Duration::from_millis(tenth * 100))).count()
        };
        assert_eq!(granted(0, 10), 8);
        assert_eq!(granted(10, 210), 10, "one in two seconds");
        assert_eq!(granted(100_000, 100_010), 8, "after a while, as at the beginning");
    }
}
