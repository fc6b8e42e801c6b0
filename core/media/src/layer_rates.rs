//! How many bits a second the layers of one encoding have.

use std::time::{Duration, Instant};

use lockgate_rtp::{PacketFacts, Target, Targets};

/// The layers' shares of an encoding over the last whole window.
#[derive(Clone, Debug)]
pub(crate) struct LayerRates {
    since: Instant,
    /// By layer: what came in this window and in the last one.
    bytes: [u32; Target::COUNT],
    last: [u32; Target::COUNT],
    /// What each layer is part of, but in key pictures.
    part_of: [Targets; Target::COUNT],
    /// The timestamp of the last key picture.
    key_picture: Option<u32>,
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
            key_picture: None,
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

    /// Takes a packet into account. In a picture that begins with a key frame layers belong together more than in others.
    pub(crate) fn note(&mut self, now: Instant, timestamp: u32, facts: &PacketFacts, bytes: usize) {
        if now.duration_since(self.since) >= WINDOW {
            (self.last, self.bytes, self.since) = (self.bytes, [0; Target::COUNT], now);
        }
        if facts.key_frame {
            self.key_picture = Some(timestamp);
        }
        let (layer, key) = (&facts.layer, self.key_picture == Some(timestamp));
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
            return part(rate, own, self.told());
        }
        let parts = self.last.iter().zip(&self.part_of).filter(|(_, part_of)| part_of.has(target));
        let own: u64 = parts.map(|(bytes, _)| u64::from(*bytes)).sum();
        part(rate, own, whole)
    }

    /// Whether something of a spatial layer came within the last window, or is said to come.
    pub(crate) fn comes(&self, spatial: u8) -> bool {
        let came = Target::all().any(|layer| layer.spatial() == spatial && self.last[layer.index()] > 0);
        came || self.told.get(usize::from(spatial)).is_some_and(Option::is_some)
    }
}

/// So much of a rate as `own` is of `whole`; all of it where nothing is known of that.
fn part(rate: u64, own: u64, whole: u64) -> u64 {
    let part = (u128::from(rate) * u128::from(own)).checked_div(whole.into());
    part.map_or(rate, |part| u64::try_from(part).unwrap_or(u64::MAX))
}

const WINDOW: Duration = Duration::from_secs(1);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use lockgate_rtp::LayerFacts;
    use proptest::prelude::*;

    use super::*;

    fn packet(spatial: u8, temporal: u8, part_of: Targets, key_frame: bool) -> PacketFacts {
        PacketFacts {
            key_frame,
            layer: LayerFacts { spatial, temporal, part_of, ..LayerFacts::PLAIN },
            ..PacketFacts::default()
        }
    }

    #[test]
    fn a_target_has_the_layers_that_are_part_of_it() {
        let start = Instant::now();
        let mut rates = LayerRates::new(start);
        let layer = |spatial, temporal| packet(spatial, temporal, Targets::from(Target::new(spatial, temporal)), false);
        assert_eq!(rates.share(100, Target::new(0, 0)), 100, "nothing is known");
        for (spatial, temporal, bytes) in [(0, 0, 100), (0, 1, 50), (1, 0, 300), (1, 1, 150)] {
            rates.note(start, 0, &layer(spatial, temporal), bytes);
        }
        rates.note(start + WINDOW, 0, &layer(0, 0), 7);
        let shares = [(0, 0), (0, 3), (1, 0), (3, 3)].map(|(s, t)| rates.share(6000, Target::new(s, t)));
        assert_eq!(shares, [1000, 1500, 4000, 6000]);
        assert_eq!([0, 1, 2].map(|spatial| rates.comes(spatial)), [true, true, false]);
    }

    #[test]
    fn a_key_picture_says_nothing_of_what_belongs_together_later() {
        let start = Instant::now();
        let mut rates = LayerRates::new(start);
        let apart = |spatial| Targets::of_spatial(spatial..=spatial);
        for spatial in 0..2 {
            rates.note(start, 3000, &packet(spatial, 0, apart(spatial), false), 500);
        }
        // Two packets a frame: the second ones are not marked as a key frame's.
        for (spatial, key) in [(0, true), (0, false), (1, false), (1, false)] {
            rates.note(start, 6000, &packet(spatial, 0, Targets::from(Target::new(spatial, 0)), key), 250);
        }
        rates.note(start + WINDOW, 9000, &packet(0, 0, apart(0), false), 7);
        assert_eq!(rates.share(1000, Target::new(1, 0)), 500, "the upper layer does without the lower one");
    }

    proptest! {
        #[test]
        fn no_rate_is_too_high(rate in any::<u64>(), told in any::<[u32; 4]>(), bytes in any::<u32>()) {
            let start = Instant::now();
            let mut rates = LayerRates::new(start);
            rates.tell([Some(told), None, Some(told), None]);
            for target in Target::all() {
                prop_assert!(rates.share(rates.told(), target) <= rates.told());
            }
            rates.note(start, 0, &packet(0, 0, Targets::ALL, false), bytes as usize);
            rates.note(start + WINDOW, 0, &packet(0, 0, Targets::ALL, false), 1);
            prop_assert!(rates.share(rate, Target::ALL) <= rate);
        }
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
