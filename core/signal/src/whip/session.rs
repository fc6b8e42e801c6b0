//! One session: it enters the room as a client would, offers or asks for tracks, and lives until either side ends it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_model::policy::Denial;
use lockgate_model::{
    Command, ErrorCode, Event, IceServer, OfferedTrack, PublishedTrack, Reply, Request, RequestId, Secret,
};
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::refusal::{RETRY_MS, Refusal};
use super::sessions::{Ask, Handle, Sessions};
use super::target::Endpoint;
use super::view::View;
use crate::rate::Rate;
use crate::socket::{Arrival, CloseCode, Incoming, Outgoing};

mod opening;

/// What a client came with.
pub(crate) struct Opening {
    pub(crate) endpoint: Endpoint,
    pub(crate) token: Secret,
    pub(crate) offer: String,
}

/// What a client is answered.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The session's own path.
    pub(crate) path: String,
    pub(crate) tag: String,
    pub(crate) answer: String,
    pub(crate) ice_servers: Vec<IceServer>,
}

/// A session.
pub(crate) struct Session {
    pub(super) view: View,
    /// The token that was accepted last.
    pub(super) token: Secret,
    /// With the ICE credentials of now.
    pub(super) offer: String,
    /// Names the ICE session of now (RFC 9725 §4.3.1).
    pub(super) tag: String,
    /// Its own path.
    pub(super) path: String,
    pub(super) rate: Rate,
    peer: IpAddr,
    requests: mpsc::Sender<Incoming>,
    replies: mpsc::Receiver<Outgoing>,
    asked: i64,
}

impl Session {
    /// A session, and how it arrives.
    pub(crate) fn new(opening: Opening, peer: SocketAddr) -> (Self, Arrival) {
        let Opening { endpoint, token, offer } = opening;
        let (requests, incoming) = mpsc::channel(MAX_AHEAD);
        let (outgoing, replies) = mpsc::channel(MAX_BEHIND);
        let arrival = Arrival { door: endpoint.door, peer, incoming, outgoing };
        let (view, rate) = (View::new(endpoint, &offer), Rate::new(Instant::now()));
        (
            Self {
                view,
                token,
                offer,
                tag: String::new(),
                path: String::new(),
                rate,
                peer: peer.ip(),
                requests,
                replies,
                asked: 0,
            },
            arrival,
        )
    }

    /// Lives. The client learns how it began, under the numbers `id` and `tag`; if it is gone by then, the session ends.
    pub(crate) async fn live(
        mut self,
        (id, tag): (String, String),
        sessions: Arc<Sessions>,
        began: oneshot::Sender<Result<Opened, Refusal>>,
    ) {
        let late = || Err(Refusal::busy("the node did not get to it in time"));
        let opened = timeout(OPEN_WITHIN, self.open(&sessions)).await.unwrap_or_else(|_| late());
        let (answer, ice_servers) = match opened {
            Ok(opened) => opened,
            Err(refusal) => {
                // Ended first: whoever comes again at once is not kept out by this one.
                self.end().await;
                // A client that is gone needs no answer.
                let _ = began.send(Err(refusal));
                return;
            }
        };
        let (asks, mut asked) = mpsc::channel(MAX_ASKS);
        let path = format!("{}/{id}", self.view.endpoint.path());
        sessions.insert(id.clone(), Handle { path: path.clone(), asks, streams: self.view.streams.clone() });
        (self.tag, self.path) = (tag.clone(), path.clone());
        self.view.open();
        if began.send(Ok(Opened { path, tag, answer, ice_servers })).is_ok() {
            self.run(&mut asked).await;
        }
        sessions.remove(&id);
        self.view.streams.end_all();
        self.end().await;
    }

    async fn run(&mut self, asked: &mut mpsc::Receiver<Ask>) {
        while !self.view.is_over {
            let has_command = self.view.has_command();
            tokio::select! {
                // What the room says may make a request needless, or end it all.
                biased;
                reply = self.replies.recv() => match reply {
                    Some(Outgoing::Reply(reply)) => self.view.hear(reply.event),
                    Some(Outgoing::Close(..)) | None => self.view.leave(),
                },
                // As at a socket, a client waits while the shell is behind.
                place = self.requests.clone().reserve_owned(), if has_command => match place {
                    Ok(place) => self.say(place),
                    Err(_) => self.view.leave(),
                },
                Some(ask) = asked.recv(), if !has_command => self.answer(ask).await,
            }
        }
    }

    /// Leaves the room, and waits until the shell has let go.
    async fn end(&mut self) {
        // It may be over on the other side already.
        let _ = self.requests.send(Incoming::Closed { clean: true }).await;
        let _ = timeout(END_WITHIN, async { while self.replies.recv().await.is_some() {} }).await;
    }

    /// What is accepted of an offer is what is published from then on. With the answer comes the denial, if that is not all of it.
    pub(super) async fn offer_to_send(&mut self, offer: String) -> Result<(String, Option<Denial>), Denial> {
        let room_name = self.view.endpoint.room.clone();
        match self.ask(Command::PublishOffer { room_name, offer, tracks: Vec::new() }).await? {
            Event::PublishAnswer { answer, tracks, .. } => {
                let denial = denial_of(&tracks);
                let accepted = tracks.into_iter().filter(|track| track.accepted);
                self.view.published = accepted.map(|track| track.track_id).collect();
                Ok((answer, denial))
            }
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn offer_to_receive(&mut self, offer: String) -> Result<(String, Vec<OfferedTrack>), Denial> {
        let room_name = self.view.endpoint.room.clone();
        match self.ask(Command::ReceiveOffer { room_name, offer }).await? {
            Event::ReceiveAnswer { answer, tracks, .. } => Ok((answer, tracks)),
            _ => Err(unexpected()),
        }
    }

    // Saying and hearing.

    /// Says something and waits for the reply.
    pub(super) async fn ask(&mut self, command: Command) -> Result<Event, Denial> {
        let id = self.next_id();
        let request = Request { id: Some(id.clone()), command, size: 0 };
        if self.requests.send(Incoming::Request(Box::new(request))).await.is_err() {
            self.view.is_over = true;
            return Err(ended());
        }
        loop {
            match self.replies.recv().await {
                Some(Outgoing::Reply(reply)) if reply.id.as_ref() == Some(&id) => return outcome(*reply),
                Some(Outgoing::Reply(reply)) => self.view.hear(reply.event),
                Some(Outgoing::Close(code, reason)) => {
                    self.view.leave();
                    return Err(closed(code, reason));
                }
                None => {
                    self.view.leave();
                    return Err(ended());
                }
            }
        }
    }

    /// Says what is next; its reply is heard with the rest.
    fn say(&mut self, place: OwnedPermit<Incoming>) {
        let Some(command) = self.view.next_command() else { return };
        let id = Some(self.next_id());
        place.send(Incoming::Request(Box::new(Request { id, command, size: 0 })));
    }

    async fn hear_until(&mut self, is_so: impl Fn(&View) -> bool) -> Result<(), Denial> {
        while !is_so(&self.view) {
            match self.replies.recv().await {
                Some(Outgoing::Reply(reply)) => match reply.event {
                    Event::Revoked { reason, .. } => return Err(Denial::new(ErrorCode::FORBIDDEN, reason)),
                    event => self.view.hear(event),
                },
                Some(Outgoing::Close(code, reason)) => return Err(closed(code, reason)),
                None => return Err(ended()),
            }
        }
        Ok(())
    }

    fn next_id(&mut self) -> RequestId {
        self.asked += 1;
        RequestId::Number(self.asked)
    }
}

/// What a reply comes to.
fn outcome(reply: Reply) -> Result<Event, Denial> {
    match reply.event {
        Event::Error { code, message, retry_after_ms, .. } => {
            Err(Denial { retry_after_ms, ..Denial::new(code, message) })
        }
        event => Ok(event),
    }
}

/// Why not all of an offer is published.
fn denial_of(tracks: &[PublishedTrack]) -> Option<Denial> {
    if tracks.is_empty() {
        let text = "the offer sends nothing: no m-line is sendonly or sendrecv";
        return Some(Denial::new(ErrorCode::INVALID_SDP, text));
    }
    let refused = tracks.iter().find(|track| !track.accepted)?;
    let code = refused.code.clone().unwrap_or(ErrorCode::FORBIDDEN);
    let reason = refused.reason.as_deref().unwrap_or("it is not accepted");
    Some(Denial::new(code, format!("the m-line with mid {}: {reason}", refused.mid)))
}

fn closed(code: CloseCode, reason: &str) -> Denial {
    match code {
        CloseCode::Unauthenticated => Denial::new(ErrorCode::UNAUTHENTICATED, reason),
        _ => Denial { retry_after_ms: Some(RETRY_MS), ..Denial::new(ErrorCode::OVERLOADED, reason) },
    }
}

fn ended() -> Denial {
    Denial {
        retry_after_ms: Some(RETRY_MS),
        ..Denial::new(ErrorCode::OVERLOADED, "the session has ended; begin another one")
    }
}

fn unexpected() -> Denial {
    Denial::new(ErrorCode::INTERNAL, "the node answered with something else")
}

/// Requests that may wait for the shell, and replies that may wait here: as many as a WebSocket's.
const MAX_AHEAD: usize = 64;
const MAX_BEHIND: usize = 512;
/// HTTP requests that may wait for one session.
const MAX_ASKS: usize = 16;
/// How long a client waits for its answer. Some wait no longer than 8 s (OBS Studio).
const OPEN_WITHIN: Duration = Duration::from_secs(7);
/// How long the shell may take to let go of a session.
const END_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
