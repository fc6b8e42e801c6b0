//! DTLS for SRTP keys: one association, sans I/O, over one of two libraries (RFC 5764, RFC 6347).
//!
//! [`Dtls`] proves that the peer holds the certificate its signalling promised, hands out the SRTP keys, and carries
//! what data channels say. The libraries are kept behind guards here because neither may be fed from the network as it is. They draw
//! their own randomness. `rtc-dtls` logs a line per unknown ClientHello extension: programs filter it with
//! `rtc_dtls=error`.

mod certificate;
mod dimpl_engine;
mod engine;
mod fingerprint;
mod flight;
mod guard;
mod keys;
mod record;
mod rtc_engine;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::dimpl_engine::DimplEngine;
use self::engine::{DtlsEngine, EngineEvent};
use self::rtc_engine::RtcEngine;

pub use self::certificate::Certificate;
pub use self::fingerprint::{Fingerprint, FingerprintHash, ParseFingerprintError};
pub use self::keys::{SrtpKeys, SrtpProfile};

/// Which side of the handshake is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `a=setup:passive`: we wait for the ClientHello. Prefer it: as server we choose the SRTP profile.
    Server,
    /// `a=setup:active`: we send the ClientHello.
    Client,
}

/// The library that carries an association.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// `rtc-dtls`, DTLS 1.2: talks to every client and lets us choose the SRTP profile.
    #[default]
    RtcDtls,
    /// `dimpl`, DTLS 1.2 and 1.3: takes the client's SRTP profile and no RSA certificates.
    Dimpl,
}

/// What an association reports.
#[derive(Debug)]
pub enum DtlsEvent {
    /// The peer is who its signalling says, and these are the keys. Comes once.
    Connected(Box<SrtpKeys>),
    /// The peer ended the association. SRTP keys stay usable, but it will send nothing more.
    PeerClosed,
    /// Application data of the peer that was proven, one record of it.
    Data(Bytes),
    /// There will be no keys. Nothing comes after it.
    Failed(DtlsFailure),
}

/// Why an association failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DtlsFailure {
    /// The peer's certificate is not the one its signalling promised.
    #[error("the peer's certificate matches none of its fingerprints")]
    FingerprintMismatch,
    /// The peer offered none of our SRTP profiles.
    #[error("no SRTP profile in common")]
    NoSrtpProfile,
    /// More handshake fragments came than any real handshake has.
    #[error("too many handshake fragments")]
    TooManyFragments,
    /// The handshake took longer than [`HANDSHAKE_TIMEOUT`].
    #[error("the handshake took too long")]
    TimedOut,
    /// A fatal alert ended it.
    #[error("the peer sent a fatal alert")]
    Alert,
    /// The library gave up.
    #[error("the handshake failed: {detail}")]
    Handshake {
        /// The library's words, for the log.
        detail: String,
    },
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum DtlsError {
    /// `rtc-dtls` refused a certificate or a configuration.
    #[error("rtc-dtls refused our settings")]
    RtcDtls(#[from] rtc_shared::error::Error),
    /// `dimpl` refused its configuration.
    #[error("dimpl refused our settings")]
    Dimpl(#[source] dimpl::Error),
    /// The generated key cannot be handed to the second library.
    #[error("the generated key cannot be exported")]
    KeyNotExportable,
}

/// One association with one peer.
///
/// After each call of `start`, `handle_*` and `close` the owner drains [`Dtls::poll_transmit`] and [`Dtls::poll_event`],
/// then asks [`Dtls::next_timeout`]. Datagrams come from addresses that passed an ICE check; which one does not matter.
pub struct Dtls {
    kind: EngineKind,
    certificate: Certificate,
    role: Role,
    peer_fingerprints: Vec<Fingerprint>,
    phase: Phase,
    engine: Option<Box<dyn DtlsEngine>>,
    keep: bool,
    transmits: VecDeque<Bytes>,
    events: VecDeque<DtlsEvent>,
    dropped: u64,
}

/// | from | on | to |
/// | --- | --- | --- |
/// | `Idle` | `start`, first datagram of a client | `Handshaking` |
/// | `Handshaking` | completion and right fingerprint | `Connected` |
/// | `Connected` | the engine's time is up, no `keep` | `Shed` |
/// | any | failure, `close`, the peer's `close_notify` | `Over` |
enum Phase {
    Idle,
    Handshaking {
        deadline: Instant,
    },
    Connected {
        shed_at: Instant,
    },
    /// The library's object is freed; the engine only answers a repeated last flight and can still say goodbye.
    Shed,
    Over,
}

impl Dtls {
    /// An association that has sent nothing yet.
    ///
    /// `peer_fingerprints` are all values of `a=fingerprint` that could be parsed; an empty list matches nobody.
    pub fn new(kind: EngineKind, certificate: &Certificate, role: Role, peer_fingerprints: Vec<Fingerprint>) -> Self {
        Self {
            kind,
            certificate: certificate.clone(),
            role,
            peer_fingerprints,
            phase: Phase::Idle,
            engine: None,
            keep: false,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Starts the handshake: as client it sends the ClientHello, as server it only starts [`HANDSHAKE_TIMEOUT`]. Later
    /// calls do nothing.
    pub fn start(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Idle) {
            return;
        }
        self.phase = Phase::Handshaking { deadline: now + HANDSHAKE_TIMEOUT };
        self.engine = Some(match self.kind {
            EngineKind::RtcDtls => Box::new(RtcEngine::new(self.certificate.clone(), self.role)),
            EngineKind::Dimpl => Box::new(DimplEngine::new(&self.certificate, self.role, now)),
        });
        if self.role == Role::Client {
            self.mutate(now, |engine| engine.start_client(now));
        }
    }

    /// Takes a datagram that [`is_dtls`]. Junk is counted, never an event; a server starts with the first one.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        if self.role == Role::Server {
            self.start(now);
        }
        if self.engine.is_none() || datagram.len() > MAX_DATAGRAM {
            self.dropped += 1;
            return;
        }
        self.mutate(now, |engine| engine.input(now, datagram));
    }

    /// Does what is due: resends a flight, gives up, frees what is no longer needed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.mutate(now, |engine| engine.timeout(now));
        match self.phase {
            Phase::Handshaking { deadline } if deadline <= now => self.fail(now, DtlsFailure::TimedOut),
            Phase::Connected { shed_at } if !self.keep && shed_at <= now => self.shed(now),
            _ => {}
        }
    }

    /// Sends application data in a record of its own. False: it is not connected, or its library's object is freed
    /// (see [`Dtls::keep`]).
    pub fn send(&mut self, now: Instant, data: &[u8]) -> bool {
        let mut sent = false;
        if matches!(self.phase, Phase::Connected { .. }) {
            self.mutate(now, |engine| {
                sent = engine.send(now, data);
                Ok(())
            });
        }
        sent
    }

    /// Whether application data can be sent, now or once it is connected.
    pub fn can_send(&self) -> bool {
        !matches!(self.phase, Phase::Shed | Phase::Over)
    }

    /// Ends the association with `close_notify`, which tells browsers at once. Keys that were handed out stay valid.
    pub fn close(&mut self, now: Instant) {
        self.mutate(now, |engine| {
            engine.close(now);
            Ok(())
        });
        self.end();
    }

    /// Keeps the library's object (12 KB) beyond its first seconds (5 with `rtc-dtls`, 30 with `dimpl`): data
    /// channels need it. Off at first; turning it on later does not bring it back.
    pub fn keep(&mut self, keep: bool) {
        self.keep = keep;
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// When [`Dtls::handle_timeout`] wants to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Handshaking { deadline } => Some(deadline),
            Phase::Connected { shed_at } if !self.keep => Some(shed_at),
            _ => None,
        };
        let engine = self.engine.as_ref().and_then(|engine| engine.next_timeout());
        own.into_iter().chain(engine).min()
    }

    /// Datagrams, records and fragments that were refused so far, and datagrams that nobody fetched in time.
    pub fn dropped(&self) -> u64 {
        self.dropped + self.engine.as_ref().map_or(0, |engine| engine.dropped())
    }

    /// Runs one call of the engine and drains it, so that no second one comes between.
    fn mutate(&mut self, now: Instant, call: impl FnOnce(&mut dyn DtlsEngine) -> Result<(), DtlsFailure>) {
        let Some(engine) = &mut self.engine else { return };
        let outcome = call(engine.as_mut());
        self.drain_transmits();
        while let Some(event) = self.engine.as_mut().and_then(|engine| engine.poll_event()) {
            self.on_event(now, event);
        }
        if let Err(failure) = outcome {
            self.fail(now, failure);
        }
    }

    fn drain_transmits(&mut self) {
        while let Some(datagram) = self.engine.as_mut().and_then(|engine| engine.poll_transmit()) {
            if self.transmits.len() == MAX_QUEUED {
                self.transmits.pop_front();
                self.dropped += 1;
            }
            self.transmits.push_back(datagram);
        }
    }

    fn on_event(&mut self, now: Instant, event: EngineEvent) {
        match event {
            EngineEvent::Complete { certificate } => self.on_complete(now, &certificate),
            EngineEvent::PeerClosed => self.on_peer_closed(),
            // Nobody's who was not proven.
            EngineEvent::Data(_) if !matches!(self.phase, Phase::Connected { .. }) => self.dropped += 1,
            EngineEvent::Data(data) => self.events.push_back(DtlsEvent::Data(data)),
        }
    }

    /// The handshake proves that the peer holds the certificate's key; only this proves whose certificate it is.
    fn on_complete(&mut self, now: Instant, certificate: &[u8]) {
        if !matches!(self.phase, Phase::Handshaking { .. }) {
            return;
        }
        if !Fingerprint::any_matches(&self.peer_fingerprints, certificate) {
            return self.fail(now, DtlsFailure::FingerprintMismatch);
        }
        let Some(engine) = &mut self.engine else { return };
        match engine.export() {
            Ok(keys) => {
                self.phase = Phase::Connected { shed_at: now + engine.shed_after() };
                self.events.push_back(DtlsEvent::Connected(Box::new(keys)));
            }
            Err(failure) => self.fail(now, failure),
        }
    }

    fn on_peer_closed(&mut self) {
        self.end();
        self.events.push_back(DtlsEvent::PeerClosed);
    }

    /// Ends it for a reason of ours or theirs. Reported once, and not at all after keys were handed out and a close.
    fn fail(&mut self, now: Instant, failure: DtlsFailure) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        if let Some(engine) = &mut self.engine {
            engine.close(now);
        }
        self.drain_transmits();
        self.end();
        self.events.push_back(DtlsEvent::Failed(failure));
    }

    fn shed(&mut self, now: Instant) {
        self.phase = Phase::Shed;
        self.mutate(now, |engine| {
            engine.shed(now);
            Ok(())
        });
    }

    /// From here on nothing wakes it up again: a stray record must not start a new association.
    fn end(&mut self) {
        self.dropped = self.dropped();
        self.engine = None;
        self.phase = Phase::Over;
    }
}

impl std::fmt::Debug for Dtls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = match self.phase {
            Phase::Idle => "idle",
            Phase::Handshaking { .. } => "handshaking",
            Phase::Connected { .. } => "connected",
            Phase::Shed => "shed",
            Phase::Over => "over",
        };
        formatter
            .debug_struct("Dtls")
            .field("kind", &self.kind)
            .field("role", &self.role)
            .field("phase", &phase)
            .finish()
    }
}

/// Whether a datagram on the shared port is DTLS, by its first byte (RFC 9443 §3): 20 to 63. DTLS 1.3 records use 32
/// and up.
pub fn is_dtls(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|byte| (20..=63).contains(byte))
}

/// How long a handshake may take, from its first datagram to the keys.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest datagram worth reading, in bytes: what fits a jumbo Ethernet frame.
const MAX_DATAGRAM: usize = 9_000;
/// Outbound datagrams that nobody has fetched; a flight has one to six.
const MAX_QUEUED: usize = 64;
