//! What the recorder gets of a track: one encoding at a time, as its publisher sent it.

use lockgate_model::carrier::{Frame, GapReason, NodeTime, SenderReport, TrackNumber, encode_rtp};
use lockgate_rtp::SenderInfo;

use crate::encoding::Encoding;
use crate::numbers::Origin;
use crate::packet::Packet;
use crate::replay::{Content, Replay};
use crate::stats::DropReason;

/// A track's way to the recorder.
#[derive(Debug)]
pub(crate) struct Tap {
    number: TrackNumber,
    /// What is being sent, and its source.
    current: Option<(Origin, u32)>,
    /// How many encodings were sent so far, the current one included.
    generation: u32,
    /// The highest number of it that was taken.
    last: u64,
    /// Nothing is sent until a decoder can go on.
    paused: bool,
    /// First and last number that had no room, and their source.
    lost: Option<(u32, u64, u64)>,
}

/// A packet that the recorder may get.
pub(crate) struct Tapped<'a> {
    pub(crate) packet: &'a Packet<'a>,
    /// The track's encodings, and which of them it is of.
    pub(crate) encodings: &'a [Encoding],
    pub(crate) index: usize,
    /// The encoding that is to be recorded.
    pub(crate) target: u8,
    /// Whether a decoder may begin with it.
    pub(crate) key: bool,
}

impl Tap {
    pub(crate) fn new(number: TrackNumber) -> Self {
        Self { number, current: None, generation: 0, last: 0, paused: false, lost: None }
    }

    /// Takes a packet if it is of the encoding that is recorded; goes over to the target where that can begin.
    pub(crate) fn take(&mut self, out: &mut Replay, at: NodeTime, tapped: &Tapped<'_>) -> Result<(), DropReason> {
        let Tapped { packet, encodings, index, .. } = *tapped;
        let Some(encoding) = encodings.get(index) else { return Ok(()) };
        let (origin, ssrc) = (encoding.origin(), packet.header.ssrc);
        if self.current.is_none_or(|(current, _)| current != origin) {
            if origin.encoding != tapped.target || !tapped.key {
                return Ok(());
            }
            self.switch(out, at, encoding, packet, encodings);
        }
        if self.paused && !self.go_on(out, at, tapped) {
            return Ok(());
        }
        self.last = self.last.max(packet.number);
        if !out.has_room() {
            let first = self.lost.map_or(packet.number, |(_, first, _)| first);
            self.lost = Some((ssrc, first, packet.number));
            return Err(DropReason::Recorder);
        }
        if let Some((ssrc, from, to)) = self.lost.take() {
            self.gap(out, at, ssrc, (from, to), GapReason::Overload);
        }
        let content = Content::Packet { generation: self.generation, seq: packet.number };
        out.push(at, self.number, content, |bytes| {
            encode_rtp(bytes, self.number, packet.number, at, &[packet.bytes]);
        });
        Ok(())
    }

    /// The publisher is muted: what follows is not recorded up to where a decoder can go on.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// Hands a sender report on, of the encoding that is recorded.
    pub(crate) fn take_report(&self, out: &mut Replay, at: NodeTime, origin: Origin, info: SenderInfo) {
        if self.current.is_some_and(|(current, _)| current == origin) && out.has_room() {
            let frame = Frame::SenderReport { track: self.number, ssrc: info.ssrc, report: report(info), arrival: at };
            out.push(at, self.number, self.up_to(self.last), |bytes| frame.encode(bytes));
        }
    }

    /// Says what will not come any more.
    pub(crate) fn take_losses(&self, out: &mut Replay, origin: Origin, lost: &[(u64, u64)]) {
        let Some((_, ssrc)) = self.current.filter(|(current, _)| *current == origin) else { return };
        for (from, to) in lost {
            if out.has_room() {
                self.gap(out, out.now(), ssrc, (*from, *to), GapReason::Loss);
            }
        }
    }

    /// Says that nothing more comes.
    pub(crate) fn end(&self, out: &mut Replay, at: NodeTime) {
        // Always written: it is small, and without it the recorder would wait.
        let frame = Frame::End { track: self.number, at };
        out.push(at, self.number, Content::End, |bytes| frame.encode(bytes));
    }

    /// Whether the recorder still has to be given its first packet, or that of another encoding.
    pub(crate) fn wants_key_of(&self, target: Origin) -> bool {
        self.current.is_none_or(|(current, _)| current != target)
    }

    fn switch(
        &mut self,
        out: &mut Replay,
        at: NodeTime,
        encoding: &Encoding,
        packet: &Packet<'_>,
        encodings: &[Encoding],
    ) {
        let (ssrc, first) = (packet.header.ssrc, packet.number);
        self.generation += 1;
        out.switch(self.number, self.generation, ssrc, first);
        if let Some((before, old_ssrc)) = self.current {
            let old = encodings.get(usize::from(before.encoding)).and_then(Encoding::sender);
            let frame = Frame::Layer {
                track: self.number,
                old_ssrc,
                new_ssrc: ssrc,
                first_seq: first,
                old_report: old.filter(|info| info.ssrc == old_ssrc).map(report),
                new_report: encoding.sender().map(report),
            };
            out.push(at, self.number, self.up_to(first), |bytes| frame.encode(bytes));
        }
        self.current = Some((encoding.origin(), ssrc));
        (self.last, self.paused, self.lost) = (first, false, None);
    }

    /// Ends a pause if a packet is the place for it, and says what is left out. False: it is not.
    fn go_on(&mut self, out: &mut Replay, at: NodeTime, tapped: &Tapped<'_>) -> bool {
        let (number, ssrc) = (tapped.packet.number, tapped.packet.header.ssrc);
        if !tapped.key || number <= self.last {
            return false;
        }
        self.paused = false;
        if number > self.last + 1 {
            self.gap(out, at, ssrc, (self.last + 1, number - 1), GapReason::Paused);
        }
        true
    }

    fn gap(&self, out: &mut Replay, at: NodeTime, ssrc: u32, (from, to): (u64, u64), reason: GapReason) {
        let frame = Frame::Gap { track: self.number, ssrc, from, to, reason };
        out.push(at, self.number, self.up_to(to), |bytes| frame.encode(bytes));
    }

    /// Of no use when this packet of the current encoding is in a file.
    fn up_to(&self, seq: u64) -> Content {
        Content::UpTo { generation: self.generation, seq }
    }
}

fn report(info: SenderInfo) -> SenderReport {
    SenderReport { ntp: info.ntp, rtp: info.rtp }
}
