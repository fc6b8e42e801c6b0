//! The web app, used as people use it.

mod accessibility;
mod coming_back;
mod consent;
mod devices;
mod moderating;
mod screens;

use lockgate_tests::{Archive, Browser, MediaFile, Node, Page, Recorder, Setup, Token, until};
use serde_json::json;

/// Fills in the form and joins.
async fn join(page: &Page, name: &str, room: &str) {
    page.fill("#name", name).await;
    page.fill("#room", room).await;
    page.click("#enter").await;
    page.shows("the meeting", "!document.querySelector('#meeting').hidden").await;
}

/// Joins with a token that the page would not ask for.
async fn join_with(page: &Page, token: &Token, name: &str, room: &str) {
    page.run(&format!("document.querySelector('#token').value = {:?}", token.text())).await;
    join(page, name, room).await;
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
