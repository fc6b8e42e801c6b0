//! Making and ending routers and transports.

use std::time::Instant;

use lockgate_model::TrackId;
use lockgate_model::carrier::TrackNumber;
use lockgate_transport::Connection;
use lockgate_transport::sdp::check_candidate;

use super::{Engine, Router, RouterEvent, is_publish, transport_id};
use crate::arena::Key;
use crate::ids::{RouterId, TransportId};
use crate::negotiate::NegotiateError;
use crate::publish::Publish;
use crate::quality::Meter;
use crate::subscribe::Subscribe;
use crate::track::Feed;
use crate::transport::{Role, Transport};

impl Engine {
    /// Makes a router.
    pub fn create_router(&mut self) -> RouterId {
        RouterId(self.routers.insert_with(|_| Router::default()).to_u64())
    }

    /// Ends a router and all its transports.
    pub fn close_router(&mut self, now: Instant, router: RouterId) {
        let Some(router) = self.routers.remove(Key::from_u64(router.0)) else { return };
        router.transports.into_iter().for_each(|transport| self.remove_transport(now, transport));
        router.pipes.into_iter().for_each(|pipe| self.remove_pipe(now, pipe));
    }

    /// Makes a transport for a publisher. None if the router is gone.
    pub fn create_publish_transport(&mut self, now: Instant, router: RouterId) -> Option<TransportId> {
        let ssrc = self.config.entropy.ssrc();
        self.create_transport(now, router, Role::Publish(Publish::new(now, ssrc)))
    }

    /// Makes a transport for a viewer. None if the router is gone.
    pub fn create_subscribe_transport(&mut self, now: Instant, router: RouterId) -> Option<TransportId> {
        self.create_transport(now, router, Role::Subscribe(Subscribe::new(now)))
    }

    fn create_transport(&mut self, now: Instant, router: RouterId, role: Role) -> Option<TransportId> {
        let router = Key::from_u64(router.0);
        let credentials = self.credentials();
        let session = u64::from_be_bytes(self.config.entropy.bytes()) >> 1;
        let holder = self.routers.get_mut(router)?;
        let ufrag = credentials.ufrag.clone();
        let mut connection = Connection::new(now, &self.config.certificate, self.config.dtls, credentials);
        connection.allow_data(self.config.data.rate);
        let key = self.transports.insert_with(|_| Transport {
            router,
            connection,
            session,
            version: 0,
            scheduled: None,
            quality: Meter::new(now),
            role,
        });
        holder.transports.push(key);
        self.demux.add_ufrag(ufrag, key);
        self.touched.insert(key);
        Some(transport_id(key))
    }

    /// Ends a transport, and tells the peer.
    pub fn close_transport(&mut self, now: Instant, transport: TransportId) {
        self.remove_transport(now, Key::from_u64(transport.0));
    }

    /// Takes a candidate of the client. A lite agent does not need it: checks come from wherever they come (RFC 8445 §7.3.1.3).
    pub fn add_ice_candidate(&self, line: &str) -> Result<(), NegotiateError> {
        Ok(check_candidate(line)?)
    }

    /// Stops or resumes a track for all its viewers.
    pub fn set_muted(&mut self, router: RouterId, track: &TrackId, muted: bool) {
        if let Some(channel) = self.find_channel(router, track) {
            self.mute_channel(channel, muted);
            return self.tell_channel_muted(channel);
        }
        let Some(key) = self.find_own(router, track) else { return };
        if let Some(track) = self.tracks.get_mut(key) {
            track.set_muted(muted);
            self.stirred.insert(key);
            track.tell_muted(&mut self.pipes, &mut self.counters);
            self.hurry(key);
            if muted {
                self.withdraw_track(key);
            }
        }
    }

    /// Sends a track to the recorder, under this number.
    pub fn record(&mut self, now: Instant, router: RouterId, track: &TrackId, number: TrackNumber) {
        let Some(key) = self.find_own(router, track) else { return };
        if let Some(track) = self.tracks.get_mut(key) {
            track.record(now, number);
            self.hurry(key);
        }
    }

    /// Sends a track to the recorder no more.
    pub fn record_no_more(&mut self, now: Instant, router: RouterId, track: &TrackId) {
        let (key, at) = (self.find_own(router, track), self.at(now));
        if let Some(track) = key.and_then(|key| self.tracks.get_mut(key)) {
            track.record_no_more(&mut self.recorder, at);
        }
    }

    /// Asks for a key frame for the recorder.
    pub fn request_key_frame(&mut self, now: Instant, router: RouterId, track: &TrackId) {
        let Some(key) = self.find_own(router, track) else { return };
        if let Some(track) = self.tracks.get_mut(key) {
            track.want_key_for_recorder(now);
            self.hurry(key);
        }
    }

    /// A track whose publisher is here.
    fn find_own(&self, router: RouterId, track: &TrackId) -> Option<Key> {
        let key = self.routers.get(Key::from_u64(router.0))?.tracks.get(track).copied()?;
        self.tracks.get(key)?.is_home().then_some(key)
    }

    /// What a track's publisher is to be told is due at once: somebody may want a key frame.
    pub(super) fn hurry(&mut self, track: Key) {
        let (now, feed) = (self.config.started, self.tracks.get(track).map(|track| track.feed));
        match feed {
            Some(Feed::Publisher(publisher)) => {
                if let Some((publish, _)) = self.transports.get_mut(publisher).and_then(Transport::publish_mut) {
                    publish.next_repair = Some(now);
                    self.touched.insert(publisher);
                }
            }
            Some(Feed::Pipe(pipe, _)) => {
                self.wishes.insert(track);
                if let Some(pipe) = self.pipes.get_mut(pipe) {
                    pipe.hurry(now);
                }
            }
            None => {}
        }
    }

    /// Takes a transport out, with everything that hangs on it.
    pub(super) fn remove_transport(&mut self, now: Instant, key: Key) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        transport.connection.close(now);
        let (router, publishes) = (transport.router, is_publish(transport));
        while let Some((path, datagram)) =
            self.transports.get_mut(key).and_then(|transport| transport.connection.poll_transmit())
        {
            self.farewells.push_back((path, datagram));
        }
        if publishes {
            self.end_tracks_of(now, key);
            self.end_channels_of(now, key);
        } else {
            self.end_subscriptions_of(key);
            self.end_data_of_viewer(key);
        }
        if let Some(transport) = self.transports.get(key) {
            self.counters.refuse_data(&transport.connection.data_counters());
        }
        if let Some(router) = self.routers.get_mut(router) {
            router.transports.retain(|own| *own != key);
            router.forget_awaited_of(key);
        }
        self.transports.remove(key);
        let paths = self.demux.forget(key);
        self.withdraw_all(paths);
    }

    /// A connection ended by itself.
    pub(super) fn lose_transport(&mut self, now: Instant, key: Key, reason: lockgate_transport::CloseReason) {
        let Some(router) = self.transports.get(key).map(|transport| transport.router) else { return };
        self.remove_transport(now, key);
        self.tell(router, RouterEvent::Closed { transport: transport_id(key), reason });
    }
}
