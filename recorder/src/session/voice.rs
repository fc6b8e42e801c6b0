//! When somebody speaks, from what their packets say of their loudness (RFC 6464). Nothing is decoded.

use lockgate_model::Loudness;
use lockgate_model::carrier::NodeTime;

/// The ear for one microphone.
#[derive(Debug)]
pub(super) struct Voice {
    /// The microphone's own noise, dBov.
    floor: f64,
    heard: Option<NodeTime>,
    speaking: Option<Speaking>,
}

#[derive(Debug)]
struct Speaking {
    from: NodeTime,
    /// Where the last loud packet ends.
    to: NodeTime,
    loud: u32,
}

/// From when to when.
pub(super) type Span = (NodeTime, NodeTime);

impl Voice {
    pub(super) fn new() -> Self {
        Self { floor: FIRST_FLOOR, heard: None, speaking: None }
    }

    /// A packet of this moment is so loud; what was said, if that ends with it.
    pub(super) fn heard(&mut self, at: NodeTime, level: Loudness) -> Option<Span> {
        let level = f64::from(level.dbov());
        let since = self.heard.map_or(0, |last| at.micros_since(last)).clamp(0, 1_000_000);
        self.heard = Some(self.heard.map_or(at, |last| last.max(at)));
        self.floor = level.min(self.floor + since as f64 * RISE);
        if level < QUIETEST || level < self.floor + ABOVE {
            return self.pause(at);
        }
        let ended = self.pause(at);
        let speaking = self.speaking.get_or_insert(Speaking { from: at, to: at, loud: 0 });
        speaking.to = speaking.to.max(NodeTime(at.0.saturating_add(PACKET)));
        speaking.loud += 1;
        ended
    }

    /// It is this late, and nothing loud came: what was said, if that is over.
    pub(super) fn pause(&mut self, at: NodeTime) -> Option<Span> {
        let over = self.speaking.take_if(|speaking| at.micros_since(speaking.to) > BREATH)?;
        (over.loud >= WORD).then_some((over.from, over.to))
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) -> Option<Span> {
        self.pause(NodeTime(u64::MAX >> 1))
    }
}

/// Speech is so much louder than the noise, in dB, and never softer than this, dBov.
const ABOVE: f64 = 10.0;
const QUIETEST: f64 = -60.0;
/// Where the noise is looked for at first. It falls at once and rises by 3 dB a second (here for each µs): a fan is no speaker.
const FIRST_FLOOR: f64 = -60.0;
const RISE: f64 = 3e-6;
/// What a packet of sound usually lasts, µs.
const PACKET: u64 = 20_000;
/// A pause that ends what was said, µs; and the fewest loud packets that are a word and not a cough.
const BREATH: i64 = 800_000;
const WORD: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Hears packets of this level for so many milliseconds.
    fn hear(voice: &mut Voice, ms: std::ops::Range<u64>, level: u8) -> Vec<Span> {
        let packets = ms.step_by(20);
        packets.filter_map(|at| voice.heard(NodeTime(at * 1000), Loudness::below_loudest(level))).collect()
    }

    #[test]
    fn a_sentence_with_short_pauses_is_one() {
        let mut voice = Voice::new();
        let mut said = hear(&mut voice, 0..1000, 80);
        said.extend(hear(&mut voice, 1000..2000, 30));
        said.extend(hear(&mut voice, 2000..2500, 80));
        said.extend(hear(&mut voice, 2500..3000, 30));
        said.extend(hear(&mut voice, 3000..6000, 80));
        assert_eq!(said, [(NodeTime(1_000_000), NodeTime(3_000_000))]);
    }

    #[test]
    fn a_cough_and_a_fan_are_no_speech() {
        let mut voice = Voice::new();
        assert_eq!(hear(&mut voice, 0..100, 20), []);
        assert_eq!(hear(&mut voice, 100..3000, 80), []);
        // Twenty seconds of steady noise: it may be taken for speech until it is known for noise, and not after.
        let mut said = hear(&mut voice, 3000..40_000, 45);
        said.extend(voice.end());
        assert!(said.iter().all(|(_, to)| to.0 < 16_000_000), "{said:?}");
    }

    #[test]
    fn who_stops_sending_has_stopped_speaking() {
        let mut voice = Voice::new();
        hear(&mut voice, 0..1000, 25);
        assert_eq!(voice.pause(NodeTime(1_500_000)), None);
        assert_eq!(voice.pause(NodeTime(1_900_000)), Some((NodeTime(0), NodeTime(1_000_000))));
        hear(&mut voice, 3000..3300, 25);
        assert_eq!(voice.end(), Some((NodeTime(3_000_000), NodeTime(3_300_000))));
        assert_eq!(voice.end(), None);
    }
}
