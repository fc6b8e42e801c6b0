//! One client's connection, sans-I/O: a full ICE agent, DTLS as client or server, SRTP. It knows nothing of streams.

use std::net::SocketAddr;
use std::time::Instant;

use fastrand::Rng;
use lockgate_rtp::Header;
use lockgate_transport::dtls::{Certificate, Dtls, DtlsEvent, EngineKind, Role, SrtpKeys};
use lockgate_transport::srtp::{Receiver, Sender, SrtpError};
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;

use crate::ice::Agent;
use crate::sdp::Remote;

/// A client's connection.
pub struct Peer {
    certificate: Certificate,
    agent: Agent,
    dtls: Option<Dtls>,
    media: Option<Media>,
    transmits: Vec<(SocketAddr, Vec<u8>)>,
    events: Vec<PeerEvent>,
    closed: bool,
}

struct Media {
    sender: Sender,
    receiver: Receiver,
}

/// What becomes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// Media can flow.
    Connected,
    /// It is over.
    Closed(Closed),
}

/// Why a connection ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The server said so.
    #[error("the server closed the connection")]
    ByServer,
    /// No check was answered for 30 s (RFC 7675 §5.1).
    #[error("the server has not answered for 30 s")]
    Silent,
    /// The TCP connection that it had came to an end.
    #[error("the server or the network ended the TCP connection")]
    StreamOver,
    /// The handshake failed; the text says how.
    #[error("the handshake failed: {0}")]
    Handshake(String),
}

impl Peer {
    /// A connection that waits for [`Self::set_remote`].
    pub fn new(certificate: &Certificate, random: Rng) -> Self {
        Self {
            certificate: certificate.clone(),
            agent: Agent::new(random),
            dtls: None,
            media: None,
            transmits: Vec::new(),
            events: Vec::new(),
            closed: false,
        }
    }

    /// The agent, whose credentials a description tells.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Says who the server is; repeated, only other ICE credentials matter.
    pub(crate) fn set_remote(&mut self, now: Instant, remote: &Remote) {
        if self.dtls.is_none() {
            let role = if remote.we_start { Role::Client } else { Role::Server };
            let fingerprints = remote.fingerprints.clone();
            self.dtls = Some(Dtls::new(EngineKind::RtcDtls, &self.certificate, role, fingerprints));
        }
        self.agent.set_remote(now, remote.credentials.clone(), &remote.addresses, remote.we_control);
        self.drain(now);
    }

    /// Takes a STUN message.
    pub fn handle_stun(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.agent.handle(now, from, datagram);
        self.drain(now);
    }

    /// Takes a DTLS record.
    pub fn handle_dtls(&mut self, now: Instant, datagram: &[u8]) {
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_datagram(now, datagram);
        }
        self.drain(now);
    }

    /// Opens an RTP packet in place; its length without the tag comes back. None before there are keys.
    pub fn open_rtp(&mut self, packet: &mut [u8], header: &Header) -> Option<Result<usize, SrtpError>> {
        Some(self.media.as_mut()?.receiver.unprotect_rtp(packet, header))
    }

    /// Opens an RTCP packet in place.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Option<usize> {
        self.media.as_mut()?.receiver.unprotect_rtcp(packet).ok()
    }

    /// Seals the RTP packet that `buffer` ends with, from `start` on, and lets the buffer grow by the tag. False before there are keys;
    /// then the packet is taken off again.
    pub fn seal_rtp(&mut self, buffer: &mut Vec<u8>, start: usize) -> bool {
        let len = buffer.len() - start;
        let sealed = self.media.as_mut().and_then(|media| {
            buffer.resize(start + len + media.sender.overhead(), 0);
            media.sender.protect_rtp(&mut buffer[start..], len).ok()
        });
        buffer.truncate(start + sealed.unwrap_or(0));
        sealed.is_some()
    }

    /// Sends the RTCP packet that `write` appends; before there are keys it is left out, as is an empty one.
    pub fn send_rtcp(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let (Some(media), Some(path)) = (&mut self.media, self.agent.path()) else { return };
        let mut packet = Vec::with_capacity(RTCP_ROOM);
        write(&mut packet);
        if !packet.is_empty() && media.sender.protect_rtcp(&mut packet).is_ok() {
            self.transmits.push((path, packet));
        }
    }

    /// Says goodbye.
    pub fn close(&mut self, now: Instant) {
        if let Some(dtls) = &mut self.dtls {
            dtls.close(now);
        }
        self.drain(now);
        self.closed = true;
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.agent.handle_timeout(now);
        if let Some(dtls) = &mut self.dtls
            && dtls.next_timeout().is_some_and(|due| due <= now)
        {
            dtls.handle_timeout(now);
        }
        self.drain(now);
        if self.agent.is_lost(now) {
            self.close_with(Closed::Silent);
        }
    }

    /// Takes what is to be sent.
    pub fn take_transmits(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.transmits)
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        (!self.events.is_empty()).then(|| self.events.remove(0))
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let dtls = self.dtls.as_ref().and_then(Dtls::next_timeout);
        self.agent.next_timeout().into_iter().chain(dtls).min()
    }

    /// Where media goes.
    pub fn path(&self) -> Option<SocketAddr> {
        self.agent.path()
    }

    /// Whether media can flow.
    pub fn is_connected(&self) -> bool {
        self.media.is_some() && !self.closed
    }

    fn drain(&mut self, now: Instant) {
        while let Some(transmit) = self.agent.poll_transmit() {
            self.transmits.push(transmit);
        }
        let Some(path) = self.agent.path() else { return };
        let Some(dtls) = &mut self.dtls else { return };
        // As client it sends its hello once there is a way; a second call does nothing.
        dtls.start(now);
        while let Some(datagram) = dtls.poll_transmit() {
            self.transmits.push((path, datagram.to_vec()));
        }
        while let Some(event) = self.dtls.as_mut().and_then(Dtls::poll_event) {
            self.on_dtls(event);
        }
    }

    fn on_dtls(&mut self, event: DtlsEvent) {
        match event {
            DtlsEvent::Connected(keys) => match Media::new(&keys) {
                Ok(media) => {
                    self.media = Some(media);
                    self.events.push(PeerEvent::Connected);
                }
                Err(error) => self.close_with(Closed::Handshake(error.to_string())),
            },
            DtlsEvent::PeerClosed => self.close_with(Closed::ByServer),
            // It opens no data channels.
            DtlsEvent::Data(_) => {}
            DtlsEvent::Failed(failure) => self.close_with(Closed::Handshake(failure.to_string())),
        }
    }

    /// It is over for this reason, if it was not before.
    pub(crate) fn close_with(&mut self, reason: Closed) {
        if !std::mem::replace(&mut self.closed, true) {
            self.events.push(PeerEvent::Closed(reason));
        }
    }
}

impl Media {
    fn new(keys: &SrtpKeys) -> Result<Self, lockgate_transport::srtp::KeyError> {
        let provider = AwsLcRsProvider::new();
        let crypto = provider.crypto();
        Ok(Self {
            sender: Sender::new(crypto, keys.profile, keys.local_key.as_ref(), keys.local_salt.as_ref())?,
            receiver: Receiver::new(crypto, keys.profile, keys.remote_key.as_ref(), keys.remote_salt.as_ref())?,
        })
    }
}

/// Bytes that most RTCP packets fit in, sealed.
const RTCP_ROOM: usize = 128;
