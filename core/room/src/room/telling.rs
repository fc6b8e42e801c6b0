//! What a room has done and says: effects, in their order.

use lockgate_model::policy::Denial;
use lockgate_model::{ErrorCode, Event, Happening, PublisherId, Reply, RequestId, TrackId};

use super::Room;
use crate::effect::{Effect, MediaAction, Words};
use crate::member::Member;

impl Room {
    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn happened(&mut self, happening: Happening) {
        self.effects.push_back(Effect::Happened(happening));
    }

    pub(crate) fn media(&mut self, action: MediaAction) {
        self.effects.push_back(Effect::Media(action));
    }

    pub(crate) fn send(&mut self, to: PublisherId, reply: impl Into<Reply>) {
        let reply = reply.into();
        let is_policys = match &reply.event {
            Event::Error { message: words, .. } | Event::Revoked { reason: words, .. } => self.answered.contains(words),
            _ => false,
        };
        let words = if is_policys { Words::Policy } else { Words::Room };
        self.effects.push_back(Effect::Send { to, reply, words });
    }

    pub(crate) fn reply(&mut self, to: PublisherId, id: Option<RequestId>, event: Event) {
        self.send(to, Reply { id, event });
    }

    /// Tells every member inside for whom `event` gives something.
    pub(crate) fn broadcast(&mut self, event: impl Fn(&Member) -> Option<Event>) {
        let told: Vec<_> = self.inside().filter_map(|member| Some((member.id, event(member)?))).collect();
        for (to, event) in told {
            self.send(to, event);
        }
    }

    /// Tells every member inside whom it concerns; for whoever asked it is the reply.
    pub(crate) fn broadcast_answering(
        &mut self,
        answered: Option<(PublisherId, Option<RequestId>)>,
        event: &Event,
        concerns: impl Fn(&Member) -> bool,
    ) {
        let asker = answered.as_ref().map(|(asker, _)| *asker);
        self.broadcast(|member| (Some(member.id) != asker && concerns(member)).then(|| event.clone()));
        if let Some((asker, mark)) = answered {
            self.reply(asker, mark, event.clone());
        }
    }

    pub(crate) fn refuse(&mut self, to: PublisherId, id: Option<RequestId>, of: &str, code: ErrorCode, message: &str) {
        let reply = self.error(id, of, &Denial::new(code, message), None, None);
        self.send(to, reply);
    }

    pub(crate) fn error(
        &self,
        id: Option<RequestId>,
        of: &str,
        denial: &Denial,
        publisher: Option<PublisherId>,
        track: Option<TrackId>,
    ) -> Reply {
        let event = Event::Error {
            code: denial.code.clone(),
            message: denial.message.clone(),
            of: of.to_owned(),
            room_name: Some(self.name.clone()),
            publisher_id: publisher,
            track_id: track,
            retry_after_ms: denial.retry_after_ms,
            decision_id: None,
        };
        Reply { id, event }
    }
}
