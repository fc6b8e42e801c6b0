//! One participant's state in a room.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use lockgate_model::carrier::NodeTime;
use lockgate_model::policy::{Grant, Participant, TrackFacts};
use lockgate_model::{
    Bitrate, ChannelFacts, Codec, EncodingState, Event, Layer, LayerReason, Limits, MaxLayer, MemberInfo, OfferedMedia,
    PublisherId, Quality, Reply, Request, RequestId, RoomName, Somebody, Source, SubscribeConnections, TrackId,
    TrackInfo,
};

use crate::effect::Connection;
use crate::input::MediaProblem;
use crate::pending::Ticket;
use crate::quality::Score;
use crate::rights::{Entry, Verdict};
use crate::standing::Standing;

/// A participant, from the first question about them until they are gone.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: PublisherId,
    pub(crate) participant: Participant,
    pub(crate) connections: SubscribeConnections,
    pub(crate) stage: Stage,
    /// What they said at the door, for when they are asked about again.
    pub(crate) entry: Entry,
    /// What admission says of the stay.
    pub(crate) admission: Standing,
    /// What token, auth and admission allow together.
    pub(crate) grant: Grant,
    pub(crate) tracks: BTreeMap<TrackId, Track>,
    /// Data channels that policy is asked about.
    pub(crate) opening: BTreeMap<u16, Opening>,
    /// What the client wants to receive, by publisher.
    pub(crate) wants: BTreeMap<PublisherId, Want>,
    /// The connections that were made to send to the client.
    pub(crate) open: BTreeSet<Connection>,
    /// How well media flows on them, and when that was reported, in ms since 1970.
    pub(crate) received: BTreeMap<Connection, (Quality, u64)>,
    /// How well its own media comes in, and when that was reported, in ms since 1970.
    pub(crate) sent: Option<(Quality, u64)>,
    /// When the client was told of it last, in ms since 1970.
    pub(crate) quality_told_ms: Option<u64>,
    /// What is sent to the client.
    pub(crate) receives: HashMap<TrackId, Reception>,
    /// What policy said about each track in the room: whether this member may know of it.
    pub(crate) verdicts: HashMap<TrackId, Verdict>,
    /// Answers to older questions whether they may enter count no more: a plugin let them in.
    pub(crate) admitted_after: Ticket,
    /// Answers to older questions about tracks of theirs count no more.
    pub(crate) publish_after: Ticket,
    /// When something of all this ends or is to be asked about again, at the earliest; in ms since 1970.
    pub(crate) due_ms: Option<u64>,
    /// Of whom the client was told.
    pub(crate) met: BTreeSet<PublisherId>,
    /// Who speaks, as far as the client was told.
    pub(crate) speaker: Option<PublisherId>,
    /// When the member became the speaker last.
    pub(crate) spoke: Option<NodeTime>,
    /// Policy was to think again of it then: older answers whether it may have something recorded are asked for anew.
    pub(crate) asked_again: Ticket,
    /// The question that holds this member's further commands.
    pub(crate) busy: Option<Ticket>,
    pub(crate) held: VecDeque<Held>,
    pub(crate) held_bytes: usize,
    /// What is to be said with and after the offers to come, in the order of the requests.
    pub(crate) after_offer: VecDeque<AfterOffer>,
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

/// A data channel on its way through policy: what it will be called, and what it was opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) track: TrackId,
    pub(crate) channel: ChannelFacts,
}

/// A published track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) mid: String,
    pub(crate) info: TrackInfo,
    pub(crate) encodings: u8,
    /// Which of its publisher's data channels it is, if it is one.
    pub(crate) stream: Option<u16>,
    /// Which encodings the client was asked to send, once it was.
    pub(crate) steered: Option<Vec<EncodingState>>,
    /// What policy says of it.
    pub(crate) standing: Standing,
    /// Answers to older questions are about another track that had its name before.
    pub(crate) since: Ticket,
    /// Answers to older questions whether it may be recorded count no more.
    pub(crate) record_after: Ticket,
    /// Policy was to think again then: older answers whether it may be recorded are asked for anew.
    pub(crate) asked_again: Ticket,
    /// Somebody took it from the recorder (an operator, or `stop-recording` that names it), so that it is recorded again only if somebody asks for that.
    pub(crate) withheld: bool,
    /// What the media side was told of it: the most that may be sent.
    pub(crate) max_bitrate: Option<Bitrate>,
    /// What came of its encodings, in bit/s, and when that was told, in ms since 1970.
    pub(crate) rates: Option<(Vec<u64>, u64)>,
}

/// What a client wants of one publisher.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    /// Which tracks; none: all, later ones too.
    pub(crate) tracks: Option<BTreeSet<TrackId>>,
    /// But not these, which were taken or given back: they do not come before they are asked for again.
    pub(crate) except: BTreeSet<TrackId>,
    pub(crate) max_layer: MaxLayer,
}

/// A track that is being sent to a client.
#[derive(Clone, Debug)]
pub(crate) struct Reception {
    pub(crate) connection: Connection,
    pub(crate) publisher: PublisherId,
    pub(crate) source: Source,
    pub(crate) grant: Grant,
    pub(crate) wish: MaxLayer,
    pub(crate) paused: bool,
    /// Whether it waits for a place: others are sent instead.
    pub(crate) waits: bool,
    pub(crate) priority: Option<u8>,
    /// What the client was told last that it gets (none: nothing), and why.
    pub(crate) layer: Option<(Option<Layer>, LayerReason)>,
    /// The score that the client was told last of what the publisher sends.
    pub(crate) score: Score,
}

/// A request that an offer answers.
#[derive(Debug)]
pub(crate) struct AfterOffer {
    pub(crate) connection: Connection,
    pub(crate) publisher: PublisherId,
    pub(crate) id: Option<RequestId>,
    /// What the offer must list.
    pub(crate) present: BTreeSet<TrackId>,
    /// What it must not list.
    pub(crate) absent: BTreeSet<TrackId>,
    /// What is said after it.
    pub(crate) errors: Vec<Reply>,
}

impl Member {
    pub(crate) fn new(id: PublisherId, participant: Participant, connections: SubscribeConnections) -> Self {
        Self {
            id,
            grant: participant.identity.grant.clone(),
            entry: Entry::default(),
            admission: Standing::unasked(Grant::default()),
            participant,
            connections,
            stage: Stage::Entering,
            tracks: BTreeMap::new(),
            opening: BTreeMap::new(),
            wants: BTreeMap::new(),
            open: BTreeSet::new(),
            received: BTreeMap::new(),
            sent: None,
            quality_told_ms: None,
            receives: HashMap::new(),
            verdicts: HashMap::new(),
            admitted_after: Ticket(0),
            publish_after: Ticket(0),
            due_ms: None,
            met: BTreeSet::new(),
            speaker: None,
            spoke: None,
            asked_again: Ticket(0),
            busy: None,
            held: VecDeque::new(),
            held_bytes: 0,
            after_offer: VecDeque::new(),
        }
    }

    /// Forgets tracks that are no more.
    pub(crate) fn forget(&mut self, ended: &[TrackId]) {
        for track in ended {
            self.verdicts.remove(track);
        }
        for want in self.wants.values_mut() {
            let named = want.tracks.iter_mut().chain([&mut want.except]);
            named.for_each(|tracks| tracks.retain(|track| !ended.contains(track)));
        }
        for waiting in &mut self.after_offer {
            waiting.present.retain(|track| !ended.contains(track));
        }
    }

    /// Who that is, for those who follow what happens.
    pub(crate) fn somebody(&self) -> Somebody {
        let Participant { identity, door, .. } = &self.participant;
        Somebody {
            publisher_id: self.id,
            user_id: identity.user_id,
            subject: identity.subject.clone(),
            username: identity.username.clone(),
            door: *door,
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

    /// Whether this member may know of another one: nothing of theirs is published, or policy shows some of it.
    pub(crate) fn may_see(&self, other: &Self) -> bool {
        other.is_visible() && (other.tracks.is_empty() || other.tracks.keys().any(|track| self.may_know(track)))
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

    /// Whether the member goes by this subject; everybody does by none.
    pub(crate) fn is_subject(&self, subject: Option<&str>) -> bool {
        subject.is_none_or(|subject| subject == self.participant.identity.subject)
    }

    /// Whether others see this member at all.
    pub(crate) fn is_visible(&self) -> bool {
        self.stage == Stage::Inside && !self.grant.hidden
    }
}

impl Track {
    /// What the client is asked to send of it, once it was.
    pub(crate) fn publish_layers(&self, room: &RoomName) -> Option<Event> {
        let (track_id, encodings) = (self.info.track_id.clone(), self.steered.clone()?);
        Some(Event::PublishLayers { room_name: room.clone(), track_id, encodings })
    }

    pub(crate) fn facts(&self) -> TrackFacts {
        TrackFacts {
            id: self.info.track_id.clone(),
            kind: self.info.kind,
            source: self.info.source,
            codec: self.info.codec,
            top_layer: self.info.codec.map_or(Layer::default(), |codec| top_layer(codec, self.encodings)),
            bitrate: self.max_bitrate,
        }
    }
}

impl Want {
    /// Nothing so far.
    pub(crate) fn nothing() -> Self {
        Self { tracks: Some(BTreeSet::new()), except: BTreeSet::new(), max_layer: MaxLayer::default() }
    }

    /// Wants these tracks too; none: all, later ones too.
    pub(crate) fn add(&mut self, tracks: Option<Vec<TrackId>>) {
        match tracks {
            None => *self = Self { tracks: None, except: BTreeSet::new(), max_layer: self.max_layer },
            Some(more) => {
                self.except.retain(|track| !more.contains(track));
                self.tracks.iter_mut().for_each(|so_far| so_far.extend(more.iter().cloned()));
            }
        }
    }

    pub(crate) fn covers(&self, track: &TrackId) -> bool {
        !self.except.contains(track) && self.tracks.as_ref().is_none_or(|tracks| tracks.contains(track))
    }
}

impl AfterOffer {
    /// Whether an offer with these tracks answers the request.
    pub(crate) fn is_answered_by(&self, offered: &BTreeSet<TrackId>) -> bool {
        self.present.is_subset(offered) && self.absent.is_disjoint(offered)
    }
}

impl Reception {
    /// Whether the viewer wants it before others.
    pub(crate) fn is_put_first(&self) -> bool {
        self.limits().priority > Limits::DEFAULT_PRIORITY
    }

    /// What the client is told of what it gets, as soon as that is known.
    pub(crate) fn layer_changed(&self, room: &RoomName, track: &TrackId) -> Option<Event> {
        let (layer, reason) = self.layer?;
        Some(Event::LayerChanged {
            room_name: room.clone(),
            publisher_id: self.publisher,
            track_id: track.clone(),
            paused: layer.is_none(),
            spatial: layer.map(|layer| layer.spatial),
            temporal: layer.map(|layer| layer.temporal),
            reason,
        })
    }

    /// The stricter of what policy allows and what the client wants.
    pub(crate) fn limits(&self) -> Limits {
        let wish = Layer::new(self.wish.spatial.unwrap_or(u8::MAX), self.wish.temporal.unwrap_or(u8::MAX));
        let weights = [self.grant.priority, self.priority];
        Limits {
            max_layer: self.grant.max_layer().min(wish),
            granted: self.grant.max_layer(),
            max_bitrate: self.grant.max_bitrate,
            paused: self.paused,
            waits: self.waits,
            priority: weights.into_iter().flatten().min().unwrap_or(Limits::DEFAULT_PRIORITY),
        }
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
