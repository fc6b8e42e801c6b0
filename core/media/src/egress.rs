//! Datagrams that are ready to leave, in one buffer that is used again and again.
//!
//! What goes to the same peer one after the other and has the same length is told as one run, which a system that can take runs
//! (UDP GSO) is given at once.

use lockgate_transport::Outlet;
use lockgate_transport::ice::Path;
use lockgate_transport::srtp::SrtpError;

use crate::packet::Packet;
use crate::template::{Described, Head, MAX_HEAD, Template};

/// Sealed datagrams, in the order in which they were made.
#[derive(Default)]
pub struct Egress {
    buffer: Vec<u8>,
    len: usize,
    runs: Vec<Span>,
    /// Where RTCP packets are put together.
    rtcp: Vec<u8>,
}

/// Datagrams to one peer that leave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// Their way.
    pub path: Path,
    /// The length of each of them but the last, which may be shorter; above 0.
    pub segment: usize,
    /// One after the other: at most [`Run::MAX_DATAGRAMS`], at most [`Run::MAX_BYTES`] if there are several.
    pub bytes: &'a [u8],
}

impl Run<'_> {
    /// What Linux takes at once (`UDP_MAX_SEGMENTS`).
    pub const MAX_DATAGRAMS: usize = 64;
    /// What fits into an IP packet, headers and all.
    pub const MAX_BYTES: usize = 65_000;

    /// How many they are.
    pub fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.segment)
    }
}

struct Span {
    path: Path,
    start: u32,
    end: u32,
    segment: u16,
    count: u8,
    /// A shorter one was the last.
    closed: bool,
}

/// One packet for one viewer.
pub(crate) struct Outgoing<'a> {
    pub(crate) packet: &'a Packet<'a>,
    pub(crate) template: &'a Template,
    pub(crate) head: Head,
    /// What is not told but counted: the SRTP index (RFC 3711 §3.3.1).
    pub(crate) index: u64,
    /// Stands before the payload: the original number of a retransmission (RFC 4588 §4).
    pub(crate) before: &'a [u8],
    /// Bytes of padding behind the payload.
    pub(crate) padding: u8,
    /// What its dependency descriptor is to say otherwise.
    pub(crate) described: Option<Described>,
}

impl Outgoing<'_> {
    /// How long it becomes before protection, give or take some bytes.
    pub(crate) fn length(&self) -> usize {
        self.template.length(self.packet) + self.before.len() + self.packet.payload.len() + usize::from(self.padding)
    }
}

impl Egress {
    /// What waits, run by run.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        self.runs.iter().map(|span| Run {
            path: span.path,
            segment: usize::from(span.segment),
            bytes: &self.buffer[span.start as usize..span.end as usize],
        })
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether it should be sent before there is more.
    pub(crate) fn is_full(&self) -> bool {
        self.len >= FULL
    }

    /// Forgets what waited; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
        self.runs.clear();
    }

    /// Writes a packet, lets `edit` change the payload's copy, and seals it. How many bytes it became comes back.
    pub(crate) fn send(
        &mut self,
        outlet: &mut Outlet<'_>,
        outgoing: &Outgoing<'_>,
        edit: impl FnOnce(&mut [u8]),
    ) -> Result<usize, SrtpError> {
        let Outgoing { packet, template, head, index, before, padding, described } = outgoing;
        let (payload, padding) = (packet.payload(), usize::from(*padding));
        let overhead = outlet.sender.overhead();
        let out = self.room(MAX_HEAD + before.len() + payload.len() + padding + overhead);
        let head_len = template.write(head, packet, *described, out);
        let start = head_len + before.len();
        let end = start + payload.len() + padding;
        out[head_len..start].copy_from_slice(before);
        out[start..start + payload.len()].copy_from_slice(payload);
        edit(&mut out[start..start + payload.len()]);
        if padding > 0 {
            out[end - padding..end].fill(0);
            out[end - 1] = padding as u8;
        }
        outlet.sender.seal_rtp(&mut out[..end + overhead], head_len, head.ssrc, *index)?;
        self.push(outlet.path, end + overhead);
        Ok(end + overhead)
    }

    /// The datagram that was made last, of this length.
    pub(crate) fn last(&self, len: usize) -> &[u8] {
        &self.buffer[self.len.saturating_sub(len)..self.len]
    }

    /// Sends a datagram that was sealed before.
    pub(crate) fn repeat(&mut self, path: Path, datagram: &[u8]) {
        self.room(datagram.len())[..datagram.len()].copy_from_slice(datagram);
        self.push(path, datagram.len());
    }

    /// Sends the RTCP packet that `write` appends to a buffer.
    pub(crate) fn send_rtcp(&mut self, outlet: &mut Outlet<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let mut packet = std::mem::take(&mut self.rtcp);
        packet.clear();
        write(&mut packet);
        // One that is empty, or whose keys are used up, is left out: feedback is repeated.
        if !packet.is_empty() && outlet.sender.protect_rtcp(&mut packet).is_ok() {
            self.room(packet.len())[..packet.len()].copy_from_slice(&packet);
            self.push(outlet.path, packet.len());
        }
        self.rtcp = packet;
    }

    /// Free bytes behind what waits.
    fn room(&mut self, wanted: usize) -> &mut [u8] {
        if self.buffer.len() < self.len + wanted {
            self.buffer.resize((self.len + wanted).max(FULL + FULL / 4), 0);
        }
        &mut self.buffer[self.len..]
    }

    /// Takes what was written behind as a datagram.
    fn push(&mut self, path: Path, len: usize) {
        let (start, end) = (self.len, self.len + len);
        self.len = end;
        if let Some(last) = self.runs.last_mut()
            && last.takes(path, end, len)
        {
            last.end = end as u32;
            last.count += 1;
            last.closed = len < usize::from(last.segment);
            return;
        }
        let (start, end, segment) = (start as u32, end as u32, len as u16);
        self.runs.push(Span { path, start, end, segment, count: 1, closed: false });
    }
}

impl Span {
    fn takes(&self, path: Path, end: usize, len: usize) -> bool {
        !self.closed
            && self.path == path
            && len <= usize::from(self.segment)
            && usize::from(self.count) < Run::MAX_DATAGRAMS
            && end - self.start as usize <= Run::MAX_BYTES
    }
}

/// What stays in a processor's cache until it is sent.
const FULL: usize = 192 << 10;
