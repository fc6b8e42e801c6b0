//! Data channels: one SCTP association over a connection's DTLS (RFC 8831, RFC 8261), opened in band (RFC 8832).
//!
//! [`Association`] keeps the library behind a guard, as the library may not be fed from the network as it is, and bounds what it holds.
//! It knows no tracks and forwards nothing.

mod association;
pub(crate) mod channel;
mod guard;
mod on_its_way;
mod order;
mod packet;
mod peer;
mod policer;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

pub use association::{Association, Side};

/// A stream of an association, and the channel on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u16);

/// How a channel delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reliability {
    /// Everything, however long it takes.
    #[default]
    Reliable,
    /// What gets across with so many repetitions (`maxRetransmits`).
    Retransmits(u32),
    /// What gets across within so many milliseconds (`maxPacketLifeTime`).
    Lifetime(u32),
}

impl Reliability {
    /// How long a message is worth sending; none: for ever.
    pub fn lifetime(self) -> Option<Duration> {
        match self {
            Self::Lifetime(milliseconds) => Some(Duration::from_millis(milliseconds.into())),
            Self::Reliable | Self::Retransmits(_) => None,
        }
    }
}

/// What a channel was opened with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Channel {
    /// At most [`MAX_LABEL`] bytes.
    pub label: String,
    /// Subprotocol, at most [`MAX_LABEL`] bytes, mostly empty.
    pub protocol: String,
    /// Whether messages come in the order in which they were sent.
    pub ordered: bool,
    /// Whether all of them come.
    pub reliability: Reliability,
}

/// A message on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether it is UTF-8 text, which was checked; else it is binary.
    pub text: bool,
    /// At most [`MAX_MESSAGE`].
    pub bytes: Bytes,
}

/// What an association reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataEvent {
    /// Channels can be opened and messages sent.
    Established,
    /// The peer opened a channel.
    Opened(StreamId, Channel),
    /// A message came.
    Message(StreamId, Message),
    /// A channel is over: the peer closed it, or it came to its end with the association.
    Closed(StreamId),
}

/// What was refused and why it matters to nobody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataCounters {
    /// SCTP packets and chunks that cannot be read, or mean nothing here.
    pub malformed: u64,
    /// SCTP packets over the rate that a connection may send.
    pub over_rate: u64,
    /// Chunks further ahead of what is missing than is kept.
    pub ahead: u64,
    /// Messages on no open channel, of no known kind, or that are no text though they say so.
    pub unusable: u64,
    /// Channels beyond what one connection may have, or with names that are too long.
    pub channels: u64,
    /// Associations that were ended because the peer broke the protocol's rules.
    pub violations: u64,
}

impl DataCounters {
    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.malformed += other.malformed;
        self.over_rate += other.over_rate;
        self.ahead += other.ahead;
        self.unusable += other.unusable;
        self.channels += other.channels;
        self.violations += other.violations;
    }
}

/// The longest message, in bytes, either way: what browsers take of each other (RFC 8841 §6.1).
pub const MAX_MESSAGE: usize = 256 * 1024;
/// What a message costs beside its bytes, in bytes, wherever messages wait: empty ones are messages too.
pub const MESSAGE_OVERHEAD: usize = 128;
/// The longest label and the longest subprotocol, in bytes.
pub const MAX_LABEL: usize = 256;
/// Most channels of a connection that are open.
pub const MAX_CHANNELS: usize = 256;
/// The SCTP port, which is the same everywhere (RFC 8841 §5).
pub const SCTP_PORT: u16 = 5000;
/// What a peer takes that does not say (RFC 8841 §6.1).
pub const DEFAULT_PEER_MESSAGE: usize = 64 * 1024;
