//! Recording: every track of it was allowed by the recording hook, and nothing else reaches the recorder.

mod ending;

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::policy::{Decision, Denial, Grant, Participant, RecordQuestion, Why};
use lockgate_model::{ErrorCode, PublisherId, RecordingId, RecordingState, RequestId, TrackId};

use crate::effect::{Effect, Question, RecordAction};
use crate::input::for_each_asked;
use crate::member::{Member, Track};
use crate::pending::{Pending, Ticket};
use crate::room::Room;
use crate::session::{Asker, Recorded, Recording, Wanted};
use crate::standing::Standing;

/// What policy has just allowed to be recorded.
type Allowed = Vec<(TrackId, Standing)>;

/// A question whether tracks may be recorded.
#[derive(Debug)]
pub(crate) struct RecordPending {
    pub(crate) asker: Asker,
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
    /// They are wanted already, if this session still runs by then.
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
        let named = |track: &TrackId| tracks.as_ref().is_none_or(|tracks| tracks.contains(track));
        let present: Vec<_> =
            self.recordable().map(|track| track.info.track_id.clone()).filter(|track| named(track)).collect();
        if tracks.is_some() && present.is_empty() {
            return self.refuse(id, mark, "start-recording", ErrorCode::NOT_FOUND, "the room has no such track");
        }
        let wanted: Wanted = tracks.map(|_| present.iter().cloned().collect());
        if !self.has_room_for_wish(id, &wanted) {
            return self.refuse(id, mark, "start-recording", ErrorCode::OVERLOADED, TOO_MUCH_WANTED);
        }
        let asked: Vec<_> = present.into_iter().filter(|track| !self.records(track)).collect();
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

    /// The tracks that these people publish, or want to be recorded, and that may be recorded without somebody asking for it anew, if
    /// policy allows it.
    pub(crate) fn may_be_recorded(&self, about: &BTreeSet<PublisherId>) -> Vec<TrackId> {
        let asker = |track: &TrackId| self.recording.as_ref()?.who_wants(track)?;
        let concerned = |track: &TrackId| {
            [self.publisher_of(track), asker(track)].into_iter().flatten().any(|one| about.contains(&one))
        };
        let tracks = self.recordable().filter(|track| !track.withheld).map(|track| track.info.track_id.clone());
        tracks.filter(concerned).collect()
    }

    /// Whether somebody may want this too, once nobody's wish is kept any more that can come to nothing.
    fn has_room_for_wish(&mut self, id: PublisherId, wanted: &Wanted) -> bool {
        let Some(recording) = self.recording.as_mut() else { return true };
        recording.forget_spent(|asker| self.members.contains_key(&asker), |track| self.owners.contains_key(track));
        recording.has_room_for(id, wanted)
    }

    fn refusal_to_record(&self, id: PublisherId) -> Option<&'static str> {
        let operator = || self.operators.get(&id).map(|operator| &operator.identity.grant);
        let grant = self.members.get(&id).map(|member| &member.grant).or_else(operator);
        let allowed = grant.is_some_and(Grant::allows_recording);
        (!allowed).then_some("your grant does not allow to record")
    }

    /// Whether somebody can be told what comes of their wish: a member, or an operator.
    fn is_here(&self, asker: PublisherId) -> bool {
        self.members.contains_key(&asker) || self.operators.contains_key(&asker)
    }

    /// `[recording] auto`, and tracks that come while everything is recorded.
    pub(crate) fn record_new_tracks(&mut self, publisher: PublisherId, new: Vec<TrackId>) {
        if !self.is_inside(publisher) {
            return;
        }
        if self.recording.is_some() {
            self.record_wanted(new);
        } else if self.config.auto_record {
            let pending = RecordPending { asker: None, id: None, why: Why::Auto, aim: Aim::Want(None), asked: new };
            self.ask_to_record(pending);
        }
    }

    /// Asks about those of the tracks that the running recording lacks, on behalf of who wants each.
    pub(crate) fn record_wanted(&mut self, tracks: Vec<TrackId>) {
        let Some(recording) = self.recording.as_ref() else { return };
        let mut wanted = BTreeMap::<Asker, Vec<TrackId>>::new();
        for track in tracks.into_iter().filter(|track| !recording.records(track)) {
            if let Some(asker) = recording.who_wants(&track) {
                wanted.entry(asker).or_default().push(track);
            }
        }
        let session = recording.session.clone();
        for (asker, asked) in wanted {
            let aim = Aim::Join(session.clone());
            self.ask_to_record(RecordPending { asker, id: None, why: Why::Auto, aim, asked });
        }
    }

    fn ask_to_record(&mut self, pending: RecordPending) {
        let there = pending.asked.into_iter().filter_map(|track| Some((self.publication(&track)?, track)));
        let (publications, asked): (Vec<_>, Vec<_>) = there.unzip();
        if asked.is_empty() {
            return;
        }
        let pending = RecordPending { asked, ..pending };
        let (who, room, why, now_ms) = (self.who_asks(pending.asker), self.facts(), pending.why, self.now_ms);
        let question = RecordQuestion { who, room, publications, why, now_ms };
        self.ask(Question::Record(question), Pending::Record(pending));
    }

    /// Who wants something recorded, as policy is to know them; none: the configuration.
    pub(crate) fn who_asks(&mut self, asker: Asker) -> Option<Participant> {
        let operator = || self.operators.get(&asker?).cloned();
        let now = asker.and_then(|asker| self.members.get(&asker)).map(Member::as_participant).or_else(operator);
        match &mut self.recording {
            Some(recording) => recording.who(asker, now),
            None => now,
        }
    }

    pub(crate) fn on_record_verdicts(&mut self, pending: RecordPending, ticket: Ticket, decisions: Vec<Decision>) {
        if let Aim::Join(session) = &pending.aim {
            // Whoever wants the next one was not who policy was asked about.
            let Some(running) = self.recording.as_ref().filter(|running| running.session == *session) else { return };
            if !running.is_wanted_by(pending.asker) {
                return self.record_wanted(self.not_revoked_since(ticket, pending.asked));
            }
        }
        let present = pending.asker.filter(|asker| self.is_here(*asker));
        if matches!(pending.aim, Aim::Want(_)) && pending.asker != present {
            return;
        }
        if self.policy_thought_again(&pending, ticket) {
            return self.ask_to_record_anew(pending, ticket);
        }
        let RecordPending { asker, id, aim, asked, .. } = pending;
        let allowed = self.allowed_of(present.zip(Some(&id)), ticket, for_each_asked(asked, decisions));
        // The right to it may have ended meanwhile.
        let refused = present.and_then(|asker| Some((asker, self.refusal_to_record(asker)?)));
        match aim {
            _ if allowed.is_empty() || self.participants() == 0 => {}
            Aim::Join(_) => self.join_recording(asker, allowed),
            Aim::Want(_) if let Some((asker, refusal)) = refused => {
                self.refuse(asker, id, "start-recording", ErrorCode::FORBIDDEN, refusal);
            }
            Aim::Want(wanted) if let Some(asker) = present.filter(|asker| !self.has_room_for_wish(*asker, &wanted)) => {
                self.refuse(asker, id, "start-recording", ErrorCode::OVERLOADED, TOO_MUCH_WANTED);
            }
            Aim::Want(wanted) => {
                self.want(asker.map(|asker| (asker, id)), wanted, allowed);
                self.record_later_ones(asker, ticket);
            }
        }
    }

    /// Whether policy was to think again since a question was put, of who asked or of a track.
    fn policy_thought_again(&self, pending: &RecordPending, ticket: Ticket) -> bool {
        let of_asker = pending.asker.and_then(|asker| self.members.get(&asker)).map(|member| member.asked_again);
        let of_tracks = pending.asked.iter().filter_map(|track| Some(self.track(track)?.1.asked_again));
        of_asker.into_iter().chain(of_tracks).any(|asked_again| asked_again > ticket)
    }

    /// Puts a question again, but not about what was taken from the recorder since.
    fn ask_to_record_anew(&mut self, pending: RecordPending, ticket: Ticket) {
        let asked = self.not_revoked_since(ticket, pending.asked.clone());
        let present = pending.asker.filter(|asker| self.is_here(*asker));
        for track in pending.asked.iter().filter(|track| !asked.contains(track)) {
            let Some(asker) = present else { break };
            let reply = self.error(pending.id.clone(), "start-recording", &not_allowed(), None, Some(track.clone()));
            self.send(asker, reply);
        }
        self.ask_to_record(RecordPending { asked, ..pending });
    }

    /// Those of the tracks that may be recorded; who asked is told why the others are not.
    fn allowed_of(
        &mut self,
        asker: Option<(PublisherId, &Option<RequestId>)>,
        ticket: Ticket,
        answers: impl Iterator<Item = (TrackId, Decision)>,
    ) -> Allowed {
        let mut allowed = Vec::new();
        for (track, decision) in answers {
            match (self.within_grant(&track, ticket, decision), asker) {
                (Ok(standing), _) => allowed.push((track, standing)),
                (Err(denial), Some((asker, id))) => {
                    let reply = self.error(id.clone(), "start-recording", &denial, None, Some(track));
                    self.send(asker, reply);
                }
                (Err(_), None) => {}
            }
        }
        allowed
    }

    /// What was published while policy was asked is asked about now. Where the configuration wants it, it was already.
    fn record_later_ones(&mut self, asker: Asker, ticket: Ticket) {
        let later = self.recordable().filter(|track| asker.is_some() && track.since > ticket);
        let later = later.map(|track| track.info.track_id.clone()).collect();
        self.record_wanted(self.not_revoked_since(ticket, later));
    }

    /// What nobody has revoked the recording of since a question was put: that one is not put anew.
    fn not_revoked_since(&self, ticket: Ticket, tracks: Vec<TrackId>) -> Vec<TrackId> {
        let counts = |track: &TrackId| self.track(track).is_some_and(|(_, track)| track.record_after <= ticket);
        tracks.into_iter().filter(counts).collect()
    }

    /// Policy may say yes with limits: what they leave out is not recorded.
    fn within_grant(&self, track: &TrackId, ticket: Ticket, decision: Decision) -> Result<Standing, Denial> {
        let standing = Standing::first(self.heard(ticket, PublisherId(0)), decision);
        let grant = standing.decision().as_ref().map_err(Clone::clone)?;
        // One that is gone by now is not recorded either.
        let Some((_, published)) = self.track(track) else { return Ok(standing) };
        let fits = grant.allows_being_recorded(published.info.kind, published.info.source);
        (fits && published.record_after <= ticket).then_some(standing).ok_or_else(not_allowed)
    }

    /// Begins a session, or widens the one that runs.
    fn want(&mut self, by: Option<(PublisherId, Option<RequestId>)>, wanted: Wanted, allowed: Allowed) {
        let asker = by.as_ref().map(|(asker, _)| *asker);
        let who = self.who_asks(asker);
        let runs = self.recording.is_some();
        if !runs {
            self.begin_recording(by.clone());
        }
        if let Some(recording) = self.recording.as_mut() {
            let subject = who.as_ref().map(|who| who.identity.subject.clone());
            recording.want(asker, who, wanted);
            let older = subject.map(|subject| recording.askers_of(&subject)).unwrap_or_default();
            if let Some(asker) = asker {
                let gone = older.into_iter().filter(|older| !self.members.contains_key(older));
                gone.for_each(|older| recording.move_asker(older, asker));
            }
        }
        self.add_to_recording(asker, allowed);
        if runs {
            self.tell_recording(by);
        }
    }

    fn begin_recording(&mut self, by: Option<(PublisherId, Option<RequestId>)>) {
        // In order of time in a listing, and never used twice: the count goes on while the millisecond stands still.
        self.sessions += 1;
        let cause = by.as_ref().map(|(asker, _)| *asker).or_else(|| self.members.keys().next().copied());
        let cause = cause.map(|cause| cause.to_string()).unwrap_or_default();
        let Ok(session) = RecordingId::new(format!("{}-{cause}-{}", self.now_ms, self.sessions)) else { return };
        self.effect(Effect::Record(RecordAction::Start { session: session.clone() }));
        self.recording = Some(Recording::new(session, by));
    }

    /// Adds to what is recorded already, and tells the room, if it knows of the recording: otherwise it is told all at once.
    fn join_recording(&mut self, asker: Asker, allowed: Allowed) {
        let added = self.add_to_recording(asker, allowed);
        let is_known = self.recording.as_ref().is_some_and(|recording| recording.state == RecordingState::Recording);
        if added && is_known {
            self.tell_recording(None);
        }
    }

    /// Whether there was something to add.
    fn add_to_recording(&mut self, asker: Asker, allowed: Allowed) -> bool {
        let mut added = false;
        for (track, standing) in allowed {
            // It may be gone by now, or be another one.
            let found = self.track(&track).filter(|(_, published)| standing.is_about(published.since));
            let Some((owner, published)) = found else { continue };
            let (publisher, source) = (owner.id, published.info.source);
            let Some(recording) = self.recording.as_mut() else { return added };
            // What was asked about for somebody else meanwhile is theirs.
            if recording.records(&track) {
                continue;
            }
            let (next, session) = (standing.next_ms(), recording.session.clone());
            recording.tracks.insert(track.clone(), Recorded { standing, asker });
            if let Some((_, published)) = self.track_mut(&track) {
                published.withheld = false;
            }
            self.wake_at(next);
            self.effect(Effect::Record(RecordAction::Add { session, publisher, track, source }));
            added = true;
        }
        added
    }

    /// Somebody took a track from the recorder: it comes back only when it is asked for.
    fn withhold(&mut self, track: &TrackId) {
        let after = self.next_question();
        if let Some((_, track)) = self.track_mut(track) {
            (track.withheld, track.record_after) = (true, after);
        }
    }
}

fn not_allowed() -> Denial {
    Denial::new(ErrorCode::FORBIDDEN, "policy does not allow to record this")
}

const TOO_MUCH_WANTED: &str = "too much is wanted of this recording; stop it and ask for everything";
