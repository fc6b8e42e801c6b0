//! A client of another make: the crate `webrtc`, driven by what `docs/signalling.md` says and nothing else.

use std::sync::Arc;
use std::time::Duration;

use lockgate_tests::{Client, Node, Token, within};
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState, RTCPeerConnectionState,
};

/// What a connection reports.
#[derive(Debug)]
enum Report {
    Gathered,
    Connected,
    Packet(rtp::Packet),
}

struct Handler(mpsc::Sender<Report>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(Report::Gathered).await;
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            let _ = self.0.send(Report::Connected).await;
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let reports = self.0.clone();
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event
                    && reports.send(Report::Packet(packet)).await.is_err()
                {
                    return;
                }
            }
        });
    }
}

/// A connection and its reports.
struct Peer {
    connection: Box<dyn PeerConnection>,
    reports: mpsc::Receiver<Report>,
}

impl Peer {
    async fn new() -> Self {
        let (sender, reports) = mpsc::channel(4096);
        let mut engine = MediaEngine::default();
        engine.register_default_codecs().expect("nothing is registered yet");
        let registry = register_default_interceptors(Registry::new(), &mut engine).expect("the codecs are registered");
        let connection = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler(sender)))
            .with_udp_addrs(vec!["127.0.0.1:0"])
            .build()
            .await
            .expect("loopback has a free port");
        Self { connection: Box::new(connection), reports }
    }

    /// Sets the description and waits for its candidates.
    async fn describe(&mut self, description: RTCSessionDescription) -> String {
        self.connection.set_local_description(description).await.expect("it is the connection's own");
        self.hear("candidates", |report| matches!(report, Report::Gathered).then_some(())).await;
        self.connection.local_description().await.expect("it was set").sdp
    }

    async fn hear<T>(&mut self, what: &str, mut fits: impl FnMut(Report) -> Option<T>) -> T {
        within(what, async {
            loop {
                let report = self.reports.recv().await.expect("the connection stands");
                if let Some(value) = fits(report) {
                    return value;
                }
            }
        })
        .await
    }
}

fn vp8_track() -> Arc<TrackLocalStaticRTP> {
    let codec = RTCRtpCodec { mime_type: "video/VP8".into(), clock_rate: 90_000, ..RTCRtpCodec::default() };
    let rtp_coding_parameters = RTCRtpCodingParameters { ssrc: Some(SSRC), ..RTCRtpCodingParameters::default() };
    let encoding = RTCRtpEncodingParameters { rtp_coding_parameters, codec, ..RTCRtpEncodingParameters::default() };
    let track =
        MediaStreamTrack::new("stream".into(), "camera".into(), "camera".into(), RtpCodecKind::Video, vec![encoding]);
    Arc::new(TrackLocalStaticRTP::new(track))
}

/// A frame of one packet: descriptor with a picture id, a key frame's first byte, and the number again.
fn frame(number: u16) -> rtp::Packet {
    let [high, low] = number.to_be_bytes();
    rtp::Packet {
        header: rtp::Header {
            version: 2,
            marker: true,
            payload_type: 96,
            sequence_number: number,
            timestamp: u32::from(number) * 900,
            ssrc: SSRC,
            ..rtp::Header::default()
        },
        payload: vec![0x90, 0x80, high | 0x80, low, 0x00, high, low].into(),
    }
}

/// What is a text in a message.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

async fn publish(client: &mut Client, peer: &mut Peer, track: Arc<TrackLocalStaticRTP>) -> Value {
    peer.connection.add_track(track as Arc<dyn TrackLocal>).await.expect("the connection is new");
    let offer = peer.connection.create_offer(None).await.expect("there is a track to offer");
    let offer = peer.describe(offer).await;
    let reply = client.ask(json!({ "type": "publish-offer", "roomName": "board", "offer": offer })).await;
    assert_eq!(reply["type"], "publish-answer", "{reply}");
    let answer = RTCSessionDescription::answer(text(&reply["answer"])).expect("it takes every text");
    peer.connection.set_remote_description(answer).await.expect("the other stack understands the answer");
    peer.hear("the publisher to connect", |report| matches!(report, Report::Connected).then_some(())).await;
    reply
}

async fn subscribe(client: &mut Client, peer: &mut Peer, publisher: &Value) {
    client.send(json!({ "type": "subscribe-request", "roomName": "board", "publisherId": publisher })).await;
    let offer = client.hear_type("subscribe-offer").await;
    let description = RTCSessionDescription::offer(text(&offer["offer"])).expect("it takes every text");
    peer.connection.set_remote_description(description).await.expect("the other stack understands the offer");
    let answer = peer.connection.create_answer(None).await.expect("there is an offer to answer");
    let answer = peer.describe(answer).await;
    let message = json!({
        "type": "subscribe-answer", "roomName": "board", "publisherId": publisher, "offerId": offer["offerId"], "answer": answer,
    });
    client.send(message).await;
    peer.hear("the viewer to connect", |report| matches!(report, Report::Connected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_stack_publishes_and_receives_frame_for_frame() {
    let node = Node::plain().await;
    let (mut ann, joined) = node.enter(&Token::of(1, "Ann"), "board").await;
    let (mut bob, _) = node.enter(&Token::of(2, "Bob"), "board").await;
    let (mut sending, mut receiving) = (Peer::new().await, Peer::new().await);
    let track = vp8_track();
    let reply = publish(&mut ann, &mut sending, track.clone()).await;
    assert_eq!(reply["tracks"][0]["accepted"], true, "{reply}");

    let frames = tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_millis(10));
        for number in 1.. {
            beat.tick().await;
            track.write_rtp(frame(number)).await.unwrap();
        }
    });
    subscribe(&mut bob, &mut receiving, &joined["publisherId"]).await;
    let mut got: Vec<(u16, u16)> = Vec::new();
    while got.len() < 100 {
        let packet = receiving
            .hear("a frame", |report| if let Report::Packet(packet) = report { Some(packet) } else { None })
            .await;
        let [.., high, low] = packet.payload[..] else { panic!("a payload") };
        got.push((packet.header.sequence_number, u16::from_be_bytes([high, low])));
    }
    frames.abort();
    got.sort_by_key(|(_, number)| *number);
    for pair in got.windows(2) {
        assert_eq!(pair[1].0.wrapping_sub(pair[0].0), pair[1].1 - pair[0].1, "numbers move together: {pair:?}");
    }
    sending.connection.close().await.unwrap();
    receiving.connection.close().await.unwrap();
}

const SSRC: u32 = 0x1234_5678;
