//! What the page asks when it is recorded, and what becomes of the answers.

use lockgate_tests::{Archive, Browser, Node, Page, Recorder, Setup, Token};
use serde_json::json;

use super::{NOTICES, join, join_with, sees_the_other};

const ASKED: &str = "!document.querySelector('#consent').hidden";
const RECORDING: &str = "document.querySelector('#recording.live')";

/// A node with a recorder, and two pages of it.
async fn studio(setup: Setup) -> (Node, Recorder, Browser, Page, Page) {
    let node = Node::start(setup).await;
    let recorder = Recorder::beside(&node).await;
    let browser = Browser::start().await;
    let (left, right) = (browser.open(&node.url("/")).await, browser.open(&node.url("/")).await);
    (node, recorder, browser, left, right)
}

/// Whose tracks are in the recording.
fn recorded(archive: &Archive) -> Vec<String> {
    let manifest = archive.manifest();
    let files = manifest["files"].as_array().unwrap_or_else(|| panic!("{manifest}"));
    let mut names: Vec<_> = files.iter().filter_map(|file| file["username"].as_str().map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

/// Waits until so many tracks are recorded.
async fn tracks_are(page: &Page, count: usize) {
    page.shows(&format!("{count} recorded tracks"), &format!("lockgate.room.recording.tracks.length === {count}"))
        .await;
}

/// Where consent is needed, nobody is recorded before they agree; who presses "Record" agrees with that.
#[tokio::test]
async fn who_does_not_agree_is_not_recorded_and_leaves_and_who_comes_back_is_asked_again() {
    let consent: (_, &[_], _) = ("recording-consent", &["config", "kv"], "");
    let setup = Setup { guests: true, policies: vec![consent], ..Setup::default() };
    let (node, _recorder, _browser, left, right) = studio(setup).await;
    join(&left, "Ann", "den").await;
    join(&right, "Bob", "den").await;
    tokio::join!(sees_the_other(&left, 10), sees_the_other(&right, 10));
    left.click("#toggle-recording").await;
    left.shows("the recording", RECORDING).await;
    right.shows("a question", ASKED).await;
    tracks_are(&left, 2).await;
    right.click("#disagree").await;
    right.shows("the lobby", "!document.querySelector('#lobby').hidden").await;
    left.shows("that Bob is gone", "document.querySelectorAll('.tile').length === 1").await;

    join(&right, "Bob", "den").await;
    right.shows("the question again", ASKED).await;
    sees_the_other(&left, 10).await;
    left.click("#toggle-recording").await;
    left.shows("the end", "document.querySelector('#recording').hidden").await;
    let session = left.run("return lockgate.room.recording.sessionId").await;
    let archive = Archive::of(&node.recordings(), "den", session.as_str().expect("a session has an id"));
    assert_eq!(recorded(&archive), ["Ann"]);
    right.shows("no question any more", &format!("!({ASKED})")).await;

    left.click("#toggle-recording").await;
    right.shows("a question", ASKED).await;
    right.click("#agree").await;
    right.shows("no question", &format!("!({ASKED})")).await;
    tracks_are(&left, 4).await;
    let told = left.run(NOTICES).await;
    let once = [json!([]), json!(["who publishes this does not agree to be recorded"])];
    assert!(once.contains(&told), "who records is told once, and not of each track: {told}");
    assert_eq!(right.run(NOTICES).await, json!([]));
}

#[tokio::test]
async fn who_tried_to_record_and_may_not_is_told_when_somebody_else_does() {
    let (_node, _recorder, _browser, left, right) = studio(Setup::default()).await;
    join_with(&left, &Token::of(1, "Ann").can_record(), "Ann", "den").await;
    join_with(&right, &Token::of(2, "Bob"), "Bob", "den").await;
    right.click("#toggle-recording").await;
    right.shows("that he may not", "document.querySelector('.notice')").await;
    assert_eq!(right.run("return document.querySelector('#recording').hidden").await, true, "nothing is recorded");
    left.click("#toggle-recording").await;
    right.shows("the recording", RECORDING).await;
    right.shows("a question", ASKED).await;
    assert_eq!(left.run("return document.querySelector('#consent').hidden").await, true, "who records knows");
    // Nor may he end it: it goes on, and so does the question.
    right.run("document.querySelectorAll('.notice').forEach((one) => one.remove())").await;
    right.click("#toggle-recording").await;
    right.shows("that he may not, again", "document.querySelector('.notice')").await;
    assert_eq!(right.run(&format!("return {ASKED}")).await, true);
}
