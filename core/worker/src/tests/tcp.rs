//! Clients that come by TCP.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::{NetworkCounters, SendFailure, SpawnError, StreamEnd};

impl Stage {
    async fn publisher_by_tcp(&self) -> (PublishTransport, Client) {
        let transport = self.router.create_publish_transport().await.unwrap();
        let peer = Peer::default();
        let admitted = AdmittedMedia { mid: "0".into(), track: Some(track()), max_bitrate: None };
        let answer = transport.accept_offer(offer(&peer.fingerprint()), vec![admitted]).await.unwrap();
        let wire = Wire::tcp(candidate(&answer.sdp, "tcp")).await;
        (transport, Client::connected_by(wire, peer, &answer.sdp).await)
    }

    async fn viewer_by_tcp(&mut self) -> (SubscribeTransport, Client, String) {
        let transport = self.router.create_subscribe_transport().await.unwrap();
        transport.subscribe(Subscription { track: track(), stream: "7".into(), cause: 7, limits: Limits::default() });
        let (peer, sdp) = (Peer::default(), self.offer(transport.id()).await);
        transport.set_answer(None, answer_to(&sdp, &peer.fingerprint())).await.unwrap();
        let wire = Wire::tcp(candidate(&sdp, "tcp")).await;
        (transport, Client::connected_by(wire, peer, &sdp).await, sdp)
    }

    async fn network(&self) -> NetworkCounters {
        self.workers.stats().await.network
    }

    /// Waits until the sockets counted enough.
    async fn counted(&self, what: &str, enough: impl Fn(&NetworkCounters) -> bool) -> NetworkCounters {
        let begin = Instant::now();
        loop {
            let network = self.network().await;
            if enough(&network) {
                return network;
            }
            assert!(begin.elapsed() < PATIENCE, "{what}: {network:?}");
        }
    }
}

fn ended(network: &NetworkCounters, end: StreamEnd) -> u64 {
    network.end_counts[end as usize]
}

#[tokio::test]
async fn calls_by_tcp_and_by_udp_are_one_call() {
    let mut stage = Stage::new(4).await;
    let (_from, mut publisher) = stage.publisher_by_tcp().await;
    let (_near, mut first, _) = stage.viewer_by_tcp().await;
    let (_far, mut second) = stage.viewer().await;
    let next = begin(&mut publisher, &mut [&mut first, &mut second], 1).await;
    for burst in 0..6 {
        // As many as a socket holds until it is read.
        let numbers = next + 50 * burst..next + 50 * (burst + 1);
        for number in numbers.clone() {
            publisher.send(number, false).await;
        }
        for viewer in [&mut first, &mut second] {
            viewer.has_all(numbers.clone()).await;
        }
    }
    let network = stage.network().await;
    assert_eq!((network.streams, network.streams_accepted), (2, 2));
    assert!(network.frames_in >= 300 && network.frames_out >= 300, "{network:?}");
    assert_eq!((network.end_counts, network.failure_counts), Default::default());
    stage.workers.stop().await;
}

#[tokio::test]
async fn a_client_whose_stream_ends_goes_on_by_the_next_and_changes_to_udp_and_back() {
    let mut stage = Stage::new(4).await;
    let (_from, mut publisher) = stage.publisher().await;
    let (_to, mut viewer, sdp) = stage.viewer_by_tcp().await;
    let next = begin(&mut publisher, &mut [&mut viewer], 1).await;
    let (udp, tcp) = (candidate(&sdp, "udp"), candidate(&sdp, "tcp"));

    viewer.wire = Wire::tcp(tcp).await;
    stage.counted("the first stream's end", |network| ended(network, StreamEnd::Peer) == 1).await;
    viewer.check(false).await;
    let next = begin(&mut publisher, &mut [&mut viewer], next).await;

    // Both are there, and the client says which it wants.
    let stream = std::mem::replace(&mut viewer.wire, Wire::udp(udp).await);
    viewer.check(true).await;
    let next = begin(&mut publisher, &mut [&mut viewer], next).await;
    let before = stage.network().await.frames_out;
    let next = begin(&mut publisher, &mut [&mut viewer], next).await;
    assert_eq!(stage.network().await.frames_out, before, "nothing goes by the stream");
    viewer.wire = stream;
    viewer.check(true).await;
    begin(&mut publisher, &mut [&mut viewer], next).await;
    assert!(stage.network().await.frames_out > before);

    // The end of the client is the end of its stream.
    drop(stage.router);
    let network = async { while stage.workers.stats().await.network.streams != 0 {} };
    timeout(PATIENCE, network).await.expect("the stream ends");
    assert_eq!(ended(&stage.workers.stats().await.network, StreamEnd::Unused), 1);
    stage.workers.stop().await;
}

#[tokio::test]
async fn a_viewer_that_does_not_read_loses_media_and_nobody_else_does() {
    let mut stage = Stage::new(4).await;
    let (_from, mut publisher) = stage.publisher().await;
    let (_slow, mut slow, _) = stage.viewer_by_tcp().await;
    let (_quick, mut quick, _) = stage.viewer_by_tcp().await;
    let mut next = begin(&mut publisher, &mut [&mut slow, &mut quick], 1).await;
    while stage.network().await.failure_counts[SendFailure::Behind as usize] == 0 {
        assert!(next < 60_000, "it takes everything");
        for number in next..next + 50 {
            publisher.send(number, false).await;
        }
        quick.has_all(next..next + 50).await;
        quick.peer.rtp.clear();
        next += 50;
    }
    // What it gets at last is whole, or it could not be decrypted; and it is there as the others are.
    begin(&mut publisher, &mut [&mut slow, &mut quick], next).await;
    assert_eq!(stage.workers.stats().await.network.streams, 2);
    stage.workers.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_viewer_is_not_sent_once_it_may_not_have_it() {
    let mut stage = Stage::new(4).await;
    let (_from, mut publisher) = stage.publisher().await;
    let (to, mut slow, _) = stage.viewer_by_tcp().await;
    let mut next = begin(&mut publisher, &mut [&mut slow], 1).await;
    while stage.network().await.failure_counts[SendFailure::Behind as usize] == 0 {
        assert!(next < 60_000, "it takes everything");
        for number in next..next + 50 {
            publisher.send(number, false).await;
        }
        next += 50;
    }
    to.unsubscribe(&track(), 8);
    let withdrawn = |network: &NetworkCounters| network.failure_counts[SendFailure::Withdrawn as usize];
    let network = stage.counted("what waited", |network| withdrawn(network) > 0).await;
    for subscribes in [false, true] {
        if subscribes {
            to.subscribe(Subscription { track: track(), stream: "7".into(), cause: 9, limits: Limits::default() });
        }
        let sdp = stage.offer(to.id()).await;
        to.set_answer(None, answer_to(&sdp, &slow.peer.fingerprint())).await.unwrap();
    }
    // What comes now comes behind everything that was sent before.
    begin(&mut publisher, &mut [&mut slow], next).await;
    let lost: Vec<_> =
        (next - withdrawn(&network).min(50) as u16..next).filter(|one| slow.seen().contains(one)).collect();
    assert!(lost.is_empty(), "{lost:?} came after all");
    stage.workers.stop().await;
}

#[tokio::test]
async fn strangers_by_tcp_are_put_out_and_a_call_goes_on_beside_them() {
    let mut stage = Stage::new(4).await;
    let (_from, mut publisher) = stage.publisher_by_tcp().await;
    let (_to, mut viewer, sdp) = stage.viewer_by_tcp().await;
    let next = begin(&mut publisher, &mut [&mut viewer], 1).await;
    let server = candidate(&sdp, "tcp");
    let idle: Vec<_> = (0..200).map(|_| TcpStream::connect(server).unwrap()).collect();
    let network = stage.counted("idle ones", |network| ended(network, StreamEnd::Crowded) >= 200 - 64).await;
    assert!(network.streams <= 2 + 64, "{network:?}");
    for (says, end) in [
        (vec![0x55; 40], StreamEnd::TooLong),
        (vec![0, 4, 1, 2, 3, 4], StreamEnd::WrongCheck),
        ([&[0, 128][..], &[0; 128]].concat(), StreamEnd::WrongCheck),
    ] {
        let before = ended(&stage.network().await, end);
        let mut stranger = TcpStream::connect(server).unwrap();
        stranger.write_all(&says).unwrap();
        stage.counted("a stranger's end", |network| ended(network, end) > before).await;
        assert!(!matches!(stranger.read(&mut [0; 9]), Ok(1..)), "nothing is said to it");
    }
    // One who knows the name and not the password.
    let before = ended(&stage.network().await, StreamEnd::WrongCheck);
    let mut liar = Wire::tcp(server).await;
    liar.send(&check(&viewer.server.0, "no password of anybody", true)).await;
    stage.counted("a liar's end", |network| ended(network, StreamEnd::WrongCheck) > before).await;

    for number in next..next + 200 {
        publisher.send(number, false).await;
    }
    viewer.has_all(next..next + 200).await;
    drop(idle);
    stage.counted("only the two", |network| network.streams == 2).await;
    stage.workers.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_what_to_do_and_without_tcp_nobody_wants_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let held = std::net::TcpListener::bind(taken).unwrap();
    let config = |tcp| WorkersConfig {
        count: 1,
        bind: vec![taken.ip()],
        port: taken.port(),
        tcp,
        announce: vec![Announced { ip: taken.ip(), port: None }],
        room_spread: 1,
        sending: Sending::Gso,
        data: DataLimits::default(),
        started: Instant::now(),
    };
    let error = Workers::spawn(config(true)).err().unwrap();
    assert!(matches!(error, SpawnError::BindTcp { address, .. } if address == taken));
    assert!(
        error.to_string().contains(&format!("on {taken} (TCP)")) && error.to_string().contains("media.tcp = false")
    );
    let workers = Workers::spawn(config(false)).unwrap();
    let router = workers.new_router().await.unwrap().router;
    let transport = router.create_publish_transport().await.unwrap();
    let admitted = AdmittedMedia { mid: "0".into(), track: Some(track()), max_bitrate: None };
    let answer = transport.accept_offer(offer(&Peer::default().fingerprint()), vec![admitted]).await.unwrap();
    assert!(answer.sdp.contains(" udp ") && !answer.sdp.contains(" tcp "), "{}", answer.sdp);
    workers.stop().await;
    drop(held);
}
