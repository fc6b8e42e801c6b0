//! `lockgate policy verify-log`.

use std::path::PathBuf;

use lockgate_policy::journal::{FileProblem, Hash, Head, Reader, Report as Found, Verifier};
use serde_json::json;

use super::Report;

/// Which log.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder of the log, or some of its files, the oldest first.
    #[arg(required = true, value_name = "FOLDER|FILE")]
    logs: Vec<PathBuf>,
    /// A line and its hash that were kept elsewhere (the node logs them), as in "120:9f86…": the log must have it. May be given several
    /// times.
    #[arg(long = "head", value_name = "LINE:HASH", value_parser = head)]
    heads: Vec<Head>,
    /// Write the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Report {
    match verify(arguments) {
        Err(problem) => Report::wrong(problem),
        Ok(found) if found.files == 0 => Report::wrong("there is no decision log"),
        Ok(found) => {
            let text = if arguments.json { format!("{}\n", json!(found)) } else { in_words(&found) };
            Report { text, complaint: String::new(), code: u8::from(!found.findings.is_empty()) }
        }
    }
}

fn verify(arguments: &Arguments) -> Result<Found, FileProblem> {
    let mut verifier = Verifier::expecting(arguments.heads.clone());
    for file in Reader::files(&arguments.logs)? {
        verifier.file(&file.display().to_string());
        let mut reader = Reader::open(&file)?;
        while let Some(line) = reader.next_line()? {
            verifier.line(&line);
        }
    }
    // A folder has all that there is; of files somebody may have chosen some.
    let all = matches!(&arguments.logs[..], [folder] if folder.is_dir());
    Ok(verifier.finish(all))
}

fn in_words(found: &Found) -> String {
    let mut text: String = found.findings.iter().map(|one| format!("{}: {}\n", one.spot, one.problem)).collect();
    if found.more_findings > 0 {
        text.push_str(&format!("and {} more\n", found.more_findings));
    }
    text.extend(found.notes.iter().map(|one| format!("{}: note: {}\n", one.spot, one.note)));
    let verdict = if found.findings.is_empty() { "the log is whole" } else { "the log is not as it was written" };
    let (files, lines) = (found.files, found.lines);
    let are = if files == 1 { "file" } else { "files" };
    text.push_str(&format!("{verdict}: {lines} lines in {files} {are}"));
    if let (Some(first), Some(last), Some(hash)) = (found.first, found.last, &found.hash) {
        text.push_str(&format!(", from {first} to {last}; its head is {last}:{hash}"));
    }
    text.push('\n');
    text
}

fn head(text: &str) -> Result<Head, String> {
    let read = || {
        let (seq, hash) = text.split_once(':')?;
        Some(Head { seq: seq.parse().ok()?, hash: Hash::parse(hash.as_bytes())? })
    };
    read().ok_or_else(|| "is no head; write the number of a line, a colon and its hash of 64 digits".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lockgate_policy::{JournalConfig, Policy, PolicyConfig};

    use super::*;

    #[test]
    fn a_whole_log_ends_with_0_and_one_that_was_tampered_with_with_1_and_the_place() {
        let place = tempfile::tempdir().unwrap();
        let (directory, max_age) = (place.path().to_owned(), Duration::from_secs(3600));
        let config = JournalConfig { directory, max_size: 1 << 20, max_age, keep: 2, omit: Vec::new() };
        let policy = Policy::load(PolicyConfig::default()).unwrap().log_to(&config).unwrap();
        policy.journal().close();
        let arguments = |heads: Vec<Head>| Arguments { logs: vec![place.path().into()], heads, json: false };
        let report = run(&arguments(Vec::new()));
        assert!(
            report.code == 0 && report.text.starts_with("the log is whole: 2 lines in 1 file, from 1 to 2"),
            "{report:?}"
        );
        let kept = head(report.text.trim_end().rsplit(' ').next().unwrap()).unwrap();
        assert_eq!(run(&arguments(vec![kept])).code, 0);
        assert_eq!(run(&arguments(vec![Head { seq: 3, ..kept }])).code, 1);

        let file = place.path().join("decisions-000001.jsonl");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("\"keep\":2", "\"keep\":3")).unwrap();
        let report = run(&arguments(Vec::new()));
        assert!(report.code == 1 && report.text.contains("decisions-000001.jsonl:1: was changed"), "{report:?}");
        let json: serde_json::Value =
            serde_json::from_str(&run(&Arguments { json: true, ..arguments(Vec::new()) }).text).unwrap();
        assert_eq!((&json["findings"][0]["line"], &json["files"]), (&json!(1), &json!(1)));
    }

    #[test]
    fn where_there_is_nothing_to_verify_that_is_told() {
        let place = tempfile::tempdir().unwrap();
        let report = run(&Arguments { logs: vec![place.path().into()], heads: Vec::new(), json: false });
        assert_eq!((report.code, report.complaint.as_str()), (64, "lockgate: there is no decision log\n"));
        assert!(head("12").is_err() && head("12:ab").is_err());
    }
}
