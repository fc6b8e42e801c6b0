//! The other end of an SCTP association: a client that opens it, as browsers do, and channels.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier as Kind, StreamEvent,
};
use rtc_shared::TransportProtocol;

use crate::data::channel::{ACK, Said, delivery, read_control, read_message, write_message, write_open};
use crate::data::{Channel, MAX_MESSAGE, Message};

/// A client's association.
pub struct DataPeer {
    endpoint: Endpoint,
    library: Association,
    transmits: VecDeque<Bytes>,
    /// Whether both sides know of it.
    pub established: bool,
    /// Channels that are open: those that we opened and were acknowledged, and the other side's.
    pub channels: BTreeMap<u16, Channel>,
    offered: BTreeMap<u16, Channel>,
    /// Messages that came, in order.
    pub messages: Vec<(u16, Message)>,
    /// Channels that the other side ended.
    pub closed: Vec<u16>,
}

impl DataPeer {
    /// One that begins at once.
    pub fn new(now: Instant) -> Self {
        let mut endpoint = Endpoint::new(ADDRESS, TransportProtocol::UDP, Arc::new(EndpointConfig::default()), None);
        let (_, library) = endpoint.connect(now, ClientConfig::default(), ADDRESS).unwrap();
        Self {
            endpoint,
            library,
            transmits: VecDeque::new(),
            established: false,
            channels: BTreeMap::new(),
            offered: BTreeMap::new(),
            messages: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// Opens a channel.
    pub fn open(&mut self, now: Instant, id: u16, channel: Channel) {
        let (unordered, kind, value) = delivery(&channel);
        let mut stream = self.library.open_stream(id, Kind::Binary).unwrap();
        stream.set_reliability_params(unordered, kind, value).unwrap();
        stream.write_sctp(now, &write_open(&channel).unwrap(), Kind::Dcep).unwrap();
        self.offered.insert(id, channel);
    }

    /// Sends a message.
    pub fn send(&mut self, now: Instant, id: u16, message: Message) {
        let (kind, bytes) = write_message(message);
        self.library.stream(id).unwrap().write_sctp(now, &bytes, kind).unwrap();
    }

    /// Ends a channel.
    pub fn close(&mut self, now: Instant, id: u16) {
        self.channels.remove(&id);
        self.library.stream(id).unwrap().close(now).unwrap();
    }

    /// Ends everything.
    pub fn abort(&mut self) {
        self.library.abort().unwrap();
    }

    /// Whether it came to an end.
    pub fn is_closed(&self) -> bool {
        self.established && self.library.is_closed()
    }

    /// Takes a packet.
    pub fn handle(&mut self, now: Instant, packet: &[u8]) {
        let event = self.endpoint.handle(now, ADDRESS, None, Bytes::copy_from_slice(packet));
        if let Some((AssociationHandle(_), DatagramEvent::AssociationEvent(event))) = event {
            self.library.handle_event(event);
        }
        self.drain(now);
    }

    /// What is to be sent.
    pub fn poll(&mut self, now: Instant) -> Vec<Bytes> {
        if self.library.poll_timeout().is_some_and(|due| due <= now) {
            self.library.handle_timeout(now);
        }
        self.drain(now);
        self.transmits.drain(..).collect()
    }

    /// Sends a packet that is none of the association's, with what it has to send.
    pub fn forge(&mut self, packet: Bytes) {
        self.transmits.push_back(packet);
    }

    /// When it wants to be polled.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.library.poll_timeout()
    }

    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.library.poll() {
            match event {
                Event::Connected => self.established = true,
                Event::Stream(StreamEvent::Readable { id }) => self.read(now, id),
                Event::AssociationLost { id, .. } => {
                    self.channels.remove(&id);
                    self.closed.push(id);
                }
                _ => {}
            }
        }
        while let Some(transmit) = self.library.poll_transmit(now) {
            if let Payload::RawEncode(packets) = transmit.message {
                self.transmits.extend(packets);
            }
        }
    }

    fn read(&mut self, now: Instant, id: u16) {
        while let Ok(Some(chunks)) = self.library.stream(id).and_then(|mut stream| stream.read()) {
            let payload = chunks.to_payload(MAX_MESSAGE).unwrap();
            if chunks.ppi != Kind::Dcep {
                self.messages.push((id, read_message(chunks.ppi, payload).unwrap()));
                continue;
            }
            match read_control(&payload).unwrap() {
                Said::Ack => drop(self.channels.insert(id, self.offered.remove(&id).unwrap())),
                Said::Open(channel) => {
                    let (unordered, kind, value) = delivery(&channel);
                    let mut stream = self.library.stream(id).unwrap();
                    stream.set_reliability_params(unordered, kind, value).unwrap();
                    stream.write_sctp(now, &Bytes::from_static(ACK), Kind::Dcep).unwrap();
                    self.channels.insert(id, channel);
                }
            }
        }
    }
}

const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
