//! What may reach the SCTP library of what a peer sends.
//!
//! The library panics on some chunks that are cut off, ends the association on those that it does not know, walks through whatever
//! range it is told, and keeps what it is asked to keep. So every chunk is read here first; what is left of a packet goes on as if it
//! had come so.

use std::collections::HashSet;

use bytes::Bytes;

use super::DataCounters;
use super::order::{Breach, Order, Taken};
use super::packet::{
    Chunk, Chunks, Data, Init, Reset, is_for, is_sane_heartbeat, is_sane_sack, kind, read_forward, read_resets, rebuilt,
};

/// Filters the packets of one association.
pub(super) struct Guard {
    /// Ours, which the peer's packets bear.
    tag: u32,
    /// Whether the peer said that it may give up messages.
    forwards: bool,
    order: Order,
    /// The peer's requests that wait for something that is still on its way.
    waiting: Vec<(u32, u32)>,
    /// Our requests that were not answered.
    unanswered: HashSet<u32>,
    pub(super) counters: DataCounters,
}

impl Guard {
    /// For what the peer with this INIT sends to us, whose tag is this.
    pub(super) fn new(init: &Init, tag: u32) -> Self {
        Self {
            tag,
            forwards: init.forwards,
            order: Order::new(init.tsn),
            waiting: Vec::new(),
            unanswered: HashSet::new(),
            counters: DataCounters::default(),
        }
    }

    /// What the library may read of a packet; none: nothing. Whatever goes on is read by it: what it threw away would be counted as
    /// there by us.
    pub(super) fn filter(&mut self, packet: &[u8]) -> Result<Option<Bytes>, Breach> {
        if !is_for(packet, self.tag) {
            self.counters.malformed += 1;
            return Ok(None);
        }
        let mut chunks = Chunks::of(packet);
        let (mut passed, mut changed) = (Vec::new(), false);
        let mut forwarded = false;
        for chunk in chunks.by_ref() {
            // One of these tells all that there is to tell, and costs more than others.
            if chunk.kind == kind::FORWARD_TSN && std::mem::replace(&mut forwarded, true) {
                changed = true;
                continue;
            }
            match self.admits(chunk)? {
                Some(admitted) => {
                    changed |= admitted != chunk;
                    passed.push(admitted);
                }
                None => changed = true,
            }
            if chunk.kind & GO_ON == 0 && !is_known(chunk.kind) {
                break;
            }
        }
        if chunks.is_broken() {
            self.counters.malformed += 1;
        }
        let whole = !changed && !chunks.is_broken() && packet.len().is_multiple_of(4);
        Ok(match passed[..] {
            [] => None,
            _ if whole => Some(Bytes::copy_from_slice(packet)),
            _ => Some(rebuilt(packet, &passed)),
        })
    }

    /// Looks at a packet of ours: requests that the peer owes an answer.
    pub(super) fn note_sent(&mut self, packet: &[u8]) -> Result<(), Breach> {
        let resets = Chunks::of(packet).filter(|chunk| chunk.kind == kind::RE_CONFIG).filter_map(read_resets);
        for reset in resets.flatten() {
            if let Reset::Request { number, .. } = reset {
                self.unanswered.insert(number);
            }
        }
        if self.unanswered.len() > MAX_UNANSWERED { Err(Breach) } else { Ok(()) }
    }

    /// How a stream's channel delivers.
    pub(super) fn set_unordered(&mut self, stream: u16, unordered: bool) {
        self.order.set_unordered(stream, unordered);
    }

    /// What of a chunk may go on.
    fn admits<'a>(&mut self, chunk: Chunk<'a>) -> Result<Option<Chunk<'a>>, Breach> {
        let sane = match chunk.kind {
            kind::DATA => return Ok(self.admits_data(chunk)?.then_some(chunk)),
            kind::RE_CONFIG => return Ok(self.admits_resets(chunk).then_some(chunk)),
            kind::FORWARD_TSN => match read_forward(chunk).filter(|_| self.forwards) {
                Some((last, streams)) => self.order.forward(last, streams)?,
                None => false,
            },
            kind::SACK => is_sane_sack(chunk),
            kind::HEARTBEAT => is_sane_heartbeat(chunk),
            kind::SHUTDOWN => chunk.value.len() == 4,
            kind::COOKIE_ECHO => true,
            // What else they say is for people.
            kind::ABORT | kind::SHUTDOWN_ACK | kind::SHUTDOWN_COMPLETE => {
                return Ok(Some(Chunk { value: &[], ..chunk }));
            }
            // Not for us, or of no use to the library: errors, padding, what is new.
            _ => false,
        };
        self.counters.malformed += u64::from(!sane);
        Ok(sane.then_some(chunk))
    }

    fn admits_data(&mut self, chunk: Chunk<'_>) -> Result<bool, Breach> {
        let Some(data) = Data::read(chunk).filter(|data| data.stream < STREAMS) else {
            self.counters.malformed += 1;
            return Ok(false);
        };
        let taken = self.order.take(data)?;
        self.counters.ahead += u64::from(taken == Taken::Refuse);
        Ok(taken == Taken::Pass)
    }

    fn admits_resets(&mut self, chunk: Chunk<'_>) -> bool {
        self.waiting.retain(|(_, last)| !self.order.has_all(*last));
        let resets = read_resets(chunk).unwrap_or_default();
        let sane = !resets.is_empty() && resets.iter().all(|reset| self.is_sane(reset));
        self.counters.malformed += u64::from(!sane);
        // The library takes every answer for the last one; without this one it asks again in time.
        sane && !resets.iter().any(|reset| matches!(reset, Reset::Response { later: true, .. }))
    }

    fn is_sane(&mut self, reset: &Reset) -> bool {
        match reset {
            Reset::Response { number, later } => {
                if !later {
                    self.unanswered.remove(number);
                }
                true
            }
            Reset::Request { number, last_tsn, streams } => {
                let known = self.waiting.iter().any(|(waiting, _)| waiting == number);
                let early = !known && !self.order.has_all(*last_tsn);
                if early && self.waiting.len() >= MAX_WAITING || streams.iter().any(|stream| *stream >= STREAMS) {
                    return false;
                }
                let sane = self.order.reset(*last_tsn, streams);
                if sane && early {
                    self.waiting.push((*number, *last_tsn));
                }
                sane
            }
        }
    }
}

fn is_known(chunk: u8) -> bool {
    chunk <= kind::SHUTDOWN_COMPLETE || matches!(chunk, kind::RE_CONFIG | kind::FORWARD_TSN)
}

/// Streams each way: what browsers have (ids 0 … 1023).
pub(super) const STREAMS: u16 = 1024;
/// The bit of an unknown chunk's type that says whether to go on with what is behind it (RFC 9260 §3.2).
const GO_ON: u8 = 0x80;
/// Requests of a peer at a time; the protocol allows one.
const MAX_WAITING: usize = 8;
/// Each of ours may end many channels.
const MAX_UNANSWERED: usize = 512;
