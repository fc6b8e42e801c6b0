//! Ready policies that keep something in mind, on a real node: what a command changes holds at once.

use std::time::Duration;

use lockgate_tests::{Browser, Node, ROOM, Recorder, RecorderWire, Setup, Token, until};
use serde_json::{Value, json};

fn command(name: &str, payload: &str) -> Value {
    json!({ "type": "policy-command", "roomName": ROOM, "name": name, "payload": payload })
}

/// A node with one more plugin.
async fn with(plugin: &'static str, settings: &'static str) -> Node {
    Node::start(Setup { policies: vec![(plugin, &["config", "kv"], settings)], ..Setup::default() }).await
}

#[tokio::test]
async fn who_waits_enters_when_a_moderator_says_so_and_not_before() {
    let node = with("waiting-room", "").await;
    let join = || json!({ "type": "join-room", "roomName": ROOM });
    let (mut host, _) = node.enter(&Token::of(1, "Host").role("host"), ROOM).await;
    let (mut ann, mut eve) = (node.connect().await, node.connect().await);
    for (client, token) in [(&mut ann, Token::of(2, "Ann")), (&mut eve, Token::of(3, "Eve"))] {
        client.authenticate(&token).await;
        let told = client.ask(join()).await;
        assert_eq!((&told["type"], &told["message"]), (&json!("room-waiting"), &json!("a moderator will let you in")));
        assert_eq!(client.ask(join()).await["type"], "room-waiting", "asking again does not help");
    }

    let listed = host.ask(command("lobby-list", "")).await;
    let list: Value = serde_json::from_str(listed["payload"].as_str().unwrap_or_default()).unwrap();
    let people = list["people"].as_array().unwrap();
    assert_eq!(people.iter().map(|one| &one["username"]).collect::<Vec<_>>(), ["Ann", "Eve"], "{listed}");

    assert_eq!(host.ask(command("lobby-admit", "2")).await["type"], "policy-reply");
    let inside = ann.hear_type("room-joined").await;
    assert_eq!(host.hear_type("user-joined").await["publisherId"], inside["publisherId"]);
    // Once she is in, policy is asked about her again: she stays, and decides about nobody.
    assert_eq!(ann.ask(command("lobby-admit", "3")).await["code"], "forbidden");
    assert!(!ann.has_heard(|message| message["type"] == "revoked"));
    assert_eq!(eve.ask(join()).await["type"], "room-waiting");

    assert_eq!(host.ask(command("lobby-refuse", "3")).await["type"], "policy-reply");
    eve.hear_type("revoked").await;
    assert_eq!(eve.ask(join()).await["code"], "forbidden");
    ann.send(json!({ "type": "leave-room", "roomName": ROOM })).await;
    host.hear_type("user-left").await;
    assert_eq!(ann.ask(join()).await["type"], "room-joined", "who was let in may come back");
}

#[tokio::test]
async fn who_does_not_want_to_be_recorded_any_more_is_not() {
    // It is the command that ends it, and not that policy is asked again and again.
    let node = with("recording-consent", "recheck_ms = 3600000").await;
    let wire = RecorderWire::beside(&node);
    let _recorder = Recorder::through(&node, &wire).await;
    let browser = Browser::start().await;
    let page = browser.open(&node.url("/health")).await;
    page.enter("ann", &node, &Token::of(1, "Ann").can_record(), ROOM, "{}").await;
    page.run("await ann.publish([{ track: await devices.camera(320, 240, 30), source: 'camera' }])").await;
    let start = "return await ann.reply({ type: 'start-recording' })";
    assert_eq!(page.run(start).await["code"], "forbidden", "she has said nothing yet");
    let (bytes, _) = wire.sent_by_node();
    page.run(SEND).await;
    assert_eq!(wire.sent_by_node().0, bytes, "not one byte of her");

    let consents = page.run("return await ann.ask({ type: 'policy-command', name: 'consent', payload: '' })").await;
    assert_eq!(consents["payload"], "{\"recordable\": true}");
    page.run(start).await;
    until("packets to be recorded", async || (wire.sent_by_node().0 > 20_000).then_some(())).await;

    page.run(
        "await ann.ask({ type: 'policy-command', name: 'withdraw', payload: '' });
         await ann.hear('the end', ({ type, what }) => type === 'revoked' && what === 'recording')",
    )
    .await;
    // What was under way may still come; then nothing does, however much she sends.
    until("silence", async || (wire.sent_by_node().1.elapsed() > QUIET).then_some(())).await;
    let (bytes, _) = wire.sent_by_node();
    page.run(SEND).await;
    assert_eq!(wire.sent_by_node().0, bytes, "not one more byte");
    assert_eq!(page.run(start).await["code"], "forbidden");
}

/// Waits until Ann has sent 30 more frames.
const SEND: &str = "const sent = async () => Object.values(await ann.outbound())[0].framesSent;
    const before = await sent();
    await until('30 frames to be sent', async () => await sent() >= before + 30)";
/// No frame rate is so low.
const QUIET: Duration = Duration::from_millis(400);
