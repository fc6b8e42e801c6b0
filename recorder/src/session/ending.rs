//! How a session ends: as it was asked to, because node or recorder goes away, or because it cannot go on.

use std::time::Instant;

use lockgate_model::carrier::SessionState;

use super::outbox::Outbox;
use super::{Left, Session, State};
use crate::archive::SessionEnd;

impl Session {
    /// Closes everything at once: node or recorder goes away. The session may go on later, where its tracks are then.
    pub(crate) fn interrupt(&mut self, now: Instant, out: &mut Outbox) -> Left {
        if matches!(self.state, State::Stopped | State::Failed(_)) {
            return Left::new();
        }
        let ends = if matches!(self.state, State::Stopping) { SessionEnd::Stopped } else { SessionEnd::Interrupted };
        let mut frames = Vec::new();
        for track in self.tracks.values_mut().filter(|track| !track.has_left()) {
            let clock = self.clocks.entry(track.add.publisher_id).or_default();
            track.on_end(now, clock, &mut frames);
        }
        self.deliver(frames, now, out);
        if self.has_failed() {
            return Left::new();
        }
        let closed = self.close_all(now);
        self.end_notes(now);
        let tracks = std::mem::take(&mut self.tracks);
        let closed = closed.and_then(|()| self.archive.end(ends, None, self.at_us()));
        if let Err(error) = closed {
            tracing::error!(session = %self.start.session, %error, "a session could not be closed");
            return Left::new();
        }
        // Everything that came is in a file now.
        let left = tracks.into_values().map(|mut track| {
            track.settle();
            if let Some(ack) = track.ack() {
                out.acknowledge(track.add.worker, ack);
            }
            let clock = self.clocks.get(&track.add.publisher_id);
            (track.add.number, (track.add.track_id.clone(), track.progress(clock)))
        });
        left.collect()
    }

    /// Ends the session as it was asked to.
    pub(super) fn finish(&mut self, now: Instant, out: &mut Outbox) {
        let closed = self.close_all(now).and_then(|()| self.archive.end(SessionEnd::Stopped, None, self.at_us()));
        match closed {
            Ok(()) => {
                self.state = State::Stopped;
                tracing::info!(session = %self.start.session, folder = %self.archive.folder().display(), "recorded");
                self.tell(SessionState::Stopped, None, out);
            }
            Err(error) => self.fail(&error.to_string(), now, out),
        }
    }

    /// Ends the session because it cannot go on; what was written stays.
    pub(super) fn fail(&mut self, reason: &str, now: Instant, out: &mut Outbox) {
        tracing::error!(session = %self.start.session, reason, "a recording failed");
        self.state = State::Failed(reason.to_owned());
        self.end_notes(now);
        for group in self.groups.values_mut() {
            if let Err(error) = group.abandon(&mut self.archive) {
                tracing::warn!(session = %self.start.session, %error, "a file was left as it was");
            }
        }
        self.groups.clear();
        self.tracks.clear();
        if let Err(error) = self.archive.end(SessionEnd::Failed, Some(reason), self.at_us()) {
            tracing::warn!(session = %self.start.session, %error, "session.json is not up to date");
        }
        self.tell(SessionState::Failed, Some(reason.to_owned()), out);
    }
}
