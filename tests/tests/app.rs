//! The web app, used as people use it.

use lockgate_tests::{Archive, Browser, MediaFile, Node, Page, Recorder, Setup, until};

/// Fills in the form and joins.
async fn join(page: &Page, name: &str, room: &str) {
    page.fill("#name", name).await;
    page.fill("#room", room).await;
    page.click("#enter").await;
    page.shows("the meeting", "!document.querySelector('#meeting').hidden").await;
}

/// Waits until the picture of the other participant has so many frames, and is seen in a tile.
async fn sees_the_other(page: &Page, frames: u64) -> serde_json::Value {
    until("the other's picture", async || {
        let seen = page
            .run(
                "const stats = [...(await lockgate.room?.connections.receive?.getStats() ?? new Map()).values()];
                 const video = stats.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
                 const audio = stats.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio');
                 const tile = document.querySelector('.tile.seen:not(.own) video');
                 return { frames: video?.framesDecoded ?? 0, width: video?.frameWidth, freezes: video?.freezeCount,
                          samples: audio?.totalSamplesReceived ?? 0, shown: (tile?.videoWidth ?? 0) > 0 }",
            )
            .await;
        let enough =
            seen["frames"].as_u64() >= Some(frames) && seen["shown"] == true && seen["samples"].as_u64() > Some(0);
        enough.then_some(seen)
    })
    .await
}

/// Waits until that many frames more were decoded than there are now.
async fn sees_more(page: &Page, frames: u64) {
    let now = sees_the_other(page, 0).await["frames"].as_u64().unwrap_or(0);
    sees_the_other(page, now + frames).await;
}

const NOTICES: &str = "return [...document.querySelectorAll('.notice')].map((one) => one.textContent)";

#[tokio::test]
async fn two_people_meet_record_and_leave() {
    let node = Node::start(Setup { guests: true, ..Setup::default() }).await;
    let _recorder = Recorder::beside(&node).await;
    let browser = Browser::start().await;
    let left = browser.open(&node.url("/")).await;
    let right = browser.open(&node.url("/")).await;
    left.screenshot("lobby").await;
    join(&left, "Ann", "Kitchen table").await;
    join(&right, "Bob", "Kitchen table").await;
    let (at_left, at_right) = tokio::join!(sees_the_other(&left, 100), sees_the_other(&right, 100));
    eprintln!("Ann sees {at_left}, Bob sees {at_right}");
    left.shows("two people", "document.querySelector('#people').textContent === '2 people'").await;

    right.click("#toggle-microphone").await;
    left.shows("that Bob is mute", "document.querySelector('.tile:not(.own) .caption.muted')").await;
    right.click("#toggle-microphone").await;
    left.shows("that Bob is heard again", "!document.querySelector('.tile:not(.own) .caption.muted')").await;

    left.click("#toggle-recording").await;
    let recording = "document.querySelector('#recording.live')?.textContent.trim() === 'Recording'";
    tokio::join!(left.shows("the recording", recording), right.shows("the recording", recording));
    left.screenshot("meeting").await;
    tokio::join!(sees_more(&left, 60), sees_more(&right, 60));
    left.click("#toggle-recording").await;
    right.shows("the end of the recording", "document.querySelector('#recording').hidden").await;

    assert_eq!(left.run(NOTICES).await, serde_json::json!([]));
    assert_eq!(right.run(NOTICES).await, serde_json::json!([]));
    right.click("#leave").await;
    right.shows("the lobby", "!document.querySelector('#lobby').hidden").await;
    left.shows("one tile", "document.querySelectorAll('.tile').length === 1").await;
    left.shows("an empty room", "/alone/.test(document.querySelector('#people').textContent)").await;

    let room = node.recordings().join("Kitchen%20table");
    let sessions: Vec<_> =
        std::fs::read_dir(&room).expect("the room was recorded").map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let archive = Archive::of(&node.recordings(), "Kitchen%20table", &sessions[0].to_string_lossy());
    let files = archive.files(".webm");
    assert_eq!(files.len(), 2, "{:?}", archive.files(""));
    for file in files {
        let file = MediaFile::decode(&file);
        let (video, audio) = (file.stream("video"), file.stream("audio"));
        eprintln!("{:.2} s, {} frames, {} packets of sound", file.seconds, video.frames, audio.frames);
        assert!(video.frames >= 20 && audio.frames >= 50, "{file:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_in_words_and_asked_for_again() {
    let digest = "41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb";
    let admission = format!("[plugin.settings.rooms.vault]\npassword_sha256 = \"{digest}\"\n");
    let node = Node::start(Setup { guests: true, admission, ..Setup::default() }).await;
    let browser = Browser::start().await;
    let page = browser.open(&node.url("/")).await;
    page.fill("#name", "Ann").await;
    page.fill("#room", "vault").await;
    page.click("#enter").await;
    page.shows("what is wrong", "/password/.test(document.querySelector('#join-problem:not([hidden])')?.textContent)")
        .await;
    page.screenshot("refused").await;
    page.shows("a field for it", "!document.querySelector('#password-field').hidden").await;
    page.fill("#password", "open sesame").await;
    page.click("#enter").await;
    page.shows("the meeting", "!document.querySelector('#meeting').hidden").await;
}

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
    const lost = new Promise((resolve) => lockgate.room.addEventListener('lost', resolve, { once: true }));
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
    globalThis.shared = { track: context.canvas.captureStream(20).getVideoTracks()[0], source: 'screen' };
    return await lockgate.room.publish([shared]).then(() => 'published', ({ code, message }) => ({ code, message }))";

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
    left.run("await lockgate.room.publish([shared])").await;
    let screen = "document.querySelector('.tile:not(.own) video.screen')?.videoWidth === 160";
    right.shows("the picture that was refused before", screen).await;
    sees_more(&right, 10).await;
    assert_eq!(left.run(NOTICES).await, serde_json::json!([]));
}
