//! Coming and going.

use lockgate_model::policy::{AdmissionQuestion, Decision, Denial, Why};
use lockgate_model::{Command, ErrorCode, Event, Happening, PublisherId, RequestId, RevokedWhat, TrackId};

use crate::effect::{Connection, Effect, MediaAction, Question};
use crate::input::{Join, LeaveReason};
use crate::member::{Held, Member, Stage};
use crate::pending::{Pending, Ticket};
use crate::quality::Score;
use crate::rights::Entry;
use crate::room::Room;
use crate::standing::Standing;

impl Room {
    pub(crate) fn on_join(&mut self, join: Join) {
        let Join { member: id, participant, id: mark, password, metadata, connections } = join;
        let mut member = Member::new(id, participant, connections);
        let refusal = self.refusal_at_the_door(&member);
        let question = AdmissionQuestion {
            who: member.as_participant(),
            room: self.facts(),
            password: password.clone(),
            metadata: metadata.clone(),
            why: Why::Request,
            now_ms: self.now_ms,
        };
        member.entry = Entry { password, metadata };
        let ends = member.stay_ends_ms();
        self.members.insert(id, member);
        self.wake_for(id, ends);
        match refusal {
            Some(denial) => self.turn_away(id, mark, &denial),
            None => self.ask(Question::Admission(question), Pending::Admission { member: id, id: mark }),
        }
    }

    /// What needs no plugin to be refused.
    fn refusal_at_the_door(&self, member: &Member) -> Option<Denial> {
        if !member.grant.allows_room(self.name.as_str()) {
            return Some(Denial::new(ErrorCode::FORBIDDEN, "the token is not for this room"));
        }
        if self.members.len() >= self.config.max_participants {
            return Some(Denial::new(ErrorCode::ROOM_FULL, "the room has the most participants that this node allows"));
        }
        None
    }

    pub(crate) fn on_admission(
        &mut self,
        id: PublisherId,
        mark: Option<RequestId>,
        ticket: Ticket,
        decision: Decision,
    ) {
        match self.members.get(&id) {
            // A plugin let them in meanwhile: that stands.
            Some(member) if ticket < member.admitted_after && member.stage == Stage::Inside => {
                return self.tell_state(id, mark);
            }
            Some(member) if ticket < member.admitted_after => return,
            _ => {}
        }
        let admission = Standing::first(self.heard(ticket, id), decision);
        let (decision, next) = (admission.decision().clone(), admission.next_ms());
        let Some(member) = self.members.get_mut(&id) else { return };
        match decision {
            Ok(_) => {
                member.admission = admission;
                member.settle();
                self.wake_for(id, next);
                self.look_around(id, mark);
            }
            Err(denial) if denial.waiting => {
                let is_new = member.stage != Stage::Waiting;
                member.stage = Stage::Waiting;
                let who = member.somebody();
                let user_id = member.participant.identity.user_id;
                let event = Event::RoomWaiting { room_name: self.name.clone(), user_id, message: denial.message };
                self.reply(id, mark, event);
                if is_new {
                    self.happened(Happening::ParticipantWaiting { who });
                }
            }
            Err(denial) => self.turn_away(id, mark, &denial),
        }
    }

    /// `join-room` from somebody who has a place already: the state again, or the question again from the lobby.
    pub(crate) fn on_join_again(&mut self, id: PublisherId, mark: Option<RequestId>, command: Command) {
        let Command::JoinRoom { password, metadata, .. } = command else { return };
        match self.members.get(&id) {
            Some(member) if member.stage == Stage::Waiting => {
                let question = AdmissionQuestion {
                    who: member.as_participant(),
                    room: self.facts(),
                    password: password.clone(),
                    metadata: metadata.clone(),
                    why: Why::Request,
                    now_ms: self.now_ms,
                };
                if let Some(member) = self.members.get_mut(&id) {
                    member.entry = Entry { password, metadata };
                }
                self.ask(Question::Admission(question), Pending::Admission { member: id, id: mark });
            }
            Some(_) => self.tell_state(id, mark),
            None => {}
        }
    }

    /// Lets people in from the lobby: a plugin said so.
    pub(crate) fn let_in(&mut self, subject: Option<&str>) {
        let waits = |member: &&Member| member.stage == Stage::Waiting && member.is_subject(subject);
        let waiting: Vec<_> = self.members.values().filter(waits).map(|member| member.id).collect();
        let after = self.next_question();
        for id in waiting {
            if let Some(member) = self.members.get_mut(&id) {
                (member.stage, member.admitted_after) = (Stage::Entering, after);
            }
            self.look_around(id, None);
        }
    }

    /// Asks which of the present tracks a new member may know of, before anything is said.
    fn look_around(&mut self, id: PublisherId, mark: Option<RequestId>) {
        let present: Vec<_> = self
            .tracks()
            .filter(|(owner, _)| owner.is_visible())
            .map(|(_, track)| track.info.track_id.clone())
            .collect();
        if present.is_empty() {
            return self.enter(id, mark);
        }
        self.ask_about(id, present, |asked| Pending::Arrival { member: id, id: mark, asked });
    }

    pub(crate) fn on_arrival(
        &mut self,
        id: PublisherId,
        mark: Option<RequestId>,
        ticket: Ticket,
        asked: Vec<TrackId>,
        decisions: Vec<Decision>,
    ) {
        self.note_verdicts(id, ticket, asked, decisions);
        self.enter(id, mark);
    }

    fn enter(&mut self, id: PublisherId, mark: Option<RequestId>) {
        self.put_out_duplicates(id);
        let Some(member) = self.members.get_mut(&id) else { return };
        member.stage = Stage::Inside;
        let (visible, next, who) = (member.is_visible(), member.next_ms(), member.somebody());
        self.wake_for(id, next);
        self.happened(Happening::ParticipantJoined { who });
        self.tell_state(id, mark);
        if visible {
            let others: Vec<_> = self.others_inside(id).map(|other| other.id).collect();
            others.into_iter().for_each(|other| self.introduce(other, id));
        }
        self.catch_up(id);
    }

    /// Tracks that were published between the question at the door and the entry are announced like later ones.
    fn catch_up(&mut self, id: PublisherId) {
        let Some(member) = self.members.get(&id) else { return };
        let missed: Vec<_> = self
            .tracks()
            .filter(|(owner, track)| {
                owner.id != id && owner.is_visible() && !member.verdicts.contains_key(&track.info.track_id)
            })
            .map(|(_, track)| track.info.track_id.clone())
            .collect();
        if !missed.is_empty() {
            self.ask_about(id, missed, |asked| Pending::Announce { viewer: id, asked });
        }
    }

    /// `[rooms] duplicate = "replace"`: a user's newer place takes the older one's.
    fn put_out_duplicates(&mut self, id: PublisherId) {
        if !self.config.replace_duplicates {
            return;
        }
        let Some(user) = self.members.get(&id).map(|member| member.participant.identity.user_id) else { return };
        let same_user = |member: &&Member| member.participant.identity.user_id == user;
        let older: Vec<_> = self.others_inside(id).filter(same_user).map(|member| member.id).collect();
        let may_record = self.members.get(&id).is_some_and(|member| member.grant.allows_recording());
        for older in older {
            if may_record {
                self.recording.iter_mut().for_each(|recording| recording.move_asker(older, id));
            }
            self.put_out(older, "you joined this room from another place");
        }
    }

    /// Sends everything that a member knows: at the entry, and again when its socket came back.
    pub(crate) fn on_resumed(&mut self, id: PublisherId) {
        if self.is_inside(id) {
            self.tell_state(id, None);
        }
    }

    fn tell_state(&mut self, id: PublisherId, mark: Option<RequestId>) {
        let Some(member) = self.members.get(&id) else { return };
        let others = || self.members.values().filter(|other| other.id != id && member.may_see(other));
        let met: Vec<_> = others().map(|other| other.id).collect();
        let joined = Event::RoomJoined {
            room_name: self.name.clone(),
            user_id: member.participant.identity.user_id,
            publisher_id: id,
            participants: others().map(|other| other.info_for(member)).collect(),
            grants: member.grant.clone(),
        };
        let publishers: Vec<_> = others().filter_map(|other| other.publisher_info_for(member)).collect();
        let announcements: Vec<_> = publishers.iter().map(|publisher| self.new_publisher(publisher)).collect();
        // Who comes back may have been muted meanwhile, or heard again.
        let own = member.tracks.iter().map(|(track, state)| (track.clone(), state.info.muted));
        let own: Vec<_> = own.map(|(track, muted)| self.mute_event(id, track, muted)).collect();
        let recording = self.recording_state();
        if let Some(member) = self.members.get_mut(&id) {
            member.met.extend(met);
            // The next report tells it.
            member.receives.values_mut().for_each(|reception| reception.score = Score::default());
        }
        self.reply(id, mark, joined);
        self.send(id, Event::PublishersList { room_name: self.name.clone(), publishers });
        for event in announcements.into_iter().chain(own).chain(recording) {
            self.send(id, event);
        }
        self.tell_layers(id);
        self.tell_speaker_to(id);
    }

    /// What the member sends and receives of each track, as far as it was told before.
    fn tell_layers(&mut self, id: PublisherId) {
        let Some(member) = self.members.get(&id) else { return };
        let sends = member.tracks.values().filter_map(|track| track.publish_layers(&self.name));
        let receives = member.receives.iter();
        let receives = receives.filter_map(|(track, reception)| reception.layer_changed(&self.name, track));
        let layers: Vec<_> = sends.chain(receives).collect();
        layers.into_iter().for_each(|event| self.send(id, event));
    }

    pub(crate) fn on_leave(&mut self, id: PublisherId, reason: LeaveReason) {
        match reason {
            LeaveReason::Expired => self.put_out(id, "the token has expired"),
            LeaveReason::Closed => self.remove(id, None),
        }
    }

    /// `leave-room`.
    pub(crate) fn on_leave_room(&mut self, id: PublisherId, mark: Option<RequestId>) {
        let Some(member) = self.members.get(&id) else { return };
        let user_id = member.participant.identity.user_id;
        let event = Event::RoomLeft { room_name: self.name.clone(), user_id, publisher_id: id };
        self.reply(id, mark, event);
        self.remove(id, None);
    }

    /// Ends a member's stay against their will, and what is recorded because of them.
    pub(crate) fn put_out(&mut self, id: PublisherId, reason: &str) {
        self.remove(id, Some(reason));
    }

    /// Refuses entry, and with it whatever the client sent ahead.
    fn turn_away(&mut self, id: PublisherId, mark: Option<RequestId>, denial: &Denial) {
        let reply = self.error(mark, "join-room", denial, None, None);
        self.send(id, reply);
        let removed = self.members.remove(&id);
        if let Some(member) = removed.as_ref().filter(|member| member.stage == Stage::Waiting) {
            let (who, reason) = (member.somebody(), Some(denial.message.clone()));
            self.happened(Happening::ParticipantLeft { who, reason });
        }
        let held = removed.map(|member| member.held).unwrap_or_default();
        for Held { request, .. } in held {
            let reply = self.error(request.id, request.command.name(), denial, None, None);
            self.send(id, reply);
        }
        self.effect(Effect::Gone { member: id, missed: Vec::new() });
    }

    /// Lets go of a member: first of all its media ends, then those whom it concerns are told.
    fn remove(&mut self, id: PublisherId, revoked: Option<&str>) {
        let Some(left) = self.members.get(&id).map(|member| self.user_left(member)) else { return };
        let open = self.members.get_mut(&id).map(|member| std::mem::take(&mut member.open));
        for connection in open.unwrap_or_default() {
            self.media(MediaAction::CloseConnection { connection });
        }
        self.media(MediaAction::ClosePublish { member: id });
        let unrecorded = revoked.map(|reason| self.end_recording_of(id, reason)).unwrap_or_default();
        self.end_publications(id);
        if let Some(reason) = revoked {
            self.tell_revoked(id, RevokedWhat::Stay, reason);
        }
        let removed = self.members.remove(&id);
        if let Some(member) = removed.as_ref().filter(|member| member.stage != Stage::Entering) {
            let (who, reason) = (member.somebody(), revoked.map(ToOwned::to_owned));
            self.happened(Happening::ParticipantLeft { who, reason });
        }
        let held = removed.map(|member| member.held).unwrap_or_default();
        self.effect(Effect::Gone { member: id, missed: held.into_iter().map(|held| held.request).collect() });
        self.forget_member(id, &left);
        self.stop_recording_when_empty();
        self.record_wanted(unrecorded);
    }

    /// Nobody waits for, receives from or knows of somebody who is gone.
    fn forget_member(&mut self, id: PublisherId, left: &Event) {
        let mut closed = Vec::new();
        let mut told = Vec::new();
        for member in self.members.values_mut() {
            member.wants.remove(&id);
            member.speaker.take_if(|speaker| *speaker == id);
            let own = Connection { member: member.id, publisher: Some(id) };
            member.received.remove(&own);
            if member.open.remove(&own) {
                closed.push(own);
                member.after_offer.retain(|waiting| waiting.connection != own);
            }
            if member.met.remove(&id) {
                told.push(member.id);
            }
        }
        for connection in closed {
            self.media(MediaAction::CloseConnection { connection });
        }
        for member in told {
            self.send(member, left.clone());
        }
    }

    pub(crate) fn tell_revoked(&mut self, id: PublisherId, what: RevokedWhat, reason: &str) {
        let event = Event::Revoked {
            room_name: self.name.clone(),
            what,
            reason: reason.to_owned(),
            publisher_id: None,
            track_id: None,
            decision_id: None,
        };
        self.send(id, event);
    }
}
