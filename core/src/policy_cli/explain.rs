//! `lockgate policy explain`.

use std::path::PathBuf;

use lockgate_policy::journal::explain::{Asked, Explainer};
use serde_json::{Value, json};

use super::Report;
use super::log::{now_ms, read, time};

/// Which log, and what to tell of it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The log: its folder, or some of its files, the oldest first; may be given several times.
    #[arg(long = "log", required = true, value_name = "FOLDER|FILE")]
    logs: Vec<PathBuf>,
    /// The room.
    #[arg(long)]
    room: String,
    /// Who would see: a subject, a name, or the number of a participant.
    #[arg(long, requires = "sees", value_name = "PERSON")]
    who: Option<String>,
    /// Whom. Without it: everybody in the room, whom each may see, and what is recorded.
    #[arg(long, requires = "who", value_name = "PERSON")]
    sees: Option<String>,
    /// Only this track.
    #[arg(long, requires = "sees", value_name = "ID")]
    track: Option<String>,
    /// What was so then: a time as in "2026-01-31T12:00:00Z", milliseconds since 1970, or how long ago, as in "10m". Absent: now.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<u64>,
    /// Write the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Report {
    answer(arguments).unwrap_or_else(Report::wrong)
}

fn answer(arguments: &Arguments) -> Result<Report, String> {
    let mut explainer = Explainer::new(arguments.at.unwrap_or_else(now_ms));
    let doubts = read(&arguments.logs, |spot, sealed, line| explainer.line(&spot.file, sealed, line))?;
    let (text, json, code) = match (&arguments.who, &arguments.sees) {
        (Some(who), Some(sees)) => {
            let (room, track) = (arguments.room.clone(), arguments.track.clone());
            let why = explainer.why(&Asked { room, who: who.clone(), sees: sees.clone(), track }).map_err(told)?;
            (why.to_string(), json!(why), u8::from(!why.sees))
        }
        _ => {
            let who = explainer.who(&arguments.room).map_err(told)?;
            (who.to_string(), json!(who), 0)
        }
    };
    let text = if arguments.json { in_json(json, &explainer, doubts.is_whole()) } else { text };
    Ok(Report { text, complaint: doubts.complaint(), code })
}

fn in_json(mut answer: Value, explainer: &Explainer, whole: bool) -> String {
    if let Value::Object(members) = &mut answer {
        members.insert("lost".into(), json!(explainer.lost()));
        members.insert("whole".into(), json!(whole));
    }
    format!("{answer}\n")
}

fn told(problem: impl ToString) -> String {
    problem.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_log_the_remedy_is_told() {
        let place = tempfile::tempdir().unwrap();
        let arguments = |log: PathBuf| Arguments {
            logs: vec![log],
            room: "board".into(),
            who: None,
            sees: None,
            track: None,
            at: None,
            json: false,
        };
        let report = run(&arguments(place.path().into()));
        assert!(report.code == 64 && report.complaint.contains("[policy.log]"), "{report:?}");
        let report = run(&arguments(place.path().join("none")));
        assert!(report.code == 64 && report.complaint.contains("none: "), "{report:?}");
    }
}
