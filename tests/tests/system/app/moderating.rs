//! What moderators do to others, pressed in the page and seen on both sides.

use lockgate_tests::{Browser, Node, Page, Setup, operator};
use serde_json::json;

use super::{NOTICES, join, join_with, sees_more, sees_the_other};

/// Presses what stands in the menu of the other's tile, once it stands there.
async fn press(page: &Page, text: &str) {
    page.click(".tile:not(.own) summary").await;
    let button = format!(
        "const button = [...document.querySelectorAll('.tile:not(.own) .menu[open] button')].find((one) => one.textContent === {text:?});
         button?.click();
         return button !== undefined"
    );
    page.shows(text, &format!("(() => {{ {button} }})()")).await;
}

/// Waits until one's own button of a device shows whether it is on.
async fn shows_device(page: &Page, kind: &str, on: bool) {
    let pressed = format!("document.querySelector('#toggle-{kind}').getAttribute('aria-pressed') === '{on}'");
    page.shows(&format!("that the {kind} is on: {on}"), &pressed).await;
}

const MODERATOR_BUTTONS: &str =
    "return [...document.querySelectorAll('#people-list button, .tile:not(.own) .menu button')]
    .map((one) => one.textContent).filter((text) => text !== 'Keep large')";

/// Waits until one is in the lobby, with the moderator's words.
async fn is_put_out(page: &Page) {
    page.shows("the lobby", "!document.querySelector('#lobby').hidden").await;
    let told = "/a moderator put you out/.test(document.querySelector('#join-problem:not([hidden])')?.textContent)";
    page.shows("why", told).await;
}

#[tokio::test]
async fn a_moderator_mutes_stops_and_removes_and_nobody_else_can() {
    let node = Node::start(Setup { guests: true, ..Setup::default() }).await;
    let browser = Browser::start().await;
    let (left, right) = (browser.open(&node.url("/")).await, browser.open(&node.url("/")).await);
    join_with(&left, &operator(), "Ann", "Kitchen").await;
    join(&right, "Bob", "Kitchen").await;
    tokio::join!(sees_the_other(&left, 10), sees_the_other(&right, 10));
    right.click("#toggle-people").await;
    right.shows("both", "document.querySelectorAll('#people-list li').length === 2").await;
    assert_eq!(right.run(MODERATOR_BUTTONS).await, json!([]), "Bob moderates nobody");

    left.click("#toggle-people").await;
    left.shows("who may be muted", "document.querySelector('[aria-label=\"Mute Bob\"]')").await;
    left.click("[aria-label='Mute Bob']").await;
    shows_device(&right, "microphone", false).await;
    left.shows("that Bob is mute", "document.querySelector('.tile:not(.own) .caption.muted')").await;
    left.shows("nothing more to be muted", "!document.querySelector('[aria-label=\"Mute Bob\"]')").await;
    // A moderator ends what disturbs; nobody is silenced for good.
    right.click("#toggle-microphone").await;
    left.shows("that Bob is heard again", "!document.querySelector('.tile:not(.own) .caption.muted')").await;
    press(&left, "Mute for everybody").await;
    shows_device(&right, "microphone", false).await;

    press(&left, "Stop the picture for everybody").await;
    shows_device(&right, "camera", false).await;
    left.shows("no picture", "!document.querySelector('.tile:not(.own)').classList.contains('seen')").await;
    right.click("#toggle-camera").await;
    left.shows("the picture", "document.querySelector('.tile:not(.own)').classList.contains('seen')").await;
    sees_more(&left, 10).await;

    left.click("[aria-label='Remove Bob']").await;
    is_put_out(&right).await;
    left.shows("one tile", "document.querySelectorAll('.tile').length === 1").await;
    left.shows("one name", "document.querySelectorAll('#people-list li').length === 1").await;
    join(&right, "Bob", "Kitchen").await;
    left.shows("Bob again", "document.querySelector('.tile.seen:not(.own) video')").await;
    press(&left, "Remove from the room").await;
    is_put_out(&right).await;
    left.shows("an empty room", "/alone/.test(document.querySelector('#people').textContent)").await;
    assert_eq!(left.run(NOTICES).await, json!([]));
}
