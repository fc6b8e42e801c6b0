//! One SCTP association, sans I/O, over `rtc-sctp` behind [`Guard`].
//!
//! The peer begins it, as every browser does. The library draws its own randomness. It is read at once and dry, so that it holds no
//! message; what it is given to send is bounded by its caller, who asks [`Association::has_room`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use lockgate_model::Bitrate;
use rtc_sctp::{Event, PayloadProtocolIdentifier as Kind, StreamEvent};

use super::channel::{ACK, Said, delivery, read_control, read_message, write_message, write_open};
use super::guard::STREAMS;
use super::on_its_way::OnItsWay;
use super::packet::{Init, messages_in};
use super::peer::Peer;
use super::policer::Policer;
use super::{Channel, DataCounters, DataEvent, MAX_CHANNELS, MAX_MESSAGE, Message, StreamId};

/// Which of the two we were in the DTLS handshake: it says which streams are ours to open (RFC 8832 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Odd ones.
    Server,
    /// Even ones; never 0, which some clients take for none.
    Client,
}

/// One SCTP association.
///
/// After each call that takes `&mut self` the owner drains [`Association::poll_transmit`] and [`Association::poll_event`].
pub struct Association {
    side: Side,
    /// The longest message that the peer takes.
    peer_takes: usize,
    policer: Policer,
    peer: Option<Box<Peer>>,
    over: bool,
    channels: BTreeMap<u16, Own>,
    on_its_way: OnItsWay,
    transmits: VecDeque<Bytes>,
    events: VecDeque<DataEvent>,
    counters: DataCounters,
}

struct Own {
    channel: Channel,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Waits for the association.
    Wanted,
    /// The peer was told.
    Offered,
    /// The peer knows.
    Open,
}

impl Association {
    /// An association that waits for its peer. `peer_takes` is the peer's `a=max-message-size`, 0 for no limit; `rate` is what it may
    /// send.
    pub fn new(now: Instant, side: Side, peer_takes: usize, rate: Bitrate) -> Self {
        Self {
            side,
            peer_takes: if peer_takes == 0 { MAX_MESSAGE } else { peer_takes.min(MAX_MESSAGE) },
            policer: Policer::new(now, rate),
            peer: None,
            over: false,
            channels: BTreeMap::new(),
            on_its_way: OnItsWay::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: DataCounters::default(),
        }
    }

    /// Takes a packet that came out of DTLS. Junk is counted, never an event.
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        if self.over {
            return;
        }
        if !self.policer.admits(now, packet.len(), messages_in(packet)) {
            self.counters.over_rate += 1;
            return;
        }
        if let Some(init) = Init::read(packet) {
            return self.on_init(now, init, packet);
        }
        let Some(peer) = &mut self.peer else {
            self.counters.malformed += 1;
            return;
        };
        match peer.guard.filter(packet) {
            Ok(Some(packet)) => {
                if !peer.feed(now, packet) {
                    self.counters.malformed += 1;
                }
                self.drain(now);
            }
            Ok(None) => {}
            Err(_) => self.break_off(now),
        }
    }

    /// Lets time act.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(peer) = &mut self.peer else { return };
        if peer.library.poll_timeout().is_some_and(|due| due <= now) {
            peer.library.handle_timeout(now);
            self.drain(now);
        }
    }

    /// Opens a channel. None if there are too many, or its names are too long. What is sent before the peer knows of it waits.
    pub fn open(&mut self, now: Instant, channel: Channel) -> Option<StreamId> {
        if self.over || self.channels.len() >= MAX_CHANNELS || write_open(&channel).is_none() {
            return None;
        }
        let first = if self.side == Side::Server { 1 } else { 2 };
        let id = (first..STREAMS).step_by(2).find(|id| self.is_free(*id))?;
        self.channels.insert(id, Own { channel, progress: Progress::Wanted });
        if self.is_established() {
            self.offer(now, id);
            self.drain(now);
        }
        Some(StreamId(id))
    }

    /// Ends a channel: what was sent on it still arrives, nothing follows.
    pub fn close(&mut self, now: Instant, stream: StreamId) {
        let Some(own) = self.channels.remove(&stream.0) else { return };
        if own.progress != Progress::Wanted {
            self.reset(now, stream.0);
            self.drain(now);
        }
    }

    /// Sends a message. False: the channel is not open, or the peer takes none that is so long.
    pub fn send(&mut self, now: Instant, stream: StreamId, message: Message) -> bool {
        if message.bytes.len() > self.peer_takes || !self.is_open(stream) {
            return false;
        }
        let (kind, bytes) = write_message(message);
        let sent = self.write(now, stream.0, kind, &bytes);
        self.drain(now);
        sent
    }

    /// Ends the association.
    pub fn abort(&mut self, now: Instant) {
        if let Some(peer) = &mut self.peer {
            // It only fails where there is nobody to tell.
            let _ = peer.library.abort();
            self.transmit(now);
        }
        self.end();
    }

    /// The next packet for DTLS.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<DataEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.peer.as_ref().and_then(|peer| peer.library.poll_timeout())
    }

    /// Whether a message may be sent on a channel.
    pub fn is_open(&self, stream: StreamId) -> bool {
        self.channels.get(&stream.0).is_some_and(|own| match own.progress {
            Progress::Wanted => false,
            // What overtakes the opening of a channel would be lost (RFC 8832 §6).
            Progress::Offered => own.channel.ordered,
            Progress::Open => true,
        })
    }

    /// Whether so little is on its way that more may be sent. Data is sent in no larger bursts than this allows: the link is shared
    /// with media.
    pub fn has_room(&self) -> bool {
        self.is_established() && self.on_its_way.cost < WRITE_AHEAD
    }

    /// Whether both sides know of it.
    pub fn is_established(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.established)
    }

    /// Whether it has ended. There will be no other one on this connection.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The longest message that the peer takes, in bytes.
    pub fn peer_takes(&self) -> usize {
        self.peer_takes
    }

    /// What was refused so far.
    pub fn counters(&self) -> DataCounters {
        let mut counters = self.counters;
        if let Some(peer) = &self.peer {
            counters.add(&peer.guard.counters);
        }
        counters
    }

    // The peer.

    /// The first packet, or its repetition: then the answer is on its way, or lost. The library would take it for another peer.
    fn on_init(&mut self, now: Instant, init: Init, packet: &[u8]) {
        match &self.peer {
            Some(peer) if peer.established => self.counters.malformed += 1,
            Some(peer) if peer.init == init => self.transmits.extend(peer.welcome.iter().cloned()),
            _ => match Peer::meet(now, init, packet) {
                Some(peer) => {
                    self.transmits.extend(peer.welcome.iter().cloned());
                    self.peer = Some(Box::new(peer));
                }
                None => self.counters.malformed += 1,
            },
        }
    }

    /// Takes all that the library has to say.
    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.peer.as_mut().and_then(|peer| peer.library.poll()) {
            self.on_event(now, event);
        }
        self.transmit(now);
        if self.peer.as_ref().is_some_and(|peer| peer.established && peer.library.is_closed()) {
            self.end();
        }
    }

    fn transmit(&mut self, now: Instant) {
        let Some(peer) = &mut self.peer else { return };
        // It keeps a list of those too; they are read by their events.
        while peer.library.accept_stream().is_some() {}
        let before = self.transmits.len();
        peer.transmits(now, &mut self.transmits);
        let guard = &mut peer.guard;
        if self.transmits.range(before..).any(|packet| guard.note_sent(packet).is_err()) {
            self.break_off(now);
        }
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected => self.on_established(now),
            Event::Stream(StreamEvent::Readable { id }) => self.read(now, id),
            Event::Stream(StreamEvent::BufferedAmountReleased { id, n_bytes }) => self.on_its_way.arrived(id, n_bytes),
            Event::AssociationLost { id, .. } => self.on_reset(id),
            _ => {}
        }
    }

    fn on_established(&mut self, now: Instant) {
        let Some(peer) = &mut self.peer else { return };
        peer.established = true;
        peer.welcome = Vec::new();
        self.events.push_back(DataEvent::Established);
        let wanted: Vec<_> = self.channels.keys().copied().collect();
        wanted.into_iter().for_each(|id| self.offer(now, id));
    }

    fn on_reset(&mut self, id: u16) {
        self.on_its_way.forget(id);
        if self.channels.remove(&id).is_some() {
            self.events.push_back(DataEvent::Closed(StreamId(id)));
        }
    }

    fn read(&mut self, now: Instant, id: u16) {
        while let Some(peer) = &mut self.peer
            && let Ok(mut stream) = peer.library.stream(id)
            && let Ok(Some(chunks)) = stream.read()
        {
            match chunks.to_payload(MAX_MESSAGE) {
                Ok(payload) if chunks.ppi == Kind::Dcep => self.on_control(now, id, &payload),
                Ok(payload) => match read_message(chunks.ppi, payload).filter(|_| self.channels.contains_key(&id)) {
                    Some(message) => self.events.push_back(DataEvent::Message(StreamId(id), message)),
                    None => self.counters.unusable += 1,
                },
                Err(_) => self.counters.unusable += 1,
            }
        }
    }

    fn on_control(&mut self, now: Instant, id: u16, payload: &[u8]) {
        let full = self.channels.len() >= MAX_CHANNELS;
        match (read_control(payload), self.channels.get_mut(&id)) {
            (Some(Said::Ack), Some(own)) => own.progress = Progress::Open,
            (Some(Said::Open(channel)), None) if !full => self.accept(now, id, channel),
            (Some(Said::Open(_)) | None, None) => {
                self.counters.channels += 1;
                self.reset(now, id);
            }
            _ => self.counters.unusable += 1,
        }
    }

    fn accept(&mut self, now: Instant, id: u16, channel: Channel) {
        self.channels.insert(id, Own { channel: channel.clone(), progress: Progress::Open });
        self.set_delivery(id, &channel);
        self.write(now, id, Kind::Dcep, &Bytes::from_static(ACK));
        self.events.push_back(DataEvent::Opened(StreamId(id), channel));
    }

    // The library.

    /// Tells the peer of a channel of ours.
    fn offer(&mut self, now: Instant, id: u16) {
        let Some(own) = self.channels.get_mut(&id).filter(|own| own.progress == Progress::Wanted) else { return };
        own.progress = Progress::Offered;
        let channel = own.channel.clone();
        let Some(peer) = &mut self.peer else { return };
        let opened = peer.library.open_stream(id, Kind::Binary).is_ok();
        let said = write_open(&channel).filter(|_| opened);
        self.set_delivery(id, &channel);
        if !said.is_some_and(|said| self.write(now, id, Kind::Dcep, &said)) {
            self.on_reset(id);
        }
    }

    fn set_delivery(&mut self, id: u16, channel: &Channel) {
        let Some(peer) = &mut self.peer else { return };
        peer.guard.set_unordered(id, !channel.ordered);
        let (unordered, kind, value) = delivery(channel);
        if let Ok(mut stream) = peer.library.stream(id) {
            // It fails only without a stream.
            let _ = stream.set_reliability_params(unordered, kind, value);
        }
    }

    fn write(&mut self, now: Instant, id: u16, kind: Kind, bytes: &Bytes) -> bool {
        let Some(peer) = &mut self.peer else { return false };
        let written = peer.library.stream(id).and_then(|mut stream| stream.write_sctp(now, bytes, kind));
        let written = written.unwrap_or(0);
        self.on_its_way.sent(id, written);
        written > 0
    }

    fn reset(&mut self, now: Instant, id: u16) {
        if let Some(peer) = &mut self.peer
            && let Ok(mut stream) = peer.library.stream(id)
        {
            // It fails only where nothing can be sent any more.
            let _ = stream.close(now);
        }
    }

    fn is_free(&self, id: u16) -> bool {
        let known = self.peer.as_ref().is_some_and(|peer| peer.library.stream_ids().contains(&id));
        !known && !self.channels.contains_key(&id)
    }

    /// The peer broke the rules: nothing more is read of it.
    fn break_off(&mut self, now: Instant) {
        self.counters.violations += 1;
        self.abort(now);
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.counters = self.counters();
        self.peer = None;
        self.on_its_way = OnItsWay::default();
        let closed = std::mem::take(&mut self.channels);
        self.events.extend(closed.into_keys().map(|id| DataEvent::Closed(StreamId(id))));
    }
}

/// What is on its way, at most, before the next message is sent, as [`OnItsWay`] counts it.
const WRITE_AHEAD: usize = 64 * 1024;
