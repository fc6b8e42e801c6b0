//! Pipes: how a room that is spread over engines gets its tracks from one to the other.
//!
//! Here are the frames and what one end of a pipe holds. What they lead to is the engine's (`engine/pipes.rs`); how they get to
//! the other end is the carrier's, who moves bytes and knows nothing of them.

mod fields;
mod frame;

use std::collections::HashMap;
use std::time::Instant;

use lockgate_model::carrier::NodeTime;

use crate::arena::{Arena, Key, KeySet};
use crate::stats::{Counters, DropReason};

pub(crate) use frame::{Announced, AnnouncedChannel, Encodings, Frame, Frames, Piped, PipedMessage, PipedTrack, Rates};

/// One end of a pipe.
pub(crate) struct Pipe {
    pub(crate) router: Key,
    /// The tracks of ours that the other end was told of.
    pub(crate) own: HashMap<PipedTrack, Key>,
    /// The tracks that the other end told of.
    pub(crate) theirs: HashMap<PipedTrack, Key>,
    /// The data channels of ours that the other end was told of.
    pub(crate) own_channels: HashMap<PipedTrack, Key>,
    /// Those that the other end told of.
    pub(crate) their_channels: HashMap<PipedTrack, TheirChannel>,
    /// When something is due of [`Self::theirs`].
    pub(crate) due: Option<Instant>,
    /// Whether the other end's greeting came, and by how much its clock is behind ours at most, in µs.
    clock: Option<i64>,
    next: u32,
    out: Vec<u8>,
    broken: bool,
}

/// A data channel of the other end.
pub(crate) struct TheirChannel {
    pub(crate) channel: Key,
    /// Whether the other end was told that somebody here wants it.
    pub(crate) wanted: bool,
    /// The message of which not all has come.
    pub(crate) partial: Vec<u8>,
}

impl TheirChannel {
    pub(crate) fn new(channel: Key) -> Self {
        Self { channel, wanted: false, partial: Vec::new() }
    }
}

impl Pipe {
    fn new(router: Key) -> Self {
        Self {
            router,
            own: HashMap::new(),
            theirs: HashMap::new(),
            own_channels: HashMap::new(),
            their_channels: HashMap::new(),
            due: None,
            clock: None,
            next: 1,
            out: Vec::new(),
            broken: false,
        }
    }

    /// A number for one more of our tracks.
    pub(crate) fn allot(&mut self, track: Key) -> PipedTrack {
        let number = self.number();
        self.own.insert(number, track);
        number
    }

    /// A number for one more of our data channels.
    pub(crate) fn allot_channel(&mut self, channel: Key) -> PipedTrack {
        let number = self.number();
        self.own_channels.insert(number, channel);
        number
    }

    fn number(&mut self) -> PipedTrack {
        let number = PipedTrack(self.next);
        self.next = self.next.wrapping_add(1);
        number
    }

    /// Takes note of the other end's greeting.
    pub(crate) fn greet(&mut self, now: NodeTime, theirs: NodeTime) {
        self.clock = Some(now.micros_since(theirs));
    }

    pub(crate) fn is_greeted(&self) -> bool {
        self.clock.is_some()
    }

    /// How much longer than the quickest one a packet was on its way, in µs.
    pub(crate) fn delay(&mut self, now: NodeTime, arrival: NodeTime) -> u64 {
        let passed = now.micros_since(arrival);
        let quickest = self.clock.get_or_insert(passed);
        *quickest = (*quickest).min(passed);
        passed.abs_diff(*quickest)
    }

    /// Looks after the other end's tracks by then.
    pub(crate) fn hurry(&mut self, due: Instant) {
        self.due = Some(self.due.map_or(due, |own| own.min(due)));
    }
}

/// All pipes of an engine.
#[derive(Default)]
pub(crate) struct Pipes {
    arena: Arena<Pipe>,
    /// Those that have something for their carrier.
    ready: KeySet,
}

impl Pipes {
    pub(crate) fn open(&mut self, router: Key) -> Key {
        self.arena.insert_with(|_| Pipe::new(router))
    }

    pub(crate) fn close(&mut self, key: Key) -> Option<Pipe> {
        self.arena.remove(key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Pipe> {
        self.arena.get_mut(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.arena.len()
    }

    /// The next end that has something for its carrier.
    pub(crate) fn pop_ready(&mut self) -> Option<Key> {
        self.ready.pop_first()
    }

    /// What waits for the carrier.
    pub(crate) fn bytes(&mut self, key: Key) -> Option<&mut Vec<u8>> {
        self.arena.get_mut(key).map(|pipe| &mut pipe.out)
    }

    pub(crate) fn is_broken(&self, key: Key) -> bool {
        self.arena.get(key).is_none_or(|pipe| pipe.broken)
    }

    /// When something is due of some pipe.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.arena.iter().filter_map(|pipe| pipe.due).min()
    }

    /// A pipe of which something is due, which is thereby taken care of.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let due = |pipe: &Pipe| pipe.due.is_some_and(|due| due <= now);
        let (key, pipe) = self.arena.iter_mut().find(|(_, pipe)| due(pipe))?;
        pipe.due = None;
        Some(key)
    }

    /// Whether so little waits that more than what must be known may be written.
    pub(crate) fn has_room(&self, key: Key) -> bool {
        self.arena.get(key).is_some_and(|pipe| pipe.out.len() < MAX_MEDIA)
    }

    /// Writes media, unless so much waits that it would come too late.
    pub(crate) fn send_media(&mut self, key: Key, counters: &mut Counters, frame: &Frame<'_>) {
        let Some(pipe) = self.arena.get_mut(key) else { return };
        if pipe.out.len() >= MAX_MEDIA {
            return counters.drop(DropReason::PipeOverflow);
        }
        if !frame.write(&mut pipe.out) {
            return counters.drop(DropReason::TooLong);
        }
        self.ready.insert(key);
    }

    /// Writes what the other end must know. An end that has not taken anything for so long that there is no room left for this is
    /// broken: the two do not know the same any more.
    pub(crate) fn send(&mut self, key: Key, counters: &mut Counters, frame: &Frame<'_>) {
        let Some(pipe) = self.arena.get_mut(key) else { return };
        if pipe.out.len() >= MAX_WAITING {
            pipe.broken = true;
            counters.drop(DropReason::PipeOverflow);
        } else if !frame.write(&mut pipe.out) {
            return counters.drop(DropReason::TooLong);
        }
        self.ready.insert(key);
    }
}

/// A second or two of what a worker takes in.
const MAX_MEDIA: usize = 4 << 20;
/// Media, and above it some ten thousand tracks that come and go.
const MAX_WAITING: usize = MAX_MEDIA + (1 << 20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::Origin;

    #[test]
    fn media_gives_way_first_and_an_end_that_takes_nothing_breaks() {
        let (mut pipes, mut counters) = (Pipes::default(), Counters::default());
        let router = Key::from_u64(1 << 32);
        let key = pipes.open(router);
        let (track, packet) = (PipedTrack(1), [7; 1200]);
        let origin = Origin { encoding: 0, life: 0 };
        let media = Frame::Packet(Piped { track, origin, number: 1 << 16, arrival: NodeTime(0), packet: &packet });
        (0..4000).for_each(|_| pipes.send_media(key, &mut counters, &media));
        let dropped = |counters: &Counters| counters.drop_counts[DropReason::PipeOverflow as usize];
        let full = pipes.bytes(key).unwrap().len();
        assert!(dropped(&counters) > 0 && (MAX_MEDIA..MAX_MEDIA + 2000).contains(&full), "{full}");
        pipes.send(key, &mut counters, &Frame::Gone { track });
        assert!(
            !pipes.is_broken(key) && pipes.bytes(key).unwrap().len() > full,
            "there is room for what must be known"
        );
        (0..200_000).for_each(|_| pipes.send(key, &mut counters, &Frame::Gone { track }));
        assert!(pipes.is_broken(key) && pipes.bytes(key).unwrap().len() <= MAX_WAITING + 2000);
        assert_eq!((pipes.pop_ready(), pipes.pop_ready()), (Some(key), None));
    }

    #[test]
    fn delay_is_counted_from_the_quickest_packet() {
        let mut pipe = Pipe::new(Key::from_u64(1 << 32));
        pipe.greet(NodeTime(1500), NodeTime(1000));
        assert_eq!(pipe.delay(NodeTime(2400), NodeTime(2000)), 0, "quicker than the greeting");
        assert_eq!(pipe.delay(NodeTime(3900), NodeTime(3000)), 500);
    }
}
