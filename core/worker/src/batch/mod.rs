//! Datagrams in and out of the system, many in one call.
//!
//! What the calls are is said here; how they are made is in `linux`, the one place with unsafe code, and in `single`, for systems
//! that have none of it. What to do when the system refuses is not decided here: see [`crate::outlet`].

mod arena;
#[cfg(target_os = "linux")]
mod linux;
mod single;

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;

pub(crate) use arena::{Arena, Tally};

/// What leaves in one message: one datagram, or several that the system cuts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Where to.
    pub(crate) remote: SocketAddr,
    /// How long each datagram is; the last may be shorter.
    pub(crate) segment: usize,
    /// One after the other.
    pub(crate) bytes: &'a [u8],
}

/// What a socket of this system can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// Cuts a message into datagrams (UDP_SEGMENT).
    pub(crate) runs: bool,
    /// Takes many messages in one call.
    pub(crate) send_many: bool,
    /// Gives many messages in one call.
    pub(crate) receive_many: bool,
}

/// The calls on sockets: the system's, or a test's that refuses.
pub(crate) trait Calls {
    /// Finds out what a new socket can do, and lets it join received datagrams where it can (UDP_GRO).
    fn prepare(&mut self, socket: &UdpSocket) -> Abilities;

    /// Receives as many messages as there are and as the arena has room for: at least one.
    fn receive_many(&mut self, socket: &UdpSocket, arena: &mut Arena) -> io::Result<()>;

    /// The same by a call for each datagram.
    fn receive_single(&mut self, socket: &UdpSocket, arena: &mut Arena) -> io::Result<()> {
        single::receive(socket, arena)
    }

    /// Sends the first so many of the messages, at least one and at most [`MAX_MESSAGES`]. An error is the first one's.
    fn send_many(&mut self, socket: &UdpSocket, messages: &[Message<'_>]) -> io::Result<usize>;

    /// Sends one datagram.
    fn send_single(&mut self, socket: &UdpSocket, message: &Message<'_>) -> io::Result<()> {
        single::send(socket, message)
    }

    /// How many datagrams the system threw away as nobody received them in time.
    fn overflowed(&self, socket: &UdpSocket) -> u64;
}

/// The system's calls.
#[derive(Debug)]
pub(crate) struct Kernel;

impl<'a> Message<'a> {
    /// Whether there is more than one datagram.
    pub(crate) fn is_run(&self) -> bool {
        self.bytes.len() > self.segment
    }

    /// How many datagrams there are.
    pub(crate) fn count(&self) -> u64 {
        self.bytes.len().div_ceil(self.segment.max(1)) as u64
    }

    /// Each datagram by itself.
    pub(crate) fn datagrams(self) -> impl Iterator<Item = Self> {
        let alone = move |bytes: &'a [u8]| Self { remote: self.remote, segment: bytes.len(), bytes };
        self.bytes.chunks(self.segment.max(1)).map(alone)
    }
}

#[cfg(target_os = "linux")]
impl Calls for Kernel {
    fn prepare(&mut self, socket: &UdpSocket) -> Abilities {
        // A system without it gives one datagram at a time, which is no less right.
        let _ = linux::join_received(socket);
        Abilities {
            runs: linux::can_cut(socket),
            send_many: linux::can_send_many(socket),
            receive_many: linux::can_receive_many(socket),
        }
    }

    fn receive_many(&mut self, socket: &UdpSocket, arena: &mut Arena) -> io::Result<()> {
        linux::receive(socket, arena)
    }

    fn send_many(&mut self, socket: &UdpSocket, messages: &[Message<'_>]) -> io::Result<usize> {
        linux::send(socket, messages)
    }

    fn overflowed(&self, socket: &UdpSocket) -> u64 {
        linux::overflowed(socket)
    }
}

#[cfg(not(target_os = "linux"))]
impl Calls for Kernel {
    fn prepare(&mut self, _: &UdpSocket) -> Abilities {
        Abilities { runs: false, send_many: false, receive_many: false }
    }

    fn receive_many(&mut self, socket: &UdpSocket, arena: &mut Arena) -> io::Result<()> {
        single::receive(socket, arena)
    }

    fn send_many(&mut self, socket: &UdpSocket, messages: &[Message<'_>]) -> io::Result<usize> {
        messages.first().map_or(Ok(0), |message| single::send(socket, message).map(|()| 1))
    }

    fn overflowed(&self, _: &UdpSocket) -> u64 {
        0
    }
}

/// Messages in one call. The system takes more, and gains nothing by it (docs/performance.md).
pub(crate) const MAX_MESSAGES: usize = 64;
