//! A client: a socket of its own, a real handshake, real SRTP.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lockgate_transport::testing::{Peer, check};

use crate::sdp::Server;

/// One client's connection.
pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
    pub(crate) peer: Peer,
    check: Vec<u8>,
}

impl Client {
    pub(crate) fn new() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { socket, peer: Peer::default(), check: Vec::new() })
    }

    /// Does the checks and the handshake with a server that waits for them.
    pub(crate) fn connect(&mut self, server: &Server) -> Result<()> {
        self.socket.connect((Ipv4Addr::LOCALHOST, server.port))?;
        self.socket.set_read_timeout(Some(TURN))?;
        self.check = check(&server.ufrag, &server.password, true);
        self.keep_alive();
        let begun = Instant::now();
        self.peer.start(begun, server.fingerprint.clone());
        let mut datagram = vec![0; 2048];
        loop {
            // The keys are there when the last flight is, which is sent all the same.
            for flight in self.peer.poll(Instant::now()) {
                self.socket.send(&flight)?;
            }
            if self.peer.is_connected() {
                break;
            }
            ensure!(begun.elapsed() < PATIENCE, "a client could not connect");
            if let Ok(length) = self.socket.recv(&mut datagram) {
                self.peer.handle(Instant::now(), &datagram[..length]);
            }
        }
        self.socket.set_nonblocking(true)?;
        Ok(())
    }

    /// Consent (RFC 7675): the check of the beginning, once more.
    pub(crate) fn keep_alive(&self) {
        // A port that closed says so on the next call; the row then lacks packets, and says that.
        let _ = self.socket.send(&self.check);
    }

    /// Decrypts what comes until there are so many media packets. They are taken.
    pub(crate) fn decrypt(&mut self, packets: usize) -> Result<Vec<Vec<u8>>> {
        let (begun, mut datagram) = (Instant::now(), vec![0; 2048]);
        while self.peer.rtp.len() < packets {
            ensure!(begun.elapsed() < PATIENCE, "{} of {packets} packets came", self.peer.rtp.len());
            match self.socket.recv(&mut datagram) {
                Ok(length) => self.peer.handle(Instant::now(), &datagram[..length]),
                Err(_) => std::thread::yield_now(),
            }
        }
        Ok(std::mem::take(&mut self.peer.rtp))
    }

    /// Sends a packet of feedback that `write` writes; an empty one is left out.
    pub(crate) fn send_rtcp(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut packet = Vec::new();
        write(&mut packet);
        if packet.is_empty() {
            return;
        }
        let sealed = self.peer.seal_rtcp(&packet);
        let _ = self.socket.send(&sealed);
    }
}

const TURN: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(20);
