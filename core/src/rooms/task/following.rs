//! What those who follow the node learn of a room beside what the room itself says: whom it refused something, and what operators did.

use lockgate_model::{ErrorCode, Event, Happening, PublisherId, TrackId};
use lockgate_policy::journal::OperatorAct;
use lockgate_room::{Effect, Revocation, Words};

use super::RoomTask;
use crate::node::wall_clock_ms;

impl RoomTask {
    /// The room wants something done.
    pub(super) fn follow(&mut self, effect: &Effect) {
        let happening = match effect {
            Effect::Happened(happening) => return self.node.events.tell(Some(&self.name), happening),
            Effect::Send { to, reply, words } => self.told(*to, &reply.event, *words),
            _ => None,
        };
        happening.into_iter().for_each(|happening| self.node.events.tell(Some(&self.name), &happening));
    }

    fn told(&mut self, to: PublisherId, event: &Event, words: Words) -> Option<Happening> {
        match event {
            Event::Revoked { what, reason, publisher_id, track_id, .. } => Some(Happening::Revoked {
                participant_id: to,
                what: *what,
                publisher_id: *publisher_id,
                track_id: track_id.clone(),
                reason: reason.clone(),
            }),
            Event::Error { code, message, of, .. } if is_denial(code, words) => {
                let untold = self.refusals.admit(wall_clock_ms() / 1000)?;
                Some(Happening::Denied {
                    participant_id: Some(to),
                    subject: self.seats.get(&to).map(|seat| seat.subject.clone()),
                    door: None,
                    of: of.clone(),
                    code: code.as_str().to_owned(),
                    message: message.clone(),
                    untold,
                })
            }
            _ => None,
        }
    }

    /// An operator takes something away.
    pub(super) fn tell_revocation(&self, revocation: &Revocation, concerned: &[PublisherId], operator: String) {
        let act = Happening::Operator {
            operator,
            act: "revoke".to_owned(),
            participant_ids: concerned.to_vec(),
            track_id: revocation.track.clone(),
            reason: Some(revocation.reason.clone()),
        };
        self.node.events.tell(Some(&self.name), &act);
    }

    /// An operator did something else.
    pub(super) fn tell_act(
        &self,
        operator: &str,
        act: OperatorAct,
        participant_ids: Vec<PublisherId>,
        track_id: Option<TrackId>,
    ) {
        let (operator, act) = (operator.to_owned(), act.as_str().to_owned());
        let act = Happening::Operator { operator, act, participant_ids, track_id, reason: None };
        self.node.events.tell(Some(&self.name), &act);
    }

    pub(super) fn tell_closed(&self) {
        self.node.events.tell(Some(&self.name), &Happening::RoomClosed {});
    }
}

/// Whether a refusal is somebody's decision, and not a slip of a client.
fn is_denial(code: &ErrorCode, words: Words) -> bool {
    let decisions = [ErrorCode::FORBIDDEN, ErrorCode::ROOM_FULL, ErrorCode::OVERLOADED, ErrorCode::POLICY_UNAVAILABLE];
    words == Words::Policy || decisions.contains(code)
}
