//! One viewer of one track: which encoding it gets, and how the stream's numbers look to it.

use std::time::{Duration, Instant};

use lockgate_model::{Codec, Limits, MediaKind};
use lockgate_rtp::{SenderInfo, Vp8Fields};

use crate::arena::Key;
use crate::egress::Outgoing;
use crate::link::Way;
use crate::numbers::{FIRST, Numbers, Origin, Segment};
use crate::packet::Packet;
use crate::stats::DropReason;
use crate::template::{Head, Template};
use crate::told::Told;

/// How a viewer is sent a track, as negotiated.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) payload_type: u8,
    pub(crate) rtx: Option<(u32, u8)>,
    pub(crate) template: Template,
}

/// One viewer of one track.
pub(crate) struct Subscription {
    /// The viewer's transport.
    pub(crate) transport: Key,
    /// What the viewer brings sound and picture together by.
    pub(crate) stream: Box<str>,
    pub(crate) ssrc: u32,
    pub(crate) limits: Limits,
    clock_rate: u32,
    /// None until the viewer has agreed.
    format: Option<Format>,
    numbers: Numbers,
    /// The highest encoding that the viewer's link has room for; none: not even the lowest.
    pub(crate) ceiling: Option<u8>,
    /// The encoding that is wanted; none: nothing is to be sent.
    target: Option<u8>,
    /// Whether the numbering's current origin is being sent.
    open: bool,
    temporal: u8,
    last: Option<Sent>,
    picture: Option<(u16, u8)>,
    left_out: Option<u16>,
    /// How many retransmissions there were, from a number on that is drawn.
    repeated: u64,
    packets: u32,
    octets: u32,
    /// What the viewer was told of what it gets, and whether that may be something else by now.
    pub(crate) told: Told,
    pub(crate) is_stirred: bool,
    /// Since when repairs are counted, and how many there were.
    repairs: (Instant, u32),
}

#[derive(Clone, Copy)]
struct Sent {
    timestamp: u32,
    at: Instant,
}

/// A packet that is a viewer's turn.
pub(crate) struct Next<'a> {
    pub(crate) packet: &'a Packet<'a>,
    /// A decoder may begin with it; every packet of sound is such.
    pub(crate) key: bool,
    /// Bytes that make it as long as those that it leaves with.
    pub(crate) padding: u8,
}

/// What must be known of an encoding to go on with it.
pub(crate) struct Source<'a> {
    pub(crate) origin: Origin,
    pub(crate) sender: Option<SenderInfo>,
    /// The last report of another encoding of the track.
    pub(crate) sender_of: &'a dyn Fn(u8) -> Option<SenderInfo>,
}

impl Subscription {
    pub(crate) fn new(
        now: Instant,
        transport: Key,
        stream: String,
        ssrc: u32,
        random: u32,
        codec: Codec,
        limits: Limits,
    ) -> Self {
        Self {
            transport,
            stream: stream.into(),
            ssrc,
            limits,
            clock_rate: codec.clock_rate(),
            format: None,
            // Below half: a peer that sees the first packets out of order must not take them for a wrap (RFC 3711 §3.3.1).
            numbers: Numbers::new(random as u16 & 0x7fff),
            ceiling: Some(u8::MAX),
            target: None,
            open: false,
            temporal: limits.max_layer.temporal,
            last: None,
            picture: None,
            left_out: None,
            repeated: u64::from(random >> 16 & 0x7fff),
            packets: 0,
            octets: 0,
            told: if codec.kind() == MediaKind::Audio { Told::of_sound() } else { Told::default() },
            is_stirred: false,
            repairs: (now, 0),
        }
    }

    /// The viewer agreed, or (with none) refused.
    pub(crate) fn set_format(&mut self, format: Option<Format>) {
        if format.is_none() {
            self.close();
        }
        self.is_stirred = true;
        self.format = format;
    }

    /// Nothing is sent until a decoder can begin: what is left out meanwhile has no place in the viewer's numbers.
    pub(crate) fn close(&mut self) {
        self.open = false;
        self.is_stirred = true;
    }

    pub(crate) fn is_agreed(&self) -> bool {
        self.format.is_some()
    }

    /// Takes other limits. What they forbid ends with the next packet; what they allow begins where a decoder can follow.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.is_stirred = true;
        if limits.max_layer.temporal < self.temporal {
            self.temporal = limits.max_layer.temporal;
        }
    }

    /// Chooses an encoding. True if a key frame of it is needed now.
    pub(crate) fn aim(&mut self, target: Option<u8>, allowed: impl Fn(u8) -> bool) -> bool {
        self.is_stirred |= self.target != target;
        self.target = target;
        let current = self.current().filter(|_| self.open);
        if target.is_none() || current.is_some_and(|origin| !allowed(origin.encoding)) {
            self.close();
        }
        self.wanted().is_some()
    }

    /// The encoding whose next key frame is waited for.
    pub(crate) fn wanted(&self) -> Option<u8> {
        let current = self.current().filter(|_| self.open).map(|origin| origin.encoding);
        self.target.filter(|target| current != Some(*target))
    }

    /// The encoding that was chosen.
    pub(crate) fn target(&self) -> Option<u8> {
        self.target
    }

    /// The encoding that is being sent.
    pub(crate) fn sent_encoding(&self) -> Option<u8> {
        self.current().filter(|_| self.open).map(|origin| origin.encoding)
    }

    /// The encoding that a lost picture is to be repaired of.
    pub(crate) fn encoding_to_repair(&self) -> Option<u8> {
        self.sent_encoding().or(self.target)
    }

    /// Whether packets of an encoding are of any use: they are sent, or one of them may be the first that is.
    pub(crate) fn uses(&self, encoding: u8) -> bool {
        self.target == Some(encoding) || self.sent_encoding() == Some(encoding)
    }

    /// Sends a packet of an encoding, or says why not.
    pub(crate) fn forward(
        &mut self,
        now: Instant,
        next: &Next<'_>,
        source: &Source<'_>,
        way: &mut Way<'_>,
    ) -> Result<usize, DropReason> {
        let packet = next.packet;
        self.select(now, packet, source, next.key)?;
        let format = self.format.as_ref().ok_or(DropReason::NotConnected)?;
        let ahead = self.numbers.is_ahead(packet.number);
        let (number, segment) = self.numbers.map(packet.number).ok_or(DropReason::Duplicate)?;
        let timestamp = packet.header.timestamp.wrapping_add(segment.timestamp);
        let head = Head {
            marker: packet.header.marker,
            padded: next.padding > 0,
            payload_type: format.payload_type,
            sequence: number as u16,
            timestamp,
            ssrc: self.ssrc,
            wide: 0,
        };
        let (template, padding) = (&format.template, next.padding);
        let outgoing = Outgoing { packet, template, head, index: number - FIRST, before: &[], padding };
        let renumbered = renumber(packet, &segment);
        let edit = |payload: &mut [u8]| rewrite(payload, renumbered);
        let len = way.send(now, outgoing, edit).map_err(|_| DropReason::NotConnected)?;
        if let Some((_, picture, tl0)) = renumbered.filter(|_| ahead) {
            self.picture = Some((picture, tl0));
        }
        if self.last.is_none_or(|last| timestamp.wrapping_sub(last.timestamp).cast_signed() >= 0) {
            self.last = Some(Sent { timestamp, at: now });
        }
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(packet.payload.len() as u32);
        Ok(len)
    }

    /// A packet of nothing but padding: the viewer's numbers close over it.
    pub(crate) fn skip(&mut self, origin: Origin, number: u64) {
        if self.open && self.current() == Some(origin) {
            self.numbers.skip(number, false);
        }
    }

    /// Whether a packet is sent, with a change of encoding if it is the place for one.
    fn select(&mut self, now: Instant, packet: &Packet<'_>, source: &Source<'_>, key: bool) -> Result<(), DropReason> {
        if self.format.is_none() {
            return Err(DropReason::NotConnected);
        }
        let Some(target) = self.target else { return Err(DropReason::Paused) };
        let origin = source.origin;
        let sending = self.open && self.current() == Some(origin);
        if !sending {
            return match (origin.encoding == target, key) {
                (true, true) => {
                    self.begin(now, packet, source);
                    Ok(())
                }
                (true, false) => Err(DropReason::AwaitingKeyFrame),
                _ => Err(DropReason::Layer),
            };
        }
        if packet.facts.switch_up || packet.facts.key_frame {
            self.temporal = self.limits.max_layer.temporal;
        }
        if packet.facts.temporal > self.temporal {
            // Of one that comes late the place is taken already.
            if self.numbers.is_ahead(packet.number) {
                let picture = packet.facts.vp8.and_then(|fields| fields.picture_id);
                let new_picture = picture.is_some() && self.left_out != picture;
                self.left_out = picture;
                self.numbers.skip(packet.number, new_picture);
            }
            return Err(DropReason::Layer);
        }
        Ok(())
    }

    /// Goes on with an encoding, from this packet on.
    fn begin(&mut self, now: Instant, packet: &Packet<'_>, source: &Source<'_>) {
        let timestamp = self.timestamp_offset(now, packet, source);
        let (picture, tl0) = match (packet.facts.vp8, self.picture) {
            (Some(fields), Some((picture, tl0))) => (
                picture.wrapping_add(1).wrapping_sub(fields.picture_id.unwrap_or(0)),
                tl0.wrapping_add(1).wrapping_sub(fields.tl0.unwrap_or(0)),
            ),
            _ => (0, 0),
        };
        self.numbers.switch(source.origin, packet.number, timestamp, picture, tl0);
        self.open = true;
        self.left_out = None;
        self.temporal = self.limits.max_layer.temporal;
        self.is_stirred = true;
    }

    /// By how much timestamps of the new encoding move, so that pictures keep their time.
    fn timestamp_offset(&self, now: Instant, packet: &Packet<'_>, source: &Source<'_>) -> u32 {
        let Some(last) = self.last else { return 0 };
        let before = self.numbers.current().and_then(|segment| {
            let same_life = segment.origin.encoding != source.origin.encoding;
            Some((segment.timestamp, (source.sender_of)(segment.origin.encoding).filter(|_| same_life)?))
        });
        let exact = match (before, source.sender) {
            (Some((offset, old)), Some(new)) => {
                // Both reports tell a moment of the publisher's clock: RFC 3550 §6.4.1.
                let apart = new.ntp.wrapping_sub(old.ntp).cast_signed();
                let ticks = (i128::from(apart) * i128::from(self.clock_rate)) >> 32;
                Some(old.rtp.wrapping_add(offset).wrapping_add(ticks as u32).wrapping_sub(new.rtp))
            }
            _ => None,
        };
        let by_arrival = || {
            let passed = now.duration_since(last.at).as_secs_f64() * f64::from(self.clock_rate);
            last.timestamp.wrapping_add(passed as u32).wrapping_sub(packet.header.timestamp)
        };
        let offset = exact.unwrap_or_else(by_arrival);
        let ahead = packet.header.timestamp.wrapping_add(offset).wrapping_sub(last.timestamp).cast_signed();
        // Time must not stand still or run back, nor leap by what only a clock that was set explains.
        if ahead > 0 && ahead < self.clock_rate.cast_signed() * 10 {
            offset
        } else {
            last.timestamp.wrapping_add(self.clock_rate / 30).wrapping_sub(packet.header.timestamp)
        }
    }

    fn current(&self) -> Option<Origin> {
        self.numbers.current().map(|segment| segment.origin)
    }

    // Feedback.

    /// Whether the viewer may have one more packet again: a second has so many.
    pub(crate) fn may_repair(&mut self, now: Instant) -> bool {
        if now.duration_since(self.repairs.0) >= Duration::from_secs(1) {
            self.repairs = (now, 0);
        }
        self.repairs.1 += 1;
        self.repairs.1 <= MAX_REPAIRS
    }

    /// Finds what the viewer asks for again: the origin and the number there, and our own extended number.
    pub(crate) fn find(&self, sequence: u16) -> Option<(Origin, u64, u64, Segment)> {
        let (number, out, segment) = self.numbers.unmap(sequence)?;
        Some((segment.origin, number, out, segment))
    }

    /// Sends a packet again, as RFC 4588 §4 says.
    pub(crate) fn retransmit(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        out: u64,
        segment: &Segment,
        way: &mut Way<'_>,
    ) -> Option<usize> {
        let format = self.format.as_ref()?;
        let (ssrc, payload_type) = format.rtx?;
        let head = Head {
            marker: packet.header.marker,
            padded: false,
            payload_type,
            sequence: self.repeated as u16,
            timestamp: packet.header.timestamp.wrapping_add(segment.timestamp),
            ssrc,
            wide: 0,
        };
        let renumbered = renumber(packet, segment);
        let before = (out as u16).to_be_bytes();
        let outgoing =
            Outgoing { packet, template: &format.template, head, index: self.repeated, before: &before, padding: 0 };
        let len = way.send(now, outgoing, |payload| rewrite(payload, renumbered)).ok()?;
        self.repeated += 1;
        Some(len)
    }

    /// One of the last packets that were sent, 0: the very last, as [`Self::find`] finds it. None: so far back it is not looked for.
    pub(crate) fn latest(&self, back: u16) -> Option<(Origin, u64, u64, Segment)> {
        (back < LATEST && self.packets > 0).then(|| self.find((self.numbers.highest() as u16).wrapping_sub(back)))?
    }

    /// The report of the encoding that is being sent, in the viewer's terms.
    pub(crate) fn sender_report(&self, origin: Origin, info: SenderInfo) -> Option<SenderInfo> {
        let segment = self.numbers.current().filter(|segment| self.open && segment.origin == origin)?;
        let rtp = info.rtp.wrapping_add(segment.timestamp);
        (self.packets > 0).then_some(SenderInfo {
            ssrc: self.ssrc,
            ntp: info.ntp,
            rtp,
            packets: self.packets,
            octets: self.octets,
        })
    }
}

/// The numbers of a VP8 picture as the viewer sees them.
fn renumber(packet: &Packet<'_>, segment: &Segment) -> Option<(Vp8Fields, u16, u8)> {
    let fields = packet.facts.vp8?;
    let picture = fields.picture_id.unwrap_or(0).wrapping_add(segment.picture);
    Some((fields, picture, fields.tl0.unwrap_or(0).wrapping_add(segment.tl0)))
}

fn rewrite(payload: &mut [u8], renumbered: Option<(Vp8Fields, u16, u8)>) {
    if let Some((fields, picture, tl0)) = renumbered {
        fields.rewrite(payload, picture, tl0);
    }
}

/// What the packet path touches of each viewer is small, so that many stay in a processor's cache.
const _: () = assert!(size_of::<Subscription>() <= 300);
/// As many as a probe repeats at most.
const LATEST: u16 = 64;
/// A viewer of 4 Mbit/s that loses every fourth packet asks for fewer.
const MAX_REPAIRS: u32 = 500;
