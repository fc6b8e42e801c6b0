//! Datagrams in batches: `recvmmsg` with generic receive offload and the kernel's time of arrival, `sendmmsg`.
//!
//! The one module of this crate with unsafe code: the standard library has none of these calls. Each call builds its headers
//! from slices that outlive it, and reads back only as much as the kernel says it wrote.

#![allow(unsafe_code, reason = "system calls that no safe crate of the tree offers together")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use libc::{c_int, c_void, cmsghdr, iovec, mmsghdr, msghdr, sockaddr_in, sockaddr_in6, sockaddr_storage, timespec};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::clock;
use crate::publisher::Burst;
use crate::wire::Framed;

/// A socket of its own for a connection, for servers of this address family.
pub(crate) fn bind(remote: SocketAddr, receive_buffer: usize) -> io::Result<UdpSocket> {
    let (domain, any): (_, SocketAddr) = match remote {
        SocketAddr::V4(_) => (Domain::IPV4, (Ipv4Addr::UNSPECIFIED, 0).into()),
        SocketAddr::V6(_) => (Domain::IPV6, (Ipv6Addr::UNSPECIFIED, 0).into()),
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.bind(&any.into())?;
    // The system may allow less; then less it is.
    let _ = socket.set_recv_buffer_size(receive_buffer);
    // Where offload is unknown datagrams come one by one, and without times of arrival ours serve.
    let _ = switch_on(&socket, libc::SOL_UDP, libc::UDP_GRO);
    let _ = switch_on(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);
    Ok(socket.into())
}

/// Room for what one call receives.
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    controls: Vec<[u64; CONTROL_WORDS]>,
    names: Vec<sockaddr_storage>,
    got: Vec<Got>,
}

/// One or more datagrams of one sender.
#[derive(Clone, Copy, Debug)]
struct Got {
    start: usize,
    len: usize,
    /// Each of them is so long, but the last may be shorter.
    segment: usize,
    from: SocketAddr,
    arrived_us: u64,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * SLOT],
            controls: vec![[0; CONTROL_WORDS]; BATCH],
            // SAFETY: all bytes zero is a valid sockaddr_storage (family AF_UNSPEC).
            names: vec![unsafe { zeroed() }; BATCH],
            got: Vec::with_capacity(BATCH),
        }
    }

    /// Receives what is there, up to a batch. False when nothing is left.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> bool {
        self.got.clear();
        // SAFETY: all bytes zero is a valid iovec (empty) and a valid mmsghdr (no buffers).
        let (mut vectors, mut headers): ([iovec; BATCH], [mmsghdr; BATCH]) = unsafe { (zeroed(), zeroed()) };
        for (at, slot) in self.bytes.chunks_exact_mut(SLOT).enumerate() {
            vectors[at] = iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT };
            let header = &mut headers[at].msg_hdr;
            header.msg_name = (&raw mut self.names[at]).cast();
            header.msg_namelen = size_of::<sockaddr_storage>() as u32;
            header.msg_iov = &raw mut vectors[at];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[at].as_mut_ptr().cast();
            header.msg_controllen = size_of::<[u64; CONTROL_WORDS]>();
        }
        // SAFETY: every pointer above leads into `self` or this frame, with its true length, and outlives the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            return io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
        };
        for (at, (header, name)) in headers.iter().zip(&self.names).take(count).enumerate() {
            let start = at * SLOT;
            let len = (header.msg_len as usize).min(SLOT);
            let (segment, arrived_us) = read_control(&header.msg_hdr);
            let segment = segment.unwrap_or(len).max(1);
            self.got.extend(address(name).map(|from| Got { start, len, segment, from, arrived_us }));
        }
        count == BATCH
    }

    /// Reads a stream's frames. False when nothing is left. The time of arrival is that of the read: the kernel tells none of bytes.
    pub(crate) fn read(&mut self, stream: &mut Framed) -> bool {
        self.got.clear();
        let Some(count) = stream.read(&mut self.bytes) else { return false };
        let (mut start, from, arrived_us) = (0, stream.remote(), clock::now_us());
        while let Some(prefix) = self.bytes[start..count].first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*prefix));
            if count < start + 2 + len {
                break;
            }
            self.got.push(Got { start: start + 2, len, segment: len.max(1), from, arrived_us });
            start += 2 + len;
        }
        stream.keep(&self.bytes[start..count]);
        true
    }

    /// What was received: sender, the kernel's time of arrival in µs since 1970, the datagram.
    pub(crate) fn datagrams(&mut self) -> impl Iterator<Item = (SocketAddr, u64, &mut [u8])> {
        let (mut rest, mut passed) = (&mut self.bytes[..], 0);
        self.got.iter().flat_map(move |got| {
            let (own, behind) = std::mem::take(&mut rest)[got.start - passed..].split_at_mut(got.len);
            (rest, passed) = (behind, got.start + got.len);
            own.chunks_mut(got.segment).map(|datagram| (got.from, got.arrived_us, datagram))
        })
    }
}

/// Sends a burst; how many datagrams the system did not take comes back.
pub(crate) fn send(socket: &UdpSocket, to: SocketAddr, burst: &Burst) -> usize {
    let address = SockAddr::from(to);
    let mut start = 0;
    let mut refused = 0;
    for ends in burst.ends.chunks(SEND_BATCH) {
        // SAFETY: all bytes zero is a valid iovec (empty) and a valid mmsghdr (no buffers).
        let (mut vectors, mut headers): ([iovec; SEND_BATCH], [mmsghdr; SEND_BATCH]) = unsafe { (zeroed(), zeroed()) };
        for (at, end) in ends.iter().enumerate() {
            let datagram = &burst.bytes[start..*end];
            start = *end;
            vectors[at] = iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
            let header = &mut headers[at].msg_hdr;
            header.msg_name = address.as_ptr().cast_mut().cast();
            header.msg_namelen = address.len();
            header.msg_iov = &raw mut vectors[at];
            header.msg_iovlen = 1;
        }
        let mut sent = 0;
        while sent < ends.len() {
            let left = &mut headers[sent..ends.len()];
            // SAFETY: the headers lead to `burst`, `address` and this frame, which outlive the call; it writes to none of the first two.
            let count =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as u32, libc::MSG_DONTWAIT) };
            match usize::try_from(count) {
                Ok(count) if count > 0 => sent += count,
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    refused += ends.len() - sent;
                    break;
                }
            }
        }
    }
    refused
}

fn switch_on(socket: &Socket, level: c_int, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the value is an int, and its size is told.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size_of::<c_int>() as u32)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The length of segments, if several came as one, and the time of arrival.
fn read_control(header: &msghdr) -> (Option<usize>, u64) {
    let (mut segment, mut arrived_us) = (None, None);
    // SAFETY: the kernel wrote `msg_controllen` bytes of whole control messages to where `msg_control` points, which is still there;
    // the macros stay within them, and values are read without assuming their alignment.
    unsafe {
        let mut next: *const cmsghdr = libc::CMSG_FIRSTHDR(header);
        while let Some(one) = next.as_ref() {
            let data = libc::CMSG_DATA(next).cast::<c_void>();
            match (one.cmsg_level, one.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    segment = usize::try_from(data.cast::<c_int>().read_unaligned()).ok().filter(|len| *len > 0);
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time = data.cast::<timespec>().read_unaligned();
                    arrived_us = Some(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000);
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
    (segment, arrived_us.unwrap_or_else(clock::now_us))
}

fn address(name: &sockaddr_storage) -> Option<SocketAddr> {
    match c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: a sockaddr_storage has room and alignment for every address, and the family says which it is.
            let name = unsafe { &*(&raw const *name).cast::<sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some((ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*(&raw const *name).cast::<sockaddr_in6>() };
            Some((Ipv6Addr::from(name.sin6_addr.s6_addr), u16::from_be(name.sin6_port)).into())
        }
        _ => None,
    }
}

/// Messages of a call; with offload each may hold a whole burst.
const BATCH: usize = 8;
/// The longest that offload puts together.
const SLOT: usize = 1 << 16;
/// Control messages: an int and a timespec, each behind a header of 16 bytes.
const CONTROL_WORDS: usize = 16;
const SEND_BATCH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
        let any = "127.0.0.1:9".parse().unwrap();
        let (left, right) = (bind(any, 1 << 20).unwrap(), bind(any, 1 << 20).unwrap());
        let port = right.local_addr().unwrap().port();
        (left, right, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    #[test]
    fn a_burst_comes_whole_and_in_order_with_its_time() {
        let (left, right, to) = pair();
        let mut burst = Burst::default();
        for number in 0..70_u8 {
            burst.bytes.extend(std::iter::repeat_n(number, 100 + usize::from(number)));
            burst.ends.push(burst.bytes.len());
        }
        let before = clock::now_us();
        assert_eq!(send(&left, to, &burst), 0);
        let mut inbox = Inbox::new();
        let mut got = Vec::new();
        loop {
            let more = inbox.receive(&right);
            for (from, arrived_us, datagram) in inbox.datagrams() {
                assert_eq!(from.port(), left.local_addr().unwrap().port());
                assert!(arrived_us + 1 >= before && arrived_us <= clock::now_us());
                assert!(datagram.iter().all(|byte| *byte == datagram[0]));
                got.push((datagram[0], datagram.len()));
            }
            if !more {
                break;
            }
        }
        assert_eq!(got, (0..70).map(|number| (number, 100 + usize::from(number))).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_socket_gives_nothing() {
        let (_, right, _) = pair();
        let mut inbox = Inbox::new();
        assert!(!inbox.receive(&right));
        assert_eq!(inbox.datagrams().count(), 0);
    }
}
