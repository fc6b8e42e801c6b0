//! `events.jsonl`: one line for each thing that happened, in the order in which it was noticed. Only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use lockgate_model::PublisherId;
use lockgate_model::carrier::{AddTrack, TrackNumber};
use serde::Serialize;

use super::date::rfc3339;

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(crate) enum Event<'a> {
    /// The session began, or went on after a break.
    Session {
        /// The node's life within the session, from 0.
        epoch: u32,
    },
    /// A track joined.
    Track(&'a AddTrack),
    /// A track is over.
    TrackEnd {
        /// Which.
        track: TrackNumber,
        /// Packets that came, that never came, and frames that were given up.
        packets: u64,
        /// See `packets`.
        lost: u64,
        /// See `packets`.
        dropped_frames: u64,
        /// How fast its sender's clock runs against nominal, in parts per million, if sender reports told.
        #[serde(skip_serializing_if = "Option::is_none")]
        clock_ppm: Option<f64>,
    },
    /// A file was begun.
    Open {
        /// Its name when it is complete.
        file: &'a str,
    },
    /// A file is complete.
    Close {
        /// Its name.
        file: &'a str,
        /// Its length in milliseconds.
        duration_ms: u64,
        /// Its size.
        bytes: u64,
    },
    /// A file that was left open by a recorder that was killed is complete now.
    Mended {
        /// Its name.
        file: &'a str,
    },
    /// A file that a recorder left open when it was killed goes on where it was whole.
    Resumed {
        /// Its name when it is complete.
        file: &'a str,
    },
    /// Something is missing.
    Gap {
        /// Of which track.
        track: TrackNumber,
        /// How many packets.
        packets: u64,
        /// `loss`, `overload`, `policy`, `paused`, `absent`, `quiet`.
        reason: &'a str,
        /// The last frame before it, in milliseconds of the session; absent: there was none.
        #[serde(skip_serializing_if = "Option::is_none")]
        from_ms: Option<u64>,
        /// The first frame behind it; absent: there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        to_ms: Option<u64>,
    },
    /// Somebody spoke.
    Speech {
        /// Into which microphone.
        track: TrackNumber,
        /// Who.
        publisher_id: PublisherId,
        /// In milliseconds of the session.
        from_ms: u64,
        /// In milliseconds of the session.
        to_ms: u64,
    },
    /// How a track's sender counts time.
    Clock {
        /// Which track.
        track: TrackNumber,
        /// Against nominal, in parts per million.
        ppm: f64,
        /// How far its sender reports are from a line, in microseconds.
        residual_us: f64,
    },
    /// What the wall clock shows. Its steps show here and nowhere else: the session's timeline does not know them.
    Wall {
        /// RFC 3339.
        at: String,
        /// The same in microseconds since 1970 (UTC).
        at_us: u64,
    },
    /// A track goes on with another encoding.
    Layer {
        /// Which track.
        track: TrackNumber,
        /// Its new encoding.
        ssrc: u32,
    },
    /// A picture has another size from here on.
    Resolution {
        /// Of which track.
        track: TrackNumber,
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// A key frame was asked for: a picture cannot be decoded or a file cannot begin without.
    KeyframeRequest {
        /// Of which track.
        track: TrackNumber,
    },
    /// The session is over.
    End {
        /// `stopped`, `interrupted` or `failed`.
        state: &'a str,
        /// Why it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
}

impl Event<'_> {
    /// The wall clock shows this moment, in microseconds since 1970 (UTC).
    pub(crate) fn wall(at_us: u64) -> Self {
        Self::Wall { at: rfc3339(at_us), at_us }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    /// Milliseconds on the session's timeline.
    t: i64,
    #[serde(flatten)]
    event: Event<'a>,
}

/// The open log. Lines are gathered until they are flushed.
#[derive(Debug)]
pub(super) struct EventLog {
    file: File,
    lines: Vec<u8>,
}

impl EventLog {
    /// Opens it behind its last whole line. Whoever does so has locked the folder.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).create(true).append(true).open(path)?;
        cut_torn(&file, path)?;
        Ok(Self { file, lines: Vec::new() })
    }

    pub(super) fn note(&mut self, t: i64, event: Event<'_>) {
        if self.lines.len() < MAX_WAITING && serde_json::to_writer(&mut self.lines, &Line { t, event }).is_ok() {
            self.lines.push(b'\n');
        }
    }

    /// Writes what was gathered. After an error the log ends where it did, and the lines still wait.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let length = self.file.metadata()?.len();
        if let Err(error) = self.file.write_all(&self.lines) {
            // Whatever reached the disk may end within a line.
            self.file.set_len(length)?;
            return Err(error);
        }
        self.lines.clear();
        Ok(())
    }
}

/// Takes away the half of a line that a recorder left that was killed, or whose disk was full. Whoever does so has locked the folder.
pub(super) fn mend_log(path: &Path) -> io::Result<()> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => cut_torn(&file, path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn cut_torn(file: &File, path: &Path) -> io::Result<()> {
    // What a link leads to is not ours.
    if !path.symlink_metadata()?.is_file() {
        return Ok(());
    }
    let Some(torn) = torn_line(file)? else { return Ok(()) };
    // The folder's lock may be shared: a line that another one is just writing is whole soon.
    thread::sleep(WRITTEN);
    if torn_line(file)? == Some(torn) { file.set_len(torn.0) } else { Ok(()) }
}

/// Where the last line begins and ends, if no line feed is behind it. None, too, if it is longer than any that is written.
fn torn_line(file: &File) -> io::Result<Option<(u64, u64)>> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(MAX_WAITING as u64);
    let mut tail = vec![0; (length - from) as usize];
    file.read_exact_at(&mut tail, from)?;
    if tail.is_empty() || tail.ends_with(b"\n") {
        return Ok(None);
    }
    let begins = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(feed) => Some(from + feed as u64 + 1),
        None => (from == 0).then_some(0),
    };
    Ok(begins.map(|begins| (begins, length)))
}

/// What may wait to be written; flushed several times a second, so only a disk that refuses fills it.
const MAX_WAITING: usize = 1 << 20;
/// After this time a line that is being written is whole.
const WRITTEN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_last_line_without_its_end_is_cut_away() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let long = "x".repeat(MAX_WAITING + 1);
        let whole = format!("{long}\n");
        let torn = format!("{long}\n{{\"t\"");
        let large = [(&whole, &whole), (&torn, &whole), (&long, &long)]
            .map(|(before, after)| (before.as_str(), after.as_str()));
        let small = [("", ""), ("a\n", "a\n"), ("a\nb\nc", "a\nb\n"), ("a", "")];
        for (before, after) in small.into_iter().chain(large) {
            std::fs::write(file.path(), before).unwrap();
            mend_log(file.path()).unwrap();
            assert!(std::fs::read_to_string(file.path()).unwrap() == after, "{} bytes", before.len());
        }
        assert!(mend_log(&file.path().with_extension("nothing")).is_ok(), "there is no log");
    }
}
