//! Stacks of different makes publish by WHIP and view by WHEP, each pair of them.
//!
//! Chromium is there on every machine that runs these tests; the others where `cargo xtask test` could fetch them
//! (xtask/src/test/stacks.rs), or where `LOCKGATE_PYTHON` has aiortc. What they negotiate is what `docs/interop.md` says; with
//! `LOCKGATE_WRITE_DOCS=1` its tables are written anew.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use futures_util::future::join_all;
use lockgate_tests::{Browser, Node, Page, PrivateNetwork, Process, ROOM, Setup, Token, number, root};
use serde_json::Value;

/// A stack, as a publisher and as a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stack {
    Chromium,
    Aiortc,
    Wrtc,
    Werift,
    Pion,
    GStreamer,
}

impl Stack {
    fn name(self) -> &'static str {
        match self {
            Self::Chromium => "Chromium",
            Self::Aiortc => "aiortc",
            Self::Wrtc => "@roamhq/wrtc",
            Self::Werift => "werift",
            Self::Pion => "Pion",
            Self::GStreamer => "GStreamer",
        }
    }

    /// What it is, and where it comes from.
    fn about(self) -> &'static str {
        match self {
            Self::Chromium => "browser, driven from outside",
            Self::Aiortc => "Python, from PyPI",
            Self::Wrtc => "libwebrtc for Node.js, from npm",
            Self::Werift => "TypeScript, from npm",
            Self::Pion => "Go, from Debian",
            Self::GStreamer => "C, `webrtcbin`, from Debian",
        }
    }

    /// What makes pictures of packets, and packets of pictures. Stacks without codecs only carry RTP.
    fn codec(self) -> &'static str {
        match self {
            Self::Werift | Self::Pion => "ffmpeg",
            _ => "itself",
        }
    }

    /// The program that is a client with it: they all take the same arguments. Chromium has none, a page is its client.
    fn client(self) -> Option<Command> {
        let (stacks, fetched) = (root().join("tests/stacks"), root().join("target/stacks"));
        let script = |program: &str, name: &str| {
            let mut command = Command::new(program);
            command.arg(stacks.join(name));
            command
        };
        Some(match self {
            Self::Chromium => return None,
            Self::Aiortc => match std::env::var("LOCKGATE_PYTHON") {
                Ok(python) => script(&python, "aiortc_client.py"),
                Err(_) => {
                    let mut command = script("python3", "aiortc_client.py");
                    command.env("PYTHONPATH", fetched.join("python"));
                    command
                }
            },
            Self::Wrtc => script("node", "wrtc_client.mjs"),
            Self::Werift => script("node", "werift_client.mjs"),
            Self::Pion => {
                let mut command = Command::new(fetched.join("pion"));
                command.env("LOCKGATE_RTP", stacks.join("rtp.sh"));
                command
            }
            // Debian's bindings are for Debian's Python, whichever else comes first.
            Self::GStreamer => script("/usr/bin/python3", "gstreamer_client.py"),
        })
    }

    /// Its version, if it is here.
    fn version(self) -> Option<String> {
        let mut command = self.client().unwrap_or_else(|| Command::new("chromium"));
        command.arg(if self == Self::Chromium { "--version" } else { "version" });
        let output = command.output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
        text.split_whitespace().find(numbers).map(str::to_owned)
    }

    /// Has a client with it publish, or view, until it is dropped or done.
    fn start(self, arguments: &[&str]) -> Process {
        let mut command = self.client().unwrap_or_else(|| panic!("a page is the client of {}", self.name()));
        command.args(arguments);
        Process::start(self.name(), command)
    }
}

/// What one publisher is seen as by one viewer.
struct Seen {
    /// Pictures that were decoded.
    pictures: f64,
    /// Pieces of sound that were decoded, of 10 or 20 ms each.
    sounds: f64,
    /// What is sent, of pictures and of sound, as the viewer names it.
    codecs: Vec<String>,
}

/// The next line of JSON that a client prints.
async fn told(client: &Process, what: &str) -> Value {
    client.line(what, |line| serde_json::from_str(line).ok()).await
}

/// Has a stack publish a picture and a sound, a client as long as it lives.
async fn publish(node: &Node, page: &Page, publisher: Stack, room: &str) -> Option<Process> {
    let (whip, token) = (node.url(&format!("/whip/{room}")), Token::of(1, "Ann").text());
    if publisher == Stack::Chromium {
        let media = "[{ track: await devices.camera(320, 240, 20) }, { track: await devices.microphone() }]";
        page.run(&format!(
            "globalThis.ann = await Stream.publish({whip:?}, {token:?}, {media}); await ann.connected()"
        ))
        .await;
        return None;
    }
    let client = publisher.start(&["publish", &whip, &token, "600"]);
    told(&client, "that it publishes").await;
    Some(client)
}

/// Has a stack view until it has decoded enough.
async fn view(node: &Node, page: &Page, viewer: Stack, room: &str) -> Seen {
    let (whep, token) = (node.url(&format!("/whep/{room}")), Token::of(2 + viewer as u64, viewer.name()).text());
    let seen = if viewer == Stack::Chromium {
        let view = format!(
            "const bob = await Stream.view({whep:?}, {token:?}, ['video', 'audio']);
             const [picture, sound] = [await bob.decoded(0, {ENOUGH}), await bob.sounded(1, {ENOUGH} * 960)];
             const {{ status }} = await bob.end();
             bob.connection.close();
             const codecs = [picture, sound].map(({{ codec }}) => codec.split('/')[1]);
             const frames = {{ video: picture.framesDecoded, audio: (sound.totalSamplesReceived - sound.concealedSamples) / 960 }};
             return {{ frames, codecs, ended: status }}"
        );
        page.run(&view).await
    } else {
        told(&viewer.start(&["view", &whep, &token, &ENOUGH.to_string()]), "what it decoded").await
    };
    assert_eq!(seen["ended"], 200, "{}: {seen}", viewer.name());
    let codecs = seen["codecs"].as_array().expect("the codecs of its lines").iter();
    let codecs = codecs.map(|codec| codec.as_str().expect("a codec's name").to_owned()).collect();
    Seen { pictures: number(&seen["frames"], "video"), sounds: number(&seen["frames"], "audio"), codecs }
}

/// Has one stack publish and all of them view at once. The rows of the table come back.
async fn seen_by_all(node: &Node, page: &Page, publisher: Stack, stacks: &[Stack]) -> String {
    let room = format!("{ROOM}-{publisher:?}");
    let publishing = publish(node, page, publisher, &room).await;
    let seen = join_all(stacks.iter().map(|viewer| view(node, page, *viewer, &room))).await;
    if publisher == Stack::Chromium {
        page.run("await ann.end(); ann.connection.close()").await;
    }
    drop(publishing);
    let row = |(viewer, seen): (&Stack, Seen)| {
        let (publisher, viewer, decoder) = (publisher.name(), viewer.name(), viewer.codec());
        let Seen { pictures, sounds, codecs } = seen;
        let codecs = codecs.join(", ");
        eprintln!("{publisher} → {viewer}: {pictures} pictures and {sounds} pieces of sound decoded, {codecs}");
        assert!(pictures.min(sounds) >= f64::from(ENOUGH), "{publisher} → {viewer}");
        format!("| {publisher} | {viewer} | {codecs} | {decoder} | decoded |\n")
    };
    stacks.iter().zip(seen).map(row).collect()
}

#[test]
fn stacks_of_different_makes_publish_and_view_over_http() {
    PrivateNetwork::around("interop::stacks_of_different_makes_publish_and_view_over_http", async |network| {
        // Some stacks find no address on loopback.
        network.plug("beside", &ADDRESS.to_string());
        let node = Node::start(Setup { also: Some(ADDRESS.into()), ..Setup::default() }).await;
        let browser = Browser::start().await;
        let page = browser.open(&node.url("/health")).await;
        page.learn_http().await;
        let versions: Vec<_> = ALL.into_iter().filter_map(|stack| Some((stack, stack.version()?))).collect();
        let stacks: Vec<_> = versions.iter().map(|(stack, _)| *stack).collect();
        let missing: Vec<_> = ALL.into_iter().filter(|stack| !stacks.contains(stack)).map(Stack::name).collect();
        if !missing.is_empty() {
            eprintln!("not here, and not tried: {missing:?} (`cargo xtask test --only system` says why)");
        }
        assert!(stacks.contains(&Stack::Chromium), "the browser is here");
        let mut pairs = String::new();
        for publisher in &stacks {
            pairs += &seen_by_all(&node, &page, *publisher, &stacks).await;
        }
        if std::env::var_os("LOCKGATE_WRITE_DOCS").is_none() {
            return assert_documented(&pairs);
        }
        assert_eq!(missing, [""; 0], "the tables are written where all stacks are");
        write_docs(&pairs, &versions);
    });
}

fn docs() -> PathBuf {
    root().join("docs/interop.md")
}

/// The part of the file that is written by hand.
fn notes() -> String {
    let file = docs();
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (_, notes) = text.split_once(NOTES).unwrap_or_else(|| panic!("{} has no {NOTES:?}", file.display()));
    notes.to_owned()
}

/// What was seen is what people are told.
fn assert_documented(pairs: &str) {
    let file = docs();
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    // Names of codecs are the same in capitals (RFC 4855 §3).
    let text = text.to_lowercase();
    for row in pairs.lines() {
        assert!(text.contains(&row.to_lowercase()), "{} does not say: {row}", file.display());
    }
}

fn write_docs(pairs: &str, versions: &[(Stack, String)]) {
    let row = |(stack, version): &(Stack, String)| {
        format!("| {} | {version} | {} | {} |\n", stack.name(), stack.about(), stack.codec())
    };
    let (stacks, notes, file): (String, _, _) = (versions.iter().map(row).collect(), notes(), docs());
    let text = format!(
        "# Which stacks were tried\n\n\
         Written by `tests/tests/system/interop.rs` with `LOCKGATE_WRITE_DOCS=1`: each publisher by WHIP with each viewer by WHEP, over one\n\
         node, all viewers of a publisher at once. A pair counts when the viewer has decoded {ENOUGH} pictures and {ENOUGH} pieces of sound.\n\n\
         | Stack | Version | What it is | Codecs by |\n| --- | --- | --- | --- |\n{stacks}\n\
         | Publishes | Views | Codecs | Decoded by | Result |\n| --- | --- | --- | --- | --- |\n{pairs}\n{NOTES}{notes}"
    );
    std::fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

const ALL: [Stack; 6] = [Stack::Chromium, Stack::Aiortc, Stack::Wrtc, Stack::Werift, Stack::Pion, Stack::GStreamer];
/// Pictures, and pieces of sound.
const ENOUGH: u32 = 60;
/// Of an interface beside loopback.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Where that begins in the file that the test does not write.
const NOTES: &str = "## What is behind it\n";
