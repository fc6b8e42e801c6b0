//! The end of a node, in the middle of a call.

use std::net::{TcpListener, UdpSocket};

use lockgate_tests::{Archive, Call, MediaFile, Node, ROOM, Recorder, Setup, Token};

#[tokio::test]
async fn who_asks_a_second_time_does_not_wait_for_farewells() {
    let mut node = Node::plain().await;
    let (mut client, _) = node.enter(&Token::of(1, "Ann"), "board").await;
    node.process().ask_to_end();
    client.hear_type("server-draining").await;
    // The client reads nothing more: the node waits for its part of the farewell.
    assert_eq!(node.terminate().await.code(), Some(1), "{}", node.process().log());
}

#[tokio::test]
async fn sigterm_in_a_call_ends_both_processes_cleanly_and_loses_no_recording() {
    let call = Call::begin(Setup::default()).await;
    let mut recorder = Recorder::beside(&call.node).await;
    let mut call = call.with_left("ann", &Token::of(1, "Ann").can_record(), "{}").await;
    let (node, page) = (&mut call.node, &call.left);
    let session = page
        .run(
            "await ann.publish([{ track: await devices.camera(320, 240, 15), source: 'camera', codec: 'vp8' },
                                { track: await devices.microphone(), source: 'microphone' }]);
             await ann.ask({ type: 'start-recording' });
             const state = await ann.hear('recording', ({ type, state }) => type === 'recording-state' && state === 'recording');
             const before = Object.values(await ann.outbound())[0].framesSent;
             await until('frames to be recorded', async () => Object.values(await ann.outbound())[0].framesSent >= before + 30);
             return state.sessionId",
        )
        .await;
    let media = page.run("return +/candidate:\\S+ 1 udp \\d+ 127\\.0\\.0\\.1 (\\d+) typ host/i.exec(ann.sending.remoteDescription.sdp)[1]").await;
    let media = media.as_u64().and_then(|port| u16::try_from(port).ok()).expect("a candidate has a port");

    assert_eq!(node.terminate().await.code(), Some(0), "{}", node.process().log());
    page.run("await until('the end of the socket', () => ann.closed)").await;
    assert_eq!(page.run("return ann.closed").await, 1001);
    assert_eq!(page.run("return ann.heard.some(({ type }) => type === 'server-draining')").await, true);
    assert!(TcpListener::bind(node.address()).is_ok(), "somebody listens on the HTTP port still");
    assert!(UdpSocket::bind(("127.0.0.1", media)).is_ok(), "somebody has the media port still");
    assert_eq!(recorder.terminate().await.code(), Some(0));

    let archive = Archive::of(&node.recordings(), ROOM, session.as_str().expect("a session has an id"));
    assert!(archive.files(".part").is_empty(), "{:?}", archive.files(""));
    let files = archive.files(".webm");
    assert_eq!(files.len(), 1, "{files:?}");
    let file = MediaFile::decode(&files[0]);
    assert!(file.stream("video").frames >= 20 && file.stream("audio").frames >= 50, "{file:?}");
}
