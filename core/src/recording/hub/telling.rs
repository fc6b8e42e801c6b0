//! What those who follow the node learn of recordings from the recorder: complete files, and the end, also when the room is over by then.

use lockgate_model::carrier::{FileState, RecordedFile};
use lockgate_model::{Happening, RecordingId, RecordingState};

use super::Hub;

impl Hub {
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
