//! Real calls on a real node: what recording them costs the node, and what the recorder needs for them.
//!
//! The same clients stay all the time, and recording is switched on and off in turns: what a machine does to one half of a turn it
//! does to the other.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::program::{self, Program};
use crate::cli::RecordOptions;
use crate::row::median;
use crate::{CLIENTS_CORE, WORKER_CORE, progress};

/// Who is in a room: publishers of camera and microphone, and how many watch all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) publishers: u32,
    pub(crate) viewers: u32,
}

/// What was measured of one call.
#[derive(Debug, Serialize)]
pub(super) struct CallRow {
    /// Who are recorded.
    pub(super) participants: u32,
    /// Who receive each of them.
    pub(super) viewers: u32,
    /// Processor time of the node's process for each participant and second, without recording and with it.
    pub(super) core_us_without: f64,
    pub(super) core_us_with: f64,
    /// The median of what the turns' own ratios are above 1.
    pub(super) core_overhead_ratio: f64,
    /// Of each turn: how far they are apart tells how quiet the machine was.
    pub(super) core_overhead_ratios: Vec<f64>,
    /// Of the recorder's process, while it records.
    pub(super) recorder_us: f64,
    /// The same from the request for a recording to its end, with the files' completion.
    pub(super) recorder_us_with_ends: f64,
    /// Of the recorder, after the first turn and after the last.
    pub(super) resident_bytes: [u64; 2],
    /// Packets that viewers missed.
    pub(super) lost: u64,
}

/// One half of a turn.
#[derive(Clone, Copy, Debug)]
struct Half {
    seconds: f64,
    core: Duration,
    recorder: Duration,
}

/// Goes through one call.
pub(super) fn measure(folder: &Path, options: &RecordOptions, shape: Shape) -> Result<CallRow> {
    let call = Call::begin(folder, options, shape)?;
    let (turns, settle, time) = options.turns();
    let (mut without, mut with, mut whole, mut resident) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns {
        progress(format!("turn {} of {turns}", turn + 1));
        // Who is first changes, so that what only grows favours neither.
        let recorded_first = turn % 2 == 1;
        if !recorded_first {
            without.push(call.half(settle, time)?);
        }
        let before = (Instant::now(), call.recorder.used()?);
        call.record("start")?;
        with.push(call.half(settle, time)?);
        call.record("stop")?;
        let recorded = before.0.elapsed().as_secs_f64();
        // Files are completed, hashed and signed after that.
        std::thread::sleep(settle);
        whole.push(call.recorder.used()?.saturating_sub(before.1).as_secs_f64() / recorded);
        resident.push(call.recorder.resident());
        if recorded_first {
            without.push(call.half(settle, time)?);
        }
    }
    let lost = call.end()?;
    let publishers = f64::from(shape.publishers);
    let us = |spent: fn(&Half) -> Duration, halves: &[Half]| {
        median(halves.iter().map(|half| spent(half).as_secs_f64() * 1e6 / half.seconds)) / publishers
    };
    let core = |half: &Half| half.core;
    let recorder = |half: &Half| half.recorder;
    let load = |half: &Half| half.core.as_secs_f64() / half.seconds;
    let ratios: Vec<_> = without.iter().zip(&with).map(|(without, with)| load(with) / load(without) - 1.0).collect();
    Ok(CallRow {
        participants: shape.publishers,
        viewers: shape.viewers,
        core_us_without: us(core, &without),
        core_us_with: us(core, &with),
        core_overhead_ratio: median(ratios.iter().copied()),
        core_overhead_ratios: ratios,
        recorder_us: us(recorder, &with),
        recorder_us_with_ends: median(whole.iter().copied()) * 1e6 / publishers,
        resident_bytes: [resident.first(), resident.last()].map(|one| one.copied().unwrap_or(0)),
        lost,
    })
}

/// A node, its recorder, and everybody in the room.
struct Call<'a> {
    folder: &'a Path,
    node: Program,
    url: String,
    recorder: Program,
    clients: Program,
}

impl<'a> Call<'a> {
    /// Starts all of them, and waits until everybody is in.
    fn begin(folder: &'a Path, options: &RecordOptions, shape: Shape) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let plugins = options.plugins.canonicalize().with_context(|| format!("{}", options.plugins.display()))?;
        std::fs::write(folder.join("config.toml"), config(&plugins))?;
        std::fs::write(folder.join("secret"), SECRET)?;
        let mut node = Program::start("lockgate", folder, &["--config", "config.toml"], WORKER_CORE)?;
        let listens = |line: &str| Some(line.strip_prefix("Lockgate listens on ")?.trim_end_matches('/').to_owned());
        let url = node.says("where it listens", listens)?;
        let recorder = Program::start("lockgate-recorder", folder, &["--config", "config.toml"], CLIENTS_CORE)?;
        let [publishers, viewers] = [shape.publishers, shape.viewers].map(|count| count.to_string());
        let arguments = [&url[..], "--publishers", &publishers, "--subscribers", &viewers].into_iter().chain(CLIENTS);
        let arguments: Vec<_> = arguments.collect();
        let mut clients = Program::start("lockgate-load", folder, &arguments, CLIENTS_CORE)?;
        let all = format!(": {publishers} + {viewers} joined, 0 errors;");
        clients.says("that all are in", |line| line.contains(&all).then_some(()))?;
        Ok(Self { folder, node, url, recorder, clients })
    }

    /// Has the node begin or end a recording, as an operator does.
    fn record(&self, action: &str) -> Result<()> {
        program::run("lockgate", self.folder, &["record", ROOM, action, "--url", &self.url, "--config", "config.toml"])
    }

    /// Lets some time go by, and then looks what the next is used for.
    fn half(&self, settle: Duration, time: Duration) -> Result<Half> {
        std::thread::sleep(settle);
        let (began, core, recorder) = (Instant::now(), self.node.used()?, self.recorder.used()?);
        std::thread::sleep(time);
        let (core, recorder) = (self.node.used()?.saturating_sub(core), self.recorder.used()?.saturating_sub(recorder));
        Ok(Half { seconds: began.elapsed().as_secs_f64(), core, recorder })
    }

    /// Ends everything, has the archives checked, and returns how many packets viewers missed.
    fn end(self) -> Result<u64> {
        self.clients.end()?;
        self.recorder.end()?;
        self.node.end()?;
        program::run("lockgate-recorder", self.folder, &["--config", "config.toml", "verify"])?;
        let result: serde_json::Value = serde_json::from_slice(&std::fs::read(self.folder.join(RESULT))?)?;
        let problems = &result["problems"];
        ensure!(result["ok"] == true, "the clients had problems: {problems}");
        Ok(result["received"]["lost"].as_u64().unwrap_or(0))
    }
}

/// One worker, and the plugins that `config.toml` has.
fn config(plugins: &Path) -> String {
    let plugin = |name: &str, hooks: &str, grants: &str| {
        let file = plugins.join(name).with_extension("wasm");
        // Joins are not what is measured: on a busy machine a question may wait for a core longer than a policy may think.
        let limits = "[plugin.limits]\ndeadline = \"1s\"\n";
        format!("[[plugin]]\nname = \"{name}\"\nfile = {file:?}\nhooks = {hooks}\ngrants = {grants}\n{limits}")
    };
    format!(
        "[http]\nport = 0\n\
         [media]\nworkers = 1\nport = 0\nbind = [\"127.0.0.1\"]\nannounce = [\"127.0.0.1\"]\n\
         [policy]\nchain_deadline = \"2s\"\n[auth]\nsecret = {{ file = \"secret\" }}\n\
         [recording]\ndirectory = \"recordings\"\n[recorder]\nsocket = \"run/recorder.sock\"\n{}{}{}",
        plugin("jwt-auth", "[\"auth\"]", "[\"config\", \"jwt\"]"),
        plugin("room-admission", "[\"admission\", \"publishing\", \"recording\"]", "[\"config\"]"),
        plugin("subscription-policy", "[\"subscription\"]", "[\"config\"]"),
    )
}

const ROOM: &str = "load";
const RESULT: &str = "result.json";
const SECRET: &str = "a secret of the benchmark, long enough for HS256";
/// What all calls have in common. They end when they are told to.
const CLIENTS: [&str; 16] = [
    "--room",
    ROOM,
    "--secret-file",
    "secret",
    "--bitrate",
    "1 Mbps",
    "--audio-bitrate",
    "48 kbps",
    "--threads",
    "1",
    "--join-timeout",
    "50s",
    "--duration",
    "1h",
    "--json",
    RESULT,
];
