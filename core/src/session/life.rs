//! A session's life: authenticate, join, hand commands to rooms and their news to the client, survive a lost socket.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::policy::{AuthQuestion, Denial, Identity, Participant};
use lockgate_model::{
    Command, ErrorCode, Event, PublisherId, Reply, Request, RequestId, RevokedWhat, RoomName, Secret,
    SubscribeConnections,
};
use lockgate_room::{Input, Join, LeaveReason};
use lockgate_signal::{CloseCode, Incoming};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Comeback, Link, RoomEvent, RoomNews};
use crate::ice_servers;
use crate::node::{Ending, Node, random_token, wall_clock_ms};
use crate::rooms::{FromMember, RoomHandle, inspect_offer};

/// One client.
pub(crate) struct Session {
    node: Arc<Node>,
    link: Link,
    /// Whether the socket is lost and the client may come back.
    lost: Option<Instant>,
    who: Option<Known>,
    seats: HashMap<RoomName, Seat>,
    news: mpsc::Receiver<RoomNews>,
    /// For rooms to write to.
    tell: mpsc::Sender<RoomNews>,
    comebacks: mpsc::Receiver<Comeback>,
    /// For the register of resumable sessions.
    come_back: mpsc::Sender<Comeback>,
    opened: Instant,
}

/// Somebody whom policy has accepted.
struct Known {
    identity: Identity,
    resume_token: String,
    warned: bool,
}

/// A place in a room.
struct Seat {
    member: PublisherId,
    room: RoomHandle,
}

/// Whether a session goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    End(LeaveReason),
}

impl Session {
    pub(crate) fn new(node: Arc<Node>, link: Link) -> Self {
        let (tell, news) = mpsc::channel(MAX_NEWS);
        let (come_back, comebacks) = mpsc::channel(1);
        let opened = Instant::now();
        Self { node, link, lost: None, who: None, seats: HashMap::new(), news, tell, comebacks, come_back, opened }
    }

    /// Lives until the client is gone for good or the node ends.
    pub(crate) async fn run(mut self, mut ending: Ending) {
        let reason = loop {
            let deadline = self.next_deadline();
            let flow = tokio::select! {
                incoming = self.link.next(), if self.lost.is_none() => self.on_incoming(incoming).await,
                Some(news) = self.news.recv() => self.on_news(news).await,
                Some(comeback) = self.comebacks.recv() => self.on_comeback(comeback).await,
                () = until(deadline) => self.on_deadline(),
                () = ending.comes() => {
                    self.say_farewell();
                    Flow::End(LeaveReason::Closed)
                }
            };
            if let Flow::End(reason) = flow {
                break reason;
            }
        };
        self.end(reason).await;
    }

    fn say_farewell(&self) {
        self.reply(None, Event::ServerDraining { deadline_ms: 0, reconnect_to: None });
        self.link.close(CloseCode::GoingAway, "the node is ending");
    }

    async fn end(mut self, reason: LeaveReason) {
        if let Some(known) = &self.who {
            self.node.resumable.forget(&known.resume_token);
        }
        for (_, seat) in self.seats.drain() {
            seat.room.input(Input::Leave { member: seat.member, reason }).await;
        }
        // What the rooms say last ("revoked") still reaches the client: each lets go of its end when it has done so.
        drop(self.tell);
        let last_words = async {
            while let Some(news) = self.news.recv().await {
                if let RoomEvent::Tell(reply) = news.event {
                    self.link.tell(*reply);
                }
            }
        };
        if timeout(LAST_WORDS_WITHIN, last_words).await.is_err() {
            tracing::warn!("a room took too long to let a participant go");
        }
        if reason == LeaveReason::Expired {
            self.link.close(CloseCode::Unauthenticated, "the token has expired");
        }
    }

    // The client.

    async fn on_incoming(&mut self, incoming: Incoming) -> Flow {
        match incoming {
            Incoming::Request(request) => self.on_request(*request).await,
            Incoming::Closed { clean } => self.on_closed(clean),
        }
    }

    fn on_closed(&mut self, clean: bool) -> Flow {
        let keep = self.node.config.rooms.resume;
        if clean || self.seats.is_empty() || keep.is_zero() {
            return Flow::End(LeaveReason::Closed);
        }
        self.lost = Some(Instant::now());
        Flow::On
    }

    async fn on_request(&mut self, request: Request) -> Flow {
        let Request { id, command, size } = request;
        match command {
            Command::Auth { token, resume } => self.on_auth(id, token, resume).await,
            Command::Ping {} => {
                self.reply(id, Event::Pong {});
                Flow::On
            }
            _ if self.who.is_none() => {
                self.refuse(id, &command, ErrorCode::UNAUTHENTICATED, "send `auth` first");
                self.link.close(CloseCode::Unauthenticated, "the first message is `auth`");
                Flow::End(LeaveReason::Closed)
            }
            command => {
                self.on_room_command(Request { id, command, size }).await;
                Flow::On
            }
        }
    }

    async fn on_auth(&mut self, id: Option<RequestId>, token: Secret, resume: Option<Secret>) -> Flow {
        let question = AuthQuestion { token, door: self.link.door, peer: self.link.peer.ip(), now_ms: wall_clock_ms() };
        match self.node.authenticate(question).await {
            Ok(identity) => self.on_accepted(id, identity, resume).await,
            Err(denial) => self.on_unauthenticated(id, denial),
        }
    }

    fn on_unauthenticated(&self, id: Option<RequestId>, denial: Denial) -> Flow {
        tracing::info!(peer = %self.link.peer.ip(), reason = %denial.code, "refused a token");
        self.deny(id, "auth", None, denial);
        if self.who.is_some() {
            // A renewal that fails changes nothing: the old token goes on until it ends.
            return Flow::On;
        }
        self.link.close(CloseCode::Unauthenticated, "the token was not accepted");
        Flow::End(LeaveReason::Closed)
    }

    async fn on_accepted(&mut self, id: Option<RequestId>, identity: Identity, resume: Option<Secret>) -> Flow {
        if let Some(known) = &self.who {
            return self.on_renewed(id, identity, known.identity.subject.clone()).await;
        }
        let Some(token) = resume else { return self.admit(id, identity) };
        // The old session takes the socket over; this one has nothing left to do.
        let (link_door, link_peer) = (self.link.door, self.link.peer);
        let link = std::mem::replace(&mut self.link, Link::ended(link_door, link_peer));
        match self.node.resumable.hand_over(&token, Comeback { link, identity, id }) {
            Ok(()) => Flow::End(LeaveReason::Closed),
            Err(refused) => {
                let Comeback { link, identity, id } = *refused;
                self.link = link;
                self.admit(id, identity)
            }
        }
    }

    fn admit(&mut self, id: Option<RequestId>, identity: Identity) -> Flow {
        let Ok(resume_token) = random_token() else {
            self.reply(id, Event::error(ErrorCode::INTERNAL, "the node has no randomness", "auth"));
            return Flow::End(LeaveReason::Closed);
        };
        self.node.resumable.register(resume_token.clone(), identity.subject.clone(), self.come_back.clone());
        let event = Event::Authenticated {
            user_id: identity.user_id,
            username: identity.username.clone(),
            expires_at: identity.expires_at_ms.map(|ms| ms / 1000),
            resume_token: resume_token.clone(),
            resume_ms: u64::try_from(self.node.config.rooms.resume.as_millis()).unwrap_or(u64::MAX),
            ice_servers: ice_servers::for_user(&self.node.config.media.ice, identity.user_id, wall_clock_ms() / 1000),
        };
        self.who = Some(Known { identity, resume_token, warned: false });
        self.reply(id, event);
        Flow::On
    }

    async fn on_renewed(&mut self, id: Option<RequestId>, identity: Identity, subject: String) -> Flow {
        if identity.subject != subject {
            self.reply(id, Event::error(ErrorCode::FORBIDDEN, "the new token is somebody else's", "auth"));
            return Flow::On;
        }
        if let Some(known) = &self.who {
            self.node.resumable.forget(&known.resume_token);
        }
        for seat in self.seats.values() {
            seat.room.input(Input::Renewed { member: seat.member, identity: identity.clone() }).await;
        }
        self.admit(id, identity)
    }

    async fn on_comeback(&mut self, comeback: Comeback) -> Flow {
        let Comeback { link, identity, id } = comeback;
        let old = std::mem::replace(&mut self.link, link);
        old.close(CloseCode::Normal, "resumed on another socket");
        self.lost = None;
        let flow = self.admit(id, identity.clone());
        for seat in self.seats.values() {
            seat.room.input(Input::Renewed { member: seat.member, identity: identity.clone() }).await;
            seat.room.input(Input::Resumed { member: seat.member }).await;
        }
        flow
    }

    // Rooms.

    async fn on_room_command(&mut self, request: Request) {
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
                    self.deny(id, "join-room", Some(room), denial);
                }
            }
            Command::PublishOffer { .. } | Command::SubscribeRequest { .. } if !seated => {
                // The seed's clients never join: their first publish or subscribe does.
                match self.join(&room, None, (None, None, SubscribeConnections::PerPublisher)).await {
                    Ok(()) => self.forward(&room, Request { id, command, size }).await,
                    Err(denial) => self.deny(id, command.name(), Some(room), denial),
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

    async fn on_news(&mut self, news: RoomNews) -> Flow {
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

    fn tell_client(&mut self, reply: Reply) -> Flow {
        if reply.event.is_passing() && !self.link.has_room() {
            return Flow::On;
        }
        // While the socket is lost nothing is kept: the state is sent again when it is back.
        if self.lost.is_none() && !self.link.tell(reply) {
            self.link.close(CloseCode::Policy, "you read too slowly");
            return self.on_closed(false);
        }
        Flow::On
    }

    // Time.

    /// When the next thing happens that time alone brings.
    fn next_deadline(&self) -> Option<Instant> {
        if let Some(lost) = self.lost {
            return Some(lost + self.node.config.rooms.resume);
        }
        let Some(known) = &self.who else { return Some(self.opened + AUTH_WITHIN) };
        let expires = Duration::from_millis(known.identity.expires_at_ms?.saturating_sub(wall_clock_ms()));
        let wait = if known.warned { expires } else { expires.saturating_sub(WARN_BEFORE) };
        Some(Instant::now() + wait.min(FAR))
    }

    fn on_deadline(&mut self) -> Flow {
        if self.lost.is_some_and(|lost| lost.elapsed() >= self.node.config.rooms.resume) {
            return Flow::End(LeaveReason::Closed);
        }
        let Some(known) = &mut self.who else {
            self.reply(None, Event::error(ErrorCode::UNAUTHENTICATED, "no token within 10 seconds", "auth"));
            self.link.close(CloseCode::Unauthenticated, "no token within 10 seconds");
            return Flow::End(LeaveReason::Closed);
        };
        let Some(expires_at_ms) = known.identity.expires_at_ms else { return Flow::On };
        let left = expires_at_ms.saturating_sub(wall_clock_ms());
        if left == 0 {
            self.reply(None, Event::error(ErrorCode::TOKEN_EXPIRED, "the token has expired", "auth"));
            return Flow::End(LeaveReason::Expired);
        }
        if !known.warned && Duration::from_millis(left) <= WARN_BEFORE {
            known.warned = true;
            self.reply(None, Event::TokenExpiring { expires_at: expires_at_ms / 1000 });
        }
        Flow::On
    }

    // Saying things.

    fn reply(&self, id: Option<RequestId>, event: Event) {
        self.link.tell(Reply { id, event });
    }

    fn deny(&self, id: Option<RequestId>, of: &str, room: Option<RoomName>, denial: Denial) {
        let Denial { code, message, retry_after_ms, .. } = denial;
        let mut event = Event::error(code, message, of);
        if let Event::Error { retry_after_ms: after, room_name, .. } = &mut event {
            (*after, *room_name) = (retry_after_ms, room);
        }
        self.reply(id, event);
    }

    fn refuse(&self, id: Option<RequestId>, command: &Command, code: ErrorCode, message: &str) {
        let mut event = Event::error(code, message, command.name());
        if let Event::Error { room_name, .. } = &mut event {
            *room_name = command.room().cloned();
        }
        self.reply(id, event);
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

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

const NOT_IN: &str = "you are not in this room";
/// A token must come this soon after the socket opens.
const AUTH_WITHIN: Duration = Duration::from_secs(10);
/// How long before its token ends a client is told.
const WARN_BEFORE: Duration = Duration::from_secs(60);
/// Sleep at most this long at a time: the wall clock may be set meanwhile.
const FAR: Duration = Duration::from_secs(3600);
/// How long an ending session waits for its rooms.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
/// Rooms that one socket may be in.
const MAX_ROOMS: usize = 16;
/// News that a session may have waiting.
const MAX_NEWS: usize = 1024;
/// Longest `metadata`, in bytes.
const MAX_METADATA: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use lockgate_signal::Outgoing;
    use serde_json::json;

    use super::*;
    use crate::session::tests::{comeback, link};
    use crate::testing;

    #[tokio::test]
    async fn who_is_in_a_room_sends_no_longer_metadata_than_who_comes() {
        let (node, _hub) = testing::node();
        let (link, _says, mut hears) = link();
        let mut session = Session::new(node, link);
        session.admit(None, comeback("7").identity);
        hears.recv().await.unwrap();
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
        let (link, _says, mut hears) = link();
        let mut session = Session::new(node.clone(), link);
        session.admit(None, comeback("7").identity);
        hears.recv().await.unwrap();
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
        let (link, _says, mut hears) = link();
        let mut session = Session::new(node, link);
        session.admit(None, comeback("7").identity);
        hears.recv().await.unwrap();
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
        let (node, _hub) = testing::node();
        let (link, _says, mut hears) = link();
        let mut session = Session::new(node.clone(), link);
        session.admit(None, comeback("7").identity);
        hears.recv().await.unwrap();
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
    }
}
