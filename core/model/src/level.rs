//! How loud sound is, as its publishers say of their packets, and what was heard of a track.

use crate::TrackId;

/// How loud something is: dB above −127 dBov, 0 (silence) … 127 (nothing can be louder). RFC 6464 §3 counts from the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Loudness(u8);

impl Loudness {
    /// Nothing to be heard.
    pub const SILENCE: Self = Self(0);

    /// From what RFC 6464 §3 writes: dB below the loudest, 0 … 127; more counts as 127.
    pub const fn below_loudest(db: u8) -> Self {
        Self(LOUDEST.saturating_sub(db))
    }

    /// In dB above silence, 0 … 127.
    pub const fn db(self) -> u8 {
        self.0
    }

    /// In dBov, −127 … 0.
    pub const fn dbov(self) -> i8 {
        self.0 as i8 - LOUDEST as i8
    }
}

/// The loudness of successive frames of 20 ms, the oldest first; of more than [`Frames::MAX`] the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    frames: [Loudness; Self::MAX],
    count: u8,
}

impl Frames {
    /// Twice what comes between two reports.
    pub const MAX: usize = 10;

    /// One more frame.
    pub fn push(&mut self, frame: Loudness) {
        if usize::from(self.count) < Self::MAX {
            self.count += 1;
        } else {
            self.frames.rotate_left(1);
        }
        self.frames[usize::from(self.count) - 1] = frame;
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Loudness] {
        &self.frames[..usize::from(self.count)]
    }
}

/// What was heard of a track since it was last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Which.
    pub track: TrackId,
    /// How loud it was.
    pub frames: Frames,
}

const LOUDEST: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loudness_counts_up_and_the_wire_counts_down() {
        let loud = Loudness::below_loudest(20);
        assert_eq!((loud.db(), loud.dbov()), (107, -20));
        assert_eq!(Loudness::below_loudest(200), Loudness::SILENCE);
        assert_eq!((Loudness::SILENCE.dbov(), Loudness::below_loudest(0).dbov()), (-127, 0));
    }

    #[test]
    fn of_more_frames_than_fit_the_newest_are_kept() {
        let mut frames = Frames::default();
        (0..12).for_each(|below| frames.push(Loudness::below_loudest(below)));
        let kept: Vec<_> = frames.as_slice().iter().map(|frame| -frame.dbov()).collect();
        assert_eq!(kept, (2..12).collect::<Vec<_>>());
    }
}
