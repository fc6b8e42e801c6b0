//! What a DTLS library has to offer to carry an association.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{DtlsFailure, SrtpKeys};

/// One association inside a library. After each call that takes `&mut self` the owner drains both `poll_` functions.
pub(super) trait DtlsEngine: Send {
    /// Sends the ClientHello.
    fn start_client(&mut self, now: Instant) -> Result<(), DtlsFailure>;

    /// Reads a datagram. An error is final; junk is none, it is counted.
    fn input(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsFailure>;

    /// Does what is due at `now`.
    fn timeout(&mut self, now: Instant) -> Result<(), DtlsFailure>;

    /// Exports the SRTP keys, once, after [`EngineEvent::Complete`].
    fn export(&mut self) -> Result<SrtpKeys, DtlsFailure>;

    /// Sends application data in a record of its own. False: there is nothing to send it with.
    fn send(&mut self, now: Instant, data: &[u8]) -> bool;

    /// Says `close_notify`, also when the library's object is gone.
    fn close(&mut self, now: Instant);

    /// Frees the library's object and keeps a `close_notify` for later. Only after completion.
    fn shed(&mut self, now: Instant);

    fn poll_transmit(&mut self) -> Option<Bytes>;

    fn poll_event(&mut self) -> Option<EngineEvent>;

    /// When [`DtlsEngine::timeout`] wants to be called.
    fn next_timeout(&self) -> Option<Instant>;

    /// How long after completion the library's object is still needed to get the last flight across.
    fn shed_after(&self) -> Duration;

    /// Datagrams, records and fragments that were refused.
    fn dropped(&self) -> u64;
}

/// What happened inside a library.
pub(super) enum EngineEvent {
    /// The handshake is complete. Who the peer is, is for the owner to find out.
    Complete {
        /// The peer's leaf certificate in DER; empty if it showed none.
        certificate: Vec<u8>,
    },
    /// The peer said `close_notify`.
    PeerClosed,
    /// Application data came, one record of it.
    Data(Bytes),
}
