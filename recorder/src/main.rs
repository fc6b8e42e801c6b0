//! The recorder process.

use std::io::{IsTerminal, Read, stderr, stdout};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Parser;
use lockgate_recorder::{Config, Outcome, Problem, Stop, Tool, ToolError, run, use_tool};
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use tracing_subscriber::EnvFilter;

/// Records what passes through a Lockgate node, as WebM files.
///
/// It attaches to the node's socket, again and again until the node is there, and writes the sessions that the node asks
/// for, until SIGINT or SIGTERM: then it closes all files and ends. Files that an earlier run left open are mended at the
/// start. A second signal ends it at once; what was written stays readable.
///
/// It reads `recording.directory` and `recorder.socket` of the node's configuration, or instead of them
/// LOCKGATE_RECORDING_DIRECTORY and LOCKGATE_RECORDER_SOCKET; RUST_LOG sets what is logged. `recorder.signing_key`
/// (LOCKGATE_RECORDER_SIGNING_KEY) is the key that archives are signed with; it is made when it is not there.
/// The section `[upload]` says where archives go, `recording.delete_after` how long they stay (docs/recorder.md).
///
/// With a sub-command it works on archives instead; no node is needed, and other recorders may be running.
///
/// Exit codes: 0 ended as asked, 1 failed, 2 the command line is wrong, 64 the configuration is wrong (all problems are
/// listed), 65 an archive is damaged.
#[derive(Debug, Parser)]
#[command(name = "lockgate-recorder", version, about, long_about)]
struct Cli {
    /// The node's configuration file, `config.toml` unless another is named; relative paths in it start in its folder.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// What to do instead of recording.
    #[command(subcommand)]
    tool: Option<Tool>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = if cli.tool.is_some() { "warn" } else { "info" };
    // What it tries again is told once by who asked for it.
    let filter = format!("{level},object_store=warn");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal()).init();
    if let Some(tool) = &cli.tool {
        return with_tool(tool, cli.config.as_deref());
    }
    let config = match Config::load(cli.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems),
    };
    match record(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Works on archives. The configuration is only needed for what the command line does not say.
fn with_tool(tool: &Tool, config: Option<&Path>) -> ExitCode {
    match use_tool(tool, || Config::load(config.unwrap_or(Path::new(DEFAULT_CONFIG))), &mut stdout().lock()) {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Damaged) => ExitCode::from(DAMAGED),
        Err(ToolError::Config(problems)) => refuse(&problems),
        Err(error) => {
            eprintln!("lockgate-recorder: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(problems: &[Problem]) -> ExitCode {
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    ExitCode::from(BAD_CONFIGURATION)
}

fn record(config: &Config) -> anyhow::Result<()> {
    raise_file_limit();
    let signals = listen_for_signals().context("signals cannot be listened for")?;
    tracing::info!(directory = %config.directory.display(), socket = %config.socket.display(), "starting");
    run(config, |stop| stop_on_signal(signals, stop)).context("no thread can be started")?;
    tracing::info!("ended");
    Ok(())
}

/// Every open file of a recording is one, and the usual limit is low.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// A stream that can be read when the process is asked to end. The second time it ends at once.
fn listen_for_signals() -> std::io::Result<UnixStream> {
    let (reading, writing) = UnixStream::pair()?;
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&asked))?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
        signal_hook::low_level::pipe::register(signal, writing.try_clone()?)?;
    }
    Ok(reading)
}

fn stop_on_signal(mut signals: UnixStream, stop: Stop) {
    std::thread::spawn(move || {
        // Its other end is never closed: whatever comes is a signal.
        let _ = signals.read(&mut [0]);
        tracing::info!("asked to end");
        stop.now();
    });
}

/// `EX_USAGE`, as the node ends with it.
const BAD_CONFIGURATION: u8 = 64;
/// `EX_DATAERR`.
const DAMAGED: u8 = 65;
const DEFAULT_CONFIG: &str = "config.toml";
