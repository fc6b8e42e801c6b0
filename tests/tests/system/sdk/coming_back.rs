//! Sockets that are lost and a network that is gone: the room comes back by itself, and how long that took is kept.

use std::time::{Duration, Instant};

use lockgate_tests::{Page, PrivateNetwork, Setup};
use serde_json::{Value, json};

use super::{PUBLISH, keep, meet};

/// Loses the socket of a page, and waits until its room is back. Returns how long that took, in milliseconds.
async fn lose(page: &Page, name: &str) -> Value {
    page.run(&format!(
        "const lost = performance.now();
         const {{ publisherId }} = {name}.room;
         sockets.last.close(4000);
         const {{ isKept }} = await {name}.hear('reconnected');
         const back = performance.now() - lost;
         await {name}.room.chat('back');
         return {{ ms: Math.round(back), isKept, same: publisherId === {name}.room.publisherId }}"
    ))
    .await
}

#[tokio::test]
async fn who_loses_the_socket_is_back_soon_and_media_never_stops() {
    let call = meet(Setup::default()).await;
    call.left.run(PUBLISH).await;
    call.right.run("await bob.more(20)").await;
    let publisher = lose(&call.left, "ann").await;
    let viewer = lose(&call.right, "bob").await;
    for back in [&publisher, &viewer] {
        assert_eq!((&back["isKept"], &back["same"]), (&json!(true), &json!(true)), "{back}");
    }
    call.right.run("await bob.more(20)").await;
    let later = call
        .left
        .run("return (await ann.room.publish(devices.noise(160, 120, 10), { source: 'screen' })).isPublished")
        .await;
    assert_eq!(later, true);
    let seen = call
        .right
        .run(
            "await bob.more(5, 'screen');
             return { problems: bob.problems, ended: bob.heard.filter(({ type }) => type === 'track-ended').length }",
        )
        .await;
    assert_eq!(seen, json!({ "problems": [], "ended": 0 }));
    keep("sdk-socket-lost", &json!({ "publisher": publisher, "viewer": viewer }));
}

#[tokio::test]
async fn who_is_forgotten_meanwhile_publishes_and_subscribes_anew() {
    let call = meet(Setup { rooms: "resume = \"0s\"".into(), ..Setup::default() }).await;
    call.left.run(PUBLISH).await;
    call.right.run("await bob.more(20); globalThis.first = await bob.track('camera')").await;
    let viewer = lose(&call.right, "bob").await;
    assert_eq!((&viewer["isKept"], &viewer["same"]), (&json!(false), &json!(false)), "{viewer}");
    // The same track goes on, in the element that it was in.
    let seen = call
        .right
        .run(
            "await bob.more(20);
             const track = await bob.track('camera');
             return { same: track === first, shown: track.elements[0].srcObject.getTracks()[0] === track.track, problems: bob.problems }",
        )
        .await;
    assert_eq!(seen, json!({ "same": true, "shown": true, "problems": [] }));
    let publisher = lose(&call.left, "ann").await;
    assert_eq!((&publisher["isKept"], &publisher["same"]), (&json!(false), &json!(false)), "{publisher}");
    call.right.run("await bob.track('camera'); await bob.more(20)").await;
    assert_eq!(
        call.left.run("return [ann.problems, camera.isPublished, microphone.isPublished]").await,
        json!([[], true, true])
    );
}

#[test]
fn media_is_back_soon_after_the_network_was_gone_for_five_seconds() {
    let name = "sdk::coming_back::media_is_back_soon_after_the_network_was_gone_for_five_seconds";
    PrivateNetwork::around(name, async |network| {
        let call = meet(Setup::default()).await;
        let port = call.node.address().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it has a port");
        call.left.run(PUBLISH).await;
        call.right.run("await bob.more(20)").await;
        network.block_udp();
        network.silence_tcp(port);
        // The length of the cut is what is tested: nothing happens in it that could be waited for.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = call.right.run("return (await bob.stats('camera')).framesDecoded").await;
        network.unblock();
        let healed = Instant::now();
        call.right.run("await bob.more(3)").await;
        let media = healed.elapsed();
        call.left.run("await until('the room', async () => { try { await ann.room.chat('back'); return true } catch { return false } })").await;
        call.right.run("await bob.hear('chat')").await;
        let signalling = healed.elapsed();
        let ended = call.right.run("return bob.heard.filter(({ type }) => type === 'track-ended').length").await;
        assert_eq!(ended, 0, "the tracks are the same ones");
        keep(
            "sdk-network-cut",
            &json!({ "cutSeconds": 5, "framesBefore": before, "mediaBackMs": media.as_millis(), "signallingBackMs": signalling.as_millis() }),
        );
    });
}
