//! The engine: everything that one worker holds, and the doors to it.

mod adapting;
mod commands;
mod data;
mod forward;
mod input;
mod levels;
mod piped_data;
mod pipes;
mod publishing;
mod quality;
mod receiving;
mod steering;
mod subscribing;
#[cfg(test)]
mod tests;
mod timers;
mod withdrawing;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use lockgate_model::carrier::NodeTime;
use lockgate_model::{ChannelFacts, ChannelLoss, Heard, Layer, LayerReason, Quality, TrackId};
use lockgate_rtp::ReportBlock;
use lockgate_transport::CloseReason;
use lockgate_transport::dtls::{Certificate, EngineKind};
use lockgate_transport::ice::{Credentials, Path};

use crate::allocate::Demand;
use crate::arena::{Arena, Key, KeySet};
use crate::data::{DataLimits, DataPublisher};
use crate::demux::Demux;
use crate::egress::Egress;
use crate::entropy::Entropy;
use crate::ids::{RouterId, TransportId};
use crate::pipe::Pipes;
use crate::replay::Replay;
use crate::stats::{Counters, DropCounts};
use crate::told::Change;
use crate::track::{Onward, Track};
use crate::transport::{Role, Transport};

pub use subscribing::Subscription;
pub use withdrawing::Withdrawn;

/// What an engine is made with.
pub struct EngineConfig {
    /// Where clients reach this worker, best first.
    pub candidates: Vec<SocketAddr>,
    /// Whether also by TCP.
    pub tcp: bool,
    /// Who we are to clients.
    pub certificate: Certificate,
    /// Which DTLS engine.
    pub dtls: EngineKind,
    /// Randomness.
    pub entropy: Entropy,
    /// Zero of [`NodeTime`].
    pub started: Instant,
    /// Bounds of data channels.
    pub data: DataLimits,
}

impl EngineConfig {
    /// Where clients reach this worker, and whether also by TCP.
    fn reached_at(&self) -> (&[SocketAddr], bool) {
        (&self.candidates, self.tcp)
    }
}

/// What happened, and in which router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose owner is to be told.
    pub router: RouterId,
    /// What.
    pub event: RouterEvent,
}

/// What happened in a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterEvent {
    /// Media can flow.
    Connected {
        /// On which transport.
        transport: TransportId,
    },
    /// A transport ended by itself. Its tracks or subscriptions are gone.
    Closed {
        /// Which.
        transport: TransportId,
        /// Why.
        reason: CloseReason,
    },
    /// A publisher opened a data channel: to be admitted or refused.
    ChannelOpened {
        /// On which transport.
        transport: TransportId,
        /// Which of its channels.
        stream: u16,
        /// What it was opened with.
        channel: ChannelFacts,
    },
    /// A publisher's data channel is over. What it was sent on is gone, too.
    ChannelClosed {
        /// On which transport.
        transport: TransportId,
        /// Which of its channels.
        stream: u16,
    },
    /// A viewer gets no more of a data channel that goes on for others. It was not unsubscribed by a command.
    ChannelLost {
        /// On which transport.
        transport: TransportId,
        /// Of which channel.
        track: TrackId,
        /// Why.
        loss: ChannelLoss,
    },
    /// A viewer is to be offered other tracks.
    Offer {
        /// By which transport.
        transport: TransportId,
        /// Counts up on each transport; an answer may name it.
        offer_id: u64,
        /// As the last subscription or its end said.
        cause: u64,
        /// The session description.
        sdp: String,
        /// Its active m-lines: mid and track.
        tracks: Vec<(String, TrackId)>,
    },
    /// What a viewer gets on its own m-lines has changed. It is offered nothing.
    Placed {
        /// By which transport.
        transport: TransportId,
        /// As the last subscription or its end said.
        cause: u64,
        /// What is sent: mid and track.
        tracks: Vec<(String, TrackId)>,
    },
    /// How well media flows, about every two seconds: to a viewer, or from a publisher.
    Quality {
        /// By which transport.
        transport: TransportId,
        /// How well.
        quality: Quality,
        /// From a publisher: each of its tracks, and what its encodings have, the smallest first, in bit/s.
        rates: Vec<(TrackId, Vec<u64>)>,
    },
    /// A publisher is to send other encodings of a track than before: the others are not watched by anybody.
    Steered {
        /// By which transport.
        transport: TransportId,
        /// Which track.
        track: TrackId,
        /// Its encodings, the smallest first: the name, if it has one, and whether it is to be sent.
        encodings: Vec<(Option<String>, bool)>,
    },
    /// A viewer gets another layer, or nothing.
    LayerChanged {
        /// By which transport.
        transport: TransportId,
        /// Of which track.
        track: TrackId,
        /// Which; none: nothing is sent.
        layer: Option<Layer>,
        /// Of less, what keeps the viewer from more; of more, what had kept it from that.
        reason: LayerReason,
    },
    /// How loud tracks are that are at home in this engine; about every 100 ms, until all have been silent for a second.
    Levels {
        /// Now.
        at: NodeTime,
        /// Those that are not silent.
        heard: Vec<Heard>,
    },
}

/// Everything that one worker holds.
pub struct Engine {
    config: EngineConfig,
    routers: Arena<Router>,
    transports: Arena<Transport>,
    tracks: Arena<Track>,
    channels: Arena<DataPublisher>,
    demux: Demux,
    egress: Egress,
    recorder: Replay,
    counters: Counters,
    events: VecDeque<Event>,
    /// When time acts on which transport; entries that were overtaken are passed over.
    due: BinaryHeap<Reverse<(Instant, Key)>>,
    /// Transports that may have something to send or to tell.
    touched: KeySet,
    /// Those of them that were drained, and may still have an offer to make.
    drained: KeySet,
    /// Tracks whose viewers may have another layer.
    stirred: KeySet,
    /// Tracks of which something came that was not handed on yet, and how many bytes in all.
    waiting: KeySet,
    waiting_bytes: usize,
    /// Transports over which packets wait for room.
    holding: KeySet,
    /// Tracks that told how loud they are, and when that is told on.
    heard: KeySet,
    next_levels: Option<Instant>,
    pipes: Pipes,
    /// Tracks of other engines of which something else may be wanted.
    wishes: KeySet,
    /// Where reports are put together.
    blocks: Vec<ReportBlock>,
    /// Where what a viewer could be sent is put together.
    demands: Vec<Demand<Key>>,
    /// What transports that are gone had still to say.
    farewells: VecDeque<(Path, Vec<u8>)>,
    withdrawals: withdrawing::Withdrawals,
}

#[derive(Default)]
pub(crate) struct Router {
    tracks: HashMap<TrackId, Key>,
    data: HashMap<TrackId, Key>,
    transports: Vec<Key>,
    pipes: Vec<Key>,
    awaited: Vec<pipes::Awaited>,
    deferred: HashMap<TrackId, pipes::Deferred>,
    /// How many more times its owner is told that nothing is heard.
    silences: u8,
}

impl Engine {
    /// An engine that holds nothing yet.
    pub fn new(config: EngineConfig) -> Self {
        Self {
            config,
            routers: Arena::new(),
            transports: Arena::new(),
            tracks: Arena::new(),
            channels: Arena::new(),
            demux: Demux::default(),
            egress: Egress::default(),
            recorder: Replay::default(),
            counters: Counters::default(),
            events: VecDeque::new(),
            due: BinaryHeap::new(),
            touched: KeySet::default(),
            drained: KeySet::default(),
            stirred: KeySet::default(),
            waiting: KeySet::default(),
            waiting_bytes: 0,
            holding: KeySet::default(),
            heard: KeySet::default(),
            next_levels: None,
            demands: Vec::new(),
            pipes: Pipes::default(),
            wishes: KeySet::default(),
            blocks: Vec::new(),
            farewells: VecDeque::new(),
            withdrawals: withdrawing::Withdrawals::default(),
        }
    }

    /// Media that waits to be sent; to be cleared when it is.
    pub fn egress(&mut self) -> &mut Egress {
        &mut self.egress
    }

    /// The next datagram that is not media, and its way.
    pub fn poll_transmit(&mut self) -> Option<(Path, Vec<u8>)> {
        if let Some(farewell) = self.farewells.pop_front() {
            return Some(farewell);
        }
        while let Some(key) = self.touched.first() {
            if let Some(datagram) =
                self.transports.get_mut(key).and_then(|transport| transport.connection.poll_transmit())
            {
                return Some(datagram);
            }
            self.touched.pop_first();
            self.drained.insert(key);
            self.settle(key);
        }
        None
    }

    /// The next thing that a router's owner is told. To be drained after [`Self::forward`] and [`Self::poll_transmit`].
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Frames for the recorder's data connection, as of now.
    pub fn recorder(&mut self, now: Instant) -> &mut Replay {
        self.recorder.expire(self.at(now));
        &mut self.recorder
    }

    /// What was counted so far, and what there is.
    pub fn counters(&self) -> Counters {
        Counters {
            transports: self.transports.len() as u64,
            routers: self.routers.len() as u64,
            tracks: self.tracks.iter().filter(|track| track.is_home()).count() as u64,
            pipes: self.pipes.len() as u64,
            data_channels: self.channels.iter().filter(|channel| channel.is_home()).count() as u64,
            drop_counts: self.drop_counts(),
            subscriptions: self.tracks.iter().map(|track| track.subscriptions.len() as u64).sum(),
            ..self.counters.clone()
        }
    }

    /// What was dropped, with what connections refused of data.
    fn drop_counts(&self) -> DropCounts {
        let mut counters = self.counters.clone();
        self.transports.iter().for_each(|transport| counters.refuse_data(&transport.connection.data_counters()));
        counters.drop_counts
    }

    /// What tracks need to hand packets on.
    fn split(&mut self, now: Instant) -> (&mut Arena<Track>, Onward<'_>) {
        let at = node_time(self.config.started, now);
        let onward = Onward {
            now,
            at,
            transports: &mut self.transports,
            holding: &mut self.holding,
            egress: &mut self.egress,
            counters: &mut self.counters,
            recorder: &mut self.recorder,
            pipes: &mut self.pipes,
        };
        (&mut self.tracks, onward)
    }

    fn credentials(&mut self) -> Credentials {
        Credentials::from_random(self.config.entropy.bytes())
    }

    fn at(&self, now: Instant) -> NodeTime {
        node_time(self.config.started, now)
    }

    /// Looks after a transport that was touched: when time acts on it next.
    fn settle(&mut self, key: Key) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let next = transport.next_timeout();
        if let Some(next) = next.filter(|next| transport.scheduled.is_none_or(|scheduled| *next < scheduled)) {
            transport.scheduled = Some(next);
            self.due.push(Reverse((next, key)));
        }
    }

    fn tell(&mut self, router: Key, event: RouterEvent) {
        self.events.push_back(Event { router: RouterId(router.to_u64()), event });
    }

    /// Tells viewers of the tracks that were stirred what they get by now.
    fn tell_layers(&mut self, now: Instant) {
        while let Some(key) = self.stirred.pop_first() {
            let Some(track) = self.tracks.get_mut(key) else { continue };
            let (router, id) = (track.router, track.id.clone());
            for (viewer, Change { layer, reason }) in track.take_changes(now) {
                let (transport, track) = (transport_id(viewer), id.clone());
                self.tell(router, RouterEvent::LayerChanged { transport, track, layer, reason });
            }
        }
    }
}

fn node_time(started: Instant, now: Instant) -> NodeTime {
    NodeTime(now.saturating_duration_since(started).as_micros() as u64)
}

fn transport_id(key: Key) -> TransportId {
    TransportId(key.to_u64())
}

fn is_publish(transport: &Transport) -> bool {
    matches!(transport.role, Role::Publish(_))
}
