//! Data channels between real browsers.

use lockgate_tests::{Call, Setup, Token};
use serde_json::{Value, json};

/// Ann on one page, Bob, Cat and Eve on another; Eve's token allows no data.
async fn begin(setup: Setup) -> Call {
    let call = Call::between_ann_and_bob(setup).await;
    let call = call.with_right("cat", &Token::of(3, "Cat"), "{ subscribeConnections: 'per-publisher' }").await;
    call.with_right("eve", &Token::of(4, "Eve").claim("canData", json!(false)), "{}").await
}

/// What Bob and Cat got on a channel when so many messages have come.
async fn messages(call: &Call, label: &str, count: usize) -> [Value; 2] {
    let got = async |who: &str| call.right.run(&format!("return await {who}.messages('{label}', {count})")).await;
    [got("bob").await, got("cat").await]
}

/// Opens an ordered and an unordered channel to everybody who may have them.
const OPEN: &str = "globalThis.chat = await ann.openChannel('chat', { protocol: 'words' });
                    globalThis.cursor = await ann.openChannel('cursor', { ordered: false, maxRetransmits: 0 });
                    return [chat.id, cursor.id]";
const FOLLOW: &str = "const { publisherId, tracks } = await bob.publisher(2);
     for (const who of [bob, cat]) {
         await who.subscribe(publisherId);
         await until('both channels', () => ['chat', 'cursor'].every((label) => who.channels.get(label)?.channel.readyState === 'open'));
     }
     const { channel } = bob.channels.get('cursor');
     return { tracks, ordered: channel.ordered, maxRetransmits: channel.maxRetransmits, id: channel.id,
              protocol: bob.channels.get('chat').channel.protocol, problems: [...bob.problems, ...cat.problems] }";

#[tokio::test]
async fn every_message_reaches_everybody_who_may_have_it_in_order() {
    let call = begin(Setup::default()).await;
    call.left.run(OPEN).await;
    let seen = call.right.run(FOLLOW).await;
    let chat = json!({
        "trackId": "chat", "kind": "data", "source": "data", "simulcast": false, "muted": false,
        "channel": { "label": "chat", "protocol": "words", "ordered": true },
    });
    assert_eq!(seen["tracks"][0], chat);
    assert_eq!(
        (&seen["ordered"], &seen["maxRetransmits"], &seen["protocol"]),
        (&json!(false), &json!(0), &json!("words"))
    );
    assert_eq!((seen["id"].as_u64().unwrap() % 2, &seen["problems"]), (1, &json!([])), "an id of ours, never 0");

    let say = "const long = Uint8Array.from({ length: 100_000 }, (_, at) => at * 7);
               for (const message of ['hello', '', new ArrayBuffer(0), long.buffer, 'schön']) chat.send(message);
               for (let at = 0; at < 200; at++) chat.send(String(at));
               for (let at = 0; at < 50; at++) cursor.send(new Uint8Array([at]));
               return digest(long.buffer)";
    let long = call.left.run(say).await;
    assert_eq!(long["length"], 100_000);
    let words = [json!("hello"), json!(""), json!({ "length": 0, "sum": 0 }), long, json!("schön")];
    let expected: Vec<_> = words.into_iter().chain((0..200).map(|at: u32| json!(at.to_string()))).collect();
    for got in messages(&call, "chat", 205).await {
        assert_eq!(got.as_array().unwrap(), &expected);
    }
    // A few may be lost, as nothing is sent again; what comes is what was sent, once.
    let marks: Vec<_> = (0..50).map(|at| json!({ "length": 1, "sum": at })).collect();
    for got in messages(&call, "cursor", 45).await {
        let got = got.as_array().unwrap();
        assert!(got.iter().all(|mark| marks.contains(mark)), "{got:?}");
        assert!(got.iter().enumerate().all(|(at, mark)| !got[..at].contains(mark)), "one came twice: {got:?}");
    }

    let denied = call.right.run(
        "const asked = await eve.reply({ type: 'subscribe-request', publisherId: (await bob.publisher(2)).publisherId });
         return { code: asked.code, told: eve.heard.filter(({ type }) => type === 'new-publisher').length, channels: eve.channels.size }",
    );
    assert_eq!(denied.await, json!({ "code": "forbidden", "told": 0, "channels": 0 }));
    let refused = call.right.run(
        "const channel = eve.openChannel('mine').catch((error) => error);
         const { tracks } = await eve.hear('the answer', ({ type }) => type === 'publish-answer');
         eve.sending.close();
         return tracks[0].code",
    );
    assert_eq!(refused.await, "forbidden");
    assert_eq!(call.node.metric("lockgate_data_channels").await, 2.0);
    assert_eq!(call.node.metric("lockgate_dropped_total{reason=\"data-violation\"}").await, 0.0);
}

#[tokio::test]
async fn a_camera_that_comes_later_leaves_channels_as_they_are() {
    let call = begin(Setup::default()).await;
    call.left.run(OPEN).await;
    call.right.run(FOLLOW).await;
    call.left
        .run(
            "chat.send('before'); await ann.publish([{ track: await devices.camera(320, 240, 15), source: 'camera' }])",
        )
        .await;
    let seen = call
        .right
        .run(
            "const { tracks } = await bob.publisher(3);
             const camera = tracks.find(({ kind }) => kind === 'video').trackId;
             await eve.subscribe((await eve.publisher()).publisherId);
             return [await bob.decoded(camera, 20), await cat.decoded(camera, 20), await eve.decoded(camera, 20)]",
        )
        .await;
    assert_eq!(seen.as_array().map(Vec::len), Some(3));
    call.left.run("chat.send('after')").await;
    for got in messages(&call, "chat", 2).await {
        assert_eq!(got, json!(["before", "after"]));
    }
    // Ann closes one: it closes for everybody, and nobody is told of it any more.
    call.left.run("cursor.close()").await;
    let left = call.right.run(
        "for (const who of [bob, cat]) await until('the end', () => who.channels.get('cursor').channel.readyState === 'closed');
         const shorter = ({ type, tracks }) => type === 'new-publisher' && tracks.length === 2 && tracks.some(({ kind }) => kind === 'video');
         await bob.hear('the shorter list', shorter);
         return [bob.channels.get('chat').channel.readyState, eve.channels.size, [...bob.problems, ...cat.problems, ...eve.problems]]",
    );
    assert_eq!(left.await, json!(["open", 0, []]));
    // A viewer that wants no more gets no more.
    let over = call.right.run(
        "const { publisherId } = await bob.publisher(2);
         await bob.ask({ type: 'unsubscribe', publisherId, trackIds: ['chat'] });
         await until('the end', () => bob.channels.get('chat').channel.readyState === 'closed');
         return cat.channels.get('chat').channel.readyState",
    );
    assert_eq!(over.await, "open");
}

#[tokio::test]
async fn messages_cross_workers() {
    let call = begin(Setup { room_spread: Some(1), ..Setup::default() }).await;
    call.left.run(OPEN).await;
    call.right.run(FOLLOW).await;
    let say = "const long = Array.from({ length: 20 }, (_, at) => new Uint8Array(20_000).fill(at));
               for (const message of long) chat.send(message);
               return long.map(({ buffer }) => digest(buffer))";
    let said = call.left.run(say).await;
    for got in messages(&call, "chat", 20).await {
        assert_eq!(got, said);
    }
    assert_eq!(call.node.metric("lockgate_pipes").await, 2.0, "both ends of one");
    assert_eq!(call.node.metric("lockgate_dropped_total{reason=\"pipe-frame\"}").await, 0.0);
}
