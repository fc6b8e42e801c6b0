//! `dimpl` (DTLS 1.2 and 1.3), which bounds reassembly and repeats lost flights itself, but whose timer can stand
//! still.
//!
//! In DTLS 1.3 a client is complete before its last flight has arrived, and only the library can repeat it: so its
//! object lives as long as a server may wait for that. It is the second engine because its SRTP profiles cannot be
//! chosen and it knows no RSA certificates.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dimpl::{Error, Output, UnexpectedMessageError};

use super::certificate::Certificate;
use super::engine::{DtlsEngine, EngineEvent};
use super::keys::{SrtpKeys, SrtpProfile};
use super::{DtlsFailure, HANDSHAKE_TIMEOUT, Role};

/// One association of `dimpl`.
pub(super) struct DimplEngine {
    /// `None` once it is closed or shed, and after any error: the library may not be called again then.
    dtls: Option<dimpl::Dtls>,
    role: Role,
    certificate: Vec<u8>,
    keys: Option<SrtpKeys>,
    progress: Progress,
    due: Option<Instant>,
    transmits: VecDeque<Bytes>,
    events: VecDeque<EngineEvent>,
    farewell: Vec<Bytes>,
    buffer: Vec<u8>,
    dropped: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Handshaking,
    /// The library says so; the keys come after it.
    Connected,
    /// The owner was told.
    Complete,
}

impl DimplEngine {
    pub(super) fn new(certificate: &Certificate, role: Role, now: Instant) -> Self {
        let (config, own) = certificate.dimpl();
        let mut dtls = dimpl::Dtls::new_auto(config, own, now);
        dtls.set_active(role == Role::Client);
        Self {
            dtls: Some(dtls),
            role,
            certificate: Vec::new(),
            keys: None,
            progress: Progress::Handshaking,
            due: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            farewell: Vec::new(),
            buffer: vec![0; BUFFER],
            dropped: 0,
        }
    }

    /// Calls the library and drains it until it names its next timeout, as it demands.
    fn mutate(&mut self, call: impl FnOnce(&mut dimpl::Dtls) -> Result<(), Error>) -> Result<(), DtlsFailure> {
        let Some(dtls) = &mut self.dtls else { return Ok(()) };
        let outcome = call(dtls);
        if outcome == Err(Error::UnexpectedMessage(UnexpectedMessageError::UnrecognizedAutoServerResponse)) {
            // The one error that leaves the library as it was: not every datagram is a server's answer.
            self.dropped += 1;
        } else if let Err(error) = outcome {
            return self.on_error(error);
        }
        while self.drain_one() {}
        self.report();
        Ok(())
    }

    fn drain_one(&mut self) -> bool {
        let Some(dtls) = &mut self.dtls else { return false };
        match dtls.poll_output(&mut self.buffer) {
            Output::Packet(packet) => self.transmits.push_back(Bytes::copy_from_slice(packet)),
            Output::BufferTooSmall { needed } => self.buffer.resize(needed, 0),
            Output::PeerCert(certificate) => self.certificate = certificate.to_vec(),
            Output::Connected => self.progress = Progress::Connected,
            Output::KeyingMaterial(material, profile) => {
                self.keys = srtp_profile(profile).and_then(|profile| SrtpKeys::cut(profile, self.role, &material));
            }
            Output::CloseNotify => self.events.push_back(EngineEvent::PeerClosed),
            Output::Timeout(due) => {
                self.due = Some(due);
                return false;
            }
            Output::ApplicationData(data) if self.progress == Progress::Complete => {
                self.events.push_back(EngineEvent::Data(Bytes::copy_from_slice(data)));
            }
            _ => self.dropped += 1,
        }
        true
    }

    fn report(&mut self) {
        if self.progress == Progress::Connected {
            self.progress = Progress::Complete;
            let certificate = std::mem::take(&mut self.certificate);
            self.events.push_back(EngineEvent::Complete { certificate });
        }
    }

    /// After completion the library is of no use any more, but the media is: its keys are exported.
    fn on_error(&mut self, error: Error) -> Result<(), DtlsFailure> {
        self.dtls = None;
        self.due = None;
        if self.progress == Progress::Complete {
            self.dropped += 1;
            return Ok(());
        }
        Err(match error {
            Error::Timeout(_) => DtlsFailure::TimedOut,
            Error::TooManyClientHelloFragments => DtlsFailure::TooManyFragments,
            error => DtlsFailure::Handshake { detail: format!("{error:?}") },
        })
    }

    /// Closes the library's association and gives the alert that it leaves.
    fn end(&mut self, now: Instant) -> Vec<Bytes> {
        if self.dtls.is_none() {
            return std::mem::take(&mut self.farewell);
        }
        let queued = self.transmits.len();
        // A failure to close leaves nothing to say, which is all that closing is for.
        let _ = self.mutate(|dtls| dtls.handle_timeout(now).and_then(|()| dtls.close()));
        self.dtls = None;
        self.due = None;
        self.transmits.drain(queued..).collect()
    }
}

impl DtlsEngine for DimplEngine {
    fn start_client(&mut self, now: Instant) -> Result<(), DtlsFailure> {
        self.mutate(|dtls| dtls.handle_timeout(now))
    }

    fn input(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsFailure> {
        self.mutate(|dtls| dtls.handle_timeout(now))?;
        self.mutate(|dtls| dtls.handle_packet(datagram))
    }

    fn timeout(&mut self, now: Instant) -> Result<(), DtlsFailure> {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.mutate(|dtls| dtls.handle_timeout(now))?;
            self.due = self.due.map(|due| if due <= now { now + MIN_WAIT } else { due });
        }
        Ok(())
    }

    fn export(&mut self) -> Result<SrtpKeys, DtlsFailure> {
        self.keys.take().ok_or(DtlsFailure::NoSrtpProfile)
    }

    fn send(&mut self, _now: Instant, data: &[u8]) -> bool {
        let mut taken = 0;
        let sent = self.mutate(|dtls| dtls.send_application_data(data).map(|bytes| taken = bytes));
        sent.is_ok() && taken == data.len()
    }

    fn close(&mut self, now: Instant) {
        let alert = self.end(now);
        self.transmits.extend(alert);
    }

    fn shed(&mut self, now: Instant) {
        self.farewell = self.end(now);
        self.buffer = Vec::new();
    }

    fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    fn poll_event(&mut self) -> Option<EngineEvent> {
        self.events.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    fn shed_after(&self) -> Duration {
        HANDSHAKE_TIMEOUT
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn srtp_profile(profile: dimpl::SrtpProfile) -> Option<SrtpProfile> {
    match profile {
        dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(SrtpProfile::AeadAes128Gcm),
        dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(SrtpProfile::AeadAes256Gcm),
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(SrtpProfile::AesCm128HmacSha1_80),
        _ => None,
    }
}

/// Where the library writes a datagram or a certificate, in bytes; it grows if either is longer.
const BUFFER: usize = 2_048;
/// The least time between two timeouts. A client that cannot open the server's records, because the ServerHello was
/// damaged on its way, asks to be called at once again and again, and sends an acknowledgement each time.
const MIN_WAIT: Duration = Duration::from_millis(50);
