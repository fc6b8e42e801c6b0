//! One socket's way out: as runs that the system cuts apart, as many datagrams in one call, or as one after the other.
//!
//! It finds out at run time what the system refuses and falls back without losing what was refused. What finds no room waits in a
//! bounded backlog; nothing is ever tried in a circle.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;

use crate::backlog::Backlog;
use crate::batch::{Abilities, Calls, MAX_MESSAGES, Message};
use crate::stats::{NetworkCounters, SendFailure};

/// How datagrams are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sending {
    /// Equal datagrams to one receiver as one message that the system cuts apart (GSO), many messages in a call; the next
    /// best where the system does not do that.
    #[default]
    Gso,
    /// Each by itself, many in a call.
    Batched,
    /// Each in a call of its own.
    Single,
}

/// What a socket is sent through with.
pub(crate) struct Wire<'a, C> {
    pub(crate) calls: &'a mut C,
    pub(crate) socket: &'a UdpSocket,
    pub(crate) counters: &'a mut NetworkCounters,
    pub(crate) now: Instant,
}

/// One socket's way out.
pub(crate) struct Outlet {
    way: Way,
    backlog: Backlog,
}

/// How it is sent now, and whether there is room.
struct Way {
    runs: Runs,
    many: bool,
    room: Room,
}

/// Whether runs are left to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runs {
    /// It cannot, or should not.
    Never,
    /// It does; of late it refused so many, one after the other.
    Tried { refused: u32 },
    /// It refused [`PATIENCE`]; so many more go one by one before it is tried again, as ways change.
    Refused { left: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    There,
    /// None until the system says that the socket is writable.
    Awaited,
    /// None, and the system will not say when there is: to be tried then.
    Later(Instant),
}

/// How far a list of messages was done with: sent, or lost.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    messages: usize,
    /// Of the next one.
    bytes: usize,
}

/// What an error means for the first message of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Nothing, it was another's: to be tried once more.
    Stray,
    /// The system does not cut it apart, here or on its way only.
    Run { everywhere: bool },
    /// There is no such call.
    Call,
    /// There is no room now.
    NoRoom(Room),
    /// It cannot be sent.
    Lost(SendFailure),
}

impl Outlet {
    pub(crate) fn new(sending: Sending, abilities: Abilities) -> Self {
        let many = sending != Sending::Single && abilities.send_many;
        let runs =
            if sending == Sending::Gso && many && abilities.runs { Runs::Tried { refused: 0 } } else { Runs::Never };
        Self { way: Way { runs, many, room: Room::There }, backlog: Backlog::default() }
    }

    /// Sends the messages, or keeps them if there is no room.
    pub(crate) fn send<'a, C: Calls>(&mut self, wire: &mut Wire<'_, C>, messages: impl Iterator<Item = Message<'a>>) {
        let mut batch = Batch::new();
        for message in messages.filter(|message| !message.bytes.is_empty()) {
            if message.is_run() && !self.way.takes_run() {
                message.datagrams().for_each(|datagram| self.add(wire, &mut batch, datagram));
            } else {
                self.add(wire, &mut batch, message);
            }
        }
        self.flush(wire, &batch);
    }

    /// Sends what waits, now that there may be room again.
    pub(crate) fn resume<C: Calls>(&mut self, wire: &mut Wire<'_, C>) {
        self.way.room = Room::There;
        while self.way.room == Room::There && !self.backlog.is_empty() {
            let mut batch = Batch::new();
            self.backlog.first().for_each(|message| batch.push(message));
            let before = self.backlog.len();
            let done = self.way.send(wire, batch.messages());
            self.backlog.take_off(done.messages, done.bytes);
            wire.counters.held_bytes -= (before - self.backlog.len()) as u64;
        }
    }

    /// Drops the datagrams that wait and are such, to those receivers whom it concerns.
    pub(crate) fn withdraw(
        &mut self,
        counters: &mut NetworkCounters,
        concerns: impl Fn(&SocketAddr) -> bool,
        is_such: impl Fn(&SocketAddr, &[u8]) -> bool,
    ) {
        let before = self.backlog.len();
        counters.fail(SendFailure::Withdrawn, self.backlog.withdraw(concerns, is_such));
        counters.held_bytes -= (before - self.backlog.len()) as u64;
    }

    /// Whether nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.backlog.is_empty()
    }

    /// When it is to be resumed without the system's word.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        match self.way.room {
            Room::Later(at) => Some(at),
            Room::There | Room::Awaited => None,
        }
    }

    /// Whether the system's word is awaited.
    pub(crate) fn awaits_room(&self) -> bool {
        self.way.room == Room::Awaited
    }

    fn add<'a, C: Calls>(&mut self, wire: &mut Wire<'_, C>, batch: &mut Batch<'a>, message: Message<'a>) {
        batch.push(message);
        if batch.is_full() {
            self.flush(wire, batch);
            batch.clear();
        }
    }

    fn flush<C: Calls>(&mut self, wire: &mut Wire<'_, C>, batch: &Batch<'_>) {
        let done = self.way.send(wire, batch.messages());
        let mut skip = done.bytes;
        for message in &batch.messages()[done.messages..] {
            let rest = Message { bytes: &message.bytes[skip..], ..*message };
            skip = 0;
            if self.backlog.push(&rest) {
                wire.counters.held += rest.count();
                wire.counters.held_bytes += rest.bytes.len() as u64;
            } else {
                wire.counters.fail(SendFailure::NoRoom, rest.count());
            }
        }
    }
}

impl Way {
    /// Whether the next run is left to the system.
    fn takes_run(&mut self) -> bool {
        if let Runs::Refused { left } = &mut self.runs {
            *left = left.saturating_sub(1);
        }
        self.tries_runs()
    }

    fn tries_runs(&self) -> bool {
        matches!(self.runs, Runs::Tried { .. } | Runs::Refused { left: 0 })
    }

    /// Sends messages as far as there is room.
    fn send<C: Calls>(&mut self, wire: &mut Wire<'_, C>, messages: &[Message<'_>]) -> Done {
        let (mut done, mut apart, mut tried) = (0, false, false);
        while let Some(first) = messages.get(done)
            && self.room == Room::There
        {
            if first.is_run() && (apart || !self.tries_runs()) {
                let bytes = self.send_apart(wire, *first);
                if bytes < first.bytes.len() {
                    return Done { messages: done, bytes };
                }
                (done, apart, tried) = (done + 1, false, false);
                continue;
            }
            match self.call(wire, &messages[done..]) {
                Ok(sent) => (done, tried) = (done + sent, false),
                Err(Refusal::Stray) if !tried => tried = true,
                Err(Refusal::Run { everywhere }) => {
                    self.on_run_refused(everywhere, wire.counters);
                    apart = true;
                }
                Err(Refusal::Call) if self.many => (self.many, self.runs) = (false, Runs::Never),
                Err(Refusal::NoRoom(room)) => self.room = room,
                Err(refusal) => {
                    wire.counters.fail(refusal.failure(), first.count());
                    (done, tried) = (done + 1, false);
                }
            }
        }
        Done { messages: done, bytes: 0 }
    }

    /// Sends a run's datagrams one by one, as far as there is room; how many bytes that was comes back.
    fn send_apart<C: Calls>(&mut self, wire: &mut Wire<'_, C>, run: Message<'_>) -> usize {
        let mut bytes = 0;
        while bytes < run.bytes.len() {
            let mut batch = Batch::new();
            let rest = Message { bytes: &run.bytes[bytes..], ..run };
            rest.datagrams().take(MAX_MESSAGES).for_each(|datagram| batch.push(datagram));
            let done = self.send(wire, batch.messages()).messages;
            bytes += batch.messages()[..done].iter().map(|datagram| datagram.bytes.len()).sum::<usize>();
            if done < batch.messages().len() {
                break;
            }
        }
        bytes
    }

    /// One call. How many messages it sent comes back, or what its error means for the first.
    fn call<C: Calls>(&mut self, wire: &mut Wire<'_, C>, messages: &[Message<'_>]) -> Result<usize, Refusal> {
        wire.counters.send_calls += 1;
        let sent = if self.many {
            wire.calls.send_many(wire.socket, messages)
        } else {
            wire.calls.send_single(wire.socket, &messages[0]).map(|()| 1)
        };
        let sent = sent.map_err(|error| Refusal::of(&error, messages[0].is_run(), wire.now))?;
        for message in &messages[..sent] {
            wire.counters.datagrams_out += message.count();
            if message.is_run() {
                wire.counters.runs_out += 1;
                wire.counters.run_datagrams_out += message.count();
                self.runs = Runs::Tried { refused: 0 };
            }
        }
        Ok(sent)
    }

    fn on_run_refused(&mut self, everywhere: bool, counters: &mut NetworkCounters) {
        counters.runs_refused += 1;
        self.runs = match self.runs {
            Runs::Tried { refused } if !everywhere || refused + 1 < PATIENCE => {
                Runs::Tried { refused: refused + u32::from(everywhere) }
            }
            _ => Runs::Refused { left: PAUSE },
        };
    }
}

impl Refusal {
    fn of(error: &io::Error, run: bool, now: Instant) -> Self {
        match error.raw_os_error().unwrap_or(0) {
            // What an earlier datagram came back with (a port that is closed) concerns only its own receiver.
            libc::EINTR | libc::ECONNREFUSED => Self::Stray,
            libc::EAGAIN => Self::NoRoom(Room::Awaited),
            libc::ENOBUFS | libc::ENOMEM => Self::NoRoom(Room::Later(now + RETRY)),
            libc::ENOSYS => Self::Call,
            libc::EIO | libc::EINVAL | libc::EOPNOTSUPP if run => Self::Run { everywhere: true },
            // One datagram of it is longer than its way: the system cuts such ones only when they come alone.
            libc::EMSGSIZE if run => Self::Run { everywhere: false },
            libc::EMSGSIZE => Self::Lost(SendFailure::TooLong),
            libc::EPERM | libc::EACCES => Self::Lost(SendFailure::NotPermitted),
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::EADDRNOTAVAIL => {
                Self::Lost(SendFailure::Unreachable)
            }
            _ => Self::Lost(SendFailure::Other),
        }
    }

    fn failure(self) -> SendFailure {
        match self {
            Self::Lost(failure) => failure,
            Self::Stray | Self::Run { .. } | Self::Call | Self::NoRoom(_) => SendFailure::Other,
        }
    }
}

/// Messages for one call.
struct Batch<'a> {
    messages: [Message<'a>; MAX_MESSAGES],
    len: usize,
}

impl<'a> Batch<'a> {
    fn new() -> Self {
        let remote = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        Self { messages: [Message { remote, segment: 0, bytes: &[] }; MAX_MESSAGES], len: 0 }
    }

    /// There must be room: see [`Self::is_full`].
    fn push(&mut self, message: Message<'a>) {
        self.messages[self.len] = message;
        self.len += 1;
    }

    fn clear(&mut self) {
        self.len = 0;
    }

    fn is_full(&self) -> bool {
        self.len == MAX_MESSAGES
    }

    fn messages(&self) -> &[Message<'a>] {
        &self.messages[..self.len]
    }
}

/// Runs that may be refused one after the other before they are given up: one receiver's way may refuse what others' do not.
const PATIENCE: u32 = 8;
/// Runs that then go one by one until the next try.
const PAUSE: u32 = 4096;
/// When a system that is short of memory is tried again.
const RETRY: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests;
