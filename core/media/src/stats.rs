//! What is counted, and why packets are dropped.

use std::ops::{Deref, DerefMut};

use lockgate_transport::data::DataCounters;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $label:literal,)*) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])* $name,)*
        }

        impl DropReason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

reasons! {
    /// No kind of packet that belongs here.
    Unknown = "unknown",
    /// From an address that no connection has.
    Stray = "stray",
    /// A check for no connection of this worker, or a false one.
    Check = "ice-check",
    /// Media before the handshake is done.
    NoKeys = "no-keys",
    /// Not authentic.
    Authentication = "srtp-authentication",
    /// More than the publisher's grant allows.
    OverBitrate = "over-bitrate",
    /// Asked for again more often than anybody needs.
    TooManyRepairs = "too-many-repairs",
    /// A viewer asked for key frames more often than anybody needs.
    TooManyKeyFrames = "too-many-key-frames",
    /// Came before.
    Replay = "srtp-replay",
    /// Too old to tell whether it came before.
    Late = "srtp-late",
    /// No RTP or RTCP that can be read.
    Malformed = "malformed",
    /// Of no source that was negotiated.
    UnknownSource = "unknown-source",
    /// A payload type that was not negotiated.
    PayloadType = "payload-type",
    /// A copy of what came before, or too old.
    Duplicate = "duplicate",
    /// Only padding.
    Padding = "padding",
    /// The publisher is muted.
    Muted = "muted",
    /// A viewer waits for a key frame.
    AwaitingKeyFrame = "awaiting-key-frame",
    /// A viewer gets another encoding or a lower layer.
    Layer = "layer",
    /// A dependency descriptor that cannot be read; the packet goes on without it.
    Descriptor = "descriptor",
    /// A viewer's m-lines or payload types are used up: a track is not offered to it.
    NoLine = "no-line",
    /// A viewer's report on a packet that it was not sent, or reported on before.
    Feedback = "feedback",
    /// A viewer's link is behind by more than is of use.
    Congested = "congested",
    /// A viewer paused it, or may not have it now.
    Paused = "paused",
    /// A viewer's connection is not up.
    NotConnected = "not-connected",
    /// Asked for again and not there any more.
    NotInRing = "not-in-ring",
    /// Too long for a datagram of ours.
    TooLong = "too-long",
    /// The recorder does not keep up.
    Recorder = "recorder-overload",
    /// Another worker does not keep up with what it is piped.
    PipeOverflow = "pipe-overflow",
    /// Came over a pipe and is no frame.
    PipeFrame = "pipe-frame",
    /// Came over a pipe, about a track that is not there.
    PipeTrack = "pipe-track",
    /// SCTP that cannot be read, or means nothing here.
    DataMalformed = "data-malformed",
    /// SCTP over the rate of a connection; its sender slows down.
    DataOverRate = "data-over-rate",
    /// SCTP too far ahead of what is missing; it is sent again.
    DataAhead = "data-ahead",
    /// A message on no channel that was admitted, or of no known kind.
    DataUnusable = "data-unusable",
    /// A data channel beyond the limit, or with too long a name.
    DataChannel = "data-channel",
    /// A peer broke SCTP's rules: its data channels were ended.
    DataViolation = "data-violation",
    /// A viewer is too far behind for a reliable data channel, which was ended.
    DataBehind = "data-behind",
    /// A message of an unreliable data channel that came too late for a viewer.
    DataLate = "data-late",
}

/// What an engine counted since it began, and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// RTP packets that came in, valid ones.
    pub packets_in: u64,
    /// Their bytes, without protection.
    pub bytes_in: u64,
    /// RTP packets that went out.
    pub packets_out: u64,
    /// Their bytes, with protection.
    pub bytes_out: u64,
    /// Retransmissions that were sent.
    pub retransmissions_out: u64,
    /// Packets that were repeated to find out what links carry.
    pub probes_out: u64,
    /// Packets that were asked for again.
    pub nacks_out: u64,
    /// Key frames that were asked for.
    pub key_frame_requests_out: u64,
    /// Messages that came in on data channels.
    pub data_in: u64,
    /// Their bytes.
    pub data_bytes_in: u64,
    /// Messages that went out on data channels.
    pub data_out: u64,
    /// Their bytes.
    pub data_bytes_out: u64,
    /// Data channels that are published.
    pub data_channels: u64,
    /// Transports that are there.
    pub transports: u64,
    /// Routers that are there.
    pub routers: u64,
    /// Tracks that are published.
    pub tracks: u64,
    /// Tracks that are sent to somebody.
    pub subscriptions: u64,
    /// Pipes to other engines that are there.
    pub pipes: u64,
    /// RTP packets for which there was a pipe to go out over.
    pub piped_out: u64,
    /// RTP packets that came in over pipes.
    pub piped_in: u64,
    /// How much longer than the quickest ones those were on their way, summed up, in µs.
    pub piped_delay: u64,
    /// See [`Self::drops`].
    pub drop_counts: DropCounts,
}

/// How often something was dropped, by the number of the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCounts([u64; DropReason::ALL.len()]);

impl Default for DropCounts {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl Deref for DropCounts {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl DerefMut for DropCounts {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

impl Counters {
    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.drop_counts[reason as usize] += 1;
    }

    pub(crate) fn drop_all(&mut self, reason: DropReason, count: usize) {
        self.drop_counts[reason as usize] += count as u64;
    }

    /// Adds what a connection refused of data.
    pub(crate) fn refuse_data(&mut self, refused: &DataCounters) {
        for (reason, count) in [
            (DropReason::DataMalformed, refused.malformed),
            (DropReason::DataOverRate, refused.over_rate),
            (DropReason::DataAhead, refused.ahead),
            (DropReason::DataUnusable, refused.unusable),
            (DropReason::DataChannel, refused.channels),
            (DropReason::DataViolation, refused.violations),
        ] {
            self.drop_counts[reason as usize] += count;
        }
    }

    /// How many were dropped for each reason.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|reason| (*reason, self.drop_counts[*reason as usize]))
    }

    /// Adds another engine's.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.packets_in, other.packets_in),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.packets_out, other.packets_out),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.retransmissions_out, other.retransmissions_out),
            (&mut self.probes_out, other.probes_out),
            (&mut self.nacks_out, other.nacks_out),
            (&mut self.key_frame_requests_out, other.key_frame_requests_out),
            (&mut self.data_in, other.data_in),
            (&mut self.data_bytes_in, other.data_bytes_in),
            (&mut self.data_out, other.data_out),
            (&mut self.data_bytes_out, other.data_bytes_out),
            (&mut self.data_channels, other.data_channels),
            (&mut self.transports, other.transports),
            (&mut self.routers, other.routers),
            (&mut self.tracks, other.tracks),
            (&mut self.subscriptions, other.subscriptions),
            (&mut self.pipes, other.pipes),
            (&mut self.piped_out, other.piped_out),
            (&mut self.piped_in, other.piped_in),
            (&mut self.piped_delay, other.piped_delay),
        ];
        pairs
            .into_iter()
            .chain(self.drop_counts.iter_mut().zip(other.drop_counts.iter().copied()))
            .for_each(|(sum, count)| *sum += count);
    }
}
