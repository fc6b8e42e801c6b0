//! What a client asks for. The serde form of these types is the `type` dialect of `/ws`; other dialects translate into them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PublisherId, RoomName, Secret, Source, TrackId, UserId};

/// A command with the `id` that its direct reply and any error it causes echo.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    /// The client's own mark, if it gave one.
    #[serde(default)]
    pub id: Option<RequestId>,
    /// The command.
    #[serde(flatten)]
    pub command: Command,
    /// How long the message was that it came in, in bytes: what it keeps in memory, about.
    #[serde(skip)]
    pub size: usize,
}

/// A client's own mark of a message: a text (at most 128 bytes) or a number. Its direct reply, and any error that it causes, echo it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RequestId {
    /// A whole number.
    Number(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(#[schemars(length(max = 128))] String),
}

/// One message from a client.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Command {
    /// Proves who the client is: first on a socket, and again to renew the token.
    Auth {
        /// A JSON Web Token.
        token: Secret,
        /// The `resumeToken` of a socket that was lost.
        #[serde(default)]
        resume: Option<Secret>,
    },
    /// Enters a room.
    JoinRoom {
        /// The room.
        room_name: RoomName,
        /// The room's password, if it has one.
        #[serde(default)]
        password: Option<Secret>,
        /// Free text for policy, at most 4 KiB.
        #[serde(default)]
        #[schemars(length(max = 4096))]
        metadata: Option<String>,
        /// One subscribe connection for all publishers, or one for each.
        #[serde(default)]
        subscribe_connections: Option<SubscribeConnections>,
    },
    /// Leaves a room.
    LeaveRoom {
        /// The room.
        room_name: RoomName,
    },
    /// Offers tracks; new ICE credentials in it restart ICE.
    PublishOffer {
        /// The room.
        room_name: RoomName,
        /// The session description: its text, or an `RTCSessionDescriptionInit`.
        #[serde(deserialize_with = "sdp_text")]
        #[schemars(with = "SessionDescription")]
        offer: String,
        /// What the tracks are.
        #[serde(default)]
        tracks: Vec<TrackHint>,
    },
    /// Trickles a candidate of the publish connection.
    PublishIceCandidate {
        /// The room.
        room_name: RoomName,
        /// The candidate; none or empty ends them.
        #[serde(default)]
        candidate: Option<Candidate>,
    },
    /// Takes a track back.
    Unpublish {
        /// The room.
        room_name: RoomName,
        /// The track.
        track_id: TrackId,
    },
    /// Asks to receive a publisher's tracks.
    SubscribeRequest {
        /// The room.
        room_name: RoomName,
        /// Whose tracks.
        publisher_id: PublisherId,
        /// Which of them; absent: all present and later ones.
        #[serde(default)]
        track_ids: Option<Vec<TrackId>>,
        /// The highest layer wanted.
        #[serde(default)]
        max_layer: Option<MaxLayer>,
    },
    /// Answers a `subscribe-offer`.
    SubscribeAnswer {
        /// The room.
        room_name: RoomName,
        /// The publisher named in the offer.
        publisher_id: PublisherId,
        /// The session description: its text, or an `RTCSessionDescriptionInit`.
        #[serde(deserialize_with = "sdp_text")]
        #[schemars(with = "SessionDescription")]
        answer: String,
        /// The offer that it answers.
        #[serde(default)]
        #[schemars(extend("maximum" = crate::schema::MAX_NUMBER))]
        offer_id: Option<u64>,
    },
    /// Trickles a candidate of a subscribe connection.
    SubscribeIceCandidate {
        /// The room.
        room_name: RoomName,
        /// Whose connection, when there is one for each publisher.
        #[serde(default)]
        publisher_id: Option<PublisherId>,
        /// The candidate; none or empty ends them.
        #[serde(default)]
        candidate: Option<Candidate>,
    },
    /// Stops receiving.
    Unsubscribe {
        /// The room.
        room_name: RoomName,
        /// Whose tracks.
        publisher_id: PublisherId,
        /// Which of them; absent: all.
        #[serde(default)]
        track_ids: Option<Vec<TrackId>>,
    },
    /// Asks for a `subscribe-offer` with new ICE credentials.
    RestartIce {
        /// The room.
        room_name: RoomName,
        /// Whose connection, when there is one for each publisher.
        #[serde(default)]
        publisher_id: Option<PublisherId>,
    },
    /// Chooses what to receive of one track.
    SetLayer {
        /// The room.
        room_name: RoomName,
        /// Whose track.
        publisher_id: PublisherId,
        /// Which track.
        track_id: TrackId,
        /// Highest spatial layer.
        #[serde(default)]
        spatial: Option<u8>,
        /// Highest temporal layer.
        #[serde(default)]
        temporal: Option<u8>,
        /// Whether to receive nothing for now.
        #[serde(default)]
        paused: Option<bool>,
        /// Weight against the client's other subscriptions, 0 (least) … 255.
        #[serde(default)]
        priority: Option<u8>,
    },
    /// Silences a track: one's own, or another's if policy agrees.
    Mute {
        /// The room.
        room_name: RoomName,
        /// Which track.
        track_id: TrackId,
        /// Whose; absent: one's own.
        #[serde(default)]
        publisher_id: Option<PublisherId>,
    },
    /// Undoes `Mute`.
    Unmute {
        /// The room.
        room_name: RoomName,
        /// Which track.
        track_id: TrackId,
        /// Whose; absent: one's own.
        #[serde(default)]
        publisher_id: Option<PublisherId>,
    },
    /// Puts a participant out, if policy agrees.
    Kick {
        /// The room.
        room_name: RoomName,
        /// Whom.
        publisher_id: PublisherId,
    },
    /// Records the room, or some of its tracks.
    StartRecording {
        /// The room.
        room_name: RoomName,
        /// Which tracks; absent: all present and later ones.
        #[serde(default)]
        tracks: Option<Vec<TrackId>>,
    },
    /// Ends the recording.
    StopRecording {
        /// The room.
        room_name: RoomName,
        /// Which tracks; absent: all.
        #[serde(default)]
        tracks: Option<Vec<TrackId>>,
    },
    /// Hands a payload to the plugins that export `command`.
    PolicyCommand {
        /// The room.
        room_name: RoomName,
        /// What the plugins know it by, 1–64 bytes.
        #[schemars(length(min = 1, max = 64))]
        name: String,
        /// Free text for them, at most 16 KiB.
        #[serde(default)]
        #[schemars(length(max = 16384))]
        payload: String,
    },
    /// Relays a session description to other members.
    Offer(PeerRelay),
    /// Relays a session description to other members.
    Answer(PeerRelay),
    /// Relays a candidate to other members.
    IceCandidate(PeerRelay),
    /// Says something to the room.
    Chat {
        /// The room.
        room_name: RoomName,
        /// At most 4 KiB.
        #[schemars(length(max = 4096))]
        text: String,
    },
    /// Asks for a `pong`.
    Ping {},
    /// Offers to receive, so that the server answers (WHEP): what is subscribed to takes the offered m-lines. Again with other ICE
    /// credentials: a restart. It is no message of the dialect, in which the server offers.
    #[serde(skip_deserializing)]
    #[schemars(skip)]
    ReceiveOffer {
        /// The room.
        room_name: RoomName,
        /// The session description.
        offer: String,
    },
}

/// A message that the server hands on as it is: peers talk past the SFU.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct PeerRelay {
    /// The room.
    pub room_name: RoomName,
    /// Who shall have it; absent: everyone else in the room.
    #[serde(default)]
    pub target_user_id: Option<UserId>,
    /// All other keys, handed on untouched.
    #[serde(flatten)]
    pub payload: serde_json::Map<String, serde_json::Value>,
}

/// How many subscribe connections a participant has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SubscribeConnections {
    /// One for all publishers.
    #[default]
    Shared,
    /// One for each publisher.
    PerPublisher,
}

/// A candidate: its line, or an `RTCIceCandidateInit`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Candidate {
    /// `candidate:…` or `a=candidate:…`.
    Line(String),
    /// The browser's object; only its `candidate` is used, since all m-lines share one transport (BUNDLE).
    #[serde(rename_all = "camelCase")]
    Init {
        /// `candidate:…`.
        candidate: String,
    },
}

impl Candidate {
    /// The line without `a=`; empty means the end of candidates.
    pub fn line(&self) -> &str {
        let (Self::Line(line) | Self::Init { candidate: line }) = self;
        line.trim().trim_start_matches("a=")
    }
}

/// What a publisher says of an offered track, found by its track id or its mid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackHint {
    /// The track id in the offer's `a=msid`.
    #[serde(default)]
    pub track_id: Option<String>,
    /// The m-line's mid.
    #[serde(default)]
    pub mid: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// A name for people.
    #[serde(default)]
    pub name: Option<String>,
}

/// The highest layer a subscriber wants; an absent index is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MaxLayer {
    /// Highest spatial layer.
    #[serde(default)]
    pub spatial: Option<u8>,
    /// Highest temporal layer.
    #[serde(default)]
    pub temporal: Option<u8>,
}

impl Command {
    /// The message's `type`, for the `of` of errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Auth { .. } => "auth",
            Self::JoinRoom { .. } => "join-room",
            Self::LeaveRoom { .. } => "leave-room",
            Self::PublishOffer { .. } => "publish-offer",
            Self::PublishIceCandidate { .. } => "publish-ice-candidate",
            Self::Unpublish { .. } => "unpublish",
            Self::SubscribeRequest { .. } => "subscribe-request",
            Self::SubscribeAnswer { .. } => "subscribe-answer",
            Self::SubscribeIceCandidate { .. } => "subscribe-ice-candidate",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::RestartIce { .. } => "restart-ice",
            Self::SetLayer { .. } => "set-layer",
            Self::Mute { .. } => "mute",
            Self::Unmute { .. } => "unmute",
            Self::Kick { .. } => "kick",
            Self::StartRecording { .. } => "start-recording",
            Self::StopRecording { .. } => "stop-recording",
            Self::PolicyCommand { .. } => "policy-command",
            Self::Offer(_) => "offer",
            Self::Answer(_) => "answer",
            Self::IceCandidate(_) => "ice-candidate",
            Self::Chat { .. } => "chat",
            Self::Ping {} => "ping",
            Self::ReceiveOffer { .. } => "receive-offer",
        }
    }

    /// The room it speaks of; `auth` and `ping` speak of none.
    pub fn room(&self) -> Option<&RoomName> {
        match self {
            Self::Auth { .. } | Self::Ping {} => None,
            Self::Offer(relay) | Self::Answer(relay) | Self::IceCandidate(relay) => Some(&relay.room_name),
            Self::JoinRoom { room_name, .. }
            | Self::LeaveRoom { room_name }
            | Self::PublishOffer { room_name, .. }
            | Self::PublishIceCandidate { room_name, .. }
            | Self::Unpublish { room_name, .. }
            | Self::SubscribeRequest { room_name, .. }
            | Self::SubscribeAnswer { room_name, .. }
            | Self::SubscribeIceCandidate { room_name, .. }
            | Self::Unsubscribe { room_name, .. }
            | Self::RestartIce { room_name, .. }
            | Self::SetLayer { room_name, .. }
            | Self::Mute { room_name, .. }
            | Self::Unmute { room_name, .. }
            | Self::Kick { room_name, .. }
            | Self::StartRecording { room_name, .. }
            | Self::StopRecording { room_name, .. }
            | Self::PolicyCommand { room_name, .. }
            | Self::Chat { room_name, .. }
            | Self::ReceiveOffer { room_name, .. } => Some(room_name),
        }
    }

    /// Every `type` that a client may send.
    pub const NAMES: &'static [&'static str] = &[
        "auth",
        "join-room",
        "leave-room",
        "publish-offer",
        "publish-ice-candidate",
        "unpublish",
        "subscribe-request",
        "subscribe-answer",
        "subscribe-ice-candidate",
        "unsubscribe",
        "restart-ice",
        "set-layer",
        "mute",
        "unmute",
        "kick",
        "start-recording",
        "stop-recording",
        "policy-command",
        "offer",
        "answer",
        "ice-candidate",
        "chat",
        "ping",
    ];
}

/// A session description: its text, or the browser's object.
// Stands in the schema for what `sdp_text` reads by hand.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "nothing but its schema is used")]
enum SessionDescription {
    /// The text itself.
    Text(String),
    /// An `RTCSessionDescriptionInit`; only its `sdp` is used.
    Init {
        /// The text.
        sdp: String,
    },
}

/// Accepts a description's text or the browser's `{type, sdp}` object.
fn sdp_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Sdp;
    impl<'de> serde::de::Visitor<'de> for Sdp {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a session description: its text, or an object with `sdp`")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
            let mut sdp = None;
            while let Some(key) = map.next_key::<String>()? {
                match key.as_str() {
                    "sdp" => sdp = Some(map.next_value()?),
                    _ => drop(map.next_value::<serde::de::IgnoredAny>()?),
                }
            }
            sdp.ok_or_else(|| serde::de::Error::missing_field("sdp"))
        }
    }
    deserializer.deserialize_any(Sdp)
}

#[cfg(test)]
mod tests;
