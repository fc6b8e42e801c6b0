//! The recorder is killed under a node through which media flows: every packet that a publisher sent from its first recorded one on
//! is in the file, once.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lockgate_tests::{Archive, Load, Node, Recorder, Setup, program, until};

/// What the load generator marks its packets with, before source and number.
const MAGIC: [u8; 4] = *b"LGld";

/// The numbers of a file's packets, by their source, as often as they are there.
fn numbers(file: &Path) -> BTreeMap<u32, Vec<u64>> {
    let bytes = std::fs::read(file).expect("the file is there");
    let mut found = BTreeMap::<u32, Vec<u64>>::new();
    for mark in bytes.windows(16).filter(|window| window.starts_with(&MAGIC)) {
        let source = u32::from_be_bytes(mark[4..8].try_into().expect("four bytes"));
        let number = u64::from_be_bytes(mark[8..16].try_into().expect("eight bytes"));
        found.entry(source).or_default().push(number);
    }
    found
}

fn folders(of: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(of).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Kills the recorder so many times while two publishers send, or fewer on a slow machine: as often as is returned.
async fn killed(rounds: u64) -> u64 {
    let node = Node::start(Setup { recording: "auto = true".into(), ..Setup::default() }).await;
    let mut recorder = Recorder::beside(&node).await;
    let room = node.recordings().join("load");
    // So long kills go on at most; media flows for some seconds more.
    let last_kill = Duration::from_secs(2 * rounds);
    let begun = Instant::now();
    let kills = async {
        until("a file to grow", async || {
            let session = folders(&room).pop()?;
            folders(&session).iter().any(|file| file.extension().is_some_and(|end| end == "part")).then_some(())
        })
        .await;
        let random = RandomState::new();
        for round in 0..rounds {
            tokio::time::sleep(Duration::from_millis(random.hash_one(round) % 500)).await;
            if begun.elapsed() > last_kill {
                return round;
            }
            recorder.kill().await;
            recorder = Recorder::beside(&node).await;
        }
        rounds
    };
    let duration = format!("{}s", last_kill.as_secs() + 6);
    let arguments = ["--publishers", "2", "--subscribers", "1", "--duration", &duration, "--no-decrypt", "--quiet"];
    let (load, kills) = tokio::join!(Load::run(&node, &arguments), kills);
    assert!(load.status.success(), "{}", load.said);
    assert!(kills > 0, "the recorder was never killed");
    eprintln!("the recorder was killed {kills} times");

    let sessions = folders(&room);
    let [session] = &sessions[..] else { panic!("{sessions:?}") };
    let name = session.file_name().expect("a folder").to_str().expect("a name");
    let archive = Archive::of(&node.recordings(), "load", name);
    until("the archive to be sealed", async || (!archive.files(".sig").is_empty()).then_some(())).await;
    let files = archive.files(".webm");
    assert_eq!(files.len(), 2, "each publisher has one file: {:?}", archive.files(""));
    let events = std::fs::read_to_string(session.join("events.jsonl")).expect("the events are there");
    for file in files {
        let sources = numbers(&file);
        assert_eq!(sources.len(), 2, "sound and picture: {file:?}");
        for (source, numbers) in sources {
            let first = numbers[0];
            let expected: Vec<_> = (first..first + numbers.len() as u64).collect();
            let wrong = numbers.iter().zip(&expected).find(|(is, expected)| is != expected);
            assert_eq!(wrong, None, "{file:?}: {source}, first {first}, {} packets\n{events}", numbers.len());
            assert!(numbers.len() > 100, "{file:?}: {source}, {} packets", numbers.len());
        }
    }
    let config = node.folder().join("config.toml");
    let mut verify = Command::new(program("lockgate-recorder"));
    let verified = verify.arg("--config").arg(config).args(["verify"]).arg(session).output();
    let verified = verified.expect("lockgate-recorder can be started");
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    kills
}

#[tokio::test]
async fn a_recorder_that_is_killed_while_media_flows_loses_and_doubles_nothing() {
    killed(4).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn a_recorder_that_is_killed_a_hundred_times_loses_and_doubles_nothing() {
    // The load generator's patience is that of a test.
    let mut kills = 0;
    while kills < 100 {
        kills += killed(25).await;
    }
}
