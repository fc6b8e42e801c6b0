//! Decisions stay true: what ends by itself ends on time, and what policy wants to be asked about again is.
//!
//! Each member carries when something of it is due at the earliest, and the room when something of anybody is; so that time costs
//! nothing where nobody limits it. What a new answer takes away ends before anybody is told; what it leaves as it was is not touched.

use std::collections::BTreeSet;

use lockgate_model::policy::{AdmissionQuestion, Decision, Grant, Identity, PublishQuestion, RoomFacts, Why};
use lockgate_model::{Event, PublisherId, RevokedWhat, TrackId};

use crate::effect::{MediaAction, Question};
use crate::input::for_each_asked;
use crate::member::{Member, Stage};
use crate::pending::{Pending, Ticket};
use crate::rights::Verdict;
use crate::room::Room;
use crate::session::Recording;
use crate::standing::{ENDED, Heard, Standing, is_failure};

impl Room {
    /// When [`crate::Input::Time`] is to come next, in ms since 1970. None: not before something else does.
    pub fn next_timeout(&self) -> Option<u64> {
        self.alarm_ms
    }

    pub(crate) fn on_time(&mut self) {
        self.alarm_ms = None;
        let is_due = |member: &&Member| member.due_ms.is_some_and(|due| due <= self.now_ms);
        let due: Vec<_> = self.members.values().filter(is_due).map(|member| member.id).collect();
        due.iter().for_each(|id| self.end_on_time(*id));
        self.end_recorded_on_time();
        for id in due {
            self.ask_about_stay(id);
            self.ask_about_publications(id);
            self.ask_about_subscriptions(id);
            if let Some(member) = self.members.get_mut(&id) {
                member.due_ms = member.next_ms();
            }
        }
        self.ask_about_recorded();
        self.set_alarm();
    }

    /// The alarm rings when something of anybody, or of the recording, is due.
    pub(crate) fn set_alarm(&mut self) {
        let members = self.members.values().filter_map(|member| member.due_ms);
        let recorded = self.recording.as_ref().and_then(Recording::next_ms);
        self.alarm_ms = members.chain(recorded).min();
    }

    /// There is something to do about a member at this time.
    pub(crate) fn wake_for(&mut self, id: PublisherId, at_ms: Option<u64>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.due_ms = member.due_ms.into_iter().chain(at_ms).min();
            self.wake_at(at_ms);
        }
    }

    pub(crate) fn wake_at(&mut self, at_ms: Option<u64>) {
        self.alarm_ms = self.alarm_ms.into_iter().chain(at_ms).min();
    }

    /// An answer about somebody came just now.
    pub(crate) fn heard(&self, ticket: Ticket, about: PublisherId) -> Heard {
        let spread = self.members.get(&about).map_or(0, Member::spread);
        Heard { now_ms: self.now_ms, ticket, stale_max_ms: self.config.stale_max_ms, spread }
    }

    // What ends.

    fn end_on_time(&mut self, id: PublisherId) {
        let now = self.now_ms;
        let Some(member) = self.members.get_mut(&id) else { return };
        if let Some(reason) = member.why_stay_is_over(now) {
            return self.put_out(id, &reason);
        }
        let mut publishes_less = false;
        for track in member.tracks.values_mut() {
            publishes_less |= track.standing.end(now).is_some();
        }
        let ended = member.verdicts.iter_mut().filter_map(|(track, verdict)| {
            verdict.standing.end(now)?;
            verdict.shown.then(|| track.clone())
        });
        let mut ended: Vec<_> = ended.collect();
        ended.sort();
        if publishes_less {
            self.hold_publications(id);
        }
        ended.iter().for_each(|track| self.hold_against_verdict(id, track));
    }

    // What is asked again.

    fn ask_about_stay(&mut self, id: PublisherId) {
        let room = self.facts();
        let Some(member) = self.members.get_mut(&id).filter(|member| member.stage == Stage::Inside) else { return };
        if !member.admission.is_due(self.now_ms + TOGETHER_MS) {
            return;
        }
        member.admission.ask(self.now_ms, self.config.stale_max_ms);
        let next = member.admission.next_ms();
        // Whoever enters is not counted yet.
        let room = RoomFacts { participants: room.participants.saturating_sub(1), ..room };
        let (who, why, now_ms) = (member.as_participant(), Why::Recheck, self.now_ms);
        let (password, metadata) = (member.entry.password.clone(), member.entry.metadata.clone());
        let question = AdmissionQuestion { who, room, password, metadata, why, now_ms };
        self.ask(Question::Admission(question), Pending::Readmission { member: id });
        self.wake_for(id, next);
    }

    pub(crate) fn on_readmission(&mut self, id: PublisherId, ticket: Ticket, decision: Decision) {
        let heard = self.heard(ticket, id);
        let Some(member) = self.members.get_mut(&id) else { return };
        member.admission.hear(heard, decision);
        let next = member.admission.next_ms();
        match member.admission.decision() {
            Ok(_) => {
                self.wake_for(id, next);
                self.on_other_rights(id, |_| {}, "policy was asked again");
            }
            Err(denial) => {
                let reason = denial.message.clone();
                self.put_out(id, &reason);
            }
        }
    }

    /// Puts the questions about these members' stays, publications and recordings again.
    pub(crate) fn ask_again_about_all_of(&mut self, about: &BTreeSet<PublisherId>) {
        let (now, after) = (self.now_ms, self.next_question());
        for id in about {
            let Some(member) = self.members.get_mut(id) else { continue };
            // Whoever is about to enter is asked about when they are in.
            if matches!(member.stage, Stage::Entering | Stage::Inside) {
                member.admission.make_due(now);
            }
            member.asked_again = after;
            for track in member.tracks.values_mut() {
                track.standing.make_due(now);
                track.asked_again = after;
            }
            self.ask_about_stay(*id);
            self.ask_about_publications(*id);
        }
        self.make_recordings_due(about);
        self.ask_about_recorded();
        self.record_wanted(self.may_be_recorded(about));
    }

    fn ask_about_publications(&mut self, id: PublisherId) {
        let by = self.now_ms + TOGETHER_MS;
        let Some(member) = self.members.get_mut(&id) else { return };
        let due: Vec<_> = member.tracks.values_mut().filter(|track| track.standing.is_due(by)).collect();
        let asked: Vec<_> = due.iter().map(|track| track.info.track_id.clone()).collect();
        let tracks = due.iter().map(|track| track.facts()).collect();
        if asked.is_empty() {
            return;
        }
        let ask = |standing: &mut Standing| {
            standing.ask(self.now_ms, self.config.stale_max_ms);
            standing.next_ms()
        };
        let next = due.into_iter().filter_map(|track| ask(&mut track.standing)).min();
        let (who, room, why, now_ms) = (member.as_participant(), self.facts(), Why::Recheck, self.now_ms);
        let question = PublishQuestion { who, room, tracks, why, now_ms };
        self.ask(Question::Publish(question), Pending::Republish { member: id, asked });
        self.wake_for(id, next);
    }

    pub(crate) fn on_republish(
        &mut self,
        id: PublisherId,
        ticket: Ticket,
        asked: Vec<TrackId>,
        decisions: Vec<Decision>,
    ) {
        let heard = self.heard(ticket, id);
        let Some(member) = self.members.get_mut(&id) else { return };
        let mut next = None;
        for (track, decision) in for_each_asked(asked, decisions) {
            let Some(track) = member.tracks.get_mut(&track) else { continue };
            track.standing.hear(heard, decision);
            next = track.standing.next_ms().into_iter().chain(next).min();
        }
        self.wake_for(id, next);
        self.hold_publications(id);
    }

    fn ask_about_subscriptions(&mut self, id: PublisherId) {
        let by = self.now_ms + TOGETHER_MS;
        let Some(member) = self.members.get(&id) else { return };
        let due = member.verdicts.iter().filter(|(_, verdict)| verdict.standing.is_due(by));
        let mut due: Vec<_> = due.map(|(track, _)| track.clone()).collect();
        // The same ones go together each time.
        due.sort();
        self.ask_again_about(id, &due);
    }

    /// Puts the question again whether a viewer may know of and receive these tracks.
    pub(crate) fn ask_again_about(&mut self, id: PublisherId, tracks: &[TrackId]) {
        for tracks in tracks.chunks(MAX_TRACKS) {
            let Some((question, asked)) = self.subscribe_question(id, tracks.to_vec(), Why::Recheck) else { return };
            let Some(member) = self.members.get_mut(&id) else { return };
            let mut next = None;
            for track in tracks {
                let Some(Verdict { standing, .. }) = member.verdicts.get_mut(track) else { continue };
                standing.ask(self.now_ms, self.config.stale_max_ms);
                next = standing.next_ms().into_iter().chain(next).min();
            }
            if !asked.is_empty() {
                self.ask(question, Pending::Recheck { viewer: id, asked });
            }
            self.wake_for(id, next);
        }
    }

    // What changes when somebody's own grant does.

    /// A new token counts at once: what it does not allow any more ends.
    pub(crate) fn on_renewed(&mut self, id: PublisherId, identity: Identity) {
        self.on_other_rights(id, |member| member.participant.identity = identity, "the token was renewed");
        let next = self.members.get(&id).and_then(Member::stay_ends_ms);
        self.wake_for(id, next);
    }

    /// Holds everything of a member against its grant, which `change` may have made another one.
    fn on_other_rights(&mut self, id: PublisherId, change: impl FnOnce(&mut Member), reason: &str) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let was_visible = member.is_visible();
        change(member);
        let before = member.settle();
        if !member.grant.differs_in_rights(&before) {
            return;
        }
        if !member.grant.allows_room(self.name.as_str()) {
            return self.put_out(id, "your grant is not for this room any more");
        }
        if member.stage != Stage::Inside {
            return;
        }
        let mut shown: Vec<_> =
            member.verdicts.iter().filter(|(_, it)| it.shown).map(|(track, _)| track.clone()).collect();
        shown.sort();
        self.hold_publications(id);
        shown.iter().for_each(|track| self.hold_against_verdict(id, track));
        self.hold_last_words(id);
        self.hold_recording(id);
        self.on_visibility(id, was_visible);
        self.share_places(id);
        if let Some(grants) = self.members.get(&id).map(|member| member.grant.clone()) {
            self.send(id, Event::GrantsChanged { room_name: self.name.clone(), grants, reason: reason.to_owned() });
        }
        self.recheck(id, |_| true);
    }

    /// Ends what a member publishes beyond what it may, and lets no more of the rest through than it may.
    pub(crate) fn hold_publications(&mut self, id: PublisherId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let (mut ended, mut limited) = (Vec::new(), Vec::new());
        for track in member.tracks.values_mut() {
            match track.allowed(&member.grant) {
                None => {
                    let denial = track.standing.decision().as_ref().err();
                    let reason = denial.map_or(NOT_ALLOWED, |denial| &denial.message).to_owned();
                    ended.push((track.info.track_id.clone(), reason));
                }
                Some(Grant { max_bitrate, .. }) if max_bitrate != track.max_bitrate && track.stream.is_none() => {
                    track.max_bitrate = max_bitrate;
                    limited.push((track.info.track_id.clone(), max_bitrate));
                }
                Some(_) => {}
            }
        }
        for (track, max_bitrate) in limited {
            self.media(MediaAction::LimitPublication { member: id, track, max_bitrate });
        }
        self.revoke_publications(id, ended);
    }

    /// Ends publications of a member, and tells it why.
    pub(crate) fn revoke_publications(&mut self, id: PublisherId, ended: Vec<(TrackId, String)>) {
        for (track, _) in &ended {
            self.media(MediaAction::Unpublish { member: id, track: track.clone() });
        }
        let tracks: Vec<_> = ended.iter().map(|(track, _)| track.clone()).collect();
        if !tracks.is_empty() {
            self.forget_tracks(id, &tracks);
        }
        for (track, reason) in ended {
            self.tell_revoked_track(id, RevokedWhat::Publication, &reason, id, track);
        }
    }

    /// Tells somebody that policy took away what has to do with one track.
    pub(crate) fn tell_revoked_track(
        &mut self,
        to: PublisherId,
        what: RevokedWhat,
        reason: &str,
        publisher: PublisherId,
        track: TrackId,
    ) {
        let event = Event::Revoked {
            room_name: self.name.clone(),
            what,
            reason: reason.to_owned(),
            publisher_id: Some(publisher),
            track_id: Some(track),
            decision_id: None,
        };
        self.send(to, event);
    }
}

impl Member {
    /// Ends the stay if it is over by now, and says why.
    fn why_stay_is_over(&mut self, now_ms: u64) -> Option<String> {
        if self.participant.identity.expires_at_ms.is_some_and(|ends| ends <= now_ms) {
            return Some("the token has expired".to_owned());
        }
        if self.participant.identity.grant.expires_at_ms.is_some_and(|ends| ends <= now_ms) {
            return Some(ENDED.to_owned());
        }
        self.admission.end(now_ms).map(|denial| denial.message)
    }
}

/// Whether all of them say that there is no answer.
pub(crate) fn is_no_answer(decision: &Decision) -> bool {
    decision.as_ref().is_err_and(is_failure)
}

const NOT_ALLOWED: &str = "your grant does not allow to publish this any more";
/// Most tracks in one question that is put again.
const MAX_TRACKS: usize = 256;
/// What is due so soon is asked about along with what is due now, in ms.
const TOGETHER_MS: u64 = 250;
