//! What a viewer is sent beside the stream itself: packets again, and its publisher's reports in its own terms.

use std::time::Instant;

use lockgate_rtp::{LayerReader, PacketFacts, SenderInfo};

use super::Subscription;
use super::forward::{describe, ends_picture, renumber, rewrite};
use crate::egress::Outgoing;
use crate::link::Way;
use crate::numbers::{Origin, Segment};
use crate::packet::{Packet, Passed};
use crate::template::Head;

impl Subscription {
    /// Finds what the viewer asks for again: the origin and the number there, and our own extended number.
    pub(crate) fn find(&self, sequence: u16) -> Option<(Origin, u64, u64, Segment)> {
        let (number, out, segment) = self.numbers.unmap(sequence)?;
        Some((segment.origin, number, out, segment))
    }

    /// What is sent for a packet that is asked for again. One that is of a layer which was left out at its place, or which limits
    /// forbid by now, came so late that its number was given out: it is told to be nothing.
    pub(crate) fn again<'a>(&self, packet: Packet<'a>, segment: &Segment, allowed: bool) -> Packet<'a> {
        if allowed && packet.facts.layer.part_of.has(segment.target) {
            return packet;
        }
        Packet { payload: 0..0, passed: Passed::default(), facts: PacketFacts::default(), ..packet }
    }

    /// Sends a packet that was asked for again: by the source that the viewer has for this, or else as it was.
    pub(crate) fn repair(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        out: u64,
        segment: &Segment,
        layers: &LayerReader,
        way: &mut Way<'_>,
    ) -> Option<usize> {
        let Some(copies) = &self.copies else { return self.retransmit(now, packet, out, segment, layers, way) };
        // That a packet is nothing cannot be told under the number of what it was.
        let copy = copies.get(out).filter(|_| !packet.payload.is_empty())?;
        way.send_again(now, copy.datagram(), copy.wide());
        Some(copy.datagram().len())
    }

    /// Sends a packet again, as RFC 4588 §4 says.
    pub(crate) fn retransmit(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        out: u64,
        segment: &Segment,
        layers: &LayerReader,
        way: &mut Way<'_>,
    ) -> Option<usize> {
        let format = self.format.as_ref()?;
        let (ssrc, payload_type) = format.rtx?;
        let head = Head {
            marker: packet.header.marker || ends_picture(packet, segment),
            padded: false,
            payload_type,
            sequence: self.repeated as u16,
            timestamp: packet.header.timestamp.wrapping_add(segment.timestamp),
            ssrc,
            wide: 0,
        };
        let renumbered = renumber(packet, segment);
        let before = (out as u16).to_be_bytes();
        let described = describe(packet, segment, layers, self.masked);
        let (template, index, before) = (&format.template, self.repeated, &before);
        let outgoing = Outgoing { packet, template, head, index, before, padding: 0, described };
        let sealed = way.send(now, outgoing, |payload| rewrite(payload, renumbered)).ok()?;
        self.repeated += 1;
        Some(sealed.len)
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

/// As many as a probe repeats at most.
const LATEST: u16 = 64;
