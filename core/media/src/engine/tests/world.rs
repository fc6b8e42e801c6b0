//! The world that the engine's tests play in: an engine, clients that speak real DTLS and SRTP, and a time that is moved on.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lockgate_model::{AdmittedMedia, Limits, TrackId};
use lockgate_rtp::{Feedback, Header, parse_rtcp};
use lockgate_transport::dtls::{Certificate, EngineKind};
use lockgate_transport::ice::Path;
use lockgate_transport::testing::{Peer, check};

use super::adapting::Bottleneck;
use crate::data::DataLimits;
use crate::engine::{Engine, EngineConfig, RouterEvent, Subscription};
use crate::entropy::Entropy;
use crate::ids::{RouterId, TransportId};
use crate::negotiate::{NegotiateError, ViewersAnswer};
use crate::stats::DropReason;

/// An engine, its clients and their time.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) engine: Engine,
    pub(super) router: RouterId,
    pub(super) clients: Vec<Client>,
    pub(super) events: Vec<RouterEvent>,
    /// A client to which all media is lost for now, and what was lost of it.
    pub(super) losing: Option<(usize, Vec<Vec<u8>>)>,
    /// What a client's media must pass.
    pub(super) bottleneck: Option<(usize, Bottleneck)>,
}

pub(super) struct Client {
    pub(super) transport: TransportId,
    pub(super) peer: Peer,
    pub(super) path: Path,
    pub(super) tracks: Vec<String>,
    /// What its checks are made with.
    pub(super) server: (String, String),
}

pub(super) fn track(name: &str) -> TrackId {
    TrackId::new(name).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        // Long before it repeats itself, names would: two clients of one name are one to an engine.
        let mut state = 0_u64;
        let entropy = Entropy::new(move |bytes| {
            bytes.iter_mut().for_each(|byte| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (state >> 56) as u8;
            });
        });
        let candidates = vec![SocketAddr::from(([127, 0, 0, 1], 40_000))];
        let certificate = Certificate::generate().unwrap();
        let mut engine = Engine::new(EngineConfig {
            candidates,
            tcp: true,
            certificate,
            dtls: EngineKind::default(),
            entropy,
            started: now,
            data: DataLimits { buffer: 512 * 1024, ..DataLimits::default() },
        });
        let router = engine.create_router();
        Self { now, engine, router, clients: Vec::new(), events: Vec::new(), losing: None, bottleneck: None }
    }

    pub(super) fn add_client(&mut self, transport: TransportId) -> usize {
        let port = 5000 + self.clients.len() as u16;
        let path = Path { socket: 0, remote: SocketAddr::from(([127, 0, 0, 1], port)) };
        self.clients.push(Client {
            transport,
            peer: Peer::default(),
            path,
            tracks: Vec::new(),
            server: Default::default(),
        });
        self.clients.len() - 1
    }

    /// A publisher of one VP8 track with these encodings, connected.
    pub(super) fn publisher(&mut self, name: &str, rids: &[&str]) -> usize {
        let transport = self.engine.create_publish_transport(self.now, self.router).unwrap();
        let client = self.add_client(transport);
        let offer = publish_offer(&self.clients[client].peer.fingerprint(), &[name], rids);
        let answer = self.engine.accept_offer(self.now, transport, &offer, &admitted(&[name])).unwrap();
        self.connect(client, &answer.sdp);
        client
    }

    /// A publisher of one VP8 track of which so much is admitted, connected, with the answer; `edit` changes what it offers.
    pub(super) fn publisher_within(
        &mut self,
        limit: Option<u64>,
        edit: impl FnOnce(String) -> String,
    ) -> (usize, String) {
        let transport = self.engine.create_publish_transport(self.now, self.router).unwrap();
        let client = self.add_client(transport);
        let offer = edit(publish_offer(&self.clients[client].peer.fingerprint(), &["camera"], &[]));
        let mut decided = admitted(&["camera"]);
        decided[0].max_bitrate = limit.map(lockgate_model::Bitrate);
        let answer = self.engine.accept_offer(self.now, transport, &offer, &decided).unwrap();
        self.connect(client, &answer.sdp);
        (client, answer.sdp)
    }

    /// A viewer of a track, connected.
    pub(super) fn viewer(&mut self, name: &str, limits: Limits) -> usize {
        self.viewer_who(name, limits, |answer| answer)
    }

    /// The same; `edit` changes what it answers.
    pub(super) fn viewer_who(&mut self, name: &str, limits: Limits, edit: impl FnOnce(String) -> String) -> usize {
        let transport = self.engine.create_subscribe_transport(self.now, self.router).unwrap();
        let client = self.add_client(transport);
        self.subscribe(client, name, limits);
        let offer = self.take_offer(client);
        let answer = edit(answer_to(&offer, &self.clients[client].peer.fingerprint()));
        self.take_answer(transport, None, &answer).unwrap();
        self.connect(client, &offer);
        client
    }

    /// What is lost of the media to a client while something happens.
    pub(super) fn lost(&mut self, client: usize, meanwhile: impl FnOnce(&mut Self)) -> Vec<Vec<u8>> {
        self.losing = Some((client, Vec::new()));
        meanwhile(self);
        self.losing.take().map(|(_, lost)| lost).unwrap_or_default()
    }

    pub(super) fn subscribe(&mut self, client: usize, name: &str, limits: Limits) {
        let wanted = Subscription { track: track(name), stream: "42".into(), cause: 42, limits };
        self.engine.subscribe(self.now, self.clients[client].transport, wanted);
        self.pump();
    }

    pub(super) fn take_offer(&mut self, client: usize) -> String {
        self.pump();
        let own = self.clients[client].transport;
        let place = self
            .events
            .iter()
            .position(|event| matches!(event, RouterEvent::Offer { transport, .. } if *transport == own));
        match self.events.remove(place.expect("an offer")) {
            RouterEvent::Offer { sdp, tracks, .. } => {
                self.clients[client].tracks = tracks.into_iter().map(|(_, track)| track.to_string()).collect();
                sdp
            }
            _ => unreachable!(),
        }
    }

    pub(super) fn answer(&mut self, client: usize, offer: &str) {
        let answer = answer_to(offer, &self.clients[client].peer.fingerprint());
        self.take_answer(self.clients[client].transport, None, &answer).unwrap();
        self.pump();
    }

    pub(super) fn take_answer(
        &mut self,
        transport: TransportId,
        offer: Option<u64>,
        answer: &str,
    ) -> Result<(), NegotiateError> {
        self.engine.accept_answer(self.now, transport, offer, ViewersAnswer::read(answer)?)
    }

    /// ICE and DTLS with what the server's description says.
    pub(super) fn connect(&mut self, client: usize, description: &str) {
        let value = |key: &str| description.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
        let (ufrag, password, fingerprint) = (value("a=ice-ufrag:"), value("a=ice-pwd:"), value("a=fingerprint:"));
        let path = self.clients[client].path;
        self.engine.handle_datagram(self.now, path, &mut check(&ufrag, &password, true));
        self.clients[client].server = (ufrag, password);
        self.clients[client].peer.start(self.now, fingerprint.parse().unwrap());
        for _ in 0..200 {
            self.pump();
            if self.clients[client].peer.is_connected() && self.connected(client) {
                return;
            }
            self.advance(Duration::from_millis(10));
        }
        panic!("not connected");
    }

    /// Everybody checks that the server is there, as they do every few seconds.
    pub(super) fn keep_alive(&mut self) {
        for client in &self.clients {
            let (ufrag, password) = &client.server;
            self.engine.handle_datagram(self.now, client.path, &mut check(ufrag, password, true));
        }
        self.pump();
    }

    pub(super) fn connected(&self, client: usize) -> bool {
        let own = self.clients[client].transport;
        self.events.iter().any(|event| matches!(event, RouterEvent::Connected { transport } if *transport == own))
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now += time;
        self.engine.handle_timeout(self.now);
        self.pump();
    }

    /// Carries everything to where it belongs until nothing moves.
    pub(super) fn pump(&mut self) {
        loop {
            self.engine.make_offers(self.now);
            let mut datagrams = Vec::new();
            while self.engine.forward(self.now) {
                take_egress(&mut self.engine, &mut datagrams);
            }
            take_egress(&mut self.engine, &mut datagrams);
            datagrams.extend(std::iter::from_fn(|| self.engine.poll_transmit()));
            self.events.extend(std::iter::from_fn(|| self.engine.poll_event()).map(|event| event.event));
            let mut moved = !datagrams.is_empty();
            for (path, datagram) in datagrams {
                let Some(client) = self.clients.iter().position(|client| client.path == path) else { continue };
                if let Some((_, lost)) = self.losing.as_mut().filter(|(who, _)| *who == client && is_rtp(&datagram)) {
                    lost.push(datagram);
                    continue;
                }
                match &mut self.bottleneck {
                    Some((behind, bottleneck)) if *behind == client && is_rtp(&datagram) => {
                        bottleneck.take(self.now, datagram);
                    }
                    _ => self.clients[client].peer.handle(self.now, &datagram),
                }
            }
            for client in 0..self.clients.len() {
                let path = self.clients[client].path;
                for mut datagram in self.clients[client].peer.poll(self.now) {
                    moved = true;
                    self.engine.handle_datagram(self.now, path, &mut datagram);
                }
            }
            if !moved {
                return;
            }
        }
    }

    pub(super) fn send(&mut self, client: usize, plain: &[u8]) {
        let (path, mut sealed) = (self.clients[client].path, self.clients[client].peer.seal_rtp(plain));
        self.engine.handle_datagram(self.now, path, &mut sealed);
        self.pump();
    }

    pub(super) fn send_rtcp(&mut self, client: usize, plain: &[u8]) {
        let (path, mut sealed) = (self.clients[client].path, self.clients[client].peer.seal_rtcp(plain));
        self.engine.handle_datagram(self.now, path, &mut sealed);
        self.pump();
    }

    /// What a viewer got: sequence number, timestamp, payload.
    pub(super) fn received(&mut self, client: usize) -> Vec<(Header, Vec<u8>)> {
        let packets = std::mem::take(&mut self.clients[client].peer.rtp);
        packets
            .into_iter()
            .map(|packet| {
                let header = Header::parse(&packet).unwrap();
                (header, packet[header.payload(&packet).unwrap()].to_vec())
            })
            .collect()
    }

    /// What a client was told since it was last asked.
    pub(super) fn feedback(&mut self, client: usize) -> Vec<u8> {
        std::mem::take(&mut self.clients[client].peer.rtcp).concat()
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.engine.counters().drops().find(|(one, _)| *one == reason).unwrap().1
    }

    pub(super) fn key_frame_requests(&mut self, client: usize) -> usize {
        feedback(&self.feedback(client)).iter().filter(|one| matches!(one, Feedback::KeyFrameRequest { .. })).count()
    }
}

pub(super) fn feedback(compound: &[u8]) -> Vec<Feedback<'_>> {
    let mut all = Vec::new();
    parse_rtcp(compound, |one| all.push(one));
    all
}

pub(super) fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

pub(super) fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind))
}

pub(super) fn take_egress(engine: &mut Engine, datagrams: &mut Vec<(Path, Vec<u8>)>) {
    for run in engine.egress().runs() {
        datagrams.extend(run.bytes.chunks(run.segment).map(|datagram| (run.path, datagram.to_vec())));
    }
    engine.egress().clear();
}

pub(super) fn admitted(names: &[&str]) -> Vec<AdmittedMedia> {
    let admit = |(mid, name): (usize, &&str)| AdmittedMedia {
        mid: mid.to_string(),
        track: Some(track(name)),
        max_bitrate: None,
    };
    names.iter().enumerate().map(admit).collect()
}

pub(super) fn publish_offer(fingerprint: &str, names: &[&str], rids: &[&str]) -> String {
    let mids: Vec<_> = (0..names.len()).map(|mid| mid.to_string()).collect();
    let mut lines = vec!["v=0".to_owned(), "o=- 1 1 IN IP4 127.0.0.1".into(), "s=-".into(), "t=0 0".into()];
    lines.push(format!("a=group:BUNDLE {}", mids.join(" ")));
    for (mid, name) in names.iter().enumerate() {
        lines.extend(["m=video 9 UDP/TLS/RTP/SAVPF 96 97".into(), "c=IN IP4 0.0.0.0".into(), format!("a=mid:{mid}")]);
        lines.extend(["a=ice-ufrag:peer".into(), "a=ice-pwd:0123456789012345678901".into()]);
        lines.extend([format!("a=fingerprint:{fingerprint}"), "a=setup:actpass".into(), "a=sendonly".into()]);
        lines.extend([format!("a=msid:s {name}"), "a=rtcp-mux".into(), "a=rtpmap:96 VP8/90000".into()]);
        lines.extend(["nack", "nack pli", "ccm fir", "transport-cc"].map(|kind| format!("a=rtcp-fb:96 {kind}")));
        lines.extend(["a=rtpmap:97 rtx/90000".into(), "a=fmtp:97 apt=96".into()]);
        lines.extend([
            "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid".into(),
            "a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id".into(),
        ]);
        lines.push("a=extmap:6 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id".into());
        lines.push("a=extmap:7 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01".into());
        if !rids.is_empty() {
            lines.extend(rids.iter().map(|rid| format!("a=rid:{rid} send")));
            lines.push(format!("a=simulcast:send {}", rids.join(";")));
        }
    }
    lines.into_iter().map(|line| line + "\r\n").collect()
}

/// What a browser would answer: everything is received.
pub(super) fn answer_to(offer: &str, fingerprint: &str) -> String {
    let mut answer = offer.replace("a=sendonly", "a=recvonly").replace("a=setup:actpass", "a=setup:active");
    let ours = answer.lines().find(|line| line.starts_with("a=fingerprint:")).unwrap().to_owned();
    answer = answer.replace(&ours, &format!("a=fingerprint:{fingerprint}"));
    let kept = answer
        .lines()
        .filter(|line| !line.starts_with("a=ssrc") && !line.starts_with("a=msid:") && *line != "a=ice-lite");
    kept.map(|line| format!("{line}\r\n")).collect()
}

/// Of a client that knows no source of their own for packets that are sent again (RFC 4588).
pub(super) fn without_repairs(description: String) -> String {
    let types = description.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(" rtx/"));
    let types: Vec<_> = types.map(|(number, _)| number).collect();
    let of_repairs = |line: &str| types.iter().any(|own| line.split([':', ' ']).nth(1) == Some(own));
    let shorter = |line: &str| match line.starts_with("m=") {
        true => line.split(' ').filter(|word| !types.contains(word)).collect::<Vec<_>>().join(" "),
        false => line.to_owned(),
    };
    description
        .lines()
        .filter(|line| !line.starts_with("a=") || !of_repairs(line))
        .map(|line| shorter(line) + "\r\n")
        .collect()
}

/// A VP8 packet: one frame.
pub(super) struct Picture {
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) picture: u16,
    pub(super) temporal: u8,
    pub(super) key: bool,
    pub(super) rid: Option<&'static str>,
}

impl Picture {
    pub(super) fn new(ssrc: u32, sequence: u16) -> Self {
        let timestamp = u32::from(sequence).wrapping_mul(3000);
        Self { ssrc, sequence, timestamp, picture: sequence & 0x7fff, temporal: 0, key: false, rid: None }
    }

    pub(super) fn key(self) -> Self {
        Self { key: true, ..self }
    }

    pub(super) fn rid(self, rid: &'static str) -> Self {
        Self { rid: Some(rid), ..self }
    }

    pub(super) fn temporal(self, temporal: u8) -> Self {
        Self { temporal, ..self }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut elements = vec![0x40, b'0', 0x71, (self.sequence >> 8) as u8, self.sequence as u8];
        if let Some(rid) = self.rid {
            elements.push(0x50 | (rid.len() as u8 - 1));
            elements.extend_from_slice(rid.as_bytes());
        }
        elements.resize(elements.len().next_multiple_of(4), 0);
        let mut packet = vec![0x90, 0x80 | 96];
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(&[0xbe, 0xde, 0, (elements.len() / 4) as u8]);
        packet.extend_from_slice(&elements);
        packet.extend_from_slice(&[0x90, 0xe0]);
        packet.extend_from_slice(&(self.picture | 0x8000).to_be_bytes());
        packet.extend_from_slice(&[self.sequence as u8, self.temporal << 6 | 0x20, u8::from(!self.key), 0xaa]);
        packet
    }
}

/// A packet again, by a source for repairs of its own (RFC 4588 §4).
pub(super) fn repair(picture: &Picture, source: u32) -> Vec<u8> {
    let mut packet = picture.bytes();
    let head = Header::parse(&packet).unwrap().len;
    packet.splice(head..head, picture.sequence.to_be_bytes());
    packet[1] = 0x80 | 97;
    packet[8..12].copy_from_slice(&source.to_be_bytes());
    packet
}

pub(super) fn sequences(packets: &[(Header, Vec<u8>)]) -> Vec<u16> {
    let first = packets.first().map_or(0, |(header, _)| header.sequence);
    packets.iter().map(|(header, _)| header.sequence.wrapping_sub(first)).collect()
}
