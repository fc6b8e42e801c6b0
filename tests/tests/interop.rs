//! Stacks of different makes publish by WHIP and view by WHEP, each pair of them.
//!
//! Chromium is there on every machine that runs these tests; aiortc where `LOCKGATE_PYTHON` (or `python3`) has it. With `LOCKGATE_WRITE_DOCS=1`
//! the table of `docs/interop.md` is written anew.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use lockgate_tests::{Browser, Node, Page, PrivateNetwork, Process, ROOM, Setup, Token, number};
use serde_json::Value;

/// A stack, as a publisher and as a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stack {
    Chromium,
    Aiortc,
}

impl Stack {
    fn name(self) -> &'static str {
        match self {
            Self::Chromium => "Chromium",
            Self::Aiortc => "aiortc",
        }
    }
}

fn python() -> String {
    std::env::var("LOCKGATE_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// The version of aiortc, if there is one.
fn aiortc() -> Option<String> {
    let output = Command::new(python()).args(["-c", "import aiortc; print(aiortc.__version__)"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Has aiortc publish, or view, until it is dropped or done.
fn client(act: &str, url: &str, token: &str, much: &str) -> Process {
    let mut command = Command::new(python());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks/aiortc_client.py"));
    command.args([act, url, token, much]);
    Process::start("aiortc", command)
}

/// The next line of JSON that a client prints.
async fn told(client: &Process, what: &str) -> Value {
    client.line(what, |line| serde_json::from_str(line).ok()).await
}

/// What one publisher is seen as by one viewer: pictures that were decoded.
async fn pair(node: &Node, page: &Page, publisher: Stack, viewer: Stack, room: &str) -> f64 {
    let (whip, whep) = (node.url(&format!("/whip/{room}")), node.url(&format!("/whep/{room}")));
    let (ann, bob) = (Token::of(1, "Ann").text(), Token::of(2, "Bob").text());
    let publishing = match publisher {
        Stack::Chromium => {
            let media = "[{ track: await devices.camera(320, 240, 20) }, { track: await devices.microphone() }]";
            page.run(&format!(
                "globalThis.ann = await Stream.publish({whip:?}, {ann:?}, {media}); await ann.connected()"
            ))
            .await;
            None
        }
        Stack::Aiortc => {
            let client = client("publish", &whip, &ann, "600");
            told(&client, "that it publishes").await;
            Some(client)
        }
    };
    let frames = match viewer {
        Stack::Chromium => {
            let view = format!(
                "const bob = await Stream.view({whep:?}, {bob:?}, ['video', 'audio']);
                 const seen = {{ ...await bob.decoded(0, 60), sound: (await bob.sounded(1, 24000)).totalSamplesReceived }};
                 await bob.end(); bob.connection.close();
                 return seen"
            );
            number(&page.run(&view).await, "framesDecoded")
        }
        Stack::Aiortc => {
            let client = client("view", &whep, &bob, "60");
            let seen = told(&client, "what it decoded").await;
            assert_eq!(seen["ended"], 200, "{seen}");
            number(&seen["frames"], "video")
        }
    };
    if publisher == Stack::Chromium {
        page.run("await ann.end(); ann.connection.close()").await;
    }
    drop(publishing);
    frames
}

#[test]
fn stacks_of_different_makes_publish_and_view_over_http() {
    PrivateNetwork::around("stacks_of_different_makes_publish_and_view_over_http", async |network| {
        // Some stacks find no address on loopback.
        let node = Node::start(Setup { also: Some(network.address()), ..Setup::default() }).await;
        let browser = Browser::start().await;
        let page = browser.open(&node.url("/health")).await;
        page.learn_http().await;
        let other = aiortc();
        if other.is_none() {
            eprintln!("{} has no aiortc: only Chromium is tried", python());
        }
        let stacks = if other.is_some() { &[Stack::Chromium, Stack::Aiortc][..] } else { &[Stack::Chromium] };
        let mut table = String::new();
        for publisher in stacks {
            for viewer in stacks {
                let room = format!("{ROOM}-{}-{}", publisher.name(), viewer.name());
                let frames = pair(&node, &page, *publisher, *viewer, &room).await;
                eprintln!("{} → {}: {frames} frames decoded", publisher.name(), viewer.name());
                assert!(frames >= 60.0);
                let (publisher, viewer) = (publisher.name(), viewer.name());
                writeln!(table, "| {publisher} | {viewer} | VP8, Opus | decoded |").expect("a text takes all");
            }
        }
        if let (Some(_), Some(version)) = (std::env::var_os("LOCKGATE_WRITE_DOCS"), other) {
            write_docs(&table, &version);
        }
    });
}

fn write_docs(table: &str, aiortc: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/interop.md");
    let text = format!(
        "# Which stacks were tried\n\n\
         Written by `tests/tests/interop.rs` with `LOCKGATE_WRITE_DOCS=1`: each publisher by WHIP with each viewer by WHEP, over one\n\
         node. A pair counts when the viewer has decoded 60 pictures, and sound. aiortc {aiortc} comes from PyPI; where `LOCKGATE_PYTHON` (or\n\
         `python3`) has none, the test tries Chromium alone.\n\n\
         | Publishes | Views | Codecs | Result |\n| --- | --- | --- | --- |\n{table}"
    );
    std::fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
