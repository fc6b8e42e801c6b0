//! What happens in a node, for those who follow it. The serde form of these types is what `docs/events.md` describes.

use serde::Serialize;

use crate::policy::Door;
use crate::{PublisherId, RecordingId, RecordingState, RevokedWhat, TrackId, TrackInfo, UserId};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of docs/events.md and mean the same everywhere")]
pub enum Happening {
    /// A room began, with somebody at its door.
    RoomOpened {},
    /// A room is over.
    RoomClosed {},
    /// Policy keeps somebody in the lobby.
    ParticipantWaiting {
        #[serde(flatten)]
        who: Somebody,
    },
    /// Somebody is in a room.
    ParticipantJoined {
        #[serde(flatten)]
        who: Somebody,
    },
    /// Somebody who was in a room, or waited for it, is gone.
    ParticipantLeft {
        #[serde(flatten)]
        who: Somebody,
        /// Why, if it was not their own wish.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A track is published.
    TrackPublished { publisher_id: PublisherId, track: TrackInfo },
    /// A track is published no more.
    TrackUnpublished { publisher_id: PublisherId, track_id: TrackId },
    /// A track is silent.
    TrackMuted { publisher_id: PublisherId, track_id: TrackId },
    /// A track is silent no more.
    TrackUnmuted { publisher_id: PublisherId, track_id: TrackId },
    /// A recording is in another state than before, or has other tracks.
    Recording {
        session_id: RecordingId,
        state: RecordingState,
        tracks: Vec<TrackId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A file of a recording is complete.
    RecordingPart {
        session_id: RecordingId,
        /// Its name in the session's folder.
        path: String,
        publisher_id: PublisherId,
        bytes: u64,
        duration_ms: u64,
    },
    /// Somebody was told that something is over.
    Revoked {
        /// Who was told.
        participant_id: PublisherId,
        what: RevokedWhat,
        #[serde(skip_serializing_if = "Option::is_none")]
        publisher_id: Option<PublisherId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        track_id: Option<TrackId>,
        reason: String,
    },
    /// Somebody was refused something by policy or by the node.
    Denied {
        /// In which place; absent: in none yet.
        #[serde(skip_serializing_if = "Option::is_none")]
        participant_id: Option<PublisherId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        door: Option<Door>,
        /// The request.
        of: String,
        code: String,
        message: String,
        /// How many more there were since the last one that was told, which are not.
        #[serde(skip_serializing_if = "is_zero")]
        untold: u64,
    },
    /// An operator did something.
    Operator {
        operator: String,
        act: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        participant_ids: Vec<PublisherId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        track_id: Option<TrackId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The configuration of plugins was read again, or new plugins were judged.
    Policy {
        outcome: String,
        /// Which set of plugins answers now; absent: nothing has changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        problems: Vec<String>,
    },
    /// The node lets nobody in any more, and ends in this time at the latest.
    NodeDraining { deadline_ms: u64 },
    /// The node lets people in again.
    NodeUndrained {},
    /// The node ends: nothing follows.
    NodeEnding {},
}

/// Somebody in a room or at its door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Somebody {
    /// Their place in the room.
    pub publisher_id: PublisherId,
    /// The number that others see.
    pub user_id: UserId,
    /// Who they are, as their token says.
    pub subject: String,
    /// Name for people.
    pub username: String,
    /// The door they came by.
    pub door: Door,
}

impl Happening {
    /// Its name: the `type` of its serde form.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RoomOpened {} => "room-opened",
            Self::RoomClosed {} => "room-closed",
            Self::ParticipantWaiting { .. } => "participant-waiting",
            Self::ParticipantJoined { .. } => "participant-joined",
            Self::ParticipantLeft { .. } => "participant-left",
            Self::TrackPublished { .. } => "track-published",
            Self::TrackUnpublished { .. } => "track-unpublished",
            Self::TrackMuted { .. } => "track-muted",
            Self::TrackUnmuted { .. } => "track-unmuted",
            Self::Recording { .. } => "recording",
            Self::RecordingPart { .. } => "recording-part",
            Self::Revoked { .. } => "revoked",
            Self::Denied { .. } => "denied",
            Self::Operator { .. } => "operator",
            Self::Policy { .. } => "policy",
            Self::NodeDraining { .. } => "node-draining",
            Self::NodeUndrained {} => "node-undrained",
            Self::NodeEnding {} => "node-ending",
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_what_it_is_called_in_json() {
        let who = || Somebody {
            publisher_id: PublisherId(1),
            user_id: UserId(7),
            subject: "7".into(),
            username: "Ann".into(),
            door: Door::Ws,
        };
        let track = || TrackId::new("v").unwrap();
        let happenings = [
            Happening::RoomOpened {},
            Happening::ParticipantLeft { who: who(), reason: Some("the token has expired".into()) },
            Happening::TrackMuted { publisher_id: PublisherId(1), track_id: track() },
            Happening::NodeDraining { deadline_ms: 5 },
            Happening::Operator {
                operator: "99".into(),
                act: "mute".into(),
                participant_ids: vec![PublisherId(1)],
                track_id: Some(track()),
                reason: None,
            },
        ];
        for happening in happenings {
            assert_eq!(serde_json::to_value(&happening).unwrap()["type"], happening.name());
        }
        let joined = serde_json::to_value(Happening::ParticipantJoined { who: who() }).unwrap();
        let expected = serde_json::json!({"type": "participant-joined", "publisherId": 1, "userId": 7, "subject": "7", "username": "Ann", "door": "ws"});
        assert_eq!(joined, expected);
    }
}
