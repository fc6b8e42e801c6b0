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
}

impl LayerRates {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            bytes: [0; Target::COUNT],
            last: [0; Target::COUNT],
            part_of: [Targets::NONE; Target::COUNT],
        }
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
        let parts = self.last.iter().zip(&self.part_of).filter(|(_, part_of)| part_of.has(target));
        let own: u64 = parts.map(|(bytes, _)| u64::from(*bytes)).sum();
        (rate * own).checked_div(whole).unwrap_or(rate)
    }

    /// The layers that came within the last window, as spatial and temporal ones.
    pub(crate) fn layers(&self) -> impl Iterator<Item = Target> + '_ {
        Target::all().filter(|layer| self.last[layer.index()] > 0)
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
        assert_eq!(rates.layers().count(), 4);
    }
}
