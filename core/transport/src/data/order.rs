//! What of a peer's DATA the library may be given, so that what it holds is bounded.
//!
//! The library keeps whatever it cannot put together yet, in lists that it searches again and again. An honest sender lets it keep
//! little: one message in parts, and what is ahead of something lost. The rest is a breach, and ends the association.

use std::collections::{HashMap, HashSet, VecDeque};

use super::MAX_MESSAGE;
use super::packet::Data;

/// Follows a peer's transmission sequence numbers.
pub(super) struct Order {
    /// The first number that has not come.
    next: u32,
    /// What came from there on, the first of it missing.
    ahead: VecDeque<Option<Data>>,
    ahead_bytes: usize,
    /// The message of which parts are missing, among everything that has come in order.
    open: Option<Open>,
    /// The next ordered message of each stream.
    sequences: HashMap<u16, u16>,
    /// Streams that the peer may begin anew.
    resets: HashSet<u16>,
    /// Streams whose channels are unordered: the library skips what is lost of them in another way.
    unordered: HashSet<u16>,
    /// What the library may keep for good, because it does not know that nobody will complete it.
    orphaned: usize,
}

struct Open {
    part: Data,
    parts: usize,
    bytes: usize,
}

/// What is to be done with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Pass,
    /// It is too far ahead. Its sender will send it again.
    Refuse,
}

/// The peer does what no honest one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breach;

impl Order {
    /// For a peer whose first number is this.
    pub(super) fn new(first: u32) -> Self {
        Self {
            next: first,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            open: None,
            sequences: HashMap::new(),
            resets: HashSet::new(),
            unordered: HashSet::new(),
            orphaned: 0,
        }
    }

    /// Takes a chunk of DATA.
    pub(super) fn take(&mut self, data: Data) -> Result<Taken, Breach> {
        let distance = data.tsn.wrapping_sub(self.next);
        if distance > HALF {
            // It came before: the library says so to its sender again.
            return Ok(Taken::Pass);
        }
        let place = distance as usize;
        if place >= MAX_AHEAD || (place > 0 && self.ahead_bytes + data.len > MAX_AHEAD_BYTES) {
            return Ok(Taken::Refuse);
        }
        if self.ahead.len() <= place {
            self.ahead.resize(place + 1, None);
        }
        if self.ahead[place].is_none() {
            self.ahead[place] = Some(data);
            self.ahead_bytes += data.len;
        }
        while let Some(Some(data)) = self.ahead.front().copied() {
            self.shift();
            self.advance(data)?;
        }
        Ok(Taken::Pass)
    }

    /// The sender gives up everything up to a number. False: that is further than it can have sent.
    pub(super) fn forward(
        &mut self,
        last: u32,
        streams: impl Iterator<Item = (u16, u16)> + Clone,
    ) -> Result<bool, Breach> {
        let distance = last.wrapping_sub(self.next).wrapping_add(1);
        if distance == 0 || distance > HALF {
            return Ok(true);
        }
        if distance > MAX_JUMP {
            return Ok(false);
        }
        if let Some(open) = self.open.take() {
            self.give_up(open.part, open.bytes, streams.clone());
        }
        for (stream, sequence) in streams.clone() {
            let next = self.sequences.entry(stream).or_default();
            if sequence.wrapping_sub(*next) < HALF16 {
                *next = sequence.wrapping_add(1);
            }
        }
        for _ in 0..distance {
            if let Some(data) = self.shift() {
                self.skip(data, streams.clone());
            }
        }
        while let Some(Some(data)) = self.ahead.front().copied() {
            self.shift();
            self.advance(data)?;
        }
        self.check()
    }

    /// The peer asks to begin streams anew. False: after something that it cannot have sent yet.
    pub(super) fn reset(&mut self, last: u32, streams: &[u16]) -> bool {
        let distance = last.wrapping_sub(self.next).wrapping_add(1);
        if distance < HALF && distance > MAX_JUMP {
            return false;
        }
        self.resets.extend(streams);
        true
    }

    /// Whether everything up to a number has come.
    pub(super) fn has_all(&self, last: u32) -> bool {
        last.wrapping_sub(self.next) > HALF
    }

    /// How a stream's channel delivers.
    pub(super) fn set_unordered(&mut self, stream: u16, unordered: bool) {
        if unordered {
            self.unordered.insert(stream);
        } else {
            self.unordered.remove(&stream);
        }
    }

    /// The first number is done with.
    fn shift(&mut self) -> Option<Data> {
        let data = self.ahead.pop_front().flatten();
        self.next = self.next.wrapping_add(1);
        self.ahead_bytes -= data.map_or(0, |data| data.len);
        data
    }

    /// The next chunk in order: it begins a message, or goes on with the open one.
    fn advance(&mut self, data: Data) -> Result<(), Breach> {
        let open = match (self.open.take(), data.first) {
            (None, true) => Open { part: data, parts: 1, bytes: data.len },
            (Some(open), false) if goes_on(&open.part, &data) => {
                Open { part: data, parts: open.parts + 1, bytes: open.bytes + data.len }
            }
            // The rest of a message whose beginning was given up.
            (None, false) => {
                self.orphaned += data.len + OVERHEAD;
                return self.check().map(drop);
            }
            _ => return Err(Breach),
        };
        if open.bytes > MAX_MESSAGE || open.parts > MAX_PARTS {
            return Err(Breach);
        }
        if data.first && !data.unordered {
            self.check_sequence(&data)?;
        }
        if !data.last {
            self.open = Some(open);
        } else if !data.unordered {
            self.sequences.insert(data.stream, data.ssn.wrapping_add(1));
        }
        Ok(())
    }

    fn check_sequence(&mut self, data: &Data) -> Result<(), Breach> {
        let next = self.sequences.get(&data.stream).copied().unwrap_or(0);
        let anew = data.ssn == 0 && self.resets.remove(&data.stream);
        if anew || data.ssn == next { Ok(()) } else { Err(Breach) }
    }

    /// A chunk that came is among what its sender gives up. A whole message is delivered nevertheless, if it was its turn.
    fn skip(&mut self, data: Data, streams: impl Iterator<Item = (u16, u16)>) {
        let whole = data.first && data.last;
        let next = self.sequences.entry(data.stream).or_default();
        match (whole, data.unordered) {
            (true, true) => {}
            (true, false) if *next == data.ssn => *next = next.wrapping_add(1),
            // It was delivered before.
            (true, false) if next.wrapping_sub(data.ssn) < HALF16 => {}
            _ => self.give_up(data, data.len, streams),
        }
    }

    /// Parts of a message that nobody will complete. The library forgets them if it can tell.
    fn give_up(&mut self, part: Data, bytes: usize, mut streams: impl Iterator<Item = (u16, u16)>) {
        let forgotten = match (part.unordered, self.unordered.contains(&part.stream)) {
            (true, true) => true,
            (false, false) => {
                streams.any(|(stream, last)| stream == part.stream && last.wrapping_sub(part.ssn) < HALF16)
            }
            _ => false,
        };
        if !forgotten {
            self.orphaned += bytes + OVERHEAD;
        }
    }

    fn check(&self) -> Result<bool, Breach> {
        if self.orphaned > MAX_ORPHANED { Err(Breach) } else { Ok(true) }
    }
}

fn goes_on(before: &Data, data: &Data) -> bool {
    (before.stream, before.unordered) == (data.stream, data.unordered) && (data.unordered || before.ssn == data.ssn)
}

/// Chunks from the first missing one on. Browsers have about as many full ones on their way as make this limit's bytes.
const MAX_AHEAD: usize = 512;
pub(super) const MAX_AHEAD_BYTES: usize = 640 * 1024;
/// Parts of a message: browsers cut at the size of a datagram, and now and then where one was filled up.
const MAX_PARTS: usize = 2048;
/// Numbers that a sender may give up at once: more than it can have on its way.
const MAX_JUMP: u32 = 16_384;
/// What an association may cost for good by what its peer gave up in part, in bytes.
pub(super) const MAX_ORPHANED: usize = 128 * 1024;
/// What a chunk costs beside its bytes.
const OVERHEAD: usize = 256;
/// Serial number arithmetic (RFC 1982).
const HALF: u32 = 1 << 31;
const HALF16: u16 = 1 << 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(tsn: u32, stream: u16, ssn: u16) -> Data {
        Data { tsn, stream, ssn, unordered: false, first: true, last: true, len: 100 }
    }

    fn part(tsn: u32, first: bool, last: bool) -> Data {
        Data { first, last, len: 1000, ..whole(tsn, 1, 0) }
    }

    #[test]
    fn messages_in_order_or_not_pass_and_so_do_repetitions() {
        let mut order = Order::new(u32::MAX - 1);
        for tsn in [0, u32::MAX - 1, u32::MAX, 0, u32::MAX, 1] {
            assert_eq!(order.take(whole(tsn, 1, tsn.wrapping_add(2) as u16)), Ok(Taken::Pass));
        }
        assert!(order.has_all(1) && !order.has_all(2));
        assert_eq!((order.ahead.len(), order.ahead_bytes), (0, 0));
    }

    #[test]
    fn what_is_too_far_ahead_is_refused_until_its_turn_comes() {
        let mut order = Order::new(0);
        assert_eq!(order.take(whole(MAX_AHEAD as u32, 1, 1)), Ok(Taken::Refuse));
        assert_eq!(order.take(whole(MAX_AHEAD as u32 - 1, 1, 1)), Ok(Taken::Pass));
        let long = Data { len: MAX_AHEAD_BYTES, ..whole(1, 1, 1) };
        assert_eq!(order.take(long), Ok(Taken::Refuse));
        assert_eq!(order.take(Data { len: MAX_MESSAGE, ..whole(0, 1, 0) }), Ok(Taken::Pass));
    }

    #[test]
    fn one_message_at_a_time_is_in_parts() {
        let mut order = Order::new(0);
        assert_eq!(order.take(part(0, true, false)), Ok(Taken::Pass));
        assert_eq!(order.take(part(1, false, false)), Ok(Taken::Pass));
        assert_eq!(order.take(part(2, true, false)), Err(Breach), "the first one is not complete");
        let mut order = Order::new(0);
        let tiny = |tsn| Data { len: 1, ..part(tsn, tsn == 0, false) };
        let breach = (0..5000).find(|tsn| order.take(tiny(*tsn)).is_err());
        assert_eq!(breach, Some(MAX_PARTS as u32), "too many parts");
        let mut order = Order::new(0);
        let breach = (0..5000).find(|tsn| order.take(part(*tsn, *tsn == 0, false)).is_err());
        assert_eq!(breach, Some((MAX_MESSAGE / 1000) as u32), "too long");
    }

    #[test]
    fn a_stream_skips_no_message_unless_its_sender_says_so() {
        let mut order = Order::new(0);
        assert_eq!(order.take(whole(0, 1, 0)), Ok(Taken::Pass));
        assert_eq!(order.take(whole(1, 1, 2)), Err(Breach));
        let mut order = Order::new(0);
        assert_eq!(order.take(whole(0, 1, 0)), Ok(Taken::Pass));
        assert_eq!(order.forward(1, [(1, 1)].into_iter()), Ok(true));
        assert_eq!(order.take(whole(2, 1, 2)), Ok(Taken::Pass));
        assert!(order.reset(2, &[1]));
        assert_eq!(order.take(whole(3, 1, 0)), Ok(Taken::Pass));
        assert_eq!(order.take(whole(4, 1, 0)), Err(Breach), "it was begun anew once");
    }

    #[test]
    fn what_came_of_given_up_messages_is_forgotten_or_counted() {
        let mut order = Order::new(0);
        assert_eq!(order.take(part(0, true, false)), Ok(Taken::Pass));
        assert_eq!(order.take(whole(2, 2, 0)), Ok(Taken::Pass));
        assert_eq!(order.forward(3, [(1, 0)].into_iter()), Ok(true));
        assert_eq!((order.orphaned, order.next), (0, 4), "the library is told of it");
        assert_eq!(order.take(whole(4, 2, 1)), Ok(Taken::Pass));
        assert_eq!(order.take(part(5, true, false)), Err(Breach), "number 0 of stream 1 was given up");
        let mut order = Order::new(0);
        let breach = (0..10_000_u32).find(|round| {
            let begun = Data { unordered: true, ..part(2 * round, true, false) };
            order.take(begun).and_then(|_| order.forward(2 * round + 1, std::iter::empty())).is_err()
        });
        assert_eq!(breach, Some((MAX_ORPHANED / (1000 + OVERHEAD)) as u32), "not known to be unordered");
    }

    #[test]
    fn nobody_gives_up_more_than_was_on_its_way() {
        let mut order = Order::new(0);
        assert_eq!(order.forward(1 << 30, std::iter::empty()), Ok(false));
        assert_eq!(order.forward(0, std::iter::empty()), Ok(true));
        assert_eq!(order.forward(0, std::iter::empty()), Ok(true), "said again");
        assert_eq!(order.next, 1);
        assert!(!order.reset(1 << 30, &[1]));
    }
    #[test]
    fn numbers_of_a_stream_go_on_at_zero_after_the_last_one_also_where_messages_were_given_up() {
        let mut order = Order::new(0);
        for (tsn, last) in [(0, 30_000), (1, 60_000), (2, u16::MAX - 1)] {
            assert_eq!(order.forward(tsn, [(1, last)].into_iter()), Ok(true));
        }
        assert_eq!(order.take(whole(4, 1, u16::MAX)), Ok(Taken::Pass));
        assert_eq!(order.forward(4, std::iter::empty()), Ok(true), "of another stream, where 3 was");
        assert_eq!(order.take(whole(5, 1, 0)), Ok(Taken::Pass));
        assert_eq!(order.take(whole(6, 1, 1)), Ok(Taken::Pass));
    }
}
