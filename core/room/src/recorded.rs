//! Recordings stay allowed or end: what policy said of each recorded track holds until it ends, is asked about again or is taken back.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::policy::{Decision, RecordQuestion, Why};
use lockgate_model::{PublisherId, RecordingId, RevokedWhat, TrackId};

use crate::effect::Question;
use crate::input::for_each_asked;
use crate::pending::{Pending, Ticket};
use crate::room::Room;

impl Room {
    /// Whether the recorder is to get this track.
    pub fn records(&self, track: &TrackId) -> bool {
        self.recording.as_ref().is_some_and(|recording| recording.tracks.contains_key(track))
    }

    /// Ends what is recorded longer than policy allows.
    pub(crate) fn end_recorded_on_time(&mut self) {
        let now = self.now_ms;
        let Some(recording) = self.recording.as_mut() else { return };
        let over = |(track, standing): (&TrackId, &mut crate::standing::Standing)| {
            Some((track.clone(), standing.end(now)?.message))
        };
        let over = recording.tracks.iter_mut().filter_map(over).collect();
        self.revoke_recordings(over);
    }

    /// Policy is to be asked again about what is recorded of these members, or because of them.
    pub(crate) fn make_recordings_due(&mut self, about: &BTreeSet<PublisherId>) {
        let now = self.now_ms;
        let Some(recording) = self.recording.as_mut() else { return };
        let all = recording.asker().is_some_and(|asker| about.contains(&asker));
        let publish =
            |track: &TrackId| about.iter().any(|id| self.members.get(id).is_some_and(|member| member.publishes(track)));
        let concerned = recording.tracks.iter_mut().filter(|(track, _)| all || publish(track));
        concerned.for_each(|(_, standing)| standing.make_due(now));
    }

    /// Asks again about the recorded tracks of which policy wants that, and says when the next one is due.
    pub(crate) fn ask_about_recorded(&mut self) {
        let (now_ms, stale_max_ms) = (self.now_ms, self.config.stale_max_ms);
        let Some(recording) = self.recording.as_mut() else { return };
        let due = recording.tracks.iter_mut().filter(|(_, standing)| standing.is_due(now_ms));
        let due: Vec<_> = due.map(|(track, standing)| (track.clone(), standing.ask(now_ms, stale_max_ms))).collect();
        let next = recording.next_ms();
        self.wake_at(next);
        let publications = due.into_iter().filter_map(|(track, ())| Some((self.publication(&track)?, track)));
        let (publications, asked): (Vec<_>, Vec<_>) = publications.unzip();
        let Some(session) = self.recording.as_ref().map(|recording| recording.session().clone()) else { return };
        if asked.is_empty() {
            return;
        }
        let (who, room) = (self.who_records(), self.facts());
        let question = RecordQuestion { who, room, publications, why: Why::Recheck, now_ms };
        self.ask(Question::Record(question), Pending::Rerecord { session, asked });
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
        let Some(recording) = self.recording.as_mut().filter(|recording| recording.session() == session) else {
            return;
        };
        let mut over = BTreeMap::new();
        for ((facts, track), decision) in for_each_asked(facts, decisions) {
            let (Some(facts), Some(standing)) = (facts, recording.tracks.get_mut(&track)) else { continue };
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
            let owner = self.members.values_mut().find_map(|member| member.tracks.get_mut(track));
            owner.into_iter().for_each(|track| track.record_after = after);
        }
        let Some(recording) = self.recording.as_ref() else { return };
        let asker = recording.asker();
        let over: Vec<_> = over.into_iter().filter(|(track, _)| recording.tracks.contains_key(track)).collect();
        if over.is_empty() {
            return;
        }
        over.iter().for_each(|(track, _)| self.record_no_more(track));
        self.tell_recording(None);
        for (track, reason) in over {
            let Some(publisher) = self.publisher_of(&track) else { continue };
            let told = [Some(publisher), asker.filter(|asker| *asker != publisher)];
            for to in told.into_iter().flatten() {
                self.tell_revoked_track(to, RevokedWhat::Recording, &reason, publisher, track.clone());
            }
        }
    }

    /// Who asked for the recording may not record any more: it ends.
    pub(crate) fn hold_recording(&mut self, id: PublisherId) {
        if self.members.get(&id).is_some_and(|member| !member.grant.allows_recording()) {
            self.end_recording_of(id, "your grant does not allow to record any more");
        }
    }

    /// Ends the recording that somebody asked for who has left since: their stay was revoked all the same.
    pub(crate) fn end_recording_of_subject(&mut self, subject: &str, reason: &str) {
        let Some(recording) = self.recording.as_mut().filter(|recording| recording.is_for(subject)) else { return };
        if recording.asker().is_none_or(|asker| self.members.contains_key(&asker)) {
            return;
        }
        recording.reason = Some(reason.to_owned());
        self.end_recording(None);
    }

    /// Ends the recording that somebody asked for, whom the right to that was taken from.
    pub(crate) fn end_recording_of(&mut self, id: PublisherId, reason: &str) {
        let Some(recording) = self.recording.as_mut().filter(|recording| recording.asker() == Some(id)) else { return };
        recording.reason = Some(reason.to_owned());
        self.end_recording(None);
        self.tell_revoked(id, RevokedWhat::Recording, reason);
    }
}

const NOT_ALLOWED: &str = "policy does not allow to record this any more";
