//! The last packets of an encoding: one copy, which all viewers are sent from and may ask for again.
//!
//! Bounded in time, in number and in bytes. The bytes lie in one buffer that is written round and round; it grows while packets
//! would be lost from it that are still young.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use lockgate_rtp::{Header, PacketFacts};

use crate::packet::{Packet, Passed};

/// The last packets of an encoding.
pub(crate) struct Ring {
    bytes: Vec<u8>,
    /// Where the next packet goes.
    write: usize,
    /// By the low bits of their numbers.
    slots: Vec<Option<Slot>>,
    /// The numbers of what is kept, in the order in which it lies in the buffer.
    order: VecDeque<u64>,
    keep: Duration,
}

struct Slot {
    number: u64,
    at: Instant,
    start: u32,
    len: u16,
    payload: Range<u16>,
    header: Header,
    facts: PacketFacts,
    passed: Passed,
}

impl Slot {
    fn range(&self) -> Range<usize> {
        self.start as usize..self.start as usize + usize::from(self.len)
    }
}

impl Ring {
    /// An empty ring that takes no memory yet; packets are of use for so long.
    pub(crate) fn new(keep: Duration) -> Self {
        Self { bytes: Vec::new(), write: 0, slots: Vec::new(), order: VecDeque::new(), keep }
    }

    /// Keeps a copy. Its number is one that is not kept yet.
    pub(crate) fn keep(&mut self, now: Instant, packet: &Packet<'_>) {
        let len = packet.bytes.len();
        self.make_room(now, len);
        self.free_slot(now, packet.number);
        let start = self.write;
        self.bytes[start..start + len].copy_from_slice(packet.bytes);
        self.write += len;
        self.order.push_back(packet.number);
        let place = self.place(packet.number);
        self.slots[place] = Some(Slot {
            number: packet.number,
            at: now,
            start: start as u32,
            len: len as u16,
            payload: packet.payload.start as u16..packet.payload.end as u16,
            header: packet.header,
            facts: packet.facts,
            passed: packet.passed,
        });
    }

    /// A packet that is still there.
    pub(crate) fn get(&self, number: u64) -> Option<Packet<'_>> {
        let slot = self.slot(number)?;
        Some(Packet {
            number,
            header: slot.header,
            facts: slot.facts,
            payload: usize::from(slot.payload.start)..usize::from(slot.payload.end),
            passed: slot.passed,
            bytes: &self.bytes[slot.range()],
        })
    }

    /// Makes the buffer hold `len` more bytes at `write`, in one piece.
    fn make_room(&mut self, now: Instant, len: usize) {
        while self.oldest().is_some_and(|slot| now.duration_since(slot.at) > self.keep) {
            self.drop_oldest();
        }
        loop {
            let oldest = self.oldest().map(|slot| (slot.start as usize, slot.at));
            match oldest {
                None if self.bytes.len() >= len => return self.write = 0,
                // The kept bytes end at `write`; behind them there is the rest of the buffer.
                Some((start, _)) if start < self.write && self.bytes.len() - self.write >= len => return,
                Some((start, _)) if start < self.write && start > 0 => self.write = 0,
                // They begin behind `write`.
                Some((start, _)) if start >= self.write && start - self.write >= len => return,
                _ if self.bytes.len() < MAX_BYTES => self.grow(len),
                _ => self.drop_oldest(),
            }
        }
    }

    /// Makes the place of a number free.
    fn free_slot(&mut self, now: Instant, number: u64) {
        if self.slots.is_empty() {
            self.slots.resize_with(MIN_SLOTS, || None);
        }
        while let Some(slot) = &self.slots[self.place(number)] {
            if self.slots.len() < MAX_SLOTS && now.duration_since(slot.at) <= self.keep {
                self.grow_slots();
            } else {
                self.drop_oldest();
            }
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(number) = self.order.pop_front() {
            let place = self.place(number);
            self.slots[place] = None;
        }
    }

    /// A larger buffer, with what is kept at its beginning.
    fn grow(&mut self, len: usize) {
        let size = (2 * self.bytes.len()).max(MIN_BYTES).max(len.next_power_of_two());
        let mut bytes = Vec::with_capacity(size);
        for number in &self.order {
            let place = *number as usize & (self.slots.len() - 1);
            if let Some(slot) = &mut self.slots[place] {
                let range = slot.range();
                slot.start = bytes.len() as u32;
                bytes.extend_from_slice(&self.bytes[range]);
            }
        }
        self.write = bytes.len();
        bytes.resize(size, 0);
        self.bytes = bytes;
    }

    fn grow_slots(&mut self) {
        let size = 2 * self.slots.len();
        let mut slots = Vec::new();
        slots.resize_with(size, || None);
        for slot in self.slots.drain(..).flatten() {
            let place = slot.number as usize & (size - 1);
            slots[place] = Some(slot);
        }
        self.slots = slots;
    }

    fn oldest(&self) -> Option<&Slot> {
        self.slot(*self.order.front()?)
    }

    fn slot(&self, number: u64) -> Option<&Slot> {
        self.slots
            .get(number as usize & self.slots.len().wrapping_sub(1))?
            .as_ref()
            .filter(|slot| slot.number == number)
    }

    /// The size is a power of two.
    fn place(&self, number: u64) -> usize {
        number as usize & (self.slots.len() - 1)
    }
}

const MIN_BYTES: usize = 1 << 14;
/// Over a second of 6 Mbit/s.
const MAX_BYTES: usize = 1 << 20;
const MIN_SLOTS: usize = 32;
const MAX_SLOTS: usize = 1024;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet of so many bytes, all of them its number.
    fn bytes(number: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![number as u8; len];
        bytes[0] = 0x80;
        bytes
    }

    fn keep(ring: &mut Ring, now: Instant, number: u64, len: usize) {
        let bytes = bytes(number, len);
        let header = Header::parse(&bytes).unwrap();
        let facts = PacketFacts::default();
        ring.keep(now, &Packet { number, header, facts, payload: 12..len, passed: Passed::default(), bytes: &bytes });
    }

    proptest! {
        /// Whatever comes in whatever order: what is there is whole, the last packets are there, the limits hold.
        #[test]
        fn what_is_kept_is_whole_and_bounded(
            packets in proptest::collection::vec((12_usize..1500, 0_u64..3, 0_u64..40), 1..3000),
        ) {
            let mut now = Instant::now();
            let mut ring = Ring::new(Duration::from_secs(1));
            let mut all: Vec<(u64, usize, Instant)> = Vec::new();
            let mut number = 1 << 16;
            for (len, skip, later) in packets {
                number += 1 + skip;
                now += Duration::from_millis(later / 13);
                keep(&mut ring, now, number, len);
                all.push((number, len, now));
            }
            prop_assert!(ring.bytes.len() <= MAX_BYTES && ring.slots.len() <= MAX_SLOTS);
            let (mut bytes_behind, mut numbers_behind) = (0, 0);
            for (number, len, at) in all.into_iter().rev() {
                bytes_behind += len;
                let kept = ring.get(number);
                if let Some(packet) = &kept {
                    prop_assert_eq!(packet.bytes, &bytes(number, len)[..]);
                }
                // Up to three numbers are passed over before each; half of the buffer may be lost to the turn.
                let must = now.duration_since(at) < Duration::from_secs(1)
                    && bytes_behind < MAX_BYTES / 2
                    && numbers_behind < MAX_SLOTS as u64 / 4;
                prop_assert!(kept.is_some() || !must, "{number} of {len} is gone");
                numbers_behind += 1;
            }
        }
    }

    #[test]
    fn a_quiet_stream_takes_little_memory_and_forgets_what_is_old() {
        let start = Instant::now();
        let mut ring = Ring::new(Duration::from_millis(200));
        for number in 0..1000 {
            keep(&mut ring, start + Duration::from_millis(20 * number), number + 1, 100);
        }
        assert!(ring.bytes.len() <= MIN_BYTES && ring.slots.len() <= MIN_SLOTS);
        assert!(ring.get(1000).is_some() && ring.get(995).is_some());
        assert!(ring.get(980).is_none());
    }

    #[test]
    fn a_datagram_of_any_size_fits() {
        let now = Instant::now();
        let mut ring = Ring::new(Duration::from_secs(1));
        (1..40).for_each(|number| keep(&mut ring, now, number, 65_507));
        assert_eq!(ring.get(39).unwrap().bytes.len(), 65_507);
        assert!(ring.bytes.len() <= MAX_BYTES);
    }
}
