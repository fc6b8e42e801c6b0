//! What is sent: which packets, how long, when.

use std::time::Duration;

use clap::ValueEnum;

use crate::trace::Trace;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// One Opus packet of 100 bytes every 20 ms
    #[value(name = "audio-opus")]
    Audio,
    /// Bursts of eight equal packets of 1100 bytes, so many that 50,000 packets a second leave
    #[value(name = "video-burst8")]
    VideoBurst8,
    /// 2.5 Mbit/s at 30 frames a second, in the sizes and at the times of a browser's encoder
    #[value(name = "video-real")]
    VideoReal,
}

/// A packet that the publisher is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// A picture's, or sound.
    pub(crate) video: bool,
    /// Bytes of its payload.
    pub(crate) payload: usize,
    /// Whether it is its frame's last.
    pub(crate) ends_frame: bool,
}

impl Scenario {
    pub(crate) const ALL: [Self; 3] = [Self::Audio, Self::VideoBurst8, Self::VideoReal];

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio-opus",
            Self::VideoBurst8 => "video-burst8",
            Self::VideoReal => "video-real",
        }
    }

    /// What is sent in one round. Each round of a row takes another part of the recorded trace.
    pub(crate) fn schedule(self, viewers: usize, round: u32, length: Duration, trace: &Trace) -> Vec<Outgoing> {
        match self {
            Self::Audio => every(AUDIO_FRAME, length, |at| vec![sound(at)]),
            Self::VideoBurst8 => every(burst_interval(viewers), length, burst),
            Self::VideoReal => {
                let packets = trace.stretch(length * round, length);
                let outgoing = packets.iter().map(|packet| Outgoing {
                    at: packet.at,
                    video: true,
                    payload: packet.payload,
                    ends_frame: packet.ends_frame,
                });
                outgoing.collect()
            }
        }
    }
}

/// One packet, and then a pause in which everything comes to rest: for latency without load.
pub(crate) fn drops(scenario: Scenario, viewers: usize, length: Duration) -> Vec<Outgoing> {
    // The last viewer's copy leaves before the next packet comes.
    let pause = AUDIO_FRAME.max(Duration::from_micros(20 * viewers as u64));
    let one = |at| match scenario {
        Scenario::Audio => vec![sound(at)],
        _ => vec![picture(at, true)],
    };
    every(pause, length, one)
}

/// So many bursts at once, for a worker that is to do as much as it can.
pub(crate) fn flood(bursts: usize) -> Vec<Outgoing> {
    (0..bursts).flat_map(|_| burst(Duration::ZERO)).collect()
}

fn every(interval: Duration, length: Duration, make: impl Fn(Duration) -> Vec<Outgoing>) -> Vec<Outgoing> {
    let count = (length.as_nanos() / interval.as_nanos()).max(1) as u32;
    (0..count).flat_map(|index| make(interval * index)).collect()
}

fn sound(at: Duration) -> Outgoing {
    Outgoing { at, video: false, payload: AUDIO_PAYLOAD, ends_frame: true }
}

fn burst(at: Duration) -> Vec<Outgoing> {
    (1..=BURST).map(|index| picture(at, index == BURST)).collect()
}

fn picture(at: Duration, ends_frame: bool) -> Outgoing {
    Outgoing { at, video: true, payload: VIDEO_PAYLOAD, ends_frame }
}

fn burst_interval(viewers: usize) -> Duration {
    (SECOND * (BURST * viewers) as u32 / PACKETS_OUT).max(SECOND * BURST as u32 / PACKETS_IN)
}

/// Packets in a burst.
pub(crate) const BURST: usize = 8;
/// What leaves in a second, where one publisher's stream is not too much for that.
const PACKETS_OUT: u32 = 50_000;
/// What one publisher sends in a second at most.
const PACKETS_IN: u32 = 5_000;
const SECOND: Duration = Duration::from_secs(1);
const AUDIO_FRAME: Duration = Duration::from_millis(20);
/// With a viewer's header of 20 bytes: 100.
const AUDIO_PAYLOAD: usize = 80;
/// With a viewer's header of 20 bytes: 1100.
const VIDEO_PAYLOAD: usize = 1080;

#[cfg(test)]
mod tests {
    use super::*;

    fn packets_out(viewers: usize) -> f64 {
        let trace = Trace::recorded().unwrap();
        let length = Duration::from_secs(4);
        let schedule = Scenario::VideoBurst8.schedule(viewers, 0, length, &trace);
        (schedule.len() * viewers) as f64 / length.as_secs_f64()
    }

    #[test]
    fn bursts_make_50_000_packets_a_second_where_they_can() {
        assert_eq!(packets_out(1).round(), 5_000.0);
        for viewers in [10, 50, 100, 500] {
            assert!((47_000.0..=51_000.0).contains(&packets_out(viewers)), "{viewers}: {}", packets_out(viewers));
        }
    }

    #[test]
    fn rounds_of_real_video_differ() {
        let trace = Trace::recorded().unwrap();
        let round = |round| Scenario::VideoReal.schedule(100, round, Duration::from_secs(1), &trace);
        assert_ne!(round(0), round(1));
        assert!(round(0).len() > 100);
    }
}
