//! The command line, and nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::record::Shape;
use crate::scenario::Scenario;

/// What forwarding costs, measured beside the floor on the same machine.
#[derive(Debug, Parser)]
#[command(name = "lockgate-bench", arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Measure what a forwarded packet costs, beside the floor and beside poorer ways to send
    Forward(ForwardOptions),
    /// Let viewers join and leave, and watch the worker's memory
    Soak(SoakOptions),
    /// Measure what messages on data channels cost, how long they take, and what channels hold
    Data(DataOptions),
    /// Count what a connection holds for DTLS, with data channels and without
    Dtls,
    /// Measure what a decision of a plugin costs, and what policy adds to a join
    Policy(PolicyOptions),
    /// Measure what the recorder needs for each participant, and what recording costs the node
    ///
    /// First the recorder alone: this program stands for the node and feeds it made-up cameras (VP8, 1 Mbit/s) and microphones in real
    /// time over its own sockets. Then real calls: `lockgate`, `lockgate-recorder` and `lockgate-load`, whose clients stay while recording
    /// is switched on and off in turns. Time is the processes' own processor time.
    Record(RecordOptions),
    /// The worker's process, which the others start: JSON lines in and out
    #[command(hide = true)]
    Worker,
}

#[derive(Debug, Args)]
pub(crate) struct ForwardOptions {
    /// Only this load (may be repeated)
    #[arg(long, value_enum)]
    scenario: Vec<Scenario>,
    /// Only so many viewers (may be repeated)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=2000))]
    viewers: Vec<u16>,
    /// A few seconds instead of minutes: shows that everything works, and measures nothing well
    #[arg(long)]
    quick: bool,
    /// Only what attacks cost those who do nothing wrong
    #[arg(long, conflicts_with_all = ["scenario", "viewers"])]
    hostile: bool,
    /// Where the figures are written; otherwise bench/forward.json in the build folder
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl ForwardOptions {
    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        let chosen = |one: &Scenario| !self.hostile && (self.scenario.is_empty() || self.scenario.contains(one));
        Scenario::ALL.into_iter().filter(chosen).collect()
    }

    /// Whether attacks are measured: unless something else was chosen.
    pub(crate) fn attacks(&self) -> bool {
        self.hostile || self.scenario.is_empty() && self.viewers.is_empty()
    }

    /// How many watch while a worker is attacked, and how long.
    pub(crate) fn attacked(&self) -> (usize, Duration) {
        if self.quick { (3, Duration::from_millis(300)) } else { (50, Duration::from_secs(4)) }
    }

    /// In ascending order: viewers only come.
    pub(crate) fn viewers(&self) -> Vec<usize> {
        let mut viewers: Vec<usize> = match (self.viewers.as_slice(), self.quick) {
            ([], false) => VIEWERS.into(),
            ([], true) => QUICK_VIEWERS.into(),
            (chosen, _) => chosen.iter().map(|count| usize::from(*count)).collect(),
        };
        viewers.sort_unstable();
        viewers.dedup();
        viewers
    }

    /// How often everything is measured in a row, and how long each time.
    pub(crate) fn turns(&self) -> (u32, Duration) {
        if self.quick { (1, Duration::from_millis(150)) } else { (5, Duration::from_millis(800)) }
    }

    pub(crate) fn output(&self) -> Result<PathBuf> {
        output(self.out.as_deref(), "bench/forward.json")
    }
}

#[derive(Debug, Args)]
pub(crate) struct DataOptions {
    /// A few seconds instead of a minute: shows that everything works, and measures nothing well
    #[arg(long)]
    quick: bool,
    /// Where the figures are written; otherwise bench/data.json in the build folder
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl DataOptions {
    pub(crate) fn viewers(&self) -> &'static [usize] {
        if self.quick { &[1, 3] } else { &[1, 10, 50] }
    }

    /// How long messages are sent.
    pub(crate) fn length(&self) -> Duration {
        if self.quick { Duration::from_millis(400) } else { Duration::from_secs(8) }
    }

    /// How many viewers are weighed.
    pub(crate) fn held_by(&self) -> usize {
        if self.quick { 2 } else { 20 }
    }

    pub(crate) fn output(&self) -> Result<PathBuf> {
        output(self.out.as_deref(), "bench/data.json")
    }
}

#[derive(Debug, Args)]
pub(crate) struct PolicyOptions {
    /// A few seconds instead of a minute: shows that everything works, and measures nothing well
    #[arg(long)]
    quick: bool,
    /// Where the components are
    #[arg(long, value_name = "FOLDER", default_value = "plugins/dist")]
    pub(crate) plugins: PathBuf,
    /// Where the figures are written; otherwise bench/policy.json in the build folder
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl PolicyOptions {
    /// How often everything is measured in a row, and how many decisions each time.
    pub(crate) fn turns(&self) -> (u32, usize) {
        if self.quick { (1, 50) } else { (5, 10_000) }
    }

    /// How many join together.
    pub(crate) fn joins(&self) -> usize {
        if self.quick { 50 } else { 1000 }
    }

    pub(crate) fn output(&self) -> Result<PathBuf> {
        output(self.out.as_deref(), "bench/policy.json")
    }
}

#[derive(Debug, Args)]
pub(crate) struct RecordOptions {
    /// Only so many participants for the recorder alone (may be repeated)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    participants: Vec<u32>,
    /// A few seconds instead of minutes: shows that everything works, and measures nothing well
    #[arg(long)]
    quick: bool,
    /// Where the components are
    #[arg(long, value_name = "FOLDER", default_value = "plugins/dist")]
    pub(crate) plugins: PathBuf,
    /// Where the figures are written; otherwise bench/record.json in the build folder. Recordings are made beside it, and removed
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl RecordOptions {
    /// In ascending order.
    pub(crate) fn participants(&self) -> Vec<u32> {
        let mut participants = match (self.participants.as_slice(), self.quick) {
            ([], false) => vec![10, 100, 500],
            ([], true) => vec![2],
            (chosen, _) => chosen.to_vec(),
        };
        participants.sort_unstable();
        participants.dedup();
        participants
    }

    /// How long everything settles, and how long it is measured.
    pub(crate) fn times(&self) -> (Duration, Duration) {
        if self.quick {
            (Duration::from_secs(1), Duration::from_secs(1))
        } else {
            (Duration::from_secs(4), Duration::from_secs(16))
        }
    }

    /// The calls: the last row with no viewers is the recorder's result, that with three (a call of four) the node's.
    pub(crate) fn shapes(&self) -> Vec<Shape> {
        let shapes = if self.quick { vec![(2, 0), (2, 3)] } else { vec![(100, 0), (40, 1), (40, 3), (20, 9)] };
        shapes.into_iter().map(|(publishers, viewers)| Shape { publishers, viewers }).collect()
    }

    /// How often recording is switched on and off in a call, how long everything settles then, and how long it is measured.
    pub(crate) fn turns(&self) -> (u32, Duration, Duration) {
        if self.quick {
            (1, Duration::from_millis(300), Duration::from_millis(700))
        } else {
            (5, Duration::from_secs(1), Duration::from_secs(3))
        }
    }

    pub(crate) fn output(&self) -> Result<PathBuf> {
        output(self.out.as_deref(), "bench/record.json")
    }
}

/// The file that was named, or one in the build folder.
fn output(named: Option<&Path>, otherwise: &str) -> Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    // <target>/<profile>/lockgate-bench
    let own = std::env::current_exe().context("a running program has a path")?;
    Ok(own.ancestors().nth(2).context("the program lies in the build folder")?.join(otherwise))
}

#[derive(Debug, Args)]
pub(crate) struct SoakOptions {
    /// How many viewers come and go
    #[arg(long, default_value_t = 10_000)]
    pub(crate) joins: usize,
}

const VIEWERS: [usize; 5] = [1, 10, 50, 100, 500];
const QUICK_VIEWERS: [usize; 2] = [1, 5];

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn forward(arguments: &[&str]) -> ForwardOptions {
        let cli = Cli::try_parse_from(["lockgate-bench", "forward"].iter().chain(arguments)).unwrap();
        let Task::Forward(options) = cli.task else { panic!("not forward") };
        options
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_is_measured_unless_something_is_chosen() {
        assert_eq!(forward(&[]).scenarios(), Scenario::ALL);
        assert_eq!(forward(&[]).viewers(), VIEWERS);
        assert_eq!(forward(&["--scenario", "video-real"]).scenarios(), [Scenario::VideoReal]);
        assert!(forward(&["--hostile"]).scenarios().is_empty());
        assert!(forward(&[]).attacks() && !forward(&["--viewers", "3"]).attacks());
        assert_eq!(forward(&["--viewers", "100", "--viewers", "3"]).viewers(), [3, 100]);
    }
}
