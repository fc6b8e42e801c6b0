//! A worker's TCP connections (RFC 6544, RFC 4571): for clients whose network lets no UDP through.
//!
//! To the engine a connection is a path like any other, by its own number. It is kept as long as the engine knows that path: from the
//! first authentic check until its transport gives it up. What it may cost before that is bounded, in time, number and memory.

mod intake;
mod listener;
mod newcomers;
mod outbox;
mod stream;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lockgate_media::{Path, Run, Withdrawn};
use mio::event::Event;
use mio::{Registry, Token};

use crate::stats::{NetworkCounters, SendFailure, StreamEnd};
use intake::Intake;
use listener::{Listener, Taken};
use newcomers::Newcomers;
use outbox::Tally;
use stream::{Standing, Stream};

/// All streams of a worker, and where they come from.
pub(crate) struct Streams {
    listeners: Vec<Listener>,
    slots: Vec<Option<Stream>>,
    free: Vec<usize>,
    /// How many there were: no two have the same number for a long time.
    generation: u32,
    newcomers: Newcomers,
    intake: Intake,
    /// Those with something to read, each once.
    readable: VecDeque<usize>,
    /// Which of them is being read.
    reading: usize,
    /// Those with something to write, each once.
    touched: Vec<usize>,
    /// What all of them hold that waits to be written.
    held: usize,
    /// Those that have ended and are still there; some may be in it twice.
    over: Vec<usize>,
    /// When the system had no room for a connection, and is to be asked again.
    retry_at: Option<Instant>,
    /// It had none when it was asked last: that is counted once, however often it is asked.
    short: bool,
    /// When it is looked whether the engine knows them all.
    look_at: Instant,
    counters: Counters,
}

/// What streams count by themselves.
#[derive(Default)]
struct Counters {
    accepted: u64,
    frames_in: u64,
    frames: Tally,
    lost: u64,
    withdrawn: u64,
    ends: [u64; StreamEnd::ALL.len()],
}

impl Streams {
    /// Of one of so many workers, that listens at no address.
    fn none(workers: usize, now: Instant) -> Self {
        Self {
            listeners: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            generation: 0,
            newcomers: Newcomers::of_one_in(workers),
            intake: Intake::new(),
            readable: VecDeque::new(),
            reading: 0,
            touched: Vec::new(),
            held: 0,
            over: Vec::new(),
            retry_at: None,
            short: false,
            look_at: now,
            counters: Counters::default(),
        }
    }

    /// Listens at each address, on this port, for one of so many workers.
    pub(crate) fn bind(
        addresses: &[IpAddr],
        port: u16,
        workers: usize,
        now: Instant,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let bind = |ip: &IpAddr| {
            let address = SocketAddr::new(*ip, port);
            Listener::bind(address).map_err(|error| (address, error))
        };
        Ok(Self { listeners: addresses.iter().map(bind).collect::<Result<_, _>>()?, ..Self::none(workers, now) })
    }

    pub(crate) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        (LISTENERS..)
            .zip(&mut self.listeners)
            .try_for_each(|(token, listener)| listener.register(registry, Token(token)))
    }

    /// Takes what the system said; false if it is of something else.
    pub(crate) fn on_ready(&mut self, now: Instant, event: &Event) -> bool {
        match event.token().0 {
            token @ LISTENERS.. => {
                if let Some(listener) = self.listeners.get_mut(token - LISTENERS) {
                    listener.ready = true;
                }
            }
            token @ STREAMS.. => self.on_stream_ready(now, token - STREAMS, event),
            _ => return false,
        }
        true
    }

    fn on_stream_ready(&mut self, now: Instant, slot: usize, event: &Event) {
        let Some(Some(stream)) = self.slots.get_mut(slot) else { return };
        stream.ends |= event.is_read_closed();
        if event.is_readable() && !std::mem::replace(&mut stream.readable, true) {
            self.readable.push_back(slot);
        }
        if event.is_writable() {
            stream.on_writable();
            self.write(now, slot);
        }
    }

    /// Takes those who connected, as many as a turn has room for; nobody while the first words of others wait to be read, who could be
    /// pushed out for it.
    pub(crate) fn accept(&mut self, now: Instant, registry: &Registry) {
        let waits = self.retry_at.is_some_and(|at| at > now);
        if waits || !self.listeners.iter().any(|listener| listener.ready) || self.first_words_wait() {
            return;
        }
        self.retry_at = None;
        for index in 0..self.listeners.len() {
            for _ in 0..MAX_ACCEPTED {
                let Some(listener) = self.listeners.get_mut(index).filter(|listener| listener.ready) else { break };
                let taken = listener.take();
                // Nobody is there to be taken only where there is room for one.
                self.short &= !matches!(taken, Taken::One(..) | Taken::None);
                match taken {
                    Taken::One(socket, remote) => self.add(now, socket, remote, registry),
                    Taken::Gone => {}
                    Taken::None => break,
                    Taken::NoRoom => return self.make_room(now),
                    Taken::Failed => self.counters.end(StreamEnd::Failed),
                }
            }
        }
    }

    /// The system has no room for one who is there: the oldest newcomer goes for it. Without any, it is asked again later.
    fn make_room(&mut self, now: Instant) {
        if let Some(number) = self.newcomers.oldest() {
            return self.end(number, StreamEnd::Crowded);
        }
        if !std::mem::replace(&mut self.short, true) {
            self.counters.end(StreamEnd::NoRoom);
        }
        self.retry_at = Some(now + RETRY);
    }

    /// The next stream with something to read: it is read, and the path that its frames came by comes back.
    pub(crate) fn read(&mut self) -> Option<Path> {
        let slot = self.readable.pop_front()?;
        let stream = self.slots.get_mut(slot)?.as_mut()?;
        self.reading = slot;
        if stream.read(&mut self.intake) {
            self.readable.push_back(slot);
        }
        self.over.extend(stream.is_over().then_some(slot));
        Some(stream.path)
    }

    /// The next frame of the stream that was read last.
    pub(crate) fn next_frame(&mut self) -> Option<&mut [u8]> {
        let stream = self.slots.get_mut(self.reading)?.as_mut()?;
        let frame = stream.next_frame(&mut self.intake);
        match frame {
            Some(_) => self.counters.frames_in += 1,
            None => self.over.extend(stream.is_over().then_some(self.reading)),
        }
        frame
    }

    /// A frame was handed on: of a newcomer it must have been a check that made its path known.
    pub(crate) fn judge(&mut self, knows: impl FnOnce(&Path) -> bool) {
        let Some(Some(stream)) = self.slots.get_mut(self.reading) else { return };
        if stream.standing != Standing::Newcomer {
            return;
        }
        self.newcomers.remove(stream.path.socket);
        if knows(&stream.path) {
            stream.standing = Standing::Client;
        } else {
            stream.end(StreamEnd::WrongCheck);
            self.over.push(self.reading);
        }
    }

    /// Sends runs, those of them that go by streams.
    pub(crate) fn send<'a>(&mut self, now: Instant, runs: impl Iterator<Item = Run<'a>>) {
        for run in runs.filter(|run| run.path.socket >= FIRST) {
            let slot = slot_of(run.path.socket);
            let stream = self.slots.get_mut(slot).and_then(Option::as_mut);
            let Some(stream) = stream.filter(|stream| stream.path == run.path && !stream.is_over()) else {
                self.counters.lost += run.count() as u64;
                continue;
            };
            for datagram in run.bytes.chunks(run.segment) {
                self.held -= stream.held();
                self.counters.frames.dropped += stream.push(now, datagram, self.held + stream.held());
                self.held += stream.held();
            }
            if !std::mem::replace(&mut stream.touched, true) {
                self.touched.push(slot);
            }
        }
        while let Some(slot) = self.touched.pop() {
            self.write(now, slot);
        }
    }

    /// Drops what waits and is not to be sent any more.
    pub(crate) fn withdraw(&mut self, withdrawn: &[Withdrawn]) {
        // What waits for a stream is walked once for all that is told of it one behind the other.
        for of_path in withdrawn.chunk_by(|one, next| one.path == next.path) {
            let Some(path) = of_path.first().map(|one| one.path).filter(|path| path.socket >= FIRST) else { continue };
            let stream = self.slots.get_mut(slot_of(path.socket)).and_then(Option::as_mut);
            let Some(stream) = stream.filter(|stream| stream.path == path) else { continue };
            // One that says none means all.
            let sources: Option<BTreeSet<u32>> = of_path.iter().map(|one| one.source).collect();
            self.held -= stream.held();
            self.counters.withdrawn += stream.withdraw(sources.as_ref());
            self.held += stream.held();
        }
    }

    /// Ends those that took too long to say who they are, and those whose path has not been known for a while; lets go of what is too late.
    pub(crate) fn expire(&mut self, now: Instant, knows: impl Fn(&Path) -> bool) {
        while let Some(number) = self.newcomers.poll(now) {
            self.end(number, StreamEnd::NoCheck);
        }
        if self.look_at <= now {
            self.look_at = now + LOOK;
            let streams = self.slots.iter_mut().enumerate().filter_map(|(slot, stream)| Some((slot, stream.as_mut()?)));
            for (slot, stream) in streams {
                self.held -= stream.held();
                stream.rest(now, &mut self.counters.frames);
                self.held += stream.held();
                stream.look(knows(&stream.path));
                self.over.extend(stream.is_over().then_some(slot));
            }
        }
    }

    /// Puts away what has ended, and tells the paths that are no more.
    pub(crate) fn tidy(&mut self, mut forget: impl FnMut(Path)) {
        while let Some(slot) = self.over.pop() {
            let over = self.slots.get_mut(slot).and_then(|slot| slot.take_if(|stream| stream.is_over()));
            let Some(stream) = over else { continue };
            self.free.push(slot);
            self.held -= stream.held();
            self.counters.lost += stream.waiting();
            self.newcomers.remove(stream.path.socket);
            self.readable.retain(|other| *other != slot);
            if let Standing::Ended(end) = stream.standing {
                self.counters.end(end);
            }
            forget(stream.path);
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// How many are to be read in this turn: of those with something to read, a share. The others are next.
    pub(crate) fn readable(&self) -> usize {
        self.readable.len().min(MAX_READ)
    }

    /// Whether there is something to do at once.
    pub(crate) fn is_ready(&self) -> bool {
        !self.readable.is_empty() || self.retry_at.is_none() && self.listeners.iter().any(|listener| listener.ready)
    }

    /// When time acts on them.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let look = (!self.is_empty()).then_some(self.look_at);
        look.into_iter().chain(self.newcomers.next_timeout()).chain(self.retry_at).min()
    }

    /// Adds what was counted here.
    pub(crate) fn count(&self, into: &mut NetworkCounters) {
        let Counters { accepted, frames_in, frames, lost, withdrawn, ends } = &self.counters;
        into.streams += (self.slots.len() - self.free.len()) as u64;
        into.streams_accepted += accepted;
        into.frames_in += frames_in;
        into.frames_out += frames.sent;
        into.fail(SendFailure::Behind, frames.dropped);
        into.fail(SendFailure::StreamOver, *lost);
        into.fail(SendFailure::Withdrawn, *withdrawn);
        into.end_counts.iter_mut().zip(ends).for_each(|(sum, count)| *sum += count);
    }

    fn add(&mut self, now: Instant, socket: mio::net::TcpStream, remote: SocketAddr, registry: &Registry) {
        self.counters.accepted += 1;
        let Some(slot) = self.free_slot() else { return self.counters.end(StreamEnd::NoRoom) };
        self.generation = self.generation % GENERATIONS + 1;
        let path = Path { socket: FIRST * self.generation + slot as u32, remote };
        let Ok(stream) = Stream::new(socket, path, Token(STREAMS + slot), registry) else {
            self.free.push(slot);
            return self.counters.end(StreamEnd::Failed);
        };
        self.slots[slot] = Some(stream);
        if let Some(number) = self.newcomers.add(now, path.socket, remote.ip()) {
            self.end(number, StreamEnd::Crowded);
        }
    }

    /// Whether somebody said something who was not heard yet.
    fn first_words_wait(&self) -> bool {
        let mut waiting = self.readable.iter().filter_map(|slot| self.slots[*slot].as_ref());
        waiting.any(|stream| !stream.heard)
    }

    fn free_slot(&mut self) -> Option<usize> {
        self.free.pop().or_else(|| {
            let slot = self.slots.len();
            (slot < MAX_STREAMS).then(|| self.slots.push(None)).map(|()| slot)
        })
    }

    fn end(&mut self, number: u32, end: StreamEnd) {
        let slot = slot_of(number);
        let stream = self.slots.get_mut(slot).and_then(Option::as_mut);
        if let Some(stream) = stream.filter(|stream| stream.path.socket == number) {
            stream.end(end);
            self.over.push(slot);
        }
    }

    fn write(&mut self, now: Instant, slot: usize) {
        if let Some(Some(stream)) = self.slots.get_mut(slot) {
            self.held -= stream.held();
            stream.write(now, &mut self.counters.frames);
            self.held += stream.held();
            self.over.extend(stream.is_over().then_some(slot));
        }
    }
}

impl Counters {
    fn end(&mut self, end: StreamEnd) {
        self.ends[end as usize] += 1;
    }
}

fn slot_of(number: u32) -> usize {
    number as usize % MAX_STREAMS
}

/// Most TCP connections of a worker at a time.
pub const MAX_STREAMS: usize = 1 << 13;
/// Streams' numbers in paths begin here, above those of the sockets for datagrams: how many there were before, and the slot.
const FIRST: u32 = MAX_STREAMS as u32;
const GENERATIONS: u32 = u32::MAX / FIRST - 1;
/// Names to the system, above all others of a worker.
const STREAMS: usize = 1 << 21;
const LISTENERS: usize = 1 << 22;
/// Who is taken in one turn at one address.
const MAX_ACCEPTED: usize = 16;
/// Who is read in one turn, so that datagrams do not wait for many.
const MAX_READ: usize = 16;
/// When a system that has no room for a connection is asked again.
const RETRY: Duration = Duration::from_millis(100);
/// How soon it is noticed that a path is not known any more, and how long the last words may take then.
const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
