//! Stacks of different makes publish by WHIP and view by WHEP, each pair of them.
//!
//! Chromium is there on every machine that runs these tests; aiortc where `LOCKGATE_PYTHON` (or `python3`) has it. What they negotiate is
//! what `docs/interop.md` says; with `LOCKGATE_WRITE_DOCS=1` its table is written anew.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
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

/// What one publisher is seen as by one viewer.
struct Seen {
    /// Pictures that were decoded.
    pictures: f64,
    /// What is sent, of pictures and of sound, as the viewer names it.
    codecs: Vec<String>,
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

/// Has a stack publish a picture and a sound, a client as long as it lives.
async fn publish(node: &Node, page: &Page, publisher: Stack, room: &str) -> Option<Process> {
    let (whip, token) = (node.url(&format!("/whip/{room}")), Token::of(1, "Ann").text());
    match publisher {
        Stack::Chromium => {
            let media = "[{ track: await devices.camera(320, 240, 20) }, { track: await devices.microphone() }]";
            page.run(&format!(
                "globalThis.ann = await Stream.publish({whip:?}, {token:?}, {media}); await ann.connected()"
            ))
            .await;
            None
        }
        Stack::Aiortc => {
            let client = client("publish", &whip, &token, "600");
            told(&client, "that it publishes").await;
            Some(client)
        }
    }
}

/// Has a stack view until it has decoded enough.
async fn view(node: &Node, page: &Page, viewer: Stack, room: &str) -> Seen {
    let (whep, token) = (node.url(&format!("/whep/{room}")), Token::of(2, "Bob").text());
    let seen = match viewer {
        Stack::Chromium => {
            let view = format!(
                "const bob = await Stream.view({whep:?}, {token:?}, ['video', 'audio']);
                 const [picture, sound] = [await bob.decoded(0, 60), await bob.sounded(1, 24000)];
                 const {{ status }} = await bob.end();
                 bob.connection.close();
                 const codecs = [picture, sound].map(({{ codec }}) => codec.split('/')[1]);
                 return {{ frames: {{ video: picture.framesDecoded }}, codecs, ended: status }}"
            );
            page.run(&view).await
        }
        Stack::Aiortc => told(&client("view", &whep, &token, "60"), "what it decoded").await,
    };
    assert_eq!(seen["ended"], 200, "{seen}");
    let codecs = seen["codecs"].as_array().expect("the codecs of its lines").iter();
    let codecs = codecs.map(|codec| codec.as_str().expect("a codec's name").to_owned()).collect();
    Seen { pictures: number(&seen["frames"], "video"), codecs }
}

/// Has one stack publish and another one view.
async fn pair(node: &Node, page: &Page, publisher: Stack, viewer: Stack) -> Seen {
    let room = format!("{ROOM}-{}-{}", publisher.name(), viewer.name());
    let publishing = publish(node, page, publisher, &room).await;
    let seen = view(node, page, viewer, &room).await;
    if publisher == Stack::Chromium {
        page.run("await ann.end(); ann.connection.close()").await;
    }
    drop(publishing);
    seen
}

#[test]
fn stacks_of_different_makes_publish_and_view_over_http() {
    PrivateNetwork::around("stacks_of_different_makes_publish_and_view_over_http", async |network| {
        // Some stacks find no address on loopback.
        network.plug("beside", &ADDRESS.to_string());
        let node = Node::start(Setup { also: Some(ADDRESS.into()), ..Setup::default() }).await;
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
                let Seen { pictures, codecs } = pair(&node, &page, *publisher, *viewer).await;
                let (publisher, viewer, codecs) = (publisher.name(), viewer.name(), codecs.join(", "));
                eprintln!("{publisher} → {viewer}: {pictures} pictures decoded, {codecs}");
                assert!(pictures >= 60.0);
                table += &format!("| {publisher} | {viewer} | {codecs} | decoded |\n");
            }
        }
        match (std::env::var_os("LOCKGATE_WRITE_DOCS"), other) {
            (Some(_), Some(version)) => write_docs(&table, &version),
            _ => assert_documented(&table),
        }
    });
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/interop.md")
}

/// What was seen is what people are told.
fn assert_documented(table: &str) {
    let file = docs();
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    // Names of codecs are the same in capitals (RFC 4855 §3).
    let text = text.to_lowercase();
    for row in table.lines() {
        assert!(text.contains(&row.to_lowercase()), "{} does not say: {row}", file.display());
    }
}

fn write_docs(table: &str, aiortc: &str) {
    let file = docs();
    let text = format!(
        "# Which stacks were tried\n\n\
         Written by `tests/tests/interop.rs` with `LOCKGATE_WRITE_DOCS=1`: each publisher by WHIP with each viewer by WHEP, over one\n\
         node. A pair counts when the viewer has decoded 60 pictures, and sound. aiortc {aiortc} comes from PyPI; where `LOCKGATE_PYTHON` (or\n\
         `python3`) has none, the test tries Chromium alone.\n\n\
         | Publishes | Views | Codecs | Result |\n| --- | --- | --- | --- |\n{table}"
    );
    std::fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// Of an interface beside loopback.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
