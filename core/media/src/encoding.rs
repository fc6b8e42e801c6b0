//! One encoding of a track, as its publisher sends it.

use std::time::{Duration, Instant};

use lockgate_model::Codec;
use lockgate_rtp::{Arrived, DescriptorError, Header, LayerReader, LayersAllocation, PacketFacts, SenderInfo};
use lockgate_transport::nack::{Due, Missing};
use lockgate_transport::sdp::ExtensionMap;

use crate::key_frames::KeyFrames;
use crate::layer_rates::LayerRates;
use crate::numbers::Origin;
use crate::packet::{Packet, Passed};
use crate::quality::Totals;
use crate::rate::RateMeter;
use crate::receive::Receive;
use crate::ring::Ring;
use crate::stats::DropReason;

/// One encoding.
pub(crate) struct Encoding {
    pub(crate) ssrc: Option<u32>,
    pub(crate) rtx_ssrc: Option<u32>,
    pub(crate) keys: KeyFrames,
    pub(crate) ring: Ring,
    meter: RateMeter,
    pub(crate) layers: LayerReader,
    pub(crate) layer_rates: LayerRates,
    /// How its publisher counts it among the track's, where that is told.
    stream: Option<u8>,
    off: Off,
    /// A key frame was asked for as descriptors cannot be read without one.
    unread: bool,
    keep: Duration,
    origin: Origin,
    receive: Receive,
    missing: Missing,
    last_packet: Option<Instant>,
    start: Instant,
    /// Bytes that came, packets that came when they were asked for again, and what there was before the source changed.
    octets: u64,
    repaired: u64,
    before: Totals,
    /// It was not wanted for a while: what did not come then is not missing.
    resumed: bool,
}

/// Whether its publisher says that it sends nothing.
#[derive(Clone, Copy, Default)]
struct Off {
    said: bool,
    /// What holds, and since when. Each turn moves all viewers, so a publisher that turns it with every packet is followed later.
    holds: bool,
    since: Option<Instant>,
}

/// How a track's packets are to be read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) codec: Codec,
    pub(crate) ids: &'a ExtensionMap,
    /// Whether the publisher repeats packets on request.
    pub(crate) repairs: bool,
    /// Whether nobody may have them: they only count.
    pub(crate) muted: bool,
}

/// What came of a packet.
pub(crate) enum Received<'a> {
    /// It is to be handed on. Why its dependency descriptor is not, if so.
    Packet(Packet<'a>, Option<DescriptorError>),
    /// Nothing but padding, under this number.
    Padding(u64),
    Dropped(DropReason),
}

impl Encoding {
    /// `keep`: for how long viewers may ask for its packets again.
    pub(crate) fn new(now: Instant, index: u8, keep: Duration) -> Self {
        Self {
            ssrc: None,
            rtx_ssrc: None,
            keys: KeyFrames::default(),
            ring: Ring::new(keep),
            keep,
            meter: RateMeter::new(now),
            layers: LayerReader::default(),
            layer_rates: LayerRates::new(now),
            stream: None,
            off: Off::default(),
            unread: false,
            origin: Origin { encoding: index, life: 0 },
            receive: Receive::new(),
            missing: Missing::default(),
            last_packet: None,
            start: now,
            octets: 0,
            repaired: 0,
            before: Totals::default(),
            resumed: false,
        }
    }

    /// The publisher sends it under this source from now on. Another one than before is another count of everything.
    pub(crate) fn bind(&mut self, ssrc: u32) {
        if self.ssrc.replace(ssrc).is_some_and(|before| before != ssrc) {
            self.begin_anew(self.origin.life + 1);
            self.rtx_ssrc = None;
            self.keys.want();
        }
    }

    /// It comes over a pipe, where another engine says which life of it this is. False: one that is over.
    pub(crate) fn go_on(&mut self, life: u32) -> bool {
        if life > self.origin.life {
            self.begin_anew(life);
        }
        life == self.origin.life
    }

    /// Nobody here wants it any more, or may have it, for now.
    pub(crate) fn rest(&mut self) {
        self.missing = Missing::default();
        self.keys.satisfied();
        self.resumed = true;
    }

    /// There is nobody left who could ask for its packets again.
    pub(crate) fn forget(&mut self) {
        self.ring = Ring::new(self.keep);
    }

    fn begin_anew(&mut self, life: u32) {
        self.before = Totals { bytes: 0, ..self.totals() };
        self.repaired = 0;
        self.origin.life = life;
        self.receive = Receive::new();
        self.missing = Missing::default();
        self.ring = Ring::new(self.keep);
        self.layers = LayerReader::default();
    }

    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    pub(crate) fn sender(&self) -> Option<SenderInfo> {
        self.receive.sender()
    }

    pub(crate) fn note_sender(&mut self, now: Instant, info: SenderInfo) {
        self.receive.note_sender(now, info);
    }

    /// Its publisher tells what it spends on which layer: on this one's own packets, or on another's of the track. True: it is alive
    /// no more, or again.
    pub(crate) fn take_allocation(&mut self, now: Instant, allocation: &LayersAllocation, own: bool) -> bool {
        if own {
            self.stream = Some(allocation.stream);
        }
        let Some(stream) = self.stream else { return false };
        self.layer_rates.tell(allocation.layers(stream));
        self.off.said = !allocation.is_sent(stream);
        self.off.settle(now)
    }

    /// True: what its publisher said lately is to hold by now, so that it is alive no more, or again.
    pub(crate) fn settle(&mut self, now: Instant) -> bool {
        self.off.settle(now)
    }

    /// How many bits came of it in the last second.
    pub(crate) fn measured(&mut self, now: Instant) -> u64 {
        self.meter.rate(now).0
    }

    /// How many bits a second it has: what came, or what its publisher says while that was not measured yet.
    pub(crate) fn rate(&mut self, now: Instant) -> u64 {
        match self.measured(now) {
            0 => self.layer_rates.told(),
            measured => measured,
        }
    }

    /// Whether packets came lately, and its publisher does not say that it sends none.
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        !self.off.holds && self.last_packet.is_some_and(|last| now.duration_since(last) < ALIVE)
    }

    /// Takes a packet by its extended number. `repaired`: it was asked for again.
    pub(crate) fn receive<'a>(
        &mut self,
        now: Instant,
        number: u64,
        header: Header,
        bytes: &'a [u8],
        reading: Reading<'_>,
        repaired: bool,
    ) -> Received<'a> {
        let late = self.receive.highest().is_some_and(|highest| number < highest);
        if !self.pass_over(now, number, reading) {
            return Received::Dropped(DropReason::Duplicate);
        }
        let Ok(payload) = header.payload(bytes) else { return Received::Dropped(DropReason::Malformed) };
        self.last_packet = Some(now);
        self.meter.note(now, bytes.len());
        if !late {
            self.off.comes(now);
        }
        self.octets += bytes.len() as u64;
        self.repaired += u64::from(repaired);
        if !repaired {
            self.receive.note_time(now.duration_since(self.start), header.timestamp, reading.codec.clock_rate());
        }
        if payload.is_empty() {
            return Received::Padding(number);
        }
        let passed = Passed::find(&header, bytes, reading.ids);
        let (descriptor, marker) = (passed.descriptor(bytes), header.marker);
        let arrived = Arrived { codec: reading.codec, payload: &bytes[payload.clone()], descriptor, marker, late };
        let (facts, refused) = self.layers.read(arrived);
        self.note_facts(now, header.timestamp, &facts, bytes.len());
        self.note_refusal(descriptor.is_some(), refused);
        let passed = if refused.is_some() { passed.without_descriptor() } else { passed };
        let packet = Packet { number, header, facts, payload, passed, bytes };
        if !reading.muted {
            self.ring.keep(now, &packet);
        }
        Received::Packet(packet, refused)
    }

    /// Notes that a packet came, which may be all: then it is neither kept nor missing. False: it came before.
    pub(crate) fn pass_over(&mut self, now: Instant, number: u64, reading: Reading<'_>) -> bool {
        let highest = self.receive.highest().filter(|_| !std::mem::take(&mut self.resumed));
        let new = self.receive.note(number);
        if new && reading.repairs && !reading.muted && self.missing.note(now, number, highest) {
            self.keys.want();
        }
        new
    }

    /// Whether a packet that is sent again was missing at all: most are a browser probing the network.
    pub(crate) fn is_missing(&self, sequence: u16) -> bool {
        self.missing.has(self.number(sequence))
    }

    /// Whether a missing packet has been asked for.
    pub(crate) fn was_asked_for(&self, number: u64) -> bool {
        self.missing.was_asked_for(number)
    }

    /// The extended number that a sequence number would have.
    pub(crate) fn number(&self, sequence: u16) -> u64 {
        self.receive.peek(sequence)
    }

    /// What is to be asked for again.
    pub(crate) fn poll_missing(&mut self, now: Instant) -> Due {
        self.missing.poll(now)
    }

    /// What came since it began. What had to be asked for again was lost at first.
    pub(crate) fn totals(&self) -> Totals {
        let (expected, received) = self.receive.counted();
        let came = received.saturating_sub(self.repaired);
        let lost = expected.saturating_sub(came);
        Totals { bytes: self.octets, came: self.before.came + came, lost: self.before.lost + lost }
    }

    /// The report for the publisher.
    pub(crate) fn report(&mut self, now: Instant) -> Option<lockgate_rtp::ReportBlock> {
        self.receive.report(now, self.ssrc?)
    }

    pub(crate) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        self.missing.next_timeout().into_iter().chain(self.keys.next_timeout(now)).chain(self.off.next_timeout()).min()
    }

    fn note_facts(&mut self, now: Instant, timestamp: u32, facts: &PacketFacts, bytes: usize) {
        self.layer_rates.note(now, timestamp, facts, bytes);
        if facts.key_frame {
            self.keys.satisfied();
        }
        if self.layers.take_lost() {
            self.keys.want();
        }
    }

    /// Without the structure nobody's layers can be chosen: a key frame brings it. One that does not is not asked for again.
    fn note_refusal(&mut self, described: bool, refused: Option<DescriptorError>) {
        let unread = matches!(refused, Some(DescriptorError::NoStructure | DescriptorError::Template));
        if unread && !self.unread {
            self.keys.want();
        }
        self.unread = if described { unread } else { self.unread };
    }
}

impl Off {
    /// True: it holds from now on.
    fn settle(&mut self, now: Instant) -> bool {
        let settles = self.said != self.holds && !self.is_fresh(now);
        if settles {
            (self.holds, self.since) = (self.said, Some(now));
        }
        settles
    }

    /// A packet came, which says more than words, unless it was on its way when they were said.
    fn comes(&mut self, now: Instant) {
        if self.holds && !self.is_fresh(now) {
            *self = Self { said: false, holds: false, since: Some(now) };
        }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.duration_since(since) < TURN)
    }

    /// When what was said is to hold.
    fn next_timeout(&self) -> Option<Instant> {
        self.since.filter(|_| self.said != self.holds).map(|since| since + TURN)
    }
}

/// An encoder that was told of less room does not change its mind faster.
const TURN: Duration = Duration::from_millis(300);
/// A screen that stands still sends little; a camera's encoding that is silent for so long is off.
const ALIVE: Duration = Duration::from_secs(3);
