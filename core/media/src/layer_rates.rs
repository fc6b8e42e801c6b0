//! How many bits a second the layers of one encoding have.

use std::time::{Duration, Instant};

use lockgate_rtp::{LayerFacts, Target, Targets};

/// The layers' shares of an encoding over the last whole window.
#[derive(Clone, Debug)]
pub(crate) struct LayerRates {
    since: Instant,
    /// By layer: what came in this window and in the last one.
    bytes: [u32; Target::COUNT],
    last: [u32; Target::COUNT],
    /// What each layer is part of, but at key frames.
    part_of: [Targets; Target::COUNT],
    /// What the publisher says that it spends: kilobits a second, by spatial layer, up to each temporal one.
    told: [Option<[u32; 4]>; 4],
}

impl LayerRates {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            bytes: [0; Target::COUNT],
            last: [0; Target::COUNT],
            part_of: [Targets::NONE; Target::COUNT],
            told: [None; 4],
        }
    }

    /// What the publisher says that it spends on each spatial layer, up to each temporal one.
    pub(crate) fn tell(&mut self, told: [Option<[u32; 4]>; 4]) {
        self.told = told;
    }

    /// How many bits a second the publisher says that there are in all; 0: it says nothing.
    pub(crate) fn told(&self) -> u64 {
        self.told.iter().flatten().flatten().max().map_or(0, |most| 1000 * u64::from(*most))
    }

    /// Takes a packet into account. `key`: it is of a key frame, whose layers belong together more than others.
    pub(crate) fn note(&mut self, now: Instant, layer: &LayerFacts, key: bool, bytes: usize) {
        if now.duration_since(self.since) >= WINDOW {
            (self.last, self.bytes, self.since) = (self.bytes, [0; Target::COUNT], now);
        }
        let place = Target::new(layer.spatial, layer.temporal).index();
        self.bytes[place] = self.bytes[place].saturating_add(bytes as u32);
        if !key || self.part_of[place].is_empty() {
            self.part_of[place] = layer.part_of;
        }
    }

    /// How much of a rate of the whole encoding a target has; all of it while nothing is known.
    pub(crate) fn share(&self, rate: u64, target: Target) -> u64 {
        let whole: u64 = self.last.iter().map(|bytes| u64::from(*bytes)).sum();
        if whole == 0 {
            let below = self.told.iter().take(usize::from(target.spatial()) + 1).flatten();
            let own = below.last().map_or(0, |rates| 1000 * u64::from(rates[usize::from(target.temporal())]));
            return (rate * own).checked_div(self.told()).unwrap_or(rate);
        }
        let parts = self.last.iter().zip(&self.part_of).filter(|(_, part_of)| part_of.has(target));
        let own: u64 = parts.map(|(bytes, _)| u64::from(*bytes)).sum();
        (rate * own).checked_div(whole).unwrap_or(rate)
    }

    /// Whether something of a spatial layer came within the last window, or is said to come.
    pub(crate) fn comes(&self, spatial: u8) -> bool {
        let came = Target::all().any(|layer| layer.spatial() == spatial && self.last[layer.index()] > 0);
        came || self.told.get(usize::from(spatial)).is_some_and(Option::is_some)
    }
}

const WINDOW: Duration = Duration::from_secs(1);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_layers_that_are_part_of_it() {
        let start = Instant::now();
        let mut rates = LayerRates::new(start);
        let layer = |spatial, temporal| LayerFacts {
            spatial,
            temporal,
            part_of: Targets::from(Target::new(spatial, temporal)),
            ..LayerFacts::PLAIN
        };
        assert_eq!(rates.share(100, Target::new(0, 0)), 100, "nothing is known");
        for (spatial, temporal, bytes) in [(0, 0, 100), (0, 1, 50), (1, 0, 300), (1, 1, 150)] {
            rates.note(start, &layer(spatial, temporal), false, bytes);
        }
        rates.note(start + WINDOW, &layer(0, 0), false, 7);
        let shares = [(0, 0), (0, 3), (1, 0), (3, 3)].map(|(s, t)| rates.share(6000, Target::new(s, t)));
        assert_eq!(shares, [1000, 1500, 4000, 6000]);
        assert_eq!([0, 1, 2].map(|spatial| rates.comes(spatial)), [true, true, false]);
    }

    #[test]
    fn what_the_publisher_says_counts_until_it_is_measured() {
        let start = Instant::now();
        let mut rates = LayerRates::new(start);
        rates.tell([Some([50, 100, 100, 100]), Some([200, 400, 400, 400]), None, None]);
        assert_eq!(rates.told(), 400_000);
        let shares = [(0, 0), (0, 3), (1, 0), (3, 3)].map(|(s, t)| rates.share(400_000, Target::new(s, t)));
        assert_eq!(shares, [50_000, 100_000, 200_000, 400_000]);
        assert_eq!([1, 2].map(|spatial| rates.comes(spatial)), [true, false]);
    }
}
