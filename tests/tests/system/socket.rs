//! The dialect of Rheomesh's examples over a raw socket: who is let in, what is answered, and what ends a client.

use lockgate_tests::{Client, Node, ROOM, Setup, Token, camera_offer, until};
use serde_json::{Value, json};

/// A socket of this room, with a token or without.
async fn come(node: &Node, room: &str, token: Option<&Token>) -> Client {
    let token = token.map(|token| format!("&token={}", token.text())).unwrap_or_default();
    Client::connect(&format!("ws://{}/socket?room={room}{token}", node.address())).await
}

async fn hear(client: &mut Client, action: &str) -> Value {
    client.hear(action, |message| message["action"] == action).await
}

/// An `Offer` of one camera, which never connects.
fn offer() -> Value {
    json!({ "action": "Offer", "sdp": { "type": "offer", "sdp": camera_offer()["offer"] } })
}

#[tokio::test]
async fn whoever_offers_is_answered_and_whoever_listens_is_told() {
    let node = Node::plain().await;
    let (mut ann, mut bob) =
        (come(&node, ROOM, Some(&Token::of(1, "Ann"))).await, come(&node, ROOM, Some(&Token::of(2, "Bob"))).await);
    for client in [&mut ann, &mut bob] {
        for action in ["PublisherInit", "SubscriberInit"] {
            client.send(json!({ "action": action })).await;
        }
    }
    ann.send(json!({ "action": "RequestPublish" })).await;
    hear(&mut ann, "StartAsPublisher").await;
    ann.send(offer()).await;
    let answer = hear(&mut ann, "Answer").await;
    assert!(answer["sdp"]["sdp"].as_str().is_some_and(|sdp| sdp.contains("a=recvonly")), "{answer}");
    let published = hear(&mut bob, "Published").await;
    let track = published["publisherIds"][0].clone();
    bob.send(json!({ "action": "Subscribe", "publisherId": track })).await;
    let offered = hear(&mut bob, "Offer").await;
    let sdp = offered["sdp"]["sdp"].as_str().unwrap_or_default();
    assert!(sdp.contains(&format!(" {}\r\n", track.as_str().unwrap_or_default())), "{sdp}");
    assert_eq!(hear(&mut bob, "Subscribed").await["subscriberId"], track);
    // Whoever comes by the other door is in the same room.
    let (mut eve, joined) = node.enter(&Token::of(3, "Eve"), ROOM).await;
    assert_eq!(joined["participants"].as_array().map(Vec::len), Some(2), "{joined}");
    assert_eq!(eve.hear_type("new-publisher").await["tracks"][0]["trackId"], track);
    ann.send(json!({ "action": "StopPublish", "publisherId": track })).await;
    eve.hear_type("publisher-left").await;
    // A socket that is gone has left: nobody can come back to it.
    drop(ann);
    eve.hear("that Ann left", |message| message["type"] == "user-left" && message["username"] == "Ann").await;
}

#[tokio::test]
async fn without_a_token_policy_says_who_may_come() {
    let node = Node::plain().await;
    let mut client = come(&node, ROOM, None).await;
    assert_eq!(hear(&mut client, "Error").await["code"], "unauthenticated");
    assert_eq!(client.closed().await, 4401);
    let next = "[[plugin]]\nname = \"room-admission\"";
    node.reconfigure(&format!("\n{next}"), &format!("anonymous = \"loopback\"\n{next}"));
    assert_eq!(node.reload().await.0, 200);
    let mut client = come(&node, ROOM, None).await;
    client.send(json!({ "action": "Ping" })).await;
    hear(&mut client, "Pong").await;
    client.send(offer()).await;
    let answer = hear(&mut client, "Answer").await;
    assert!(answer["sdp"]["sdp"].as_str().is_some_and(|sdp| sdp.contains("a=recvonly")), "{answer}");
}

#[tokio::test]
async fn a_room_that_lets_nobody_in_says_why_and_closes() {
    let admission = "[plugin.settings.rooms.small]\ncapacity = 1\n".to_owned();
    let node = Node::start(Setup { admission, ..Setup::default() }).await;
    let _first = node.enter(&Token::of(1, "Ann"), "small").await;
    let mut client = come(&node, "small", Some(&Token::of(2, "Bob"))).await;
    assert_eq!(hear(&mut client, "Error").await["code"], "room-full");
    assert_eq!(client.closed().await, 1008);
    until("it to be gone", async || (node.metric("lockgate_connections").await == 1.0).then_some(())).await;
}

#[tokio::test]
async fn whoever_is_put_out_is_told_and_closed() {
    let node = Node::plain().await;
    let (mut host, _) = node.enter(&Token::of(1, "Host"), ROOM).await;
    let mut client = come(&node, ROOM, Some(&Token::of(2, "Bob"))).await;
    let came = host.hear_type("user-joined").await;
    node.revoke(&came["publisherId"], &json!({ "reason": "see you tomorrow" })).await;
    assert_eq!(hear(&mut client, "Error").await["message"], "see you tomorrow");
    assert_eq!(client.closed().await, 1008);
}

#[tokio::test]
async fn a_token_that_ends_ends_the_socket() {
    let node = Node::plain().await;
    let mut client = come(&node, ROOM, Some(&Token::of(1, "Ann").expiring_in(6))).await;
    let told = client.hear("the end", |message| message["code"] == "token-expired").await;
    assert_eq!(told["action"], "Error");
    assert_eq!(client.closed().await, 4401);
}

#[tokio::test]
async fn what_cannot_be_done_is_told_and_every_offer_is_answered() {
    let node = Node::plain().await;
    let mut client = come(&node, ROOM, Some(&Token::of(1, "Ann"))).await;
    for (message, code) in [
        (json!({ "action": "Subscribe", "publisherId": "nobody" }), "not-found"),
        (json!({ "action": "StopSubscribe", "subscriberId": "nobody" }), "not-found"),
        (json!({ "action": "StopPublish", "publisherId": "nobody" }), "not-found"),
        (json!({ "action": "Answer", "sdp": "v=0" }), "invalid-sdp"),
        (json!({ "action": "Fly" }), "unknown-message"),
        (json!({ "action": "PublisherIce", "candidate": "candidate:nonsense" }), "invalid-message"),
    ] {
        client.send(message.clone()).await;
        let told = hear(&mut client, "Error").await;
        assert_eq!((&told["code"], &told["of"]), (&json!(code), &message["action"]), "{told}");
    }
    let bad = json!({ "action": "Offer", "sdp": "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 X 96\r\na=mid:0\r\n" });
    client.send(bad).await;
    let answer = hear(&mut client, "Answer").await;
    assert!(answer["sdp"]["sdp"].as_str().is_some_and(|sdp| sdp.contains("m=video 0 ")), "{answer}");
    assert_eq!(hear(&mut client, "Error").await["code"], "invalid-sdp");
    // Of what is not there nothing can be recorded.
    for action in ["Record", "StartRecording"] {
        client.send(json!({ "action": action, "publisherId": "nobody" })).await;
        let told = hear(&mut client, "RecordingError").await;
        assert!(told["error"].as_str().is_some_and(|error| !error.is_empty()), "{told}");
    }
}
