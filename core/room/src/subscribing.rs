//! Subscribing: who receives what, by which connection, within which limits.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use lockgate_model::policy::{Decision, Denial, Why};
use lockgate_model::{
    Candidate, Command, ErrorCode, Event, Layer, LayerReason, Limits, MaxLayer, OfferedTrack, PublisherId, RequestId,
    RevokedWhat, Source, TrackId,
};

use crate::effect::{Connection, MediaAction};
use crate::input::{MediaProblem, SubscribeOffer, for_each_asked};
use crate::member::{AfterOffer, Reception, Track, Want};
use crate::pending::{Pending, Ticket};
use crate::quality::Score;
use crate::reasking::is_no_answer;
use crate::room::Room;

/// What policy was asked because of a `subscribe-request`.
pub(crate) struct SubscribeAsked {
    pub(crate) publisher: PublisherId,
    pub(crate) tracks: Vec<TrackId>,
    pub(crate) ticket: Ticket,
}

impl Room {
    pub(crate) fn on_subscribe(
        &mut self,
        id: PublisherId,
        mark: Option<RequestId>,
        publisher: PublisherId,
        tracks: Option<Vec<TrackId>>,
        max_layer: MaxLayer,
    ) {
        let asked = match self.to_subscribe(id, publisher, tracks.as_deref()) {
            Ok(asked) => asked,
            Err(denial) => {
                return self.refuse(id, mark, "subscribe-request", denial.code, &denial.message);
            }
        };
        let Some(member) = self.members.get_mut(&id) else { return };
        let want = member.wants.entry(publisher).or_insert_with(Want::nothing);
        want.max_layer = max_layer;
        want.add(tracks);
        match self.subscribe_question(id, asked, Why::Request) {
            Some((question, asked)) if !asked.is_empty() => {
                self.ask(question, Pending::Subscribe { viewer: id, id: mark, publisher, asked });
            }
            _ => self.promise(id, mark, publisher),
        }
    }

    /// There is nothing to be sent yet; what comes will be.
    fn promise(&mut self, id: PublisherId, mark: Option<RequestId>, publisher_id: PublisherId) {
        let event = Event::Subscribed { room_name: self.name.clone(), publisher_id, tracks: Vec::new() };
        self.reply(id, mark, event);
    }

    /// What policy is to be asked about for a `subscribe-request`, unless it makes no sense.
    fn to_subscribe(
        &self,
        id: PublisherId,
        publisher: PublisherId,
        tracks: Option<&[TrackId]>,
    ) -> Result<Vec<TrackId>, Denial> {
        let not_found = |message: &str| Denial::new(ErrorCode::NOT_FOUND, message);
        let member = self.members.get(&id).ok_or_else(|| not_found("you are not in this room"))?;
        let visible = self.members.get(&publisher).filter(|of| of.is_visible() && of.id != id);
        let of = visible.ok_or_else(|| not_found("the room has no such publisher"))?;
        // What policy hides is answered like what does not exist.
        let is_known = |track: &TrackId| of.publishes(track) && member.verdicts.contains_key(track);
        if !tracks.iter().copied().flatten().all(is_known) {
            return Err(not_found("the publisher has no such track"));
        }
        if member.after_offer.len() >= MAX_UNANSWERED {
            let text = "too many requests wait for an offer; answer the open one";
            return Err(Denial::new(ErrorCode::RATE_LIMITED, text));
        }
        Ok(tracks.map_or_else(|| of.tracks.keys().cloned().collect(), <[TrackId]>::to_vec))
    }

    pub(crate) fn on_subscribe_verdicts(
        &mut self,
        id: PublisherId,
        mark: Option<RequestId>,
        asked: SubscribeAsked,
        decisions: Vec<Decision>,
    ) {
        let SubscribeAsked { publisher, tracks, ticket } = asked;
        let (tracks, decisions): (Vec<_>, Vec<_>) = for_each_asked(tracks, decisions).unzip();
        let unanswered = self.unanswered(id, &tracks, &decisions);
        self.note_verdicts(id, ticket, tracks.clone(), decisions);
        let Some(member) = self.members.get(&id) else { return };
        let (mut allowed, mut errors, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        // What was taken back while policy thought is not sent.
        let is_wanted = |track: &TrackId| member.wants.get(&publisher).is_some_and(|want| want.covers(track));
        for track in tracks.into_iter().filter(is_wanted) {
            let unanswered = unanswered.get(&track).cloned();
            match unanswered.map(Err).or_else(|| member.verdict(&track)) {
                Some(Ok(_)) => allowed.push(track),
                Some(Err(denial)) => {
                    ended.extend(member.receives.contains_key(&track).then(|| track.clone()));
                    errors.push(self.error(mark.clone(), "subscribe-request", &denial, Some(publisher), Some(track)));
                }
                None => {}
            }
        }
        ended.iter().for_each(|track| self.hold_against_verdict(id, track));
        let Some(member) = self.members.get(&id) else { return };
        if allowed.is_empty() {
            return match errors.is_empty() {
                true => self.promise(id, mark, publisher),
                false => errors.into_iter().for_each(|error| self.send(id, error)),
            };
        }
        let connection = member.connection_for(publisher);
        let (present, absent) = (allowed.iter().cloned().collect(), BTreeSet::new());
        if let Some(member) = self.members.get_mut(&id) {
            member.after_offer.push_back(AfterOffer { connection, publisher, id: mark, present, absent, errors });
        }
        for track in allowed {
            self.start_sending(id, publisher, &track);
        }
    }

    /// What nobody could say of what is not sent yet: an announcement that was allowed does not open it. What is sent goes on.
    fn unanswered(&self, id: PublisherId, tracks: &[TrackId], decisions: &[Decision]) -> HashMap<TrackId, Denial> {
        let is_sent = |track: &TrackId| self.members.get(&id).is_some_and(|member| member.receives.contains_key(track));
        let failed = tracks.iter().zip(decisions).filter(|(track, decision)| is_no_answer(decision) && !is_sent(track));
        failed.filter_map(|(track, decision)| Some((track.clone(), decision.clone().err()?))).collect()
    }

    /// Sends a track to a member within what policy allows and the client wants.
    pub(crate) fn start_sending(&mut self, id: PublisherId, publisher: PublisherId, track: &TrackId) {
        let Some(source) = self.source_of(publisher, track) else { return };
        let Some(member) = self.members.get_mut(&id) else { return };
        let Some(Ok(grant)) = member.verdict(track) else { return };
        let wish = member.wants.get(&publisher).map(|want| want.max_layer).unwrap_or_default();
        let connection = member.connection_for(publisher);
        let fresh = Reception {
            connection,
            publisher,
            source,
            grant: grant.clone(),
            wish,
            paused: false,
            waits: false,
            priority: None,
            layer: None,
            score: Score::default(),
        };
        member.open.insert(connection);
        let reception = member.receives.entry(track.clone()).or_insert(fresh);
        (reception.grant, reception.wish) = (grant, wish);
        let Some(limits) = self.find_place(id, track) else { return };
        self.media(MediaAction::Subscribe { connection, publisher, track: track.clone(), limits });
    }

    /// Tracks are gone: whoever received them receives them no more.
    pub(crate) fn stop_sending_to_all(&mut self, ended: &[TrackId]) {
        let (mut stopped, mut freed) = (Vec::new(), BTreeMap::<_, BTreeSet<_>>::new());
        for member in self.members.values_mut() {
            for track in ended {
                if let Some(reception) = member.receives.remove(track) {
                    freed.entry(reception.source).or_default().insert(member.id);
                    stopped.push((reception.connection, reception.publisher, track.clone()));
                }
            }
        }
        for (connection, publisher, track) in stopped {
            self.media(MediaAction::Unsubscribe { connection, publisher, track });
        }
        for (source, viewers) in freed {
            self.share_places_among(source, &viewers.into_iter().collect::<Vec<_>>());
        }
    }

    fn source_of(&self, publisher: PublisherId, track: &TrackId) -> Option<Source> {
        Some(self.members.get(&publisher)?.tracks.get(track)?.info.source)
    }

    /// An offer goes to the client as the reply to the request that caused it. Requests whose changes it carries as well are
    /// answered beside it.
    pub(crate) fn on_offer(&mut self, offer: SubscribeOffer) {
        let SubscribeOffer { connection, offer_id, cause, sdp, tracks } = offer;
        let viewer = connection.member;
        let offered: BTreeSet<_> = tracks.iter().map(|(_, track)| track.clone()).collect();
        let listed: Vec<_> = tracks.into_iter().filter_map(|(mid, track)| self.offered_track(mid, track)).collect();
        let Some(member) = self.members.get_mut(&viewer).filter(|member| member.open.contains(&connection)) else {
            return;
        };
        let (mut answered, waiting): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut member.after_offer)
            .into_iter()
            .partition(|waiting| waiting.connection == connection && waiting.is_answered_by(&offered));
        member.after_offer = waiting;
        let first = answered.iter().position(|request| request.publisher == cause).unwrap_or(0);
        let first = answered.remove(first);
        let event = Event::SubscribeOffer {
            room_name: self.name.clone(),
            publisher_id: first.as_ref().map_or(cause, |request| request.publisher),
            offer: sdp,
            offer_id,
            tracks: listed.clone(),
        };
        let (id, errors) = first.map(|request| (request.id, request.errors)).unwrap_or_default();
        self.reply(viewer, id, event);
        errors.into_iter().for_each(|error| self.send(viewer, error));
        for request in answered {
            self.answer_beside(viewer, request, &listed);
        }
    }

    fn answer_beside(&mut self, viewer: PublisherId, request: AfterOffer, listed: &[OfferedTrack]) {
        let AfterOffer { publisher, id, errors, .. } = request;
        if id.is_some() {
            let tracks = listed.iter().filter(|track| track.publisher_id == publisher).cloned().collect();
            let event = Event::Subscribed { room_name: self.name.clone(), publisher_id: publisher, tracks };
            self.reply(viewer, id, event);
        }
        errors.into_iter().for_each(|error| self.send(viewer, error));
    }

    /// Holds what a viewer receives against the newest verdict.
    pub(crate) fn hold_against_verdict(&mut self, viewer: PublisherId, track: &TrackId) {
        let Some(member) = self.members.get_mut(&viewer) else { return };
        let verdict = member.verdict(track);
        if let Some(held) = member.verdicts.get_mut(track) {
            held.shown &= verdict.as_ref().is_some_and(Result::is_ok);
        }
        match (verdict, member.receives.get_mut(track)) {
            (Some(Ok(grant)), Some(reception)) => {
                let before = reception.limits();
                reception.grant = grant;
                let (connection, source, limits) = (reception.connection, reception.source, reception.limits());
                if limits != before {
                    self.media(MediaAction::SetLimits { connection, track: track.clone(), limits });
                    self.share_places_among(source, &[viewer]);
                }
            }
            (Some(Err(denial)), Some(reception)) => {
                let (connection, publisher, source) = (reception.connection, reception.publisher, reception.source);
                let cut_off = Limits { paused: true, ..reception.limits() };
                let is_data = source == Source::Data;
                member.receives.remove(track);
                if is_data {
                    // Messages that wait for the viewer's network are not for it any more.
                    self.media(MediaAction::SetLimits { connection, track: track.clone(), limits: cut_off });
                    // Media may know that its publisher closed it, and the room not yet.
                    let tracks = Some(BTreeSet::from([track.clone()]));
                    self.media(MediaAction::DiscardLast { connection, publisher: None, tracks });
                }
                self.media(MediaAction::Unsubscribe { connection, publisher, track: track.clone() });
                self.share_places_among(source, &[viewer]);
                self.hide_from(viewer, track, &denial.message);
            }
            (Some(Err(denial)), None) => self.hide_from(viewer, track, &denial.message),
            (Some(Ok(_)), None) | (None, _) => {}
        }
    }

    /// Policy shows a track no more.
    fn hide_from(&mut self, viewer: PublisherId, track: &TrackId, reason: &str) {
        let Some(publisher_id) = self.publisher_of(track) else { return };
        let (Some(to), Some(of)) = (self.members.get(&viewer), self.members.get(&publisher_id)) else { return };
        let shorter = self.shorter_event(to, of);
        let is_gone = matches!(shorter, Event::PublisherLeft { .. });
        self.tell_revoked_track(viewer, RevokedWhat::Subscription, reason, publisher_id, track.clone());
        self.send(viewer, shorter);
        // Nor is it told any more that they spoke last.
        if let Some(member) = self.members.get_mut(&viewer).filter(|_| is_gone) {
            member.speaker.take_if(|speaker| *speaker == publisher_id);
        }
    }

    pub(crate) fn offered_track(&self, mid: String, track: TrackId) -> Option<OfferedTrack> {
        let (publisher, Track { info, .. }) = self.track(&track)?;
        Some(OfferedTrack { mid, publisher_id: publisher.id, kind: info.kind, source: info.source, track_id: track })
    }

    pub(crate) fn on_subscribe_answer(
        &mut self,
        id: PublisherId,
        mark: Option<RequestId>,
        publisher: PublisherId,
        answer: String,
        offer_id: Option<u64>,
    ) {
        let Some(member) = self.members.get(&id) else { return };
        let connection = member.connection_for(publisher);
        let pending = Pending::TakeAnswer { member: id, id: mark, publisher };
        self.act(pending, |ticket| MediaAction::TakeAnswer { ticket, connection, offer_id, answer });
    }

    pub(crate) fn on_answer_taken(&mut self, ticket: Ticket, result: Result<(), MediaProblem>) {
        let Some(Pending::TakeAnswer { member, id, publisher }) = self.take(ticket) else { return };
        if let Err(problem) = result {
            let denial = Denial::new(problem.code, problem.message);
            let reply = self.error(id, "subscribe-answer", &denial, Some(publisher), None);
            self.send(member, reply);
        }
        self.release(Some(member));
    }

    pub(crate) fn on_subscribe_candidate(
        &mut self,
        id: PublisherId,
        mark: Option<RequestId>,
        publisher: Option<PublisherId>,
        candidate: Option<Candidate>,
    ) {
        let Some(member) = self.members.get(&id) else { return };
        let line = candidate.map(|candidate| candidate.line().to_owned()).unwrap_or_default();
        let connection =
            publisher.map_or(Connection { member: id, publisher: None }, |publisher| member.connection_for(publisher));
        self.media(MediaAction::SubscribeCandidate { id: mark, connection, line });
    }

    pub(crate) fn on_unsubscribe(
        &mut self,
        id: PublisherId,
        mark: Option<RequestId>,
        publisher: PublisherId,
        tracks: Option<Vec<TrackId>>,
    ) {
        let named: Option<Vec<_>> = tracks.as_ref().map(|tracks| {
            let theirs = tracks.iter().filter(|track| self.publisher_of(track) == Some(publisher));
            theirs.cloned().collect()
        });
        let Some(member) = self.members.get_mut(&id) else { return };
        let covered = |track: &TrackId| tracks.as_ref().is_none_or(|tracks| tracks.contains(track));
        member.want_no_more(publisher, named.as_deref());
        let connection = member.connection_for(publisher);
        let is_open = member.open.contains(&connection);
        let ended: Vec<_> = member
            .receives
            .iter()
            .filter(|(track, reception)| reception.publisher == publisher && covered(track))
            .map(|(track, reception)| (track.clone(), reception.connection))
            .collect();
        if is_open {
            // A channel that its publisher closed is received no more, but what was said on it last may still be on its way.
            let tracks = tracks.as_ref().map(|tracks| tracks.iter().cloned().collect());
            self.media(MediaAction::DiscardLast { connection, publisher: Some(publisher), tracks });
        }
        if ended.is_empty() {
            return self.refuse(id, mark, "unsubscribe", ErrorCode::NOT_FOUND, "you receive nothing of this kind");
        }
        let Some(member) = self.members.get_mut(&id) else { return };
        for (track, _) in &ended {
            member.receives.remove(track);
            for waiting in &mut member.after_offer {
                waiting.present.remove(track);
            }
        }
        if let Some((_, connection)) = ended.first().filter(|_| member.after_offer.len() < MAX_UNANSWERED) {
            member.after_offer.push_back(AfterOffer {
                connection: *connection,
                publisher,
                id: mark,
                present: BTreeSet::new(),
                absent: ended.iter().map(|(track, _)| track.clone()).collect(),
                errors: Vec::new(),
            });
        }
        for (track, connection) in ended {
            self.media(MediaAction::Unsubscribe { connection, publisher, track });
        }
        self.share_places(id);
    }

    pub(crate) fn on_restart_ice(&mut self, id: PublisherId, mark: Option<RequestId>, publisher: Option<PublisherId>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let connection =
            publisher.map_or(Connection { member: id, publisher: None }, |publisher| member.connection_for(publisher));
        let in_use = member.receives.values().find(|reception| reception.connection == connection);
        let Some(publisher) = in_use.map(|reception| reception.publisher) else {
            return self.refuse(id, mark, "restart-ice", ErrorCode::NOT_FOUND, "there is no such subscribe connection");
        };
        if member.after_offer.len() < MAX_UNANSWERED {
            let (present, absent) = (BTreeSet::new(), BTreeSet::new());
            let waiting = AfterOffer { connection, publisher, id: mark, present, absent, errors: Vec::new() };
            member.after_offer.push_back(waiting);
        }
        self.media(MediaAction::RestartIce { connection, publisher });
    }

    pub(crate) fn on_set_layer(&mut self, id: PublisherId, mark: Option<RequestId>, command: Command) {
        let Command::SetLayer { publisher_id, track_id, spatial, temporal, paused, priority, .. } = command else {
            return;
        };
        let reception = self.members.get_mut(&id).and_then(|member| member.receives.get_mut(&track_id));
        let Some(reception) = reception.filter(|reception| reception.publisher == publisher_id) else {
            return self.refuse(id, mark, "set-layer", ErrorCode::NOT_FOUND, "you do not receive this track");
        };
        reception.wish.spatial = spatial.or(reception.wish.spatial);
        reception.wish.temporal = temporal.or(reception.wish.temporal);
        reception.paused = paused.unwrap_or(reception.paused);
        reception.priority = priority.or(reception.priority);
        let connection = reception.connection;
        // Others may have to make room for it, or may take its place.
        let Some(limits) = self.find_place(id, &track_id) else { return };
        self.media(MediaAction::SetLimits { connection, track: track_id, limits });
    }

    pub(crate) fn on_layer(
        &mut self,
        connection: Connection,
        track: TrackId,
        layer: Option<Layer>,
        reason: LayerReason,
    ) {
        let receives = self.members.get_mut(&connection.member).map(|member| &mut member.receives);
        let Some(reception) = receives.and_then(|receives| receives.get_mut(&track)) else { return };
        reception.layer = Some((layer, reason));
        let event = reception.layer_changed(&self.name, &track);
        event.into_iter().for_each(|event| self.send(connection.member, event));
    }

    pub(crate) fn on_connection_lost(&mut self, connection: Connection, unanswered: bool, reason: &str) {
        let Some(member) = self.members.get_mut(&connection.member) else { return };
        let lost: BTreeSet<_> = member
            .receives
            .values()
            .filter(|reception| reception.connection == connection)
            .map(|reception| reception.publisher)
            .collect();
        member.receives.retain(|_, reception| reception.connection != connection);
        member.wants.retain(|publisher, _| !lost.contains(publisher));
        member.after_offer.retain(|waiting| waiting.connection != connection);
        member.open.remove(&connection);
        member.received.remove(&connection);
        if unanswered {
            self.refuse(connection.member, None, "subscribe-answer", ErrorCode::INVALID_SDP, reason);
        }
        self.tell_revoked(connection.member, RevokedWhat::Subscription, reason);
        self.share_places(connection.member);
    }
}

/// Requests of one client that may wait for an offer.
const MAX_UNANSWERED: usize = 64;
