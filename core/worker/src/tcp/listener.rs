//! Where clients connect to: one listener for each address, on the port of the datagrams.

use std::io;
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

/// One address.
pub(crate) struct Listener {
    socket: TcpListener,
    /// The system said that somebody is there, and not all were taken.
    pub(crate) ready: bool,
}

/// What taking a connection led to.
pub(crate) enum Taken {
    One(TcpStream, SocketAddr),
    /// Nobody is there.
    None,
    /// The system has no room for one, for now.
    NoRoom,
}

impl Listener {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Connections of a node before this one may still be ending.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self { socket: TcpListener::from_std(socket.into()), ready: true })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// The next one who is there.
    pub(crate) fn take(&mut self) -> Taken {
        loop {
            match self.socket.accept() {
                Ok((stream, remote)) => return Taken::One(stream, remote),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    return Taken::None;
                }
                // One who was there is gone: the next.
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {
                }
                Err(_) => return Taken::NoRoom,
            }
        }
    }
}

/// Who waits to be taken; the system may allow fewer.
const BACKLOG: i32 = 1024;
