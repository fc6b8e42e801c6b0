//! One microphone: which frames of its last second were speech, and how loud it is.

use lockgate_model::carrier::NodeTime;
use lockgate_model::{Loudness, PublisherId};

/// A microphone.
#[derive(Debug)]
pub(crate) struct Voice {
    pub(crate) publisher: PublisherId,
    /// Frames of 20 ms that were speech, the newest at bit 0.
    speech: u64,
    /// Up to when frames are known; none: nothing was heard yet.
    until: Option<NodeTime>,
    floor: Floor,
    /// How loud it was of late, in dB above silence.
    level: f32,
    /// Since when, or up to when, it speaks. Pauses between words do not count.
    turn: Turn,
}

/// Whether a microphone is spoken into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It never was.
    Never,
    /// Since then.
    Since(NodeTime),
    /// Until then.
    Until(NodeTime),
}

/// How loud it is where nobody speaks, and how loud of late where somebody does.
#[derive(Debug, Default)]
struct Floor {
    level: Option<u8>,
    /// Frames since it was raised.
    age: u8,
    peak: f32,
}

impl Voice {
    pub(crate) fn new(publisher: PublisherId) -> Self {
        Self { publisher, speech: 0, until: None, floor: Floor::default(), level: 0.0, turn: Turn::Never }
    }

    /// Takes the newest frames. True: somebody begins to speak, or has ended.
    pub(crate) fn hear(&mut self, at: NodeTime, frames: &[Loudness]) -> bool {
        let own = frames.len() as u64 * FRAME_US;
        self.fill(NodeTime(at.0.saturating_sub(own)));
        for frame in frames {
            let speech = self.floor.is_speech(*frame);
            self.push(*frame, speech);
        }
        self.until = Some(at);
        self.take_turns(at)
    }

    /// Time passes. What is not heard for long is silence: a browser that mutes, or sends nothing in pauses (DTX), says no more.
    /// True: somebody has ended.
    pub(crate) fn wait(&mut self, now: NodeTime) -> bool {
        self.fill(now);
        self.take_turns(now)
    }

    /// Whoever speaks next begins from silence.
    pub(crate) fn silence(&mut self) {
        *self = Self { turn: self.turn, until: self.until, ..Self::new(self.publisher) };
        if let (Turn::Since(_), Some(until)) = (self.turn, self.until) {
            self.turn = Turn::Until(until);
        }
    }

    /// How many frames of the newest block are speech.
    pub(crate) fn in_block(&self) -> u32 {
        (self.speech & BLOCK).count_ones()
    }

    /// How many blocks of the last second are speech, more of their frames than not.
    pub(crate) fn in_second(&self) -> u32 {
        if self.speech == 0 {
            return 0;
        }
        let blocks = (0..BLOCKS).map(|block| self.speech >> (block * BLOCK_FRAMES) & BLOCK);
        blocks.filter(|block| block.count_ones() > BLOCK_FRAMES / 2).count() as u32
    }

    /// How loud it was of late.
    pub(crate) fn level(&self) -> Loudness {
        Loudness::below_loudest(127_u8.saturating_sub(self.level.round() as u8))
    }

    /// Whether somebody speaks into it, between words too.
    pub(crate) fn turn(&self) -> Turn {
        self.turn
    }

    /// Silence up to a moment, if so much is missing that it is no mere delay.
    fn fill(&mut self, to: NodeTime) {
        let Some(until) = self.until else { return };
        let missing = to.micros_since(until);
        if missing > LATE_US {
            let frames = missing.unsigned_abs() / FRAME_US;
            (0..frames.min(SECOND)).for_each(|_| self.push(Loudness::SILENCE, false));
            self.until = Some(to);
        }
    }

    fn push(&mut self, frame: Loudness, speech: bool) {
        self.speech = self.speech << 1 | u64::from(speech);
        self.level += (f32::from(frame.db()) - self.level) * SMOOTHING;
    }

    fn take_turns(&mut self, now: NodeTime) -> bool {
        let heard = (self.speech & TURN).count_ones();
        let next = match self.turn {
            Turn::Since(_) if heard == 0 => Turn::Until(now),
            Turn::Never | Turn::Until(_) if heard >= TURN_BEGINS => Turn::Since(now),
            same => same,
        };
        std::mem::replace(&mut self.turn, next) != next
    }
}

impl Floor {
    /// Whether a frame stands out, and is no mere echo of one that did.
    fn is_speech(&mut self, frame: Loudness) -> bool {
        // Nothing at all is no room's noise: a gate or DTX cut it off.
        if frame == Loudness::SILENCE {
            return false;
        }
        let loud = f32::from(frame.db());
        self.peak = loud.max(self.peak - PEAK_FALLS);
        let level = self.level.unwrap_or(frame.db());
        self.age += 1;
        let risen = if self.age >= RISES_EVERY { level.saturating_add(1) } else { level };
        if frame.db() <= level || risen > level {
            self.age = 0;
        }
        let floor = frame.db().min(risen);
        self.level = Some(floor);
        frame.db() >= LEAST_SPEECH.max(floor.min(HIGHEST_FLOOR) + STANDS_OUT) && loud >= self.peak - ECHO
    }
}

const FRAME_US: u64 = 20_000;
/// Frames of a second.
const SECOND: u64 = 50;
const BLOCK_FRAMES: u32 = 5;
const BLOCK: u64 = (1 << BLOCK_FRAMES) - 1;
const BLOCKS: u32 = 10;
/// More than reports of two engines, and a network's jitter, are apart.
const LATE_US: i64 = 200_000;
/// −50 dBov: quieter than people who speak to be heard, with the gain control of browsers.
const LEAST_SPEECH: u8 = 77;
/// dB by which speech is louder than the noise around it.
const STANDS_OUT: u8 = 10;
/// −37 dBov: what is louder by [`STANDS_OUT`] than this counts, however steady it is.
const HIGHEST_FLOOR: u8 = 90;
/// dB below what was loudest of late, which falls by 20 dB a second: what a knock leaves in a room, and the noise suppression of browsers
/// makes of a beep. Syllables differ by less.
const ECHO: f32 = 25.0;
const PEAK_FALLS: f32 = 0.4;
/// The floor rises by 1 dB in so many frames (3 dB a second) and falls at once: speech has gaps, a fan has none.
const RISES_EVERY: u8 = 16;
/// A time constant of half a second.
const SMOOTHING: f32 = 0.04;
/// Half a second without speech ends a turn …
const TURN: u64 = (1 << 25) - 1;
/// … and 60 ms of it begin one.
const TURN_BEGINS: u32 = 3;
