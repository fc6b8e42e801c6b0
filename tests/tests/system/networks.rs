//! A viewer on a bad network: a real browser behind the kernel's own rate limit and loss.

use lockgate_tests::{Call, PrivateNetwork, Setup, Token, number};
use serde_json::Value;

/// Ann sends what she is asked for; Bob watches, and enters with these options.
async fn begin(setup: Setup, bobs: &str) -> Call {
    let call = Call::begin(setup).await.with_left("ann", &Token::of(1, "Ann"), "{ steered: true }").await;
    call.with_right("bob", &Token::of(2, "Bob"), bobs).await
}

/// Ann sends two encodings that lie far apart; Bob sees the large one. Their rates come back, in kbit/s.
async fn watch_two_encodings(call: &Call) -> Value {
    let watch = "const { publisherId, tracks: [{ trackId }] } = await bob.publisher();
                 globalThis.seen = { publisherId, trackId };
                 await bob.subscribe(publisherId);
                 await until('the widest picture', async () => (await bob.inbound(trackId))?.frameWidth === 640);";
    call.right.run(watch).await;
    let rates = "const bytes = async () => Object.fromEntries(Object.entries(await ann.outbound()).map(([rid, one]) => [rid, [one.bytesSent, one.timestamp]]));
                 // Its own estimate takes a while to let it.
                 let first = await bytes();
                 return await until('two encodings that lie far apart', async () => {
                     const now = await bytes();
                     if (now.high[1] - first.high[1] < 3000) return null;
                     const before = first;
                     first = now;
                     const rates = Object.fromEntries(Object.keys(now).map((rid) => [rid, (now[rid][0] - before[rid][0]) * 8 / (now[rid][1] - before[rid][1])]));
                     return rates.low > 0 && rates.low * 2 < rates.high && rates;
                 })";
    call.left.run(rates).await
}

const TWO_ENCODINGS: &str =
    "await ann.publish([{ track: devices.noise(640, 360, 10), source: 'camera', codec: 'vp8', encodings: [
        { rid: 'low', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
        { rid: 'high', maxBitrate: 700_000 }] }])";

/// The port at which the viewer receives.
async fn port(call: &Call) -> u16 {
    as_port(&call.right.run("return await bob.port()").await)
}

fn as_port(port: &Value) -> u16 {
    port.as_u64().and_then(|port| port.try_into().ok()).unwrap_or_else(|| panic!("{port} is no port"))
}

/// The viewer's statistics of the picture, now.
const SEEN: &str = "return await bob.inbound(seen.trackId)";

/// What was told before does not count from here on.
const FROM_NOW: &str = "Object.assign(globalThis, { from: bob.heard.length, begun: performance.now() })";

/// Resolves, once a layer is told, with which, why, and how many seconds it took from then on.
fn told(spatial: u8) -> String {
    format!(
        "const is = ({{ type, spatial }}) => type === 'layer-changed' && spatial === {spatial};
         const told = await until('layer {spatial}', () => bob.heard.slice(from).find(is))
             .catch(async (error) => {{ throw new Error(`${{error.message}}: ${{JSON.stringify(bob.heard.slice(from))}}`) }});
         return {{ ...told, seconds: (performance.now() - begun) / 1000 }}"
    )
}

/// By what the viewer of a narrow link comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Udp,
    Tcp,
}

impl By {
    /// How the viewer enters.
    fn options(self) -> &'static str {
        match self {
            Self::Udp => "{}",
            // The publisher comes by UDP anyway.
            Self::Tcp => "{ edit: withoutUdp }",
        }
    }

    /// Packets to the viewer have so many kbit/s from now on.
    async fn narrow(self, network: &PrivateNetwork, call: &Call, kilobits: u64) {
        let path = call.right.run("return await bob.path([...bob.receiving.values()][0])").await;
        assert_eq!(path["local"]["protocol"], if self == Self::Tcp { "tcp" } else { "udp" }, "{path}");
        match self {
            Self::Udp => network.narrow(as_port(&path["local"]["port"]), kilobits),
            // A browser does not tell the port that it connects from.
            Self::Tcp => network.narrow_tcp_from(as_port(&path["remote"]["port"]), kilobits),
        }
    }
}

#[test]
fn a_viewer_behind_a_narrow_link_gets_what_fits_and_the_best_again_when_it_is_wide() {
    let name = "networks::a_viewer_behind_a_narrow_link_gets_what_fits_and_the_best_again_when_it_is_wide";
    narrow_and_wide(name, By::Udp);
}

#[test]
#[ignore = "thorough: it takes a minute or more of two processors"]
fn a_viewer_by_tcp_behind_a_narrow_link_gets_what_fits_too() {
    narrow_and_wide("networks::a_viewer_by_tcp_behind_a_narrow_link_gets_what_fits_too", By::Tcp);
}

fn narrow_and_wide(name: &str, by: By) {
    PrivateNetwork::around(name, async |network| {
        if by == By::Tcp {
            network.use_short_packets();
        }
        let call = begin(Setup::default(), by.options()).await;
        call.left.run(TWO_ENCODINGS).await;
        let rates = watch_two_encodings(&call).await;
        let limit = number(&rates, "low") * 1.5;

        let before = call.right.run(SEEN).await;
        call.right.run(FROM_NOW).await;
        by.narrow(&network, &call, limit as u64).await;
        let down = call.right.run(&told(0)).await;
        assert_eq!(down["reason"], "bandwidth", "{down}");
        let settled = call.right.run(SEEN).await;
        // It is to stay so for a while.
        let made = "return (await ann.outbound()).low.framesSent";
        let made_before = call.left.run(made).await;
        let later = format!("return await bob.decoded(seen.trackId, {} + 50)", number(&settled, "framesDecoded"));
        let later = call.right.run(&later).await;
        let made = call.left.run(made).await.as_f64().unwrap_or(0.0) - made_before.as_f64().unwrap_or(0.0);
        let grown = |name: &str| number(&later, name) - number(&settled, name);
        let freezes = number(&later, "freezeCount") - number(&before, "freezeCount");
        assert_eq!(later["frameWidth"], 160, "{later}");
        let heard = call.right.run("return bob.heard.filter(({ type }) => type === 'layer-changed').map(({ spatial, reason }) => [spatial, reason])").await;
        eprintln!(
            "publisher: {rates} kbit/s; behind {limit:.0} kbit/s: the fitting layer after {:.1} s, 50 of {made} frames in {:.1} s, \
             {freezes} freezes ({:.2} s); told {heard}",
            number(&down, "seconds"),
            grown("timestamp") / 1000.0,
            number(&later, "totalFreezesDuration") - number(&before, "totalFreezesDuration"),
        );

        call.right.run(FROM_NOW).await;
        network.widen();
        let up = call.right.run(&told(1)).await;
        let last = call.right.run(SEEN).await;
        let all = number(&last, "freezeCount") - number(&before, "freezeCount");
        eprintln!("wide again: the best layer after {:.1} s, {all} freezes in all", number(&up, "seconds"));
        // By TCP what the link drops comes again, and what is behind it waits.
        assert!(by == By::Tcp || freezes <= MOST_FREEZES, "{freezes} freezes: {later}");
        // How many pictures there is room for is the link's to say, and the machine's. What comes is of use.
        let (came, decoded) = (grown("framesReceived"), grown("framesDecoded"));
        assert!(decoded >= 0.9 * came, "of {came} pictures that came {decoded} could be shown: {later}");
    });
}

/// Its estimate is made by the browser, and told as a number (REMB) in place of when each packet came.
#[test]
#[ignore = "thorough: it takes a minute or more of two processors"]
fn a_viewer_that_tells_only_an_estimate_gets_what_fits_too() {
    let name = "networks::a_viewer_that_tells_only_an_estimate_gets_what_fits_too";
    PrivateNetwork::around(name, async |network| {
        let call = begin(Setup::default(), "{ edit: withoutTransportFeedback }").await;
        call.left.run(TWO_ENCODINGS).await;
        let rates = watch_two_encodings(&call).await;
        let answered = "return [...bob.receiving.values()][0].localDescription.sdp";
        let answered = call.right.run(answered).await.to_string();
        assert!(answered.contains("goog-remb") && !answered.contains("transport-cc"), "{answered}");
        let before = call.right.run(SEEN).await;
        call.right.run(FROM_NOW).await;
        let limit = number(&rates, "low") * 1.5;
        network.narrow(port(&call).await, limit as u64);
        let down = call.right.run(&told(0)).await;
        assert_eq!(down["reason"], "bandwidth", "{down}");
        let narrow = "const first = await until('the small picture', async () => {
                          const now = await bob.inbound(seen.trackId);
                          return now.frameWidth === 160 && now;
                      });
                      return await bob.decoded(seen.trackId, first.framesDecoded + 50)";
        let settled = call.right.run(narrow).await;
        assert_eq!(settled["frameWidth"], 160, "{settled}");
        eprintln!(
            "by REMB, {rates} kbit/s behind {limit:.0}: the fitting layer after {:.1} s, {} freezes",
            number(&down, "seconds"),
            number(&settled, "freezeCount") - number(&before, "freezeCount"),
        );
    });
}

/// A publisher that takes no transport-wide feedback is told an estimate of the node's, and sends no more than that.
#[test]
#[ignore = "thorough: it takes a minute or more of two processors"]
fn a_publisher_that_takes_only_an_estimate_sends_what_its_link_carries() {
    let name = "networks::a_publisher_that_takes_only_an_estimate_sends_what_its_link_carries";
    PrivateNetwork::around(name, async |network| {
        let call = Call::begin(Setup::default()).await;
        let call = call.with_left("ann", &Token::of(1, "Ann"), "{ edit: withoutTransportFeedback }").await;
        let publish = "await ann.publish([{ track: devices.noise(640, 360, 10), source: 'camera', codec: 'vp8', encodings: [{ maxBitrate: 900_000 }] }]);
                       globalThis.target = async () => Object.values(await ann.outbound())[0].targetBitrate;
                       await until('all that it may send', async () => await target() >= 800_000);
                       return ann.sending.remoteDescription.sdp";
        let answer = call.left.run(publish).await.to_string();
        assert!(answer.contains("goog-remb") && !answer.contains("transport-cc"), "{answer}");
        let port = as_port(&call.left.run("return (await ann.path(ann.sending)).remote.port").await);
        let until_told = |what: &str, is: &str| {
            format!(
                "const begun = performance.now();
                 await until('{what}', async () => await target() {is})
                     .catch(async (error) => {{ throw new Error(`${{error.message}}: ${{await target()}}`) }});
                 return (performance.now() - begun) / 1000"
            )
        };
        // Browsers go down by themselves when they are told of loss: there is to be none.
        network.narrow_without_loss(port, 300);
        let down = call.left.run(&until_told("no more than fits", "<= 300_000")).await;
        let (dropped, lost) = (network.dropped(), call.left.run(LOST).await);
        assert_eq!((dropped, lost.as_f64()), (0, Some(0.0)), "it may have gone down for what was lost");
        network.widen();
        let up = call.left.run(&until_told("more again", ">= 600_000")).await;
        eprintln!("a publisher by REMB: under 300 kbit/s after {down} s, over 600 again after {up} s");
    });
}

/// There is none or one where the machine keeps up; where it does not, pictures stand for its own reasons, too.
const MOST_FREEZES: f64 = 3.0;

/// What the node has told the publisher to be lost.
const LOST: &str =
    "const stats = [...(await ann.sending.getStats()).values()].filter(({ type }) => type === 'remote-inbound-rtp');
                    return stats.length ? Math.max(...stats.map(({ packetsLost }) => packetsLost)) : null";

#[test]
fn a_viewer_that_loses_one_packet_in_twenty_sees_and_hears_nearly_everything() {
    one_in_twenty_lost("networks::a_viewer_that_loses_one_packet_in_twenty_sees_and_hears_nearly_everything", "{}");
}

/// It is sent them as they were, as many clients that are no browsers expect it.
#[test]
#[ignore = "thorough: it takes a minute or more of two processors"]
fn a_viewer_without_a_source_for_repairs_that_loses_packets_sees_nearly_everything_too() {
    let name = "networks::a_viewer_without_a_source_for_repairs_that_loses_packets_sees_nearly_everything_too";
    one_in_twenty_lost(name, "{ edit: withoutRepairs }");
}

fn one_in_twenty_lost(name: &str, bobs: &str) {
    PrivateNetwork::around(name, async |network| {
        // One datagram is one packet to the filter then.
        let call = begin(Setup { media: "sending = \"batched\"".into(), ..Setup::default() }, bobs).await;
        let publish = "await ann.publish([{ track: devices.noise(320, 180, 15), source: 'camera', codec: 'vp8', encodings: [{ maxBitrate: 500_000 }] },
                                          { track: await devices.microphone(), source: 'microphone' }])";
        call.left.run(publish).await;
        let watch = "const { publisherId, tracks } = await bob.publisher(2);
                     const of = (kind) => tracks.find((track) => track.kind === kind).trackId;
                     globalThis.seen = { publisherId, trackId: of('video'), sound: of('audio') };
                     await bob.subscribe(publisherId);
                     await bob.decoded(seen.trackId, 30);
                     await bob.sounded(seen.sound, 48_000)";
        call.right.run(watch).await;
        call.right.run(FROM_NOW).await;
        network.lose(port(&call).await, 5);
        let noticed = "return await until('the loss to be told', () => bob.heard.slice(from).find(({ type, loss }) => type === 'quality' && loss > 0.02))";
        let quality = call.right.run(noticed).await;

        let sent = "return (await ann.outbound())[Object.keys(await ann.outbound())[0]]";
        let both = "return { video: await bob.inbound(seen.trackId), audio: await bob.inbound(seen.sound) }";
        let again = async || call.node.metric("lockgate_retransmissions_sent_total").await;
        let again_before = again().await;
        let (sent_before, before) = tokio::join!(call.left.run(sent), call.right.run(both));
        let more = number(&before["audio"], "totalSamplesReceived") + 20.0 * 48_000.0;
        call.right.run(&format!("await bob.sounded(seen.sound, {more})")).await;
        let (sent_after, after) = tokio::join!(call.left.run(sent), call.right.run(both));
        let again = again().await - again_before;

        let grown = |kind: &str, name: &str| number(&after[kind], name) - number(&before[kind], name);
        let sent = number(&sent_after, "framesSent") - number(&sent_before, "framesSent");
        let decoded = grown("video", "framesDecoded") / sent;
        let concealed = grown("audio", "concealedSamples") / grown("audio", "totalSamplesReceived");
        let lost = grown("audio", "packetsLost") / (grown("audio", "packetsReceived") + grown("audio", "packetsLost"));
        eprintln!(
            "5 % lost: {:.1} % of {sent} frames decoded, {} freezes, {again} packets again; sound: {:.1} % of its packets lost, {:.2} % made up; quality {quality}",
            decoded * 100.0,
            grown("video", "freezeCount"),
            lost * 100.0,
            concealed * 100.0,
        );
        assert!(again > 10.0, "nothing was lost: {after}");
        assert!(decoded >= 0.95, "{:.1} % of the frames", decoded * 100.0);
        assert!(concealed <= 0.03, "{:.2} % of the sound", concealed * 100.0);
    });
}
