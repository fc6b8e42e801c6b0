//! A client's places in rooms: it enters, its commands go there, their news come back.

use lockgate_model::policy::{Denial, Participant};
use lockgate_model::{
    Command, ErrorCode, Event, PublisherId, Request, RequestId, RevokedWhat, RoomName, Secret, SubscribeConnections,
};
use lockgate_room::{Input, Join, LeaveReason};

use super::{Flow, Session};
use crate::node::wall_clock_ms;
use crate::rooms::{FromMember, RoomHandle, inspect_offer};
use crate::session::{RoomEvent, RoomNews};

/// A place in a room.
pub(super) struct Seat {
    pub(super) member: PublisherId,
    pub(super) room: RoomHandle,
}

impl Session {
    pub(super) async fn on_room_command(&mut self, request: Request) {
        let Request { id, command, size } = request;
        let Some(room) = command.room().cloned() else { return };
        let seated = self.seats.contains_key(&room);
        match command {
            Command::JoinRoom { metadata: Some(text), .. } if text.len() > MAX_METADATA => {
                let event = Event::error(ErrorCode::INVALID_MESSAGE, "metadata has at most 4 KiB", "join-room");
                self.reply(id, event);
            }
            Command::JoinRoom { password, metadata, subscribe_connections, .. } if !seated => {
                let entry = (password, metadata, subscribe_connections.unwrap_or_default());
                if let Err(denial) = self.join(&room, id.clone(), entry).await {
                    self.turn_away(id, "join-room", room, denial);
                }
            }
            Command::PublishOffer { .. } | Command::SubscribeRequest { .. } if !seated => {
                // The seed's clients never join: their first publish or subscribe does.
                match self.join(&room, None, (None, None, SubscribeConnections::PerPublisher)).await {
                    Ok(()) => self.forward(&room, Request { id, command, size }).await,
                    Err(denial) => self.turn_away(id, command.name(), room, denial),
                }
            }
            command if seated => self.forward(&room, Request { id, command, size }).await,
            command => self.refuse(id, &command, ErrorCode::NOT_FOUND, NOT_IN),
        }
    }

    /// Brings this client to a room's door, which answers by itself.
    ///
    /// # Errors
    /// A denial: there is no place for it, or an operator put it out a moment ago.
    async fn join(
        &mut self,
        room: &RoomName,
        id: Option<RequestId>,
        (password, metadata, connections): (Option<Secret>, Option<String>, SubscribeConnections),
    ) -> Result<(), Denial> {
        let Some(known) = &self.who else { return Ok(()) };
        if self.seats.len() >= MAX_ROOMS {
            return Err(Denial::new(ErrorCode::OVERLOADED, "too many rooms on one socket; leave one first"));
        }
        let identity = known.identity.clone();
        let subject = identity.subject.clone();
        self.node.held.refusal(&subject, wall_clock_ms()).map_or(Ok(()), Err)?;
        let member = self.node.allot_publisher();
        let participant =
            Participant { identity, publisher_id: Some(member), door: self.link.door, peer: self.link.peer.ip() };
        let join = Join { member, participant, id, password, metadata, connections };
        let handle = self.node.rooms.join(&self.node, room, join, self.tell.clone()).await;
        let handle = handle.map_err(|problem| Denial::new(ErrorCode::OVERLOADED, problem.to_string()))?;
        self.sit_down(room, &subject, Seat { member, room: handle }).await
    }

    /// Takes the seat, unless an operator put them out while the room was made: then the room must let go of it.
    async fn sit_down(&mut self, room: &RoomName, subject: &str, seat: Seat) -> Result<(), Denial> {
        if let Some(denial) = self.node.held.refusal(subject, wall_clock_ms()) {
            seat.room.input(Input::Leave { member: seat.member, reason: LeaveReason::Closed }).await;
            return Err(denial);
        }
        self.seats.insert(room.clone(), seat);
        Ok(())
    }

    /// Why they do not even get to the room's door: no plugin is asked.
    fn turn_away(&self, id: Option<RequestId>, of: &str, room: RoomName, denial: Denial) {
        if let Some(known) = &self.who {
            self.node.note_refusal(&known.identity.subject, Some(&room), of, &denial);
        }
        self.deny(id, of, Some(room), denial);
    }

    async fn forward(&self, room: &RoomName, request: Request) {
        let Some(seat) = self.seats.get(room) else { return };
        let offered = match &request.command {
            Command::PublishOffer { offer, .. } => Some(inspect_offer(offer)),
            _ => None,
        };
        let (member, news) = (seat.member, self.tell.clone());
        seat.room.command(room, FromMember { member, request, offered, news }).await;
    }

    /// What a room did not answer, as it had let go of this client already: a wish to enter is one to enter again, and what came
    /// after that is for the new place.
    async fn on_missed(&mut self, request: Request) {
        let wants_in = matches!(request.command, Command::JoinRoom { .. });
        if wants_in || request.command.room().is_some_and(|room| self.seats.contains_key(room)) {
            return self.on_room_command(request).await;
        }
        self.refuse(request.id, &request.command, ErrorCode::NOT_FOUND, NOT_IN);
    }

    pub(super) async fn on_news(&mut self, news: RoomNews) -> Flow {
        let current = self.seats.get(&news.room).is_some_and(|seat| seat.member == news.member);
        match news.event {
            RoomEvent::Gone if current => {
                self.seats.remove(&news.room);
                Flow::On
            }
            RoomEvent::Out(reason) if current => {
                self.seats.remove(&news.room);
                self.tell_client(put_out(news.room, reason).into())
            }
            RoomEvent::Tell(reply) if current => self.tell_client(*reply),
            RoomEvent::Missed(request) => {
                if current {
                    self.seats.remove(&news.room);
                }
                self.on_missed(*request).await;
                Flow::On
            }
            // Whoever did not get a seat after all, or has it no more, was told so.
            RoomEvent::Gone | RoomEvent::Out(_) | RoomEvent::Tell(_) => Flow::On,
        }
    }
}

/// What a client hears that is out of a room.
fn put_out(room: RoomName, reason: &str) -> Event {
    Event::Revoked {
        room_name: room,
        what: RevokedWhat::Stay,
        reason: reason.to_owned(),
        publisher_id: None,
        track_id: None,
        decision_id: None,
    }
}

const NOT_IN: &str = "you are not in this room";
/// Rooms that one socket may be in.
const MAX_ROOMS: usize = 16;
/// Longest `metadata`, in bytes.
const MAX_METADATA: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lockgate_signal::{Incoming, Outgoing};
    use serde_json::json;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;
    use crate::node::Node;
    use crate::session::tests::{comeback, link};
    use crate::testing;

    /// Somebody who has said who they are, and heard that it is so.
    async fn admitted(node: &Arc<Node>) -> (Session, mpsc::Sender<Incoming>, mpsc::Receiver<Outgoing>) {
        let (link, says, mut hears) = link();
        let mut session = Session::new(node.clone(), link);
        session.admit(None, comeback("7").identity);
        hears.recv().await.unwrap();
        (session, says, hears)
    }

    #[tokio::test]
    async fn who_is_in_a_room_sends_no_longer_metadata_than_who_comes() {
        let (node, _hub) = testing::node();
        let (mut session, _says, mut hears) = admitted(&node).await;
        for asked in 0..2 {
            let metadata = "x".repeat(5000 * asked);
            let message = json!({"type": "join-room", "roomName": "r", "metadata": metadata, "id": asked});
            session.on_room_command(serde_json::from_value(message).unwrap()).await;
            assert!(session.seats.contains_key(&RoomName::new("r").unwrap()));
        }
        let Ok(Outgoing::Reply(reply)) = hears.try_recv() else { panic!("it was taken") };
        let reply = serde_json::to_value(&*reply).unwrap();
        assert_eq!((&reply["code"], &reply["id"]), (&json!("invalid-message"), &json!(1)));
    }

    #[tokio::test]
    async fn who_is_put_out_while_their_room_is_made_is_told_and_has_no_seat() {
        let (node, _hub) = testing::node();
        let (mut session, _says, mut hears) = admitted(&node).await;
        let (name, member) = (RoomName::new("r").unwrap(), node.allot_publisher());
        let (tell, mut news) = mpsc::channel(16);
        let room = node.rooms.join(&node, &name, testing::join(member), tell).await.unwrap();
        let now = wall_clock_ms();
        node.held.hold("7", now + 60_000, now).unwrap();
        let denial = session.sit_down(&name, "7", Seat { member, room }).await.unwrap_err();
        assert!(denial.code == ErrorCode::FORBIDDEN && denial.retry_after_ms > Some(0) && session.seats.is_empty());
        let gone = async {
            while let Some(news) = news.recv().await.filter(|news| !matches!(news.event, RoomEvent::Gone)) {
                assert!(session.on_news(news).await == Flow::On);
            }
        };
        timeout(Duration::from_secs(30), gone).await.expect("the room lets go of them");
        assert!(hears.try_recv().is_err(), "not that they have entered");
    }

    #[tokio::test]
    async fn whoever_leaves_and_asks_for_more_at_once_is_answered() {
        let (node, _hub) = testing::node();
        let (mut session, _says, mut hears) = admitted(&node).await;
        let kinds = ["join-room", "leave-room", "start-recording", "join-room", "set-layer", "leave-room"];
        for (id, kind) in kinds.into_iter().enumerate() {
            let message = json!({"type": kind, "roomName": "r", "id": id, "publisherId": 1, "trackId": "t"});
            session.on_room_command(serde_json::from_value(message).unwrap()).await;
        }
        let mut answers = vec![None; kinds.len()];
        let answered = async {
            while answers.contains(&None) {
                tokio::select! {
                    Some(news) = session.news.recv() => assert!(session.on_news(news).await == Flow::On),
                    Some(Outgoing::Reply(reply)) = hears.recv() => {
                        let reply = serde_json::to_value(&*reply).unwrap();
                        if let Some(id) = reply["id"].as_u64() {
                            let word = reply.get("code").unwrap_or(&reply["type"]);
                            answers[usize::try_from(id).unwrap()] = Some(word.as_str().unwrap().to_owned());
                        }
                    }
                }
            }
        };
        timeout(Duration::from_secs(30), answered).await.expect("all are answered");
        let answers: Vec<_> = answers.into_iter().flatten().collect();
        assert_eq!(answers, ["room-joined", "room-left", "not-found", "room-joined", "not-found", "room-left"]);
        assert!(session.seats.len() <= 1);
    }

    #[tokio::test]
    async fn whoever_is_kept_out_of_a_room_hears_so_about_what_they_asked_for() {
        let log = tempfile::tempdir().unwrap();
        let (node, _hub) = testing::node_with_log(log.path());
        let (mut session, _says, mut hears) = admitted(&node).await;
        let now = wall_clock_ms();
        node.held.hold("7", now + 60_000, now).unwrap();
        for (kind, more) in [("join-room", json!({})), ("publish-offer", json!({"offer": "v=0"}))] {
            let mut message = json!({"type": kind, "roomName": "r", "id": kind});
            message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            session.on_room_command(serde_json::from_value(message).unwrap()).await;
            let Ok(Outgoing::Reply(reply)) = hears.try_recv() else { panic!("nothing was said about {kind}") };
            let reply = serde_json::to_value(&*reply).unwrap();
            assert_eq!((&reply["code"], &reply["of"], &reply["id"]), (&json!("forbidden"), &json!(kind), &json!(kind)));
        }
        node.policy.journal().close();
        let text = std::fs::read_to_string(log.path().join("decisions-000001.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let refused: Vec<_> = lines.filter(|line| line["kind"] == "refused").collect();
        let of: Vec<_> = refused.iter().map(|line| (&line["of"], &line["room"], &line["subject"])).collect();
        let line = |of| (of, json!("r"), json!("7"));
        let expected = [line(json!("join-room")), line(json!("publish-offer"))];
        assert_eq!(of, expected.iter().map(|(of, room, who)| (of, room, who)).collect::<Vec<_>>());
        assert_eq!(refused[0]["denial"]["message"], "an operator put you out");
    }

    #[tokio::test]
    async fn whoever_wants_into_too_many_rooms_is_in_the_log() {
        let log = tempfile::tempdir().unwrap();
        let (node, _hub) = testing::node_with_log(log.path());
        let (mut session, _says, mut hears) = admitted(&node).await;
        for room in 0..=MAX_ROOMS {
            let message = json!({"type": "join-room", "roomName": format!("r{room}"), "id": room});
            session.on_room_command(serde_json::from_value(message).unwrap()).await;
        }
        let Ok(Outgoing::Reply(reply)) = hears.try_recv() else { panic!("there is a place in each") };
        assert_eq!(serde_json::to_value(&*reply).unwrap()["code"], "overloaded");
        node.policy.journal().close();
        let text = std::fs::read_to_string(log.path().join("decisions-000001.jsonl")).unwrap();
        assert!(
            text.lines().any(|line| line.contains("\"kind\":\"refused\"") && line.contains("too many rooms")),
            "{text}"
        );
    }
}
