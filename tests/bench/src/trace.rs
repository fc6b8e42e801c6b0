//! What a browser's encoder sent, packet by packet: see `traces/` and how its head says that it was made.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TracePacket {
    /// Since the first one.
    pub(crate) at: Duration,
    /// Bytes of its payload.
    pub(crate) payload: usize,
    /// Whether it is its frame's last.
    pub(crate) ends_frame: bool,
}

/// The packets of one encoding, in order.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    packets: Vec<TracePacket>,
}

impl Trace {
    /// The trace that comes with the benchmark.
    pub(crate) fn recorded() -> Result<Self> {
        Self::parse(include_str!("../traces/chromium-vp8-720p30.txt"))
    }

    fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let packets = lines.map(|line| packet(line).with_context(|| format!("the trace says {line:?}")));
        let packets: Vec<_> = packets.collect::<Result<_>>()?;
        ensure!(packets.last().is_some_and(|last| last.ends_frame), "the trace ends within a frame");
        ensure!(packets.is_sorted_by_key(|packet| packet.at), "the trace goes back in time");
        Ok(Self { packets })
    }

    /// The whole frames of one stretch of time; it repeats where it ends. Times are since the first packet of them.
    pub(crate) fn stretch(&self, from: Duration, length: Duration) -> Vec<TracePacket> {
        let frame_ends = |index: usize| index == 0 || self.packets[index - 1].ends_frame;
        let from = Duration::from_nanos((from.as_nanos() % self.length().as_nanos()) as u64);
        let first = (0..self.packets.len()).find(|index| frame_ends(*index) && self.packets[*index].at >= from);
        let first = first.unwrap_or(0);
        let mut stretch: Vec<TracePacket> = Vec::new();
        for round in 0.. {
            let skipped = if round == 0 { first } else { 0 };
            for packet in &self.packets[skipped..] {
                let at = packet.at + self.length() * round - self.packets[first].at;
                if at >= length && stretch.last().is_some_and(|last| last.ends_frame) {
                    return stretch;
                }
                stretch.push(TracePacket { at, ..*packet });
            }
        }
        stretch
    }

    /// From its first packet to where it may begin again.
    fn length(&self) -> Duration {
        self.packets[self.packets.len() - 1].at + FRAME
    }
}

fn packet(line: &str) -> Result<TracePacket> {
    let mut fields = line.split(' ').map(str::parse::<u64>);
    let mut next = || fields.next().context("too short")?.context("no number");
    Ok(TracePacket { at: Duration::from_micros(next()?), payload: next()? as usize, ends_frame: next()? == 1 })
}

const FRAME: Duration = Duration::from_millis(33);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_trace_is_a_2_5_mbit_video() {
        let trace = Trace::recorded().unwrap();
        let bytes: usize = trace.packets.iter().map(|packet| packet.payload).sum();
        let rate = bytes as f64 * 8.0 / trace.length().as_secs_f64();
        assert!((2.2e6..2.8e6).contains(&rate), "{rate}");
        let frames = trace.packets.iter().filter(|packet| packet.ends_frame).count() as f64;
        assert!((25.0..31.0).contains(&(frames / trace.length().as_secs_f64())), "{frames}");
    }

    #[test]
    fn a_stretch_holds_whole_frames_and_wraps() {
        let trace = Trace::parse("# head\n0 10 0\n5 10 1\n33000 20 1\n66000 30 0\n66010 30 1\n").unwrap();
        let times = |from: u64, length: u64| {
            let stretch = trace.stretch(Duration::from_micros(from), Duration::from_micros(length));
            stretch.iter().map(|packet| packet.at.as_micros()).collect::<Vec<_>>()
        };
        assert_eq!(times(0, 33_000), [0, 5]);
        assert_eq!(times(1, 40_000), [0, 33_000, 33_010]);
        assert_eq!(times(66_000, 40_000), [0, 10, 33_010, 33_015]);
    }

    #[test]
    fn a_trace_that_is_none_is_refused() {
        assert!(Trace::parse("0 10\n").is_err());
        assert!(Trace::parse("0 10 0\n").is_err());
        assert!(Trace::parse("5 10 1\n3 10 1\n").is_err());
    }
}
