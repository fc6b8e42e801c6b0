//! A viewer on a bad network: a real browser behind the kernel's own rate limit and loss.

use lockgate_tests::{Browser, Node, Page, PrivateNetwork, Setup, Token};
use serde_json::Value;

/// A node, somebody who publishes and somebody who watches.
struct Call {
    ann: Page,
    bob: Page,
    _node: Node,
    _browser: Browser,
}

impl Call {
    async fn begin(setup: Setup) -> Self {
        let node = Node::start(setup).await;
        let browser = Browser::start().await;
        let (ann, bob) = (browser.open(&node.url("/health")).await, browser.open(&node.url("/health")).await);
        ann.enter("ann", &node, &Token::of(1, "Ann"), "board", "{ steered: true }").await;
        bob.enter("bob", &node, &Token::of(2, "Bob"), "board", "{}").await;
        Self { ann, bob, _node: node, _browser: browser }
    }

    /// The port at which the viewer receives.
    async fn port(&self) -> u16 {
        let port = self.bob.run("return await bob.port()").await;
        port.as_u64().and_then(|port| port.try_into().ok()).unwrap_or_else(|| panic!("{port} is no port"))
    }
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn a_viewer_that_loses_one_packet_in_twenty_sees_and_hears_nearly_everything() {
    let name = "a_viewer_that_loses_one_packet_in_twenty_sees_and_hears_nearly_everything";
    PrivateNetwork::around(name, async |network| {
        // One datagram is one packet to the filter then.
        let call = Call::begin(Setup { media: "sending = \"batched\"".into(), ..Setup::default() }).await;
        let publish =
            "await ann.publish([{ track: devices.noise(640, 360, 10), source: 'camera', codec: 'vp8', encodings: [
            { rid: 'low', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
            { rid: 'high', maxBitrate: 700_000 }] }])";
        call.ann.run(publish).await;
        let watch = "const { publisherId, tracks } = await bob.publisher(2);
                     const of = (kind) => tracks.find((track) => track.kind === kind).trackId;
                     globalThis.seen = { publisherId, trackId: of('video'), sound: of('audio') };
                     await bob.subscribe(publisherId);
                     await bob.decoded(seen.trackId, 30);
                     await bob.sounded(seen.sound, 48_000)";
        call.bob.run(watch).await;
        network.lose(call.port().await, 5);
        let noticed = "const from = bob.heard.length;
                       return await until('the loss to be told', () => bob.heard.slice(from).find(({ type, loss }) => type === 'quality' && loss > 0.02))";
        let quality = call.bob.run(noticed).await;

        let sent = "return (await ann.outbound())[Object.keys(await ann.outbound())[0]]";
        let both = "return { video: await bob.inbound(seen.trackId), audio: await bob.inbound(seen.sound) }";
        let (sent_before, before) = tokio::join!(call.ann.run(sent), call.bob.run(both));
        let more = number(&before["audio"], "totalSamplesReceived") + 20.0 * 48_000.0;
        call.bob.run(&format!("await bob.sounded(seen.sound, {more})")).await;
        let (sent_after, after) = tokio::join!(call.ann.run(sent), call.bob.run(both));

        let grown = |kind: &str, name: &str| number(&after[kind], name) - number(&before[kind], name);
        let sent = number(&sent_after, "framesSent") - number(&sent_before, "framesSent");
        let decoded = grown("video", "framesDecoded") / sent;
        let concealed = grown("audio", "concealedSamples") / grown("audio", "totalSamplesReceived");
        let lost = grown("audio", "packetsLost") / (grown("audio", "packetsReceived") + grown("audio", "packetsLost"));
        eprintln!(
            "5 % lost: {:.1} % of {sent} frames decoded, {} freezes, {} packets again; sound: {:.1} % of its packets lost, {:.2} % made up; quality {quality}",
            decoded * 100.0,
            grown("video", "freezeCount"),
            grown("video", "retransmittedPacketsReceived"),
            lost * 100.0,
            concealed * 100.0,
        );
        assert!(grown("video", "retransmittedPacketsReceived") > 10.0, "nothing was lost: {after}");
        assert!(decoded >= 0.95, "{:.1} % of the frames", decoded * 100.0);
        assert!(concealed <= 0.03, "{:.2} % of the sound", concealed * 100.0);
    });
}
