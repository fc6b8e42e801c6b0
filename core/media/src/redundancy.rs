//! Sound for a viewer whose link loses packets: each packet has the one before with it (RFC 2198), so that a single loss is not heard.
//!
//! Pictures are sent again when they are asked for; sound that is asked for comes too late on most links, and browsers do not ask.

use std::time::{Duration, Instant};

use crate::packet::Packet;

/// What stands before the payload of a packet that carries the one before.
pub(crate) struct Redundancy {
    bytes: [u8; HEADS + MAX_BEFORE],
    len: usize,
}

impl Redundancy {
    /// For a packet and the one before, both of this payload type. None: they are too large or too far apart.
    pub(crate) fn new(payload_type: u8, packet: &Packet<'_>, before: &Packet<'_>) -> Option<Self> {
        let payload = before.payload();
        let apart = packet.header.timestamp.wrapping_sub(before.header.timestamp);
        if payload.len() > MAX_BEFORE || payload.len() + packet.payload.len() > MAX_BOTH || apart >= 1 << 14 {
            return None;
        }
        let mut bytes = [0; HEADS + MAX_BEFORE];
        // One bit that more follow, 7 of the type, 14 of the time, 10 of the length; then the last one, of which only the type is said.
        let head = 1 << 31 | u32::from(payload_type) << 24 | apart << 10 | payload.len() as u32;
        bytes[..4].copy_from_slice(&head.to_be_bytes());
        bytes[4] = payload_type;
        bytes[HEADS..HEADS + payload.len()].copy_from_slice(payload);
        Some(Self { bytes, len: HEADS + payload.len() })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Whether a link loses so much that sound is to be sent twice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lossy {
    last: Option<Instant>,
}

impl Lossy {
    /// So much of 1000 packets was lost lately.
    pub(crate) fn note(&mut self, now: Instant, loss: u16) {
        if loss >= HEARD {
            self.last = Some(now);
        }
        self.last = self.last.filter(|last| now.duration_since(*last) < LASTS);
    }

    pub(crate) fn is_so(self) -> bool {
        self.last.is_some()
    }
}

const HEADS: usize = 5;
/// A browser's voice has 80 bytes, the most that Opus makes of 20 ms at 128 kbit/s are 320.
const MAX_BEFORE: usize = 400;
/// So that it goes in one piece wherever a picture's packet does.
const MAX_BOTH: usize = 1100;
/// 1 %, of 1000: what is hidden well enough by a decoder alone is less.
const HEARD: u16 = 10;
const LASTS: Duration = Duration::from_secs(20);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_lossy_for_a_while_after_the_last_loss() {
        let (now, mut lossy) = (Instant::now(), Lossy::default());
        lossy.note(now, 9);
        assert!(!lossy.is_so());
        lossy.note(now, 10);
        lossy.note(now + LASTS / 2, 0);
        assert!(lossy.is_so());
        lossy.note(now + LASTS, 0);
        assert!(!lossy.is_so());
    }
}
