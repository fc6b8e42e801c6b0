//! Recordings stay allowed or end: what policy said of each recorded track holds until it ends, is asked about again or is taken back.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::policy::{Decision, RecordQuestion, Why};
use lockgate_model::{PublisherId, RecordingId, RevokedWhat, TrackId};

use crate::effect::Question;
use crate::input::for_each_asked;
use crate::pending::{Pending, Ticket};
use crate::room::Room;
use crate::session::{Asker, Recorded};

impl Room {
    /// Whether the recorder is to get this track.
    pub(crate) fn records(&self, track: &TrackId) -> bool {
        self.recording.as_ref().is_some_and(|recording| recording.records(track))
    }

    /// Ends what is recorded longer than policy allows.
    pub(crate) fn end_recorded_on_time(&mut self) {
        let now = self.now_ms;
        let Some(recording) = self.recording.as_mut() else { return };
        let over = |(track, it): (&TrackId, &mut Recorded)| Some((track.clone(), it.standing.end(now)?.message));
        let over = recording.tracks.iter_mut().filter_map(over).collect();
        self.revoke_recordings(over);
    }

    /// Policy is to be asked again about what is recorded of these members, or because of them.
    pub(crate) fn make_recordings_due(&mut self, about: &BTreeSet<PublisherId>) {
        let now = self.now_ms;
        let Some(recording) = self.recording.as_mut() else { return };
        let publish =
            |track: &TrackId| about.iter().any(|id| self.members.get(id).is_some_and(|member| member.publishes(track)));
        let asked_for = |asker: Asker| asker.is_some_and(|asker| about.contains(&asker));
        let concerned = recording.tracks.iter_mut().filter(|(track, it)| asked_for(it.asker) || publish(track));
        concerned.for_each(|(_, it)| it.standing.make_due(now));
    }

    /// Asks again about the recorded tracks of which policy wants that, for each who wants some of them, and says when the next one is
    /// due.
    pub(crate) fn ask_about_recorded(&mut self) {
        let (now_ms, stale_max_ms) = (self.now_ms, self.config.stale_max_ms);
        let Some(recording) = self.recording.as_mut() else { return };
        let mut due = BTreeMap::<Asker, Vec<TrackId>>::new();
        for (track, recorded) in recording.tracks.iter_mut().filter(|(_, it)| it.standing.is_due(now_ms)) {
            recorded.standing.ask(now_ms, stale_max_ms);
            due.entry(recorded.asker).or_default().push(track.clone());
        }
        let (session, next) = (recording.session.clone(), recording.next_ms());
        self.wake_at(next);
        for (asker, tracks) in due {
            self.ask_again_to_record(&session, asker, tracks);
        }
    }

    fn ask_again_to_record(&mut self, session: &RecordingId, asker: Asker, tracks: Vec<TrackId>) {
        let there = tracks.into_iter().filter_map(|track| Some((self.publication(&track)?, track)));
        let (publications, asked): (Vec<_>, Vec<_>) = there.unzip();
        if asked.is_empty() {
            return;
        }
        let (who, room, now_ms) = (self.who_asks(asker), self.facts(), self.now_ms);
        let question = RecordQuestion { who, room, publications, why: Why::Recheck, now_ms };
        self.ask(Question::Record(question), Pending::Rerecord { session: session.clone(), asked });
    }

    pub(crate) fn on_rerecord(
        &mut self,
        session: &RecordingId,
        ticket: Ticket,
        asked: Vec<TrackId>,
        decisions: Vec<Decision>,
    ) {
        let heard = self.heard(ticket, PublisherId(0));
        let facts: Vec<_> = asked.into_iter().map(|track| (self.facts_of(&track), track)).collect();
        let Some(recording) = self.recording.as_mut().filter(|recording| recording.session == *session) else {
            return;
        };
        let mut over = BTreeMap::new();
        for ((facts, track), decision) in for_each_asked(facts, decisions) {
            let (Some(facts), Some(Recorded { standing, .. })) = (facts, recording.tracks.get_mut(&track)) else {
                continue;
            };
            standing.hear(heard, decision);
            match standing.decision() {
                Ok(grant) if grant.allows_being_recorded(facts.kind, facts.source) => {}
                Ok(_) => drop(over.insert(track, NOT_ALLOWED.to_owned())),
                Err(denial) => drop(over.insert(track, denial.message.clone())),
            }
        }
        self.revoke_recordings(over);
        self.set_alarm();
    }

    /// Records tracks no more, each for a reason: who asked for it is told that, and the room what is still recorded.
    pub(crate) fn revoke_recordings(&mut self, over: BTreeMap<TrackId, String>) {
        let after = self.next_question();
        for track in over.keys() {
            if let Some((_, track)) = self.track_mut(track) {
                track.record_after = after;
            }
        }
        let Some(recording) = self.recording.as_ref() else { return };
        let asker = |track: &TrackId| Some(recording.tracks.get(track)?.asker);
        let over: Vec<_> =
            over.into_iter().filter_map(|(track, reason)| Some((asker(&track)?, track, reason))).collect();
        if over.is_empty() {
            return;
        }
        over.iter().for_each(|(_, track, _)| self.record_no_more(track));
        self.tell_recording(None);
        for (asker, track, reason) in over {
            let Some(publisher) = self.publisher_of(&track) else { continue };
            let told = [Some(publisher), asker.filter(|asker| *asker != publisher)];
            for to in told.into_iter().flatten() {
                self.tell_revoked_track(to, RevokedWhat::Recording, &reason, publisher, track.clone());
            }
        }
    }

    /// Who asked for a recording may not record any more: what is recorded because of them ends.
    pub(crate) fn hold_recording(&mut self, id: PublisherId) {
        if self.members.get(&id).is_some_and(|member| !member.grant.allows_recording()) {
            let ended = self.end_recording_of(id, "your grant does not allow to record any more");
            self.record_wanted(ended);
        }
    }

    /// Ends what is recorded because of somebody who has left since: their stay was revoked all the same.
    pub(crate) fn end_recording_of_subject(&mut self, subject: &str, reason: &str) {
        let askers = self.recording.as_ref().map(|recording| recording.askers_of(subject)).unwrap_or_default();
        for asker in askers.into_iter().filter(|asker| !self.members.contains_key(asker)).collect::<Vec<_>>() {
            let ended = self.withdraw(asker, reason);
            self.record_wanted(ended);
        }
    }

    /// Ends what is recorded because of somebody, whom the right to that was taken from. What ended comes back: others may want it too.
    #[must_use]
    pub(crate) fn end_recording_of(&mut self, id: PublisherId, reason: &str) -> Vec<TrackId> {
        if !self.recording.as_ref().is_some_and(|recording| recording.is_wanted_by(Some(id))) {
            return Vec::new();
        }
        let ended = self.withdraw(id, reason);
        self.tell_revoked(id, RevokedWhat::Recording, reason);
        ended
    }

    /// Nobody answers any more for what somebody wanted: it ends, and with the last wish the session does.
    fn withdraw(&mut self, asker: PublisherId, reason: &str) -> Vec<TrackId> {
        let Some(recording) = self.recording.as_mut() else { return Vec::new() };
        let ended = recording.want_no_more(asker);
        if !recording.is_wanted() {
            recording.reason = Some(reason.to_owned());
            self.end_recording(None);
            return Vec::new();
        }
        ended.iter().for_each(|track| self.record_no_more(track));
        if !ended.is_empty() {
            self.tell_recording(None);
        }
        ended
    }
}

const NOT_ALLOWED: &str = "policy does not allow to record this any more";
