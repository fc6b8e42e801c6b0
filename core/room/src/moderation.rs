//! Acts on others, which policy decides, and what members say to each other past the SFU.

use std::collections::BTreeSet;

use lockgate_model::policy::{CommandAnswer, CommandEffect, CommandQuestion};
use lockgate_model::{Command, ErrorCode, Event, Happening, PublisherId, RequestId, TrackId};

use crate::effect::{MediaAction, Question};
use crate::member::{Member, Stage};
use crate::pending::{Pending, Ticket};
use crate::room::Room;

impl Room {
    pub(crate) fn on_mute(&mut self, id: PublisherId, mark: Option<RequestId>, command: Command) {
        let (Command::Mute { track_id, .. } | Command::Unmute { track_id, .. }) = &command else { return };
        let of = command.name();
        let known = |member: &Member| member.publishes(track_id) || member.may_know(track_id);
        let owner = self.publisher_of(track_id).filter(|_| self.members.get(&id).is_some_and(known));
        match owner {
            None => self.refuse(id, mark, of, ErrorCode::NOT_FOUND, NO_TRACK),
            Some(owner) if owner == id => {
                self.set_muted(&track_id.clone(), matches!(command, Command::Mute { .. }), Some((id, mark)));
            }
            Some(owner) => self.ask_to_act(id, mark, Some(owner), command),
        }
    }

    pub(crate) fn on_kick(&mut self, id: PublisherId, mark: Option<RequestId>, command: Command) {
        let Command::Kick { publisher_id, .. } = command else { return };
        if !self.members.get(&publisher_id).is_some_and(|victim| victim.is_visible() || victim.stage == Stage::Waiting)
        {
            return self.refuse(id, mark, "kick", ErrorCode::NOT_FOUND, "the room has no such participant");
        }
        self.ask_to_act(id, mark, Some(publisher_id), command);
    }

    pub(crate) fn on_policy_command(&mut self, id: PublisherId, mark: Option<RequestId>, command: Command) {
        let Command::PolicyCommand { name, payload, .. } = &command else { return };
        if name.is_empty() || name.len() > MAX_NAME || payload.len() > MAX_PAYLOAD {
            let text = "a policy command has a name of 1 to 64 bytes and a payload of at most 16 KiB";
            return self.refuse(id, mark, "policy-command", ErrorCode::INVALID_MESSAGE, text);
        }
        self.ask_to_act(id, mark, None, command);
    }

    fn ask_to_act(&mut self, id: PublisherId, mark: Option<RequestId>, target: Option<PublisherId>, command: Command) {
        let Some(member) = self.members.get(&id) else { return };
        let (name, payload) = match &command {
            Command::PolicyCommand { name, payload, .. } => (name.clone(), payload.clone()),
            Command::Mute { track_id, .. } | Command::Unmute { track_id, .. } => {
                (command.name().to_owned(), track_id.to_string())
            }
            _ => (command.name().to_owned(), String::new()),
        };
        let question = CommandQuestion {
            who: member.as_participant(),
            room: self.facts(),
            name,
            target: target.and_then(|target| self.members.get(&target)).map(Member::as_participant),
            payload,
            now_ms: self.now_ms,
        };
        self.ask(Question::Command(Box::new(question)), Pending::Act { member: id, id: mark, command });
    }

    pub(crate) fn on_act_verdict(
        &mut self,
        (id, mark): (PublisherId, Option<RequestId>),
        ticket: Ticket,
        command: Command,
        answer: CommandAnswer,
    ) {
        let CommandAnswer { decision, reply, effects } = answer;
        match decision {
            Ok(_) => {
                self.carry_out((id, mark), ticket, command, reply);
                effects.into_iter().for_each(|effect| self.follow(effect));
            }
            Err(denial) => {
                let reply = self.error(mark, command.name(), &denial, None, None);
                self.send(id, reply);
            }
        }
    }

    fn carry_out(
        &mut self,
        (id, mark): (PublisherId, Option<RequestId>),
        ticket: Ticket,
        command: Command,
        payload: String,
    ) {
        match command {
            Command::Mute { ref track_id, .. } | Command::Unmute { ref track_id, .. } => {
                // It may be gone by now, or be another one.
                match self.track(track_id).filter(|(_, track)| track.since <= ticket) {
                    Some(_) => self.set_muted(track_id, matches!(command, Command::Mute { .. }), Some((id, mark))),
                    None => self.refuse(id, mark, command.name(), ErrorCode::NOT_FOUND, NO_TRACK),
                }
            }
            Command::Kick { publisher_id, .. } => self.put_out(publisher_id, "a moderator put you out"),
            Command::PolicyCommand { name, .. } => {
                let event = Event::PolicyReply { room_name: self.name.clone(), name, payload };
                self.reply(id, mark, event);
            }
            _ => {}
        }
    }

    /// Does what a plugin wants done besides.
    fn follow(&mut self, effect: CommandEffect) {
        match effect {
            CommandEffect::ReAsk { subject } => self.ask_again(subject.as_deref()),
            CommandEffect::Admit { subject } => self.let_in(subject.as_deref()),
            CommandEffect::Revoke { subject, reason } => self.put_out_subject(subject.as_deref(), &reason),
            CommandEffect::Notify { subject, payload } => {
                let (room_name, name) = (self.name.clone(), String::from("notify"));
                let event = Event::PolicyReply { room_name, name, payload };
                self.broadcast(|member| member.is_subject(subject.as_deref()).then(|| event.clone()));
            }
        }
    }

    pub(crate) fn set_muted(
        &mut self,
        track: &TrackId,
        muted: bool,
        answered: Option<(PublisherId, Option<RequestId>)>,
    ) {
        let Some((owner, state)) = self.track_mut(track) else { return };
        let changed = std::mem::replace(&mut state.info.muted, muted) != muted;
        let source = state.info.source;
        self.speakers.silence(track);
        self.share_places_of(source, track);
        self.media(MediaAction::Mute { track: track.clone(), muted });
        if changed {
            let (publisher_id, track_id) = (owner, track.clone());
            self.happened(match muted {
                true => Happening::TrackMuted { publisher_id, track_id },
                false => Happening::TrackUnmuted { publisher_id, track_id },
            });
        }
        let event = self.mute_event(owner, track.clone(), muted);
        self.broadcast_answering(answered, &event, |member| member.id == owner || member.may_know(track));
    }

    /// Whether a track is muted, as members are told.
    pub(crate) fn mute_event(&self, publisher_id: PublisherId, track_id: TrackId, muted: bool) -> Event {
        let room_name = self.name.clone();
        match muted {
            true => Event::TrackMuted { room_name, publisher_id, track_id },
            false => Event::TrackUnmuted { room_name, publisher_id, track_id },
        }
    }

    pub(crate) fn on_chat(&mut self, id: PublisherId, mark: Option<RequestId>, text: String) {
        let Some(member) = self.members.get(&id) else { return };
        if text.len() > MAX_CHAT {
            return self.refuse(id, mark, "chat", ErrorCode::INVALID_MESSAGE, "a chat message has at most 4 KiB");
        }
        if !member.grant.allows_data() {
            return self.refuse(id, mark, "chat", ErrorCode::FORBIDDEN, "your grant does not allow chat");
        }
        let identity = &member.participant.identity;
        let event = Event::Chat {
            room_name: self.name.clone(),
            user_id: identity.user_id,
            username: identity.username.clone(),
            publisher_id: id,
            text,
        };
        let knowing = self.who_may_see(id);
        self.broadcast_answering(Some((id, mark)), &event, |other| other.id == id || knowing.contains(&other.id));
    }

    /// The seed's peer relay: a payload goes to one user or to everybody else, untouched.
    pub(crate) fn on_peer_relay(&mut self, id: PublisherId, mark: Option<RequestId>, command: Command) {
        let of = command.name();
        let (Command::Offer(relay) | Command::Answer(relay) | Command::IceCandidate(relay)) = &command else { return };
        let Some(member) = self.members.get(&id) else { return };
        let (room_name, from_user_id) = (self.name.clone(), member.participant.identity.user_id);
        let payload = relay.payload.clone();
        let event = match command {
            Command::Offer(_) => Event::Offer { room_name, from_user_id, payload },
            Command::Answer(_) => Event::Answer { room_name, from_user_id, payload },
            _ => Event::IceCandidate { room_name, from_user_id, payload },
        };
        let target = relay.target_user_id;
        if !member.grant.allows_data() {
            return self.refuse(id, mark, of, ErrorCode::FORBIDDEN, "your grant does not allow messages to others");
        }
        let knowing = self.who_may_see(id);
        let fits = |other: &Member| {
            let named = target.is_none_or(|target| other.participant.identity.user_id == target);
            named && knowing.contains(&other.id)
        };
        let found = self.members.values().any(fits);
        if !member.is_visible() || (target.is_some() && !found) {
            return self.refuse(id, mark, of, ErrorCode::NOT_FOUND, "the room has no such user");
        }
        self.broadcast(|other| fits(other).then(|| event.clone()));
    }

    /// The members whom policy lets know of this one.
    fn who_may_see(&self, id: PublisherId) -> BTreeSet<PublisherId> {
        let Some(of) = self.members.get(&id) else { return BTreeSet::new() };
        self.others_inside(id).filter(|other| other.may_see(of)).map(|other| other.id).collect()
    }
}

const NO_TRACK: &str = "the room has no such track";
/// Longest name of a policy command, in bytes.
const MAX_NAME: usize = 64;
/// Longest payload of a policy command, in bytes.
const MAX_PAYLOAD: usize = 16 * 1024;
/// Longest chat message, in bytes.
const MAX_CHAT: usize = 4 * 1024;
