//! A call through a TURN server: for clients whose network lets nothing else through.

use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use lockgate_tests::{Call, Process, Setup, Token, assert_unbroken};
use tempfile::TempDir;

#[tokio::test]
async fn clients_that_reach_only_a_turn_server_hear_and_see_each_other() {
    let turn = Turn::start(SECRET).await;
    let call = Call::begin(turn.told()).await.with_left("ann", &Token::of(1, "Ann"), RELAYED).await;
    let Call { left: ann, right: bob, .. } = &call.with_right("bob", &Token::of(2, "Bob"), RELAYED).await;
    let publish = "await ann.publish([{ track: await devices.camera(320, 240, 20), source: 'camera', codec: 'vp8' }]);
                   return await ann.path(ann.sending)";
    let sent_over = ann.run(publish).await;
    let watch = "const { publisherId, tracks } = await bob.publisher();
                 await bob.subscribe(publisherId);
                 const seen = await bob.decoded(tracks[0].trackId, 60);
                 return { seen, path: await bob.path(bob.tracks.get(tracks[0].trackId).connection) }";
    let watched = bob.run(watch).await;
    assert_unbroken(&watched["seen"]);
    for path in [&sent_over, &watched["path"]] {
        assert_eq!(
            (&path["local"]["candidateType"], &path["local"]["relayProtocol"]),
            (&"relay".into(), &"tcp".into())
        );
    }
}

#[tokio::test]
async fn a_credential_of_another_secret_opens_no_way() {
    let turn = Turn::start("another secret than the node's").await;
    let call = Call::begin(turn.told()).await.with_left("ann", &Token::of(1, "Ann"), RELAYED).await;
    let refused = "const connection = new RTCPeerConnection(ann.configuration);
                   connection.addTransceiver('video');
                   const refused = new Promise((resolve) => (connection.onicecandidateerror = resolve));
                   await connection.setLocalDescription();
                   const { errorCode, url } = await refused;
                   return { errorCode, url }";
    let refused = call.left.run(refused).await;
    // RFC 8656 §5: not authorised.
    assert_eq!(refused["errorCode"], 401, "{refused}");
}

/// A running TURN server.
struct Turn {
    port: u16,
    /// With the secret that the node has.
    folder: TempDir,
    _process: Process,
}

impl Turn {
    async fn start(secret: &str) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("there is a place for a folder"));
        std::fs::write(folder.path().join("secret"), SECRET).expect("the folder is ours");
        let mut command = Command::new("turnserver");
        command.args(["-n", "--log-file=stdout", "--simple-log", "--no-cli", "--no-tls", "--no-dtls", "--verbose"]);
        command.args([
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            "--allow-loopback-peers",
            "--realm=lockgate",
        ]);
        command.arg(format!("--listening-port={port}")).arg("--pidfile=/dev/null");
        command.arg("--userdb").arg(folder.path().join("users"));
        command.arg("--use-auth-secret").arg(format!("--static-auth-secret={secret}"));
        let process = Process::start("turnserver", command);
        process.line("that it listens", |line| line.contains("TCP listener opened").then_some(())).await;
        Self { port, folder, _process: process }
    }

    /// A node that names it to its clients, by TCP only.
    fn told(&self) -> Setup {
        let (port, file) = (self.port, self.folder.path().join("secret"));
        let media =
            format!("ice_servers = [\"turn:127.0.0.1:{port}?transport=tcp\"]\nturn_secret = {{ file = {file:?} }}");
        Setup { media, ..Setup::default() }
    }
}

/// A port that is free for TCP and for UDP.
fn free_port() -> u16 {
    let held = std::iter::repeat_with(|| TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr()));
    let ports = held.filter_map(Result::ok).map(|address| address.port());
    ports.take(100).find(|port| UdpSocket::bind(("127.0.0.1", *port)).is_ok()).expect("some port is free")
}

/// For a page that may use nothing but relays.
const RELAYED: &str = "{ iceTransportPolicy: 'relay' }";
const SECRET: &str = "what the node and its TURN server know";
