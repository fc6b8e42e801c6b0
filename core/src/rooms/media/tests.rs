//! What the media side is told of a room, and tells it.

use std::time::Duration;

use lockgate_model::{Codec, MediaKind};
use tokio::time::timeout;

use super::*;
use crate::testing;

fn offer() -> String {
    let fingerprint = vec!["0A"; 32].join(":");
    let lines = [
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0",
        "a=ice-ufrag:peer\r\na=ice-pwd:0123456789012345678901",
        &format!("a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=sendonly"),
        "a=msid:s camera\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n",
    ];
    lines.join("\r\n")
}

#[test]
fn an_offer_that_is_too_long_is_not_even_read() {
    let longest = format!("{}{}", offer(), "a=x\r\n".repeat(MAX_SDP / 5));
    let problem = inspect_offer(&longest).unwrap_err();
    assert!(problem.message.contains("512 KiB"), "{problem:?}");
}

#[tokio::test]
async fn media_events_that_nobody_hears_end_the_media() {
    let (node, _hub) = testing::node();
    let mut media = RoomMedia::new(node.workers.new_router().await.unwrap());
    let (publisher, camera) = (PublisherId(1), TrackId::new("camera").unwrap());
    let admitted = vec![AdmittedMedia { mid: "0".into(), track: Some(camera.clone()), max_bitrate: None }];
    let answered = media.answer_offer(publisher, offer(), admitted).await.unwrap();
    assert_eq!((answered.tracks[0].kind, answered.tracks[0].codec), (MediaKind::Video, Codec::Vp8));
    // Each viewer is to be offered the track; more offers than a room may leave unread.
    for viewer in 2..5000 {
        let connection = Connection { member: PublisherId(viewer), publisher: None };
        media.send(connection, publisher, camera.clone(), Limits::default()).await;
    }
    let over = async { while media.next_event().await.is_some() {} };
    timeout(Duration::from_secs(30), over).await.expect("the room learns that its media is over");
}
