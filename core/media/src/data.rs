//! Data channels as tracks: one publisher's channel, and a channel of ours to each viewer.
//!
//! A viewer that does not keep up slows nobody else down: what waits for it is bounded. Of a reliable channel nothing may be left out,
//! so that one is ended; of the others the oldest messages are.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use lockgate_model::{Bitrate, ChannelFacts, Limits, TrackId};
use lockgate_transport::data::{Channel, MAX_MESSAGE, MESSAGE_OVERHEAD, Message, Reliability, StreamId};

use crate::arena::Key;
use crate::pipe::PipedTrack;
use crate::stats::DropReason;

/// Bounds of data channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataLimits {
    /// What one connection may send.
    pub rate: Bitrate,
    /// What may wait for a viewer of a reliable channel, in bytes; a quarter of it for the other ones.
    pub buffer: usize,
}

impl Default for DataLimits {
    fn default() -> Self {
        Self { rate: Bitrate(10_000_000), buffer: 4 * MAX_MESSAGE }
    }
}

/// A published channel.
pub(crate) struct DataPublisher {
    pub(crate) id: TrackId,
    pub(crate) router: Key,
    pub(crate) feed: DataFeed,
    pub(crate) channel: Channel,
    pub(crate) muted: bool,
    /// Its viewers, by their transports.
    pub(crate) subscribers: BTreeMap<Key, DataSubscriber>,
    /// The engines that were told of it.
    pub(crate) told: Vec<ToldOfData>,
}

/// Where a channel's messages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataFeed {
    /// A publisher's transport, and which of its channels.
    Publisher(Key, StreamId),
    /// A pipe, and its number there.
    Pipe(Key, PipedTrack),
}

/// Another engine that knows of a channel.
pub(crate) struct ToldOfData {
    pub(crate) pipe: Key,
    pub(crate) number: PipedTrack,
    /// Whether somebody there wants it.
    pub(crate) wanted: bool,
}

/// A viewer of a channel.
pub(crate) struct DataSubscriber {
    pub(crate) cause: u64,
    pub(crate) stream_name: String,
    pub(crate) limits: Limits,
    /// Our channel to it; none while its connection is not up.
    pub(crate) stream: Option<StreamId>,
    pub(crate) queue: Queue,
}

/// Messages that wait for room on a viewer's connection.
#[derive(Default)]
pub(crate) struct Queue {
    messages: VecDeque<(Instant, Message)>,
    bytes: usize,
}

/// What becomes of the messages that still wait for viewers when a channel ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// Its publisher ended it: they are what it wanted to say last.
    Delivered,
    /// It was taken away, or lost.
    Discarded,
}

/// A channel whose publisher has ended it, while its last messages are on their way to a viewer.
pub(crate) struct Leaving {
    pub(crate) id: TrackId,
    /// As of the subscription.
    pub(crate) cause: u64,
    pub(crate) stream: StreamId,
    pub(crate) reliability: Reliability,
    pub(crate) queue: Queue,
}

/// How many channels a publisher may open: some at once, and more with time. Each is put to its router's owner, who must not be flooded.
pub(crate) struct Openings {
    left: f64,
    since: Instant,
}

impl Openings {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, since: now }
    }

    /// Whether one more may be opened.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.since).as_secs_f64() * PER_SECOND;
        (self.left, self.since) = ((self.left + gained).min(AT_ONCE), now);
        let taken = self.left >= 1.0;
        self.left -= f64::from(u8::from(taken));
        taken
    }
}

/// A viewer is so far behind that its channel cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behind;

impl DataPublisher {
    pub(crate) fn new(id: TrackId, router: Key, feed: DataFeed, channel: Channel, muted: bool) -> Self {
        Self { id, router, feed, channel, muted, subscribers: BTreeMap::new(), told: Vec::new() }
    }

    pub(crate) fn is_home(&self) -> bool {
        matches!(self.feed, DataFeed::Publisher(..))
    }

    /// The channel as viewers get it: they know it by the track's name, which is unique in the room.
    pub(crate) fn towards_viewers(&self) -> Channel {
        Channel { label: self.id.to_string(), ..self.channel.clone() }
    }
}

impl Queue {
    /// Puts a message behind the others, of which at most `most` wait here, and for which the viewer has `room` in all. What is given up
    /// for it is counted.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        message: Message,
        reliability: Reliability,
        most: usize,
        room: usize,
        mut drop: impl FnMut(DropReason),
    ) -> Result<(), Behind> {
        let cost = cost(&message);
        if cost > room && reliability != Reliability::Reliable {
            drop(DropReason::DataLate);
            return Ok(());
        }
        let most =
            if reliability == Reliability::Reliable { most } else { (most / 4).max(MAX_MESSAGE + MESSAGE_OVERHEAD) };
        while self.bytes + cost > most || cost > room {
            if reliability == Reliability::Reliable {
                drop(DropReason::DataBehind);
                return Err(Behind);
            }
            if self.pop().is_none() {
                break;
            }
            drop(DropReason::DataLate);
        }
        self.bytes += cost;
        self.messages.push_back((now, message));
        Ok(())
    }

    /// The next message that is still worth sending.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        reliability: Reliability,
        mut drop: impl FnMut(DropReason),
    ) -> Option<Message> {
        loop {
            let (since, message) = self.pop()?;
            if reliability.lifetime().is_none_or(|life| now.saturating_duration_since(since) <= life) {
                return Some(message);
            }
            drop(DropReason::DataLate);
        }
    }

    /// What waits, with what each message costs beside its bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Discards everything; how much that was comes back.
    pub(crate) fn clear(&mut self) -> usize {
        std::mem::take(self).bytes
    }

    fn pop(&mut self) -> Option<(Instant, Message)> {
        let (since, message) = self.messages.pop_front()?;
        self.bytes -= cost(&message);
        Some((since, message))
    }
}

/// What a channel was opened with, for policy and for clients.
pub(crate) fn facts(channel: &Channel) -> ChannelFacts {
    let (max_retransmits, max_packet_life_time) = match channel.reliability {
        Reliability::Reliable => (None, None),
        Reliability::Retransmits(most) => (Some(most), None),
        Reliability::Lifetime(most) => (None, Some(most)),
    };
    ChannelFacts {
        label: channel.label.clone(),
        protocol: channel.protocol.clone(),
        ordered: channel.ordered,
        max_retransmits,
        max_packet_life_time,
    }
}

fn cost(message: &Message) -> usize {
    message.bytes.len() + MESSAGE_OVERHEAD
}

const AT_ONCE: f64 = 64.0;
const PER_SECOND: f64 = 8.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn message(len: usize) -> Message {
        Message { text: false, bytes: vec![7; len].into() }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
    fn what_waits_is_bounded_and_the_way_of_delivery_says_what_gives_way() {
        let now = Instant::now();
        for (reliability, kept) in [(Reliability::Reliable, 10), (Reliability::Retransmits(0), 4)] {
            let (mut queue, mut dropped) = (Queue::default(), Vec::new());
            let pushed = (0..20).take_while(|number| {
                queue
                    .push(now, message(65_000 + number), reliability, 10 * 65_536, usize::MAX, |reason| {
                        dropped.push(reason);
                    })
                    .is_ok()
            });
            let pushed = pushed.count();
            let left: Vec<_> = std::iter::from_fn(|| queue.next(now, reliability, |_| {})).collect();
            assert_eq!(left.len(), kept, "{reliability:?}");
            match reliability {
                Reliability::Reliable => assert_eq!((pushed, &dropped[..]), (10, &[DropReason::DataBehind][..])),
                _ => assert_eq!((pushed, dropped.len(), left[0].bytes.len()), (20, 16, 65_016), "the newest are left"),
            }
            assert_eq!(queue.bytes, 0);
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
    fn what_a_viewer_has_no_room_for_does_not_wait() {
        let now = Instant::now();
        for (reliability, taken, reason) in [
            (Reliability::Reliable, false, DropReason::DataBehind),
            (Reliability::Lifetime(9), true, DropReason::DataLate),
        ] {
            let (mut queue, mut dropped) = (Queue::default(), Vec::new());
            let pushed = queue.push(now, message(100), reliability, 1 << 20, 100, |reason| dropped.push(reason));
            assert_eq!((pushed.is_ok(), queue.is_empty(), dropped), (taken, true, vec![reason]));
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
    fn what_is_older_than_its_lifetime_is_not_sent() {
        let (now, life, mut late) = (Instant::now(), Reliability::Lifetime(100), 0);
        let mut queue = Queue::default();
        for at in [0, 50, 90] {
            queue.push(now + Duration::from_millis(at), message(at as usize), life, 1 << 20, 1 << 20, |_| {}).unwrap();
        }
        let next = queue.next(now + Duration::from_millis(150), life, |_| late += 1).unwrap();
        assert_eq!((next.bytes.len(), late), (50, 1));
    }
}
