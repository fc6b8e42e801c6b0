//! A client's way to the server: a UDP socket of its own, or a TCP connection with frames of RFC 4571.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use mio::Interest;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::publisher::Burst;
use crate::socket;

/// How a client reaches the server.
pub(crate) enum Wire {
    /// By datagrams, to any of its addresses.
    Udp(UdpSocket),
    /// By a connection to one of them.
    Tcp(Framed),
}

/// A TCP connection that carries datagrams.
pub(crate) struct Framed {
    socket: TcpStream,
    remote: SocketAddr,
    /// What the system has not taken.
    waiting: Vec<u8>,
    /// The beginning of a frame that has not come as a whole.
    kept: Vec<u8>,
    over: bool,
}

impl Wire {
    /// A socket for servers of this address family, where the kernel may hold so many bytes.
    pub(crate) fn udp(remote: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        socket::bind(remote, receive_buffer).map(Self::Udp)
    }

    /// A connection to this address, which comes about by and by.
    pub(crate) fn tcp(remote: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(remote), kind, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        let _ = socket.set_recv_buffer_size(receive_buffer);
        match socket.connect(&SockAddr::from(remote)) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let (waiting, kept) = (Vec::new(), Vec::new());
        Ok(Self::Tcp(Framed { socket: socket.into(), remote, waiting, kept, over: false }))
    }

    /// Sends a burst; how many datagrams of it were not taken comes back.
    pub(crate) fn send_burst(&mut self, to: SocketAddr, burst: &Burst) -> usize {
        match self {
            Self::Udp(socket) => socket::send(socket, to, burst),
            Self::Tcp(stream) => {
                let begins = [0].into_iter().chain(burst.ends.iter().copied());
                let datagrams = begins.zip(&burst.ends).map(|(begin, end)| &burst.bytes[begin..*end]);
                let refused = datagrams.filter(|datagram| !stream.push(datagram)).count();
                stream.flush();
                refused
            }
        }
    }

    /// Sends a datagram; false if it was not taken.
    pub(crate) fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        match self {
            Self::Udp(socket) => socket.send_to(datagram, to).is_ok(),
            Self::Tcp(stream) => {
                let taken = stream.push(datagram);
                stream.flush();
                taken
            }
        }
    }

    /// The system may take more.
    pub(crate) fn flush(&mut self) {
        if let Self::Tcp(stream) = self {
            stream.flush();
        }
    }

    /// Whether the server, or the network, ended it.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Tcp(stream) if stream.over)
    }

    /// What the system is to tell of.
    pub(crate) fn interest(&self) -> Interest {
        match self {
            Self::Udp(_) => Interest::READABLE,
            Self::Tcp(_) => Interest::READABLE | Interest::WRITABLE,
        }
    }
}

impl AsRawFd for Wire {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Udp(socket) => socket.as_raw_fd(),
            Self::Tcp(stream) => stream.socket.as_raw_fd(),
        }
    }
}

impl Framed {
    pub(crate) fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Reads behind what was kept. How many bytes there are then comes back; none: there is nothing new.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Option<usize> {
        into[..self.kept.len()].copy_from_slice(&self.kept);
        match self.socket.read(&mut into[self.kept.len()..]) {
            Ok(count) if count > 0 => Some(count + std::mem::take(&mut self.kept).len()),
            Err(error) if is_later(&error) => None,
            Ok(_) | Err(_) => {
                self.over = true;
                None
            }
        }
    }

    /// Keeps what is left over of a read.
    pub(crate) fn keep(&mut self, piece: &[u8]) {
        self.kept.extend_from_slice(piece);
    }

    /// Puts a datagram behind what waits; false if that is too much already.
    fn push(&mut self, datagram: &[u8]) -> bool {
        let Ok(length) = u16::try_from(datagram.len()) else { return false };
        let fits = self.waiting.len() < MAX_WAITING && !self.over;
        if fits {
            self.waiting.extend_from_slice(&length.to_be_bytes());
            self.waiting.extend_from_slice(datagram);
        }
        fits
    }

    fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.waiting.len() && !self.over {
            match self.socket.write(&self.waiting[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_later(&error) => break,
                Err(_) => self.over = true,
            }
        }
        self.waiting.drain(..sent);
    }
}

/// There is nothing, or no room, now; or the connection has not come about.
fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected)
}

/// More than a second of what a publisher sends.
const MAX_WAITING: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::socket::Inbox;

    #[test]
    fn datagrams_go_both_ways_however_the_stream_cuts_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let mut wire = Wire::tcp(remote, 1 << 16).unwrap();
        assert!(wire.send(remote, b"first"), "also before it is connected");
        let (mut server, _) = listener.accept().unwrap();
        let burst = Burst { bytes: b"abcde".to_vec(), ends: vec![2, 5] };
        while !matches!(&wire, Wire::Tcp(stream) if stream.waiting.is_empty()) {
            wire.flush();
        }
        assert_eq!(wire.send_burst(remote, &burst), 0);
        let mut heard = [0; 16];
        server.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"\0\x05first\0\x02ab\0\x03cde");

        let (mut inbox, mut got) = (Inbox::new(), Vec::new());
        for piece in [&b"\0"[..], b"\x03one\0\0\0", b"\x05th", b"ree\0\x01x"] {
            server.write_all(piece).unwrap();
            let Wire::Tcp(stream) = &mut wire else { panic!() };
            while stream.socket.peek(&mut [0; 64]).unwrap_or(0) < piece.len() {}
            inbox.read(stream);
            got.extend(inbox.datagrams().map(|(from, _, datagram)| (from, datagram.to_vec())));
        }
        assert_eq!(got, [&b"one"[..], b"three", b"x"].map(|datagram| (remote, datagram.to_vec())));
        drop(server);
        while !wire.is_over() {
            let Wire::Tcp(stream) = &mut wire else { panic!() };
            inbox.read(stream);
        }
        assert!(!wire.send(remote, b"nobody"));
    }
}
