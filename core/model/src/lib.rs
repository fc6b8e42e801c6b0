//! The words of Lockgate: ids, layers, codecs, commands and events, policy questions, verdicts and grants, carrier frames.
//!
//! Data only: nothing here acts, waits or does I/O. Every other crate speaks in these types, and the adapters
//! (signalling, policy, cluster) know each other only through them.

pub mod carrier;
mod command;
mod date;
mod error_code;
mod event;
mod forwarding;
mod happening;
mod ice_server;
mod ids;
mod level;
mod media;
mod network;
mod overview;
pub mod policy;
pub mod schema;
mod secret;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod text;

pub use command::{Candidate, Command, MaxLayer, PeerRelay, Request, RequestId, SubscribeConnections, TrackHint};
pub use date::{parse_rfc3339, rfc3339};
pub use error_code::ErrorCode;
pub use event::{
    ActiveLevel, EncodingState, Event, LayerReason, MemberInfo, OfferedTrack, PublishedTrack, PublisherInfo,
    RecordingState, Reply, RevokedWhat, TrackInfo,
};
pub use forwarding::{AdmittedMedia, ChannelFacts, ChannelLoss, Limits, OfferedMedia, Quality};
pub use happening::{Happening, Somebody};
pub use ice_server::{Credential, IceServer};
pub use ids::{InvalidId, PublisherId, RecordingId, RoomName, TrackId, UserId};
pub use level::{Frames, Heard, Loudness};
pub use media::{Bitrate, Codec, InvalidBitrate, Layer, MediaKind, Source};
pub use network::network;
pub use overview::{
    FlowOverview, ParticipantOverview, ParticipantStage, ParticipantsPage, RecordingOverview, RoomCounts,
    TrackOverview, WatchOverview,
};
pub use secret::Secret;
pub use text::{InvalidBytes, InvalidDuration, distance, parse_bytes, parse_duration};
