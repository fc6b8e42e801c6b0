//! The other end of a connection, for tests of whole calls in virtual time: a full ICE agent's checks, a DTLS client, SRTP.
//!
//! Only compiled with the feature `testing`; nothing of it is in a product.

#![allow(clippy::unwrap_used, reason = "a test's peer fails where it stands")]

mod data;

use std::time::Instant;

use lockgate_rtp::Header;
use rtc_crypto::RTCCryptoProvider;
use rtc_stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use rtc_stun::textattrs::Username;

use crate::crypto::provider;
use crate::dtls::{Certificate, Dtls, DtlsEvent, EngineKind, Fingerprint, Role};
use crate::srtp::{Receiver, Sender, SrtpError};

pub use data::DataPeer;

/// A client.
pub struct Peer {
    certificate: Certificate,
    dtls: Option<Dtls>,
    media: Option<(Sender, Receiver)>,
    /// Media that came, decrypted.
    pub rtp: Vec<Vec<u8>>,
    /// Feedback that came, decrypted.
    pub rtcp: Vec<Vec<u8>>,
    /// Data channels, once they were begun.
    pub data: Option<DataPeer>,
}

/// An attribute without a value.
struct Flag(AttrType);

impl Setter for Flag {
    fn add_to(&self, message: &mut Message) -> rtc_shared::error::Result<()> {
        message.add(self.0, &[]);
        Ok(())
    }
}

/// A check for a connection with these credentials.
pub fn check(ufrag: &str, password: &str, nominate: bool) -> Vec<u8> {
    let crypto = provider();
    let mut parts: Vec<Box<dyn Setter + '_>> = vec![
        Box::new(TransactionId([7; 12])),
        Box::new(BINDING_REQUEST),
        Box::new(Username::new(ATTR_USERNAME, format!("{ufrag}:peer"))),
    ];
    if nominate {
        parts.push(Box::new(Flag(ATTR_USE_CANDIDATE)));
    }
    parts
        .push(Box::new(MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto.crypto())));
    parts.push(Box::new(FINGERPRINT));
    let mut message = Message::new();
    message.build(&parts).unwrap();
    message.raw
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            certificate: Certificate::generate().unwrap(),
            dtls: None,
            media: None,
            rtp: Vec::new(),
            rtcp: Vec::new(),
            data: None,
        }
    }
}

impl Peer {
    /// Its certificate's digest, for its description.
    pub fn fingerprint(&self) -> String {
        self.certificate.fingerprint().to_string()
    }

    /// Begins the handshake with a server of this digest.
    pub fn start(&mut self, now: Instant, server: Fingerprint) {
        let mut dtls = Dtls::new(EngineKind::RtcDtls, &self.certificate, Role::Client, vec![server]);
        dtls.keep(true);
        dtls.start(now);
        self.dtls = Some(dtls);
    }

    /// Begins an SCTP association.
    pub fn start_data(&mut self, now: Instant) -> &mut DataPeer {
        self.data.get_or_insert_with(|| DataPeer::new(now))
    }

    /// Takes a datagram of the server.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) {
        match (datagram[0], &mut self.media) {
            (20..=63, _) => self.dtls.as_mut().unwrap().handle_datagram(now, datagram),
            (128..=191, Some((_, receiver))) => {
                let mut packet = datagram.to_vec();
                let rtcp = lockgate_rtp::is_rtcp(&packet);
                let opened = if rtcp {
                    receiver.unprotect_rtcp(&mut packet)
                } else {
                    let header = Header::parse(&packet).unwrap();
                    receiver.unprotect_rtp(&mut packet, &header)
                };
                match opened {
                    Ok(len) => packet.truncate(len),
                    // As every receiver does. That an index is given twice, or not understood, is a fault of the server.
                    Err(SrtpError::Late) => return,
                    Err(error) => panic!("{error}"),
                }
                if rtcp { self.rtcp.push(packet) } else { self.rtp.push(packet) }
            }
            _ => {}
        }
    }

    /// What is to be sent of the handshake.
    pub fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let Some(dtls) = &mut self.dtls else { return Vec::new() };
        if dtls.next_timeout().is_some_and(|due| due <= now) {
            dtls.handle_timeout(now);
        }
        while let Some(event) = dtls.poll_event() {
            if let (DtlsEvent::Data(packet), Some(data)) = (&event, &mut self.data) {
                data.handle(now, packet);
            }
            if let DtlsEvent::Connected(keys) = event {
                let provider = provider();
                let crypto = provider.crypto();
                let sender =
                    Sender::new(crypto, keys.profile, keys.local_key.as_ref(), keys.local_salt.as_ref()).unwrap();
                let receiver =
                    Receiver::new(crypto, keys.profile, keys.remote_key.as_ref(), keys.remote_salt.as_ref()).unwrap();
                self.media = Some((sender, receiver));
            }
        }
        let mut datagrams: Vec<_> =
            std::iter::from_fn(|| dtls.poll_transmit()).map(|datagram| datagram.to_vec()).collect();
        for packet in self.data.as_mut().filter(|_| self.media.is_some()).map(|data| data.poll(now)).unwrap_or_default()
        {
            assert!(dtls.send(now, &packet));
            datagrams.extend(std::iter::from_fn(|| dtls.poll_transmit()).map(|datagram| datagram.to_vec()));
        }
        datagrams
    }

    /// Whether it has keys.
    pub fn is_connected(&self) -> bool {
        self.media.is_some()
    }

    /// Seals an RTP packet.
    pub fn seal_rtp(&mut self, plain: &[u8]) -> Vec<u8> {
        let (sender, _) = self.media.as_mut().unwrap();
        let mut packet = plain.to_vec();
        packet.resize(plain.len() + sender.overhead(), 0);
        sender.protect_rtp(&mut packet, plain.len()).unwrap();
        packet
    }

    /// Seals an RTCP packet.
    pub fn seal_rtcp(&mut self, plain: &[u8]) -> Vec<u8> {
        let (sender, _) = self.media.as_mut().unwrap();
        let mut packet = plain.to_vec();
        sender.protect_rtcp(&mut packet).unwrap();
        packet
    }
}
