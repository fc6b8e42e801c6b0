//! `cargo xtask run`: both processes built, started, watched and stopped together.
//!
//! One loop looks at signals and children ten times a second. What the processes do, and the URL they print, is theirs.

mod child;
mod health;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::child::{Child, exit_code};
use self::health::Health;
use crate::cargo::{self, Artifact, cargo, root};
use crate::cli::{Profile, RunOptions};
use crate::console::{brief, failure, heading, note};
use crate::plugins::{self, Wanted};

/// Runs the command.
pub(crate) fn run(options: &RunOptions) -> Result<ExitCode> {
    plugins::build(Wanted::Shipped)?;
    let binaries = Binaries::build(options.profile)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    heading("starting");
    let core = Child::start("lockgate", binaries.core(options))?;
    let recorder = match options.no_recorder {
        true => None,
        false => Some(Recorder::start(binaries.recorder(options))?),
    };
    let mut house = House { core, recorder, stop };
    let ended = house.watch();
    let clean = house.shut_down();
    Ok(match ended {
        Ended::Asked if clean => ExitCode::SUCCESS,
        Ended::Asked => ExitCode::FAILURE,
        Ended::Itself(status) => {
            failure(format!("lockgate ended by itself ({status})"));
            ExitCode::from(exit_code(status))
        }
        Ended::BadConfiguration(status) => {
            failure(format!("lockgate-recorder refused its configuration ({status})"));
            ExitCode::from(exit_code(status))
        }
    })
}

/// The two programs that were built.
struct Binaries {
    core: PathBuf,
    recorder: PathBuf,
}

impl Binaries {
    fn build(profile: Profile) -> Result<Self> {
        heading(format!("building core and recorder (profile {}; the first time takes minutes)", profile.name()));
        let started = Instant::now();
        let mut command = cargo();
        command.args(["build", "--profile", profile.name()]);
        match profile {
            Profile::Release => command.args(["--package", CORE, "--package", RECORDER, "--bins"]),
            // The same selection as in `cargo xtask test`: another would switch other features and build all anew.
            Profile::Ci => command.args(["--workspace", "--all-targets"]),
        };
        let artifacts = cargo::build(&mut command)?;
        note(format!("built in {}", brief(started.elapsed())));
        Ok(Self { core: binary(&artifacts, CORE)?, recorder: binary(&artifacts, RECORDER)? })
    }

    fn core(&self, options: &RunOptions) -> Command {
        let mut command = program(&self.core, &options.config);
        // Piped, since the URL is read from it; every line is passed on.
        command.args(&options.core_args).stdout(Stdio::piped());
        command
    }

    fn recorder(&self, options: &RunOptions) -> Command {
        program(&self.recorder, &options.config)
    }
}

fn binary(artifacts: &[Artifact], name: &str) -> Result<PathBuf> {
    let found = artifacts.iter().find(|a| a.target.name == name && a.is("bin") && !a.profile.test);
    found.and_then(|a| a.executable.clone()).with_context(|| format!("cargo built no program {name}"))
}

fn program(file: &Path, config: &Path) -> Command {
    let mut command = Command::new(file);
    command.current_dir(root()).arg("--config").arg(config).stdin(Stdio::null());
    command
}

/// The recorder, restarted whenever it dies.
struct Recorder {
    command: Command,
    state: RecorderState,
    /// Deaths without a longer life between them: they slow the restarts down, up to a second.
    deaths: u32,
}

enum RecorderState {
    Running { child: Child, since: Instant },
    Waiting { until: Instant },
}

impl Recorder {
    fn start(mut command: Command) -> Result<Self> {
        let child = Child::spawn(RECORDER, &mut command)?;
        Ok(Self { command, state: RecorderState::Running { child, since: Instant::now() }, deaths: 0 })
    }

    /// Restarts it when it is due. Returns a status that no restart will mend.
    fn tend(&mut self) -> Option<ExitStatus> {
        match &mut self.state {
            RecorderState::Running { child, since } => {
                let status = child.ended()?;
                if status.code() == Some(BAD_CONFIGURATION) {
                    return Some(status);
                }
                self.deaths = if since.elapsed() > SETTLED { 0 } else { self.deaths + 1 };
                let pause = restart_pause(self.deaths);
                failure(format!("lockgate-recorder ended ({status}); starting it again in {}", brief(pause)));
                self.state = RecorderState::Waiting { until: Instant::now() + pause };
            }
            RecorderState::Waiting { until } if Instant::now() >= *until => self.restart(),
            RecorderState::Waiting { .. } => {}
        }
        None
    }

    fn restart(&mut self) {
        let now = Instant::now();
        self.state = match Child::spawn(RECORDER, &mut self.command) {
            Ok(child) => RecorderState::Running { child, since: now },
            Err(error) => {
                failure(format!("{error:#}"));
                RecorderState::Waiting { until: now + restart_pause(u32::MAX) }
            }
        };
    }
}

/// How long to wait after so many quick deaths in a row: 100 ms doubling, never so long that a call notices.
fn restart_pause(deaths: u32) -> Duration {
    Duration::from_millis(100 << deaths.min(3))
}

/// Everything that runs.
struct House {
    core: Child,
    recorder: Option<Recorder>,
    stop: Arc<AtomicBool>,
}

/// Why there is nothing left to watch.
enum Ended {
    Asked,
    Itself(ExitStatus),
    BadConfiguration(ExitStatus),
}

impl House {
    fn watch(&mut self) -> Ended {
        let mut health = Health::new(self.core.take_output());
        loop {
            if self.stop.swap(false, Ordering::SeqCst) {
                return Ended::Asked;
            }
            if let Some(status) = self.core.ended() {
                return Ended::Itself(status);
            }
            if let Some(status) = self.recorder.as_mut().and_then(Recorder::tend) {
                return Ended::BadConfiguration(status);
            }
            if let Some(url) = health.newly_answered() {
                heading(format!("Lockgate is running: {url} (Ctrl-C stops it)"));
            }
            thread::sleep(TICK);
        }
    }

    /// Stops the core first, so that the recorder receives the last frames and can close its files.
    fn shut_down(&mut self) -> bool {
        heading("stopping");
        let core = self.core.stop(&self.stop);
        let recorder = match self.recorder.as_mut().map(|recorder| &mut recorder.state) {
            Some(RecorderState::Running { child, .. }) => child.stop(&self.stop),
            _ => true,
        };
        core && recorder
    }
}

const CORE: &str = "lockgate";
const RECORDER: &str = "lockgate-recorder";
const TICK: Duration = Duration::from_millis(100);
/// A recorder that lived this long did not die of its start.
const SETTLED: Duration = Duration::from_secs(10);
/// What both programs exit with when the configuration is wrong (EX_USAGE).
const BAD_CONFIGURATION: i32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_recorder_is_back_within_a_second() {
        assert!((0..100).all(|deaths| restart_pause(deaths) + TICK < Duration::from_secs(1)));
        assert!(restart_pause(3) > restart_pause(0));
    }

    #[test]
    fn a_recorder_that_dies_is_started_again() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut recorder = Recorder::start(command).unwrap();
        let RecorderState::Running { child, .. } = &mut recorder.state else { panic!("not started") };
        let first = child.id();
        child.kill();
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            assert!(recorder.tend().is_none());
            if let RecorderState::Running { child, .. } = &mut recorder.state
                && child.id() != first
            {
                child.kill();
                break;
            }
            assert!(Instant::now() < deadline, "not started again");
            thread::yield_now();
        }
    }

    #[test]
    fn a_refused_configuration_is_not_retried() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 64"]);
        let mut recorder = Recorder::start(command).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while recorder.tend().is_none() {
            assert!(Instant::now() < deadline, "not noticed");
            thread::yield_now();
        }
    }
}
