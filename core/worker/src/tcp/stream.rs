//! One TCP connection of a client: read into the common memory, written without waiting.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use lockgate_media::Path;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

use super::intake::{Intake, LONGEST, TooLong};
use super::outbox::{Outbox, Tally};
use crate::stats::StreamEnd;

/// A connection.
pub(crate) struct Stream {
    socket: TcpStream,
    pub(crate) path: Path,
    /// What it sent of a frame that is not whole.
    kept: Vec<u8>,
    outbox: Outbox,
    /// The system may have something to read; it waits for its turn.
    pub(crate) readable: bool,
    /// The client says no more than what is there to be read.
    pub(crate) ends: bool,
    /// It was read at least once.
    pub(crate) heard: bool,
    /// The system may take something.
    writable: bool,
    /// Something was put into the outbox since it was last written.
    pub(crate) touched: bool,
    pub(crate) standing: Standing,
}

/// What is known of who is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing yet.
    Newcomer,
    /// A client: a check of it was authentic.
    Client,
    /// A client whose path the engine does not know any more. What was said to it last is still on its way.
    Leaving,
    /// It is over, and to be put away.
    Ended(StreamEnd),
}

impl Stream {
    pub(crate) fn new(mut socket: TcpStream, path: Path, token: Token, registry: &Registry) -> io::Result<Self> {
        prepare(&SockRef::from(&socket))?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            socket,
            path,
            kept: Vec::new(),
            outbox: Outbox::default(),
            readable: false,
            ends: false,
            heard: false,
            writable: true,
            touched: false,
            standing: Standing::Newcomer,
        })
    }

    /// Reads once. False: there is no more for now, or never again.
    pub(crate) fn read(&mut self, intake: &mut Intake) -> bool {
        self.heard = true;
        intake.resume(&mut self.kept);
        let room = intake.room();
        let most = room.len();
        match self.socket.read(room) {
            Ok(0) => self.end(StreamEnd::Peer),
            Ok(count) => {
                intake.filled(count);
                // Less than there was room for is all there is (epoll(7)), but for an end that was told with it.
                self.readable = count == most || self.ends;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(_) => self.end(StreamEnd::Failed),
        }
        self.readable &= !self.is_over();
        self.readable
    }

    /// The next frame of what was read last; what is left at the end is kept. One that is longer than it may be ends the stream.
    pub(crate) fn next_frame<'a>(&mut self, intake: &'a mut Intake) -> Option<&'a mut [u8]> {
        let longest = match self.standing {
            Standing::Newcomer => LONGEST_CHECK,
            Standing::Client | Standing::Leaving => LONGEST,
            Standing::Ended(_) => return None,
        };
        match intake.next_frame(longest) {
            Ok(Some(frame)) => return Some(intake.frame(frame)),
            Ok(None) => intake.keep(&mut self.kept),
            Err(TooLong) => self.end(StreamEnd::TooLong),
        }
        None
    }

    /// Takes a datagram to be written, where all streams hold so many bytes. How many were dropped for it comes back.
    pub(crate) fn push(&mut self, now: Instant, datagram: &[u8], all: usize) -> u64 {
        self.outbox.push(now, datagram, all)
    }

    /// Drops what waits of these sources; without any said, all but what tells of the end. How many datagrams that were comes back.
    pub(crate) fn withdraw(&mut self, sources: Option<&BTreeSet<u32>>) -> u64 {
        self.outbox.withdraw(sources)
    }

    /// How many datagrams wait to be written.
    pub(crate) fn waiting(&self) -> u64 {
        self.outbox.len()
    }

    /// Nothing was written for a while, perhaps: what waits may be too late by now.
    pub(crate) fn rest(&mut self, now: Instant, tally: &mut Tally) {
        self.outbox.rest(now, tally);
    }

    /// The system takes more.
    pub(crate) fn on_writable(&mut self) {
        self.writable = true;
    }

    /// Writes what waits, as far as there is room.
    pub(crate) fn write(&mut self, now: Instant, tally: &mut Tally) {
        self.touched = false;
        if !self.writable || self.is_over() {
            return;
        }
        match self.outbox.write(now, &mut self.socket, tally) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
            Err(_) => self.end(StreamEnd::Failed),
        }
    }

    /// Now and then it is looked whether the engine knows a client's path. It is ended when that is seen a second time, so that whoever is
    /// behind gets its last words, and is not cut off from them for having said something itself.
    pub(crate) fn look(&mut self, known: bool) {
        match (self.standing, known) {
            (Standing::Client, false) => self.standing = Standing::Leaving,
            (Standing::Leaving, true) => self.standing = Standing::Client,
            (Standing::Leaving, false) => self.end(StreamEnd::Unused),
            _ => {}
        }
    }

    /// The first reason stays.
    pub(crate) fn end(&mut self, end: StreamEnd) {
        if !self.is_over() {
            self.standing = Standing::Ended(end);
        }
    }

    #[cfg(test)]
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Bytes that wait to be written.
    pub(crate) fn held(&self) -> usize {
        self.outbox.held()
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.standing, Standing::Ended(_))
    }
}

/// What the system is to do for a connection.
fn prepare(system: &SockRef<'_>) -> io::Result<()> {
    system.set_tcp_nodelay(true)?;
    // What the system holds is late without our knowing. One that cannot say how much it may hold holds what it likes.
    #[cfg(target_os = "linux")]
    let _ = (system.set_tcp_notsent_lowat(UNSENT), system.set_tcp_user_timeout(Some(UNACKNOWLEDGED)));
    // A client that went over to another way, and whose network forgot this one, is not missed by what is sent: nothing is.
    system.set_tcp_keepalive(&TcpKeepalive::new().with_time(QUIET).with_interval(PROBE_EVERY))
}

/// A check of a browser has 100 to 200 bytes.
const LONGEST_CHECK: usize = 1_500;
/// Bytes that the system takes beyond what the network has room for: 130 ms of 1 Mbit/s.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 16 << 10;
/// As long as a connection lives without a check.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// A connection by which nothing came for so long is asked whether it is there,
const QUIET: Duration = Duration::from_secs(15);
/// and again. By [`UNACKNOWLEDGED`] it then ends with the first that was not answered (tcp(7)): after 20 s.
const PROBE_EVERY: Duration = Duration::from_secs(5);
