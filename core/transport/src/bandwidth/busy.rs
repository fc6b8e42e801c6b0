//! What a link carries, from packets that had to wait for it: as long as a queue stands, they arrive as fast as it lets them
//! through, however little or much was sent before.

use super::Micros;

/// Packets that waited, one after the other.
#[derive(Default)]
pub(super) struct Busy {
    /// Since which arrival, how many and how many bytes came behind it.
    run: Option<Run>,
    /// The last known rate, and the arrival that it is as of.
    rate: Option<(f64, Micros)>,
}

#[derive(Clone, Copy)]
struct Run {
    start: Micros,
    packets: u32,
    bytes: u64,
}

impl Busy {
    /// A packet came that waited so long.
    pub(super) fn add(&mut self, waited: Micros, arrival: Micros, bytes: u32) {
        if waited < WAITED {
            self.run = None;
            return;
        }
        let Some(run) = self.run.as_mut().filter(|run| (0..LONGEST).contains(&(arrival - run.start))) else {
            self.run = Some(Run { start: arrival, packets: 0, bytes: 0 });
            return;
        };
        run.packets += 1;
        run.bytes += u64::from(bytes);
        let passed = arrival - run.start;
        if passed >= SHORTEST && run.packets >= FEWEST {
            self.rate = Some((run.bytes as f64 * 8e6 / passed as f64, arrival));
        }
    }

    /// In bits per second, if packets waited of late.
    pub(super) fn rate(&self, arrival: Micros) -> Option<f64> {
        self.rate.filter(|(_, at)| arrival - at <= FRESH).map(|(rate, _)| rate)
    }
}

/// More than what a frame's packets wait for each other on a link that is fast enough.
const WAITED: Micros = 10_000;
const SHORTEST: Micros = 40_000;
const FEWEST: u32 = 6;
/// A link may change meanwhile.
const LONGEST: Micros = 300_000;
const FRESH: Micros = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_shows_what_the_link_carries() {
        let mut busy = Busy::default();
        (0..5).for_each(|packet| busy.add(0, packet * 20_000, 1250));
        assert_eq!(busy.rate(100_000), None, "nothing waited");
        (0..50).for_each(|packet| busy.add(20_000, 100_000 + packet * 2_000, 1250));
        assert_eq!(busy.rate(200_000), Some(5e6));
        assert_eq!(busy.rate(1_200_000), None, "long ago");
    }
}
