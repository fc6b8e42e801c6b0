//! The transforms: AEAD AES-GCM (RFC 7714) and AES-CM with HMAC-SHA1-80 (RFC 3711), one object for each of SRTP and SRTCP.

use rtc_crypto::{
    AeadAlgorithm, AeadCipher, CryptoError, HmacAlgorithm, Mac, RTCCrypto, StreamCipher, StreamCipherAlgorithm,
    constant_time_eq,
};

use super::SrtpError;
use super::derive::{Label, derive};
use crate::dtls::SrtpProfile;

/// Protects RTP. The packet's buffer includes room for the tag when sealing, and the tag when opening.
pub(super) trait RtpCipher: Send {
    fn overhead(&self) -> usize;
    fn seal(&mut self, packet: &mut [u8], header: usize, ssrc: u32, index: u64) -> Result<(), SrtpError>;
    fn open(&mut self, packet: &mut [u8], header: usize, ssrc: u32, index: u64) -> Result<usize, SrtpError>;
}

/// Protects RTCP.
pub(super) trait RtcpCipher: Send {
    fn seal(&mut self, packet: &mut Vec<u8>, ssrc: u32, index: u32) -> Result<(), SrtpError>;
    fn open(&mut self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, SrtpError>;
    /// The index that the packet says it has.
    fn index(&self, packet: &[u8]) -> Result<u32, SrtpError>;
}

/// The two ciphers of one direction.
pub(super) struct Cipher {
    pub(super) rtp: Box<dyn RtpCipher>,
    pub(super) rtcp: Box<dyn RtcpCipher>,
}

impl Cipher {
    pub(super) fn new(
        crypto: &dyn RTCCrypto,
        profile: SrtpProfile,
        key: &[u8],
        salt: &[u8],
    ) -> Result<Self, CryptoError> {
        let derived = |label, length| derive(crypto, key, salt, label, length);
        let gcm = |label, salt| Gcm::from_session_keys(crypto, &derived(label, key.len())?, &derived(salt, 12)?);
        let counter = |key, auth, salt| -> Result<_, CryptoError> {
            Ok(Counter {
                stream: crypto.new_stream_cipher(StreamCipherAlgorithm::Aes128Ctr, &derived(key, 16)?)?,
                mac: crypto.new_hmac(HmacAlgorithm::Sha1, &derived(auth, 20)?)?,
                salt: array(&derived(salt, 14)?),
            })
        };
        Ok(match profile {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => Self {
                rtp: Box::new(gcm(Label::RtpKey, Label::RtpSalt)?),
                rtcp: Box::new(gcm(Label::RtcpKey, Label::RtcpSalt)?),
            },
            SrtpProfile::AesCm128HmacSha1_80 => Self {
                rtp: Box::new(counter(Label::RtpKey, Label::RtpAuth, Label::RtpSalt)?),
                rtcp: Box::new(counter(Label::RtcpKey, Label::RtcpAuth, Label::RtcpSalt)?),
            },
        })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

pub(super) struct Gcm {
    aead: Box<dyn AeadCipher>,
    salt: [u8; 12],
}

impl Gcm {
    pub(super) fn from_session_keys(crypto: &dyn RTCCrypto, key: &[u8], salt: &[u8]) -> Result<Self, CryptoError> {
        let algorithm = if key.len() == 32 { AeadAlgorithm::Aes256Gcm } else { AeadAlgorithm::Aes128Gcm };
        Ok(Self { aead: crypto.new_aead(algorithm, key)?, salt: array(salt) })
    }

    /// RFC 7714 §8.1 and §9.1: two zero bytes, SSRC, index in six bytes, xor the salt.
    fn nonce(&self, ssrc: u32, index: u64) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        nonce.iter_mut().zip(self.salt).for_each(|(byte, salt)| *byte ^= salt);
        nonce
    }
}

impl RtpCipher for Gcm {
    fn overhead(&self) -> usize {
        GCM_TAG
    }

    fn seal(&mut self, packet: &mut [u8], header: usize, ssrc: u32, index: u64) -> Result<(), SrtpError> {
        let nonce = self.nonce(ssrc, index);
        let (aad, rest) = packet.split_at_mut(header);
        let (payload, tag) = rest.split_at_mut(rest.len() - GCM_TAG);
        self.aead.seal_in_place(&nonce, aad, payload, tag).map_err(|_| SrtpError::Cipher)
    }

    fn open(&mut self, packet: &mut [u8], header: usize, ssrc: u32, index: u64) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(GCM_TAG).filter(|len| *len >= header).ok_or(SrtpError::Malformed)?;
        let nonce = self.nonce(ssrc, index);
        let (aad, rest) = packet.split_at_mut(header);
        let (payload, tag) = rest.split_at_mut(len - header);
        self.aead.open_in_place(&nonce, aad, payload, tag).map_err(|_| SrtpError::Authentication)?;
        Ok(len)
    }
}

impl RtcpCipher for Gcm {
    fn seal(&mut self, packet: &mut Vec<u8>, ssrc: u32, index: u32) -> Result<(), SrtpError> {
        let nonce = self.nonce(ssrc, index.into());
        let word = (index | ENCRYPTED).to_be_bytes();
        // RFC 7714 §9.2: the fixed header and the index word are authenticated, the rest encrypted too.
        let mut aad = [0; 12];
        aad[..8].copy_from_slice(&packet[..8]);
        aad[8..].copy_from_slice(&word);
        let mut tag = [0; GCM_TAG];
        self.aead.seal_in_place(&nonce, &aad, &mut packet[8..], &mut tag).map_err(|_| SrtpError::Cipher)?;
        packet.extend_from_slice(&tag);
        packet.extend_from_slice(&word);
        Ok(())
    }

    fn open(&mut self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(GCM_TAG + 4).filter(|len| *len >= 8).ok_or(SrtpError::Malformed)?;
        let nonce = self.nonce(ssrc, index.into());
        let (body, word) = packet.split_at_mut(len + GCM_TAG);
        // Authentication without encryption exists on paper only: nobody sends it, and we do not take it.
        if word[0] & 0x80 == 0 {
            return Err(SrtpError::Authentication);
        }
        let mut aad = [0; 12];
        aad[..8].copy_from_slice(&body[..8]);
        aad[8..].copy_from_slice(word);
        let (text, tag) = body[8..].split_at_mut(len - 8);
        self.aead.open_in_place(&nonce, &aad, text, tag).map_err(|_| SrtpError::Authentication)?;
        Ok(len)
    }

    fn index(&self, packet: &[u8]) -> Result<u32, SrtpError> {
        let word = packet.last_chunk::<4>().ok_or(SrtpError::Malformed)?;
        Ok(u32::from_be_bytes(*word) & !ENCRYPTED)
    }
}

struct Counter {
    stream: Box<dyn StreamCipher>,
    mac: Box<dyn Mac>,
    salt: [u8; 14],
}

impl Counter {
    /// RFC 3711 §4.1.1: salt, SSRC and index, each at its place, and a block counter of zero.
    fn iv(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        iv[4..8].iter_mut().zip(ssrc.to_be_bytes()).for_each(|(byte, ssrc)| *byte ^= ssrc);
        iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]).for_each(|(byte, index)| *byte ^= index);
        iv
    }

    fn tag(&mut self, text: &[u8], roc: &[u8]) -> Result<[u8; 20], SrtpError> {
        let mut tag = [0; 20];
        self.mac.sign(&[text, roc], &mut tag).map_err(|_| SrtpError::Cipher)?;
        Ok(tag)
    }

    fn crypt(&mut self, ssrc: u32, index: u64, text: &mut [u8]) -> Result<(), SrtpError> {
        let iv = self.iv(ssrc, index);
        self.stream.apply_keystream(&iv, text).map_err(|_| SrtpError::Cipher)
    }
}

impl RtpCipher for Counter {
    fn overhead(&self) -> usize {
        SHA1_TAG
    }

    fn seal(&mut self, packet: &mut [u8], header: usize, ssrc: u32, index: u64) -> Result<(), SrtpError> {
        let (text, tag) = packet.split_at_mut(packet.len() - SHA1_TAG);
        self.crypt(ssrc, index, &mut text[header..])?;
        let roc = ((index >> 16) as u32).to_be_bytes();
        tag.copy_from_slice(&self.tag(text, &roc)?[..SHA1_TAG]);
        Ok(())
    }

    fn open(&mut self, packet: &mut [u8], header: usize, ssrc: u32, index: u64) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(SHA1_TAG).filter(|len| *len >= header).ok_or(SrtpError::Malformed)?;
        let (text, tag) = packet.split_at_mut(len);
        let roc = ((index >> 16) as u32).to_be_bytes();
        if !constant_time_eq(&self.tag(text, &roc)?[..SHA1_TAG], tag) {
            return Err(SrtpError::Authentication);
        }
        self.crypt(ssrc, index, &mut text[header..])?;
        Ok(len)
    }
}

impl RtcpCipher for Counter {
    fn seal(&mut self, packet: &mut Vec<u8>, ssrc: u32, index: u32) -> Result<(), SrtpError> {
        self.crypt(ssrc, index.into(), &mut packet[8..])?;
        packet.extend_from_slice(&(index | ENCRYPTED).to_be_bytes());
        let tag = self.tag(packet, &[])?;
        packet.extend_from_slice(&tag[..SHA1_TAG]);
        Ok(())
    }

    fn open(&mut self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(SHA1_TAG + 4).filter(|len| *len >= 8).ok_or(SrtpError::Malformed)?;
        let (text, tag) = packet.split_at_mut(len + 4);
        if !constant_time_eq(&self.tag(text, &[])?[..SHA1_TAG], tag) || text[len] & 0x80 == 0 {
            return Err(SrtpError::Authentication);
        }
        self.crypt(ssrc, index.into(), &mut text[8..len])?;
        Ok(len)
    }

    fn index(&self, packet: &[u8]) -> Result<u32, SrtpError> {
        let end = packet.len().checked_sub(SHA1_TAG).ok_or(SrtpError::Malformed)?;
        let word = packet[..end].last_chunk::<4>().ok_or(SrtpError::Malformed)?;
        Ok(u32::from_be_bytes(*word) & !ENCRYPTED)
    }
}

const GCM_TAG: usize = 16;
const SHA1_TAG: usize = 10;
/// The E flag of SRTCP (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;
