//! The packets of an encoding that viewers may ask for again: one copy for all viewers, bounded in number and so in bytes.

use lockgate_rtp::{Header, PacketFacts};

use crate::packet::{Packet, Passed};

/// The last packets of an encoding.
pub(crate) struct Ring {
    places: Vec<Kept>,
}

#[derive(Default)]
struct Kept {
    /// 0: nothing; numbers begin above that.
    number: u64,
    header: Option<Header>,
    facts: PacketFacts,
    payload: (u16, u16),
    passed: Passed,
    bytes: Vec<u8>,
}

impl Ring {
    /// An empty ring; its places grow with the packets that they hold.
    pub(crate) fn new() -> Self {
        Self { places: Vec::new() }
    }

    /// Keeps a copy, in place of the packet that came a whole ring before.
    pub(crate) fn keep(&mut self, packet: &Packet<'_>) {
        if self.places.is_empty() {
            self.places.resize_with(SIZE, Kept::default);
        }
        let kept = &mut self.places[packet.number as usize % SIZE];
        kept.number = packet.number;
        kept.header = Some(packet.header);
        kept.facts = packet.facts;
        kept.payload = (packet.payload.start as u16, packet.payload.end as u16);
        kept.passed = packet.passed;
        kept.bytes.clear();
        kept.bytes.extend_from_slice(packet.bytes);
    }

    /// A packet that is still there.
    pub(crate) fn get(&self, number: u64) -> Option<Packet<'_>> {
        let kept = self.places.get(number as usize % SIZE).filter(|kept| kept.number == number)?;
        let payload = kept.payload.0.into()..kept.payload.1.into();
        Some(Packet {
            number,
            header: kept.header?,
            facts: kept.facts,
            payload,
            passed: kept.passed,
            bytes: &kept.bytes,
        })
    }
}

/// Over a second of 4 Mbit/s; at most 1.5 MB.
const SIZE: usize = 1024;
