//! How loud a track is: what its packets say of themselves, gathered until it is told.

use lockgate_model::{Frames, Loudness};

/// A track's level, frame by frame.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    frames: Frames,
    /// When the newest packet was made, and how much of a frame is not counted yet, both on the track's clock.
    last: Option<u32>,
    rest: u32,
    /// Whether something came since this was last asked.
    fresh: bool,
}

impl Meter {
    /// Notes a packet: how loud it is, and when it was made, on a clock of so many Hz.
    pub(crate) fn note(&mut self, level: Loudness, timestamp: u32, clock_rate: u32) {
        let frame = clock_rate / FRAMES_A_SECOND;
        let passed = self.last.map_or(0, |last| timestamp.wrapping_sub(last));
        // A little back is a late packet. Far back is another clock: a source that replaced the one before begins anywhere.
        if self.last.is_some() && (-clock_rate.cast_signed()..=0).contains(&passed.cast_signed()) {
            return;
        }
        self.last = Some(timestamp);
        // Packets are as long as they are apart, except behind a pause.
        self.rest += if (1..=LONGEST * frame).contains(&passed) { passed } else { frame };
        while self.rest >= frame {
            self.rest -= frame;
            self.frames.push(level);
            self.fresh = true;
        }
    }

    /// Whether something came since the last call.
    pub(crate) fn take_fresh(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    /// What came since the last call, unless it was silence.
    pub(crate) fn take(&mut self) -> Option<Frames> {
        let frames = std::mem::take(&mut self.frames);
        frames.as_slice().iter().any(|frame| *frame > Loudness::SILENCE).then_some(frames)
    }

    /// What comes next has nothing to do with what came before.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Frames of 20 ms.
const FRAMES_A_SECOND: u32 = 50;
/// The longest packet of Opus has 120 ms (RFC 6716 §2.1.4).
const LONGEST: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const LOUD: Loudness = Loudness::below_loudest(30);

    /// How many frames packets are that were made at these times, in ms.
    fn frames(times: &[u32]) -> usize {
        let mut meter = Meter::default();
        times.iter().for_each(|ms| meter.note(LOUD, u32::MAX.wrapping_add(ms * 48), 48_000));
        meter.take().map_or(0, |frames| frames.as_slice().len())
    }

    #[test]
    fn packets_of_any_length_become_frames_of_20_ms() {
        assert_eq!(frames(&[0, 20, 40, 60]), 4);
        assert_eq!(frames(&[0, 10, 20, 30, 40, 50]), 3, "packets of 10 ms");
        assert_eq!(frames(&[0, 60, 120]), 7, "packets of 60 ms");
    }

    #[test]
    fn behind_a_pause_a_packet_is_one_frame_and_a_late_one_none() {
        assert_eq!(frames(&[0, 400, 800]), 3);
        assert_eq!(frames(&[0, 40, 20, 60]), 4);
    }

    #[test]
    fn a_clock_that_begins_anew_is_followed_wherever_it_begins() {
        assert_eq!(frames(&[0, 20, 40_000_000, 40_000_020]), 4, "ahead");
        assert_eq!(frames(&[40_000_000, 40_000_020, 0, 20]), 4, "back");
        assert_eq!(frames(&[2000, 2020, 1100, 2040]), 3, "a packet that is a second late is one all the same");
    }

    #[test]
    fn silence_is_not_told() {
        let mut meter = Meter::default();
        meter.note(Loudness::SILENCE, 0, 48_000);
        assert!(meter.take_fresh() && !meter.take_fresh());
        assert_eq!(meter.take(), None);
    }
}
