//! `lockgate policy explain`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use lockgate_model::{distance, parse_duration, parse_rfc3339};
use lockgate_policy::journal::explain::{Asked, Explainer};
use lockgate_policy::journal::{Line, ReadLine, Reader, Verifier};
use serde_json::{Value, json};

use super::Report;

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
    let (explainer, complaint) = read(arguments)?;
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
    let text = if arguments.json { in_json(json, &explainer, complaint.is_empty()) } else { text };
    Ok(Report { text, complaint, code })
}

fn in_json(mut answer: Value, explainer: &Explainer, whole: bool) -> String {
    if let Value::Object(members) = &mut answer {
        members.insert("lost".into(), json!(explainer.lost()));
        members.insert("whole".into(), json!(whole));
    }
    format!("{answer}\n")
}

/// Takes the lines in, and says what keeps the answer from being certain.
fn read(arguments: &Arguments) -> Result<(Explainer, String), String> {
    let files = Reader::files(&arguments.logs).map_err(told)?;
    if files.is_empty() {
        let names: Vec<_> = arguments.logs.iter().map(|log| log.display().to_string()).collect();
        return Err(format!("{}: there is no decision log; see [policy.log] in config.toml", names.join(", ")));
    }
    let mut explainer = Explainer::new(arguments.at.unwrap_or_else(now_ms));
    let (mut verifier, mut unread) = (Verifier::default(), 0_u64);
    for file in &files {
        let name = file.display().to_string();
        verifier.file(&name);
        let mut reader = Reader::open(file).map_err(told)?;
        while let Some(line) = reader.next_line().map_err(told)? {
            let (Some(sealed), ReadLine::Whole(bytes)) = (verifier.line(&line), &line) else { continue };
            match serde_json::from_slice::<Line>(bytes) {
                Ok(line) => explainer.line(&name, &sealed, &line),
                Err(_) => unread += 1,
            }
        }
    }
    let mut complaint = String::new();
    let tampered = verifier.finish(false).findings.len();
    if tampered > 0 {
        complaint.push_str("lockgate: this log is not as it was written: see lockgate policy verify-log\n");
    }
    if explainer.lost() > 0 {
        complaint.push_str(&format!("lockgate: {} lines are missing, as the node says itself\n", explainer.lost()));
    }
    if unread > 0 {
        complaint.push_str(&format!("lockgate: {unread} lines are of a kind that this version does not know\n"));
    }
    Ok((explainer, complaint))
}

fn time(text: &str) -> Result<u64, String> {
    let ago = |text: &str| {
        let ago = u64::try_from(parse_duration(text).ok()?.as_millis()).ok()?;
        Some(now_ms().saturating_sub(ago))
    };
    let found = parse_rfc3339(text).or_else(|| text.parse().ok()).or_else(|| ago(text));
    found.ok_or_else(|| {
        let hint = if distance(text, "now") < 2 { "leave it out for now" } else { "write 2026-01-31T12:00:00Z or 10m" };
        format!("is no time in UTC; {hint}")
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn told(problem: impl ToString) -> String {
    problem.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_milliseconds_or_how_long_ago() {
        assert_eq!(time("1970-01-01T00:00:01Z"), Ok(1000));
        assert_eq!(time("1500"), Ok(1500));
        let ago = time("1h").unwrap();
        assert!((now_ms() - 3_601_000..=now_ms() - 3_599_000).contains(&ago));
        assert!(time("yesterday").unwrap_err().contains("10m") && time("now").unwrap_err().contains("leave it out"));
    }

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
