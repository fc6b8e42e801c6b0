//! Receiving on the client's own offer, as over HTTP: the server answers, and what is subscribed to takes the offered m-lines.
//!
//! What is subscribed to is asked for and granted like everybody's; only who describes the connection first is the other way round.

use lockgate_model::policy::Door;
use lockgate_model::{Event, OfferedTrack, PublisherId, RequestId, TrackId};

use crate::effect::{Connection, MediaAction};
use crate::input::{MediaProblem, ReceiverAnswer};
use crate::pending::{Pending, Ticket};
use crate::room::Room;

impl Room {
    pub(crate) fn on_receive_offer(&mut self, id: PublisherId, mark: Option<RequestId>, offer: String) {
        let connection = Connection { member: id, publisher: None };
        let Some(member) = self.members.get_mut(&id) else { return };
        member.open.insert(connection);
        let pending = Pending::ReceiveOffer { member: id, id: mark };
        self.act(pending, |ticket| MediaAction::AnswerReceiver { ticket, connection, offer });
    }

    pub(crate) fn on_receiver_answered(&mut self, ticket: Ticket, result: Result<ReceiverAnswer, MediaProblem>) {
        let Some(Pending::ReceiveOffer { member, id }) = self.take(ticket) else { return };
        match result {
            Ok(ReceiverAnswer { sdp, tracks }) => {
                let (room_name, tracks) = (self.name.clone(), self.listed(tracks));
                self.reply(member, id, Event::ReceiveAnswer { room_name, answer: sdp, tracks });
            }
            Err(problem) => self.refuse(member, id, "receive-offer", problem.code, &problem.message),
        }
        self.release(Some(member));
    }

    /// Other tracks are sent on a client's lines: that answers what it asked for, and it hears of all that it gets now.
    pub(crate) fn on_placed(&mut self, connection: Connection, cause: PublisherId, tracks: Vec<(String, TrackId)>) {
        let listed = self.listed(tracks);
        let Some(member) = self.members.get_mut(&connection.member) else { return };
        let waiting = std::mem::take(&mut member.after_offer);
        let event =
            |publisher_id| Event::Subscribed { room_name: self.name.clone(), publisher_id, tracks: listed.clone() };
        let mut told: Vec<_> = waiting.iter().map(|one| (one.id.clone(), event(one.publisher))).collect();
        if told.is_empty() {
            told.push((None, event(cause)));
        }
        for (id, event) in told {
            self.reply(connection.member, id, event);
        }
        waiting.into_iter().flat_map(|one| one.errors).for_each(|error| self.send(connection.member, error));
    }

    /// Those who come over HTTP hold a place among the half-open ones until then.
    pub(crate) fn on_connected(&mut self, id: PublisherId) {
        let over_http = |door| matches!(door, Door::Whip | Door::Whep);
        if self.members.get(&id).is_some_and(|member| over_http(member.participant.door)) {
            self.send(id, Event::MediaConnected { room_name: self.name.clone() });
        }
    }

    fn listed(&self, tracks: Vec<(String, TrackId)>) -> Vec<OfferedTrack> {
        tracks.into_iter().filter_map(|(mid, track)| self.offered_track(mid, track)).collect()
    }
}
