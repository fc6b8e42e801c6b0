//! What operators see of recording, and what those who follow the node learn of it from the recorder: complete files, and the end, also when
//! the room is over by then.

use std::collections::HashSet;

use lockgate_model::carrier::{FileState, RecordedFile, TrackNumber};
use lockgate_model::{Happening, RecordingId, RecordingState};

use super::Hub;
use crate::recording::RecorderOverview;

impl Hub {
    /// How recording does. The recorder tells of each track about every two seconds while there are any: what it said of those that are over is
    /// none of them.
    pub(super) fn overview(&self) -> RecorderOverview {
        let tracks = self.recorded();
        let of_recorder = self.attached.as_ref().map(|attached| (attached.software.clone(), &attached.stats));
        let (software, stats) = of_recorder.unzip();
        let overview = RecorderOverview {
            attached: software.is_some(),
            software,
            sessions: self.sessions.len(),
            tracks: tracks.len(),
            ..RecorderOverview::default()
        };
        let of_now = stats.into_iter().flat_map(|stats| tracks.iter().filter_map(|track| stats.get(track)));
        of_now.fold(overview, |sum, of_track| RecorderOverview {
            packets: sum.packets + of_track.packets,
            bytes: sum.bytes + of_track.bytes,
            lost: sum.lost + of_track.lost,
            dropped_frames: sum.dropped_frames + of_track.dropped_frames,
            ..sum
        })
    }

    /// The tracks that are recorded now.
    pub(super) fn recorded(&self) -> HashSet<TrackNumber> {
        self.sessions.values().flat_map(|session| session.tracks.values()).map(|add| add.number).collect()
    }

    /// Files of a session, of which some may be complete since it was last heard of.
    pub(super) fn on_files(&mut self, id: &RecordingId, files: Vec<RecordedFile>) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        for file in files.into_iter().filter(|file| file.state == FileState::Closed) {
            if session.closed.insert(file.path.clone()) {
                let RecordedFile { path, publisher_id, bytes, duration_ms, .. } = file;
                let session_id = id.clone();
                let part = Happening::RecordingPart { session_id, path, publisher_id, bytes, duration_ms };
                self.node.events.tell(Some(&session.start.room), &part);
            }
        }
    }

    /// A session is over: the room may be, too, before that.
    pub(super) fn tell_end(&self, id: &RecordingId, state: RecordingState, reason: Option<&str>) {
        let Some(session) = self.sessions.get(id) else { return };
        let (session_id, tracks, reason) = (id.clone(), Vec::new(), reason.map(ToOwned::to_owned));
        let end = Happening::Recording { session_id, state, tracks, reason };
        self.node.events.tell(Some(&session.start.room), &end);
    }
}
