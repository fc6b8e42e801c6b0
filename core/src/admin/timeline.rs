//! When something is missing in a recording, and when who spoke: out of its `events.jsonl` (docs/archive.md).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use lockgate_model::carrier::TrackNumber;
use lockgate_model::{PublisherId, Source};
use serde::{Deserialize, Serialize};

/// What happened to whom, in ms on the session's timeline.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Timeline {
    gaps: Vec<Gap>,
    speech: Vec<Speech>,
    /// How many of either are left out, as there are too many.
    left_out: u64,
}

/// Something is missing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Gap {
    publisher_id: PublisherId,
    source: Source,
    reason: String,
    packets: u64,
    /// Absent: before the first frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_ms: Option<i64>,
    /// Absent: behind the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    to_ms: Option<i64>,
}

/// Somebody spoke.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Speech {
    publisher_id: PublisherId,
    from_ms: i64,
    to_ms: i64,
}

/// A line, as far as it is looked at.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Noted {
    Track {
        number: TrackNumber,
        publisher_id: PublisherId,
        source: Source,
    },
    Gap {
        track: TrackNumber,
        reason: String,
        packets: u64,
        from_ms: Option<i64>,
        to_ms: Option<i64>,
    },
    Speech {
        publisher_id: PublisherId,
        from_ms: i64,
        to_ms: i64,
    },
    #[serde(other)]
    Other,
}

impl Timeline {
    /// Reads it; an empty one if there is no such file. What is torn or unknown is passed over.
    pub(super) fn read(events: &Path) -> io::Result<Self> {
        // A link leads elsewhere.
        let file = match std::fs::symlink_metadata(events) {
            Ok(facts) if facts.is_file() => File::open(events)?,
            Ok(_) => return Ok(Self::default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut timeline = Self::default();
        let mut tracks = HashMap::new();
        for line in BufReader::new(file.take(MAX_READ)).split(b'\n') {
            if let Ok(noted) = serde_json::from_slice(&line?) {
                timeline.take(noted, &mut tracks);
            }
        }
        Ok(timeline)
    }

    fn take(&mut self, noted: Noted, tracks: &mut HashMap<TrackNumber, (PublisherId, Source)>) {
        let is_full = self.gaps.len() + self.speech.len() >= MAX_ENTRIES;
        match noted {
            Noted::Track { number, publisher_id, source } => drop(tracks.insert(number, (publisher_id, source))),
            Noted::Gap { .. } | Noted::Speech { .. } if is_full => self.left_out += 1,
            Noted::Gap { track, reason, packets, from_ms, to_ms } => {
                let gap = |(publisher_id, source)| Gap { publisher_id, source, reason, packets, from_ms, to_ms };
                self.gaps.extend(tracks.get(&track).copied().map(gap));
            }
            Noted::Speech { publisher_id, from_ms, to_ms } => {
                self.speech.push(Speech { publisher_id, from_ms, to_ms });
            }
            Noted::Other => {}
        }
    }
}

/// Bytes of a file that are read: of days.
const MAX_READ: u64 = 64 << 20;
/// Gaps and words in one answer: some hundred kilobytes.
const MAX_ENTRIES: usize = 10_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(lines: &str) -> serde_json::Value {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.jsonl");
        std::fs::write(&file, lines).unwrap();
        json!(Timeline::read(&file).unwrap())
    }

    #[test]
    fn gaps_and_words_are_those_of_their_publishers() {
        let told = read(concat!(
            r#"{"t":0,"event":"session","epoch":0}"#,
            "\n",
            r#"{"t":0,"event":"track","number":3,"session":"s","worker":0,"publisherId":12,"source":"screen","kind":"video"}"#,
            "\n",
            r#"{"t":900,"event":"gap","track":3,"reason":"policy","packets":7,"toMs":800}"#,
            "\n",
            r#"{"t":900,"event":"gap","track":4,"reason":"loss","packets":7,"toMs":800}"#,
            "\nwhat was torn\n",
            r#"{"t":2000,"event":"speech","track":1,"publisherId":12,"fromMs":100,"toMs":1500}"#,
        ));
        let gap = json!({"publisherId": 12, "source": "screen", "reason": "policy", "packets": 7, "toMs": 800});
        assert_eq!(told["gaps"], json!([gap]));
        assert_eq!(told["speech"], json!([{"publisherId": 12, "fromMs": 100, "toMs": 1500}]));
        assert_eq!(told["leftOut"], 0);
    }

    #[test]
    fn there_is_a_bound_and_what_is_over_it_is_counted() {
        let word = r#"{"t":1,"event":"speech","track":1,"publisherId":12,"fromMs":0,"toMs":1}"#;
        let told = read(&[word; MAX_ENTRIES + 3].join("\n"));
        assert_eq!((told["speech"].as_array().unwrap().len(), &told["leftOut"]), (MAX_ENTRIES, &json!(3)));
        let nowhere = tempfile::tempdir().unwrap();
        assert!(Timeline::read(&nowhere.path().join("events.jsonl")).unwrap().gaps.is_empty());
    }
}
