//! What operators may want.

use std::net::IpAddr;

use lockgate_model::{PublisherId, RecordingId, RevokedWhat, RoomName, Secret, TrackId};
use serde::Deserialize;

/// What somebody wants of the node.
#[derive(Debug)]
pub struct AdminRequest {
    /// Who says so: the bearer token as it came.
    pub token: Secret,
    /// From which address.
    pub peer: IpAddr,
    /// What.
    pub act: AdminAct,
}

/// An operator's act.
#[derive(Debug)]
pub enum AdminAct {
    /// Which rooms are there?
    ListRooms(PageRequest<RoomName>),
    /// What goes on in a room?
    ShowRoom {
        /// Which.
        room: RoomName,
        /// Which of its participants.
        page: PageRequest<PublisherId>,
    },
    /// Who is in a room?
    ListParticipants {
        /// Which.
        room: RoomName,
        /// Which of its participants.
        page: PageRequest<PublisherId>,
    },
    /// Somebody is to be silent, or not any more.
    Mute {
        /// In which room.
        room: RoomName,
        /// Whose place.
        publisher: PublisherId,
        /// What of theirs.
        mute: MuteRequest,
    },
    /// A room is to be recorded, or not any more.
    Record {
        /// Which.
        room: RoomName,
        /// What of it.
        recording: RecordingRequest,
    },
    /// One participant may do something no more.
    RevokeParticipant {
        /// In which room.
        room: RoomName,
        /// Whose place.
        publisher: PublisherId,
        /// What.
        revocation: RevocationRequest,
    },
    /// Somebody may do something no more, in all rooms.
    RevokeSubject {
        /// Who, as the token's `sub` says.
        subject: String,
        /// What.
        revocation: RevocationRequest,
    },
    /// How is the node?
    ShowNode,
    /// What was decided lately?
    ListDecisions(PageRequest<u64>),
    /// What was recorded?
    ListRecordings(PageRequest<RecordingId>),
    /// How did a recording go?
    ShowRecording {
        /// Of which room.
        room: RoomName,
        /// Which session.
        session: RecordingId,
    },
    /// Which plugins answer?
    ShowPolicy,
    /// The configuration of plugins is to be read again.
    ReloadPolicy,
    /// Nobody is to be let in any more, and the node is to end when it is empty.
    Drain(DrainRequest),
    /// People are to be let in again.
    StopDraining,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest<K> {
    /// Only what comes after this.
    pub after: Option<K>,
    /// At most so many, 1 to 1000.
    pub limit: usize,
}

/// The body of a revocation; `{}` ends the stay.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RevocationRequest {
    /// What ends.
    pub what: RevokedWhat,
    /// Which track; none: all.
    pub track_id: Option<TrackId>,
    /// Why, for the one whom it concerns: at most 256 bytes.
    pub reason: String,
    /// For how long the subject is let in by no door, in ms; at most a day.
    pub hold_ms: u64,
}

impl Default for RevocationRequest {
    fn default() -> Self {
        let reason = "an operator revoked it".to_owned();
        Self { what: RevokedWhat::Stay, track_id: None, reason, hold_ms: 0 }
    }
}

/// The body of a mute; `{}` mutes all that can be heard or seen of somebody.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MuteRequest {
    /// Which track; none: all.
    pub track_id: Option<TrackId>,
    /// Whether it is to be silent, or to be forwarded again.
    pub muted: bool,
}

impl Default for MuteRequest {
    fn default() -> Self {
        Self { track_id: None, muted: true }
    }
}

/// The body of a wish about a recording.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordingRequest {
    /// Whether it is to begin or to end.
    pub action: RecordingWish,
    /// Which tracks; none: all, later ones too.
    #[serde(default)]
    pub track_ids: Option<Vec<TrackId>>,
}

/// Whether a recording is to begin or to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingWish {
    /// To begin.
    Start,
    /// To end.
    Stop,
}

/// The body of a wish to drain.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DrainRequest {
    /// For how long people may stay, in ms; at most a day.
    pub within_ms: u64,
}

impl Default for DrainRequest {
    fn default() -> Self {
        Self { within_ms: 3_600_000 }
    }
}
