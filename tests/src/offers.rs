//! Offers of clients that never connect, for tests that are about what is allowed.

use serde_json::{Value, json};

use crate::ROOM;

/// A `publish-offer` of one camera.
pub fn camera_offer() -> Value {
    offer("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000")
}

/// The same of somebody who wants to see a camera.
pub fn viewer_offer() -> Value {
    offer("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000")
}

/// A `publish-offer` of data channels.
pub fn data_offer() -> Value {
    offer("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000")
}

fn offer(media: &str) -> Value {
    let fingerprint = vec!["0A"; 32].join(":");
    let sdp = [
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0",
        media,
        "c=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:peer\r\na=ice-pwd:0123456789012345678901",
        &format!("a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n"),
    ];
    json!({ "type": "publish-offer", "roomName": ROOM, "offer": sdp.join("\r\n") })
}
