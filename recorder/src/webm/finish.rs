//! Ends a file: appends the index, and patches what was unknown while it grew.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use webm_iterable::matroska_spec::{Master, MatroskaSpec};

use super::fragment::{self, UNKNOWN_SIZE, size8};
use super::head::{DURATION_LENGTH, SEEK_HEAD_ROOM, duration, seek_head};
use super::scan::Layout;

/// A complete file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    /// Its size.
    pub(crate) bytes: u64,
    /// How long it is, in milliseconds.
    pub(crate) duration_ms: u64,
}

/// A place where playing can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cue {
    /// In milliseconds.
    pub(super) at: u64,
    /// The track of the block that is there.
    pub(super) track: u64,
    /// Of the cluster, from the file's start.
    pub(super) offset: u64,
}

/// The places where playing can begin, thinned out when there are too many.
#[derive(Debug)]
pub(super) struct Cues {
    list: Vec<Cue>,
    /// With a picture, only clusters that start with a key frame count.
    picture: bool,
}

impl Cues {
    pub(super) fn new(picture: bool) -> Self {
        Self { list: Vec::new(), picture }
    }

    /// A cluster begins here, with a key frame of a picture or not.
    pub(super) fn note(&mut self, cue: Cue, keyframe: bool) {
        let close = self.list.last().is_some_and(|last| cue.at < last.at + if self.picture { 0 } else { SOUND_STEP });
        if self.picture && !keyframe || close {
            return;
        }
        if self.list.len() >= MAX_CUES {
            let mut index = 0;
            self.list.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.list.push(cue);
    }

    /// What others stand behind these.
    pub(super) fn append(&mut self, later: Self) {
        later.list.into_iter().for_each(|cue| self.note(cue, true));
    }

    /// Nothing from here on reached the file.
    pub(super) fn cut(&mut self, end: u64) {
        self.list.retain(|cue| cue.offset < end);
    }

    fn element(&self, segment: u64) -> MatroskaSpec {
        let points = self.list.iter().map(|cue| {
            MatroskaSpec::CuePoint(Master::Full(vec![
                MatroskaSpec::CueTime(cue.at),
                MatroskaSpec::CueTrackPositions(Master::Full(vec![
                    MatroskaSpec::CueTrack(cue.track),
                    MatroskaSpec::CueClusterPosition(cue.offset - segment),
                ])),
            ]))
        });
        MatroskaSpec::Cues(Master::Full(points.collect()))
    }
}

/// Ends the file behind `end`, where its last whole block ends. All its clusters have their sizes.
pub(super) fn finish(file: &File, layout: &Layout, cues: &Cues, duration_ms: u64, end: u64) -> io::Result<Finished> {
    let index = if cues.list.is_empty() { Vec::new() } else { fragment::in_segment(&[cues.element(layout.segment)])? };
    // Without room for the index the file is complete all the same; only seeking takes longer.
    let bytes = match file.write_all_at(&index, end) {
        Ok(()) => end + index.len() as u64,
        Err(_) => end,
    };
    file.set_len(bytes)?;
    if let Some(offset) = layout.duration {
        file.write_all_at(&duration(duration_ms), offset)?;
    }
    if let Some(offset) = layout.seek_head {
        let mut positions = layout.parts.clone();
        if bytes > end {
            positions.push((CUES, end - layout.segment));
        }
        file.write_all_at(&seek_head(&positions)?, offset)?;
    }
    file.write_all_at(&size8(bytes - layout.segment), layout.segment - 8)?;
    Ok(Finished { bytes, duration_ms })
}

/// Takes back what `finish` said of a file, for it goes on.
pub(super) fn reopen(file: &File, layout: &Layout) -> io::Result<()> {
    file.write_all_at(&UNKNOWN_SIZE, layout.segment - 8)?;
    for (offset, length) in [(layout.seek_head, SEEK_HEAD_ROOM), (layout.duration, DURATION_LENGTH)] {
        if let Some((offset, void)) = offset.zip(fragment::void(length)) {
            file.write_all_at(&void, offset)?;
        }
    }
    Ok(())
}

pub(super) const CUES: u32 = 0x1C53_BB6B;
/// Sound can be entered anywhere; an entry every ten seconds is enough.
const SOUND_STEP: u64 = 10_000;
/// An index is at most this long; a day has 43,200 clusters of two seconds.
const MAX_CUES: usize = 50_000;
