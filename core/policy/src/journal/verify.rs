//! Whether a log is what was written: finds what was changed, taken out, put in or put elsewhere, and says where.
//!
//! A pure function over lines. It proves nothing about lines after the last one it is shown, nor against somebody who may write to the
//! folder and makes a new chain: against both, compare a head that was kept elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::line::Torn;
use super::read::ReadLine;
use super::seal::{BadLine, Hash, Head, Sealed};

/// Goes through a log from its oldest line to its newest.
#[derive(Debug, Default)]
pub struct Verifier {
    /// Where the chain is; none: nothing was read yet.
    head: Option<Head>,
    /// Whether the next line may follow another one than the head: the one before it cannot be believed.
    lost_track: bool,
    file: String,
    line: u64,
    /// What was left of a line at the end of the file before.
    rest: Option<(Spot, Torn)>,
    /// The numbers of the files that headers told: the first one, and up to which the oldest may be deleted.
    first_file: Option<u64>,
    deletable: u64,
    expected: Vec<Head>,
    ended: bool,
    report: Report,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How many files there were.
    pub files: u64,
    /// How many lines were as they were written.
    pub lines: u64,
    /// How many lines the node says it could not write.
    pub lost: u64,
    /// The number of the first line.
    pub first: Option<u64>,
    /// The number of the last line.
    pub last: Option<u64>,
    /// The hash of the last line.
    pub hash: Option<String>,
    /// What is not as it was written; the first thousand of it.
    pub findings: Vec<Finding>,
    /// How much more there is.
    pub more_findings: u64,
    /// What an operator should know, and may be right.
    pub notes: Vec<Note>,
}

/// A place in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it shows.
    #[serde(flatten)]
    pub spot: Spot,
    /// What it is.
    pub problem: String,
}

/// Something to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Where it shows.
    #[serde(flatten)]
    pub spot: Spot,
    /// What it is.
    pub note: String,
}

impl Verifier {
    /// Also looks for heads that were kept elsewhere.
    pub fn expecting(heads: Vec<Head>) -> Self {
        Self { expected: heads, ..Self::default() }
    }

    /// The next file begins.
    pub fn file(&mut self, name: &str) {
        self.file = name.to_owned();
        self.line = 0;
        self.report.files += 1;
    }

    /// The next line. Returns what it says of itself if it can be believed by itself.
    pub fn line(&mut self, line: &ReadLine) -> Option<Sealed> {
        self.line += 1;
        let spot = Spot { file: self.file.clone(), line: self.line };
        let bytes = match line {
            ReadLine::Whole(bytes) => bytes,
            ReadLine::Rest(bytes) => {
                self.rest = Some((spot, Torn { bytes: bytes.len() as u64, sha256: Hash::of(bytes) }));
                return None;
            }
            ReadLine::TooLong => {
                self.on_bad_line(spot, BadLine::Form);
                return None;
            }
        };
        match Sealed::open(bytes) {
            Ok(sealed) => {
                self.on_line(spot, &sealed, bytes);
                Some(sealed)
            }
            Err(bad) => {
                self.on_bad_line(spot, bad);
                None
            }
        }
    }

    /// There are no more lines. `all` tells that the files are all that the folder has.
    pub fn finish(mut self, all: bool) -> Report {
        let spot = Spot { file: self.file.clone(), line: self.line };
        if let Some((spot, torn)) = self.rest.take() {
            let problem = format!(
                "{} bytes without an end: the line was cut off, or is being written just now, or the node died over it",
                torn.bytes
            );
            self.find(spot, problem);
        } else if !self.ended && self.head.is_some() {
            let note = "the log does not end with a stop of the node: it runs, or was killed, or the end was cut off; \
                        compare with a head that was kept elsewhere (--head)";
            self.note(spot.clone(), note.into());
        }
        if let Some(first) = self.first_file.filter(|first| all && *first > self.deletable.saturating_add(1)) {
            let start = Spot { line: 1, ..spot.clone() };
            self.find(
                start,
                format!(
                    "the oldest files are missing: of {} to {}, none was to be deleted yet",
                    self.deletable + 1,
                    first - 1
                ),
            );
        }
        for head in std::mem::take(&mut self.expected) {
            let problem = match self.report.first {
                Some(first) if head.seq < first => format!("line {} is older than what is left of the log", head.seq),
                _ => format!("line {} with the hash {} is not there: the end was cut off", head.seq, head.hash),
            };
            self.find(spot.clone(), problem);
        }
        self.report.last = self.head.map(|head| head.seq);
        self.report.hash = self.head.map(|head| head.hash.to_string());
        self.report
    }

    fn on_bad_line(&mut self, spot: Spot, bad: BadLine) {
        self.settle_rest(&spot, None);
        let problem = match bad {
            BadLine::Form => "is no line of a decision log: it was changed or put in",
            BadLine::Changed => "was changed: it does not hash to what its end says",
        };
        self.find(spot, problem.to_owned());
        self.lost_track = true;
        self.ended = false;
    }

    fn on_line(&mut self, spot: Spot, sealed: &Sealed, bytes: &[u8]) {
        let marks = Marks::read(bytes);
        self.settle_rest(&spot, marks.torn);
        let next = Head { seq: sealed.seq, hash: sealed.hash };
        match self.head {
            None => self.on_first(&spot, sealed),
            Some(head) => {
                let lost_track = std::mem::take(&mut self.lost_track);
                if let Some(problem) = break_in(head, lost_track, sealed) {
                    self.find(spot.clone(), problem);
                }
                // An older line in a newer one's place is passed over, so that the rest is held against the newer one.
                if sealed.seq <= head.seq {
                    return;
                }
            }
        }
        if spot.line == 1 && marks.kind != "header" {
            self.find(spot.clone(), "the file does not begin with its header: its beginning was taken out".to_owned());
        }
        self.on_marks(spot, &marks);
        self.compare(next, sealed);
        self.report.lines += 1;
        self.head = Some(next);
    }

    fn on_first(&mut self, spot: &Spot, sealed: &Sealed) {
        self.report.first = Some(sealed.seq);
        if std::mem::take(&mut self.lost_track) {
            return;
        }
        if sealed.seq == 1 && sealed.prev != Hash::NONE {
            self.find(
                spot.clone(),
                "the first line of all follows another one: what was before it was taken out".into(),
            );
        } else if sealed.seq > 1 {
            let note = format!("the log begins with line {}: older files were deleted", sealed.seq);
            self.note(spot.clone(), note);
        }
    }

    fn on_marks(&mut self, spot: Spot, marks: &Marks) {
        match marks.kind.as_str() {
            "header" => {
                if marks.why == "node" && !self.ended && self.head.is_some() {
                    let note = "the node began anew without having stopped: the last second before it may be missing";
                    self.note(spot, note.into());
                }
                self.first_file.get_or_insert(marks.file);
                self.deletable = self.deletable.max(marks.file.saturating_sub(marks.keep));
            }
            "gap" => {
                self.report.lost += marks.lost;
                let because = if marks.why == "disk" { "the disk did not take them" } else { "they came too fast" };
                self.note(spot, format!("{} lines were not written, as the node says: {because}", marks.lost));
            }
            _ => {}
        }
        self.ended = marks.kind == "end";
    }

    /// Holds what was left of a line against what the next line says of it.
    fn settle_rest(&mut self, spot: &Spot, told: Option<Torn>) {
        match (self.rest.take(), told) {
            (Some((at, rest)), Some(torn)) if rest == torn => {
                let note = format!("{} bytes of a line that the node did not finish when it died", rest.bytes);
                self.note(at, note);
            }
            (Some((at, _)), _) => self.find(at, "the end of the file was cut off or changed".into()),
            (None, Some(_)) => {
                self.find(spot.clone(), "what the file before ended with was taken out or changed".into());
            }
            (None, None) => {}
        }
    }

    fn compare(&mut self, head: Head, sealed: &Sealed) {
        let (met, others) =
            std::mem::take(&mut self.expected).into_iter().partition(|one: &Head| one.seq == sealed.seq);
        self.expected = others;
        let met: Vec<Head> = met;
        if met.iter().any(|one| one.hash != head.hash) {
            let spot = Spot { file: self.file.clone(), line: self.line };
            self.find(spot, "has another hash than the one that was kept: the log was rewritten".into());
        }
    }

    fn find(&mut self, spot: Spot, problem: String) {
        if self.report.findings.len() < MAX_FINDINGS {
            self.report.findings.push(Finding { spot, problem });
        } else {
            self.report.more_findings += 1;
        }
    }

    fn note(&mut self, spot: Spot, note: String) {
        self.report.notes.push(Note { spot, note });
    }
}

/// What is wrong between the last line that was believed and this one.
fn break_in(head: Head, lost_track: bool, sealed: &Sealed) -> Option<String> {
    let expected = head.seq.saturating_add(1);
    match sealed.seq {
        seq if seq <= head.seq => {
            Some(format!("line {seq} stands behind line {}: it was put in, doubled or moved", head.seq))
        }
        // The line between was told of already.
        seq if lost_track && seq - 1 == expected => None,
        seq if lost_track && seq > expected => Some(format!("some of lines {expected} to {} are missing", seq - 1)),
        seq if seq > expected && seq - 1 == expected => Some(format!("line {expected} is missing before it")),
        seq if seq > expected => Some(format!("lines {expected} to {} are missing before it", seq - 1)),
        _ if sealed.prev != head.hash => {
            Some(format!("line {} before it was rewritten: its hash is another one now", head.seq))
        }
        _ => None,
    }
}

/// What verification needs of a line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Marks {
    kind: String,
    why: String,
    file: u64,
    keep: u64,
    torn: Option<Torn>,
    lost: u64,
}

impl Marks {
    /// Questions, which are most lines, are not read.
    fn read(line: &[u8]) -> Self {
        let about = |kind: &str| {
            let mark = format!(",\"kind\":\"{kind}\"");
            line.windows(mark.len()).take(LONGEST_START).any(|part| part == mark.as_bytes())
        };
        let marked = ["header", "gap", "end"].into_iter().any(about);
        if marked { serde_json::from_slice(line).unwrap_or_default() } else { Self::default() }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What is told of a file that is something else altogether.
const MAX_FINDINGS: usize = 1000;
/// The kind stands behind a number, a hash and a time.
const LONGEST_START: usize = 160;
