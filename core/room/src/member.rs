//! One participant's state in a room.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use lockgate_model::policy::{Decision, Grant, Participant, TrackFacts};
use lockgate_model::{
    Codec, Layer, MaxLayer, MemberInfo, PublisherId, Reply, Request, RequestId, SubscribeConnections, TrackId,
    TrackInfo,
};

use crate::effect::{Connection, Limits};
use crate::input::{MediaProblem, OfferedMedia};
use crate::pending::Ticket;

/// A participant, from the first question about them until they are gone.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: PublisherId,
    pub(crate) participant: Participant,
    pub(crate) connections: SubscribeConnections,
    pub(crate) stage: Stage,
    /// What token, auth and admission allow together.
    pub(crate) grant: Grant,
    pub(crate) tracks: BTreeMap<TrackId, Track>,
    /// What the client wants to receive, by publisher.
    pub(crate) wants: BTreeMap<PublisherId, Want>,
    /// What is sent to the client.
    pub(crate) receives: HashMap<TrackId, Reception>,
    /// What policy said about each track in the room: whether this member may know of it.
    pub(crate) verdicts: HashMap<TrackId, Decision>,
    /// The question that holds this member's further commands.
    pub(crate) busy: Option<Ticket>,
    pub(crate) held: VecDeque<Held>,
    pub(crate) held_bytes: usize,
    /// What is to be said with and after the next offer of a connection.
    pub(crate) after_offer: HashMap<(Connection, PublisherId), AfterOffer>,
}

/// How far a participant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Policy is being asked.
    Entering,
    /// In the lobby.
    Waiting,
    /// In the room.
    Inside,
}

/// A command that waits for its turn.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) request: Request,
    pub(crate) offered: Option<Result<Vec<OfferedMedia>, MediaProblem>>,
}

/// A published track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) mid: String,
    pub(crate) info: TrackInfo,
    pub(crate) encodings: u8,
}

/// What a client wants of one publisher.
#[derive(Clone, Debug, Default)]
pub(crate) struct Want {
    /// Which tracks; none: all, later ones too.
    pub(crate) tracks: Option<BTreeSet<TrackId>>,
    pub(crate) max_layer: MaxLayer,
}

/// A track that is being sent to a client.
#[derive(Clone, Debug)]
pub(crate) struct Reception {
    pub(crate) connection: Connection,
    pub(crate) publisher: PublisherId,
    pub(crate) grant: Grant,
    pub(crate) wish: MaxLayer,
    pub(crate) paused: bool,
    pub(crate) priority: Option<u8>,
}

/// What is said with and after an offer.
#[derive(Debug, Default)]
pub(crate) struct AfterOffer {
    pub(crate) id: Option<RequestId>,
    pub(crate) errors: Vec<Reply>,
}

impl Member {
    pub(crate) fn new(id: PublisherId, participant: Participant, connections: SubscribeConnections) -> Self {
        Self {
            id,
            grant: participant.identity.grant.clone(),
            participant,
            connections,
            stage: Stage::Entering,
            tracks: BTreeMap::new(),
            wants: BTreeMap::new(),
            receives: HashMap::new(),
            verdicts: HashMap::new(),
            busy: None,
            held: VecDeque::new(),
            held_bytes: 0,
            after_offer: HashMap::new(),
        }
    }

    /// The participant as policy sees them: with the effective grant.
    pub(crate) fn as_participant(&self) -> Participant {
        let mut participant = self.participant.clone();
        participant.identity.grant = self.grant.clone();
        participant
    }

    /// The connection on which a publisher's tracks reach this member.
    pub(crate) fn connection_for(&self, publisher: PublisherId) -> Connection {
        let publisher = match self.connections {
            SubscribeConnections::Shared => None,
            SubscribeConnections::PerPublisher => Some(publisher),
        };
        Connection { member: self.id, publisher }
    }

    /// Whether policy lets this member know of the track.
    pub(crate) fn may_know(&self, track: &TrackId) -> bool {
        self.verdicts.get(track).is_some_and(Result::is_ok)
    }

    /// The member as another one may see them.
    pub(crate) fn info_for(&self, viewer: &Self) -> MemberInfo {
        MemberInfo {
            user_id: self.participant.identity.user_id,
            username: self.participant.identity.username.clone(),
            publisher_id: self.id,
            tracks: self.tracks_for(viewer),
        }
    }

    /// The tracks that another member may know of.
    pub(crate) fn tracks_for(&self, viewer: &Self) -> Vec<TrackInfo> {
        self.tracks
            .values()
            .filter(|track| viewer.may_know(&track.info.track_id))
            .map(|track| track.info.clone())
            .collect()
    }

    /// Whether others see this member at all.
    pub(crate) fn is_visible(&self) -> bool {
        self.stage == Stage::Inside && !self.grant.hidden
    }
}

impl Track {
    pub(crate) fn facts(&self) -> TrackFacts {
        TrackFacts {
            id: self.info.track_id.clone(),
            kind: self.info.kind,
            source: self.info.source,
            codec: Some(self.info.codec),
            top_layer: top_layer(self.info.codec, self.encodings),
            bitrate: None,
        }
    }
}

impl Want {
    pub(crate) fn covers(&self, track: &TrackId) -> bool {
        self.tracks.as_ref().is_none_or(|tracks| tracks.contains(track))
    }
}

impl Reception {
    pub(crate) fn limits(&self) -> Limits {
        Limits::new(&self.grant, self.wish, self.paused, self.priority)
    }
}

/// The highest layer that a track can have, before any packet of it was seen: encodings count the spatial ones, and video
/// codecs may carry up to three temporal ones.
pub(crate) fn top_layer(codec: Codec, encodings: u8) -> Layer {
    match codec {
        Codec::Opus => Layer::default(),
        _ => Layer::new(encodings.max(1) - 1, 2),
    }
}
