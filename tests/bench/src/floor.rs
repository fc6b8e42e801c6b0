//! The floor: what any forwarder must at least do for a packet and a viewer, done as well as we know how.
//!
//! Copy the payload behind a header, seal it with AES-128-GCM under the viewer's own key by the library that the worker uses,
//! and hand it to the system with `sendmmsg`, runs of one size as one message (UDP GSO). Nothing is received, parsed, looked up
//! or remembered.

use std::array;
use std::io::IoSlice;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_crypto::{AeadAlgorithm, AeadCipher, RTCCryptoProvider};
use serde::{Deserialize, Serialize};

use crate::machine::{used_by_this_thread, wall_clock};

/// What leaves at one moment, to every viewer alike.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Burst {
    /// Microseconds since the beginning.
    pub(crate) at: u64,
    /// One after another.
    pub(crate) runs: Vec<Run>,
}

/// Packets that leave in one message.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) struct Run {
    /// 1…64.
    pub(crate) packets: usize,
    /// Bytes of each, header included, before it is sealed.
    pub(crate) size: usize,
}

/// A sender with its keys.
pub(crate) struct Floor {
    socket: UdpSocket,
    viewers: Vec<Viewer>,
    addresses: Vec<Option<SockaddrIn>>,
    payloads: Vec<u8>,
    arena: Vec<u8>,
    single: MultiHeaders<SockaddrIn>,
    segmented: MultiHeaders<SockaddrIn>,
    sent: usize,
}

struct Viewer {
    key: Box<dyn AeadCipher>,
    header: [u8; HEADER],
}

impl Floor {
    /// A sender to these ports of this machine.
    pub(crate) fn new(ports: &[u16]) -> Result<Self> {
        let provider = AwsLcRsProvider::new();
        let viewer = |index: usize| -> Result<Viewer> {
            let mut key = [0x5a; 16];
            key[..8].copy_from_slice(&index.to_be_bytes());
            let key = provider.crypto().new_aead(AeadAlgorithm::Aes128Gcm, &key).context("the key is taken")?;
            let mut header = [0x90; HEADER];
            header[8..12].copy_from_slice(&(index as u32).to_be_bytes());
            Ok(Viewer { key, header })
        };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::SndBuf, &BUFFER)?;
        Ok(Self {
            socket,
            viewers: (0..ports.len()).map(viewer).collect::<Result<_>>()?,
            addresses: ports.iter().map(|port| Some(SockaddrIn::new(127, 0, 0, 1, *port))).collect(),
            payloads: vec![0xa5; SLOTS * SLOT],
            arena: Vec::new(),
            single: MultiHeaders::preallocate(MESSAGES, None),
            segmented: MultiHeaders::preallocate(MESSAGES, Some(nix::cmsg_space!(u16))),
            sent: 0,
        })
    }

    /// Sends all bursts at their times. How long this thread has worked for it comes back, and when each packet's burst began.
    pub(crate) fn send(&mut self, bursts: &[Burst]) -> Result<(Duration, Vec<Duration>)> {
        for run in bursts.iter().flat_map(|burst| &burst.runs) {
            ensure!((1..=64).contains(&run.packets) && (HEADER..=SLOT).contains(&run.size), "{run:?} cannot be sent");
        }
        let mut times = Vec::with_capacity(bursts.iter().flat_map(|burst| &burst.runs).map(|run| run.packets).sum());
        let (begun, before) = (Instant::now(), used_by_this_thread()?);
        for burst in bursts {
            let due = begun + Duration::from_micros(burst.at);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let now = wall_clock();
            for run in &burst.runs {
                times.extend((0..run.packets).map(|_| now));
                self.send_run(*run)?;
            }
        }
        Ok((used_by_this_thread()? - before, times))
    }

    /// Every viewer gets a run, so many viewers to a call.
    fn send_run(&mut self, run: Run) -> Result<()> {
        let first = self.sent;
        self.sent += run.packets;
        let (segment, length) = (run.size + TAG, run.packets * (run.size + TAG));
        self.arena.resize(MESSAGES * length, 0);
        for (viewers, addresses) in self.viewers.chunks_mut(MESSAGES).zip(self.addresses.chunks(MESSAGES)) {
            for (viewer, message) in viewers.iter_mut().zip(self.arena.chunks_mut(length)) {
                for (number, packet) in (first..).zip(message.chunks_mut(segment)) {
                    viewer.seal(number, &self.payloads[number % SLOTS * SLOT..], packet)?;
                }
            }
            let mut messages = self.arena.chunks(length);
            let slices: [_; MESSAGES] = array::from_fn(|_| [IoSlice::new(messages.next().unwrap_or_default())]);
            let flags = MsgFlags::empty();
            if run.packets == 1 {
                sendmmsg(self.socket.as_raw_fd(), &mut self.single, &slices, addresses, [], flags)?;
            } else {
                let size = segment as u16;
                let control = [ControlMessage::UdpGsoSegments(&size)];
                sendmmsg(self.socket.as_raw_fd(), &mut self.segmented, &slices, addresses, control, flags)?;
            }
        }
        Ok(())
    }
}

impl Viewer {
    fn seal(&mut self, number: usize, payload: &[u8], packet: &mut [u8]) -> Result<()> {
        let (header, rest) = packet.split_at_mut(HEADER);
        header.copy_from_slice(&self.header);
        header[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        let (body, tag) = rest.split_at_mut(rest.len() - TAG);
        body.copy_from_slice(&payload[..body.len()]);
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        self.key.seal_in_place(&nonce, header, body, tag).context("a packet is sealed")
    }
}

/// Messages of one call. More of them gain nothing, and what was sealed should still be in the cache when it is sent.
const MESSAGES: usize = 32;
/// RTP's own header, and 8 bytes of extensions.
const HEADER: usize = 20;
const TAG: usize = 16;
/// Payloads are read out of a ring, as a forwarder's are.
const SLOTS: usize = 64;
const SLOT: usize = 1500;
const BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_viewer_gets_every_packet_in_its_length() {
        let sinks: Vec<_> = (0..40).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let ports: Vec<_> = sinks.iter().map(|sink| sink.local_addr().unwrap().port()).collect();
        let runs = vec![Run { packets: 3, size: 1100 }, Run { packets: 1, size: 112 }];
        let (used, begun) = Floor::new(&ports).unwrap().send(&[Burst { at: 0, runs }]).unwrap();
        assert!(used > Duration::ZERO);
        assert!(begun.len() == 4 && begun[0] == begun[3] && begun[0] <= wall_clock());
        let mut packet = [0; 2000];
        for sink in sinks {
            sink.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let got: Vec<_> = (0..4).map(|_| sink.recv(&mut packet).unwrap()).collect();
            assert_eq!(got, [1116, 1116, 1116, 128]);
        }
    }
}
