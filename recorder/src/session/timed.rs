//! Frames on their way from a track to a file.

use lockgate_model::carrier::{NodeTime, TrackNumber};

use crate::assemble::Frame;

/// A frame with its place in time.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) track: TrackNumber,
    pub(super) ssrc: u32,
    /// On the node's timeline.
    pub(super) at: NodeTime,
    /// On the session's, in microseconds.
    pub(super) at_us: u64,
    pub(super) frame: Frame,
}

/// A frame that is in a file, or that was given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) track: TrackNumber,
    pub(super) ssrc: u32,
    /// Of its last packet.
    pub(super) seq: u64,
    /// Its size; 0 when it was given up.
    pub(super) bytes: u64,
}

impl Timed {
    /// What is left to be known when its data is gone.
    pub(super) fn done(&self, written: bool) -> Done {
        let bytes = if written { self.frame.data.len() as u64 } else { 0 };
        Done { track: self.track, ssrc: self.ssrc, seq: self.frame.seq, bytes }
    }
}
