//! The button that shares a screen, and the browser's own that takes it back.

use lockgate_tests::{Page, until};
use serde_json::json;

use super::{NOTICES, meeting};

/// Waits until so many frames of the other's screen were decoded, and it is to be seen.
async fn sees_the_screen(page: &Page, frames: u64) {
    until("frames of the screen", async || {
        let decoded = page
            .run(
                "const { room } = lockgate;
                 const { mid } = room.tracks.find(({ source }) => source === 'screen') ?? {};
                 const receiver = room.connections.receive.getTransceivers().find((one) => one.mid === mid)?.receiver;
                 const stats = [...(await receiver?.getStats() ?? new Map()).values()];
                 const shown = document.querySelector('.tile.is-screen.seen:not(.own) video.screen')?.videoWidth > 0;
                 return shown ? stats.find(({ type }) => type === 'inbound-rtp')?.framesDecoded ?? 0 : 0",
            )
            .await;
        (decoded.as_u64() >= Some(frames)).then_some(())
    })
    .await;
}

/// Waits until nobody has a screen any more, nor its sound.
async fn screen_is_gone(left: &Page, right: &Page) {
    for page in [left, right] {
        page.shows("no screen", "!document.querySelector('.tile.is-screen')").await;
    }
    right.shows("none of its tracks", "lockgate.room.tracks.every(({ source }) => !/screen/.test(source))").await;
    left.shows("that it is not sent", "lockgate.room.publications.every(({ source }) => !/screen/.test(source))").await;
    let button = "const button = document.querySelector('#toggle-screen');
        return [button.getAttribute('aria-pressed'), button.textContent.trim()]";
    assert_eq!(left.run(button).await, json!(["false", "Share screen"]));
}

#[tokio::test]
async fn a_screen_is_shared_by_one_press_and_gone_by_the_next() {
    let (_node, _browser, left, right) = meeting().await;
    left.click("#toggle-screen").await;
    sees_the_screen(&right, 10).await;
    left.shows("one's own screen", "document.querySelector('.tile.own.is-screen.seen video.screen')").await;
    left.shows("how to end it", "document.querySelector('#toggle-screen').textContent.trim() === 'Stop sharing'").await;
    right.shows("its sound", "document.querySelector('.tile.is-screen:not(.own) audio')").await;
    right.click("#toggle-view").await;
    right.shows("it large", "document.querySelector('.tile.large.is-screen:not(.own)')").await;
    left.run("globalThis.shared = lockgate.room.publications.filter(({ source }) => /screen/.test(source)).map(({ track }) => track)")
        .await;
    left.click("#toggle-screen").await;
    screen_is_gone(&left, &right).await;
    let states = left.run("return shared.map(({ readyState }) => readyState)").await;
    assert_eq!(states, json!(["ended", "ended"]), "the browser captures no more");

    left.click("#toggle-screen").await;
    sees_the_screen(&right, 10).await;
    // The browser's own button ends the picture, of which the page is told by this event; its sound is for nobody then.
    left.run(
        "lockgate.room.publications.find(({ source }) => source === 'screen').track.dispatchEvent(new Event('ended'))",
    )
    .await;
    screen_is_gone(&left, &right).await;
    assert_eq!(left.run(NOTICES).await, json!([]));
    assert_eq!(right.run(NOTICES).await, json!([]));
}
