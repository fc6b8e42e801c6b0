//! Calls of clients whose network lets no UDP through, and what strangers may do at the media ports.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use lockgate_tests::{Call, Node, PrivateNetwork, Setup, Token, assert_unbroken, number, until};

/// Two who publish a camera each and watch the other's; both are `me` on their page.
struct Pair(Call);

impl Pair {
    async fn begin() -> Self {
        let call = Call::begin(Setup::default()).await.with_left("me", &Token::of(1, "Ann"), "{}").await;
        let call = call.with_right("me", &Token::of(2, "Bob"), "{}").await;
        let publish =
            "await me.publish([{ track: await devices.camera(320, 240, 20), source: 'camera', codec: 'vp8' }])";
        tokio::join!(call.left.run(publish), call.right.run(publish));
        let watch = "const { publisherId, tracks: [{ trackId }] } = await me.publisher();
                     globalThis.seen = trackId;
                     await me.subscribe(publisherId);
                     return await me.decoded(seen, 30)";
        let (first, second) = tokio::join!(call.left.run(watch), call.right.run(watch));
        [first, second].iter().for_each(assert_unbroken);
        Self(call)
    }

    /// Waits until both send and receive by this protocol, and see more of each other.
    async fn goes_by(&self, protocol: &str) {
        let goes = format!(
            "const receiving = () => until('the track', () => me.tracks.get(seen)?.connection);
             const paths = async () => [await me.path(me.sending), await me.path(await receiving())];
             const by = ({{ local, remote }}) => local.protocol === '{protocol}' && remote.protocol === '{protocol}';
             await until('all to go by {protocol}', async () => (await paths()).every(by))
                 .catch(async (error) => {{ throw new Error(`${{error.message}}: ${{JSON.stringify(await paths())}}`) }});
             const before = (await me.inbound(seen)).framesDecoded;
             await me.decoded(seen, before + 40);
             return await paths()"
        );
        for paths in [self.0.left.run(&goes).await, self.0.right.run(&goes).await] {
            assert!(paths.as_array().is_some_and(|paths| paths.len() == 2), "{paths}");
            assert!(paths[0]["local"]["candidateType"] != "relay", "{paths}");
        }
    }

    /// Both restart ICE, both ways.
    async fn restart(&self) {
        let restart = "await me.offer({ iceRestart: true });
                       await me.ask({ type: 'restart-ice' })";
        tokio::join!(self.0.left.run(restart), self.0.right.run(restart));
    }

    async fn port(&self) -> u16 {
        let port = self.0.left.run("return (await me.path(me.sending)).remote.port").await;
        port.as_u64().and_then(|port| port.try_into().ok()).unwrap_or_else(|| panic!("{port} is no port"))
    }

    async fn metric(&self, name: &str) -> f64 {
        self.0.node.metric(name).await
    }

    async fn ended(&self, reason: &str) -> f64 {
        self.metric(&format!("lockgate_tcp_ended_total{{reason=\"{reason}\"}}")).await
    }
}

#[test]
fn clients_without_udp_see_each_other_by_tcp_also_after_their_connections_were_cut() {
    let name = "tcp::clients_without_udp_see_each_other_by_tcp_also_after_their_connections_were_cut";
    PrivateNetwork::around(name, async |network| {
        network.block_udp();
        let call = Pair::begin().await;
        call.goes_by("tcp").await;
        let accepted = call.metric("lockgate_tcp_accepted_total").await;
        let cut = network.cut_tcp(call.port().await);
        assert!(cut >= 4, "{cut} connections");
        until("new connections", async || {
            (call.metric("lockgate_tcp_accepted_total").await >= accepted + 4.0).then_some(())
        })
        .await;
        call.goes_by("tcp").await;
        assert_eq!(call.metric("lockgate_send_failed_total{reason=\"other\"}").await, 0.0);
    });
}

#[test]
fn a_network_that_begins_and_ceases_to_let_udp_through_ends_no_call() {
    let name = "tcp::a_network_that_begins_and_ceases_to_let_udp_through_ends_no_call";
    PrivateNetwork::around(name, async |network| {
        let call = Pair::begin().await;
        call.goes_by("udp").await;
        network.block_udp();
        call.restart().await;
        call.goes_by("tcp").await;
        network.unblock();
        call.restart().await;
        call.goes_by("udp").await;
    });
}

/// No reset, no end, no packet: nobody says that the network is gone.
#[test]
fn on_a_network_that_died_connections_end_and_nobody_stays_who_has_no_other() {
    let name = "tcp::on_a_network_that_died_connections_end_and_nobody_stays_who_has_no_other";
    PrivateNetwork::around(name, async |network| {
        network.block_udp();
        let call = Pair::begin().await;
        call.goes_by("tcp").await;
        assert_eq!(call.metric("lockgate_transports").await, 4.0);
        let begun = Instant::now();
        network.silence_tcp(call.port().await);
        for (what, metric) in
            [("be closed", "lockgate_transports"), ("have no connections", "lockgate_tcp_connections")]
        {
            until(&format!("both to {what}"), async || (call.metric(metric).await == 0.0).then_some(())).await;
            eprintln!("the network is dead for {:.1} s: {metric} is 0", begun.elapsed().as_secs_f64());
        }
        assert_eq!(call.ended("peer").await, 0.0, "it was not dead");
    });
}

/// Nothing but checks and what the system asks keeps its connection.
#[test]
#[ignore = "thorough: it takes a minute or more of two processors"]
fn a_viewer_by_tcp_who_is_sent_nothing_for_a_minute_stays_and_sees_what_comes_then() {
    let name = "tcp::a_viewer_by_tcp_who_is_sent_nothing_for_a_minute_stays_and_sees_what_comes_then";
    PrivateNetwork::around(name, async |network| {
        network.block_udp();
        let call = Pair::begin().await;
        call.goes_by("tcp").await;
        let pause = "globalThis.connection = me.tracks.get(seen).connection;
                     globalThis.changes = [];
                     connection.onconnectionstatechange = connection.oniceconnectionstatechange = () => changes.push(connection.iceConnectionState);
                     globalThis.pair = async () => {
                         const stats = await connection.getStats();
                         const transport = [...stats.values()].find(({ type }) => type === 'transport');
                         return stats.get(transport.selectedCandidatePairId);
                     };
                     const { publisherId } = me.tracks.get(seen);
                     globalThis.set = (paused) => me.send({ type: 'set-layer', publisherId, trackId: seen, paused });
                     set(true);
                     await me.hear('the pause', ({ type, paused }) => type === 'layer-changed' && paused);
                     globalThis.look = async () => ({ all: (await pair()).packetsReceived, ...await pair(), ...await me.inbound(seen) });
                     globalThis.paused = await look();
                     return paused";
        let me = &call.0.right;
        me.run(pause).await;
        let (accepted, over) = (call.metric("lockgate_tcp_accepted_total").await, call.ended("peer").await);
        // A browser makes one each 2.5 s, so that these are a minute: four times what a connection lives without any.
        for checks in [12, 24] {
            let answered = format!(
                "await until('checks', async () => (await pair()).responsesReceived >= paused.responsesReceived + {checks})"
            );
            me.run(&answered).await;
        }
        let rested = "const now = await look();
                      return { changes, came: now.packetsReceived - paused.packetsReceived, all: now.all - paused.all, seconds: (now.timestamp - paused.timestamp) / 1000 }";
        let rested = me.run(rested).await;
        eprintln!(
            "for {:.0} s {} packets of the track came, {} of any kind",
            number(&rested, "seconds"),
            rested["came"],
            rested["all"]
        );
        // What was on its way when the pause was told.
        let few = number(&rested, "came") <= 20.0 && number(&rested, "all") <= 20.0;
        assert!(number(&rested, "seconds") >= 40.0 && few, "it did not rest: {rested}");
        assert_eq!(rested["changes"].as_array().map(Vec::len), Some(0), "{rested}");
        me.run("set(false); await me.decoded(seen, paused.framesDecoded + 40)").await;
        call.goes_by("tcp").await;
        let now = (call.metric("lockgate_tcp_accepted_total").await, call.ended("peer").await);
        assert_eq!(now, (accepted, over), "it came by the connection that rested");
        assert_eq!(call.ended("failed").await + call.ended("unused").await, 0.0);
    });
}

#[tokio::test]
async fn udp_is_used_where_both_work() {
    let call = Pair::begin().await;
    call.goes_by("udp").await;
    let told =
        "return me.sending.remoteDescription.sdp.split('\\r\\n').filter((line) => line.startsWith('a=candidate'))";
    let told = call.0.left.run(told).await.to_string();
    assert!(told.contains(" udp ") && told.contains("typ host tcptype passive"), "{told}");
}

#[tokio::test]
async fn strangers_at_the_media_ports_are_few_and_short_lived_and_a_call_goes_on_beside_them() {
    let call = Pair::begin().await;
    let address = format!("127.0.0.1:{}", call.port().await);
    let connect = || TcpStream::connect(&address).expect("the node listens");
    let own = call.metric("lockgate_tcp_connections").await;
    let memory = call.0.node.process().resident_kilobytes();
    let peers = call.ended("peer").await;
    let mut idle: Vec<_> = (0..500).map(|_| connect()).collect();
    let put_out = async |many: f64| {
        let enough = async || (call.ended("crowded").await + call.ended("no-check").await >= many).then_some(());
        until("idle ones to be put out", enough).await;
    };
    put_out(500.0 - NEWCOMERS).await;
    let connections = call.metric("lockgate_tcp_connections").await;
    assert!(connections <= own + NEWCOMERS, "{connections} connections");
    // Of those that stay, half say the beginning of a frame. None hangs up, and their time passes.
    for stranger in idle.iter_mut().step_by(2) {
        let _ = stranger.write_all(&[0, 100, 0]);
    }
    put_out(500.0).await;
    assert!(call.ended("no-check").await >= NEWCOMERS);
    let (peers, connections) = (call.ended("peer").await - peers, call.metric("lockgate_tcp_connections").await);
    assert!(peers <= own && connections <= own, "{peers} ended by themselves, {connections} connections");
    drop(idle);
    for (says, reason) in [(&[0xff; 9][..], "too-long"), (b"\0\x09\x16\xfe\xfd\0\0\0\0\0\0", "wrong-check")] {
        let before = call.ended(reason).await;
        for _ in 0..20 {
            let mut stranger = connect();
            stranger.write_all(says).expect("the system takes it");
            assert!(!matches!(stranger.read(&mut [0; 1]), Ok(1)), "nothing is said to it");
        }
        until("garbage to be counted", async || (call.ended(reason).await >= before + 20.0).then_some(())).await;
    }
    until("all to be gone", async || (call.metric("lockgate_tcp_connections").await <= own).then_some(())).await;
    let grown = call.0.node.process().resident_kilobytes().saturating_sub(memory);
    assert!(grown < 16 << 10, "the node holds {grown} KiB more");
    call.goes_by("udp").await;
}

#[tokio::test]
async fn a_node_takes_as_many_descriptors_as_the_system_allows_and_warns_where_these_are_few() {
    let node = Node::start(Setup { descriptors: Some([100, 700]), ..Setup::default() }).await;
    let limits = node.process().told("limits");
    let limit = limits.lines().find(|line| line.starts_with("Max open files")).map(|line| line.split_whitespace());
    assert_eq!(limit.map(|words| words.skip(3).take(2).collect()), Some(vec!["700"; 2]), "{limits}");
    let warns = |line: &str| line.contains("fewer file descriptors").then(|| line.to_owned());
    let warning = node.process().line("that they are few", warns).await;
    // A WebSocket each, 8192 connections by TCP, and the node's own.
    assert!(warning.contains("WARN") && warning.contains("limit=700 wanted=18704"), "{warning}");
    let clients: Vec<_> = (0..200).map(|_| TcpStream::connect(node.address()).expect("it listens")).collect();
    until("more clients than it was begun with", async || (node.process().descriptors() > clients.len()).then_some(()))
        .await;
    assert_eq!(node.get("/health").await.status, 200);
}

/// Connections of one address that have not said yet who they are, at the one media thread of a test's node.
const NEWCOMERS: f64 = 64.0;
