//! `events.jsonl`: one line for each thing that happened, in the order in which it was noticed. Only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

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
    /// Something is missing.
    Gap {
        /// Of which track.
        track: TrackNumber,
        /// How many packets.
        packets: u64,
        /// `loss`, `overload`, `policy`, `paused`, `quiet`.
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
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().create(true).append(true).open(path)?, lines: Vec::new() })
    }

    pub(super) fn note(&mut self, t: i64, event: Event<'_>) {
        if self.lines.len() < MAX_WAITING && serde_json::to_writer(&mut self.lines, &Line { t, event }).is_ok() {
            self.lines.push(b'\n');
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.lines)?;
        self.lines.clear();
        Ok(())
    }
}

/// What may wait to be written; flushed several times a second, so only a disk that refuses fills it.
const MAX_WAITING: usize = 1 << 20;
