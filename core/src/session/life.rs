//! A session's life: authenticate, say what the rooms have for the client, survive a lost socket.

mod rooms;

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::policy::{AuthQuestion, Denial, Identity};
use lockgate_model::{Command, ErrorCode, Event, Reply, Request, RequestId, RoomName, Secret};
use lockgate_room::{Input, LeaveReason};
use lockgate_signal::{CloseCode, Incoming};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use self::rooms::Seat;
use super::renewals::Renewals;
use super::{Comeback, Link, RoomEvent, RoomNews};
use crate::drain::milliseconds;
use crate::ice_servers;
use crate::node::{Ending, Node, random_token, wall_clock_ms};

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
    renewals: Renewals,
}

/// Somebody whom policy has accepted.
struct Known {
    identity: Identity,
    resume_token: String,
    warned: bool,
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
        let (seats, renewals) = (HashMap::new(), Renewals::new(opened));
        Self { node, link, lost: None, who: None, seats, news, tell, comebacks, come_back, opened, renewals }
    }

    /// Lives until the client is gone for good or the node ends.
    pub(crate) async fn run(mut self, mut ending: Ending) {
        let node = Arc::clone(&self.node);
        let mut draining = node.drain.watch();
        let reason = loop {
            let deadline = self.next_deadline();
            let flow = tokio::select! {
                incoming = self.link.next(), if self.lost.is_none() => self.on_incoming(incoming).await,
                Some(news) = self.news.recv() => self.on_news(news).await,
                Some(comeback) = self.comebacks.recv() => self.on_comeback(comeback).await,
                () = until(deadline) => self.on_deadline(),
                left = draining.next() => self.on_draining(left),
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

    /// The node lets nobody in any more; who is in may stay for so long.
    fn on_draining(&self, left: Duration) -> Flow {
        if self.who.is_some() {
            // Zero is what a client is told when it is over.
            let deadline_ms = milliseconds(left).max(1);
            self.reply(None, Event::ServerDraining { deadline_ms, reconnect_to: None });
        }
        Flow::On
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
        if self.who.is_some()
            && let Err(wait) = self.renewals.take(Instant::now())
        {
            let denial = Denial::new(ErrorCode::RATE_LIMITED, "too many tokens on one socket; one every 10 seconds");
            let retry_after_ms = u64::try_from(wait.as_millis()).ok();
            self.deny(id, "auth", None, Denial { retry_after_ms, ..denial });
            return Flow::On;
        }
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
        let Some(token) = resume else { return self.admit_unless_draining(id, identity) };
        // The old session takes the socket over; this one has nothing left to do.
        let (link_door, link_peer) = (self.link.door, self.link.peer);
        let link = std::mem::replace(&mut self.link, Link::ended(link_door, link_peer));
        match self.node.resumable.hand_over(&token, Comeback { link, identity, id }) {
            Ok(()) => Flow::End(LeaveReason::Closed),
            Err(refused) => {
                let Comeback { link, identity, id } = *refused;
                self.link = link;
                self.admit_unless_draining(id, identity)
            }
        }
    }

    /// Somebody new is let in. Those who are in already may come back to their places in a node that drains.
    fn admit_unless_draining(&mut self, id: Option<RequestId>, identity: Identity) -> Flow {
        if self.node.drain.left().is_none() {
            return self.admit(id, identity);
        }
        let denial = Denial::new(ErrorCode::OVERLOADED, "the node lets nobody in any more: it is about to end");
        let denial = Denial { retry_after_ms: Some(ANOTHER_NODE_MS), ..denial };
        self.node.note_refusal(&identity.subject, None, "auth", &denial);
        self.deny(id, "auth", None, denial);
        self.link.close(CloseCode::TryAgain, "the node lets nobody in any more; try again later");
        Flow::End(LeaveReason::Closed)
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
        if let Some(left) = self.node.drain.left() {
            self.on_draining(left);
        }
        for seat in self.seats.values() {
            seat.room.input(Input::Renewed { member: seat.member, identity: identity.clone() }).await;
            seat.room.input(Input::Resumed { member: seat.member }).await;
        }
        flow
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

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// When somebody who is not let in any more may try again: others may be behind the same address.
const ANOTHER_NODE_MS: u64 = 5000;
/// A token must come this soon after the socket opens.
const AUTH_WITHIN: Duration = Duration::from_secs(10);
/// How long before its token ends a client is told.
const WARN_BEFORE: Duration = Duration::from_secs(60);
/// Sleep at most this long at a time: the wall clock may be set meanwhile.
const FAR: Duration = Duration::from_secs(3600);
/// How long an ending session waits for its rooms.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
/// News that a session may have waiting.
const MAX_NEWS: usize = 1024;

#[cfg(test)]
mod tests {
    use lockgate_signal::Outgoing;

    use super::*;
    use crate::session::tests::{comeback, link};
    use crate::testing;

    #[tokio::test]
    async fn whoever_shows_token_after_token_is_told_to_wait() {
        let (node, _hub) = testing::node();
        let (link, _says, mut hears) = link();
        let mut session = Session::new(node, link);
        session.admit(None, comeback("7").identity);
        hears.recv().await.unwrap();
        let mut told = Vec::new();
        for id in 0..5 {
            let message = serde_json::json!({"type": "auth", "token": "no", "id": id});
            assert!(session.on_request(serde_json::from_value(message).unwrap()).await == Flow::On);
            let Some(Outgoing::Reply(reply)) = hears.recv().await else { panic!("nothing was said") };
            let reply = serde_json::to_value(&*reply).unwrap();
            told.push((reply["code"].as_str().unwrap().to_owned(), reply["retryAfterMs"].is_u64()));
        }
        let tried = ("unauthenticated".to_owned(), false);
        let waits = ("rate-limited".to_owned(), true);
        assert_eq!(told, [tried.clone(), tried.clone(), tried, waits.clone(), waits]);
    }
}
