//! The memory that datagrams are received into, used again and again.

use std::net::SocketAddr;

/// What the last call received.
pub(crate) struct Arena {
    bytes: Vec<u8>,
    slot: usize,
    received: Vec<Received>,
    /// The next datagram: in which message, and where in it.
    next: (usize, usize),
    truncated: u64,
}

/// One message: a datagram, or several that the system joined.
struct Received {
    remote: SocketAddr,
    len: usize,
    segment: usize,
}

/// What a call received, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) datagrams: u64,
    /// Messages of several datagrams.
    pub(crate) joined: u64,
    /// The datagrams in them.
    pub(crate) joined_datagrams: u64,
    /// Messages that did not fit.
    pub(crate) truncated: u64,
}

impl Arena {
    pub(crate) fn new() -> Self {
        Self::with_slots(SLOTS, SLOT)
    }

    pub(crate) fn with_slots(count: usize, slot: usize) -> Self {
        // Memory that is never written to is none: what is joined seldom fills few pages.
        let bytes = vec![0; count * (slot + STAGGER)];
        Self { bytes, slot, received: Vec::with_capacity(count), next: (0, 0), truncated: 0 }
    }

    /// The next datagram and where it came from.
    pub(crate) fn next(&mut self) -> Option<(SocketAddr, &mut [u8])> {
        let (index, start) = self.next;
        let Received { remote, len, segment } = *self.received.get(index)?;
        let end = len.min(start + segment);
        self.next = if end < len { (index, end) } else { (index + 1, 0) };
        Some((remote, &mut self.slot(index)[start..end]))
    }

    pub(crate) fn clear(&mut self) {
        self.received.clear();
        self.next = (0, 0);
        self.truncated = 0;
    }

    /// Notes what was received into the next slot. Of a message that did not fit, the whole datagrams of a known length are kept.
    pub(super) fn push(&mut self, remote: SocketAddr, len: usize, segment: usize, truncated: bool) {
        self.truncated += u64::from(truncated);
        let whole = if segment < len { len - len % segment.max(1) } else { 0 };
        // An empty datagram says nothing to anybody, but is there: its place in the order of slots must be kept.
        let len = if truncated { whole } else { len };
        self.received.push(Received { remote, len, segment: segment.max(1) });
    }

    pub(super) fn slot_count(&self) -> usize {
        self.bytes.len() / (self.slot + STAGGER)
    }

    pub(super) fn slot(&mut self, index: usize) -> &mut [u8] {
        let start = index * (self.slot + STAGGER);
        &mut self.bytes[start..start + self.slot]
    }

    /// All slots, in order; those that hold something too.
    pub(super) fn slots(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let slot = self.slot;
        self.bytes.chunks_exact_mut(slot + STAGGER).map(move |bytes| &mut bytes[..slot])
    }

    /// What the last call received, counted.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally { truncated: self.truncated, ..Tally::default() };
        for message in &self.received {
            let datagrams = message.len.div_ceil(message.segment).max(1) as u64;
            tally.datagrams += datagrams;
            if datagrams > 1 {
                tally.joined += 1;
                tally.joined_datagrams += datagrams;
            }
        }
        tally
    }

    /// Whether there may be more to receive: every slot was used.
    pub(crate) fn is_full(&self) -> bool {
        self.received.len() == self.slot_count()
    }
}

/// Messages of one call.
pub(super) const SLOTS: usize = 32;
/// What a datagram, or what the system joins, can be at most.
const SLOT: usize = 1 << 16;
/// Slots that begin at equal offsets of their pages would all want the same few lines of the cache.
const STAGGER: usize = 20 * 64;

#[cfg(test)]
mod tests {
    use super::*;

    const REMOTE: &str = "192.0.2.1:5000";

    fn taken(arena: &mut Arena) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| arena.next().map(|(_, bytes)| bytes.to_vec())).collect()
    }

    fn filled(message: &[u8], segment: usize, truncated: bool) -> Arena {
        let mut arena = Arena::with_slots(2, 16);
        arena.slot(0)[..message.len()].copy_from_slice(message);
        arena.push(REMOTE.parse().unwrap(), message.len(), segment, truncated);
        arena
    }

    #[test]
    fn joined_datagrams_come_apart_where_they_were_joined() {
        assert_eq!(taken(&mut filled(b"aaaabbbbcc", 4, false)), [&b"aaaa"[..], b"bbbb", b"cc"]);
        assert_eq!(taken(&mut filled(b"aaaabbbb", 4, false)), [&b"aaaa"[..], b"bbbb"]);
        assert_eq!(taken(&mut filled(b"aaaa", 4, false)), [b"aaaa"]);
        let joined = Tally { datagrams: 3, joined: 1, joined_datagrams: 3, truncated: 0 };
        assert_eq!(filled(b"aaaabbbbcc", 4, false).tally(), joined);
        assert_eq!(filled(b"aaaa", 4, false).tally(), Tally { datagrams: 1, ..Tally::default() });
    }

    #[test]
    fn of_a_message_that_did_not_fit_only_whole_datagrams_are_taken() {
        let mut arena = filled(b"aaaabbbbcc", 4, true);
        assert_eq!((taken(&mut arena), arena.tally().truncated), (vec![b"aaaa".to_vec(), b"bbbb".to_vec()], 1));
        assert_eq!(taken(&mut filled(b"aaaaaaaa", 8, true)), [b""]);
    }

    #[test]
    fn an_empty_datagram_does_not_shift_those_after_it() {
        let mut arena = filled(b"", 0, false);
        arena.slot(1)[..2].copy_from_slice(b"bb");
        arena.push(REMOTE.parse().unwrap(), 2, 2, false);
        assert_eq!(taken(&mut arena), [&b""[..], b"bb"]);
        assert!(arena.is_full());
    }
}
