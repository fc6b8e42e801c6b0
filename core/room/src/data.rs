//! Data channels: a publisher opens them on its connection, policy is asked, and from then on they are tracks.

use lockgate_model::policy::{Decision, Denial, PublishQuestion, TrackFacts, Why};
use lockgate_model::{
    ChannelFacts, ErrorCode, Layer, MediaKind, OfferedMedia, PublisherId, Source, TrackId, TrackInfo,
};

use crate::effect::{MediaAction, Question};
use crate::member::{Member, Track};
use crate::pending::Pending;
use crate::room::Room;

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
        let Some(track) = self.name_of_channel(id, stream, &channel) else { return };
        let facts = facts_of(track);
        let (room, now_ms, most) = (self.facts(), self.now_ms, self.config.max_data_channels);
        let Some(member) = self.members.get_mut(&id) else { return };
        let open = member.tracks.values().filter(|track| track.stream.is_some()).count() + member.opening.len();
        let denial = match () {
            () if open >= most => Some(Denial::new(ErrorCode::OVERLOADED, "too many data channels; close one first")),
            () if !member.grant.allows_publishing(facts.kind, facts.source) => {
                Some(Denial::new(ErrorCode::FORBIDDEN, "your grant does not allow data channels"))
            }
            () => None,
        };
        if let Some(denial) = denial {
            return self.refuse_channel(id, stream, &denial, facts.id);
        }
        member.opening.insert(stream, channel.clone());
        let (who, tracks, why) = (member.as_participant(), vec![facts], Why::Request);
        let question = PublishQuestion { who, room, tracks, why, now_ms };
        self.ask(Question::Publish(question), Pending::Channel { member: id, stream, channel });
    }

    pub(crate) fn on_channel_verdict(
        &mut self,
        id: PublisherId,
        stream: u16,
        channel: ChannelFacts,
        decision: Decision,
    ) {
        let Some(track) = self.name_of_channel(id, stream, &channel) else { return };
        let Some(member) = self.members.get_mut(&id) else { return };
        // It may be over by now, or be another one.
        if member.opening.get(&stream) != Some(&channel) {
            return;
        }
        member.opening.remove(&stream);
        let TrackFacts { kind, source, .. } = facts_of(track.clone());
        let decision = decision.and_then(|grant| {
            let denial = || Denial::new(ErrorCode::FORBIDDEN, "policy does not allow to publish this");
            member.grant.and(&grant).allows_publishing(kind, source).then_some(()).ok_or_else(denial)
        });
        if let Err(denial) = decision {
            return self.refuse_channel(id, stream, &denial, track);
        }
        let info = TrackInfo {
            track_id: track.clone(),
            kind,
            source,
            codec: None,
            simulcast: false,
            muted: false,
            name: None,
            channel: Some(channel),
        };
        let published = Track { mid: String::new(), encodings: 1, info, stream: Some(stream), steered: None };
        member.tracks.insert(track.clone(), published);
        self.media(MediaAction::AdmitChannel { member: id, stream, track: track.clone() });
        self.announce(id, &[track]);
    }

    /// A member's data channel is over.
    pub(crate) fn on_channel_closed(&mut self, id: PublisherId, stream: u16) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.opening.remove(&stream);
        let own = member.tracks.values().find(|track| track.stream == Some(stream));
        if let Some(track) = own.map(|track| track.info.track_id.clone()) {
            self.forget_tracks(id, &[track]);
        }
    }

    fn refuse_channel(&mut self, id: PublisherId, stream: u16, denial: &Denial, track: TrackId) {
        self.media(MediaAction::RefuseChannel { member: id, stream });
        let reply = self.error(None, "publish-offer", denial, None, Some(track));
        self.send(id, reply);
    }

    /// The channel's label, if it can be a track's name and no other track has it; else one that is made here.
    fn name_of_channel(&self, id: PublisherId, stream: u16, channel: &ChannelFacts) -> Option<TrackId> {
        self.members.get(&id)?;
        let free = |track: &TrackId| self.publisher_of(track).is_none() && !self.is_being_accepted(track);
        let label = TrackId::new(channel.label.as_str()).ok().filter(free);
        Some(label.unwrap_or_else(|| TrackId::allotted(id, &format!("d{stream}"))))
    }
}

fn facts_of(id: TrackId) -> TrackFacts {
    let kind = MediaKind::Data;
    TrackFacts { id, kind, source: Source::default_for(kind), codec: None, top_layer: Layer::default(), bitrate: None }
}
