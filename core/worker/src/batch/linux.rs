//! `recvmmsg` with UDP_GRO and `sendmmsg` with UDP_SEGMENT: the one place with unsafe code.
//!
//! Headers are made on the stack for each call and point to what the caller lent for its duration, so that nothing outlives
//! what it points to. No error is interpreted here.
#![expect(
    unsafe_code,
    reason = "no crate gives each message of a sendmmsg its own segment size (docs/decisions/0004-libraries.md)"
)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_int, c_uint, c_void, socklen_t};
use mio::net::UdpSocket;

use super::arena::SLOTS;
use super::{Arena, MAX_MESSAGES, Message};

/// Lets the system join datagrams of one peer that came together.
pub(super) fn join_received(socket: &UdpSocket) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the system reads an int from where `on` is.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw const on).cast(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the system knows UDP_SEGMENT at all. A way on which it is no use shows when it is tried.
pub(super) fn can_cut(socket: &UdpSocket) -> bool {
    let mut size = [0; 1];
    read_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, &mut size) == Some(1)
}

/// Whether `sendmmsg` is there and allowed, shown by a call without messages.
pub(super) fn can_send_many(socket: &UdpSocket) -> bool {
    // SAFETY: of no messages, none is read.
    unsafe { libc::sendmmsg(socket.as_raw_fd(), ptr::null_mut(), 0, 0) == 0 }
}

/// Whether `recvmmsg` is there and allowed.
pub(super) fn can_receive_many(socket: &UdpSocket) -> bool {
    // SAFETY: of no messages, none is written; without a time, none is read.
    unsafe { libc::recvmmsg(socket.as_raw_fd(), ptr::null_mut(), 0, libc::MSG_DONTWAIT, ptr::null_mut()) == 0 }
}

/// What the system threw away as the socket's buffer was full.
pub(super) fn overflowed(socket: &UdpSocket) -> u64 {
    let mut memory = [0; DROPS + 1];
    match read_option(socket, libc::SOL_SOCKET, SO_MEMINFO, &mut memory) {
        Some(len) if len > DROPS => u64::from(memory[DROPS] as u32),
        _ => 0,
    }
}

/// Receives into the arena's slots: at least one message, without waiting.
pub(super) fn receive(socket: &UdpSocket, arena: &mut Arena) -> io::Result<()> {
    arena.clear();
    let mut parcels = [const { MaybeUninit::<ReceiveParcel>::uninit() }; SLOTS];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; SLOTS];
    let mut count = 0;
    for ((slot, parcel), header) in arena.slots().zip(&mut parcels).zip(&mut headers) {
        header.write(parcel.write(ReceiveParcel::new(slot)).header());
        count += 1;
    }
    // SAFETY: the first `count` headers are written, and each points to a parcel of its own, whose vector points to a slot of its
    // own with its true length. Parcels and slots are there and untouched until the call is over.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count as c_uint,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for header in &headers[..received.min(count)] {
        // SAFETY: it was written above, and its parcel is still there.
        let (remote, len, segment, truncated) = unsafe { read(header.assume_init_ref()) };
        arena.push(remote, len, segment, truncated);
    }
    Ok(())
}

/// Sends the first so many of the messages, at most [`MAX_MESSAGES`]. An error is the first one's.
pub(super) fn send(socket: &UdpSocket, messages: &[Message<'_>]) -> io::Result<usize> {
    let mut parcels = [const { MaybeUninit::<SendParcel>::uninit() }; MAX_MESSAGES];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MAX_MESSAGES];
    let mut count = 0;
    for ((message, parcel), header) in messages.iter().zip(&mut parcels).zip(&mut headers) {
        header.write(parcel.write(SendParcel::new(message)).header(message.is_run()));
        count += 1;
    }
    // SAFETY: the first `count` headers are written, and each points to a parcel of its own, whose vector points to the message's
    // bytes with their true length. All of it is there until the call is over; the system only reads the bytes.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), count as c_uint, libc::MSG_DONTWAIT as _)
    };
    match usize::try_from(sent) {
        Err(_) => Err(io::Error::last_os_error()),
        Ok(0) if count > 0 => Err(io::ErrorKind::WriteZero.into()),
        Ok(sent) => Ok(sent),
    }
}

/// What one header of a send points to.
struct SendParcel {
    address: Address,
    address_len: socklen_t,
    vector: libc::iovec,
    control: Control,
}

impl SendParcel {
    fn new(message: &Message<'_>) -> Self {
        let (address, address_len) = Address::new(message.remote);
        let vector = libc::iovec { iov_base: message.bytes.as_ptr().cast_mut().cast(), iov_len: message.bytes.len() };
        Self { address, address_len, vector, control: Control::segment(message.segment as u16) }
    }

    /// The header that points here: good as long as this stays where it is.
    fn header(&mut self, run: bool) -> libc::mmsghdr {
        let control = if run { ((&raw mut self.control).cast(), size_of::<Control>()) } else { (ptr::null_mut(), 0) };
        header((&raw mut self.address).cast(), self.address_len, &raw mut self.vector, control)
    }
}

/// What one header of a receive points to.
struct ReceiveParcel {
    address: Address,
    vector: libc::iovec,
    control: Control,
}

impl ReceiveParcel {
    fn new(slot: &mut [u8]) -> Self {
        let vector = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
        Self { address: Address::none(), vector, control: Control::none() }
    }

    /// The header that points here: good as long as this stays where it is.
    fn header(&mut self) -> libc::mmsghdr {
        let control = ((&raw mut self.control).cast(), size_of::<Control>());
        header((&raw mut self.address).cast(), size_of::<Address>() as socklen_t, &raw mut self.vector, control)
    }
}

/// A control message with a value of up to four bytes, laid out as the system wants it.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    value: [u8; size_of::<usize>()],
}

impl Control {
    fn none() -> Self {
        // SAFETY: a header of zeroes is a valid one. Some systems have fields for padding in it that cannot be named.
        Self { header: unsafe { mem::zeroed() }, value: [0; size_of::<usize>()] }
    }

    /// How long the datagrams of a message are.
    fn segment(size: u16) -> Self {
        let mut control = Self::none();
        // SAFETY: only a sum.
        control.header.cmsg_len = unsafe { libc::CMSG_LEN(size_of::<u16>() as c_uint) } as _;
        control.header.cmsg_level = libc::SOL_UDP;
        control.header.cmsg_type = libc::UDP_SEGMENT;
        control.value[..2].copy_from_slice(&size.to_ne_bytes());
        control
    }
}

fn header(
    address: *mut c_void,
    address_len: socklen_t,
    vector: *mut libc::iovec,
    (control, control_len): (*mut c_void, usize),
) -> libc::mmsghdr {
    // SAFETY: a header of zeroes is a valid one, and points to nothing.
    let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
    header.msg_hdr.msg_name = address;
    header.msg_hdr.msg_namelen = address_len;
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = control;
    header.msg_hdr.msg_controllen = control_len as _;
    header
}

/// Where a message came from, how long it is and how long its datagrams are, and whether some of it is missing.
///
/// # Safety
/// The header must have gone through a successful `recvmmsg`, and the [`ReceiveParcel`] that it points to must still be there.
unsafe fn read(header: &libc::mmsghdr) -> (SocketAddr, usize, usize, bool) {
    let message = &header.msg_hdr;
    let len = header.msg_len as usize;
    // SAFETY: the name points to the parcel's address, which the system wrote or left zeroed.
    let remote = unsafe { &*message.msg_name.cast::<Address>() }.to_socket_addr();
    let mut segment = len;
    // SAFETY: the control pointer and length are the parcel's room, or what the system wrote there.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !control.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give only whole headers within the room.
        let found = unsafe { &*control };
        if (found.cmsg_level, found.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO) {
            // SAFETY: the system writes an int for this kind.
            let size = unsafe { libc::CMSG_DATA(control).cast::<c_int>().read_unaligned() };
            segment = usize::try_from(size).unwrap_or(len);
        }
        // SAFETY: as above.
        control = unsafe { libc::CMSG_NXTHDR(message, control) };
    }
    (remote, len, segment, message.msg_flags & libc::MSG_TRUNC != 0)
}

/// A socket address as the system has it; which one, the family says, which is at the same place in all.
#[repr(C)]
union Address {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Address {
    fn none() -> Self {
        // SAFETY: an address of zeroes is a valid one, of no family.
        unsafe { mem::zeroed() }
    }

    fn new(address: SocketAddr) -> (Self, socklen_t) {
        match address {
            SocketAddr::V4(address) => {
                let v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                    sin_zero: [0; 8],
                };
                (Self { v4 }, size_of::<libc::sockaddr_in>() as socklen_t)
            }
            SocketAddr::V6(address) => {
                let v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                (Self { v6 }, size_of::<libc::sockaddr_in6>() as socklen_t)
            }
        }
    }

    fn to_socket_addr(&self) -> SocketAddr {
        // SAFETY: every value of every field is made of all bytes below, which were written or zeroed.
        let (family, v4, v6) = unsafe { (c_int::from(self.family), self.v4, self.v6) };
        if family == libc::AF_INET6 {
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into()
        } else {
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into()
        }
    }
}

/// How many numbers of an option the system wrote; none if it does not know it.
fn read_option(socket: &UdpSocket, level: c_int, name: c_int, value: &mut [c_int]) -> Option<usize> {
    let mut len = size_of_val(value) as socklen_t;
    // SAFETY: the system writes at most `len` bytes to where `value` is, and any bytes are an int.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) };
    (result == 0).then_some(len as usize / size_of::<c_int>())
}

/// Not in `libc` for all targets (asm-generic/socket.h).
const SO_MEMINFO: c_int = 55;
/// The place of the drops in what it gives (linux/sock_diag.h).
const DROPS: usize = 8;

const _: () = {
    // SAFETY: only sums.
    let (start, size) = unsafe { (libc::CMSG_LEN(0), libc::CMSG_SPACE(size_of::<c_int>() as c_uint)) };
    assert!(mem::offset_of!(Control, value) == start as usize && size_of::<Control>() == size as usize);
};
