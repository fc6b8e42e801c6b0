//! One datagram in each call, on every system.

use std::io;

use mio::net::UdpSocket;

use super::{Arena, Message};

/// Receives as many datagrams as there are and as the arena has room for: at least one. One that is longer than a slot would be
/// cut without a word; slots are as long as datagrams get.
pub(super) fn receive(socket: &UdpSocket, arena: &mut Arena) -> io::Result<()> {
    arena.clear();
    let mut slot = 0;
    for _ in 0..arena.slot_count() {
        match socket.recv_from(arena.slot(slot)) {
            Ok((len, remote)) => {
                arena.push(remote, len, len, false);
                slot += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && slot > 0 => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            // What a datagram of ours came back with (a port that is closed) concerns only its own receiver.
            Err(_) => {}
        }
    }
    Ok(())
}

/// Sends the message as one datagram.
pub(super) fn send(socket: &UdpSocket, message: &Message<'_>) -> io::Result<()> {
    socket.send_to(message.bytes, message.remote).map(|_| ())
}
