//! What a stream has still to be sent: bounded, in whole frames, and what media hangs on before media and data, which take turns.
//!
//! A client that takes less than it is sent loses the oldest of its media first: who is late wants what is new. Of data it loses the
//! newest, by which SCTP sees that there is no room, as on any other way. A frame of which a
//! part went out is never lost, as nothing behind it could be read.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use lockgate_media::Kind;

use super::intake::{LONGEST, PREFIX, prefix};
use crate::withdrawal::{is_data, is_of};

/// One stream's way out.
#[derive(Default)]
pub(crate) struct Outbox {
    /// Checks' answers, handshakes, feedback.
    control: Queue,
    /// Data channels.
    data: Queue,
    media: Queue,
    /// Where a frame went out in part.
    torn: Option<Class>,
    /// The last frame was of data: then it is media's turn.
    after_data: bool,
}

/// Frames in order.
#[derive(Default)]
struct Queue {
    frames: VecDeque<Waiting>,
    bytes: VecDeque<u8>,
}

struct Waiting {
    /// What is left of it, with what stands before it.
    len: usize,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Control,
    Data,
    Media,
}

/// What became of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Went out whole.
    pub(crate) sent: u64,
    /// Waited for too long, or for too much room.
    pub(crate) dropped: u64,
}

impl Outbox {
    /// Puts a datagram at the end. `all` is what all outboxes of the worker hold, with this one. How many frames were lost by that
    /// comes back, which may be this one.
    pub(crate) fn push(&mut self, now: Instant, datagram: &[u8], all: usize) -> u64 {
        let len = PREFIX + datagram.len();
        if datagram.is_empty() || datagram.len() > LONGEST {
            return 1;
        }
        if Kind::of(datagram) == Some(Kind::Rtp) {
            // Where all together hold too much, the new takes the place of the old.
            let most = self.media.held() + MAX_OF_ALL.saturating_sub(all);
            let dropped = self.shed(now, len, most);
            if self.media.held() + cost(len) > most {
                return dropped + 1;
            }
            self.media.push(now, datagram);
            return dropped;
        }
        let (queue, most, most_of_all) = match Kind::of(datagram) {
            Some(Kind::Dtls) if is_data(datagram) => (&mut self.data, MAX_DATA, MAX_OF_ALL),
            _ => (&mut self.control, MAX_CONTROL, MAX_OF_ALL + SPARE),
        };
        if queue.bytes.len() + len > most || all + cost(len) > most_of_all {
            return 1;
        }
        queue.push(now, datagram);
        0
    }

    /// Writes as much as there is room for. [`io::ErrorKind::WouldBlock`] says that there is none left; the tally is right anyway.
    pub(crate) fn write(&mut self, now: Instant, out: &mut impl Write, tally: &mut Tally) -> io::Result<()> {
        tally.dropped += self.shed(now, 0, usize::MAX);
        while let Some((class, alone)) = self.next() {
            let queue = self.queue(class);
            let ready = queue.bytes.as_slices().0;
            let ready = if alone { ready } else { &ready[..ready.len().min(queue.first())] };
            match out.write(ready) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    let (sent, torn) = queue.take_off(count);
                    self.torn = torn.then_some(class);
                    if sent > 0 && class != Class::Control {
                        self.after_data = class == Class::Data;
                    }
                    tally.sent += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Drops what waited too long, and gives memory back that is not needed. For when nothing was written for a while.
    pub(crate) fn rest(&mut self, now: Instant, tally: &mut Tally) {
        tally.dropped += self.shed(now, 0, usize::MAX);
        self.control.shrink();
        self.data.shrink();
        self.media.shrink();
    }

    /// Drops what waits of these sources; without any said, all but control. A frame of which a part went out stays. Tells how many went.
    pub(crate) fn withdraw(&mut self, sources: Option<&BTreeSet<u32>>) -> u64 {
        let torn = self.torn;
        let from = |class| usize::from(torn == Some(class));
        let media = self.media.withdraw(from(Class::Media), |datagram| is_of(datagram, sources));
        let data = self.data.withdraw(from(Class::Data), |datagram| is_of(datagram, sources));
        media + data
    }

    /// How many frames wait.
    pub(crate) fn len(&self) -> u64 {
        [&self.control, &self.data, &self.media].iter().map(|queue| queue.frames.len() as u64).sum()
    }

    /// Bytes that it holds, with what it knows of them.
    pub(crate) fn held(&self) -> usize {
        self.control.held() + self.data.held() + self.media.held()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        [&self.control, &self.data, &self.media].iter().all(|queue| queue.bytes.is_empty())
    }

    /// Whose turn it is, and whether for everything that it has; otherwise for one frame, or what is left of one that went out in part.
    fn next(&self) -> Option<(Class, bool)> {
        if let Some(torn) = self.torn {
            return Some((torn, false));
        }
        if !self.control.bytes.is_empty() {
            return Some((Class::Control, true));
        }
        match (!self.data.bytes.is_empty(), !self.media.bytes.is_empty()) {
            (false, false) => None,
            (true, false) => Some((Class::Data, true)),
            (false, true) => Some((Class::Media, true)),
            (true, true) => Some((if self.after_data { Class::Media } else { Class::Data }, false)),
        }
    }

    fn queue(&mut self, class: Class) -> &mut Queue {
        match class {
            Class::Control => &mut self.control,
            Class::Data => &mut self.data,
            Class::Media => &mut self.media,
        }
    }

    /// Drops media that waited too long, and the oldest until there is room for so long a frame more, where media may hold `most`.
    fn shed(&mut self, now: Instant, len: usize, most: usize) -> u64 {
        let from = usize::from(self.torn == Some(Class::Media));
        let queue = &mut self.media;
        let mut dropped = 0;
        while let Some(oldest) = queue.frames.get(from)
            && (queue.bytes.len() + len > MAX_MEDIA
                || queue.held() + cost(len) > most
                || now.saturating_duration_since(oldest.since) > TOO_LATE)
        {
            queue.remove(from);
            dropped += 1;
        }
        dropped
    }
}

impl Queue {
    fn push(&mut self, since: Instant, datagram: &[u8]) {
        self.frames.push_back(Waiting { len: PREFIX + datagram.len(), since });
        self.bytes.extend(prefix(datagram.len()));
        self.bytes.extend(datagram);
    }

    fn held(&self) -> usize {
        self.bytes.len() + self.frames.len() * size_of::<Waiting>()
    }

    /// What is left of the first frame.
    fn first(&self) -> usize {
        self.frames.front().map_or(0, |frame| frame.len)
    }

    /// The first bytes are gone. How many frames that ended comes back, and whether the next one is torn.
    fn take_off(&mut self, count: usize) -> (u64, bool) {
        let (mut left, mut whole) = (count, 0);
        while let Some(frame) = self.frames.front_mut() {
            if frame.len > left {
                frame.len -= left;
                break;
            }
            left -= frame.len;
            whole += 1;
            self.frames.pop_front();
        }
        let torn = left > 0;
        self.bytes.drain(..count);
        self.tidy();
        (whole, torn)
    }

    /// Takes out a whole frame: the first, or the one behind a torn one.
    fn remove(&mut self, place: usize) {
        let before = if place == 0 { 0 } else { self.first() };
        if let Some(frame) = self.frames.remove(place) {
            self.bytes.drain(before..before + frame.len);
        }
        self.tidy();
    }

    /// Takes out those whole frames whose datagram is such, from this place on. How many these were comes back.
    fn withdraw(&mut self, from: usize, is_such: impl Fn(&[u8]) -> bool) -> u64 {
        let before = self.frames.len();
        let bytes = self.bytes.make_contiguous();
        let (mut place, mut read, mut kept) = (0, 0, 0);
        self.frames.retain(|frame| {
            let at = read..read + frame.len;
            let stays = place < from || !is_such(&bytes[at.start + PREFIX..at.end]);
            (place, read) = (place + 1, at.end);
            if stays {
                // Before the first that goes all stays where it is.
                if at.start != kept {
                    bytes.copy_within(at, kept);
                }
                kept += frame.len;
            }
            stays
        });
        self.bytes.truncate(kept);
        self.tidy();
        (before - self.frames.len()) as u64
    }

    /// A bad time is over: its memory goes back.
    fn tidy(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > SMALL {
            *self = Self::default();
        }
    }

    /// As above, of times that were bad and are better.
    fn shrink(&mut self) {
        if self.bytes.capacity() > 2 * self.bytes.len() + SMALL || self.bytes.is_empty() {
            self.bytes.shrink_to(2 * self.bytes.len());
            self.frames.shrink_to(2 * self.frames.len());
        }
    }
}

/// What a frame of this length takes.
fn cost(len: usize) -> usize {
    len + size_of::<Waiting>()
}

/// More than a second of a large picture.
const MAX_MEDIA: usize = 512 << 10;
/// A handshake, and answers to more checks than any client makes.
const MAX_CONTROL: usize = 64 << 10;
/// What data channels may have on their way: half a second of 1 Mbit/s.
const MAX_DATA: usize = 64 << 10;
/// What all outboxes of a worker may hold: hundreds of clients that take nothing.
pub(crate) const MAX_OF_ALL: usize = 64 << 20;
/// Beyond that, of what media hangs on.
const SPARE: usize = 16 << 20;
/// As long as media waits for its pace, too.
const TOO_LATE: Duration = Duration::from_millis(500);
/// What an outbox may hold while nothing waits: a burst that the system took at once.
const SMALL: usize = 16 << 10;

#[cfg(test)]
mod tests;
