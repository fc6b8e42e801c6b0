//! Sockets that are lost while people do something, and a lobby that one comes back through.

use lockgate_tests::{Browser, Node, Setup, Token};
use serde_json::json;

use super::{NOTICES, join, sees_more, sees_the_other};

/// The page's sockets can be cut, and kept from coming back.
const SOCKETS: &str = "
    globalThis.sockets = { down: false };
    globalThis.WebSocket = class extends WebSocket {
        constructor(url) {
            super(sockets.down ? String(url).replace('/ws', '/nowhere') : url);
            sockets.last = this;
        }
    };";

/// Loses the socket, and the publishing connection just after it. Returns what comes of publishing one more picture then.
const LOSE_AND_PUBLISH: &str = "
    sockets.down = true;
    const lost = new Promise((resolve) => lockgate.room.addEventListener('reconnecting', resolve, { once: true }));
    sockets.last.close(4000);
    await lost;
    const connection = lockgate.room.connections.publish;
    const ufrag = () => /a=ice-ufrag:(\\S+)/.exec(connection.remoteDescription.sdp)[1];
    const before = ufrag();
    globalThis.restarted = () => ufrag() !== before;
    const { get } = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'connectionState');
    Object.defineProperty(connection, 'connectionState', { get: () => restarted() ? get.call(connection) : 'failed' });
    connection.onconnectionstatechange();
    const context = Object.assign(document.createElement('canvas'), { width: 160, height: 120 }).getContext('2d');
    let hue = 0;
    setInterval(() => {
        context.fillStyle = `hsl(${hue++} 80% 50%)`;
        context.fillRect(0, 0, 160, 120);
    }, 50);
    globalThis.shared = context.canvas.captureStream(20).getVideoTracks()[0];
    return await lockgate.room.publish(shared, { source: 'screen' }).then(() => 'published', ({ code, message }) => ({ code, message }))";

#[tokio::test]
async fn who_publishes_while_the_socket_is_lost_is_told_so_and_can_when_it_is_back() {
    let setup = Setup { guests: true, rooms: "resume = \"60s\"".into(), ..Setup::default() };
    let node = Node::start(setup).await;
    let browser = Browser::start().await;
    let (left, right) = (browser.open(&node.url("/")).await, browser.open(&node.url("/")).await);
    left.run(SOCKETS).await;
    join(&left, "Ann", "Kitchen table").await;
    join(&right, "Bob", "Kitchen table").await;
    sees_the_other(&right, 10).await;
    let refused = left.run(LOSE_AND_PUBLISH).await;
    assert_eq!(refused["code"], "disconnected", "{refused}");
    assert!(refused["message"].as_str().is_some_and(|message| !message.is_empty()), "{refused}");

    left.run("sockets.down = false").await;
    left.shows("that it is back", "document.querySelector('#connection').hidden").await;
    left.shows("a restarted connection", "restarted()").await;
    left.run("await lockgate.room.publish(shared, { source: 'screen' })").await;
    let screen = "document.querySelector('.tile:not(.own) video.screen')?.videoWidth === 160";
    right.shows("the picture that was refused before", screen).await;
    sees_more(&right, 10).await;
    assert_eq!(left.run(NOTICES).await, json!([]));
}

#[tokio::test]
async fn who_comes_back_through_the_lobby_is_shown_the_meeting_and_who_gives_up_is_told_nothing() {
    let waiting_room: (_, &[_], _) = ("waiting-room", &["config", "kv"], "");
    let setup = Setup { rooms: "resume = \"0s\"".into(), policies: vec![waiting_room], ..Setup::default() };
    let node = Node::start(setup).await;
    let (mut host, _) = node.enter(&Token::of(9, "Host").role("host"), "den").await;
    let browser = Browser::start().await;
    let page = browser.open(&node.url("/")).await;
    page.run(SOCKETS).await;
    // Who comes back moderates no more.
    let tokens = [Token::of(1, "Ann").role("host").text(), Token::of(1, "Ann").text()];
    page.run(&format!(
        "const tokens = {tokens:?}; globalThis.fetch = async () => new Response(JSON.stringify({{ token: tokens.shift() }}))"
    ))
    .await;
    join(&page, "Ann", "den").await;
    page.run("sockets.last.close(4000)").await;
    page.shows("that she waits", "!document.querySelector('#waiting').hidden").await;
    let admit = json!({ "type": "policy-command", "roomName": "den", "name": "lobby-admit", "payload": "1" });
    assert_eq!(host.ask(admit).await["type"], "policy-reply");
    page.shows(
        "the meeting",
        "!document.querySelector('#meeting').hidden && document.querySelector('#waiting').hidden",
    )
    .await;
    page.shows("that she is back", "document.querySelector('#connection').hidden").await;
    page.click("#leave").await;

    page.run(&format!("document.querySelector('#token').value = {:?}", Token::of(2, "Bob").text())).await;
    page.click("#enter").await;
    page.shows("that Bob waits", "!document.querySelector('#waiting').hidden").await;
    page.click("#stop-waiting").await;
    page.shows("the lobby, as it was", "document.querySelector('#preview').srcObject").await;
    assert_eq!(page.run("return document.querySelector('#join-problem').hidden").await, true, "it was Bob's own wish");
}
