//! Every face of the page before an accessibility checker, for people who like it light or dark.

use lockgate_tests::{Browser, Node, Page, Recorder, Setup, operator};
use serde_json::json;

use super::{join, join_with, meeting, sees_the_other};

/// Has the checker look at the page as it is, in windows of both sizes and both schemes.
async fn assert_faultless(page: &Page, face: &str) {
    for (size, width, height) in [("desktop", 1280, 800), ("phone", 390, 844)] {
        for scheme in ["dark", "light"] {
            page.looks(width, height, scheme).await;
            assert_eq!(page.faults().await, json!([]), "{face} {size} {scheme}");
            page.screenshot(&format!("{face}-{size}-{scheme}")).await;
        }
    }
    page.looks(1280, 800, "dark").await;
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

#[tokio::test]
#[ignore = "thorough: it needs axe-core, `npm ci` in client/"]
async fn of_who_waits_the_page_has_no_serious_fault_of_accessibility() {
    let waiting_room: (_, &[_], _) = ("waiting-room", &["config", "kv"], "");
    let node = Node::start(Setup { guests: true, policies: vec![waiting_room], ..Setup::default() }).await;
    let browser = Browser::start().await;
    let page = browser.open(&node.url("/?room=den")).await;
    page.learn_axe().await;
    page.fill("#name", "Ann").await;
    page.click("#enter").await;
    page.shows("that she waits", "!document.querySelector('#waiting').hidden").await;
    assert_faultless(&page, "waiting").await;
}

#[tokio::test]
#[ignore = "thorough: it needs axe-core, `npm ci` in client/"]
async fn with_all_that_opens_the_page_has_no_serious_fault_of_accessibility() {
    let node = Node::start(Setup { guests: true, ..Setup::default() }).await;
    let _recorder = Recorder::beside(&node).await;
    let browser = Browser::start().await;
    let (left, right) = (browser.open(&node.url("/")).await, browser.open(&node.url("/")).await);
    join_with(&left, &operator(), "Ann", "Kitchen").await;
    join(&right, "Bob", "Kitchen").await;
    tokio::join!(sees_the_other(&left, 10), sees_the_other(&right, 10));
    left.learn_axe().await;
    right.learn_axe().await;

    left.click("#toggle-people").await;
    left.shows("what a moderator may do", "document.querySelectorAll('#people-list button').length === 2").await;
    assert_faultless(&left, "people").await;
    left.click("#close-panel").await;

    left.click("#toggle-view").await;
    left.shows("one large picture", "document.querySelector('.tiles.speaker .tile.large:not(.own)')").await;
    left.click(".tile:not(.own) summary").await;
    left.shows("its menu", "document.querySelector('.tile:not(.own) .menu[open] select')").await;
    assert_faultless(&left, "speaker-view-and-menu").await;
    left.click(".tile:not(.own) summary").await;

    left.click("#open-settings").await;
    left.shows("the devices", "document.querySelector('#settings').open").await;
    assert_faultless(&left, "devices").await;
    left.click("#settings button").await;

    left.click("#toggle-recording").await;
    right.shows("a notice of it", "!document.querySelector('#consent').hidden").await;
    right.shows("the recording", "document.querySelector('#recording.live')").await;
    assert_faultless(&right, "consent").await;
}
