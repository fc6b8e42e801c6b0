//! Whole calls in virtual time: real handshakes, real SRTP, no socket and no clock.

#![allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]

mod adapting;
mod pipes;
mod publishers;
mod viewers;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lockgate_model::carrier::{Deframer, Frame, MAX_FRAME, TrackNumber};
use lockgate_model::{AdmittedMedia, Layer, Limits, TrackId};
use lockgate_rtp::{Feedback, Header, SenderInfo, inspect, parse_rtcp, write};
use lockgate_transport::ice::Path;
use lockgate_transport::sdp::read_offer;
use lockgate_transport::testing::{Peer, check};

use super::*;
use crate::negotiate::NegotiateError;
use crate::stats::DropReason;
use adapting::Bottleneck;

/// An engine, its clients and their time.
struct World {
    now: Instant,
    engine: Engine,
    router: RouterId,
    clients: Vec<Client>,
    events: Vec<RouterEvent>,
    /// What a client's media must pass.
    bottleneck: Option<(usize, Bottleneck)>,
}

struct Client {
    transport: TransportId,
    peer: Peer,
    path: Path,
    tracks: Vec<String>,
    /// What its checks are made with.
    server: (String, String),
}

fn track(name: &str) -> TrackId {
    TrackId::new(name).unwrap()
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut counter = 0_u8;
        let entropy = Entropy::new(move |bytes| {
            bytes.iter_mut().for_each(|byte| {
                counter = counter.wrapping_mul(5).wrapping_add(113);
                *byte = counter;
            });
            counter = counter.wrapping_add(1);
        });
        let candidates = vec![SocketAddr::from(([127, 0, 0, 1], 40_000))];
        let certificate = Certificate::generate().unwrap();
        let mut engine =
            Engine::new(EngineConfig { candidates, certificate, dtls: EngineKind::default(), entropy, started: now });
        let router = engine.create_router();
        Self { now, engine, router, clients: Vec::new(), events: Vec::new(), bottleneck: None }
    }

    fn add_client(&mut self, transport: TransportId) -> usize {
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
    fn publisher(&mut self, name: &str, rids: &[&str]) -> usize {
        let transport = self.engine.create_publish_transport(self.now, self.router).unwrap();
        let client = self.add_client(transport);
        let offer = publish_offer(&self.clients[client].peer.fingerprint(), &[name], rids);
        let answer = self.engine.accept_offer(self.now, transport, &offer, &admitted(&[name])).unwrap();
        self.connect(client, &answer.sdp);
        client
    }

    /// A viewer of a track, connected.
    fn viewer(&mut self, name: &str, limits: Limits) -> usize {
        let transport = self.engine.create_subscribe_transport(self.now, self.router).unwrap();
        let client = self.add_client(transport);
        self.subscribe(client, name, limits);
        let offer = self.take_offer(client);
        self.answer(client, &offer);
        self.connect(client, &offer);
        client
    }

    fn subscribe(&mut self, client: usize, name: &str, limits: Limits) {
        let wanted = Subscription { track: track(name), stream: "42".into(), cause: 42, limits };
        self.engine.subscribe(self.now, self.clients[client].transport, wanted);
        self.pump();
    }

    fn take_offer(&mut self, client: usize) -> String {
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

    fn answer(&mut self, client: usize, offer: &str) {
        let answer = answer_to(offer, &self.clients[client].peer.fingerprint());
        self.engine.accept_answer(self.now, self.clients[client].transport, None, &answer).unwrap();
        self.pump();
    }

    /// ICE and DTLS with what the server's description says.
    fn connect(&mut self, client: usize, description: &str) {
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
    fn keep_alive(&mut self) {
        for client in &self.clients {
            let (ufrag, password) = &client.server;
            self.engine.handle_datagram(self.now, client.path, &mut check(ufrag, password, true));
        }
        self.pump();
    }

    fn connected(&self, client: usize) -> bool {
        let own = self.clients[client].transport;
        self.events.iter().any(|event| matches!(event, RouterEvent::Connected { transport } if *transport == own))
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        self.engine.handle_timeout(self.now);
        self.pump();
    }

    /// Carries everything to where it belongs until nothing moves.
    fn pump(&mut self) {
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

    fn send(&mut self, client: usize, plain: &[u8]) {
        let (path, mut sealed) = (self.clients[client].path, self.clients[client].peer.seal_rtp(plain));
        self.engine.handle_datagram(self.now, path, &mut sealed);
        self.pump();
    }

    fn send_rtcp(&mut self, client: usize, plain: &[u8]) {
        let (path, mut sealed) = (self.clients[client].path, self.clients[client].peer.seal_rtcp(plain));
        self.engine.handle_datagram(self.now, path, &mut sealed);
        self.pump();
    }

    /// What a viewer got: sequence number, timestamp, payload.
    fn received(&mut self, client: usize) -> Vec<(Header, Vec<u8>)> {
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
    fn feedback(&mut self, client: usize) -> Vec<u8> {
        std::mem::take(&mut self.clients[client].peer.rtcp).concat()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.engine.counters().drops().find(|(one, _)| *one == reason).unwrap().1
    }

    fn key_frame_requests(&mut self, client: usize) -> usize {
        feedback(&self.feedback(client)).iter().filter(|one| matches!(one, Feedback::KeyFrameRequest { .. })).count()
    }
}

fn feedback(compound: &[u8]) -> Vec<Feedback<'_>> {
    let mut all = Vec::new();
    parse_rtcp(compound, |one| all.push(one));
    all
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind))
}

fn take_egress(engine: &mut Engine, datagrams: &mut Vec<(Path, Vec<u8>)>) {
    for run in engine.egress().runs() {
        datagrams.extend(run.bytes.chunks(run.segment).map(|datagram| (run.path, datagram.to_vec())));
    }
    engine.egress().clear();
}

fn admitted(names: &[&str]) -> Vec<AdmittedMedia> {
    let admit = |(mid, name): (usize, &&str)| AdmittedMedia {
        mid: mid.to_string(),
        track: Some(track(name)),
        max_bitrate: None,
    };
    names.iter().enumerate().map(admit).collect()
}

fn publish_offer(fingerprint: &str, names: &[&str], rids: &[&str]) -> String {
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
fn answer_to(offer: &str, fingerprint: &str) -> String {
    let mut answer = offer.replace("a=sendonly", "a=recvonly").replace("a=setup:actpass", "a=setup:active");
    let ours = answer.lines().find(|line| line.starts_with("a=fingerprint:")).unwrap().to_owned();
    answer = answer.replace(&ours, &format!("a=fingerprint:{fingerprint}"));
    let kept = answer
        .lines()
        .filter(|line| !line.starts_with("a=ssrc") && !line.starts_with("a=msid:") && *line != "a=ice-lite");
    kept.map(|line| format!("{line}\r\n")).collect()
}

/// A VP8 packet: one frame.
struct Picture {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    picture: u16,
    temporal: u8,
    key: bool,
    rid: Option<&'static str>,
}

impl Picture {
    fn new(ssrc: u32, sequence: u16) -> Self {
        let timestamp = u32::from(sequence).wrapping_mul(3000);
        Self { ssrc, sequence, timestamp, picture: sequence & 0x7fff, temporal: 0, key: false, rid: None }
    }

    fn key(self) -> Self {
        Self { key: true, ..self }
    }

    fn rid(self, rid: &'static str) -> Self {
        Self { rid: Some(rid), ..self }
    }

    fn temporal(self, temporal: u8) -> Self {
        Self { temporal, ..self }
    }

    fn bytes(&self) -> Vec<u8> {
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

fn sequences(packets: &[(Header, Vec<u8>)]) -> Vec<u16> {
    let first = packets.first().map_or(0, |(header, _)| header.sequence);
    packets.iter().map(|(header, _)| header.sequence.wrapping_sub(first)).collect()
}

#[test]
fn a_burst_leaves_as_one_run_for_each_viewer() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewers = [world.viewer("camera", Limits::default()), world.viewer("camera", Limits::default())];
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    viewers.into_iter().for_each(|viewer| drop(world.received(viewer)));
    for (sequence, longer) in [(2, 900), (3, 901), (4, 901), (5, 20)] {
        let mut packet = Picture::new(9, sequence).bytes();
        packet.resize(packet.len() + longer, 7);
        let (path, mut sealed) = (world.clients[publisher].path, world.clients[publisher].peer.seal_rtp(&packet));
        world.engine.handle_datagram(world.now, path, &mut sealed);
    }
    assert!(!world.engine.forward(world.now));
    let runs: Vec<_> = world.engine.egress().runs().map(|run| (run.path, run.count())).collect();
    assert_eq!(runs, viewers.map(|viewer| (world.clients[viewer].path, 4)));
    world.pump();
    for viewer in viewers {
        let lengths: Vec<_> = world.received(viewer).iter().map(|(_, payload)| payload.len()).collect();
        assert_eq!(lengths, [908, 909, 909, 28], "padding is not payload");
    }
}

#[test]
fn a_picture_reaches_every_viewer_from_its_key_frame_on() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewers = [world.viewer("camera", Limits::default()), world.viewer("camera", Limits::default())];
    world.send(publisher, &Picture::new(9, 1).bytes());
    world.advance(Duration::from_millis(50));
    assert_eq!(world.key_frame_requests(publisher), 1, "two viewers, one request");
    world.send(publisher, &Picture::new(9, 2).key().bytes());
    world.send(publisher, &Picture::new(9, 3).bytes());
    for viewer in viewers {
        let got = world.received(viewer);
        assert_eq!(sequences(&got), [0, 1]);
        assert_ne!(got[0].0.ssrc, 9, "every viewer has sources of its own");
        assert_eq!(got[0].1[..2], [0x90, 0xe0]);
    }
    assert_eq!(world.dropped(DropReason::AwaitingKeyFrame), 2);
}

#[test]
fn a_viewer_may_ask_again_for_what_it_lost() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    world.send(publisher, &Picture::new(9, 2).bytes());
    let got = world.received(viewer);
    world.send_rtcp(viewer, &written(|out| write::nack(out, 1, got[0].0.ssrc, &[got[1].0.sequence])));
    let again = world.received(viewer);
    assert_eq!(again.len(), 1);
    assert_ne!((again[0].0.ssrc, again[0].0.payload_type), (got[1].0.ssrc, got[1].0.payload_type));
    assert_eq!(again[0].1[..2], got[1].0.sequence.to_be_bytes(), "the original number comes first (RFC 4588 §4)");
    assert_eq!(again[0].1[2..], got[1].1);
    world.send_rtcp(viewer, &written(|out| write::nack(out, 1, got[0].0.ssrc, &[got[1].0.sequence + 50])));
    assert_eq!((world.received(viewer).len(), world.dropped(DropReason::NotInRing)), (0, 1));
}

#[test]
fn what_the_publisher_lost_is_asked_for_and_goes_on_to_viewers_once() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    world.send(publisher, &Picture::new(9, 3).bytes());
    world.advance(Duration::from_millis(20));
    let told = world.feedback(publisher);
    let wanted: Vec<_> = feedback(&told).into_iter().filter(|one| matches!(one, Feedback::Nack { .. })).collect();
    let [Feedback::Nack { ssrc: 9, missing }] = wanted[..] else { panic!("{wanted:?}") };
    assert_eq!(missing.iter().collect::<Vec<_>>(), [2]);
    let mut original = Picture::new(9, 2).bytes();
    let head = Header::parse(&original).unwrap().len;
    original.splice(head..head, [0, 2]);
    original[1] = 0x80 | 97;
    original[8..12].copy_from_slice(&10_u32.to_be_bytes());
    world.send(publisher, &original);
    assert_eq!(sequences(&world.received(viewer)), [0, 2, 1], "the numbers kept its place");
    original[2] = 1;
    world.send(publisher, &original);
    assert_eq!((world.received(viewer).len(), world.dropped(DropReason::Duplicate)), (0, 1), "a probe is no repair");
}

#[test]
fn a_capped_viewer_gets_no_packet_of_a_higher_layer() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    let capped = world.viewer("camera", Limits { max_layer: Layer::new(0, 0), ..Limits::default() });
    let free = world.viewer("camera", Limits::default());
    for step in 0..20_u16 {
        let low = Picture::new(20, step).rid("low").temporal((step % 2) as u8);
        let high = Picture::new(30, 900 + step).rid("high");
        let key = step % 5 == 0;
        world.send(publisher, &if key { low.key() } else { low }.bytes());
        world.send(publisher, &if key { high.key() } else { high }.bytes());
        world.advance(Duration::from_millis(33));
    }
    let got = world.received(capped);
    assert_eq!(sequences(&got), (0..got.len() as u16).collect::<Vec<_>>(), "no gap to be seen");
    assert!((8..=12).contains(&got.len()), "{}", got.len());
    assert!(got.iter().all(|(_, payload)| inspect(lockgate_model::Codec::Vp8, payload).temporal == 0));
    let pictures: Vec<_> = got.iter().map(|(_, payload)| u16::from_be_bytes([payload[2] & 0x7f, payload[3]])).collect();
    assert!(pictures.windows(2).all(|pair| pair[1] == pair[0] + 1), "picture ids close up: {pictures:?}");
    assert!(world.received(free).len() >= 18, "the other viewer got one encoding whole");
}

#[test]
fn limits_that_sink_end_a_layer_at_once_and_the_change_is_told() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    let viewer = world.viewer("camera", Limits::default());
    for (ssrc, rid) in [(20, "low"), (30, "high")] {
        world.send(publisher, &Picture::new(ssrc, 1).rid(rid).key().bytes());
    }
    world.send(publisher, &Picture::new(30, 2).rid("high").key().bytes());
    assert!(!world.received(viewer).is_empty());
    let transport = world.clients[viewer].transport;
    world.engine.set_limits(
        world.now,
        transport,
        &track("camera"),
        Limits { max_layer: Layer::new(0, 7), ..Limits::default() },
    );
    world.pump();
    world.send(publisher, &Picture::new(30, 3).rid("high").bytes());
    assert_eq!(world.received(viewer).len(), 0, "not one more of the higher encoding");
    world.events.clear();
    world.send(publisher, &Picture::new(20, 2).rid("low").key().bytes());
    assert_eq!(world.received(viewer).len(), 1);
    assert!(
        world.events.iter().any(|event| matches!(event, RouterEvent::LayerChanged { layer, .. } if layer.spatial == 0))
    );
    let paused = Limits { paused: true, ..Limits::default() };
    world.engine.set_limits(world.now, transport, &track("camera"), paused);
    world.send(publisher, &Picture::new(20, 3).rid("low").key().bytes());
    assert_eq!(world.received(viewer).len(), 0);
}

#[test]
fn an_unsubscribed_track_sends_nothing_and_its_line_goes_inactive() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    assert_eq!(world.received(viewer).len(), 1);
    let transport = world.clients[viewer].transport;
    world.engine.unsubscribe(transport, &track("camera"), 42);
    world.send(publisher, &Picture::new(9, 2).key().bytes());
    assert_eq!(world.received(viewer).len(), 0);
    let offer = world.take_offer(viewer);
    assert!(offer.contains("a=inactive") && world.clients[viewer].tracks.is_empty());
    world.answer(viewer, &offer);
    for _ in 0..12 {
        world.subscribe(viewer, "camera", Limits::default());
        let offer = world.take_offer(viewer);
        assert_eq!(world.clients[viewer].tracks, ["camera"]);
        world.answer(viewer, &offer);
        world.engine.unsubscribe(transport, &track("camera"), 42);
        let offer = world.take_offer(viewer);
        assert!(read_offer(&offer).unwrap().sections.len() <= 10, "lines are used again");
        world.answer(viewer, &offer);
    }
    world.subscribe(viewer, "camera", Limits::default());
    let offer = world.take_offer(viewer);
    world.answer(viewer, &offer);
    world.send(publisher, &Picture::new(9, 3).key().bytes());
    assert_eq!(world.received(viewer).len(), 1, "and it still works");
}

#[test]
fn what_was_drained_before_still_makes_its_offer() {
    let mut world = World::new();
    world.publisher("camera", &[]);
    let transport = world.engine.create_subscribe_transport(world.now, world.router).unwrap();
    let viewer = world.add_client(transport);
    let wanted = Subscription { track: track("camera"), stream: "1".into(), cause: 1, limits: Limits::default() };
    world.engine.subscribe(world.now, transport, wanted);
    while world.engine.poll_transmit().is_some() {}
    assert!(world.take_offer(viewer).contains("a=msid:1 camera"));
}

#[test]
fn one_offer_is_open_at_a_time_and_is_repeated_once() {
    let mut world = World::new();
    world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    let transport = world.clients[viewer].transport;
    let accept = |world: &mut World, id, sdp: &str| world.engine.accept_answer(world.now, transport, id, sdp);
    assert_eq!(accept(&mut world, None, "v=0"), Err(NegotiateError::NoOffer), "a second answer");
    world.subscribe(viewer, "camera", Limits::default());
    let offer = world.take_offer(viewer);
    world.subscribe(viewer, "camera", Limits::default());
    assert!(!world.events.iter().any(|event| matches!(event, RouterEvent::Offer { .. })), "gathers while one is open");
    assert_eq!(accept(&mut world, Some(1), &offer), Err(NegotiateError::NoOffer), "a stale number");
    assert!(matches!(accept(&mut world, Some(2), "v=0"), Err(NegotiateError::Sdp(_))), "and it stays open");
    world.advance(Duration::from_secs(10));
    assert_eq!(world.take_offer(viewer), offer, "repeated");
    world.advance(Duration::from_secs(10));
    let closed = RouterEvent::Closed { transport, reason: CloseReason::NoAnswer };
    assert!(world.events.contains(&closed));
}

#[test]
fn a_track_that_ends_leaves_its_viewers_and_its_name_is_free() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    let other = world.engine.create_publish_transport(world.now, world.router).unwrap();
    let offer = publish_offer(&world.clients[publisher].peer.fingerprint(), &["camera"], &[]);
    let taken = world.engine.accept_offer(world.now, other, &offer, &admitted(&["camera"])).unwrap_err();
    assert_eq!(taken, NegotiateError::TrackTaken(track("camera")));
    world.engine.close_transport(world.now, world.clients[publisher].transport);
    let inactive = world.take_offer(viewer);
    assert!(inactive.contains("a=inactive"));
    assert!(world.engine.accept_offer(world.now, other, &offer, &admitted(&["camera"])).is_ok());
    let counters = world.engine.counters();
    assert_eq!((counters.tracks, counters.subscriptions, counters.transports), (1, 0, 2));
}

#[test]
fn a_refused_line_is_rejected_and_nothing_of_it_is_taken() {
    let mut world = World::new();
    let transport = world.engine.create_publish_transport(world.now, world.router).unwrap();
    let client = world.add_client(transport);
    let offer = publish_offer(&world.clients[client].peer.fingerprint(), &["camera", "screen"], &[]);
    let mut decided = admitted(&["camera", "screen"]);
    decided[1].track = None;
    let answer = world.engine.accept_offer(world.now, transport, &offer, &decided).unwrap();
    assert_eq!(answer.tracks.len(), 1);
    assert!(answer.sdp.contains("m=video 0 "));
    world.connect(client, &answer.sdp);
    let mut packet = Picture::new(77, 1).key().bytes();
    packet[17] = b'1';
    world.send(client, &packet);
    assert_eq!(world.dropped(DropReason::UnknownSource), 1);
    let other = publish_offer(&Peer::default().fingerprint(), &["camera", "screen"], &[]);
    let refused = world.engine.accept_offer(world.now, transport, &other, &decided).unwrap_err();
    assert_eq!(refused, NegotiateError::OtherCertificate);
}

#[test]
fn sender_reports_are_handed_on_in_the_viewers_terms() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    let got = world.received(viewer);
    let info = SenderInfo { ssrc: 9, ntp: 77 << 32, rtp: 3000, packets: 5, octets: 6 };
    world.send_rtcp(publisher, &written(|out| write::sender_report(out, info, "x")));
    let told = world.feedback(viewer);
    let reports = feedback(&told);
    let Some(Feedback::Sender(report)) = reports.first() else { panic!("{reports:?}") };
    assert_eq!((report.ssrc, report.ntp, report.packets), (got[0].0.ssrc, info.ntp, 1));
    assert_eq!(report.rtp, got[0].0.timestamp);
    world.advance(Duration::from_secs(1));
    let told = world.feedback(publisher);
    let back = feedback(&told);
    let report =
        back.iter().find_map(|one| if let Feedback::Report(block) = one { Some(*block) } else { None }).unwrap();
    assert_eq!((report.ssrc, report.last_sr), (9, 77 << 16));
    assert!(report.delay >= 65_536);
}

#[test]
fn the_recorder_gets_the_publishers_own_packets_from_a_key_frame_on() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    world.send(publisher, &Picture::new(20, 1).rid("low").bytes());
    world.engine.record(world.now, world.router, &track("camera"), TrackNumber(5));
    let plain = Picture::new(20, 2).rid("low").key().bytes();
    world.send(publisher, &plain);
    world.send(publisher, &Picture::new(30, 7).rid("high").bytes());
    world.send(publisher, &Picture::new(30, 8).rid("high").key().bytes());
    world.send(publisher, &Picture::new(20, 3).rid("low").bytes());
    world.engine.record_no_more(world.now, world.router, &track("camera"));
    let mut deframer = Deframer::new(MAX_FRAME);
    deframer.extend(world.engine.recorder_bytes());
    let mut seen = Vec::new();
    while let Some(bytes) = deframer.next_frame().unwrap() {
        match Frame::decode(bytes).unwrap() {
            Frame::Rtp { packet, seq, .. } => {
                let header = Header::parse(packet).unwrap();
                assert_eq!(seq as u16, header.sequence);
                if header.ssrc == 20 {
                    assert_eq!(packet, plain);
                }
                seen.push(format!("{}/{}", header.ssrc, header.sequence));
            }
            Frame::Layer { old_ssrc, new_ssrc, .. } => seen.push(format!("{old_ssrc}>{new_ssrc}")),
            Frame::End { track, .. } => seen.push(format!("end {track}")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["20/2", "20>30", "30/8", "end 5"]);
}

#[test]
fn a_publisher_that_sends_more_than_it_may_is_cut_to_it() {
    let mut world = World::new();
    let transport = world.engine.create_publish_transport(world.now, world.router).unwrap();
    let publisher = world.add_client(transport);
    let offer = publish_offer(&world.clients[publisher].peer.fingerprint(), &["camera"], &[]);
    let mut decided = admitted(&["camera"]);
    decided[0].max_bitrate = Some(lockgate_model::Bitrate(1600));
    let answer = world.engine.accept_offer(world.now, transport, &offer, &decided).unwrap();
    assert!(answer.sdp.contains("b=TIAS:1600"));
    world.connect(publisher, &answer.sdp);
    (1..50).for_each(|sequence| world.send(publisher, &Picture::new(9, sequence).bytes()));
    let taken = world.engine.counters().packets_in;
    assert!((3..=12).contains(&taken), "{taken}");
    assert_eq!(world.dropped(DropReason::OverBitrate), 49 - taken);
}

#[test]
fn encodings_that_are_described_from_the_largest_are_capped_all_the_same() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["high", "low"]);
    let capped = world.viewer("camera", Limits { max_layer: Layer::new(0, 7), ..Limits::default() });
    world.send(publisher, &Picture::new(30, 1).rid("high").key().bytes());
    assert_eq!(world.received(capped).len(), 0);
    world.send(publisher, &Picture::new(20, 1).rid("low").key().bytes());
    assert_eq!(world.received(capped).len(), 1);
}

#[test]
fn an_encoding_that_is_not_sent_keeps_nobody_awake() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    world.viewer("camera", Limits::default());
    let mut turns = 0;
    let end = world.now + Duration::from_secs(1);
    while let Some(due) = world.engine.next_timeout().filter(|due| *due < end) {
        world.advance(due.saturating_duration_since(world.now));
        turns += 1;
        assert!(turns < 100, "the engine is never done");
    }
    world.send(publisher, &Picture::new(30, 1).rid("low").bytes());
    world.advance(Duration::from_millis(50));
    assert_eq!(world.key_frame_requests(publisher), 1, "and it is asked for as soon as it comes");
}

#[test]
fn a_viewer_cannot_ask_for_a_flood() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    let got = world.received(viewer);
    (0..800).for_each(|_| {
        world.send_rtcp(viewer, &written(|out| write::nack(out, 1, got[0].0.ssrc, &[got[0].0.sequence])));
    });
    assert_eq!(world.received(viewer).len(), 500);
    assert_eq!(world.dropped(DropReason::TooManyRepairs), 300);
}

#[test]
fn a_muted_track_sends_nothing_until_it_is_unmuted() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.engine.set_muted(world.router, &track("camera"), true);
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    assert_eq!((world.received(viewer).len(), world.dropped(DropReason::Muted)), (0, 1));
    world.engine.set_muted(world.router, &track("camera"), false);
    world.send(publisher, &Picture::new(9, 2).key().bytes());
    assert_eq!(world.received(viewer).len(), 1);
}

#[test]
fn a_peer_that_falls_silent_is_closed_and_forgotten() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let transport = world.clients[publisher].transport;
    for _ in 0..20 {
        world.advance(Duration::from_secs(1));
    }
    assert!(world.events.contains(&RouterEvent::Closed { transport, reason: CloseReason::Silent }));
    let counters = world.engine.counters();
    assert_eq!((counters.transports, counters.tracks), (0, 0));
    let path = world.clients[publisher].path;
    world.engine.handle_datagram(world.now, path, &mut [128; 40]);
    assert_eq!(world.dropped(DropReason::Stray), 1);
}

#[test]
fn strangers_and_noise_are_counted_and_change_nothing() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let path = world.clients[publisher].path;
    let stranger = Path { socket: 0, remote: SocketAddr::from(([127, 0, 0, 9], 9)) };
    world.engine.handle_datagram(world.now, stranger, &mut check("nobody", "knows", true));
    world.engine.handle_datagram(world.now, stranger, &mut []);
    world.engine.handle_datagram(world.now, path, &mut [200; 3]);
    world.engine.handle_datagram(world.now, path, &mut Picture::new(9, 1).bytes());
    world.engine.handle_datagram(world.now, path, &mut [0x80, 200, 0, 6, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((world.dropped(DropReason::Check), world.dropped(DropReason::Unknown)), (1, 2));
    assert!(world.dropped(DropReason::Authentication) + world.dropped(DropReason::Malformed) >= 2);
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    assert_eq!(world.engine.counters().packets_in, 1);
}
