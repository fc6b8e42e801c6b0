//! Data channels: a publisher opens them on its connection, policy is asked, and from then on they are tracks.

use std::collections::BTreeSet;

use lockgate_model::policy::{Decision, Denial, PublishQuestion, TrackFacts, Why};
use lockgate_model::{
    ChannelFacts, ChannelLoss, ErrorCode, Layer, MediaKind, OfferedMedia, PublisherId, Source, TrackId, TrackInfo,
};

use crate::effect::{Connection, MediaAction, Question};
use crate::member::{Member, Opening, Track};
use crate::pending::{Pending, Ticket};
use crate::publishing::TAKEN;
use crate::room::Room;
use crate::standing::Standing;

impl Room {
    /// Why an offered line for data channels is refused, if so. Nobody is asked: there are no channels yet.
    pub(crate) fn refusal_of_data(&self, member: &Member, media: &OfferedMedia) -> Option<Denial> {
        let source = Source::default_for(media.kind);
        if self.config.max_data_channels == 0 {
            return Some(Denial::new(ErrorCode::FORBIDDEN, "data channels are switched off here"));
        }
        let allowed = member.grant.allows_publishing(media.kind, source);
        (!allowed).then(|| Denial::new(ErrorCode::FORBIDDEN, "your grant does not allow data channels"))
    }

    /// A member opened a data channel: policy is asked, as for any other track.
    pub(crate) fn on_channel_opened(&mut self, id: PublisherId, stream: u16, channel: ChannelFacts) {
        let named = self.name_of_channel(id, stream, &channel);
        let facts = facts_of(named.clone().unwrap_or_else(|taken| taken));
        let (room, now_ms, most) = (self.facts(), self.now_ms, self.config.max_data_channels);
        let Some(member) = self.members.get_mut(&id) else { return };
        let open = member.tracks.values().filter(|track| track.stream.is_some()).count() + member.opening.len();
        let denial = match () {
            () if open >= most => Some(Denial::new(ErrorCode::OVERLOADED, "too many data channels; close one first")),
            () if !member.grant.allows_publishing(facts.kind, facts.source) => {
                Some(Denial::new(ErrorCode::FORBIDDEN, "your grant does not allow data channels"))
            }
            () if named.is_err() => Some(Denial::new(ErrorCode::INVALID_MESSAGE, TAKEN)),
            () => None,
        };
        if let Some(denial) = denial {
            return self.refuse_channel(id, stream, &denial, facts.id);
        }
        let opening = Opening { track: facts.id.clone(), channel };
        member.opening.insert(stream, opening.clone());
        let (who, tracks, why) = (member.as_participant(), vec![facts], Why::Request);
        let question = PublishQuestion { who, room, tracks, why, now_ms };
        self.ask(Question::Publish(question), Pending::Channel { member: id, stream, opening });
    }

    /// Policy decided about the channel of this name: it is published under that one, or not at all.
    pub(crate) fn on_channel_verdict(
        &mut self,
        id: PublisherId,
        ticket: Ticket,
        (stream, opening): (u16, Opening),
        decision: Decision,
    ) {
        let standing = Standing::first(self.heard(ticket, id), decision);
        let Some(member) = self.members.get_mut(&id) else { return };
        // It may be over by now, or be another one.
        if member.opening.get(&stream) != Some(&opening) {
            return;
        }
        member.opening.remove(&stream);
        let TrackFacts { kind, source, .. } = facts_of(opening.track.clone());
        let decision = standing.to_publish(&member.grant, kind, source);
        let track = opening.track.clone();
        let free = self.is_free(&track).then_some(()).ok_or_else(|| Denial::new(ErrorCode::INVALID_MESSAGE, TAKEN));
        if let Err(denial) = decision.and(free) {
            return self.refuse_channel(id, stream, &denial, track);
        }
        let next = standing.next_ms();
        let published = opening.to_track(stream, standing, self.next_question());
        let Some(member) = self.members.get_mut(&id) else { return };
        member.tracks.insert(track.clone(), published);
        self.owners.insert(track.clone(), id);
        self.wake_for(id, next);
        self.tell_published(id, &track);
        self.media(MediaAction::AdmitChannel { member: id, stream, track: track.clone() });
        self.announce(id, &[track]);
    }

    /// A member's data channel is over.
    pub(crate) fn on_channel_closed(&mut self, id: PublisherId, stream: u16) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.opening.remove(&stream);
        let own = member.tracks.values().find(|track| track.stream == Some(stream));
        if let Some(track) = own.map(|track| track.info.track_id.clone()) {
            self.let_last_words_pass(&track);
            self.forget_tracks(id, &[track]);
        }
    }

    /// A channel was ended by its publisher: its viewers have it no more, and get what was said on it before.
    fn let_last_words_pass(&mut self, track: &TrackId) {
        let receptions = self.members.values_mut().filter_map(|member| member.receives.remove(track));
        let connections: Vec<_> = receptions.map(|reception| reception.connection).collect();
        for connection in connections {
            self.media(MediaAction::ExpectNoMore { connection, track: track.clone() });
        }
    }

    /// Holds what was said last on channels that are no more against a member's grant.
    pub(crate) fn hold_last_words(&mut self, id: PublisherId) {
        let allows = |member: &Member| member.grant.allows_subscribing(MediaKind::Data, Source::Data);
        if self.members.get(&id).is_some_and(|member| !allows(member)) {
            self.discard_last_words(id, None);
        }
    }

    /// A member may not have what was said last on channels that are no more: on all, or on this one.
    pub(crate) fn discard_last_words(&mut self, id: PublisherId, only: Option<&TrackId>) {
        let open: Vec<_> = self.members.get(&id).into_iter().flat_map(|member| &member.open).copied().collect();
        for connection in open {
            let tracks = only.map(|only| BTreeSet::from([only.clone()]));
            self.media(MediaAction::DiscardLast { connection, publisher: None, tracks });
        }
    }

    /// A member gets no more of a channel: it may ask again.
    pub(crate) fn on_channel_lost(&mut self, connection: Connection, track: &TrackId, loss: ChannelLoss) {
        let Some(member) = self.members.get_mut(&connection.member) else { return };
        let of = member.receives.get(track).filter(|reception| reception.connection == connection);
        let Some(publisher) = of.map(|reception| reception.publisher) else { return };
        member.receives.remove(track);
        for waiting in &mut member.after_offer {
            waiting.present.remove(track);
        }
        // It may have been asked for anew before this was heard of.
        self.media(MediaAction::Unsubscribe { connection, publisher, track: track.clone() });
        let denial = match loss {
            ChannelLoss::Closed => return,
            ChannelLoss::Behind => {
                Denial::new(ErrorCode::RATE_LIMITED, "you are too far behind on this data channel; subscribe again")
            }
            ChannelLoss::Unable => {
                let text = "your connection takes no more data channels; connect anew";
                Denial::new(ErrorCode::OVERLOADED, text)
            }
        };
        let reply = self.error(None, "subscribe-request", &denial, Some(publisher), Some(track.clone()));
        self.send(connection.member, reply);
    }

    fn refuse_channel(&mut self, id: PublisherId, stream: u16, denial: &Denial, track: TrackId) {
        self.media(MediaAction::RefuseChannel { member: id, stream });
        let reply = self.error(None, "publish-offer", denial, None, Some(track));
        self.send(id, reply);
    }

    /// The channel's label, if it can be a track's name and is nobody's; else one that is made here, which is an error if it is taken.
    fn name_of_channel(&self, id: PublisherId, stream: u16, channel: &ChannelFacts) -> Result<TrackId, TrackId> {
        let label = TrackId::new(channel.label.as_str()).ok();
        // Under the name that another one's channel would get here, one could pass for it.
        let own = |track: &TrackId| track.allotted_to().is_none_or(|of| of == id);
        if let Some(label) = label.filter(|track| own(track) && self.is_free(track)) {
            return Ok(label);
        }
        let made = TrackId::allotted(id, &format!("d{stream}"));
        if self.is_free(&made) { Ok(made) } else { Err(made) }
    }

    fn is_free(&self, track: &TrackId) -> bool {
        self.publisher_of(track).is_none() && !self.is_being_accepted(track)
    }
}

impl Opening {
    /// The channel as a track, as policy allows it.
    fn to_track(&self, stream: u16, standing: Standing, since: Ticket) -> Track {
        let TrackFacts { kind, source, .. } = facts_of(self.track.clone());
        let info = TrackInfo {
            track_id: self.track.clone(),
            kind,
            source,
            codec: None,
            simulcast: false,
            encodings: 1,
            muted: false,
            name: None,
            channel: Some(self.channel.clone()),
        };
        Track {
            mid: String::new(),
            encodings: 1,
            info,
            stream: Some(stream),
            steered: None,
            standing,
            since,
            record_after: Ticket(0),
            asked_again: Ticket(0),
            withheld: false,
            max_bitrate: None,
            rates: None,
        }
    }
}

fn facts_of(id: TrackId) -> TrackFacts {
    let kind = MediaKind::Data;
    TrackFacts { id, kind, source: Source::default_for(kind), codec: None, top_layer: Layer::default(), bitrate: None }
}
