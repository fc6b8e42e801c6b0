//! Publishing: offers with their tracks, and taking tracks back.

use std::collections::BTreeSet;

use lockgate_model::policy::{Decision, Denial, Door, Grant, PublishQuestion, TrackFacts, Why};
use lockgate_model::{
    AdmittedMedia, Candidate, EncodingState, ErrorCode, Event, Happening, Layer, MediaKind, OfferedMedia,
    PublishedTrack, PublisherId, RequestId, RevokedWhat, Source, TrackHint, TrackId, TrackInfo,
};

use crate::effect::{MediaAction, Question};
use crate::input::{AcceptedTrack, Answered, MediaProblem, for_each_asked};
use crate::member::{Member, Track, top_layer};
use crate::pending::{Pending, Ticket};
use crate::room::Room;
use crate::standing::Standing;

/// An offered track on its way through policy.
#[derive(Debug)]
pub(crate) struct Offered {
    mid: String,
    facts: TrackFacts,
    name: Option<String>,
    /// Whether it is published already: nobody is asked again.
    known: bool,
    /// What policy said; nothing before it was asked.
    standing: Option<Standing>,
    /// What comes of it within the member's own grant.
    verdict: Decision,
}

/// An offer about whose tracks policy has answered.
pub(crate) struct PublishAnswer {
    pub(crate) member: PublisherId,
    pub(crate) id: Option<RequestId>,
    pub(crate) offer: String,
    pub(crate) offered: Vec<Offered>,
    pub(crate) ticket: Ticket,
}

impl Room {
    pub(crate) fn on_publish_offer(
        &mut self,
        id: PublisherId,
        mark: Option<RequestId>,
        offer: String,
        hints: &[TrackHint],
        media: Option<Result<Vec<OfferedMedia>, MediaProblem>>,
    ) {
        let media = match media {
            Some(Ok(media)) => media,
            Some(Err(problem)) => return self.refuse(id, mark, "publish-offer", problem.code, &problem.message),
            None => return self.refuse(id, mark, "publish-offer", ErrorCode::INTERNAL, "the offer was not read"),
        };
        let offered = self.sort_offer(id, &media, hints);
        let asked: Vec<usize> =
            (0..offered.len()).filter(|&index| !offered[index].known && offered[index].verdict.is_ok()).collect();
        let Some(member) = self.members.get(&id) else { return };
        if asked.is_empty() {
            return self.accept_offer(id, mark, offer, offered);
        }
        let question = PublishQuestion {
            who: member.as_participant(),
            room: self.facts(),
            tracks: asked.iter().map(|&index| offered[index].facts.clone()).collect(),
            why: Why::Request,
            now_ms: self.now_ms,
        };
        self.ask(Question::Publish(question), Pending::Publish { member: id, id: mark, offer, offered, asked });
    }

    /// Gives every sent m-line its track id and source, and refuses what needs no plugin to be refused.
    fn sort_offer(&self, id: PublisherId, media: &[OfferedMedia], hints: &[TrackHint]) -> Vec<Offered> {
        let Some(member) = self.members.get(&id) else { return Vec::new() };
        let mut names = BTreeSet::new();
        let mut offered: Vec<Offered> = Vec::new();
        for media in media.iter().filter(|media| media.sending) {
            let hint = hints.iter().find(|hint| hint_fits(hint, media));
            // Encoders give their tracks the same names each, and come again before their last session is over: by WHIP names are ours.
            let own = if member.participant.door == Door::Whip { None } else { media.track_id.as_deref() };
            let mut line = Offered::new(id, media, own, hint);
            let published = member.tracks.get(&line.facts.id).filter(|track| track.mid == media.mid);
            line.known = line.is_data() || published.is_some();
            let taken =
                !names.insert(line.facts.id.clone()) || (!line.known && self.publisher_of(&line.facts.id).is_some());
            if let Some(denial) = self.refusal_of(member, media, &line, taken, offered.len()) {
                line.verdict = Err(denial);
            } else if let Some(allowed) = published.and_then(|track| track.allowed(&member.grant)) {
                line.verdict = Ok(allowed);
            }
            offered.push(line);
        }
        offered
    }

    /// What of an offer needs no plugin to be refused.
    fn refusal_of(
        &self,
        member: &Member,
        media: &OfferedMedia,
        line: &Offered,
        taken: bool,
        before: usize,
    ) -> Option<Denial> {
        let Offered { facts: TrackFacts { kind, source, .. }, .. } = line;
        let (code, text) = match media.codec {
            _ if line.is_data() => return self.refusal_of_data(member, media),
            None => (ErrorCode::UNSUPPORTED_CODEC, "none of the offered codecs is forwarded here"),
            _ if source.kind() != *kind => {
                (ErrorCode::INVALID_MESSAGE, "the source given for this track is of the other kind")
            }
            _ if taken => (ErrorCode::INVALID_MESSAGE, TAKEN),
            _ if before >= self.config.max_tracks => (ErrorCode::OVERLOADED, "too many tracks; take one back first"),
            _ if !member.grant.allows_publishing(*kind, *source) => {
                (ErrorCode::FORBIDDEN, "your grant does not allow to publish this")
            }
            _ => return None,
        };
        Some(Denial::new(code, text))
    }

    pub(crate) fn on_publish_verdicts(&mut self, answer: PublishAnswer, asked: &[usize], decisions: Vec<Decision>) {
        let PublishAnswer { member: id, id: mark, offer, mut offered, ticket } = answer;
        let heard = self.heard(ticket, id);
        let Some(member) = self.members.get(&id) else { return };
        for (&index, decision) in for_each_asked(asked, decisions) {
            let track = &mut offered[index];
            let mut standing = Standing::first(heard, decision);
            if ticket < member.publish_after {
                standing = Standing::revoked(Denial::new(ErrorCode::FORBIDDEN, REVOKED), ticket);
            }
            track.verdict = standing.to_publish(&member.grant, track.facts.kind, track.facts.source);
            track.standing = Some(standing);
        }
        self.accept_offer(id, mark, offer, offered);
    }

    fn accept_offer(&mut self, id: PublisherId, mark: Option<RequestId>, offer: String, mut offered: Vec<Offered>) {
        // The world may have moved while policy was asked: less is allowed of what is published, or an id is taken by now.
        self.hold_offer(id, &mut offered);
        for track in offered.iter_mut().filter(|track| !track.known && track.verdict.is_ok()) {
            if self.publisher_of(&track.facts.id).is_some() || self.is_being_accepted(&track.facts.id) {
                track.verdict = Err(Denial::new(ErrorCode::INVALID_MESSAGE, TAKEN));
            }
        }
        if self.refuses_whole(id, &offered) {
            let refused = offered.into_iter().filter(|line| line.verdict.is_err());
            let refused = refused.map(|line| line.result(false)).collect();
            return self.answer_offer(id, mark.as_ref(), String::new(), refused);
        }
        let admitted = offered.iter().map(Offered::admitted).collect();
        let pending = Pending::Accept { member: id, id: mark, offered };
        self.act(pending, |ticket| MediaAction::AcceptOffer { ticket, member: id, offer, admitted });
    }

    /// Whether an offer is refused for one of its m-lines: a WHIP session is created with all that it offers or not at all (RFC 9725
    /// section 4.2), so nothing of it may be seen or recorded in between.
    fn refuses_whole(&self, id: PublisherId, offered: &[Offered]) -> bool {
        let begins = |member: &Member| member.participant.door == Door::Whip && member.tracks.is_empty();
        self.members.get(&id).is_some_and(begins) && offered.iter().any(|line| line.verdict.is_err())
    }

    /// Holds what is offered again and published already against what is allowed of it now.
    fn hold_offer(&self, id: PublisherId, offered: &mut [Offered]) {
        let Some(member) = self.members.get(&id) else { return };
        let known = offered.iter_mut().filter(|track| track.known && !track.is_data());
        for track in known.filter(|track| track.verdict.is_ok()) {
            let allowed = member.tracks.get(&track.facts.id).and_then(|track| track.allowed(&member.grant));
            track.verdict = allowed.ok_or_else(|| Denial::new(ErrorCode::FORBIDDEN, REVOKED));
        }
    }

    pub(crate) fn on_accepted(&mut self, ticket: Ticket, result: Result<Answered, MediaProblem>) {
        let Some(Pending::Accept { member: id, id: mark, offered }) = self.take(ticket) else { return };
        match result {
            Ok(answered) => self.publish(id, mark, offered, answered),
            Err(problem) => self.refuse(id, mark, "publish-offer", problem.code, &problem.message),
        }
        self.release(Some(id));
    }

    fn publish(&mut self, id: PublisherId, mark: Option<RequestId>, offered: Vec<Offered>, answered: Answered) {
        // The lines for data channels are no tracks: these come later.
        let (data, offered): (Vec<_>, Vec<_>) = offered.into_iter().partition(Offered::is_data);
        let takes_data = data.iter().any(|line| line.verdict.is_ok());
        let (mut results, new) = self.take_in(id, offered, &answered);
        results.extend(data.into_iter().map(|line| line.result(true)));
        let Some(member) = self.members.get_mut(&id) else { return };
        if !takes_data {
            // The media side ended them with the line.
            member.opening.clear();
        }
        let next = new.iter().filter_map(|track| member.tracks.get(track)?.standing.next_ms()).min();
        let goes_on = |track: &Track| match track.stream {
            Some(_) => takes_data,
            None => answered.tracks.iter().any(|accepted| accepted.track == track.info.track_id),
        };
        let gone = member.tracks.iter().filter(|(_, track)| !goes_on(track));
        let ended: Vec<_> = gone.map(|(id, _)| id.clone()).collect();
        self.answer_offer(id, mark.as_ref(), answered.sdp, results);
        if !ended.is_empty() {
            self.forget_tracks(id, &ended);
        }
        if !new.is_empty() {
            new.iter().for_each(|track| self.tell_published(id, track));
            self.announce(id, &new);
            self.record_new_tracks(id, new);
        }
        // The publisher's token may have been renewed while the offer was answered.
        self.wake_for(id, next);
        self.hold_publications(id);
    }

    /// Publishes what was accepted of an offer. What is told of each track comes back, and which are new.
    fn take_in(
        &mut self,
        id: PublisherId,
        offered: Vec<Offered>,
        answered: &Answered,
    ) -> (Vec<(PublishedTrack, Option<Denial>)>, Vec<TrackId>) {
        let (mut results, mut new) = (Vec::new(), Vec::new());
        let since = self.next_question();
        let Some(member) = self.members.get_mut(&id) else { return (results, new) };
        for offered in offered {
            let is_it = |accepted: &&AcceptedTrack| accepted.track == offered.facts.id && offered.verdict.is_ok();
            let accepted = answered.tracks.iter().find(is_it);
            match accepted {
                Some(accepted) if offered.known => {
                    member.tracks.entry(accepted.track.clone()).and_modify(|known| known.reshape(accepted));
                }
                Some(accepted) => {
                    let track = offered.to_track(accepted, since);
                    if track.info.source == Source::Microphone {
                        self.speakers.add(accepted.track.clone(), id);
                    }
                    new.push(accepted.track.clone());
                    member.tracks.insert(accepted.track.clone(), track);
                    self.owners.insert(accepted.track.clone(), id);
                }
                None => {}
            }
            results.push(offered.result(accepted.is_some()));
        }
        (results, new)
    }

    /// Tells those who follow what happens of a new track.
    pub(crate) fn tell_published(&mut self, publisher_id: PublisherId, track: &TrackId) {
        let Some((_, published)) = self.track(track) else { return };
        let track = published.info.clone();
        self.happened(Happening::TrackPublished { publisher_id, track });
    }

    /// Answers an offer, and says why what is refused of it is.
    fn answer_offer(
        &mut self,
        id: PublisherId,
        mark: Option<&RequestId>,
        answer: String,
        results: Vec<(PublishedTrack, Option<Denial>)>,
    ) {
        let (tracks, denials): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        let refused = tracks.iter().map(|track| track.track_id.clone()).zip(denials);
        let refused: Vec<_> = refused.filter_map(|(track, denial)| Some((track, denial?))).collect();
        self.reply(id, mark.cloned(), Event::PublishAnswer { room_name: self.name.clone(), answer, tracks });
        for (track, denial) in refused {
            let reply = self.error(mark.cloned(), "publish-offer", &denial, None, Some(track));
            self.send(id, reply);
        }
    }

    pub(crate) fn on_publish_candidate(
        &mut self,
        member: PublisherId,
        id: Option<RequestId>,
        candidate: Option<Candidate>,
    ) {
        let line = candidate.map(|candidate| candidate.line().to_owned()).unwrap_or_default();
        self.media(MediaAction::PublishCandidate { id, member, line });
    }

    pub(crate) fn on_unpublish(&mut self, id: PublisherId, mark: Option<RequestId>, track: TrackId) {
        if !self.members.get(&id).is_some_and(|member| member.tracks.contains_key(&track)) {
            return self.refuse(id, mark, "unpublish", ErrorCode::NOT_FOUND, "you publish no track of this id");
        }
        self.media(MediaAction::Unpublish { member: id, track: track.clone() });
        self.forget_tracks(id, std::slice::from_ref(&track));
        let event = Event::Unpublished { room_name: self.name.clone(), track_id: track };
        self.reply(id, mark, event);
    }

    /// What a member sends is not watched, or is again.
    pub(crate) fn on_steered(&mut self, id: PublisherId, track: &TrackId, encodings: Vec<(Option<String>, bool)>) {
        let Some(track) = self.members.get_mut(&id).and_then(|member| member.tracks.get_mut(track)) else { return };
        let states = encodings.into_iter().map(|(rid, active)| EncodingState { rid, active });
        track.steered = Some(states.collect());
        let event = track.publish_layers(&self.name);
        event.into_iter().for_each(|event| self.send(id, event));
    }

    pub(crate) fn on_publish_lost(&mut self, id: PublisherId, reason: &str) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.opening.clear();
        if member.tracks.is_empty() {
            return;
        }
        self.end_publications(id);
        self.media(MediaAction::ClosePublish { member: id });
        self.tell_revoked(id, RevokedWhat::Publication, reason);
    }

    /// Ends all of a member's publications; the transport is the caller's to close.
    pub(crate) fn end_publications(&mut self, id: PublisherId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.opening.clear();
        let tracks: Vec<_> = member.tracks.keys().cloned().collect();
        if !tracks.is_empty() {
            self.forget_tracks(id, &tracks);
        }
    }

    /// Takes tracks out of the room: nobody receives or records them any more.
    pub(crate) fn forget_tracks(&mut self, id: PublisherId, ended: &[TrackId]) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.tracks.retain(|track, _| !ended.contains(track));
        for track in ended {
            self.owners.remove(track);
            self.happened(Happening::TrackUnpublished { publisher_id: id, track_id: track.clone() });
        }
        self.stop_sending_to_all(ended);
        for track in ended {
            self.record_no_more(track);
            self.speakers.remove(track);
        }
        self.tell_shorter(id, ended);
    }
}

impl Offered {
    /// A line of an offer that nothing was said about yet; its track has this name, if it may.
    fn new(publisher: PublisherId, media: &OfferedMedia, name: Option<&str>, hint: Option<&TrackHint>) -> Self {
        let named = name.and_then(|name| TrackId::new(name).ok());
        let facts = TrackFacts {
            id: named.unwrap_or_else(|| TrackId::allotted(publisher, &media.mid)),
            kind: media.kind,
            source: hint.map_or(Source::default_for(media.kind), |hint| hint.source),
            codec: media.codec,
            top_layer: media.codec.map_or(Layer::default(), |codec| top_layer(codec, media.encodings)),
            bitrate: None,
        };
        let name = hint.and_then(|hint| hint.name.clone()).map(|name| name.chars().take(MAX_NAME).collect());
        Self { mid: media.mid.clone(), facts, name, known: false, standing: None, verdict: Ok(Grant::default()) }
    }

    /// Whether the room will have a track of this name through it.
    pub(crate) fn takes(&self, track: &TrackId) -> bool {
        self.verdict.is_ok() && self.facts.id == *track
    }

    fn is_data(&self) -> bool {
        self.facts.kind == MediaKind::Data
    }

    fn admitted(&self) -> AdmittedMedia {
        let grant = self.verdict.as_ref().ok();
        AdmittedMedia {
            mid: self.mid.clone(),
            track: grant.map(|_| self.facts.id.clone()),
            max_bitrate: grant.and_then(|grant| grant.max_bitrate),
        }
    }

    fn to_track(&self, accepted: &AcceptedTrack, since: Ticket) -> Track {
        Track {
            mid: self.mid.clone(),
            encodings: accepted.encodings,
            stream: None,
            steered: None,
            standing: self.standing.clone().unwrap_or_else(|| Standing::unasked(Grant::default())),
            since,
            record_after: Ticket(0),
            asked_again: Ticket(0),
            withheld: false,
            max_bitrate: self.verdict.as_ref().ok().and_then(|grant| grant.max_bitrate),
            rates: None,
            info: TrackInfo {
                track_id: accepted.track.clone(),
                kind: self.facts.kind,
                source: self.facts.source,
                codec: Some(accepted.codec),
                simulcast: accepted.encodings > 1,
                encodings: accepted.encodings,
                muted: false,
                name: self.name.clone(),
                channel: None,
            },
        }
    }

    fn result(self, accepted: bool) -> (PublishedTrack, Option<Denial>) {
        let denial = match (self.verdict, accepted) {
            (Ok(_), true) => None,
            (Ok(_), false) => Some(Denial::new(ErrorCode::INVALID_SDP, "the m-line could not be accepted")),
            (Err(denial), _) => Some(denial),
        };
        let track = PublishedTrack {
            track_id: self.facts.id,
            mid: self.mid,
            accepted: denial.is_none(),
            code: denial.as_ref().map(|denial| denial.code.clone()),
            reason: denial.as_ref().map(|denial| denial.message.clone()),
        };
        (track, denial)
    }
}

impl Track {
    /// It goes on, in another shape if it was accepted so: what was asked of its former encodings is over.
    fn reshape(&mut self, accepted: &AcceptedTrack) {
        if (self.encodings, self.info.codec) != (accepted.encodings, Some(accepted.codec)) {
            (self.encodings, self.steered) = (accepted.encodings, None);
            (self.info.simulcast, self.info.codec) = (accepted.encodings > 1, Some(accepted.codec));
            self.info.encodings = accepted.encodings;
        }
    }
}

fn hint_fits(hint: &TrackHint, media: &OfferedMedia) -> bool {
    hint.mid.as_ref().is_some_and(|mid| *mid == media.mid)
        || (hint.track_id.is_some() && hint.track_id == media.track_id)
}

impl Member {
    /// Whether the member publishes this track.
    pub(crate) fn publishes(&self, track: &TrackId) -> bool {
        self.tracks.contains_key(track)
    }
}

const REVOKED: &str = "what you publish was revoked";
pub(crate) const TAKEN: &str = "a track of this id is already published in the room";
/// Longest name of a track, in characters.
const MAX_NAME: usize = 128;
