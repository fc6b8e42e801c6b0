//! Offers of publishers: checked whole before anything changes, then carried out.

use std::time::Instant;

use lockgate_model::{AdmittedMedia, Bitrate, TrackId};
use lockgate_transport::sdp::{
    AnswerLine, CodecLine, Description, Extension, ExtensionMap, Section, Setup, read_offer, write_answer,
};

use super::{Engine, Subscription, transport_id};
use crate::arena::Key;
use crate::ids::{RouterId, TransportId};
use crate::negotiate::{AcceptedTrack, Answer, NegotiateError};
use crate::publish::Line;
use crate::subscribe::local;
use crate::track::{Feed, Track};
use crate::transport::Transport;

/// What becomes of an offered line.
struct Plan<'a> {
    section: &'a Section,
    admitted: Option<&'a AdmittedMedia>,
    /// The track that is received on it from now on.
    track: Option<(TrackId, CodecLine)>,
    codec: Option<&'a CodecLine>,
    /// Whether data channels are taken on it.
    data: bool,
}

/// A track that ends and begins anew by one offer: with other encodings, another codec, on another line.
struct Reshaped {
    id: TrackId,
    muted: bool,
    viewers: Vec<(Key, Subscription)>,
}

impl Engine {
    /// Takes a publisher's offer: what `admitted` names is received, the rest rejected. Other ICE credentials than before restart ICE.
    pub fn accept_offer(
        &mut self,
        now: Instant,
        transport: TransportId,
        sdp: &str,
        admitted: &[AdmittedMedia],
    ) -> Result<Answer, NegotiateError> {
        let key = Key::from_u64(transport.0);
        let offer = read_offer(sdp)?;
        let plans: Vec<_> = offer.sections.iter().map(|section| plan(section, admitted)).collect();
        self.check_plans(key, &offer, &plans)?;
        self.take_peer(now, key, &offer)?;
        self.take_data_line(now, key, &plans);
        let reshaped = self.end_missing(now, key, &plans);
        for plan in &plans {
            self.carry_out(now, key, plan);
        }
        reshaped.into_iter().for_each(|track| self.go_on(now, key, track));
        self.touched.insert(key);
        self.take_connection_events(now, key);
        self.answer(key, &plans)
    }

    /// Stops receiving a track. Its m-line stays until the publisher's next offer.
    pub fn unpublish(&mut self, now: Instant, transport: TransportId, track: &TrackId) {
        let key = Key::from_u64(transport.0);
        if self.unpublish_channel(now, key, track) {
            return;
        }
        let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return };
        if let Some(track) = publish.lines.iter().find(|line| line.id == *track).map(|line| line.track) {
            self.end_track(now, key, track);
        }
    }

    /// Lets through so much of a track from now on; none: all that comes.
    pub fn limit_publication(&mut self, now: Instant, transport: TransportId, track: &TrackId, most: Option<Bitrate>) {
        let key = Key::from_u64(transport.0);
        let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return };
        let key = publish.lines.iter().find(|line| line.id == *track).map(|line| line.track);
        if let Some(track) = key.and_then(|key| self.tracks.get_mut(key)) {
            track.set_max_bitrate(now, most);
        }
    }

    fn check_plans(&mut self, key: Key, offer: &Description, plans: &[Plan<'_>]) -> Result<(), NegotiateError> {
        let transport = self.transports.get_mut(key).ok_or(NegotiateError::NoTransport)?;
        let router = transport.router;
        let (publish, _) = transport.publish_mut().ok_or(NegotiateError::NoTransport)?;
        if publish.fingerprints.as_ref().is_some_and(|known| *known != offer.fingerprints) {
            return Err(NegotiateError::OtherCertificate);
        }
        let taken = &self.routers.get(router).ok_or(NegotiateError::NoTransport)?.tracks;
        for (id, _) in plans.iter().filter_map(|plan| plan.track.as_ref()) {
            let twice =
                plans.iter().filter_map(|plan| plan.track.as_ref()).filter(|(other, _)| other == id).count() > 1;
            let own = publish.lines.iter().any(|line| line.id == *id);
            // One of another engine is about to end: its publisher has come here.
            let channel = self.routers.get(router).is_some_and(|router| router.data.contains_key(id));
            let here =
                channel || taken.get(id).is_some_and(|track| self.tracks.get(*track).is_some_and(Track::is_home));
            if twice || (here && !own) {
                return Err(NegotiateError::TrackTaken(id.clone()));
            }
        }
        Ok(())
    }

    fn take_peer(&mut self, now: Instant, key: Key, offer: &Description) -> Result<(), NegotiateError> {
        let credentials = self.credentials();
        let transport = self.transports.get_mut(key).ok_or(NegotiateError::NoTransport)?;
        let (publish, connection) = transport.publish_mut().ok_or(NegotiateError::NoTransport)?;
        let restart = publish.remote.replace(offer.ice.clone()).is_some_and(|before| before != offer.ice);
        if restart {
            connection.restart_ice(credentials);
            self.demux.name(key, connection.ice().ufrags());
        }
        publish.fingerprints = Some(offer.fingerprints.clone());
        // We are passive whenever the offer lets us: as DTLS server we choose the SRTP profile (RFC 5764 §4.1.1).
        connection.set_peer(now, offer.fingerprints.clone(), Setup::Active);
        Ok(())
    }

    /// Data channels are taken from now on, or no more.
    fn take_data_line(&mut self, now: Instant, key: Key, plans: &[Plan<'_>]) {
        let taken = plans.iter().find(|plan| plan.data).and_then(|plan| plan.section.data);
        let Some((publish, connection)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return };
        let before = std::mem::replace(&mut publish.takes_data, taken.is_some());
        match taken {
            Some(data) => drop(connection.start_data(now, data.max_message)),
            None if before => self.end_channels_of(now, key),
            None => {}
        }
    }

    /// Ends tracks whose line is not offered any more, or in another shape; those come back.
    fn end_missing(&mut self, now: Instant, key: Key, plans: &[Plan<'_>]) -> Vec<Reshaped> {
        let mut reshaped = Vec::new();
        let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return reshaped };
        let goes_on = |line: &Line| {
            let plan = plans.iter().find(|plan| plan.section.mid == line.mid);
            plan.is_some_and(|plan| {
                plan.track.as_ref().is_some_and(|(id, codec)| line.goes_on(id, codec, plan.section))
            })
        };
        let ended = publish.lines.iter().filter(|line| !goes_on(line));
        let ended: Vec<_> = ended.map(|line| (line.track, line.id.clone())).collect();
        for (track, id) in ended {
            if plans.iter().any(|plan| plan.track.as_ref().is_some_and(|(own, _)| *own == id)) {
                let muted = self.tracks.get(track).is_some_and(Track::is_muted);
                reshaped.push(Reshaped { id, muted, viewers: self.viewers_of(track) });
            }
            self.end_track(now, key, track);
        }
        reshaped
    }

    /// A track has begun in another shape: it is what it was to everybody else.
    fn go_on(&mut self, now: Instant, key: Key, track: Reshaped) {
        let Some(router) = self.transports.get(key).map(|transport| transport.router) else { return };
        if track.muted {
            self.set_muted(RouterId(router.to_u64()), &track.id, true);
        }
        for (viewer, wanted) in track.viewers {
            self.subscribe(now, transport_id(viewer), wanted);
        }
    }

    fn carry_out(&mut self, now: Instant, key: Key, plan: &Plan<'_>) {
        let Some((id, codec)) = &plan.track else { return };
        let Some(transport) = self.transports.get_mut(key) else { return };
        let router = transport.router;
        let Some((publish, _)) = transport.publish_mut() else { return };
        let known = publish.lines.iter().find(|line| line.id == *id).map(|line| line.track);
        let track = match known {
            Some(track) => track,
            None => self.begin_track(now, key, router, plan.section, id, codec),
        };
        if let Some(track) = self.tracks.get_mut(track) {
            track.set_max_bitrate(now, plan.admitted.and_then(|admitted| admitted.max_bitrate));
        }
    }

    fn begin_track(
        &mut self,
        now: Instant,
        key: Key,
        router_key: Key,
        section: &Section,
        id: &TrackId,
        codec: &CodecLine,
    ) -> Key {
        if let Some(other) = self.routers.get(router_key).and_then(|router| router.tracks.get(id).copied()) {
            self.end_remote(now, other);
        }
        let (feed, encodings) = (Feed::Publisher(key), section.encodings());
        let make = |_| Track::new(now, id.clone(), router_key, feed, codec.clone(), section.extensions, encodings);
        let track = self.tracks.insert_with(make);
        if let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) {
            if let Some(track) = self.tracks.get_mut(track).filter(|_| publish.is_steered) {
                track.ask_anew();
            }
            let moved = publish.begin(Line::new(section, codec.clone(), track, id.clone()));
            publish.note_line(now);
            moved.into_iter().for_each(|(ssrc, source)| self.bind_source(source, ssrc));
        }
        if let Some(router) = self.routers.get_mut(router_key) {
            router.tracks.insert(id.clone(), track);
        }
        self.announce(now, router_key, track);
        track
    }

    fn answer(&mut self, key: Key, plans: &[Plan<'_>]) -> Result<Answer, NegotiateError> {
        let transport = self.transports.get_mut(key).ok_or(NegotiateError::NoTransport)?;
        transport.version += 1;
        let local = local(
            &transport.connection,
            self.config.reached_at(),
            transport.session,
            transport.version,
            Setup::Passive,
        );
        let lines: Vec<_> = plans.iter().map(Plan::answer).collect();
        let sdp = write_answer(&local, &lines);
        Ok(Answer { sdp, tracks: plans.iter().filter_map(Plan::accepted).collect() })
    }

    // Ends.

    pub(super) fn end_tracks_of(&mut self, now: Instant, key: Key) {
        let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return };
        let tracks: Vec<_> = publish.lines.iter().map(|line| line.track).collect();
        tracks.into_iter().for_each(|track| self.end_track(now, key, track));
    }

    fn end_track(&mut self, now: Instant, key: Key, track: Key) {
        if let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) {
            publish.forget(track);
        }
        let place = self.tracks.get(track).map(|track| (track.router, track.id.clone()));
        self.remove_track(now, track);
        if let Some((router, id)) = place {
            self.install_deferred(now, router, &id);
        }
    }

    pub(super) fn remove_track(&mut self, now: Instant, track: Key) {
        let at = self.at(now);
        self.withdraw_track(track);
        let Some(mut gone) = self.tracks.remove(track) else { return };
        gone.record_no_more(&mut self.recorder, at);
        gone.tell_end(&mut self.pipes, &mut self.counters);
        if let Some(router) = self.routers.get_mut(gone.router) {
            router.tracks.remove(&gone.id);
        }
        for subscription in &gone.subscriptions {
            if let Some((subscribe, _)) =
                self.transports.get_mut(subscription.transport).and_then(Transport::subscribe_mut)
            {
                subscribe.note_past(track, subscription.past());
                subscribe.remove(track, None);
                self.touched.insert(subscription.transport);
            }
        }
    }
}

fn plan<'a>(section: &'a Section, admitted: &'a [AdmittedMedia]) -> Plan<'a> {
    let admitted = admitted.iter().find(|admitted| admitted.mid == section.mid);
    let codec = section.codec().filter(|_| !section.rejected);
    // A line on which nothing is sent may stay; it was refused if its track was.
    let refused = section.sends && admitted.is_none_or(|admitted| admitted.track.is_none());
    let codec = codec.filter(|_| !refused);
    let id = admitted.filter(|_| section.sends || section.data.is_some()).and_then(|admitted| admitted.track.clone());
    let data = section.data.is_some() && !section.rejected && id.is_some();
    Plan { section, admitted, track: id.zip(codec.cloned()), codec, data }
}

impl Plan<'_> {
    fn answer(&self) -> AnswerLine<'_> {
        AnswerLine {
            section: self.section,
            accepted: self.codec,
            data: self.data,
            extensions: self.extensions(),
            receives: self.track.is_some(),
            max_bitrate: self.admitted.and_then(|admitted| admitted.max_bitrate),
        }
    }

    /// What is to be said with its packets. When they left is told by transport-wide numbers better, and needed only without.
    fn extensions(&self) -> ExtensionMap {
        let needs_times = self.codec.is_some_and(|codec| codec.feedback_taken().remb);
        let all = self.section.extensions;
        if needs_times { all } else { all.without(Extension::AbsSendTime) }
    }

    fn accepted(&self) -> Option<AcceptedTrack> {
        let (id, codec) = self.track.as_ref()?;
        Some(AcceptedTrack {
            mid: self.section.mid.clone(),
            track: id.clone(),
            kind: codec.codec.kind(),
            codec: codec.codec,
            encodings: self.section.encodings(),
            payload_type: codec.payload_type,
            fmtp: codec.fmtp.clone(),
            level_id: self.extensions().id(Extension::AudioLevel),
        })
    }
}
