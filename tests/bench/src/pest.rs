//! Who wants the worker ill: datagrams that cost it work and bring nobody anything.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::Result;
use lockgate_rtp::{TwccPacket, write};
use lockgate_transport::testing::check;
use serde::Serialize;

use crate::publisher::Publisher;
use crate::viewer::{OWN_SSRC, Viewer};

/// A way to be hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attack {
    /// Nobody is; for comparison.
    None,
    /// Media from addresses that no connection has.
    SpoofedSources,
    /// Checks for connections that do not exist, each another.
    UnknownUfrags,
    /// From a participant: packets that are cut off, or as long as a datagram can be.
    OddLengths,
    /// From a participant: a packet of its own, again and again.
    Replay,
    /// From a participant: authentic packets, each of another source.
    ManySources,
    /// From a viewer: requests for a hundred packets again.
    NackStorm,
    /// From a viewer: requests for key frames.
    KeyFrameStorm,
    /// From a viewer: reports on packets that it may have been sent or not, all of which came at one moment.
    LyingReports,
}

/// Who takes part.
pub(crate) enum Insider {
    Publisher(Box<Publisher>),
    Viewer(Box<Viewer>),
}

impl Attack {
    pub(crate) const ALL: [Self; 9] = [
        Self::None,
        Self::SpoofedSources,
        Self::UnknownUfrags,
        Self::OddLengths,
        Self::Replay,
        Self::ManySources,
        Self::NackStorm,
        Self::KeyFrameStorm,
        Self::LyingReports,
    ];

    /// Whether it takes a viewer; a publisher otherwise.
    pub(crate) fn watches(self) -> bool {
        matches!(self, Self::NackStorm | Self::KeyFrameStorm | Self::LyingReports)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SpoofedSources => "spoofed sources",
            Self::UnknownUfrags => "checks for nobody",
            Self::OddLengths => "odd lengths",
            Self::Replay => "replays",
            Self::ManySources => "65,536 sources",
            Self::NackStorm => "requests again",
            Self::KeyFrameStorm => "key frame requests",
            Self::LyingReports => "lying reports",
        }
    }
}

/// One that attacks.
pub(crate) struct Pest {
    attack: Attack,
    /// Its addresses.
    sockets: Vec<UdpSocket>,
    /// Its connection, where it has one.
    insider: Insider,
    replayed: Vec<u8>,
    begun: Option<Duration>,
    pub(crate) sent: u64,
}

impl Pest {
    /// One that attacks a worker's port, and takes part in its room.
    pub(crate) fn new(attack: Attack, port: u16, mut insider: Insider) -> Result<Self> {
        let strange = || -> Result<_> {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect((Ipv4Addr::LOCALHOST, port))?;
            Ok(socket)
        };
        let sockets = (0..ADDRESSES).map(|_| strange()).collect::<Result<_>>()?;
        let mut replayed = Vec::new();
        if let Insider::Publisher(publisher) = &mut insider {
            replayed = publisher.forge(0x2000, LENGTH);
            publisher.client.socket.send(&replayed)?;
        }
        Ok(Self { attack, sockets, insider, replayed, begun: None, sent: 0 })
    }

    /// Sends what is due at this time, a little at once.
    pub(crate) fn act(&mut self, now: Duration) {
        if self.attack == Attack::None {
            return;
        }
        let begun = *self.begun.get_or_insert(now);
        let due = ((now - begun).as_secs_f64() * RATE) as u64;
        for _ in 0..due.saturating_sub(self.sent).min(AT_ONCE) {
            self.strike();
            self.sent += 1;
        }
    }

    fn strike(&mut self) {
        let (number, socket) = (self.sent, &self.sockets[self.sent as usize % ADDRESSES]);
        // Whether the system takes it is the attacker's problem.
        let _ = match (self.attack, &mut self.insider) {
            (Attack::SpoofedSources, _) => socket.send(&self.replayed),
            (Attack::UnknownUfrags, _) => socket.send(&check(&format!("{number:08x}"), PASSWORD, true)),
            (Attack::Replay, Insider::Publisher(publisher)) => publisher.client.socket.send(&self.replayed),
            (attack, Insider::Publisher(publisher)) => {
                let packet = forged(attack, publisher, number);
                publisher.client.socket.send(&packet)
            }
            (attack, Insider::Viewer(viewer)) => return storm(attack, viewer, number),
        };
    }
}

fn forged(attack: Attack, publisher: &mut Publisher, number: u64) -> Vec<u8> {
    match attack {
        Attack::ManySources => publisher.forge(0x10_0000 + number as u32 % SOURCES, 200),
        _ => odd(publisher, number),
    }
}

/// Cut off anywhere; and once in a while as long as can be, which is a great deal of work for the system itself.
fn odd(publisher: &mut Publisher, number: u64) -> Vec<u8> {
    let mut packet = publisher.forge(0x2000, LENGTH);
    match number % 64 {
        0 => packet.resize(60_000, 0x80),
        cut => packet.truncate(packet.len() * cut as usize / 64),
    }
    packet
}

fn storm(attack: Attack, viewer: &mut Viewer, number: u64) {
    let Some((ssrc, last)) = viewer.glance() else { return };
    viewer.client.send_rtcp(|out| match attack {
        Attack::NackStorm => {
            let missing: Vec<_> = (0..MISSING).map(|back| last.wrapping_sub(back)).collect();
            write::nack(out, OWN_SSRC, ssrc, &missing);
        }
        Attack::KeyFrameStorm => write::pli(out, OWN_SSRC, ssrc),
        _ => {
            let base = number * REPORTED;
            let came = |number| TwccPacket { number, arrival_us: 1_000_000 };
            let arrivals: Vec<_> = (base..base + REPORTED).map(came).collect();
            write::twcc(out, OWN_SSRC, ssrc, number as u8, base, &arrivals);
        }
    });
}

/// Strikes in a second.
const RATE: f64 = 20_000.0;
const AT_ONCE: u64 = 16;
const ADDRESSES: usize = 256;
/// More than fit into 16 bits, as there is one at least that counts so.
const SOURCES: u32 = 65_536;
const LENGTH: usize = 1000;
/// Packets that one request of a storm is for.
const MISSING: u16 = 100;
/// Packets that one lie is about.
const REPORTED: u64 = 40;
const PASSWORD: &str = "0123456789012345678901";
