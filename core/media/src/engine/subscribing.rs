//! Subscriptions: which tracks a viewer gets, and the offers about them.

use std::time::Instant;

use lockgate_model::{Limits, TrackId};
use lockgate_transport::sdp::Setup;

use super::{Engine, RouterEvent, transport_id};
use crate::arena::Key;
use crate::ids::TransportId;
use crate::negotiate::{NegotiateError, ViewersAnswer};
use crate::stats::DropReason;
use crate::subscribe::{NewLine, Taken, local};
use crate::subscription::Subscription as Viewer;
use crate::transport::{OfferToMake, Transport};

/// What a viewer is to be sent.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The track.
    pub track: TrackId,
    /// First part of `a=msid`: what belongs together has the same.
    pub stream: String,
    /// Comes back with the offer that this leads to.
    pub cause: u64,
    /// How much of it.
    pub limits: Limits,
}

impl Engine {
    /// Sends a track to a viewer. One that it gets already is offered again, with these limits. A track that is gone is passed over:
    /// its end was told. With pipes to other engines it is waited for some seconds: it may not have been announced yet.
    pub fn subscribe(&mut self, now: Instant, transport: TransportId, wanted: Subscription) {
        let key = Key::from_u64(transport.0);
        let (ssrc, rtx_ssrc, random) =
            (self.config.entropy.ssrc(), self.config.entropy.ssrc(), self.config.entropy.u32());
        let Some(transport) = self.transports.get_mut(key) else { return };
        let Some(router) = self.routers.get_mut(transport.router) else { return };
        let Some(track_key) = router.tracks.get(&wanted.track).copied() else {
            return match router.data.get(&wanted.track).copied() {
                Some(channel) => self.subscribe_channel(now, key, channel, wanted),
                None => router.await_track(now, key, wanted),
            };
        };
        let (Some((subscribe, connection)), Some(track)) = (transport.subscribe_mut(), self.tracks.get_mut(track_key))
        else {
            return;
        };
        let connected = connection.is_connected();
        self.touched.insert(key);
        if subscribe.has(track_key) {
            subscribe.change(wanted.cause);
            return self.limit_viewer(now, key, track_key, wanted.limits);
        }
        let (stream, cause, codec) = (wanted.stream.clone(), wanted.cause, track.codec.clone());
        let described = track.is_described();
        let new = NewLine { track: track_key, id: wanted.track, stream, cause, codec, described, ssrc, rtx_ssrc };
        let Some(taken) = subscribe.add(new) else { return self.counters.drop(DropReason::NoLine) };
        let codec = track.codec.codec;
        let (ssrc, own) = match taken {
            Taken::Offered => (ssrc, None),
            Taken::Own(placed) => (placed.ssrc, Some(placed)),
        };
        let is_own = own.is_some();
        let mut viewer = Viewer::new(now, key, wanted.stream, ssrc, random, codec, wanted.limits);
        if let Some(placed) = own {
            placed.past.into_iter().for_each(|past| viewer.go_on(past));
            viewer.set_format(Some(placed.format));
        }
        if let Some(before) = subscribe.take_left(track_key) {
            viewer.demands = before;
        }
        track.subscriptions.push(viewer);
        // What will be wanted is asked for while the viewer's connection comes about.
        track.prepare_for(now, key);
        if is_own && connected {
            track.start_for(now, key);
        }
        self.wishes.insert(track_key);
        self.stirred.insert(track_key);
        self.hurry(track_key);
    }

    /// Sends a track to a viewer no more: no packet of it follows.
    pub fn unsubscribe(&mut self, now: Instant, transport: TransportId, track: &TrackId, cause: u64) {
        let key = Key::from_u64(transport.0);
        let Some(transport) = self.transports.get_mut(key) else { return };
        let Some(router) = self.routers.get_mut(transport.router) else { return };
        router.await_no_more(key, track);
        if let Some(channel) = router.data.get(track).copied() {
            return self.unsubscribe_channel(now, key, channel, cause);
        }
        let Some(track_key) = router.tracks.get(track).copied() else { return };
        let viewer = self.tracks.get_mut(track_key).and_then(|track| track.unsubscribe(key));
        let sources: Vec<_> = viewer.iter().flat_map(Viewer::sources).collect();
        self.wishes.insert(track_key);
        if let Some((subscribe, _)) = transport.subscribe_mut() {
            viewer.iter().for_each(|viewer| subscribe.note_past(track_key, viewer.past()));
            subscribe.remove(track_key, Some(cause));
            viewer.into_iter().for_each(|viewer| subscribe.note_left(now, track_key, viewer.demands));
        }
        self.withdraw(key, sources);
        self.touched.insert(key);
    }

    /// Sends more or less of a track.
    pub fn set_limits(&mut self, now: Instant, transport: TransportId, track: &TrackId, limits: Limits) {
        let key = Key::from_u64(transport.0);
        let Some(transport) = self.transports.get(key) else { return };
        let Some(router) = self.routers.get_mut(transport.router) else { return };
        if let Some(channel) = router.data.get(track).copied() {
            return self.limit_channel(key, channel, limits);
        }
        let Some(track_key) = router.tracks.get(track).copied() else {
            return router.await_within(key, track, limits);
        };
        self.limit_viewer(now, key, track_key, limits);
    }

    fn limit_viewer(&mut self, now: Instant, viewer: Key, track_key: Key, limits: Limits) {
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let ends = track.set_limits(now, viewer, limits);
        self.stirred.insert(track_key);
        if ends {
            self.withdraw_from(viewer, track_key);
        }
        self.hurry(track_key);
    }

    /// Takes a viewer's answer.
    pub fn accept_answer(
        &mut self,
        now: Instant,
        transport: TransportId,
        offer_id: Option<u64>,
        answer: ViewersAnswer,
    ) -> Result<(), NegotiateError> {
        let key = Key::from_u64(transport.0);
        let transport = self.transports.get_mut(key).ok_or(NegotiateError::NoTransport)?;
        let (subscribe, connection) = transport.subscribe_mut().ok_or(NegotiateError::NoTransport)?;
        let settled = subscribe.answer(now, connection, offer_id, answer)?;
        let connected = connection.is_connected();
        for one in settled {
            let Some(subscription) = self.tracks.get_mut(one.track).and_then(|track| track.subscription_mut(key))
            else {
                continue;
            };
            let first = !subscription.is_agreed();
            subscription.set_format(one.format);
            self.wishes.insert(one.track);
            self.stirred.insert(one.track);
            if connected && first {
                self.start_subscription(now, key, one.track);
            }
        }
        self.open_channels(now, key);
        self.touched.insert(key);
        self.take_connection_events(now, key);
        Ok(())
    }

    /// Offers a viewer new ICE credentials.
    pub fn restart_ice(&mut self, transport: TransportId, cause: u64) {
        let key = Key::from_u64(transport.0);
        let credentials = self.credentials();
        if let Some((subscribe, connection)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) {
            connection.restart_ice(credentials);
            subscribe.change(cause);
            self.demux.name(key, connection.ice().ufrags());
            self.touched.insert(key);
        }
    }

    /// Makes the offers that changes since the last call led to: call after a batch of commands, so that it is one for each viewer.
    pub fn make_offers(&mut self, now: Instant) {
        let mut place = 0;
        while let Some(key) = self.touched.get(place) {
            self.make_offer(now, key);
            place += 1;
        }
        while let Some(key) = self.drained.pop_first() {
            self.make_offer(now, key);
        }
    }

    fn make_offer(&mut self, now: Instant, key: Key) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let (session, version) = (transport.session, transport.version + 1);
        let crate::transport::Role::Subscribe(subscribe) = &mut transport.role else { return };
        if let Some((cause, tracks)) = subscribe.take_placed() {
            let router = transport.router;
            return self.tell(router, RouterEvent::Placed { transport: transport_id(key), cause, tracks });
        }
        let local = local(&transport.connection, self.config.reached_at(), session, version, Setup::ActPass);
        let channels = subscribe.data.channels.clone();
        let channels = channels.iter().filter_map(|channel| Some(self.channels.get(*channel)?.id.clone()));
        if let Some(offer) = subscribe.offer(now, &local, channels) {
            transport.version = version;
            self.tell_offer(key, offer);
        }
    }

    pub(super) fn tell_offer(&mut self, key: Key, offer: OfferToMake) {
        let Some(router) = self.transports.get(key).map(|transport| transport.router) else { return };
        let OfferToMake { offer_id, cause, sdp, tracks } = offer;
        self.tell(router, RouterEvent::Offer { transport: transport_id(key), offer_id, cause, sdp, tracks });
    }

    /// Whom a track is sent, and how: so that they can go on with another one of its name.
    pub(super) fn viewers_of(&mut self, key: Key) -> Vec<(Key, Subscription)> {
        let Some(track) = self.tracks.get(key) else { return Vec::new() };
        let mut viewers = Vec::new();
        for one in &track.subscriptions {
            let subscribe = self.transports.get_mut(one.transport).and_then(Transport::subscribe_mut);
            let Some(cause) = subscribe.and_then(|(subscribe, _)| subscribe.cause_of(key)) else { continue };
            let (track, stream, limits) = (track.id.clone(), one.stream.to_string(), one.limits);
            viewers.push((one.transport, Subscription { track, stream, cause, limits }));
        }
        viewers
    }

    /// A viewer's connection has come up.
    pub(super) fn start_subscriptions_of(&mut self, now: Instant, key: Key) {
        let Some((subscribe, _)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) else { return };
        let tracks: Vec<_> = subscribe.tracks().collect();
        tracks.into_iter().for_each(|track| self.start_subscription(now, key, track));
    }

    fn start_subscription(&mut self, now: Instant, key: Key, track_key: Key) {
        if let Some(track) = self.tracks.get_mut(track_key) {
            track.start_for(now, key);
            self.hurry(track_key);
        }
    }

    pub(super) fn end_subscriptions_of(&mut self, key: Key) {
        let Some((subscribe, _)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) else { return };
        let tracks: Vec<_> = subscribe.tracks().collect();
        for track_key in tracks {
            if let Some(track) = self.tracks.get_mut(track_key) {
                track.unsubscribe(key);
                self.wishes.insert(track_key);
            }
        }
    }
}
