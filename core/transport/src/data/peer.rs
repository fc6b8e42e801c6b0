//! The SCTP library's side of an association: one endpoint that knows one peer, from that peer's first packet on.
//!
//! It feeds the library and takes its packets. What may be fed, and what comes of it, its caller decides.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rtc_sctp::{
    AssociationHandle, DatagramEvent, Endpoint, EndpointConfig, Payload, ServerConfig, TimerConfig, TransportConfig,
};
use rtc_shared::TransportProtocol;

use super::MAX_MESSAGE;
use super::guard::{Guard, STREAMS};
use super::order::{MAX_AHEAD_BYTES, MAX_ORPHANED};
use super::packet::{Init, initiate_tag};

/// The library's side of it, from the peer's first packet on.
pub(super) struct Peer {
    pub(super) init: Init,
    /// What was said to it, in case it is lost.
    pub(super) welcome: Vec<Bytes>,
    endpoint: Endpoint,
    pub(super) library: rtc_sctp::Association,
    pub(super) guard: Guard,
    pub(super) established: bool,
}

impl Peer {
    /// Reads a peer's first packet.
    pub(super) fn meet(now: Instant, init: Init, packet: &[u8]) -> Option<Self> {
        let server = Some(Arc::new(ServerConfig::new(library_config())));
        let mut endpoint = Endpoint::new(LOCAL, TransportProtocol::UDP, Arc::new(EndpointConfig::default()), server);
        let (_, event) = endpoint.handle(now, PEER, None, init.rewritten(packet))?;
        let DatagramEvent::NewAssociation(mut library) = event else { return None };
        let mut welcome = VecDeque::new();
        transmits(&mut library, now, &mut welcome);
        let guard = Guard::new(&init, initiate_tag(welcome.front()?)?);
        Some(Self { init, welcome: welcome.into(), endpoint, library, guard, established: false })
    }

    /// Lets the library read a packet that passed the guard. False: it is not for it.
    pub(super) fn feed(&mut self, now: Instant, packet: Bytes) -> bool {
        match self.endpoint.handle(now, PEER, None, packet) {
            Some((AssociationHandle(_), DatagramEvent::AssociationEvent(event))) => {
                self.library.handle_event(event);
                true
            }
            _ => false,
        }
    }

    pub(super) fn transmits(&mut self, now: Instant, out: &mut VecDeque<Bytes>) {
        transmits(&mut self.library, now, out);
    }
}

fn transmits(library: &mut rtc_sctp::Association, now: Instant, out: &mut VecDeque<Bytes>) {
    while let Some(transmit) = library.poll_transmit(now) {
        if let Payload::RawEncode(packets) = transmit.message {
            out.extend(packets);
        }
    }
}

fn library_config() -> TransportConfig {
    // Consent ends a connection whose peer is gone. Without these, a pause of half a minute would end all repetition for good.
    let timers =
        TimerConfig { max_t3_rtx_retrans: usize::MAX, max_reconfig_retrans: usize::MAX, ..TimerConfig::default() };
    TransportConfig::default()
        .with_max_receive_buffer_size(WINDOW as u32)
        .with_max_message_size(MAX_MESSAGE as u32)
        .with_max_num_inbound_streams(STREAMS)
        .with_max_num_outbound_streams(STREAMS)
        .with_timer_config(timers)
}

/// What the library may hold: never less than the guard lets through, as a chunk that it refused would be counted as there.
const WINDOW: usize = MAX_MESSAGE + MAX_AHEAD_BYTES + MAX_ORPHANED + 64 * 1024;
/// From the block for documentation (RFC 5737): they only name the association inside its endpoint.
const LOCAL: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 1));
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 2));
