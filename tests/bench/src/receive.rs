//! Many sockets, read by one thread as cheaply as can be: only the heads of datagrams are copied out.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt, sockopt};

use crate::machine::wall_clock;

/// What a datagram looks like from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// Which socket it came to, in the order in which they were added.
    pub(crate) socket: usize,
    /// Its first bytes, at most [`HEAD`].
    pub(crate) head: &'a [u8],
    /// When it reached the socket, by the wall clock; only if that was asked for.
    pub(crate) arrived: Option<Duration>,
}

/// Sockets, and what it takes to read them.
pub(crate) struct Receiver {
    epoll: Epoll,
    sockets: Vec<RawFd>,
    events: Vec<EpollEvent>,
    headers: MultiHeaders<SockaddrIn>,
    buffer: Vec<u8>,
}

impl Receiver {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::empty())?,
            sockets: Vec::new(),
            events: vec![EpollEvent::empty(); EVENTS],
            headers: MultiHeaders::preallocate(BATCH, None),
            buffer: vec![0; BATCH * HEAD],
        })
    }

    /// Adds a socket, which is to outlive this.
    pub(crate) fn add(&mut self, socket: &UdpSocket) -> Result<()> {
        socket.set_nonblocking(true)?;
        // A sink that is not read for a moment must not lose what came: where this is refused, the usual room has to do.
        let _ = setsockopt(socket, sockopt::RcvBufForce, &ROOM);
        self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, self.sockets.len() as u64))?;
        self.sockets.push(socket.as_raw_fd());
        Ok(())
    }

    /// Lets the last socket go.
    pub(crate) fn remove_last(&mut self, socket: &UdpSocket) -> Result<()> {
        self.sockets.pop();
        Ok(self.epoll.delete(socket)?)
    }

    /// Has the system note when datagrams arrive, or not any more. Switched on, it takes effect a moment later.
    pub(crate) fn set_stamped<'a>(&mut self, sockets: impl Iterator<Item = &'a UdpSocket>, on: bool) -> Result<()> {
        for socket in sockets {
            setsockopt(socket, sockopt::ReceiveTimestampns, &on)?;
        }
        let space = on.then(|| nix::cmsg_space!(nix::sys::time::TimeSpec));
        self.headers = MultiHeaders::preallocate(BATCH, space);
        Ok(())
    }

    /// Waits for datagrams at most this long, in whole milliseconds, and hands out some of those that came; how many comes back.
    pub(crate) fn poll(&mut self, patience: Duration, mut take: impl FnMut(Seen<'_>)) -> Result<usize> {
        let patience = EpollTimeout::try_from(patience).unwrap_or(EpollTimeout::ZERO);
        let ready = match self.epoll.wait(&mut self.events, patience) {
            Err(Errno::EINTR) => 0,
            other => other.context("waiting for datagrams")?,
        };
        let mut count = 0;
        for index in 0..ready {
            let socket = self.events[index].data() as usize;
            count += self.read(socket, &mut take)?;
        }
        Ok(count)
    }

    fn read(&mut self, socket: usize, take: &mut impl FnMut(Seen<'_>)) -> Result<usize> {
        let mut heads = self.buffer.chunks_mut(HEAD);
        let mut slices: [_; BATCH] = std::array::from_fn(|_| [IoSliceMut::new(heads.next().unwrap_or_default())]);
        let came = recvmmsg(self.sockets[socket], &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
        let came = match came {
            Ok(came) => came,
            // A port that closed answers what was sent to it; that is no datagram.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => return Ok(0),
            Err(error) => return Err(error).context("receiving datagrams"),
        };
        let mut count = 0;
        for message in came {
            let arrived = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|one| match one {
                    ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
                    _ => None,
                })
            });
            let head = message.iovs().next().unwrap_or_default();
            take(Seen { socket, head, arrived });
            count += 1;
        }
        Ok(count)
    }
}

/// Waits until the system stamps datagrams on their arrival, which takes it a moment once it is asked for by anybody: until then it
/// does so when they are read.
pub(crate) fn stamps_begin() -> Result<()> {
    let (sink, source) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
    source.connect(sink.local_addr()?)?;
    let mut receiver = Receiver::new()?;
    receiver.add(&sink)?;
    receiver.set_stamped([&sink].into_iter(), true)?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let before = wall_clock();
        source.send(&[1])?;
        let after = wall_clock();
        let mut arrived = None;
        while receiver.poll(Duration::from_secs(1), |seen| arrived = seen.arrived)? == 0 && begun.elapsed() < PATIENCE {
        }
        if arrived.is_some_and(|arrived| (before..=after).contains(&arrived)) {
            return Ok(());
        }
    }
    bail!("the system stamps no datagrams on their arrival")
}

/// How much of a datagram is looked at: the fixed header and what tells its kind.
pub(crate) const HEAD: usize = 32;
/// Datagrams of one call.
const BATCH: usize = 32;
/// Sockets between two looks at the clock.
const EVENTS: usize = 16;
/// How long the system may take to switch stamps on.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes that a socket may hold unread.
const ROOM: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let source = UdpSocket::bind("127.0.0.1:0").unwrap();
        source.connect(sink.local_addr().unwrap()).unwrap();
        (sink, source)
    }

    fn collect(receiver: &mut Receiver, wanted: usize) -> Vec<(usize, Vec<u8>, Option<Duration>)> {
        let mut got = Vec::new();
        while got.len() < wanted {
            receiver
                .poll(Duration::from_secs(10), |seen| got.push((seen.socket, seen.head.to_vec(), seen.arrived)))
                .unwrap();
        }
        got
    }

    #[test]
    fn datagrams_are_seen_with_their_socket_and_their_head() {
        let mut receiver = Receiver::new().unwrap();
        let pairs = [pair(), pair()];
        pairs.iter().for_each(|(sink, _)| receiver.add(sink).unwrap());
        for _ in 0..40 {
            pairs[0].1.send(&[7; 900]).unwrap();
        }
        pairs[1].1.send(&[1, 2, 3]).unwrap();
        let got = collect(&mut receiver, 41);
        assert_eq!(got.iter().filter(|(socket, head, _)| *socket == 0 && *head == [7; HEAD]).count(), 40);
        assert!(got.contains(&(1, vec![1, 2, 3], None)));
    }

    #[test]
    fn arrivals_are_stamped_when_that_is_asked_for() {
        let mut receiver = Receiver::new().unwrap();
        let (sink, source) = pair();
        receiver.add(&sink).unwrap();
        receiver.set_stamped([&sink].into_iter(), true).unwrap();
        stamps_begin().unwrap();
        let before = wall_clock();
        source.send(&[1]).unwrap();
        let after = wall_clock();
        assert!((before..=after).contains(&collect(&mut receiver, 1)[0].2.unwrap()));
    }
}
