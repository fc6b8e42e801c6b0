//! A packet on its way to one viewer: whether it is sent, under which numbers, and what of it is said otherwise.

use std::time::Instant;

use lockgate_rtp::{LayerReader, PictureNumbers, Renumbered, Target};

use super::{Next, Sent, Source, Subscription};
use crate::egress::Outgoing;
use crate::link::Way;
use crate::numbers::{FIRST, Origin, Segment, Shift};
use crate::packet::Packet;
use crate::redundancy::Redundancy;
use crate::stats::DropReason;
use crate::template::{Described, Head};

impl Subscription {
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
        let red = format.red.zip(next.before.as_ref());
        let red = red.and_then(|(red, before)| Some((red, Redundancy::new(format.payload_type, packet, before)?)));
        let head = Head {
            marker: packet.header.marker || ends_picture(packet, &segment),
            padded: next.padding > 0,
            payload_type: red.as_ref().map_or(format.payload_type, |(red, _)| *red),
            sequence: number as u16,
            timestamp,
            ssrc: self.ssrc,
            wide: 0,
        };
        let (template, padding) = (&format.template, next.padding);
        let before = red.as_ref().map_or(&[][..], |(_, redundancy)| redundancy.as_bytes());
        let described = describe(packet, &segment, source.layers, self.masked);
        let outgoing = Outgoing { packet, template, head, index: number - FIRST, before, padding, described };
        let renumbered = renumber(packet, &segment);
        let edit = |payload: &mut [u8]| rewrite(payload, renumbered);
        let sealed = way.send(now, outgoing, edit).map_err(|_| DropReason::NotConnected)?;
        if let Some(copies) = &mut self.copies {
            copies.keep(number, sealed.wide, way.egress.last(sealed.len));
        }
        if ahead {
            self.picture = renumbered.map(|(_, numbers)| numbers).or(self.picture);
            self.note_described(described, packet, &segment);
        }
        if self.last.is_none_or(|last| timestamp.wrapping_sub(last.timestamp).cast_signed() >= 0) {
            self.last = Some(Sent { timestamp, at: now });
        }
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(packet.payload.len() as u32);
        Ok(sealed.len)
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
                    self.select_layer(packet)
                }
                (true, false) => Err(DropReason::AwaitingKeyFrame),
                _ => Err(DropReason::Layer),
            };
        }
        self.select_layer(packet)
    }

    /// Whether a packet is of a layer that is sent.
    fn select_layer(&mut self, packet: &Packet<'_>) -> Result<(), DropReason> {
        // Of one that comes late the place is taken already, and what was sent there is decided.
        if !self.numbers.is_ahead(packet.number) {
            let target = self.numbers.target_at(packet.number).ok_or(DropReason::Duplicate)?;
            return if packet.facts.layer.part_of.has(target) { Ok(()) } else { Err(DropReason::Layer) };
        }
        let before = self.selection.current();
        let sent = self.selection.take(packet.header.timestamp, &packet.facts);
        self.is_stirred |= before != self.selection.current();
        self.numbers.aim(packet.number, self.selection.current());
        if sent {
            return Ok(());
        }
        let picture = packet.facts.picture.filter(|picture| picture.close_up).and_then(|picture| picture.id);
        let new_picture = picture.is_some() && self.left_out != picture;
        self.left_out = picture;
        self.numbers.skip(packet.number, new_picture);
        Err(DropReason::Layer)
    }

    /// Goes on with an encoding, from this packet on.
    fn begin(&mut self, now: Instant, packet: &Packet<'_>, source: &Source<'_>) {
        let timestamp = self.timestamp_offset(now, packet, source);
        let shift = self.shift_to(packet);
        self.selection.begin();
        self.numbers.switch(source.origin, packet.number, timestamp, shift, self.selection.current());
        self.open = true;
        self.left_out = None;
        self.is_stirred = true;
    }

    /// By how much the codec's numbers move, so that they go on by one.
    fn shift_to(&self, packet: &Packet<'_>) -> Shift {
        let mut shift = Shift::default();
        if let (Some(theirs), Some(last)) = (packet.facts.picture, self.picture) {
            shift.picture = last.id.wrapping_add(1).wrapping_sub(theirs.id.unwrap_or(0));
            shift.tl0 = last.tl0.wrapping_add(1).wrapping_sub(theirs.tl0.unwrap_or(0));
            shift.key = last.key.wrapping_add(1).wrapping_sub(theirs.key.unwrap_or(0));
        }
        if let (Some(theirs), Some(last)) = (packet.facts.descriptor, self.frame) {
            shift.frame = last.wrapping_add(1).wrapping_sub(theirs.number);
        }
        shift
    }

    fn note_described(&mut self, described: Option<Described>, packet: &Packet<'_>, segment: &Segment) {
        if let Some(descriptor) = packet.facts.descriptor {
            self.frame = Some(descriptor.number.wrapping_add(segment.shift.frame));
            let whole = segment.target == Target::ALL;
            self.masked = match described.and_then(|one| one.mask) {
                Some(_) => self.masked && !descriptor.tells_targets || !whole,
                None => self.masked,
            };
        }
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
}

/// The numbers of a picture as the viewer sees them.
pub(super) fn renumber(packet: &Packet<'_>, segment: &Segment) -> Option<(PictureNumbers, Renumbered)> {
    let (theirs, shift) = (packet.facts.picture?, segment.shift);
    let numbers = Renumbered {
        id: theirs.id.unwrap_or(0).wrapping_add(shift.picture),
        tl0: theirs.tl0.unwrap_or(0).wrapping_add(shift.tl0),
        key: theirs.key.unwrap_or(0).wrapping_add(shift.key),
    };
    Some((theirs, numbers))
}

pub(super) fn rewrite(payload: &mut [u8], renumbered: Option<(PictureNumbers, Renumbered)>) {
    if let Some((theirs, numbers)) = renumbered {
        theirs.rewrite(payload, numbers);
    }
}

/// Whether a packet is the last of its picture for who gets no higher spatial layer: RFC 9628 §4.1 has the marker there.
pub(super) fn ends_picture(packet: &Packet<'_>, segment: &Segment) -> bool {
    packet.facts.layer.ends && packet.facts.layer.spatial == segment.target.spatial()
}

/// What a packet's dependency descriptor is to say otherwise. Which decode targets a viewer gets is told where the publisher tells
/// something of it, and with every frame that nobody does without, until a key frame brings all of them.
pub(super) fn describe(
    packet: &Packet<'_>,
    segment: &Segment,
    layers: &LayerReader,
    masked: bool,
) -> Option<Described> {
    let descriptor = packet.facts.descriptor?;
    let layer = &packet.facts.layer;
    let differs = masked || segment.target != Target::ALL;
    let place = descriptor.tells_targets || layer.begins && layer.temporal == 0;
    // One that was read by a former structure keeps what its publisher said.
    let known = descriptor.generation == layers.generation();
    let mask = (differs && place && known).then(|| layers.told(segment.target));
    let number = descriptor.number.wrapping_add(segment.shift.frame);
    (mask.is_some() || segment.shift.frame != 0).then_some(Described { number, mask, place: descriptor.mask })
}
