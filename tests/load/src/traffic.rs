//! What a publisher sends, and when: frames of packets, made up from a bitrate.

use std::time::Duration;

use crate::stamp::LEAST_PAYLOAD;

/// The shape of one encoding's traffic: frames of equal size at equal intervals; key frames are three times as large. Packets of a
/// frame leave together.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Payload bits per second, headers not counted.
    pub bitrate: u64,
    /// Frames per second.
    pub frame_rate: f64,
}

/// The frames of an encoding, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    traffic: Traffic,
    next: u64,
}

impl Frames {
    pub(crate) fn new(traffic: Traffic) -> Self {
        Self { traffic, next: 0 }
    }

    /// When the next frame is due, counted from the beginning.
    pub(crate) fn due(&self) -> Duration {
        Duration::from_secs_f64(self.next as f64 / self.traffic.frame_rate)
    }

    /// Takes the next frame: whether it is a key frame, and its packets' sizes in `sizes`.
    pub(crate) fn take(&mut self, key_wanted: bool, sizes: &mut Vec<usize>) -> bool {
        sizes.clear();
        let Traffic { bitrate, frame_rate } = self.traffic;
        let key_frame = key_wanted || self.next == 0;
        let factor = if key_frame { KEY_FRAME_FACTOR } else { 1 };
        split((bitrate as f64 / 8.0 / frame_rate) as usize * factor, sizes);
        self.next += 1;
        key_frame
    }

    /// Leaves out frames that lie before a moment: a publisher that was held up does not catch up with all it missed.
    pub(crate) fn skip_to(&mut self, elapsed: Duration) -> u64 {
        let before = self.next;
        while self.due() + LATEST < elapsed {
            self.next += 1;
        }
        self.next - before
    }
}

/// Cuts a frame into packets as equal as can be, as browsers do.
fn split(bytes: usize, sizes: &mut Vec<usize>) {
    let bytes = bytes.max(LEAST_PAYLOAD);
    let count = bytes.div_ceil(MAX_PAYLOAD);
    sizes.extend((0..count).map(|packet| (bytes + packet) / count));
}

/// With RTP header, extensions and tag it stays below 1200 bytes, which fit everywhere (RFC 8831 §5 says as much for data).
const MAX_PAYLOAD: usize = 1130;
const KEY_FRAME_FACTOR: usize = 3;
const LATEST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitrate_becomes_frames_of_equal_packets() {
        let mut frames = Frames::new(Traffic { bitrate: 1_000_000, frame_rate: 25.0 });
        let mut sizes = Vec::new();
        assert!(frames.take(false, &mut sizes), "the first is a key frame");
        assert_eq!(sizes.iter().sum::<usize>(), 15_000);
        assert_eq!(frames.due(), Duration::from_millis(40));
        assert!(!frames.take(false, &mut sizes));
        assert_eq!(sizes, [1000; 5]);
        assert!(frames.take(true, &mut sizes), "one was asked for");
    }

    #[test]
    fn what_was_missed_for_long_is_left_out() {
        let mut frames = Frames::new(Traffic { bitrate: 1_000_000, frame_rate: 10.0 });
        assert_eq!(frames.skip_to(Duration::from_millis(400)), 0);
        assert_eq!(frames.skip_to(Duration::from_secs(10)), 95);
    }
}
