//! Recording: every track of it was allowed by the recording hook, and nothing else reaches the recorder.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::policy::{Decision, Denial, Participant, RecordQuestion, Why};
use lockgate_model::{ErrorCode, Event, PublisherId, RecordingId, RecordingState, RequestId, RoomName, TrackId};

use crate::effect::{Effect, Question, RecordAction};
use crate::input::{RecorderReport, for_each_asked};
use crate::member::{Member, Stage, Track};
use crate::pending::{Pending, Ticket};
use crate::room::Room;
use crate::standing::Standing;

/// What is to be recorded; none: everything, later tracks too.
type Wanted = Option<BTreeSet<TrackId>>;

/// What policy has just allowed to be recorded.
type Allowed = Vec<(TrackId, Standing)>;

/// A recording session.
#[derive(Debug)]
pub(crate) struct Recording {
    session: RecordingId,
    state: RecordingState,
    /// Who asked, with the mark of their message; none: the configuration.
    asker: Option<(PublisherId, Option<RequestId>)>,
    /// Who asked, as policy knew them last: they may have left.
    who: Option<Participant>,
    wanted: Wanted,
    /// What policy allowed and the recorder was given.
    pub(crate) tracks: BTreeMap<TrackId, Standing>,
    pub(crate) reason: Option<String>,
}

/// A question whether tracks may be recorded.
#[derive(Debug)]
pub(crate) struct RecordPending {
    pub(crate) asker: Option<PublisherId>,
    id: Option<RequestId>,
    pub(crate) why: Why,
    aim: Aim,
    asked: Vec<TrackId>,
}

/// What an answer about tracks is for.
#[derive(Debug)]
enum Aim {
    /// Somebody wants this from then on.
    Want(Wanted),
    /// This session wants them, if it still runs by then.
    Join(RecordingId),
}

impl Room {
    pub(crate) fn on_start_recording(
        &mut self,
        id: PublisherId,
        mark: Option<RequestId>,
        tracks: Option<Vec<TrackId>>,
    ) {
        if let Some(refusal) = self.refusal_to_record(id) {
            return self.refuse(id, mark, "start-recording", ErrorCode::FORBIDDEN, refusal);
        }
        let wanted: Wanted = tracks.map(|tracks| tracks.into_iter().collect());
        let named = |track: &TrackId| wanted.as_ref().is_none_or(|wanted| wanted.contains(track));
        let present: Vec<_> =
            self.recordable().map(|track| track.info.track_id.clone()).filter(|track| named(track)).collect();
        if wanted.is_some() && present.is_empty() {
            return self.refuse(id, mark, "start-recording", ErrorCode::NOT_FOUND, "the room has no such track");
        }
        let running = self.recording.as_ref();
        let asked: Vec<_> = present
            .into_iter()
            .filter(|track| running.is_none_or(|recording| !recording.tracks.contains_key(track)))
            .collect();
        if asked.is_empty() {
            return self.want(Some((id, mark)), wanted, Vec::new());
        }
        self.ask_to_record(RecordPending {
            asker: Some(id),
            id: mark,
            why: Why::Request,
            aim: Aim::Want(wanted),
            asked,
        });
    }

    /// What can be recorded: messages cannot.
    fn recordable(&self) -> impl Iterator<Item = &Track> {
        self.tracks().map(|(_, track)| track).filter(|track| track.stream.is_none())
    }

    fn refusal_to_record(&self, id: PublisherId) -> Option<&'static str> {
        let allowed = self.members.get(&id).is_some_and(|member| member.grant.allows_recording());
        (!allowed).then_some("your grant does not allow to record")
    }

    /// `[recording] auto`, and tracks that come while everything is recorded.
    pub(crate) fn record_new_tracks(&mut self, publisher: PublisherId, new: Vec<TrackId>) {
        if !self.members.get(&publisher).is_some_and(|member| member.stage == Stage::Inside) {
            return;
        }
        let pending = match &self.recording {
            Some(recording) => {
                let wanted = |track: &TrackId| recording.wanted.as_ref().is_none_or(|wanted| wanted.contains(track));
                let asker = recording.asker().filter(|asker| self.members.contains_key(asker));
                let asked = new.into_iter().filter(wanted).collect();
                RecordPending { asker, id: None, why: Why::Auto, aim: Aim::Join(recording.session.clone()), asked }
            }
            None if self.config.auto_record => {
                RecordPending { asker: None, id: None, why: Why::Auto, aim: Aim::Want(None), asked: new }
            }
            None => return,
        };
        if !pending.asked.is_empty() {
            self.ask_to_record(pending);
        }
    }

    fn ask_to_record(&mut self, pending: RecordPending) {
        let publications: Vec<_> = pending.asked.iter().filter_map(|track| self.publication(track)).collect();
        let who = match pending.asker {
            Some(asker) => self.members.get(&asker).map(Member::as_participant),
            None => self.who_records(),
        };
        let (room, why, now_ms) = (self.facts(), pending.why, self.now_ms);
        let question = RecordQuestion { who, room, publications, why, now_ms };
        self.ask(Question::Record(question), Pending::Record(pending));
    }

    /// Who wants the running recording; none: the configuration.
    pub(crate) fn who_records(&mut self) -> Option<Participant> {
        let recording = self.recording.as_mut()?;
        if let Some(asker) = recording.asker().and_then(|asker| self.members.get(&asker)) {
            recording.who = Some(asker.as_participant());
        }
        recording.who.clone()
    }

    pub(crate) fn on_record_verdicts(&mut self, pending: RecordPending, ticket: Ticket, decisions: Vec<Decision>) {
        let RecordPending { asker, id, aim, asked, .. } = pending;
        let mut allowed = Vec::new();
        for (track, decision) in for_each_asked(asked, decisions) {
            match self.within_grant(&track, ticket, decision) {
                Ok(standing) => allowed.push((track, standing)),
                Err(denial) => {
                    if let Some(asker) = asker {
                        let reply = self.error(id.clone(), "start-recording", &denial, None, Some(track));
                        self.send(asker, reply);
                    }
                }
            }
        }
        let asker_is_gone = asker.is_some_and(|asker| !self.members.contains_key(&asker));
        // The right to it may have ended meanwhile.
        let refused = asker.filter(|_| !asker_is_gone).and_then(|asker| Some((asker, self.refusal_to_record(asker)?)));
        match aim {
            _ if allowed.is_empty() || self.participants() == 0 => {}
            Aim::Want(_) if asker_is_gone => {}
            Aim::Want(_) if let Some((asker, refusal)) = refused => {
                self.refuse(asker, id, "start-recording", ErrorCode::FORBIDDEN, refusal);
            }
            Aim::Want(wanted) => self.want(asker.map(|asker| (asker, id)), wanted, allowed),
            Aim::Join(session) if self.recording.as_ref().is_some_and(|recording| recording.session == session) => {
                self.add_to_recording(allowed);
            }
            // Whoever wants the next one was not who policy was asked about.
            Aim::Join(_) => {}
        }
    }

    /// Policy may say yes with limits: what they leave out is not recorded.
    fn within_grant(&self, track: &TrackId, ticket: Ticket, decision: Decision) -> Result<Standing, Denial> {
        let standing = Standing::first(self.heard(ticket, PublisherId(0)), decision);
        let grant = standing.decision().as_ref().map_err(Clone::clone)?;
        // One that is gone by now is not recorded either.
        let Some((_, published)) = self.tracks().find(|(_, published)| published.info.track_id == *track) else {
            return Ok(standing);
        };
        let fits = grant.allows_being_recorded(published.info.kind, published.info.source);
        let denial = || Denial::new(ErrorCode::FORBIDDEN, "policy does not allow to record this");
        (fits && published.record_after <= ticket).then_some(standing).ok_or_else(denial)
    }

    /// Begins a session, or widens the one that runs.
    fn want(&mut self, asker: Option<(PublisherId, Option<RequestId>)>, wanted: Wanted, allowed: Allowed) {
        match &mut self.recording {
            Some(recording) => {
                recording.widen(wanted);
                self.add_to_recording(allowed);
                self.tell_recording(asker);
            }
            None => self.begin_recording(asker, wanted, allowed),
        }
    }

    fn begin_recording(&mut self, asker: Option<(PublisherId, Option<RequestId>)>, wanted: Wanted, allowed: Allowed) {
        // In order of time in a listing, and never used twice: the count goes on while the millisecond stands still.
        self.sessions += 1;
        let cause = asker.as_ref().map(|(asker, _)| *asker).or_else(|| self.members.keys().next().copied());
        let cause = cause.map(|cause| cause.to_string()).unwrap_or_default();
        let Ok(session) = RecordingId::new(format!("{}-{cause}-{}", self.now_ms, self.sessions)) else { return };
        self.effect(Effect::Record(RecordAction::Start { session: session.clone() }));
        let (state, tracks) = (RecordingState::Starting, BTreeMap::new());
        self.recording = Some(Recording { session, state, asker, who: None, wanted, tracks, reason: None });
        self.who_records();
        self.add_to_recording(allowed);
    }

    fn add_to_recording(&mut self, allowed: Allowed) {
        for (track, standing) in allowed {
            let Some((publisher, source)) = self
                .tracks()
                .find(|(_, published)| published.info.track_id == track)
                .map(|(owner, published)| (owner.id, published.info.source))
            else {
                continue;
            };
            let Some(recording) = self.recording.as_mut() else { return };
            let next = standing.next_ms();
            if recording.tracks.insert(track.clone(), standing).is_none() {
                let session = recording.session.clone();
                self.wake_at(next);
                self.effect(Effect::Record(RecordAction::Add { session, publisher, track, source }));
            }
        }
    }

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
                tracks.iter().for_each(|track| self.record_no_more(track));
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
        let asker = recording.asker.clone();
        self.tell_recording(asker);
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
        if let Some((asker, mark)) = recording.asker {
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
        self.broadcast_answering(asker, &event, |_| true);
    }

    /// A member is told of a running recording when it enters: everybody may know that they are recorded.
    pub(crate) fn recording_state(&self) -> Option<Event> {
        self.recording.as_ref().map(|recording| recording.event(&self.name))
    }
}

impl Recording {
    pub(crate) fn session(&self) -> &RecordingId {
        &self.session
    }

    /// Who asked for it; none: the configuration.
    pub(crate) fn asker(&self) -> Option<PublisherId> {
        self.asker.as_ref().map(|(asker, _)| *asker)
    }

    /// Whether policy knew who asked by this subject.
    pub(crate) fn is_for(&self, subject: &str) -> bool {
        self.who.as_ref().is_some_and(|who| who.identity.subject == subject)
    }

    /// Somebody goes on in another place.
    pub(crate) fn move_asker(&mut self, from: PublisherId, to: PublisherId) {
        if self.asker() == Some(from) {
            self.asker = Some((to, None));
        }
    }

    /// When what policy said of a track ends or is to be asked about again.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.tracks.values().filter_map(Standing::next_ms).min()
    }

    fn widen(&mut self, more: Wanted) {
        self.wanted = match (self.wanted.take(), more) {
            (Some(mut so_far), Some(more)) => {
                so_far.extend(more);
                Some(so_far)
            }
            _ => None,
        };
    }

    fn event(&self, room: &RoomName) -> Event {
        Event::RecordingState {
            room_name: room.clone(),
            state: self.state,
            session_id: self.session.clone(),
            tracks: self.tracks.keys().cloned().collect(),
            reason: self.reason.clone(),
        }
    }
}

/// Sessions whose files are being closed that a room keeps in mind.
const MAX_ENDING: usize = 16;
