//! What a client is told. The serde form of these types is the `type` dialect of `/ws`; other dialects translate from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::Grant;
use crate::{
    ChannelFacts, Codec, ErrorCode, IceServer, MediaKind, PublisherId, RecordingId, RequestId, RoomName, Source,
    TrackId, UserId,
};

/// An event, with the `id` of the command that it answers.
#[derive(Clone, Debug, Serialize)]
pub struct Reply {
    /// The client's own mark of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

impl From<Event> for Reply {
    fn from(event: Event) -> Self {
        Self { id: None, event }
    }
}

/// One message to a client.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of docs/signalling.md and mean the same everywhere")]
pub enum Event {
    /// The token was accepted.
    Authenticated {
        user_id: UserId,
        username: String,
        /// Seconds since 1970.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
        /// With this in `auth`, once, a client whose socket is lost comes back to its places.
        resume_token: String,
        /// For how many milliseconds after the loss.
        resume_ms: u64,
        /// What the client's `RTCPeerConnection` is made with.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        ice_servers: Vec<IceServer>,
    },
    /// The token expires in a minute.
    TokenExpiring {
        /// Seconds since 1970.
        expires_at: u64,
    },
    /// The client is in.
    RoomJoined {
        room_name: RoomName,
        user_id: UserId,
        publisher_id: PublisherId,
        /// Who else is there.
        participants: Vec<MemberInfo>,
        /// What the client may do.
        grants: Grant,
    },
    /// Who publishes, after every join.
    PublishersList { room_name: RoomName, publishers: Vec<PublisherInfo> },
    /// Policy keeps the client in the lobby.
    RoomWaiting {
        room_name: RoomName,
        user_id: UserId,
        /// Why, for people.
        message: String,
    },
    /// The client is out.
    RoomLeft { room_name: RoomName, user_id: UserId, publisher_id: PublisherId },
    /// Somebody came.
    UserJoined { room_name: RoomName, user_id: UserId, username: String, publisher_id: PublisherId },
    /// Somebody went.
    UserLeft { room_name: RoomName, user_id: UserId, username: String, publisher_id: PublisherId },
    /// The answer to a `publish-offer`.
    PublishAnswer {
        room_name: RoomName,
        /// The session description.
        answer: String,
        tracks: Vec<PublishedTrack>,
    },
    /// Which encodings of a track are to be sent from now on: nobody watches the others.
    PublishLayers {
        room_name: RoomName,
        track_id: TrackId,
        /// All that the track has, the smallest first.
        encodings: Vec<EncodingState>,
    },
    /// A track was taken back.
    Unpublished { room_name: RoomName, track_id: TrackId },
    /// Somebody publishes, or publishes other tracks than before.
    NewPublisher {
        room_name: RoomName,
        publisher_id: PublisherId,
        username: String,
        tracks: Vec<TrackInfo>,
        /// Who that is, for doors that find people by it. No client is told.
        #[serde(skip)]
        subject: String,
    },
    /// Somebody publishes no more.
    PublisherLeft { room_name: RoomName, publisher_id: PublisherId },
    /// The server offers what was asked for.
    SubscribeOffer {
        room_name: RoomName,
        publisher_id: PublisherId,
        /// The session description.
        offer: String,
        /// For `subscribe-answer`.
        #[schemars(extend("maximum" = crate::schema::MAX_NUMBER))]
        offer_id: u64,
        /// Every active m-line.
        tracks: Vec<OfferedTrack>,
    },
    /// The subscription stands; an offer follows when there are tracks.
    Subscribed { room_name: RoomName, publisher_id: PublisherId, tracks: Vec<OfferedTrack> },
    /// The answer to an offer to receive, and what is sent on its m-lines. Told to those that come over HTTP.
    #[schemars(skip)]
    ReceiveAnswer { room_name: RoomName, answer: String, tracks: Vec<OfferedTrack> },
    /// The client's connection has come up. Told to those that come over HTTP.
    #[schemars(skip)]
    MediaConnected { room_name: RoomName },
    /// What is received of a track changed.
    LayerChanged {
        room_name: RoomName,
        publisher_id: PublisherId,
        track_id: TrackId,
        /// Whether nothing is received; then there is no layer.
        paused: bool,
        /// Counted from the smallest, 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        spatial: Option<u8>,
        /// Counted from the lowest frame rate, 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        temporal: Option<u8>,
        reason: LayerReason,
    },
    /// A track is silent.
    TrackMuted { room_name: RoomName, publisher_id: PublisherId, track_id: TrackId },
    /// A track is silent no more.
    TrackUnmuted { room_name: RoomName, publisher_id: PublisherId, track_id: TrackId },
    /// Policy changed what the client may do.
    GrantsChanged {
        room_name: RoomName,
        /// All of them.
        grants: Grant,
        /// Why, for people.
        reason: String,
    },
    /// Policy took something away.
    Revoked {
        room_name: RoomName,
        what: RevokedWhat,
        /// Why, for people.
        reason: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        publisher_id: Option<PublisherId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        track_id: Option<TrackId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        decision_id: Option<String>,
    },
    /// Somebody speaks.
    ActiveSpeaker {
        room_name: RoomName,
        publisher_id: PublisherId,
        /// Who is to be heard at that moment, the loudest first, at most 16.
        #[schemars(length(max = 16))]
        audio_levels: Vec<ActiveLevel>,
    },
    /// The recording's state.
    RecordingState {
        room_name: RoomName,
        state: RecordingState,
        session_id: RecordingId,
        tracks: Vec<TrackId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// How well media flows, about every two seconds.
    Quality {
        room_name: RoomName,
        /// From whom; none: to the client itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        publisher_id: Option<PublisherId>,
        /// 0 (worst) … 10.
        #[schemars(range(max = 10))]
        score: u8,
        /// bit/s.
        bitrate: u64,
        /// The part of the packets that did not come at first, 0 … 1.
        #[schemars(range(min = 0.0, max = 1.0))]
        loss: f64,
        /// Milliseconds, where it is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        rtt: Option<u32>,
        /// Whether the next one comes in two seconds whatever it says; else only when it says something else.
        #[serde(skip)]
        repeats: bool,
    },
    /// What the plugins answered to a `policy-command`.
    PolicyReply { room_name: RoomName, name: String, payload: String },
    /// A peer's session description.
    Offer {
        room_name: RoomName,
        from_user_id: UserId,
        #[serde(flatten)]
        payload: serde_json::Map<String, serde_json::Value>,
    },
    /// A peer's session description.
    Answer {
        room_name: RoomName,
        from_user_id: UserId,
        #[serde(flatten)]
        payload: serde_json::Map<String, serde_json::Value>,
    },
    /// A peer's candidate.
    IceCandidate {
        room_name: RoomName,
        from_user_id: UserId,
        #[serde(flatten)]
        payload: serde_json::Map<String, serde_json::Value>,
    },
    /// Somebody said something.
    Chat { room_name: RoomName, user_id: UserId, username: String, publisher_id: PublisherId, text: String },
    /// The answer to `ping`.
    Pong {},
    /// Something was refused or failed.
    Error {
        code: ErrorCode,
        /// What is wrong, for people.
        message: String,
        /// The `type` that caused it.
        of: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        room_name: Option<RoomName>,
        #[serde(skip_serializing_if = "Option::is_none")]
        publisher_id: Option<PublisherId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        track_id: Option<TrackId>,
        /// After how many milliseconds it may be tried again.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        decision_id: Option<String>,
    },
    /// The node ends.
    ServerDraining {
        /// In how many milliseconds at the latest; 0: now.
        deadline_ms: u64,
        /// The address of another node.
        #[serde(skip_serializing_if = "Option::is_none")]
        reconnect_to: Option<String>,
    },
}

impl Event {
    /// Whether it is soon followed by another one that says the same of a later moment: one may be left out when others wait.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Quality { repeats: true, .. })
    }

    /// An error without particulars; set them with struct update where there are any.
    pub fn error(code: ErrorCode, message: impl Into<String>, of: &str) -> Self {
        Self::Error {
            code,
            message: message.into(),
            of: of.to_owned(),
            room_name: None,
            publisher_id: None,
            track_id: None,
            retry_after_ms: None,
            decision_id: None,
        }
    }
}

/// A member of a room, as others see it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberInfo {
    /// Who.
    pub user_id: UserId,
    /// Name for people.
    pub username: String,
    /// Their place in the room.
    pub publisher_id: PublisherId,
    /// What they publish.
    pub tracks: Vec<TrackInfo>,
}

/// A publisher, as others see it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublisherInfo {
    /// Their place in the room.
    pub publisher_id: PublisherId,
    /// Who.
    pub user_id: UserId,
    /// Name for people.
    pub username: String,
    /// What they publish.
    pub tracks: Vec<TrackInfo>,
    /// Who, as their token says. No client is told.
    #[serde(skip)]
    pub subject: String,
}

/// A published track, as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackInfo {
    /// Its name in the room.
    pub track_id: TrackId,
    /// Audio, video or data.
    pub kind: MediaKind,
    /// Where it comes from.
    pub source: Source,
    /// How it is coded; absent for data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<Codec>,
    /// Whether it has several encodings.
    pub simulcast: bool,
    /// How many it has. The dialect tells only whether there are several.
    #[serde(skip)]
    pub encodings: u8,
    /// Whether it is silent.
    pub muted: bool,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What a data channel was opened with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelFacts>,
}

/// What became of an offered track.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishedTrack {
    /// Its name in the room.
    pub track_id: TrackId,
    /// Its m-line.
    pub mid: String,
    /// Whether it is published.
    pub accepted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// Why not, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether an encoding is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EncodingState {
    /// Its name; none: the track has only this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// Whether.
    pub active: bool,
}

/// A track in a `subscribe-offer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferedTrack {
    /// Its m-line.
    pub mid: String,
    /// Its name in the room.
    pub track_id: TrackId,
    /// Whose it is.
    pub publisher_id: PublisherId,
    /// Audio or video.
    pub kind: MediaKind,
    /// Where it comes from.
    pub source: Source,
}

/// Why less of a track is received, or nothing; or what is over when it is more again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(extend("x-grows" = true))]
pub enum LayerReason {
    /// The client wants no more.
    Requested,
    /// Policy allows no more.
    Policy,
    /// The track is muted.
    Muted,
    /// Others spoke later, and only so many are received.
    Speakers,
    /// The receiver's network carries no more.
    Bandwidth,
    /// The publisher sends no more.
    Source,
}

/// What was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RevokedWhat {
    /// The place in the room.
    Stay,
    /// A publication.
    Publication,
    /// A subscription.
    Subscription,
    /// A recording.
    Recording,
}

/// How loud a publisher is.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveLevel {
    /// Who.
    pub publisher_id: PublisherId,
    /// dBov, −127 (silence) … 0.
    #[schemars(range(min = -127, max = 0))]
    pub level: i8,
}

/// How far a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingState {
    /// The recorder was asked.
    Starting,
    /// Media is being written.
    Recording,
    /// Files are being closed.
    Stopping,
    /// All files are closed.
    Stopped,
    /// It ended without being asked to.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_looks_as_the_protocol_says() {
        let reply = Reply {
            id: Some(RequestId::Number(4)),
            event: Event::error(ErrorCode::NOT_FOUND, "no such room", "leave-room"),
        };
        assert_eq!(
            serde_json::to_value(&reply).unwrap(),
            serde_json::json!({"id": 4, "type": "error", "code": "not-found", "message": "no such room", "of": "leave-room"})
        );
        let quality = |repeats| {
            let room_name = RoomName::new("r").unwrap();
            Event::Quality { room_name, publisher_id: None, score: 9, bitrate: 8, loss: 0.5, rtt: None, repeats }
        };
        assert_eq!([true, false].map(|repeats| quality(repeats).is_passing()), [true, false]);
        assert_eq!(
            serde_json::to_value(Reply::from(quality(true))).unwrap(),
            serde_json::json!({"type": "quality", "roomName": "r", "score": 9, "bitrate": 8, "loss": 0.5})
        );
        let left = Event::PublisherLeft { room_name: RoomName::new("r").unwrap(), publisher_id: PublisherId(9) };
        assert_eq!(
            serde_json::to_value(Reply::from(left)).unwrap(),
            serde_json::json!({"type": "publisher-left", "roomName": "r", "publisherId": 9})
        );
    }
}
