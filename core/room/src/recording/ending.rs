//! How recordings end, what recorders say of them, and who is told.

use lockgate_model::{ErrorCode, Event, PublisherId, RecordingId, RecordingState, RequestId, TrackId};

use crate::effect::{Effect, RecordAction};
use crate::input::RecorderReport;
use crate::room::Room;
use crate::session::Recording;

impl Room {
    pub(crate) fn record_no_more(&mut self, track: &TrackId) {
        let Some(recording) = self.recording.as_mut() else { return };
        if recording.tracks.remove(track).is_some() {
            let session = recording.session.clone();
            self.effect(Effect::Record(RecordAction::Remove { session, track: track.clone() }));
        }
    }

    pub(crate) fn on_stop_recording(&mut self, id: PublisherId, mark: Option<RequestId>, tracks: Option<Vec<TrackId>>) {
        if let Some(refusal) = self.refusal_to_record(id) {
            return self.refuse(id, mark, "stop-recording", ErrorCode::FORBIDDEN, refusal);
        }
        let asker = Some((id, mark));
        match (&self.recording, tracks) {
            (None, _) => self.answer_second_stop(id, asker.and_then(|(_, mark)| mark)),
            (Some(_), None) => self.end_recording(asker),
            (Some(_), Some(tracks)) => {
                for track in &tracks {
                    self.withhold(track);
                    self.record_no_more(track);
                }
                match self.recording.as_ref().is_some_and(|recording| recording.tracks.is_empty()) {
                    true => self.end_recording(asker),
                    false => self.tell_recording(asker),
                }
            }
        }
    }

    fn answer_second_stop(&mut self, id: PublisherId, mark: Option<RequestId>) {
        match self.ending.last().map(|recording| recording.event(&self.name)) {
            Some(event) => self.reply(id, mark, event),
            None => self.refuse(id, mark, "stop-recording", ErrorCode::NOT_FOUND, "the room is not being recorded"),
        }
    }

    pub(crate) fn end_recording(&mut self, asker: Option<(PublisherId, Option<RequestId>)>) {
        let Some(recording) = self.recording.as_mut() else { return };
        recording.state = RecordingState::Stopping;
        let session = recording.session.clone();
        self.tell_recording(asker);
        let ended = self.recording.take();
        ended.iter().for_each(|recording| self.let_go_of_tracks(recording));
        self.effect(Effect::Record(RecordAction::Stop { session }));
        self.ending.extend(ended);
        if self.ending.len() > MAX_ENDING {
            self.ending.remove(0);
        }
    }

    /// Nothing more of them is sent to the recorder: their end is what it waits for before it closes the files.
    fn let_go_of_tracks(&mut self, recording: &Recording) {
        for track in recording.tracks.keys() {
            let (session, track) = (recording.session.clone(), track.clone());
            self.effect(Effect::Record(RecordAction::Remove { session, track }));
        }
    }

    /// The last member left: what is recorded is complete.
    pub(crate) fn stop_recording_when_empty(&mut self) {
        if self.participants() == 0 {
            self.end_recording(None);
        }
    }

    pub(crate) fn on_recorder(&mut self, report: RecorderReport) {
        match report {
            RecorderReport::Started { session } => self.on_recorder_started(&session),
            RecorderReport::Absent { session, reason } => self.on_recorder_absent(&session, &reason),
            RecorderReport::Recording { session } => self.on_recording(&session),
            RecorderReport::Stopped { session } => self.on_recorder_ended(&session, RecordingState::Stopped, None),
            RecorderReport::Failed { session, reason } => {
                self.on_recorder_ended(&session, RecordingState::Failed, Some(reason));
            }
        }
    }

    fn on_recorder_started(&mut self, session: &RecordingId) {
        let Some(recording) = self.recording.as_ref().filter(|recording| recording.session == *session) else { return };
        let begun_by = recording.begun_by.clone();
        self.tell_recording(begun_by);
    }

    fn on_recording(&mut self, session: &RecordingId) {
        let Some(recording) = self.recording.as_mut().filter(|recording| recording.session == *session) else { return };
        if recording.state == RecordingState::Starting {
            recording.state = RecordingState::Recording;
            self.tell_recording(None);
        }
    }

    fn on_recorder_ended(&mut self, session: &RecordingId, state: RecordingState, reason: Option<String>) {
        let Some(mut recording) = self.take_recording(session) else { return };
        if recording.state != RecordingState::Stopping {
            self.let_go_of_tracks(&recording);
        }
        (recording.state, recording.reason) = (state, reason);
        let event = recording.event(&self.name);
        self.broadcast(|_| Some(event.clone()));
    }

    /// There is no recorder that would take the session: who asked is told, for the others nothing has begun.
    fn on_recorder_absent(&mut self, session: &RecordingId, reason: &str) {
        let Some(recording) = self.take_recording(session) else { return };
        if let Some((asker, mark)) = recording.begun_by {
            self.refuse(asker, mark, "start-recording", ErrorCode::RECORDING_UNAVAILABLE, reason);
        }
    }

    fn take_recording(&mut self, session: &RecordingId) -> Option<Recording> {
        if let Some(recording) = self.recording.take_if(|recording| recording.session == *session) {
            return Some(recording);
        }
        let index = self.ending.iter().position(|recording| recording.session == *session)?;
        Some(self.ending.remove(index))
    }

    /// Tells the room how the recording stands; who asked gets it as the reply to their message.
    pub(crate) fn tell_recording(&mut self, asker: Option<(PublisherId, Option<RequestId>)>) {
        let Some(event) = self.recording_state() else { return };
        let happening = self.recording.as_mut().and_then(Recording::news);
        happening.into_iter().for_each(|happening| self.happened(happening));
        self.broadcast_answering(asker, &event, |_| true);
    }

    /// A member is told of a running recording when it enters: everybody may know that they are recorded.
    pub(crate) fn recording_state(&self) -> Option<Event> {
        self.recording.as_ref().map(|recording| recording.event(&self.name))
    }
}

/// Sessions whose files are being closed that a room keeps in mind.
const MAX_ENDING: usize = 16;
