//! Coming and going.

use lockgate_model::policy::{AdmissionQuestion, Decision, Denial, Identity};
use lockgate_model::{ErrorCode, Event, PublisherId, RequestId, RevokedWhat, TrackId};

use crate::effect::{Effect, MediaAction, Question};
use crate::input::{Join, LeaveReason};
use crate::member::{Member, Stage};
use crate::pending::Pending;
use crate::room::Room;

impl Room {
    pub(crate) fn on_join(&mut self, join: Join) {
        let Join { member: id, participant, id: mark, password, metadata, connections } = join;
        let member = Member::new(id, participant, connections);
        let refusal = self.refusal_at_the_door(&member);
        let question = AdmissionQuestion {
            who: member.as_participant(),
            room: self.facts(),
            password,
            metadata,
            now_ms: self.now_ms,
        };
        self.members.insert(id, member);
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

    pub(crate) fn on_admission(&mut self, id: PublisherId, mark: Option<RequestId>, decision: Option<Decision>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        match decision {
            Some(Ok(grant)) => {
                member.grant = member.grant.and(&grant);
                self.look_around(id, mark);
            }
            Some(Err(denial)) if denial.waiting => {
                member.stage = Stage::Waiting;
                let user_id = member.participant.identity.user_id;
                let event = Event::RoomWaiting { room_name: self.name.clone(), user_id, message: denial.message };
                self.reply(id, mark, event);
            }
            Some(Err(denial)) => self.turn_away(id, mark, &denial),
            None => self.turn_away(id, mark, &Denial::new(ErrorCode::POLICY_UNAVAILABLE, "policy gave no answer")),
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
        asked: Vec<TrackId>,
        decisions: Vec<Decision>,
    ) {
        self.note_verdicts(id, asked, decisions);
        self.enter(id, mark);
    }

    fn enter(&mut self, id: PublisherId, mark: Option<RequestId>) {
        self.put_out_duplicates(id);
        let Some(member) = self.members.get_mut(&id) else { return };
        member.stage = Stage::Inside;
        let identity = &member.participant.identity;
        let (user_id, username) = (identity.user_id, identity.username.clone());
        let visible = member.is_visible();
        self.tell_state(id, mark);
        if visible {
            let room_name = self.name.clone();
            let joined = Event::UserJoined { room_name, user_id, username, publisher_id: id };
            self.broadcast(|other| (other.id != id).then(|| joined.clone()));
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
        let same_user = |member: &&Member| {
            member.id != id && member.stage == Stage::Inside && member.participant.identity.user_id == user
        };
        let older: Vec<_> = self.members.values().filter(same_user).map(|member| member.id).collect();
        for older in older {
            self.put_out(older, "you joined this room from another place");
        }
    }

    /// Sends everything that a member knows: at the entry, and again when its socket came back.
    pub(crate) fn on_resumed(&mut self, id: PublisherId) {
        if self.members.get(&id).is_some_and(|member| member.stage == Stage::Inside) {
            self.tell_state(id, None);
        }
    }

    fn tell_state(&mut self, id: PublisherId, mark: Option<RequestId>) {
        let Some(member) = self.members.get(&id) else { return };
        let others = || self.members.values().filter(|other| other.id != id && other.is_visible());
        let joined = Event::RoomJoined {
            room_name: self.name.clone(),
            user_id: member.participant.identity.user_id,
            publisher_id: id,
            participants: others().map(|other| other.info_for(member)).collect(),
            grants: member.grant.clone(),
        };
        let publishers: Vec<_> = others().filter_map(|other| other.publisher_info_for(member)).collect();
        let announcements: Vec<_> = publishers.iter().map(|publisher| self.new_publisher(publisher)).collect();
        let recording = self.recording_state();
        self.reply(id, mark, joined);
        self.send(id, Event::PublishersList { room_name: self.name.clone(), publishers });
        for announcement in announcements {
            self.send(id, announcement);
        }
        if let Some(state) = recording {
            self.send(id, state);
        }
    }

    pub(crate) fn on_renewed(&mut self, id: PublisherId, identity: Identity) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.participant.identity = identity;
    }

    pub(crate) fn on_leave(&mut self, id: PublisherId, reason: LeaveReason) {
        let Some(member) = self.members.get(&id) else { return };
        let user_id = member.participant.identity.user_id;
        match reason {
            LeaveReason::Asked => {
                let event = Event::RoomLeft { room_name: self.name.clone(), user_id, publisher_id: id };
                self.send(id, event);
            }
            LeaveReason::Expired => self.tell_revoked(id, RevokedWhat::Stay, "the token has expired"),
            LeaveReason::Closed => {}
        }
        self.remove(id);
    }

    /// Ends a member's stay against their will.
    pub(crate) fn put_out(&mut self, id: PublisherId, reason: &str) {
        self.tell_revoked(id, RevokedWhat::Stay, reason);
        self.remove(id);
    }

    fn turn_away(&mut self, id: PublisherId, mark: Option<RequestId>, denial: &Denial) {
        let reply = self.error(mark, "join-room", denial, None, None);
        self.send(id, reply);
        self.members.remove(&id);
        self.effect(Effect::Gone { member: id });
    }

    fn remove(&mut self, id: PublisherId) {
        let Some(member) = self.members.get(&id) else { return };
        let (visible, published) = (member.is_visible(), !member.tracks.is_empty());
        let identity = &member.participant.identity;
        let left = Event::UserLeft {
            room_name: self.name.clone(),
            user_id: identity.user_id,
            username: identity.username.clone(),
            publisher_id: id,
        };
        self.end_publications(id);
        let Some(member) = self.members.remove(&id) else { return };
        let connections: std::collections::BTreeSet<_> =
            member.receives.values().map(|reception| reception.connection).collect();
        for connection in connections {
            self.media(MediaAction::CloseConnection { connection });
        }
        if published {
            self.media(MediaAction::ClosePublish { member: id });
        }
        self.effect(Effect::Gone { member: id });
        if visible {
            self.broadcast(|_| Some(left.clone()));
        }
        self.stop_recording_when_empty();
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
