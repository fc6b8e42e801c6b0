//! Recording: every track of it was allowed by the recording hook, and nothing else reaches the recorder.

use std::collections::BTreeSet;

use lockgate_model::policy::{Decision, Denial, RecordQuestion, Why};
use lockgate_model::{ErrorCode, Event, PublisherId, RecordingId, RecordingState, RequestId, TrackId};

use crate::effect::{Effect, Question, RecordAction};
use crate::input::RecorderReport;
use crate::member::{Member, Stage};
use crate::pending::Pending;
use crate::room::Room;

/// A recording session.
#[derive(Debug)]
pub(crate) struct Recording {
    session: RecordingId,
    state: RecordingState,
    /// Who asked; none: the configuration.
    asker: Option<PublisherId>,
    /// What was asked for; none: everything, later tracks too.
    wanted: Option<BTreeSet<TrackId>>,
    /// What policy allowed and the recorder was given.
    tracks: BTreeSet<TrackId>,
    reason: Option<String>,
}

impl Room {
    pub(crate) fn on_start_recording(
        &mut self,
        id: PublisherId,
        mark: Option<RequestId>,
        tracks: Option<Vec<TrackId>>,
    ) {
        let Some(member) = self.members.get(&id) else { return };
        if !member.grant.allows_recording() {
            return self.refuse(
                id,
                mark,
                "start-recording",
                ErrorCode::FORBIDDEN,
                "your grant does not allow to record",
            );
        }
        let wanted = tracks.map(|tracks| tracks.into_iter().collect::<BTreeSet<_>>());
        let asked: Vec<_> = self
            .tracks()
            .map(|(_, track)| track.info.track_id.clone())
            .filter(|track| wanted.as_ref().is_none_or(|wanted| wanted.contains(track)))
            .filter(|track| self.recording.as_ref().is_none_or(|recording| !recording.tracks.contains(track)))
            .collect();
        if wanted.is_some() && asked.is_empty() && self.recording.is_none() {
            return self.refuse(id, mark, "start-recording", ErrorCode::NOT_FOUND, "the room has no such track");
        }
        match &mut self.recording {
            Some(recording) if recording.is_running() => recording.want(wanted),
            _ => self.begin_recording(Some(id), id, wanted),
        }
        if asked.is_empty() {
            return self.tell_recording_to(id, mark);
        }
        self.ask_to_record(Some(id), mark, asked, Why::Request);
    }

    /// `[recording] auto`, and tracks that come while everything is recorded.
    pub(crate) fn record_new_tracks(&mut self, publisher: PublisherId, new: Vec<TrackId>) {
        if !self.members.get(&publisher).is_some_and(|member| member.stage == Stage::Inside) {
            return;
        }
        if self.recording.is_none() && self.config.auto_record {
            self.begin_recording(None, publisher, None);
        }
        let Some(recording) = self.recording.as_ref().filter(|recording| recording.is_running()) else { return };
        let asked: Vec<_> = new
            .into_iter()
            .filter(|track| recording.wanted.as_ref().is_none_or(|wanted| wanted.contains(track)))
            .collect();
        let asker = recording.asker.filter(|asker| self.members.contains_key(asker));
        if !asked.is_empty() {
            self.ask_to_record(asker, None, asked, Why::Auto);
        }
    }

    fn begin_recording(&mut self, asker: Option<PublisherId>, cause: PublisherId, wanted: Option<BTreeSet<TrackId>>) {
        // Unique in the cluster as the participant is, and in order of time in a listing.
        let session = RecordingId::new(format!("{}-{cause}", self.now_ms));
        let Ok(session) = session else { return };
        self.effect(Effect::Record(RecordAction::Start { session: session.clone() }));
        let state = RecordingState::Starting;
        self.recording = Some(Recording { session, state, asker, wanted, tracks: BTreeSet::new(), reason: None });
    }

    fn ask_to_record(&mut self, asker: Option<PublisherId>, mark: Option<RequestId>, asked: Vec<TrackId>, why: Why) {
        let publications: Vec<_> = asked.iter().filter_map(|track| self.publication(track)).collect();
        let who = asker.and_then(|asker| self.members.get(&asker)).map(Member::as_participant);
        let question = RecordQuestion { who, room: self.facts(), publications, why, now_ms: self.now_ms };
        self.ask(Question::Record(question), Pending::Record { asker, id: mark, why, asked });
    }

    pub(crate) fn on_record_verdicts(
        &mut self,
        asker: Option<PublisherId>,
        mark: Option<RequestId>,
        asked: Vec<TrackId>,
        decisions: Vec<Decision>,
    ) {
        let mut decisions = decisions.into_iter();
        for track in asked {
            let decision = decisions
                .next()
                .unwrap_or_else(|| Err(Denial::new(ErrorCode::POLICY_UNAVAILABLE, "policy gave no answer")));
            match (decision, self.publisher_of(&track)) {
                (Ok(_), Some(publisher)) => self.record(publisher, track),
                (Err(denial), _) => {
                    if let Some(asker) = asker {
                        let reply = self.error(mark.clone(), "start-recording", &denial, None, Some(track));
                        self.send(asker, reply);
                    }
                }
                (Ok(_), None) => {}
            }
        }
        match &self.recording {
            Some(recording) if recording.tracks.is_empty() && recording.wanted.is_some() => {
                self.end_recording(asker.zip(mark))
            }
            Some(_) => self.tell_recording(asker.zip(mark)),
            None => {}
        }
    }

    fn record(&mut self, publisher: PublisherId, track: TrackId) {
        let Some(recording) = self.recording.as_mut().filter(|recording| recording.is_running()) else { return };
        if recording.tracks.insert(track.clone()) {
            let session = recording.session.clone();
            self.effect(Effect::Record(RecordAction::Add { session, publisher, track }));
        }
    }

    pub(crate) fn record_no_more(&mut self, track: &TrackId) {
        let Some(recording) = self.recording.as_mut() else { return };
        if recording.tracks.remove(track) {
            let session = recording.session.clone();
            self.effect(Effect::Record(RecordAction::Remove { session, track: track.clone() }));
        }
    }

    pub(crate) fn on_stop_recording(&mut self, id: PublisherId, mark: Option<RequestId>, tracks: Option<Vec<TrackId>>) {
        let Some(member) = self.members.get(&id) else { return };
        if !member.grant.allows_recording() {
            return self.refuse(
                id,
                mark,
                "stop-recording",
                ErrorCode::FORBIDDEN,
                "your grant does not allow to record",
            );
        }
        if !self.recording.as_ref().is_some_and(Recording::is_running) {
            return self.refuse(id, mark, "stop-recording", ErrorCode::NOT_FOUND, "the room is not being recorded");
        }
        match tracks {
            None => self.end_recording(mark.map(|mark| (id, mark))),
            Some(tracks) => {
                tracks.iter().for_each(|track| self.record_no_more(track));
                match self.recording.as_ref().is_some_and(|recording| recording.tracks.is_empty()) {
                    true => self.end_recording(mark.map(|mark| (id, mark))),
                    false => self.tell_recording(mark.map(|mark| (id, mark))),
                }
            }
        }
    }

    fn end_recording(&mut self, answered: Option<(PublisherId, RequestId)>) {
        let Some(recording) = self.recording.as_mut().filter(|recording| recording.is_running()) else { return };
        recording.state = RecordingState::Stopping;
        let session = recording.session.clone();
        self.tell_recording(answered);
        self.effect(Effect::Record(RecordAction::Stop { session }));
    }

    /// The last member left: what is recorded is complete.
    pub(crate) fn stop_recording_when_empty(&mut self) {
        if self.participants() == 0 {
            self.end_recording(None);
        }
    }

    pub(crate) fn on_recorder(&mut self, report: RecorderReport) {
        let (RecorderReport::Recording { session }
        | RecorderReport::Stopped { session }
        | RecorderReport::Failed { session, .. }) = &report;
        let Some(recording) = self.recording.as_mut().filter(|recording| recording.session == *session) else { return };
        match report {
            RecorderReport::Recording { .. } if recording.state == RecordingState::Starting => {
                recording.state = RecordingState::Recording
            }
            RecorderReport::Recording { .. } => return,
            RecorderReport::Stopped { .. } => recording.state = RecordingState::Stopped,
            RecorderReport::Failed { reason, .. } => {
                recording.state = RecordingState::Failed;
                recording.reason = Some(reason);
            }
        }
        let over = !matches!(recording.state, RecordingState::Recording);
        self.tell_recording(None);
        if over {
            self.recording = None;
        }
    }

    /// Tells the room how the recording stands; who asked gets it as the reply to their message.
    fn tell_recording(&mut self, answered: Option<(PublisherId, RequestId)>) {
        let Some(event) = self.recording_state() else { return };
        let asker = answered.as_ref().map(|(asker, _)| *asker);
        self.broadcast(|member| (Some(member.id) != asker).then(|| event.clone()));
        if let Some((asker, mark)) = answered {
            self.reply(asker, Some(mark), event);
        }
    }

    fn tell_recording_to(&mut self, id: PublisherId, mark: Option<RequestId>) {
        let Some(event) = self.recording_state() else { return };
        self.reply(id, mark, event);
    }

    /// What a member is told of a running recording when it enters: everybody may know that they are recorded.
    pub(crate) fn recording_state(&self) -> Option<Event> {
        self.recording.as_ref().map(|recording| recording.event(&self.name))
    }
}

impl Recording {
    fn is_running(&self) -> bool {
        matches!(self.state, RecordingState::Starting | RecordingState::Recording)
    }

    fn want(&mut self, more: Option<BTreeSet<TrackId>>) {
        self.wanted = match (self.wanted.take(), more) {
            (Some(mut so_far), Some(more)) => {
                so_far.extend(more);
                Some(so_far)
            }
            _ => None,
        };
    }

    fn event(&self, room: &lockgate_model::RoomName) -> Event {
        Event::RecordingState {
            room_name: room.clone(),
            state: self.state,
            session_id: self.session.clone(),
            tracks: self.tracks.iter().cloned().collect(),
            reason: self.reason.clone(),
        }
    }
}
