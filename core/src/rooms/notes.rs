//! What the decision log learns of a room beside policy's answers: who is in, what ended, what was taken away, what the node refused
//! by itself.
//!
//! It looks at what the room wants done, and changes nothing.

use std::collections::HashMap;

use lockgate_model::policy::Denial;
use lockgate_model::{ErrorCode, Event, PublisherId, RoomName};
use lockgate_policy::Journal;
use lockgate_policy::journal::{self, DenialLine, Line};
use lockgate_room::{Effect, Input, MediaAction, RecordAction, Revocation};

use crate::node::wall_clock_ms;

/// The log, as one room writes it.
pub(super) struct Notes {
    journal: Journal,
    room: String,
    /// Whether policy's answer is what the room deals with now: the log has that already, and its words.
    answered: bool,
    /// When each participant was refused something last, in seconds: one line a second is enough for who asks without end.
    refused: HashMap<PublisherId, u64>,
}

impl Notes {
    pub(super) fn new(journal: Journal, room: &RoomName) -> Self {
        Self { journal, room: room.as_str().to_owned(), answered: false, refused: HashMap::new() }
    }

    /// The room deals with something else.
    pub(super) fn begin(&mut self, input: &Input) {
        self.answered = matches!(input, Input::Answer { .. });
    }

    /// The room wants something done.
    pub(super) fn take(&mut self, effect: &Effect) {
        if !self.journal.is_on() {
            return;
        }
        let line = match effect {
            Effect::Send { to, reply } => self.told(*to, &reply.event),
            Effect::Media(action) => self.ended(action),
            Effect::Record(action) => self.recorded(action),
            Effect::Gone { member, .. } => {
                self.refused.remove(member);
                Some(Line::Left { room: self.room.clone(), participant: member.0 })
            }
            Effect::Ask { .. } => None,
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

    /// The room is over.
    pub(super) fn closed(&self) {
        self.journal.note(Line::RoomClosed { room: self.room.clone() });
    }

    fn told(&mut self, to: PublisherId, event: &Event) -> Option<Line> {
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
                reason: (!self.answered).then(|| reason.clone()),
            }),
            Event::Error { code, message, of, retry_after_ms, .. } if self.decides(to, code) => {
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
        if self.answered || !decisions.contains(code) {
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
    use std::time::Duration;

    use lockgate_model::policy::Grant;
    use lockgate_model::{RequestId, RevokedWhat, TrackId};
    use lockgate_policy::journal::{ReadLine, Reader};
    use lockgate_policy::{JournalConfig, Policy, PolicyConfig};

    use super::*;

    /// The lines that come of something, by their kinds, and all of them as text.
    fn lines(act: impl FnOnce(&mut Notes)) -> (Vec<String>, String) {
        let place = tempfile::tempdir().unwrap();
        let (directory, max_age) = (place.path().to_owned(), Duration::from_secs(3600));
        let config = JournalConfig { directory, max_size: 1 << 20, max_age, keep: 2, omit: Vec::new() };
        let policy = Policy::load(PolicyConfig::default()).unwrap().log_to(&config).unwrap();
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

    fn revoked(reason: &str) -> Effect {
        let event = Event::Revoked {
            room_name: RoomName::new("board").unwrap(),
            what: RevokedWhat::Subscription,
            reason: reason.into(),
            publisher_id: Some(PublisherId(2)),
            track_id: Some(TrackId::new("camera").unwrap()),
            decision_id: None,
        };
        Effect::Send { to: PublisherId(1), reply: event.into() }
    }

    fn refused(code: ErrorCode) -> Effect {
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
        Effect::Send { to: PublisherId(1), reply: lockgate_model::Reply { id: None::<RequestId>, event } }
    }

    #[test]
    fn what_the_node_decides_by_itself_is_logged() {
        let (kinds, text) = lines(|notes| {
            notes.begin(&Input::Time);
            notes.take(&revoked("your grant has ended"));
            notes.take(&Effect::Media(MediaAction::ClosePublish { member: PublisherId(2) }));
            notes.take(&refused(ErrorCode::FORBIDDEN));
            notes.take(&refused(ErrorCode::NOT_FOUND));
            notes.take(&Effect::Gone { member: PublisherId(1), missed: Vec::new() });
            notes.closed();
        });
        assert_eq!(kinds, ["header", "revoked", "unpublished", "refused", "left", "room-closed", "end"]);
        assert!(text.contains("your grant has ended"), "{text}");
    }

    #[test]
    fn words_of_plugins_are_logged_once_with_the_question() {
        let (kinds, text) = lines(|notes| {
            let answer = lockgate_room::Answer::One(Ok(Grant::default()));
            notes.answered = matches!(answer, lockgate_room::Answer::One(_));
            notes.take(&revoked("hunter2 is the password"));
            notes.take(&refused(ErrorCode::FORBIDDEN));
        });
        assert_eq!(kinds, ["header", "revoked", "end"]);
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn somebody_who_is_refused_again_and_again_does_not_fill_the_log() {
        let (kinds, _) = lines(|notes| (0..1000).for_each(|_| notes.take(&refused(ErrorCode::FORBIDDEN))));
        let refusals = kinds.iter().filter(|kind| *kind == "refused").count();
        assert!((1..100).contains(&refusals), "{refusals}");
    }
}
