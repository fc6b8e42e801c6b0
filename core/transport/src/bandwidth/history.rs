//! What was sent and is not accounted for yet: eight bytes a packet, forgotten as soon as the receiver has told of it.
//!
//! A packet that came leaves at once, so the history is about as long as a round trip and its memory follows the rate; a
//! number outside it was never sent or was told of before.

use std::collections::VecDeque;

use super::Micros;

/// The packets on their way, in the order of their transport-wide numbers.
pub(super) struct History {
    sent: VecDeque<Record>,
    /// The number of the next packet.
    next: u16,
}

/// A packet that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// When.
    pub(super) at: Micros,
    /// How long the datagram was.
    pub(super) bytes: u32,
    /// The probe that it was part of; 0: of none.
    pub(super) probe: u8,
}

/// What a receiver's word about a number changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It came.
    Came(Sent),
    /// It came, though it had been told to be lost.
    CameLate(Sent),
    /// It is lost, for now.
    Lost(Sent),
    /// Nothing: that was known, and may be said again.
    Known,
    /// Nothing, and an honest receiver would not say it: never sent, or told to have come before.
    Refused,
}

#[derive(Clone, Copy)]
struct Record {
    /// The lower half of the time: a history is far shorter than the 71 minutes after which it repeats itself.
    at: u32,
    bytes: u16,
    probe: u8,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    OnItsWay,
    Lost,
    Came,
    /// It was sent again: when it comes says nothing of the way.
    Again,
}

impl History {
    pub(super) fn new() -> Self {
        Self { sent: VecDeque::new(), next: 0 }
    }

    /// Notes a packet; its number comes back.
    pub(super) fn push(&mut self, now: Micros, bytes: usize, probe: u8) -> u16 {
        // At most two leave for one that comes: that is soon enough, and never long.
        for _ in 0..2 {
            self.sent.pop_front_if(|first| now - first.restore(now).at >= KEEP);
        }
        if self.sent.len() == MAX_PACKETS {
            self.sent.pop_front();
        }
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        self.sent.push_back(Record { at: now as u32, bytes, probe, fate: Fate::OnItsWay });
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        number
    }

    /// A packet that may not have come leaves once more under its number.
    pub(super) fn repeat(&mut self, number: u16) {
        let place = self.sent.len().checked_sub(self.behind(number));
        if let Some(record) = place.and_then(|place| self.sent.get_mut(place)).filter(|one| one.fate != Fate::Came) {
            record.fate = Fate::Again;
        }
    }

    /// Takes a receiver's word about a number.
    pub(super) fn tell(&mut self, now: Micros, number: u16, came: bool) -> Told {
        let Some(place) = self.sent.len().checked_sub(self.behind(number)) else {
            return if came { Told::Refused } else { Told::Known };
        };
        let Some(record) = self.sent.get_mut(place) else { return Told::Refused };
        let sent = record.restore(now);
        match (record.fate, came) {
            (Fate::Came, true) => return Told::Refused,
            (Fate::Came | Fate::Lost, false) | (Fate::Again, _) => return Told::Known,
            _ => {}
        }
        let before = record.fate;
        record.fate = if came { Fate::Came } else { Fate::Lost };
        match (before, came) {
            (_, false) => Told::Lost(sent),
            (Fate::Lost, true) => Told::CameLate(sent),
            (_, true) => Told::Came(sent),
        }
    }

    /// Lets go of what is accounted for. What is lost may still come, for a while.
    pub(super) fn forget(&mut self, now: Micros) {
        while let Some(first) = self.sent.front() {
            let age = now - first.restore(now).at;
            let keep = match first.fate {
                Fate::Came => 0,
                Fate::Lost | Fate::Again => KEEP_LOST,
                Fate::OnItsWay => KEEP,
            };
            if age < keep {
                return;
            }
            self.sent.pop_front();
        }
    }

    /// How far a number lies behind the next one to be sent: 1 for the newest.
    pub(super) fn behind(&self, number: u16) -> usize {
        self.next.wrapping_sub(number).into()
    }

    /// How far behind the next number feedback may begin: receivers repeat a little, and each status costs time to read.
    pub(super) fn reach(&self) -> usize {
        2 * self.sent.len() + SAID_AGAIN
    }
}

impl Record {
    fn restore(&self, now: Micros) -> Sent {
        let age = (now as u32).wrapping_sub(self.at);
        Sent { at: now - Micros::from(age), bytes: self.bytes.into(), probe: self.probe }
    }
}

/// As long as a queue on the way may hold a packet: a router's buffer for 5 Mbit/s takes about that long once there are 0.3.
const KEEP: Micros = 8_000_000;
/// Reordering over more than this is none.
const KEEP_LOST: Micros = 2_000_000;
/// At 10,000 packets per second almost a second.
const MAX_PACKETS: usize = 8192;
const SAID_AGAIN: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(at: Micros) -> Sent {
        Sent { at, bytes: 1000, probe: 0 }
    }

    #[test]
    fn a_packet_is_told_of_once() {
        let mut history = History::new();
        let number = history.push(5, 1000, 0);
        assert_eq!(history.tell(9, number.wrapping_sub(1), true), Told::Refused, "before the first");
        assert_eq!(history.tell(9, number + 1, true), Told::Refused, "after the last");
        assert_eq!(history.tell(9, number, true), Told::Came(sent(5)));
        assert_eq!(history.tell(9, number, true), Told::Refused);
        history.forget(9);
        assert_eq!(history.tell(9, number, true), Told::Refused, "forgotten");
        assert_eq!(history.tell(9, number, false), Told::Known);
    }

    #[test]
    fn a_lost_packet_may_come_late() {
        let mut history = History::new();
        let number = history.push(5, 1000, 0);
        assert_eq!(history.tell(9, number, false), Told::Lost(sent(5)));
        history.forget(9);
        assert_eq!(history.tell(9, number, false), Told::Known);
        assert_eq!(history.tell(9, number, true), Told::CameLate(sent(5)));
        assert_eq!(history.tell(9, number, false), Told::Known);
    }

    #[test]
    fn what_is_accounted_for_takes_no_memory() {
        let mut history = History::new();
        for now in 0..200_000 {
            let number = history.push(now * 1000, 1000, 0);
            if now >= 100 {
                history.tell(now * 1000, number.wrapping_sub(100), now % 20 != 0);
            }
            history.forget(now * 1000);
        }
        assert!(history.sent.capacity() <= 4096, "{}", history.sent.capacity());
        assert_eq!(size_of::<Record>(), 8);
    }

    #[test]
    fn a_receiver_that_tells_nothing_costs_eight_seconds() {
        let mut history = History::new();
        for packet in 0..10_000 {
            history.push(packet * 10_000, 1200, 0);
        }
        assert_eq!(history.sent.len(), 800);
        assert!(history.sent.capacity() <= 1024);
    }

    #[test]
    fn what_is_never_told_of_is_bounded() {
        let mut history = History::new();
        for now in 0..20_000 {
            history.push(now, 1000, 0);
        }
        assert_eq!(history.sent.len(), MAX_PACKETS);
        history.forget(20_000 + KEEP);
        assert_eq!(history.sent.len(), 0);
    }
}
