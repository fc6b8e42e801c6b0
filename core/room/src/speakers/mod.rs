//! Who speaks: the dominant speaker of a room, out of the levels of its microphones.
//!
//! After I. Volfin and I. Cohen, "Dominant speaker identification for multipoint videoconferencing" (Computer Speech & Language 27,
//! 2013), as Jitsi and mediasoup have it on the levels of RFC 6464: speech is counted in frames of 20 ms over three intervals, the
//! frame, a block of 100 ms and the last second, and who is to take over must do better than the dominant speaker in all three. With the
//! constants of those two (C1 = 3, C2 = 2, C3 = 0) the logarithms of score ratios come down to: it speaks in the newest frame and the
//! other does not; it speaks in the newest block and the other not at all; it has more blocks in the last second. Four things
//! differ, so that a cough takes over from nobody and two who talk at once are not shown in turns: a block is speech when most of its
//! frames are, not all; of whoever takes over the newest block counts, as syllables come about as often as decisions; it has
//! spoken for [`LEAST`] blocks; and it has [`AHEAD`] more than the other. Speech is what stands out from a microphone's own noise (`voice`).
//!
//! Pure: levels and their times come in, and a decision comes out. It does not know who may see whom.

mod voice;

use std::collections::HashMap;

use lockgate_model::carrier::NodeTime;
use lockgate_model::{Heard, Loudness, PublisherId, TrackId};

pub(crate) use voice::{Turn, Voice};

/// The microphones of a room.
#[derive(Debug, Default)]
pub(crate) struct Speakers {
    voices: HashMap<TrackId, Voice>,
    dominant: Option<TrackId>,
    /// When it was last decided.
    decided: Option<NodeTime>,
    /// Where somebody began to speak, or ended.
    turned: Vec<TrackId>,
}

impl Speakers {
    /// One more microphone.
    pub(crate) fn add(&mut self, track: TrackId, publisher: PublisherId) {
        self.voices.entry(track).or_insert_with(|| Voice::new(publisher));
    }

    /// A microphone is gone. Who spoke last stays known until somebody else does.
    pub(crate) fn remove(&mut self, track: &TrackId) {
        self.voices.remove(track);
        self.dominant.take_if(|dominant| dominant == track);
    }

    /// A microphone is muted.
    pub(crate) fn silence(&mut self, track: &TrackId) {
        if let Some(voice) = self.voices.get_mut(track) {
            voice.silence();
        }
    }

    /// Takes what was heard of those whom `counts` lets take part.
    pub(crate) fn hear(&mut self, at: NodeTime, heard: &[Heard], counts: impl Fn(PublisherId) -> bool) {
        for one in heard {
            if let Some(voice) = self.voices.get_mut(&one.track).filter(|voice| counts(voice.publisher))
                && voice.hear(at, one.frames.as_slice())
            {
                self.turned.push(one.track.clone());
            }
        }
    }

    /// Decides anew, if it is time. Who speaks now comes back if that is somebody else than before.
    pub(crate) fn decide(&mut self, now: NodeTime) -> Option<PublisherId> {
        if self.decided.is_some_and(|decided| now.micros_since(decided) < DECIDES_EVERY_US) {
            return None;
        }
        self.decided = Some(now);
        let turned = self.voices.iter_mut().filter_map(|(track, voice)| voice.wait(now).then_some(track));
        self.turned.extend(turned.cloned());
        let dominant = self.dominant.as_ref().and_then(|track| self.voices.get(track));
        let rivals = self
            .voices
            .iter()
            .filter(|(track, voice)| Some(*track) != self.dominant.as_ref() && takes_over(voice, dominant));
        let (track, voice) = rivals.max_by_key(|(track, voice)| (voice.in_second(), voice.level(), *track))?;
        let before = dominant.map(|dominant| dominant.publisher);
        let publisher = voice.publisher;
        self.dominant = Some(track.clone());
        (before != Some(publisher)).then_some(publisher)
    }

    /// Who speaks, or spoke last, and into which microphone.
    pub(crate) fn dominant(&self) -> Option<(&TrackId, PublisherId)> {
        let track = self.dominant.as_ref()?;
        self.voices.get(track).map(|voice| (track, voice.publisher))
    }

    /// Whether a track is who speaks, or spoke last.
    pub(crate) fn is_dominant(&self, track: &TrackId) -> bool {
        self.dominant.as_ref() == Some(track)
    }

    /// Whether, and since or until when, somebody speaks into a microphone.
    pub(crate) fn turn(&self, track: &TrackId) -> Turn {
        self.voices.get(track).map_or(Turn::Never, Voice::turn)
    }

    /// The microphones into which somebody began to speak, or ended, since the last call.
    pub(crate) fn take_turned(&mut self) -> Vec<TrackId> {
        std::mem::take(&mut self.turned)
    }

    /// Who is to be heard, the loudest first.
    pub(crate) fn levels(&self) -> Vec<(&TrackId, PublisherId, Loudness)> {
        let speaking = self.voices.iter().filter(|(_, voice)| matches!(voice.turn(), Turn::Since(_)));
        let mut levels: Vec<_> = speaking.map(|(track, voice)| (track, voice.publisher, voice.level())).collect();
        levels.sort_by(|left, right| (right.2, left.0).cmp(&(left.2, right.0)));
        levels
    }
}

/// Whether a voice is to be heard rather than the dominant one.
fn takes_over(voice: &Voice, dominant: Option<&Voice>) -> bool {
    let blocks = voice.in_second();
    let speaks = voice.in_block() >= SPEAKS && blocks >= LEAST;
    speaks && dominant.is_none_or(|other| other.in_block() == 0 && blocks >= other.in_second() + AHEAD)
}

/// Frames of the newest block in which somebody speaks who speaks now.
const SPEAKS: u32 = 2;
/// Blocks of 100 ms that somebody has spoken for, of the last second: a cough has two or three.
const LEAST: u32 = 4;
/// Blocks by which they are ahead of who spoke before: pauses between sentences are shorter.
const AHEAD: u32 = 4;
const DECIDES_EVERY_US: i64 = 200_000;

#[cfg(test)]
mod tests;
