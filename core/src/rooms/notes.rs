//! What the decision log learns of a room beside policy's answers: who is in, what ended, what was taken away, what the node refused
//! by itself.
//!
//! It looks at what the room wants done, and changes nothing.

use std::collections::HashMap;

use lockgate_model::policy::Denial;
use lockgate_model::{ErrorCode, Event, PublisherId, RoomName, TrackId};
use lockgate_policy::Journal;
use lockgate_policy::journal::{self, DenialLine, Line, OperatorAct};
use lockgate_room::{Effect, MediaAction, RecordAction, Revocation, Words};

use crate::node::wall_clock_ms;

/// The log, as one room writes it.
pub(super) struct Notes {
    journal: Journal,
    room: String,
    /// When each participant was refused something last, in seconds: one line a second is enough for who asks without end.
    refused: HashMap<PublisherId, u64>,
}

impl Notes {
    pub(super) fn new(journal: Journal, room: &RoomName) -> Self {
        Self { journal, room: room.as_str().to_owned(), refused: HashMap::new() }
    }

    /// The room wants something done.
    pub(super) fn take(&mut self, effect: &Effect) {
        if !self.journal.is_on() {
            return;
        }
        let line = match effect {
            Effect::Send { to, reply, words } => self.told(*to, &reply.event, *words),
            Effect::Media(action) => self.ended(action),
            Effect::Record(action) => self.recorded(action),
            Effect::Gone { member, .. } => {
                self.refused.remove(member);
                Some(Line::Left { room: self.room.clone(), participant: member.0 })
            }
            Effect::Ask { .. } | Effect::Happened(_) => None,
        };
        line.into_iter().for_each(|line| self.journal.note(line));
    }

    /// An operator took something away.
    pub(super) fn revoked(&self, revocation: &Revocation, concerned: &[PublisherId], operator: String) {
        self.journal.note(Line::Revocation(journal::Revocation {
            operator,
            room: self.room.clone(),
            participants: concerned.iter().map(|id| id.0).collect(),
            what: revocation.what,
            track: revocation.track.as_ref().map(ToString::to_string),
            reason: revocation.reason.clone(),
        }));
    }

    /// An operator did something else.
    pub(super) fn acted(
        &self,
        operator: String,
        act: OperatorAct,
        participant: Option<PublisherId>,
        track: Option<TrackId>,
    ) {
        self.journal.note(Line::Act {
            operator,
            act,
            room: Some(self.room.clone()),
            participant: participant.map(|id| id.0),
            track: track.map(|track| track.to_string()),
        });
    }

    /// The room is over.
    pub(super) fn closed(&self) {
        self.journal.note(Line::RoomClosed { room: self.room.clone() });
    }

    /// What policy says is in the log with the question; what it comes to is the room's.
    fn told(&mut self, to: PublisherId, event: &Event, words: Words) -> Option<Line> {
        let (room, participant) = (self.room.clone(), to.0);
        match event {
            Event::RoomJoined { grants, .. } => Some(Line::Entered { room, participant, grant: grants.clone() }),
            Event::GrantsChanged { grants, .. } => Some(Line::Grants { room, participant, grant: grants.clone() }),
            Event::Revoked { what, reason, publisher_id, track_id, .. } => Some(Line::Revoked {
                room,
                participant,
                what: *what,
                publisher: publisher_id.map(|id| id.0),
                track: track_id.as_ref().map(ToString::to_string),
                reason: (words == Words::Room).then(|| reason.clone()),
            }),
            Event::Error { code, message, of, retry_after_ms, .. }
                if words == Words::Room && self.decides(to, code) =>
            {
                let denial = Denial { retry_after_ms: *retry_after_ms, ..Denial::new(code.clone(), message.clone()) };
                let (participant, denial) = (Some(participant), DenialLine::of(&denial));
                Some(Line::Refused { room: Some(room), participant, subject: None, of: of.clone(), denial })
            }
            _ => None,
        }
    }

    /// Whether a refusal is a decision of the node's own, and none of a client that asks again and again.
    fn decides(&mut self, whom: PublisherId, code: &ErrorCode) -> bool {
        let decisions = [ErrorCode::FORBIDDEN, ErrorCode::ROOM_FULL, ErrorCode::OVERLOADED];
        if !decisions.contains(code) {
            return false;
        }
        let second = wall_clock_ms() / 1000;
        self.refused.insert(whom, second) != Some(second)
    }

    fn ended(&self, action: &MediaAction) -> Option<Line> {
        let (participant, track) = match action {
            MediaAction::Unpublish { member, track } => (member.0, Some(track.to_string())),
            MediaAction::ClosePublish { member } => (member.0, None),
            _ => return None,
        };
        Some(Line::Unpublished { room: self.room.clone(), participant, track })
    }

    fn recorded(&self, action: &RecordAction) -> Option<Line> {
        let line = |session: &dyn ToString, track: Option<String>, publisher: Option<u64>, on: bool| Line::Recording {
            room: self.room.clone(),
            session: session.to_string(),
            track,
            publisher,
            on,
        };
        match action {
            RecordAction::Start { .. } => None,
            RecordAction::Add { session, publisher, track, .. } => {
                Some(line(session, Some(track.to_string()), Some(publisher.0), true))
            }
            RecordAction::Remove { session, track } => Some(line(session, Some(track.to_string()), None, false)),
            RecordAction::Stop { session } => Some(line(session, None, None, false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::RevokedWhat;
    use lockgate_model::policy::{Decision, Grant};
    use lockgate_policy::journal::{ReadLine, Reader};
    use lockgate_policy::{Policy, PolicyConfig};
    use lockgate_room::{Answer, Input, Room, RoomConfig};

    use super::*;
    use crate::testing;

    /// The lines that come of something, by their kinds, and all of them as text.
    fn lines(act: impl FnOnce(&mut Notes)) -> (Vec<String>, String) {
        let place = tempfile::tempdir().unwrap();
        let policy = Policy::load(PolicyConfig::default()).unwrap().log_to(&testing::log(place.path())).unwrap();
        act(&mut Notes::new(policy.journal().clone(), &RoomName::new("board").unwrap()));
        policy.journal().close();
        let mut reader = Reader::open(&place.path().join("decisions-000001.jsonl")).unwrap();
        let mut all = Vec::new();
        while let Some(ReadLine::Whole(line)) = reader.next_line().unwrap() {
            all.push(serde_json::from_slice::<serde_json::Value>(&line).unwrap());
        }
        let kinds = all.iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect();
        (kinds, all.iter().map(|line| format!("{line}\n")).collect())
    }

    fn revoked(reason: &str, words: Words) -> Effect {
        let event = Event::Revoked {
            room_name: RoomName::new("board").unwrap(),
            what: RevokedWhat::Subscription,
            reason: reason.into(),
            publisher_id: Some(PublisherId(2)),
            track_id: Some(TrackId::new("camera").unwrap()),
            decision_id: None,
        };
        Effect::Send { to: PublisherId(1), reply: event.into(), words }
    }

    fn refused(code: ErrorCode, words: Words) -> Effect {
        let event = Event::Error {
            code,
            message: "no".into(),
            of: "start-recording".into(),
            room_name: None,
            publisher_id: None,
            track_id: None,
            retry_after_ms: None,
            decision_id: None,
        };
        Effect::Send { to: PublisherId(1), reply: event.into(), words }
    }

    #[test]
    fn what_the_node_decides_by_itself_is_logged() {
        let (kinds, text) = lines(|notes| {
            notes.take(&revoked("your grant has ended", Words::Room));
            notes.take(&Effect::Media(MediaAction::ClosePublish { member: PublisherId(2) }));
            notes.take(&refused(ErrorCode::FORBIDDEN, Words::Room));
            notes.take(&refused(ErrorCode::NOT_FOUND, Words::Room));
            notes.take(&Effect::Gone { member: PublisherId(1), missed: Vec::new() });
            notes.closed();
        });
        assert_eq!(kinds, ["header", "revoked", "unpublished", "refused", "left", "room-closed", "end"]);
        assert!(text.contains("your grant has ended"), "{text}");
    }

    #[test]
    fn words_of_plugins_are_logged_once_with_the_question() {
        let (kinds, text) = lines(|notes| {
            notes.take(&revoked("hunter2 is the password", Words::Policy));
            notes.take(&refused(ErrorCode::FORBIDDEN, Words::Policy));
        });
        assert_eq!(kinds, ["header", "revoked", "end"]);
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn somebody_who_is_refused_again_and_again_does_not_fill_the_log() {
        let (kinds, _) = lines(|notes| (0..1000).for_each(|_| notes.take(&refused(ErrorCode::FORBIDDEN, Words::Room))));
        let refusals = kinds.iter().filter(|kind| *kind == "refused").count();
        assert!((1..100).contains(&refusals), "{refusals}");
    }

    /// Somebody comes in, and policy answers this to the question at the door.
    fn come(room: &mut Room, notes: &mut Notes, member: u64, decision: Decision) {
        room.handle(0, Input::Join(testing::join(PublisherId(member))));
        let mut decision = Some(decision);
        while let Some(effect) = room.poll() {
            notes.take(&effect);
            if let Effect::Ask { ticket, .. } = effect {
                let answer = Answer::One(decision.take().expect("one question"));
                room.handle(0, Input::Answer { ticket, answer });
            }
        }
    }

    #[test]
    fn what_the_room_decides_when_policy_answers_somebody_else_has_its_reason() {
        let (kinds, text) = lines(|notes| {
            let config = RoomConfig { replace_duplicates: true, ..RoomConfig::default() };
            let mut room = Room::new(RoomName::new("board").unwrap(), config);
            come(&mut room, notes, 1, Ok(Grant::default()));
            come(&mut room, notes, 2, Ok(Grant::default()));
            come(&mut room, notes, 3, Err(Denial::new(ErrorCode::FORBIDDEN, "words of a plugin")));
        });
        assert_eq!(kinds, ["header", "entered", "unpublished", "revoked", "left", "entered", "left", "end"]);
        assert!(text.contains("you joined this room from another place"), "{text}");
        assert!(!text.contains("words of a plugin"), "{text}");
    }

    #[test]
    fn what_counts_where_policy_was_not_asked_is_the_nodes_refusal() {
        let (kinds, text) = lines(|notes| {
            let mut room = Room::new(RoomName::new("board").unwrap(), RoomConfig::default());
            room.handle(0, Input::Join(testing::join(PublisherId(1))));
            let Some(Effect::Ask { ticket, .. }) = room.poll() else { panic!("nothing is asked") };
            let answer = Answer::One(Err(Denial::new(ErrorCode::OVERLOADED, "too many questions wait for policy")));
            room.handle(0, Input::Unanswered { ticket, answer });
            std::iter::from_fn(|| room.poll()).for_each(|effect| notes.take(&effect));
        });
        assert_eq!(kinds, ["header", "refused", "left", "end"]);
        assert!(text.contains("too many questions wait for policy"), "{text}");
    }
}
