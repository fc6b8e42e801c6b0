//! What a plugin is asked: everything that a policy needs to know, and nothing that it could reach by itself.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Attribute, Grant};
use crate::{Bitrate, Codec, Layer, MediaKind, PublisherId, RoomName, Secret, Source, TrackId, UserId};

/// The kinds of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// Who is it?
    Auth,
    /// May they enter?
    Admission,
    /// May they publish this?
    Publishing,
    /// May they receive this, and how much of it?
    Subscription,
    /// May this be recorded?
    Recording,
    /// What does a moderator's command do?
    Command,
}

impl Hook {
    /// All of them, in the order in which a participant meets them.
    pub const ALL: [Self; 6] =
        [Self::Auth, Self::Admission, Self::Publishing, Self::Subscription, Self::Recording, Self::Command];

    /// The name in configuration and the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Admission => "admission",
            Self::Publishing => "publishing",
            Self::Subscription => "subscription",
            Self::Recording => "recording",
            Self::Command => "command",
        }
    }
}

/// Where somebody knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// The WebSocket dialects.
    Ws,
    /// WebRTC-HTTP ingestion.
    Whip,
    /// WebRTC-HTTP egress.
    Whep,
    /// Another node or router.
    Relay,
    /// The recorder.
    Recorder,
    /// The admin interface.
    Admin,
}

impl Door {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Whip => "whip",
            Self::Whep => "whep",
            Self::Relay => "relay",
            Self::Recorder => "recorder",
            Self::Admin => "admin",
        }
    }
}

/// Somebody whom a plugin has accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The token's `sub`, as text.
    pub subject: String,
    /// The number that signalling shows.
    pub user_id: UserId,
    /// Name for people.
    pub username: String,
    /// What else the token says, as key and JSON text.
    pub claims: Vec<Attribute>,
    /// When the token ends, milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
    /// What the token and the auth plugins allow.
    pub grant: Grant,
}

/// Who is it?
#[derive(Clone, Debug)]
pub struct AuthQuestion {
    /// The token as it came; empty when there was none.
    pub token: Secret,
    /// Where they knock.
    pub door: Door,
    /// From which address.
    pub peer: IpAddr,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// May they enter?
#[derive(Clone, Debug)]
pub struct AdmissionQuestion {
    /// Who.
    pub who: Participant,
    /// Where to.
    pub room: RoomFacts,
    /// The password they gave.
    pub password: Option<Secret>,
    /// What their client wrote.
    pub metadata: Option<String>,
    /// What led to the question: a request, or it is put again to somebody who is in.
    pub why: Why,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// May they publish these? One verdict per track.
#[derive(Clone, Debug)]
pub struct PublishQuestion {
    /// Who.
    pub who: Participant,
    /// Where.
    pub room: RoomFacts,
    /// What; the publisher is `who`.
    pub tracks: Vec<TrackFacts>,
    /// What led to the question.
    pub why: Why,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// May they receive these, and how much? One verdict per publication.
#[derive(Clone, Debug)]
pub struct SubscribeQuestion {
    /// Who would receive.
    pub who: Participant,
    /// Where.
    pub room: RoomFacts,
    /// What.
    pub publications: Vec<Publication>,
    /// What led to the question.
    pub why: Why,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// May these be recorded? One verdict per publication.
#[derive(Clone, Debug)]
pub struct RecordQuestion {
    /// Who wants it; none: the configuration.
    pub who: Option<Participant>,
    /// Where.
    pub room: RoomFacts,
    /// What.
    pub publications: Vec<Publication>,
    /// What led to the question.
    pub why: Why,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// A moderator's or operator's act: `mute`, `kick`, or a name that plugins know.
#[derive(Clone, Debug)]
pub struct CommandQuestion {
    /// Who acts.
    pub who: Participant,
    /// Where.
    pub room: RoomFacts,
    /// Which act.
    pub name: String,
    /// On whom.
    pub target: Option<Participant>,
    /// Free text.
    pub payload: String,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// Somebody at a door or in a room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Participant {
    /// Who.
    pub identity: Identity,
    /// Their place in the room; none before they enter.
    pub publisher_id: Option<PublisherId>,
    /// The door they came by.
    pub door: Door,
    /// From which address.
    pub peer: IpAddr,
}

/// A room, as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomFacts {
    /// Its name.
    pub name: RoomName,
    /// How many are in.
    pub participants: u32,
    /// How many tracks are published.
    pub publications: u32,
    /// Whether it is being recorded.
    pub recording: bool,
}

/// Somebody's track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publication {
    /// Whose.
    pub publisher: Participant,
    /// What.
    pub track: TrackFacts,
}

/// A track, as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackFacts {
    /// Its name in the room.
    pub id: TrackId,
    /// Audio or video.
    pub kind: MediaKind,
    /// Where it comes from.
    pub source: Source,
    /// How it is coded; none while it is only offered.
    pub codec: Option<Codec>,
    /// The highest layer there is.
    pub top_layer: Layer,
    /// What it uses at most, if known.
    pub bitrate: Option<Bitrate>,
}

/// What led to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// May they know of it at all? (asked before something is announced)
    Announce,
    /// The client asked.
    Request,
    /// The configuration asked.
    Auto,
    /// An earlier answer is asked again.
    Recheck,
}
