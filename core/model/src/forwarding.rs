//! What the room and the forwarder say to each other of media: what is offered, what may be sent, how much of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Bitrate, Codec, Layer, MediaKind, TrackId};

/// A line of a publisher's offer, before anything is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedMedia {
    /// Its m-line.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// Second part of the m-line's `a=msid`, if it has one.
    pub track_id: Option<String>,
    /// The codec that would be taken; none when none of the offered ones is forwarded.
    pub codec: Option<Codec>,
    /// How many encodings it has.
    pub encodings: u8,
    /// Whether the client sends on it; false takes the track back.
    pub sending: bool,
}

/// Why a viewer gets no more of a data channel that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelLoss {
    /// It was too far behind for a reliable one. It may ask again.
    Behind,
    /// Its connection carries no more of them, or none any more: its association is over.
    Unable,
    /// It closed the channel.
    Closed,
}

/// What a data channel was opened with (RFC 8832).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelFacts {
    /// Its publisher's name for it.
    pub label: String,
    /// Subprotocol, mostly empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Whether messages come in the order in which they were sent.
    pub ordered: bool,
    /// How often a message is repeated at most; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retransmits: Option<u32>,
    /// For how many milliseconds a message is sent at most; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_packet_life_time: Option<u32>,
}

/// What policy made of an offered line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedMedia {
    /// The m-line.
    pub mid: String,
    /// The track's name; none: refused.
    pub track: Option<TrackId>,
    /// Highest bitrate that the publisher should send.
    pub max_bitrate: Option<Bitrate>,
}

/// What a viewer may have of a track and wants, already put together; the forwarder enforces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Highest layer.
    pub max_layer: Layer,
    /// The part of it that is policy's: nothing that the client wants goes beyond it.
    pub granted: Layer,
    /// Highest bitrate; encodings above it are not sent.
    pub max_bitrate: Option<Bitrate>,
    /// Whether nothing is to be sent until this changes.
    pub paused: bool,
    /// Whether others are sent in its place, until its publisher speaks.
    pub waits: bool,
    /// Weight when bandwidth is short, 0…255.
    pub priority: u8,
}

/// How well media flows over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// 0 (worst) … 10.
    pub score: u8,
    /// Bits a second.
    pub bitrate: u64,
    /// Packets that were lost on their way, of 1000.
    pub loss: u16,
    /// There and back, in ms; none: it is not known.
    pub rtt: Option<u32>,
}

impl Limits {
    /// Whether nothing is to be sent for now.
    pub fn is_at_rest(&self) -> bool {
        self.paused || self.waits
    }

    /// The middle: neither client nor policy prefers a track over another.
    pub const DEFAULT_PRIORITY: u8 = 128;
}

impl Default for Limits {
    /// No limit.
    fn default() -> Self {
        Self {
            max_layer: Layer::MAX,
            granted: Layer::MAX,
            max_bitrate: None,
            paused: false,
            waits: false,
            priority: Self::DEFAULT_PRIORITY,
        }
    }
}
