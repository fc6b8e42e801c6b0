//! The wire between the node and a recorder: control messages and media frames, as data.
//!
//! Both travel over a byte stream, each message behind its length (`u32`, big-endian, of what follows it). A connection starts
//! with one [`Hello`] from the recorder and one [`Welcome`] from the node; then a control connection carries [`ToRecorder`] and
//! [`FromRecorder`] as JSON, a data connection carries [`Frame`]s. Nothing here does I/O: bytes in, values out, and back.
//! The whole protocol, with its order of events, is written down in `docs/recorder.md`.

mod control;
mod deframer;
mod frame;
mod token;

pub use control::{
    AddTrack, FileState, FromRecorder, Hello, MessageError, RecordedFile, Refusal, Role, SessionState, StartSession,
    ToRecorder, TrackStats, Welcome, decode_message, encode_message,
};
pub use deframer::{Deframer, FrameTooLong};
pub use frame::{Frame, FrameError, GapReason, SenderReport, encode_rtp};
pub use token::BindingToken;

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of this protocol. Both sides must speak the same one.
pub const PROTOCOL: u32 = 2;

/// A control message is at most this long, in bytes without its length.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// A data frame is at most this long, in bytes without its length: the largest UDP datagram and the frame's own head.
pub const MAX_FRAME: usize = 65_535 + 32;

/// A recorded track, numbered by the node; never used for another one in the node's life, also not in another session. A recorder that
/// attaches anew hears of the same tracks by the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrackNumber(pub u32);

impl fmt::Display for TrackNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment on the node's monotonic timeline, in microseconds. All workers of a node share one timeline; where its zero lies
/// is the node's choice, and [`StartSession`] ties it to the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeTime(pub u64);

impl NodeTime {
    /// Microseconds from `earlier` to here; negative when this moment comes before it.
    pub fn micros_since(self, earlier: Self) -> i64 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}
