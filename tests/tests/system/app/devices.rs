//! Other devices, how loud they and people are, and how well media flows.

use lockgate_tests::{Browser, Node, Page, Setup};
use serde_json::json;

use super::{NOTICES, join, meeting, sees_more, sees_the_other};

/// Chooses another device of a kind in the dialog, as people do. Returns its id.
async fn choose_another(page: &Page, kind: &str) -> String {
    let choose = format!(
        "const select = document.querySelector('#settings select[data-device={kind}]');
         const other = [...select.options].findLast(({{ value }}) => value !== select.value).value;
         select.value = other;
         select.dispatchEvent(new Event('change', {{ bubbles: true }}));
         return other"
    );
    page.run(&choose).await.as_str().unwrap_or_default().to_owned()
}

/// What is published from a source comes from this device, and both pickers say so.
async fn comes_from(page: &Page, source: &str, device: &str) {
    let used = format!(
        "lockgate.room.publications.find(({{ source }}) => source === '{source}').track.getSettings().deviceId === {device:?}"
    );
    page.shows(&format!("the {source} {device}"), &used).await;
    let said = format!("[...document.querySelectorAll('select[data-device={source}]')].map(({{ value }}) => value)");
    page.shows("it in both pickers", &format!("{said}.every((value) => value === {device:?})")).await;
}

#[tokio::test]
async fn devices_are_chosen_inside_and_what_cannot_be_opened_changes_nothing() {
    let (_node, _browser, left, right) = meeting().await;
    left.click("#open-settings").await;
    left.shows("the cameras", "document.querySelectorAll('#settings select[data-device=camera] option').length === 3")
        .await;
    left.shows("the level of a beep", "document.querySelector('#settings-level').value > 0.2").await;
    left.shows("the level between beeps", "document.querySelector('#settings-level').value < 0.1").await;
    left.run(
        "const camera = lockgate.room.publications.find(({ source }) => source === 'camera');
         globalThis.first = { track: camera.track, device: camera.track.getSettings().deviceId }",
    )
    .await;
    let camera = choose_another(&left, "camera").await;
    comes_from(&left, "camera", &camera).await;
    left.shows("that the camera before is let go of", "first.track.readyState === 'ended'").await;
    let microphone = choose_another(&left, "microphone").await;
    comes_from(&left, "microphone", &microphone).await;
    sees_more(&right, 10).await;
    left.shows("the level of the other microphone", "document.querySelector('#settings-level').value > 0.2").await;
    let speaker = choose_another(&left, "speaker").await;
    let sinks =
        format!("[...document.querySelectorAll('.tile audio')].every(({{ sinkId }}) => sinkId === {speaker:?})");
    left.shows("that sound comes out there", &format!("document.querySelector('.tile audio') && {sinks}")).await;
    assert_eq!(left.run(NOTICES).await, json!([]));

    left.run(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('in use', 'NotReadableError'))",
    )
    .await;
    choose_another(&left, "camera").await;
    left.shows("what is wrong", "/in use by another program/.test(document.querySelector('.notice')?.textContent)")
        .await;
    comes_from(&left, "camera", &camera).await;
    sees_more(&right, 10).await;
}

/// The page's microphone is a voice that speaks when it is told to.
const WITH_A_VOICE: &str = "
    globalThis.voice = devices.voice();
    const { mediaDevices } = navigator;
    const open = mediaDevices.getUserMedia.bind(mediaDevices);
    mediaDevices.getUserMedia = async (wanted) => wanted.audio ? new MediaStream([voice.track.clone()]) : open(wanted);
    document.querySelector('#with-microphone').click();
    document.querySelector('#with-microphone').click();";

#[tokio::test]
async fn who_speaks_is_set_off_as_loud_as_they_are() {
    let node = Node::start(Setup { guests: true, rooms: "audio_levels = \"200ms\"".into(), ..Setup::default() }).await;
    let browser = Browser::start().await;
    let (left, right) = (browser.open(&node.url("/")).await, browser.open(&node.url("/")).await);
    left.learn_sdk().await;
    left.shows("how she looks", "document.querySelector('#preview').srcObject").await;
    left.run(WITH_A_VOICE).await;
    join(&left, "Ann", "Kitchen").await;
    join(&right, "Bob", "Kitchen").await;
    sees_the_other(&right, 10).await;
    assert_eq!(right.run("return document.querySelector('.tile.speaking')").await, json!(null), "nobody has spoken");
    left.run("voice.speak()").await;
    let speaks = "document.querySelector('.tile.speaking[aria-current=true]')";
    right.shows("that Ann speaks", &format!("{speaks}?.querySelector('.caption').textContent === 'Ann'")).await;
    left.shows("that she does", &format!("{speaks}?.classList.contains('own')")).await;
    let level = "Number(document.querySelector('.tile:not(.own)').style.getPropertyValue('--level'))";
    right.shows("how loud she is", &format!("{level} > 0.4")).await;
    left.run("voice.hush()").await;
    right.shows("that she is silent", &format!("{level} < 0.1")).await;
    right.shows("that she spoke last", speaks).await;
}

/// Hears something of the node that it has no reason to say, and returns what a tile's bars show then: their number, how many of them are lit, and
/// what they are called.
const HEAR: &str = "
    globalThis.hearQuality = (tile, about) => {
        const message = { type: 'quality', roomName: 'Kitchen', bitrate: 412000, loss: 0.25, rtt: 240, ...about };
        sockets.last.onmessage({ data: JSON.stringify(message) });
        const bars = document.querySelector(`${tile} .bars`);
        const unlit = 'rgb(91, 103, 112)';
        const lit = [...bars.children].filter((one) => getComputedStyle(one).backgroundColor !== unlit).length;
        return [bars.dataset.bars, lit, bars.getAttribute('aria-label')];
    }";

#[tokio::test]
async fn the_bars_follow_what_the_node_tells_of_the_connection() {
    let node = Node::start(Setup { guests: true, ..Setup::default() }).await;
    let browser = Browser::start().await;
    let (left, right) = (browser.open(&node.url("/")).await, browser.open(&node.url("/")).await);
    left.learn_sdk().await;
    left.run(HEAR).await;
    join(&left, "Ann", "Kitchen").await;
    join(&right, "Bob", "Kitchen").await;
    tokio::join!(sees_the_other(&left, 10), sees_the_other(&right, 10));
    for tile in [".tile.own", ".tile:not(.own)"] {
        let told = format!("document.querySelector('{tile} .bars:not([hidden])')?.getAttribute('aria-label')");
        left.shows("what the node tells by itself", &format!("/^Connection .* of 10, .* lost/.test({told})")).await;
    }
    let of_bob = "publisherId: lockgate.room.participants[0].publisherId";
    for (score, bars, word) in [(1, 0, "lost"), (3, 1, "bad"), (6, 2, "fair"), (10, 3, "good")] {
        let seen = left.run(&format!("return hearQuality('.tile:not(.own)', {{ score: {score}, {of_bob} }})")).await;
        let said = format!("Connection {word} · {score} of 10, 412 kbit/s, 25 % lost, 240 ms");
        assert_eq!(seen, json!([bars.to_string(), bars, said]));
    }
    // One's own tile has two directions, and shows the worse one.
    let own = "hearQuality('.tile.own', { score: 9 });
        return hearQuality('.tile.own', { score: 3, publisherId: lockgate.room.publisherId }).slice(0, 2)";
    assert_eq!(left.run(own).await, json!(["1", 1]));
    let own = "hearQuality('.tile.own', { score: 9, publisherId: lockgate.room.publisherId });
        return hearQuality('.tile.own', { score: 6 }).slice(0, 2)";
    assert_eq!(left.run(own).await, json!(["2", 2]));
}
