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
    /// Its failure was told.
    told: bool,
}

/// What taking a connection led to.
pub(crate) enum Taken {
    One(TcpStream, SocketAddr),
    /// Nobody is there.
    None,
    /// One who was there is gone.
    Gone,
    /// The system has no room for one, for now.
    NoRoom,
    /// It cannot be done, for another reason.
    Failed,
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
        Ok(Self { socket: TcpListener::from_std(socket.into()), ready: true, told: false })
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
        let error = match self.socket.accept() {
            Ok((stream, remote)) => return Taken::One(stream, remote),
            Err(error) => error,
        };
        let taken = Taken::of(&error);
        if matches!(taken, Taken::None | Taken::Failed) {
            // After a failure the system says anew when the next one comes.
            self.ready = false;
        }
        if matches!(taken, Taken::Failed) && !std::mem::replace(&mut self.told, true) {
            let address = self.socket.local_addr().ok();
            tracing::warn!(%error, ?address, "connections by TCP cannot be taken; this is told once, and counted as `failed`");
        }
        taken
    }
}

impl Taken {
    /// What an error of accept(2) means.
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error().unwrap_or(0) {
            libc::EAGAIN => Self::None,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => Self::NoRoom,
            // What happened to a connection before it was taken; Linux tells it here.
            libc::EINTR
            | libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH => Self::Gone,
            _ => Self::Failed,
        }
    }
}

/// Who waits to be taken; the system may allow fewer.
const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_means_what_it_is_about() {
        for (errors, wanted) in [
            (&[libc::EAGAIN][..], "none"),
            (&[libc::EMFILE, libc::ENFILE, libc::ENOMEM], "no room"),
            (&[libc::ECONNABORTED, libc::EINTR, libc::EHOSTUNREACH], "gone"),
            (&[libc::EPERM, libc::EINVAL, libc::EBADF, libc::EOPNOTSUPP], "failed"),
        ] {
            for error in errors {
                let taken = match Taken::of(&io::Error::from_raw_os_error(*error)) {
                    Taken::One(..) => "one",
                    Taken::None => "none",
                    Taken::Gone => "gone",
                    Taken::NoRoom => "no room",
                    Taken::Failed => "failed",
                };
                assert_eq!(taken, wanted, "{error}");
            }
        }
    }
}
