//! `repair`: completes what was left open, and seals what has ended.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::{Outcome, ToolError, file_error, write_json};
use crate::archive::{Budget, Sealing, SigningKey, Swept, seal, sweep_session};
use crate::webm::Repair;

#[derive(Serialize)]
struct Report {
    files: Vec<FileReport>,
    /// Folders of the sessions that were sealed.
    sealed: Vec<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileReport {
    /// Where it is now.
    path: PathBuf,
    /// `mended`, `removed` (there was nothing in it), `unknown` (not a file of ours, or damaged at its head), `failed`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Mends sessions and tells what came of it.
pub(super) fn repair(
    sessions: &[PathBuf],
    key: Option<&SigningKey>,
    json: bool,
    out: &mut impl Write,
) -> Result<Outcome, ToolError> {
    let mut report = Report { files: Vec::new(), sealed: Vec::new() };
    for folder in sessions {
        report.files.extend(sweep_session(folder).map_err(file_error(folder))?.into_iter().map(told));
        if seal(folder, key, &Budget::new()).map_err(file_error(folder))? == Sealing::Sealed {
            report.sealed.push(folder.clone());
        }
    }
    match json {
        true => write_json(&report, out)?,
        false => print(&report, out)?,
    }
    let bad = report.files.iter().any(|file| matches!(file.outcome, "unknown" | "failed"));
    Ok(if bad { Outcome::Damaged } else { Outcome::Good })
}

fn told(Swept { path, outcome }: Swept) -> FileReport {
    let mut file = FileReport { path, outcome: "failed", duration_ms: None, bytes: None, reason: None };
    match outcome {
        Ok(Repair::Mended(finished)) => {
            (file.outcome, file.bytes, file.duration_ms) = ("mended", Some(finished.bytes), Some(finished.duration_ms));
        }
        Ok(Repair::Empty) => file.outcome = "removed",
        Ok(Repair::Unknown) => file.outcome = "unknown",
        Err(error) => file.reason = Some(error.to_string()),
    }
    file
}

fn print(report: &Report, out: &mut impl Write) -> Result<(), ToolError> {
    for FileReport { path, outcome, duration_ms, reason, .. } in &report.files {
        let detail = match (duration_ms, reason) {
            (Some(ms), _) => format!(", {}", super::clock_text(*ms)),
            (None, Some(reason)) => format!(": {reason}"),
            (None, None) => String::new(),
        };
        writeln!(out, "{}: {outcome}{detail}", path.display())?;
    }
    for folder in &report.sealed {
        writeln!(out, "{}: sealed", folder.display())?;
    }
    if report.files.is_empty() && report.sealed.is_empty() {
        writeln!(out, "nothing was left open or unsealed")?;
    }
    Ok(())
}
