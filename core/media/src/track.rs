//! A published track: its encodings, its viewers, its recording.
//!
//! Packets of one publisher come in here and leave for everybody who may have them; what is needed of the publisher is gathered.

mod layers;
mod piping;
mod serving;
mod showing;
mod steering;

use std::time::{Duration, Instant};

use lockgate_model::carrier::{NodeTime, TrackNumber};
use lockgate_model::{Bitrate, Frames, Layer, Limits, MediaKind, TrackId};
use lockgate_rtp::{Header, SenderInfo, write};
use lockgate_transport::sdp::{CodecLine, ExtensionMap, MAX_RIDS};

use crate::arena::{Arena, Key, KeySet};
use crate::egress::Egress;
use crate::encoding::{Encoding, Reading, Received};
use crate::meter::Meter;
use crate::packet::Packet;
use crate::pending::Pending;
use crate::pipe::{Announced, Pipes};
use crate::policer::Policer;
use crate::replay::Replay;
use crate::stats::{Counters, DropReason};
use crate::steering::Steering;
use crate::subscription::Subscription;
use crate::tap::{Tap, Tapped};
use crate::transport::Transport;

pub(crate) use piping::Feed;

/// A published track.
pub(crate) struct Track {
    pub(crate) id: TrackId,
    pub(crate) router: Key,
    pub(crate) feed: Feed,
    pub(crate) codec: CodecLine,
    pub(crate) encodings: Vec<Encoding>,
    pub(crate) subscriptions: Vec<Subscription>,
    ids: ExtensionMap,
    muted: bool,
    policer: Option<Policer>,
    tap: Option<Tap>,
    meter: Meter,
    pending: Pending,
    /// The engines that were told of it.
    told: Vec<piping::Told>,
    remote: piping::Remote,
    /// Whether some viewer's layer may have changed.
    changed: bool,
    steering: Steering,
    /// Bits a second that each encoding had when it came.
    known: [u64; MAX_RIDS],
    /// Whether something else may be wanted of the publisher.
    is_steered_anew: bool,
}

/// Where packets go: everything that a track does not own.
pub(crate) struct Onward<'a> {
    pub(crate) now: Instant,
    pub(crate) at: NodeTime,
    pub(crate) transports: &'a mut Arena<Transport>,
    /// Transports over which packets wait to leave.
    pub(crate) holding: &'a mut KeySet,
    pub(crate) egress: &'a mut Egress,
    pub(crate) counters: &'a mut Counters,
    pub(crate) recorder: &'a mut Replay,
    pub(crate) pipes: &'a mut Pipes,
}

impl Track {
    pub(crate) fn new(
        now: Instant,
        id: TrackId,
        router: Key,
        feed: Feed,
        codec: CodecLine,
        ids: ExtensionMap,
        encodings: u8,
    ) -> Self {
        let keep = if codec.codec.kind() == MediaKind::Video { KEEP } else { KEEP_SOUND };
        let encodings = (0..encodings.max(1)).map(|index| Encoding::new(now, index, keep)).collect();
        Self {
            id,
            router,
            feed,
            codec,
            encodings,
            subscriptions: Vec::new(),
            ids,
            muted: false,
            policer: None,
            tap: None,
            meter: Meter::default(),
            pending: Pending::default(),
            told: Vec::new(),
            remote: piping::Remote::default(),
            changed: false,
            steering: Steering::all(),
            known: [0; MAX_RIDS],
            is_steered_anew: true,
        }
    }

    /// A track of another engine.
    pub(crate) fn announced(now: Instant, router: Key, feed: Feed, announced: &Announced<'_>) -> Self {
        let (id, codec) = (announced.id.clone(), announced.codec_line());
        let mut track = Self::new(now, id, router, feed, codec, announced.ids, announced.encodings);
        track.muted = announced.muted;
        track
    }

    pub(crate) fn kind(&self) -> MediaKind {
        self.codec.codec.kind()
    }

    /// Its name, and what came of each encoding in the last second, the smallest first, in bit/s.
    pub(crate) fn measured(&mut self, now: Instant) -> (TrackId, Vec<u64>) {
        (self.id.clone(), self.encodings.iter_mut().map(|encoding| encoding.measured(now)).collect())
    }

    /// Takes a packet that is decrypted; viewers get it with [`Self::forward`]. `repaired`: the publisher sent it again, by a source that
    /// it has for this.
    pub(crate) fn receive(
        &mut self,
        onward: &mut Onward<'_>,
        index: usize,
        header: Header,
        bytes: &[u8],
        repaired: bool,
    ) {
        let refused = self.refuses(onward.now, bytes.len());
        let reading = Reading { codec: self.codec.codec, ids: &self.ids, repairs: self.repairs(), muted: self.muted };
        let Some(encoding) = self.encodings.get_mut(index) else { return };
        let number = encoding.number(header.sequence);
        if let Some(reason) = refused {
            // It has its number: it came, and would be refused again.
            if encoding.pass_over(onward.now, number, reading) {
                self.record_losses(onward.recorder, index, &[(number, number)]);
            }
            return onward.counters.drop(reason);
        }
        let was_alive = encoding.is_alive(onward.now);
        let repaired = repaired || encoding.was_asked_for(number);
        let received = encoding.receive(onward.now, number, header, bytes, reading, repaired);
        if let Received::Packet(..) = &received {
            onward.counters.packets_in += 1;
            onward.counters.bytes_in += bytes.len() as u64;
            if !was_alive && self.encodings[index].is_alive(onward.now) {
                self.aim(onward.now);
                self.tell_rates(onward.now, onward.pipes, onward.counters);
            }
            if let Some(allocation) = self.allocation_in(&header, bytes) {
                self.take_allocation(onward, index, &allocation);
            }
        }
        self.take(onward, index, bytes, received);
    }

    /// Why a packet of this many bytes is not let on, if so.
    fn refuses(&mut self, now: Instant, bytes: usize) -> Option<DropReason> {
        if bytes > MAX_PACKET {
            return Some(DropReason::TooLong);
        }
        let admitted = self.policer.as_mut().is_none_or(|policer| policer.admits(now, bytes));
        (!admitted).then_some(DropReason::OverBitrate)
    }

    fn take(&mut self, onward: &mut Onward<'_>, index: usize, bytes: &[u8], received: Received<'_>) {
        match received {
            Received::Dropped(reason) => onward.counters.drop(reason),
            _ if self.muted => onward.counters.drop(DropReason::Muted),
            Received::Padding(number) => {
                onward.counters.drop(DropReason::Padding);
                self.pipe(onward, index, number, bytes);
                self.pending.push_nothing(self.encodings[index].origin(), number);
            }
            Received::Packet(packet, refused) => {
                if refused.is_some() {
                    onward.counters.drop(DropReason::Descriptor);
                }
                self.pipe(onward, index, packet.number, bytes);
                self.take_packet(onward, index, &packet);
            }
        }
    }

    fn take_packet(&mut self, onward: &mut Onward<'_>, index: usize, packet: &Packet<'_>) {
        let key = self.kind() == MediaKind::Audio || packet.facts.key_frame;
        if self.is_home()
            && let Some(level) = packet.audio_level()
        {
            self.meter.note(level, packet.header.timestamp, self.codec.codec.clock_rate());
        }
        self.record_packet(onward, index, packet, key);
        self.pending.push(self.encodings[index].origin(), packet, key);
    }

    fn record_packet(&mut self, onward: &mut Onward<'_>, index: usize, packet: &Packet<'_>, key: bool) {
        let target = self.highest_alive(onward.now);
        let Some(tap) = &mut self.tap else { return };
        let tapped = Tapped { packet, encodings: &self.encodings, index, target, key };
        if let Err(reason) = tap.take(onward.recorder, onward.at, &tapped) {
            onward.counters.drop(reason);
        }
    }

    /// A sender report of an encoding: viewers and the recorder need it to bring sound and picture together.
    pub(crate) fn receive_report(&mut self, onward: &mut Onward<'_>, index: usize, info: SenderInfo) {
        let Some(encoding) = self.encodings.get_mut(index) else { return };
        encoding.note_sender(onward.now, info);
        let origin = encoding.origin();
        if let Some(tap) = &self.tap {
            tap.take_report(onward.recorder, onward.at, origin, info);
        }
        self.pipe_report(onward, origin, info);
        for subscription in &self.subscriptions {
            let Some(report) = subscription.sender_report(origin, info) else { continue };
            let transport = onward.transports.get_mut(subscription.transport);
            if let Some(mut outlet) = transport.and_then(|transport| transport.connection.outlet()) {
                onward.egress.send_rtcp(&mut outlet, |out| write::sender_report(out, report, &subscription.stream));
            }
        }
    }

    // Viewers.

    /// Chooses an encoding for every viewer, and asks for the key frames that this needs.
    pub(crate) fn aim(&mut self, now: Instant) {
        for place in 0..self.subscriptions.len() {
            self.aim_one(now, place);
            // What it gets may have come to an end by itself.
            self.subscriptions[place].is_stirred = true;
        }
        self.changed = true;
        self.want_key_for_tap(now);
    }

    fn aim_one(&mut self, now: Instant, place: usize) {
        let Subscription { limits, ceiling, .. } = self.subscriptions[place];
        let aim = ceiling.filter(|_| !limits.waits).and_then(|ceiling| self.choose(now, place, ceiling));
        let allowed = self.allowed(place);
        let subscription = &mut self.subscriptions[place];
        self.is_steered_anew = true;
        if subscription.aim(aim, |encoding, spatial| allowed.size(encoding, spatial))
            && let Some(encoding) = aim.and_then(|aim| self.encodings.get_mut(usize::from(aim.encoding)))
            && subscription.is_agreed()
            // One that may have none now gets its turn when it is aimed again.
            && (encoding.keys.is_wanted() || subscription.demands.may_have_key(now))
        {
            encoding.keys.want();
        }
    }

    /// The limits of a viewer; what they forbid ends here. True if that is what it was being sent, or if it comes to rest by them: then
    /// what it was sent may still be on its way, though it ended before for another reason.
    pub(crate) fn set_limits(&mut self, now: Instant, transport: Key, limits: Limits) -> bool {
        let Some(place) = self.place_of(transport) else { return false };
        let subscription = &mut self.subscriptions[place];
        let was_sent = subscription.sent_encoding().is_some();
        let comes_to_rest = limits.is_at_rest() && !subscription.limits.is_at_rest();
        subscription.set_limits(limits);
        self.aim_one(now, place);
        comes_to_rest || was_sent && self.subscriptions[place].sent_encoding().is_none()
    }

    /// What a viewer's link has room for; none: not even the lowest encoding. True if that is something else than before.
    pub(crate) fn set_ceiling(&mut self, now: Instant, transport: Key, ceiling: Option<Layer>) -> bool {
        let place = self.place_of(transport).filter(|place| self.subscriptions[*place].ceiling != ceiling);
        if let Some(place) = place {
            self.subscriptions[place].ceiling = ceiling;
            self.subscriptions[place].is_stirred = true;
            self.aim_one(now, place);
        }
        place.is_some()
    }

    /// A viewer's connection has come up, or it agreed to other formats: it needs a key frame.
    pub(crate) fn start_for(&mut self, now: Instant, transport: Key) {
        if let Some(place) = self.place_of(transport) {
            self.aim_one(now, place);
        }
    }

    /// A viewer lost the picture. False: it says so more often than can be.
    pub(crate) fn want_key_for(&mut self, now: Instant, transport: Key) -> bool {
        let Some(place) = self.place_of(transport) else { return true };
        let subscription = &mut self.subscriptions[place];
        let wanted = subscription.encoding_to_repair().and_then(|index| self.encodings.get_mut(usize::from(index)));
        let Some(encoding) = wanted else { return true };
        let may = encoding.keys.is_wanted() || subscription.demands.may_have_key(now);
        if may {
            encoding.keys.want();
        }
        may
    }

    pub(crate) fn subscription_mut(&mut self, transport: Key) -> Option<&mut Subscription> {
        let place = self.place_of(transport)?;
        self.subscriptions.get_mut(place)
    }

    /// What it was sent as comes back: what it has asked for counts if it returns.
    pub(crate) fn unsubscribe(&mut self, transport: Key) -> Option<Subscription> {
        self.is_steered_anew = true;
        let place = self.place_of(transport)?;
        Some(self.subscriptions.remove(place))
    }

    // The publisher.

    /// Whether [`Self::take_heard`] may have something that it had not at the last call of this.
    pub(crate) fn begins_to_be_heard(&mut self) -> bool {
        self.meter.take_fresh()
    }

    /// How loud it was since the last call; none: silent.
    pub(crate) fn take_heard(&mut self) -> Option<Frames> {
        self.meter.take()
    }

    /// The most that the publisher may send.
    pub(crate) fn set_max_bitrate(&mut self, now: Instant, limit: Option<Bitrate>) {
        self.policer = limit.map(|limit| Policer::new(now, limit));
    }

    /// See [`Self::set_max_bitrate`].
    pub(crate) fn max_bitrate(&self) -> Option<Bitrate> {
        self.policer.as_ref().map(Policer::limit)
    }

    pub(crate) fn is_muted(&self) -> bool {
        self.muted
    }

    /// Nobody is sent what comes while it is muted, nor can ask for it later. Viewers and recorder go on where a decoder can.
    pub(crate) fn set_muted(&mut self, muted: bool) {
        match (std::mem::replace(&mut self.muted, muted), muted) {
            (false, true) => {
                self.subscriptions.iter_mut().for_each(Subscription::close);
                self.tap.iter_mut().for_each(Tap::pause);
                self.meter.reset();
                for encoding in &mut self.encodings {
                    encoding.rest();
                    encoding.forget();
                }
            }
            (true, false) => self.encodings.iter_mut().for_each(|encoding| encoding.keys.want()),
            _ => {}
        }
        self.stir();
        self.is_steered_anew = true;
    }

    /// Whether the publisher repeats packets on request: by a source of its own (RFC 4588), or as they were.
    pub(crate) fn repairs(&self) -> bool {
        self.codec.feedback.nack
    }

    /// When something is due of an encoding.
    pub(crate) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        self.encodings.iter().filter_map(|encoding| encoding.next_timeout(now)).min()
    }

    /// When its publisher is to be asked for something next. An encoding that it does not send, or not yet, cannot be asked for.
    pub(crate) fn next_repair(&self, now: Instant) -> Option<Instant> {
        let sent = self.encodings.iter().filter(|encoding| encoding.ssrc.is_some());
        sent.filter_map(|encoding| encoding.next_timeout(now)).min()
    }

    /// The packets that the recorder need not wait for.
    pub(crate) fn record_losses(&self, out: &mut Replay, index: usize, lost: &[(u64, u64)]) {
        if let (Some(tap), Some(encoding)) = (&self.tap, self.encodings.get(index)) {
            tap.take_losses(out, encoding.origin(), lost);
        }
    }

    // The recorder.

    pub(crate) fn record(&mut self, now: Instant, number: TrackNumber) {
        self.tap = Some(Tap::new(number));
        self.is_steered_anew = true;
        self.want_key_for_tap(now);
    }

    pub(crate) fn record_no_more(&mut self, out: &mut Replay, at: NodeTime) {
        if let Some(tap) = self.tap.take() {
            tap.end(out, at);
        }
    }

    /// The recorder lost the picture.
    pub(crate) fn want_key_for_recorder(&mut self, now: Instant) {
        let target = usize::from(self.highest_alive(now));
        self.encodings[target].keys.want();
    }

    fn want_key_for_tap(&mut self, now: Instant) {
        let target = usize::from(self.highest_alive(now));
        if self.kind() == MediaKind::Video
            && self.tap.as_ref().is_some_and(|tap| tap.wants_key_of(self.encodings[target].origin()))
        {
            self.encodings[target].keys.want();
        }
    }

    fn highest_alive(&self, now: Instant) -> u8 {
        self.encodings.iter().rposition(|encoding| encoding.is_alive(now)).unwrap_or(0) as u8
    }

    fn place_of(&self, transport: Key) -> Option<usize> {
        self.subscriptions.iter().position(|subscription| subscription.transport == transport)
    }
}

/// A viewer asks again after a round trip or a few; what is older would come too late for its decoder.
const KEEP: Duration = Duration::from_millis(1500);
const KEEP_SOUND: Duration = Duration::from_millis(200);
/// No network carries more in one piece.
const MAX_PACKET: usize = 1500;
