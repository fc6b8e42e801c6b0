//! The web app, used as people use it.

use lockgate_tests::{Archive, Browser, MediaFile, Node, Page, Recorder, Setup, Token, until};
use serde_json::json;

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
    right.shows("a notice of it", "!document.querySelector('#consent').hidden").await;
    assert_eq!(left.run("return document.querySelector('#consent').hidden").await, true, "who records knows");
    left.picture("meeting").await;
    let rows = "new Set([...document.querySelectorAll('.controls button')].map((one) => one.getBoundingClientRect().top)).size";
    assert_eq!(left.run(&format!("return {rows}")).await, 1, "the controls are in one row");
    let scrolls = "const { scrollHeight } = document.documentElement; return scrollHeight > innerHeight";
    assert_eq!(left.run(scrolls).await, false, "nothing is below the window");
    right.click("#agree").await;
    right.shows("no notice any more", "document.querySelector('#consent').hidden").await;
    tokio::join!(sees_more(&left, 60), sees_more(&right, 60));
    left.click("#toggle-recording").await;
    right.shows("the end of the recording", "document.querySelector('#recording').hidden").await;

    assert_eq!(left.run(NOTICES).await, json!([]));
    assert_eq!(right.run(NOTICES).await, json!([]));
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

/// The page's devices are there when `answer()` was called, as when people are asked whether they may be used.
const SLOW_DEVICES: &str = "
    const { mediaDevices } = navigator;
    const open = mediaDevices.getUserMedia.bind(mediaDevices);
    const answered = new Promise((answer) => (globalThis.answer = answer));
    mediaDevices.getUserMedia = (wanted) => answered.then(() => open(wanted));";

#[tokio::test]
async fn who_joins_before_the_camera_is_there_is_seen_when_it_is_and_shown_so() {
    let node = Node::start(Setup { guests: true, ..Setup::default() }).await;
    let browser = Browser::start().await;
    let (left, right) = (browser.open(&node.url("/")).await, browser.open(&node.url("/")).await);
    left.shows("how she looks", "document.querySelector('#preview').srcObject").await;
    left.run(SLOW_DEVICES).await;
    left.click("#with-camera").await;
    left.shows("no picture", "!document.querySelector('#preview').srcObject").await;
    left.click("#with-camera").await;
    join(&left, "Ann", "Kitchen table").await;
    left.shows("that it is done with joining", "!document.querySelector('#enter').disabled").await;
    join(&right, "Bob", "Kitchen table").await;
    left.shows("Bob", "document.querySelector('.tile:not(.own)')").await;
    // Out and in again before the question is answered: what was asked for the first time is for nobody.
    left.click("#leave").await;
    left.shows("the lobby", "!document.querySelector('#lobby').hidden").await;
    join(&left, "Ann", "Kitchen table").await;
    left.shows("Bob's picture", "document.querySelector('.tile.seen:not(.own) video')?.videoWidth > 0").await;
    assert_eq!(left.run("return document.querySelector('.tile.own video')").await, json!(null), "nobody sees her yet");
    left.run("answer()").await;
    sees_the_other(&right, 10).await;
    left.shows("how she is seen", "document.querySelector('.tile.own.seen video.camera')").await;
    assert_eq!(left.run("return lockgate.room.publications.length").await, 2, "each is published once");
    assert_eq!(left.run(NOTICES).await, json!([]));
}

#[tokio::test]
async fn a_node_without_guests_asks_for_a_token_in_words() {
    let node = Node::plain().await;
    let browser = Browser::start().await;
    let page = browser.open(&node.url("/")).await;
    page.fill("#name", "Ann").await;
    page.fill("#room", "den").await;
    page.click("#enter").await;
    let told = "document.querySelector('#join-problem:not([hidden])')?.textContent";
    page.shows("what it wants", &format!("/access token/.test({told})")).await;
    page.run("globalThis.fetch = () => Promise.reject(new TypeError('Failed to fetch'))").await;
    page.click("#enter").await;
    page.shows("that it is not there", &format!("/cannot be reached/.test({told})")).await;
    page.fill("#token", &Token::of(1, "Ann").forged().text()).await;
    page.click("#enter").await;
    page.shows("that the token is wrong", &format!("/did not accept/.test({told})")).await;
    page.fill("#token", &Token::of(1, "Ann").text()).await;
    join(&page, "Ann", "den").await;
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

/// Two people in one room, who see each other.
async fn meeting() -> (Node, Browser, Page, Page) {
    let node = Node::start(Setup { guests: true, ..Setup::default() }).await;
    let browser = Browser::start().await;
    let (left, right) = (browser.open(&node.url("/")).await, browser.open(&node.url("/?room=Kitchen")).await);
    join(&left, "Ann", "Kitchen").await;
    right.fill("#name", "<i>Bob</i>").await;
    right.click("#enter").await;
    tokio::join!(sees_the_other(&left, 10), sees_the_other(&right, 10));
    (node, browser, left, right)
}

#[tokio::test]
async fn people_write_look_at_who_speaks_and_choose_what_they_fetch() {
    let (_node, _browser, left, right) = meeting().await;
    left.click("#toggle-chat").await;
    left.fill("#chat-text", "<img src=x onerror=alert(1)> hello").await;
    left.click("#chat-form button").await;
    right
        .shows("that something was written", "document.querySelector('#unread:not([hidden])')?.textContent === '1'")
        .await;
    right.click("#toggle-chat").await;
    let said = "document.querySelector('.said')?.textContent === '<img src=x onerror=alert(1)> hello'";
    right.shows("it as text", said).await;
    right.click("#toggle-people").await;
    right.shows("who is there", "[...document.querySelectorAll('#people-list li')].length === 2").await;
    let name = "document.querySelector('.tile:not(.own) .caption').textContent === '<i>Bob</i>'";
    left.shows("names as text", name).await;

    left.click("#toggle-view").await;
    left.shows("one large picture", "document.querySelector('.tiles.speaker .tile.large:not(.own)')").await;
    left.run("document.querySelector('.tile:not(.own) summary').click()").await;
    let small = "const select = document.querySelector('.tile:not(.own) .menu select');
        select.value = '0';
        select.dispatchEvent(new Event('change', { bubbles: true }))";
    left.run(small).await;
    let chosen = "lockgate.room.tracks.find(({ kind }) => kind === 'video').layer.spatial === 0";
    left.shows("a small picture", chosen).await;
    left.run(&small.replace("'0'", "'off'")).await;
    left.shows("no picture", "!document.querySelector('.tile:not(.own)').classList.contains('seen')").await;
    left.run(&small.replace("'0'", "'auto'")).await;
    left.shows("the picture", "document.querySelector('.tile:not(.own)').classList.contains('seen')").await;
    assert_eq!(left.run(NOTICES).await, json!([]));
    assert_eq!(right.run(NOTICES).await, json!([]));
}

#[tokio::test]
#[ignore = "thorough: it needs axe-core, `npm ci` in client/"]
async fn the_page_has_no_serious_fault_of_accessibility() {
    let (_node, _browser, left, right) = meeting().await;
    left.click("#toggle-chat").await;
    left.fill("#chat-text", "Shall we begin?").await;
    left.click("#chat-form button").await;
    right.shows("that something was written", "!document.querySelector('#unread').hidden").await;
    for page in [&left, &right] {
        page.learn_axe().await;
    }
    for (name, width, height, scheme) in [
        ("meeting-desktop-dark", 1280, 800, "dark"),
        ("meeting-desktop-light", 1280, 800, "light"),
        ("meeting-phone-dark", 390, 844, "dark"),
        ("meeting-phone-light", 390, 844, "light"),
    ] {
        for (page, who) in [(&left, "left"), (&right, "right")] {
            page.looks(width, height, scheme).await;
            assert_eq!(page.faults().await, json!([]), "{name} {who}");
            page.screenshot(&format!("{name}-{who}")).await;
        }
    }
    right.click("#leave").await;
    right.shows("the lobby", "!document.querySelector('#lobby').hidden").await;
    for (name, width, height, scheme) in
        [("lobby-phone-light", 390, 844, "light"), ("lobby-desktop-dark", 1280, 800, "dark")]
    {
        right.looks(width, height, scheme).await;
        assert_eq!(right.faults().await, json!([]), "{name}");
        right.screenshot(name).await;
    }
}
