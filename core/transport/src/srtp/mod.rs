//! SRTP and SRTCP in place (RFC 3711, RFC 7714): no copy, no allocation per packet.
//!
//! One context for each direction of a connection. Packet indices are counted per SSRC; the replay window is 128 packets.

mod cipher;
mod derive;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use lockgate_rtp::Header;
use rtc_crypto::{CryptoError, RTCCrypto};

use crate::dtls::SrtpProfile;
use cipher::{Cipher, RtcpCipher, RtpCipher};
use replay::Window;

/// Why a packet cannot be protected or unprotected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// It is no RTP or RTCP packet, or too short to be protected.
    #[error("not an SRTP or SRTCP packet")]
    Malformed,
    /// Its tag is wrong: made with other keys, or changed on the way.
    #[error("authentication failed")]
    Authentication,
    /// It came before.
    #[error("replayed")]
    Replay,
    /// It is older than the replay window: whether it came before is not known.
    #[error("too old")]
    Late,
    /// More sources than a connection may have.
    #[error("too many synchronization sources")]
    TooManySources,
    /// All 2^31 indices of the keys are used up (RFC 3711 §9.2).
    #[error("the keys are used up")]
    Exhausted,
    /// The cipher refused its input.
    #[error("the cipher failed")]
    Cipher,
}

/// Why keys give no context.
#[derive(Debug, thiserror::Error)]
#[error("the SRTP keys cannot be used: {0}")]
pub struct KeyError(#[from] CryptoError);

/// Protects what is sent.
pub struct Sender {
    rtp: Box<dyn RtpCipher>,
    rtcp: Box<dyn RtcpCipher>,
    sources: HashMap<u32, Rollover>,
    rtcp_index: u32,
    overhead: usize,
}

/// Unprotects what is received.
pub struct Receiver {
    rtp: Box<dyn RtpCipher>,
    rtcp: Box<dyn RtcpCipher>,
    sources: HashMap<u32, (Rollover, Window)>,
    rtcp_windows: HashMap<u32, Window>,
}

impl Sender {
    /// A sender with our write keys.
    pub fn new(crypto: &dyn RTCCrypto, profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        let Cipher { rtp, rtcp } = Cipher::new(crypto, profile, key, salt)?;
        let overhead = rtp.overhead();
        Ok(Self { rtp, rtcp, sources: HashMap::new(), rtcp_index: 0, overhead })
    }

    /// Bytes that protection adds to an RTP packet.
    pub fn overhead(&self) -> usize {
        self.overhead
    }

    /// Protects the RTP packet in `buffer[..len]`; the buffer must have [`Self::overhead`] bytes more. The new length comes back.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let header = Header::parse(buffer.get(..len).ok_or(SrtpError::Malformed)?).map_err(|_| SrtpError::Malformed)?;
        let rollover = self.sources.entry(header.ssrc).or_default();
        let index = rollover.guess(header.sequence);
        rollover.update(index);
        let end = len + self.overhead;
        let packet = buffer.get_mut(..end).ok_or(SrtpError::Malformed)?;
        self.rtp.seal(packet, header.len, header.ssrc, index)?;
        Ok(end)
    }

    /// Protects an RTP packet whose source and 48-bit index (RFC 3711 §3.3.1) the caller knows: for streams that are numbered here,
    /// so that nothing is looked up. `packet` ends with [`Self::overhead`] bytes of room; its first `header` bytes stay in clear.
    /// An index must never be given twice for a source.
    pub fn seal_rtp(&mut self, packet: &mut [u8], header: usize, ssrc: u32, index: u64) -> Result<(), SrtpError> {
        self.rtp.seal(packet, header, ssrc, index)
    }

    /// Protects a compound RTCP packet; it grows by the tag and the index.
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        if self.rtcp_index > MAX_RTCP_INDEX {
            return Err(SrtpError::Exhausted);
        }
        let ssrc = rtcp_ssrc(packet)?;
        self.rtcp.seal(packet, ssrc, self.rtcp_index)?;
        self.rtcp_index += 1;
        Ok(())
    }
}

impl Receiver {
    /// A receiver with the peer's write keys.
    pub fn new(crypto: &dyn RTCCrypto, profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        let Cipher { rtp, rtcp } = Cipher::new(crypto, profile, key, salt)?;
        Ok(Self { rtp, rtcp, sources: HashMap::new(), rtcp_windows: HashMap::new() })
    }

    /// Unprotects an RTP packet whose header is known; the length without the tag comes back. A packet that is refused changes nothing.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8], header: &Header) -> Result<usize, SrtpError> {
        let index = match self.sources.get(&header.ssrc) {
            None if self.sources.len() >= MAX_SOURCES => return Err(SrtpError::TooManySources),
            None => header.sequence.into(),
            Some((rollover, window)) => {
                let index = rollover.guess(header.sequence);
                window.check(index)?;
                index
            }
        };
        let len = self.rtp.open(packet, header.len, header.ssrc, index)?;
        let (rollover, window) = self.sources.entry(header.ssrc).or_default();
        rollover.update(index);
        window.note(index);
        Ok(len)
    }

    /// Unprotects a compound RTCP packet; the length without tag and index comes back.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(packet)?;
        let index = self.rtcp.index(packet)?;
        match self.rtcp_windows.get(&ssrc) {
            None if self.rtcp_windows.len() >= MAX_SOURCES => return Err(SrtpError::TooManySources),
            None => {}
            Some(window) => window.check(index.into())?,
        }
        let len = self.rtcp.open(packet, ssrc, index)?;
        self.rtcp_windows.entry(ssrc).or_default().note(index.into());
        Ok(len)
    }
}

/// The rollover counter of a source (RFC 3711 §3.3.1), kept as the highest 48-bit index so far.
#[derive(Clone, Copy, Debug, Default)]
struct Rollover {
    highest: Option<u64>,
}

impl Rollover {
    /// The index that a sequence number most likely has.
    fn guess(self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else { return sequence.into() };
        let ahead = i64::from(sequence.wrapping_sub(highest as u16) as i16);
        // Below index 0 there is nothing: such a packet is of the first cycle, ahead of us.
        highest.checked_add_signed(ahead).unwrap_or(sequence.into())
    }

    fn update(&mut self, index: u64) {
        self.highest = Some(self.highest.map_or(index, |highest| highest.max(index)));
    }
}

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    match packet.first_chunk::<8>() {
        Some(&[head, _, _, _, ssrc @ ..]) if head >> 6 == 2 => Ok(u32::from_be_bytes(ssrc)),
        _ => Err(SrtpError::Malformed),
    }
}

/// Sources of one connection; a browser with three simulcast encodings of a few tracks has some dozens.
const MAX_SOURCES: usize = 512;
const MAX_RTCP_INDEX: u32 = (1 << 31) - 1;
