//! `lockgate policy bench`: how long a plugin takes for a question.

use std::path::PathBuf;

use lockgate_policy::kit::{self, Pace, Times};
use serde_json::json;

use super::Report;
use super::case::CaseArguments;

/// Which question.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component
    file: PathBuf,
    #[command(flatten)]
    case: CaseArguments,
    /// How often it is put, 100 to 1000000
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    rounds: u32,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Report {
    let case = match arguments.case.read() {
        Ok(case) => case,
        Err(problem) => return Report::wrong(problem),
    };
    match kit::pace(&arguments.file, &case, usize::try_from(arguments.rounds).unwrap_or(usize::MAX)) {
        Ok(pace) => {
            let hook = case.question.hook().as_str();
            let text = if arguments.json { in_json(&pace, hook) } else { in_words(&pace, hook) };
            Report { text, ..Report::default() }
        }
        Err(problem) => Report::failed(format!("{}: {problem}", arguments.file.display())),
    }
}

fn in_json(pace: &Pace, hook: &str) -> String {
    let mut json = json!(pace);
    json["hook"] = hook.into();
    format!("{json}\n")
}

fn in_words(pace: &Pace, hook: &str) -> String {
    let times = |times: &Times| format!("p50 {:.1} µs, p99 {:.1} µs", times.p50_us, times.p99_us);
    let warm = pace.warm.as_ref().map_or_else(|| "cannot be asked twice".into(), times);
    format!(
        "{hook}, {} times\n  fresh instance  {}\n  same instance   {warm}\n  cost            {} (the same on every machine)\n  memory          {} KiB\n",
        pace.rounds,
        times(&pace.fresh),
        pace.cost,
        pace.memory / 1024,
    )
}
