//! What operators see of rooms: who is in, what is published, who receives how much of it, and why not more.

use std::net::IpAddr;

use serde::Serialize;

use crate::policy::{Door, Grant};
use crate::{
    Layer, LayerReason, PublisherId, Quality, RecordingId, RecordingState, Source, TrackId, TrackInfo, UserId,
};

/// How much there is in a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomCounts {
    /// How many are in.
    pub participants: usize,
    /// How many are at the door or in the lobby.
    pub waiting: usize,
    /// How many tracks are published, data channels included.
    pub tracks: usize,
    /// How many tracks are on their way to somebody: two viewers of one track count twice.
    pub watched: usize,
    /// What is recorded; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingOverview>,
}

/// The recording of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingOverview {
    /// Which session.
    pub session_id: RecordingId,
    /// How far it is.
    pub state: RecordingState,
    /// How many tracks it has.
    pub tracks: usize,
}

/// Some of a room's participants, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantsPage {
    /// They.
    pub participants: Vec<ParticipantOverview>,
    /// After whom the next page begins; absent: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<PublisherId>,
}

/// A participant.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantOverview {
    /// Their place in the room.
    pub publisher_id: PublisherId,
    /// The number that others see.
    pub user_id: UserId,
    /// Who they are, as their token says.
    pub subject: String,
    /// Name for people.
    pub username: String,
    /// How far they are.
    pub stage: ParticipantStage,
    /// The door they came by.
    pub door: Door,
    /// From which address.
    pub peer: IpAddr,
    /// What they may do.
    pub grants: Grant,
    /// What they publish.
    pub tracks: Vec<TrackOverview>,
    /// What they receive; absent: it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watches: Option<Vec<WatchOverview>>,
    /// How their media comes in, as was told in the last seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sends: Option<FlowOverview>,
    /// How media reaches them, as was told in the last seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receives: Option<FlowOverview>,
}

/// How far a participant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParticipantStage {
    /// Policy is being asked.
    Entering,
    /// In the lobby.
    Waiting,
    /// In the room.
    Inside,
}

/// A published track.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackOverview {
    /// As others see it.
    #[serde(flatten)]
    pub info: TrackInfo,
    /// How many encodings it has; 0: it is a data channel.
    pub encodings: u8,
    /// Whether it is recorded.
    pub recorded: bool,
    /// What came of each encoding, the smallest first, in bit/s, as was told in the last seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrates: Option<Vec<u64>>,
}

/// A track on its way to somebody.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchOverview {
    /// Which.
    pub track_id: TrackId,
    /// Whose.
    pub publisher_id: PublisherId,
    /// Where it comes from.
    pub source: Source,
    /// Whether nothing of it is sent, as far as that is known.
    pub paused: bool,
    /// What is sent; absent: nothing, or it is not known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<Layer>,
    /// Why it is not more, or nothing; absent: it is not known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<LayerReason>,
}

/// How well media flows in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowOverview {
    /// 0 (worst) … 10.
    pub score: u8,
    /// bit/s.
    pub bitrate: u64,
    /// 0 … 1.
    pub loss: f64,
    /// Milliseconds, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<u32>,
}

impl From<Quality> for FlowOverview {
    fn from(quality: Quality) -> Self {
        let Quality { score, bitrate, loss, rtt } = quality;
        Self { score, bitrate, loss: f64::from(loss) / 1000.0, rtt }
    }
}
