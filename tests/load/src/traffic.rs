//! What a publisher sends, and when: frames of packets, made up from a bitrate or as they were recorded.

use std::sync::Arc;
use std::time::Duration;

use crate::stamp::LEAST_PAYLOAD;

/// The shape of one encoding's traffic.
#[derive(Clone, Debug)]
pub enum Traffic {
    /// Frames of equal size at equal intervals; key frames are three times as large. Packets of a frame leave together.
    Even {
        /// Payload bits per second, headers not counted.
        bitrate: u64,
        /// Frames per second.
        frame_rate: f64,
    },
    /// Frames as given, again and again.
    Recorded {
        /// In order of time.
        frames: Arc<[Frame]>,
        /// When the first one comes again, counted from the first one.
        period: Duration,
    },
}

/// The packets that leave together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When, counted from the beginning.
    pub at: Duration,
    /// Whether it is a key frame. One is also made of a frame that a key frame was asked for.
    pub key_frame: bool,
    /// The payload bytes of each packet; at least 38 are sent.
    pub packets: Vec<u16>,
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

    /// When the next frame is due, counted from the beginning. None if there is none at all.
    pub(crate) fn due(&self) -> Option<Duration> {
        match &self.traffic {
            Traffic::Even { frame_rate, .. } => Some(Duration::from_secs_f64(self.next as f64 / frame_rate)),
            Traffic::Recorded { frames, period } => {
                let count = frames.len() as u64;
                let frame = frames.get(usize::try_from(self.next.checked_rem(count)?).ok()?)?;
                Some(frame.at + period.mul_f64((self.next / count) as f64))
            }
        }
    }

    /// Takes the next frame: whether it is a key frame, and its packets' sizes in `sizes`.
    pub(crate) fn take(&mut self, key_wanted: bool, sizes: &mut Vec<usize>) -> bool {
        sizes.clear();
        let key_frame = match &self.traffic {
            Traffic::Even { bitrate, frame_rate } => {
                let key_frame = key_wanted || self.next == 0;
                let bytes =
                    (*bitrate as f64 / 8.0 / frame_rate) as usize * if key_frame { KEY_FRAME_FACTOR } else { 1 };
                split(bytes, sizes);
                key_frame
            }
            Traffic::Recorded { frames, .. } => {
                let frame = &frames[(self.next % frames.len().max(1) as u64) as usize];
                sizes.extend(frame.packets.iter().map(|size| usize::from(*size)));
                frame.key_frame || key_wanted || self.next == 0
            }
        };
        self.next += 1;
        key_frame
    }

    /// Leaves out frames that lie before a moment: a publisher that was held up does not catch up with all it missed.
    pub(crate) fn skip_to(&mut self, elapsed: Duration) -> u64 {
        let before = self.next;
        while self.due().is_some_and(|due| due + LATEST < elapsed) {
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
        let mut frames = Frames::new(Traffic::Even { bitrate: 1_000_000, frame_rate: 25.0 });
        let mut sizes = Vec::new();
        assert!(frames.take(false, &mut sizes), "the first is a key frame");
        assert_eq!(sizes.iter().sum::<usize>(), 15_000);
        assert_eq!(frames.due(), Some(Duration::from_millis(40)));
        assert!(!frames.take(false, &mut sizes));
        assert_eq!(sizes, [1000; 5]);
        assert!(frames.take(true, &mut sizes), "one was asked for");
    }

    #[test]
    fn a_recording_begins_again() {
        let frame = |at, key_frame| Frame { at: Duration::from_millis(at), key_frame, packets: vec![100] };
        let frames = [frame(0, true), frame(30, false)].into();
        let mut frames = Frames::new(Traffic::Recorded { frames, period: Duration::from_millis(70) });
        let mut sizes = Vec::new();
        let taken: Vec<_> =
            (0..4).map(|_| (frames.due().unwrap().as_millis(), frames.take(false, &mut sizes))).collect();
        assert_eq!(taken, [(0, true), (30, false), (70, true), (100, false)]);
    }

    #[test]
    fn what_was_missed_for_long_is_left_out() {
        let mut frames = Frames::new(Traffic::Even { bitrate: 1_000_000, frame_rate: 10.0 });
        assert_eq!(frames.skip_to(Duration::from_millis(400)), 0);
        assert_eq!(frames.skip_to(Duration::from_secs(10)), 95);
    }
}
