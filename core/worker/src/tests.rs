//! Workers with real sockets and threads: rooms that are spread over them, and workers that fail.

mod tcp;
mod wire;

use std::collections::BTreeSet;
use std::future::ready;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lockgate_media::{AdmittedMedia, CloseReason, DataLimits, Limits, RouterEvent, Subscription, TransportId};
use lockgate_model::TrackId;
use lockgate_rtp::Header;
use lockgate_transport::testing::{Peer, check};
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::wire::{Wire, candidate};
use crate::command::Command;
use crate::testing::Failure;
use crate::{
    Announced, PublishTransport, Router, RouterEvents, Sending, SubscribeTransport, WorkerState, Workers, WorkersConfig,
};

/// Two workers and a room.
struct Stage {
    workers: Workers,
    router: Router,
    events: RouterEvents,
}

/// A client with a socket of its own.
struct Client {
    wire: Wire,
    peer: Peer,
    /// What its checks are made with.
    server: (String, String),
}

impl Stage {
    async fn new(room_spread: usize) -> Self {
        let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
        let announce = vec![Announced { ip, port: None }];
        let config = WorkersConfig {
            count: 2,
            bind: vec![ip],
            port: 0,
            tcp: true,
            announce,
            room_spread,
            sending: Sending::Gso,
            data: DataLimits::default(),
            started: Instant::now(),
        };
        let workers = Workers::spawn(config).unwrap();
        tokio::spawn(workers.clone().watch());
        let new = workers.new_router().await.unwrap();
        Self { workers, router: new.router, events: new.events }
    }

    async fn publisher(&self) -> (PublishTransport, Client) {
        let transport = self.router.create_publish_transport().await.unwrap();
        let peer = Peer::default();
        let admitted = AdmittedMedia { mid: "0".into(), track: Some(track()), max_bitrate: None };
        let answer = transport.accept_offer(offer(&peer.fingerprint()), vec![admitted]).await.unwrap();
        (transport, Client::connected(peer, &answer.sdp).await)
    }

    async fn viewer(&mut self) -> (SubscribeTransport, Client) {
        let transport = self.router.create_subscribe_transport().await.unwrap();
        transport.subscribe(Subscription { track: track(), stream: "7".into(), cause: 7, limits: Limits::default() });
        let (peer, sdp) = (Peer::default(), self.offer(transport.id()).await);
        transport.set_answer(None, answer_to(&sdp, &peer.fingerprint())).await.unwrap();
        (transport, Client::connected(peer, &sdp).await)
    }

    /// The next offer on a transport.
    async fn offer(&mut self, of: TransportId) -> String {
        loop {
            match self.next().await {
                RouterEvent::Offer { transport, sdp, .. } if transport == of => return sdp,
                RouterEvent::Closed { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        }
    }

    async fn closed(&mut self) -> (TransportId, CloseReason) {
        loop {
            if let RouterEvent::Closed { transport, reason } = self.next().await {
                return (transport, reason);
            }
        }
    }

    async fn next(&mut self) -> RouterEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event").expect("a router")
    }

    fn fail(&self, worker: u32, failure: Failure) {
        self.workers.all().tell(worker, Command::Fail(failure));
    }

    fn state(&self, worker: u32) -> WorkerState {
        self.workers.health()[worker as usize].state
    }
}

impl Client {
    /// A client for whom ICE and DTLS are done, by UDP.
    async fn connected(peer: Peer, description: &str) -> Self {
        let wire = Wire::udp(candidate(description, "udp")).await;
        Self::connected_by(wire, peer, description).await
    }

    async fn connected_by(wire: Wire, peer: Peer, description: &str) -> Self {
        let value = |key: &str| description.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
        let server = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
        let mut client = Self { wire, peer, server };
        client.check(true).await;
        client.peer.start(Instant::now(), value("a=fingerprint:").parse().unwrap());
        client.until(|client| client.peer.is_connected()).await;
        client
    }

    async fn check(&mut self, nominate: bool) {
        let check = check(&self.server.0, &self.server.1, nominate);
        self.wire.send(&check).await;
    }

    /// Takes what comes until it is enough.
    async fn until(&mut self, enough: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !enough(self) {
            assert!(begin.elapsed() < PATIENCE, "it does not come");
            for datagram in self.peer.poll(Instant::now()) {
                self.wire.send(&datagram).await;
            }
            if let Ok(datagram) = timeout(Duration::from_millis(20), self.wire.receive()).await {
                self.peer.handle(Instant::now(), &datagram);
            }
        }
    }

    async fn send(&mut self, sequence: u16, key: bool) {
        let sealed = self.peer.seal_rtp(&picture(sequence, key));
        self.wire.send(&sealed).await;
    }

    /// Which pictures it has got.
    fn seen(&self) -> BTreeSet<u16> {
        let number = |packet: &Vec<u8>| {
            let header = Header::parse(packet).unwrap();
            let payload = &packet[header.payload(packet).unwrap()];
            u16::from_be_bytes([payload[payload.len() - 2], payload[payload.len() - 1]])
        };
        self.peer.rtp.iter().map(number).collect()
    }

    async fn has_all(&mut self, numbers: std::ops::Range<u16>) {
        self.until(|client| numbers.clone().all(|number| client.seen().contains(&number))).await;
    }
}

/// Sends key frames until all of them get pictures; where the numbers go on comes back.
async fn begin(publisher: &mut Client, viewers: &mut [&mut Client], mut from: u16) -> u16 {
    let begin = Instant::now();
    loop {
        publisher.send(from, true).await;
        let mut missing = 0;
        for viewer in viewers.iter_mut() {
            let before = Instant::now();
            viewer.until(|client| client.seen().contains(&from) || before.elapsed() > Duration::from_millis(50)).await;
            missing += usize::from(!viewer.seen().contains(&from));
        }
        from += 1;
        if missing == 0 {
            return from;
        }
        assert!(begin.elapsed() < PATIENCE, "no picture");
    }
}

fn track() -> TrackId {
    TrackId::new("camera").unwrap()
}

/// A whole picture of VP8 in one packet, that ends with its own number.
fn picture(sequence: u16, key: bool) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 3000;
    let mut packet = vec![0x90, 0x80 | 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 9, 0xbe, 0xde, 0, 1, 0x40, b'0', 0, 0]);
    packet.extend_from_slice(&[0x90, 0x80]);
    packet.extend_from_slice(&(sequence | 0x8000).to_be_bytes());
    packet.push(u8::from(!key));
    packet.extend_from_slice(&[0; 300]);
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet
}

fn offer(fingerprint: &str) -> String {
    let lines = [
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:0",
        "a=ice-ufrag:peer\r\na=ice-pwd:0123456789012345678901",
        &format!("a=fingerprint:{fingerprint}\r\na=setup:actpass\r\na=sendonly"),
        "a=msid:s camera\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli",
        "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
    ];
    lines.join("\r\n")
}

/// What a browser would answer: everything is received.
fn answer_to(offer: &str, fingerprint: &str) -> String {
    let answer = offer.replace("a=sendonly", "a=recvonly").replace("a=setup:actpass", "a=setup:active");
    let kept = answer.lines().filter(|line| {
        !line.starts_with("a=ssrc")
            && !line.starts_with("a=msid:")
            && *line != "a=ice-lite"
            && !line.starts_with("a=candidate")
    });
    let own = |line: &str| match line.starts_with("a=fingerprint:") {
        true => format!("a=fingerprint:{fingerprint}\r\n"),
        false => format!("{line}\r\n"),
    };
    kept.map(own).collect()
}

/// For what takes milliseconds, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn viewers_on_every_worker_get_every_packet_of_a_room_that_is_larger_than_one() {
    let mut stage = Stage::new(2).await;
    let (from, mut publisher) = stage.publisher().await;
    let (near, mut first) = stage.viewer().await;
    assert_eq!((stage.router.workers().len(), near.worker()), (1, from.worker()));
    let (far, mut second) = stage.viewer().await;
    let (too, mut third) = stage.viewer().await;
    assert_eq!((stage.router.workers().len(), far.worker()), (2, too.worker()));
    assert_ne!(far.worker(), from.worker());
    assert_eq!(BTreeSet::from([from.id(), near.id(), far.id(), too.id()]).len(), 4, "names are of the whole process");
    let next = begin(&mut publisher, &mut [&mut first, &mut second, &mut third], 1).await;
    for burst in 0..6 {
        // As many as a socket holds until it is read.
        let numbers = next + 50 * burst..next + 50 * (burst + 1);
        for number in numbers.clone() {
            publisher.send(number, false).await;
        }
        for viewer in [&mut first, &mut second, &mut third] {
            viewer.has_all(numbers.clone()).await;
        }
    }
    let stats = stage.workers.stats().await.engine;
    assert_eq!((stats.pipes, stats.tracks), (2, 1));
    stage.workers.stop().await;
}

#[tokio::test]
async fn a_worker_that_fails_is_reported_and_the_others_go_on() {
    let mut stage = Stage::new(2).await;
    let (from, mut publisher) = stage.publisher().await;
    let (_near, mut first) = stage.viewer().await;
    let (far, mut second) = stage.viewer().await;
    let next = begin(&mut publisher, &mut [&mut first, &mut second], 1).await;
    stage.fail(far.worker(), Failure::Panic);
    assert_eq!(stage.closed().await, (far.id(), CloseReason::WorkerGone));
    assert_eq!((stage.state(far.worker()), stage.state(from.worker())), (WorkerState::Gone, WorkerState::Turns));
    drop(far);
    for number in next..next + 50 {
        publisher.send(number, false).await;
    }
    first.has_all(next..next + 50).await;
    let (third, mut client) = stage.viewer().await;
    assert_eq!(third.worker(), from.worker(), "there is no other one, although it has its share");
    begin(&mut publisher, &mut [&mut first, &mut client], next + 50).await;
    assert_eq!(stage.workers.new_router().await.unwrap().router.workers(), [from.worker()]);
    stage.workers.stop().await;
}

#[tokio::test]
async fn viewers_learn_that_a_track_is_gone_with_its_publishers_worker() {
    let mut stage = Stage::new(1).await;
    let (from, mut publisher) = stage.publisher().await;
    let (far, mut viewer) = stage.viewer().await;
    begin(&mut publisher, &mut [&mut viewer], 1).await;
    stage.fail(from.worker(), Failure::Panic);
    let (mut closed, mut inactive) = (false, false);
    while !closed || !inactive {
        match stage.next().await {
            RouterEvent::Closed { transport, reason: CloseReason::WorkerGone } => closed |= transport == from.id(),
            RouterEvent::Offer { transport, sdp, .. } => {
                inactive |= transport == far.id() && sdp.contains("a=inactive");
            }
            _ => {}
        }
    }
    stage.workers.stop().await;
}

#[tokio::test]
async fn a_worker_that_stands_still_is_reported_and_is_used_again_when_it_turns() {
    let mut stage = Stage::new(1).await;
    let (from, mut publisher) = stage.publisher().await;
    let (far, mut viewer) = stage.viewer().await;
    let next = begin(&mut publisher, &mut [&mut viewer], 1).await;
    let (end, waits) = mpsc::channel();
    stage.fail(far.worker(), Failure::Stall(waits));
    assert_eq!(stage.closed().await, (far.id(), CloseReason::WorkerGone));
    assert_eq!(stage.state(far.worker()), WorkerState::Stalled);
    let worker = far.worker();
    drop(far);
    drop(end);
    let turns = async {
        // Until the second in which it stood still is over, it counts as busy.
        while stage.state(worker) != WorkerState::Turns || stage.workers.health()[worker as usize].load > 0.5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, turns).await.expect("it turns again");
    let (again, mut viewer) = stage.viewer().await;
    assert_eq!((again.worker(), from.worker() != worker), (worker, true));
    begin(&mut publisher, &mut [&mut viewer], next).await;
    stage.workers.stop().await;
}

#[tokio::test]
async fn a_worker_hears_of_ends_however_much_waits_for_it() {
    let stage = Stage::new(1).await;
    let transport = stage.router.create_publish_transport().await.unwrap();
    let worker = transport.worker();
    let (end, waits) = mpsc::channel();
    stage.fail(worker, Failure::Stall(waits));
    let commands = &stage.workers.all().get(worker).unwrap().commands;
    while commands.tell(Command::Stats(oneshot::channel().0)).is_ok() {}
    drop(transport);
    let (reply, stats) = oneshot::channel();
    commands.end(Command::Stats(reply)).unwrap();
    let mut stopping = pin!(stage.workers.stop());
    tokio::select! {
        biased;
        () = &mut stopping => panic!("a thread that stands still has ended"),
        () = ready(()) => {}
    }
    drop(end);
    let transports = timeout(PATIENCE, stats).await.unwrap().unwrap().engine.transports;
    stopping.await;
    assert_eq!((transports, stage.state(worker)), (0, WorkerState::Stopped));
}
