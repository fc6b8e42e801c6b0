//! A worker's UDP sockets: one for each address, all on one port.
//!
//! Each address has a socket of its own, as an answer must leave from the address that was asked (RFC 8445 §7.3): a socket bound
//! to all of them would let the routing table choose.

use std::io;
use std::net::{IpAddr, SocketAddr};

use lockgate_media::Path;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

/// All sockets of a worker.
pub(crate) struct Sockets {
    sockets: Vec<Bound>,
    port: u16,
}

struct Bound {
    socket: UdpSocket,
    /// The system said that there is something to read, and it was not all read.
    readable: bool,
}

impl Sockets {
    /// Binds to each address on the same port; port 0 takes one that is free for the first address and tries it on the others.
    pub(crate) fn bind(addresses: &[IpAddr], port: u16) -> Result<Self, (SocketAddr, io::Error)> {
        let mut sockets = Vec::with_capacity(addresses.len());
        let mut own = port;
        for ip in addresses {
            let address = SocketAddr::new(*ip, own);
            let socket = bind(address).map_err(|error| (address, error))?;
            if own == 0 {
                own = socket.local_addr().map_err(|error| (address, error))?.port();
            }
            sockets.push(Bound { socket, readable: true });
        }
        Ok(Self { sockets, port: own })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        (0..)
            .zip(&mut self.sockets)
            .try_for_each(|(token, bound)| registry.register(&mut bound.socket, Token(token), Interest::READABLE))
    }

    pub(crate) fn set_readable(&mut self, token: Token) {
        if let Some(bound) = self.sockets.get_mut(token.0) {
            bound.readable = true;
        }
    }

    pub(crate) fn any_readable(&self) -> bool {
        self.sockets.iter().any(|bound| bound.readable)
    }

    /// How many sockets there are.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Reads a datagram off a socket, if it has one.
    pub(crate) fn receive(&mut self, index: usize, buffer: &mut [u8]) -> Option<(Path, usize)> {
        let bound = self.sockets.get_mut(index)?;
        while bound.readable {
            match bound.socket.recv_from(buffer) {
                Ok((length, remote)) => return Some((Path { socket: index as u8, remote }, length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // An error that a datagram of ours came back with (a port that is closed) concerns only its peer.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => bound.readable = false,
            }
        }
        None
    }

    /// Sends a datagram; false if the system had no room for it or no way.
    pub(crate) fn send(&self, path: Path, datagram: &[u8]) -> bool {
        let bound = self.sockets.get(usize::from(path.socket));
        bound.is_some_and(|bound| bound.socket.send_to(datagram, path.remote).is_ok())
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A system that allows less gives less: bursts are then lost earlier, which is no reason not to run.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// Datagrams between two looks at commands and time.
pub(crate) const BATCH: usize = 64;
const BUFFER: usize = 4 << 20;
