//! `rtc-dtls` (DTLS 1.2) behind its guards. It must never be used bare; what each guard is for stands at the guard.
//!
//! One `Endpoint` serves one association under made-up addresses: it is keyed by remote address and would start a new
//! association for an unknown one, so a change of path would restart DTLS.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use super::certificate::Certificate;
use super::engine::{DtlsEngine, EngineEvent};
use super::flight::Flight;
use super::guard::{AllowanceSpent, Guard};
use super::keys::{SrtpKeys, SrtpProfile};
use super::record::{Records, content, renumber};
use super::{DtlsFailure, Role};

/// One association of `rtc-dtls`.
pub(super) struct RtcEngine {
    certificate: Certificate,
    role: Role,
    /// `None` once it is closed or shed: a dead endpoint would start afresh on a stray record.
    endpoint: Option<Endpoint>,
    /// Which of the server's profiles is offered, an index into [`SrtpProfile::ALL`].
    profile: usize,
    guard: Guard,
    flight: Option<Flight>,
    /// Number of our next unprotected record.
    sequence: u64,
    complete: bool,
    transmits: VecDeque<Bytes>,
    events: VecDeque<EngineEvent>,
    farewell: Vec<Bytes>,
    dropped: u64,
}

impl RtcEngine {
    pub(super) fn new(certificate: Certificate, role: Role) -> Self {
        let server = match role {
            Role::Server => Some(certificate.rtc_server(0)),
            Role::Client => None,
        };
        Self {
            endpoint: Some(Endpoint::new(LOCAL, TransportProtocol::UDP, server.flatten())),
            certificate,
            role,
            profile: 0,
            guard: Guard::new(),
            flight: None,
            sequence: 0,
            complete: false,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            farewell: Vec::new(),
            dropped: 0,
        }
    }

    /// Lets the library read what passed the guard. Says whether it answered with a new flight.
    fn read(&mut self, now: Instant, datagram: &BytesMut) -> Result<bool, DtlsFailure> {
        let outcome = self.read_with_best_profile(now, datagram);
        if matches!(outcome, Err(Error::ErrAlertFatalOrClose)) {
            // Before its alert is collected: it is the echo of the peer's.
            self.endpoint = None;
            return Err(DtlsFailure::Alert);
        }
        // Also after an error: then an alert says why.
        let answered = self.collect(now);
        match outcome {
            Ok(events) => events.into_iter().for_each(|event| self.on_event(event)),
            Err(_) if self.complete => self.dropped += 1,
            Err(error) => {
                self.endpoint = None;
                return Err(failure(&error));
            }
        }
        Ok(answered)
    }

    /// The library follows the client's order of SRTP profiles, and browsers put the slowest first. So it is offered
    /// one at a time, ours first; a client that does not have it meets a new endpoint, and the first one's alert is
    /// never sent.
    fn read_with_best_profile(&mut self, now: Instant, datagram: &BytesMut) -> Result<Vec<EndpointEvent>, Error> {
        loop {
            let Some(endpoint) = &mut self.endpoint else { return Ok(Vec::new()) };
            let outcome = endpoint.read(now, PEER, None, datagram.clone());
            let refused = matches!(outcome, Err(Error::ErrServerNoMatchingSrtpProfile));
            if !refused || !self.guard.has_passed_one_message() {
                return outcome;
            }
            let Some(next) = self.certificate.rtc_server(self.profile + 1) else { return outcome };
            self.profile += 1;
            *endpoint = Endpoint::new(LOCAL, TransportProtocol::UDP, Some(next));
        }
    }

    fn on_event(&mut self, event: EndpointEvent) {
        match event {
            EndpointEvent::HandshakeComplete => self.on_complete(),
            EndpointEvent::PeerClosed => self.on_peer_closed(),
            // Before the peer is known, there is nobody who may send any.
            EndpointEvent::ApplicationData(data) if self.complete => {
                self.events.push_back(EngineEvent::Data(data.freeze()));
            }
            _ => {}
        }
    }

    fn on_complete(&mut self) {
        self.complete = true;
        self.guard.on_complete();
        match (self.role, &mut self.flight) {
            // Ours was the last flight: it may be lost, and the client will say so by repeating its own.
            (Role::Server, Some(flight)) => flight.stop_timer(),
            (_, flight) => *flight = None,
        }
        let state = self.endpoint.as_ref().and_then(|endpoint| endpoint.get_connection_state(PEER));
        let certificate = state.and_then(|state| state.peer_certificates.first()).cloned().unwrap_or_default();
        self.events.push_back(EngineEvent::Complete { certificate });
    }

    fn on_peer_closed(&mut self) {
        self.endpoint = None;
        self.flight = None;
        self.events.push_back(EngineEvent::PeerClosed);
    }

    /// Takes what the library wants to send. Says whether a new flight is among it.
    fn collect(&mut self, now: Instant) -> bool {
        let datagrams = self.take_transmits();
        let is_flight = datagrams.iter().any(|datagram| {
            Records::of(datagram)
                .any(|record| matches!(record.content, content::HANDSHAKE | content::CHANGE_CIPHER_SPEC))
        });
        self.transmits.extend(datagrams.iter().map(|datagram| Bytes::copy_from_slice(datagram)));
        if is_flight {
            self.guard.on_answer();
            self.flight = Some(Flight::new(now, self.role, datagrams));
        }
        is_flight
    }

    fn take_transmits(&mut self) -> Vec<BytesMut> {
        let mut datagrams = Vec::new();
        while let Some(transmit) = self.endpoint.as_mut().and_then(Endpoint::poll_transmit) {
            let mut datagram = transmit.message;
            renumber(&mut datagram, &mut self.sequence);
            datagrams.push(datagram);
        }
        datagrams
    }

    /// Closes the library's association and gives the alert that it leaves.
    fn end(&mut self, now: Instant) -> Vec<Bytes> {
        let Some(endpoint) = &mut self.endpoint else { return std::mem::take(&mut self.farewell) };
        let closed = endpoint.close(now);
        let alert = self.take_transmits().into_iter().map(BytesMut::freeze).collect();
        self.endpoint = None;
        if closed.is_ok() { alert } else { Vec::new() }
    }
}

impl DtlsEngine for RtcEngine {
    fn start_client(&mut self, now: Instant) -> Result<(), DtlsFailure> {
        let config = self.certificate.rtc_client();
        let Some(endpoint) = &mut self.endpoint else { return Ok(()) };
        let outcome = endpoint.connect(now, PEER, config, None);
        self.collect(now);
        outcome.map_err(|error| failure(&error))
    }

    fn input(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsFailure> {
        let passed = self.guard.filter(datagram).map_err(|AllowanceSpent| DtlsFailure::TooManyFragments)?;
        let answered = !passed.datagram.is_empty() && self.read(now, &passed.datagram)?;
        if let Some(flight) = self.flight.as_mut().filter(|_| passed.repeated && !answered) {
            self.transmits.extend(flight.on_repetition(now, &mut self.sequence));
        }
        Ok(())
    }

    fn timeout(&mut self, now: Instant) -> Result<(), DtlsFailure> {
        if let Some(flight) = &mut self.flight {
            self.transmits.extend(flight.on_timeout(now, &mut self.sequence));
        }
        Ok(())
    }

    fn export(&mut self) -> Result<SrtpKeys, DtlsFailure> {
        let state = self.endpoint.as_ref().and_then(|endpoint| endpoint.get_connection_state(PEER));
        let state = state.ok_or(DtlsFailure::NoSrtpProfile)?;
        let profile = profile(state.srtp_protection_profile()).ok_or(DtlsFailure::NoSrtpProfile)?;
        let material =
            state.export_keying_material(EXPORTER, &[], profile.material_length()).map_err(|error| failure(&error))?;
        SrtpKeys::cut(profile, self.role, material.as_ref()).ok_or(DtlsFailure::NoSrtpProfile)
    }

    fn send(&mut self, now: Instant, data: &[u8]) -> bool {
        let Some(endpoint) = self.endpoint.as_mut().filter(|_| self.complete) else { return false };
        let sent = endpoint.write(now, PEER, data).is_ok();
        self.collect(now);
        sent
    }

    fn close(&mut self, now: Instant) {
        let alert = self.end(now);
        self.transmits.extend(alert);
        self.flight = None;
    }

    fn shed(&mut self, now: Instant) {
        self.farewell = self.end(now);
    }

    fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    fn poll_event(&mut self) -> Option<EngineEvent> {
        self.events.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.flight.as_ref().and_then(Flight::due)
    }

    fn shed_after(&self) -> Duration {
        SHED_AFTER
    }

    fn dropped(&self) -> u64 {
        self.dropped + self.guard.dropped()
    }
}

fn failure(error: &Error) -> DtlsFailure {
    match error {
        Error::ErrServerNoMatchingSrtpProfile
        | Error::ErrClientNoMatchingSrtpProfile
        | Error::ErrRequestedButNoSrtpExtension => DtlsFailure::NoSrtpProfile,
        error => DtlsFailure::Handshake { detail: error.to_string() },
    }
}

fn profile(negotiated: SrtpProtectionProfile) -> Option<SrtpProfile> {
    match negotiated {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Some(SrtpProfile::AeadAes128Gcm),
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Some(SrtpProfile::AeadAes256Gcm),
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Some(SrtpProfile::AesCm128HmacSha1_80),
        _ => None,
    }
}

/// RFC 5764 §4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";

/// The last flight is kept apart from the library's object, so nothing depends on this; records on their way are
/// still read.
const SHED_AFTER: Duration = Duration::from_secs(5);

/// From the block for documentation (RFC 5737): they only name the association inside its endpoint.
const LOCAL: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 1));
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 2));
