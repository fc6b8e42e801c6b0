//! One WebSocket: frames in become requests, replies become frames, in whatever dialect the client speaks.

use std::future::pending;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::StreamExt;
use lockgate_model::policy::Door;
use lockgate_model::{Event, Reply, Request};
use tokio::sync::mpsc;
use tokio::time::{interval_at, timeout};

use crate::dialect::{Dialect, Said};
use crate::rate::Rate;

/// Somebody at a door: a channel each way.
#[derive(Debug)]
pub struct Arrival {
    /// Which door.
    pub door: Door,
    /// From where.
    pub peer: SocketAddr,
    /// What they say, in order; ends with [`Incoming::Closed`].
    pub incoming: mpsc::Receiver<Incoming>,
    /// What they are told. When it is full they do not read, and whoever writes closes them.
    pub outgoing: mpsc::Sender<Outgoing>,
}

/// What a client says.
#[derive(Debug)]
pub enum Incoming {
    /// A request.
    Request(Box<Request>),
    /// The socket is closed.
    Closed {
        /// Whether the client meant it (close codes 1000 and 1001).
        clean: bool,
    },
}

/// What a client is told.
#[derive(Debug)]
pub enum Outgoing {
    /// A message.
    Reply(Box<Reply>),
    /// The end.
    Close(CloseCode, &'static str),
}

/// Why a socket is closed by the server (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000.
    Normal,
    /// 1001: the node ends.
    GoingAway,
    /// 1003: not a text frame.
    Unsupported,
    /// 1008: too slow or too noisy.
    Policy,
    /// 1009: too long a frame.
    TooBig,
    /// 1013: no room for one more connection.
    TryAgain,
    /// 4401: no accepted token.
    Unauthenticated,
}

impl CloseCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Unsupported => 1003,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::TryAgain => 1013,
            Self::Unauthenticated => 4401,
        }
    }
}

/// Carries one socket until either side ends it.
pub(crate) async fn carry(
    socket: WebSocket,
    peer: SocketAddr,
    arrivals: mpsc::Sender<Arrival>,
    dialect: Box<dyn Dialect>,
) {
    let (requests, incoming) = mpsc::channel(MAX_AHEAD);
    let (outgoing, mut replies) = mpsc::channel(MAX_BEHIND);
    let (said, rate) = (Said::default(), Rate::new(Instant::now()));
    let mut carrier = Carrier { socket, dialect, said, authenticated: false, rate };
    if arrivals.try_send(Arrival { door: Door::Ws, peer, incoming, outgoing }).is_err() {
        return carrier.close(CloseCode::TryAgain, "the node takes no more connections now").await;
    }
    // A client that cannot come back has left, however its socket ended.
    let clean = carrier.run(&requests, &mut replies).await || !carrier.dialect.resumes();
    // The shell may be gone already: then nobody needs to know.
    let _ = requests.send(Incoming::Closed { clean }).await;
}

/// What came off the socket.
enum Frame<'a> {
    Heard(mpsc::Permit<'a, Incoming>, Message),
    /// Too long, or no WebSocket frame.
    Unreadable,
    /// The connection is gone.
    Lost,
}

/// The next frame, once the shell has a place for what it says. Safe to cancel.
async fn hear<'a>(socket: &mut WebSocket, requests: &'a mpsc::Sender<Incoming>) -> Frame<'a> {
    let Ok(place) = requests.reserve().await else {
        // The session is over; its last words are on their way through the other channel.
        return pending().await;
    };
    match socket.next().await {
        Some(Ok(frame)) => Frame::Heard(place, frame),
        Some(Err(_)) => Frame::Unreadable,
        None => Frame::Lost,
    }
}

struct Carrier {
    socket: WebSocket,
    dialect: Box<dyn Dialect>,
    /// What is on its way, both ways.
    said: Said,
    authenticated: bool,
    rate: Rate,
}

impl Carrier {
    /// Whether the client ended it on purpose.
    async fn run(&mut self, requests: &mpsc::Sender<Incoming>, replies: &mut mpsc::Receiver<Outgoing>) -> bool {
        let mut pings = interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
        let mut heard = Instant::now();
        self.dialect.begin(&mut self.said);
        loop {
            if let Some(clean) = self.utter().await {
                return clean;
            }
            tokio::select! {
                // Replies first: a client learns why before it is closed.
                biased;
                reply = replies.recv() => if let Some(clean) = self.on_outgoing(reply).await { return clean },
                Ok(place) = requests.reserve(), if !self.said.requests.is_empty() => self.pass_on(place),
                // Reading waits while the shell is behind: the client's own TCP window slows it down.
                frame = hear(&mut self.socket, requests), if self.said.requests.is_empty() => {
                    heard = Instant::now();
                    match frame {
                        Frame::Heard(place, frame) => {
                            if let Some(clean) = self.on_frame(frame).await {
                                return clean;
                            }
                            self.pass_on(place);
                        }
                        Frame::Unreadable => {
                            self.close(CloseCode::TooBig, "a frame has at most 1 MiB, and follows RFC 6455").await;
                            return false;
                        }
                        Frame::Lost => return false,
                    }
                },
                _ = pings.tick() => {
                    if heard.elapsed() > PING_EVERY * 3 || !self.send(Message::Ping(Default::default())).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Says what is to be said to the client. If that ends the socket: whether on purpose.
    async fn utter(&mut self) -> Option<bool> {
        while let Some(text) = self.said.texts.pop_front() {
            if !self.send(Message::Text(text.into())).await {
                return Some(false);
            }
        }
        let (code, reason) = self.said.close.take()?;
        self.close(code, reason).await;
        Some(true)
    }

    /// Passes the next request on to the shell, which has a place for it.
    fn pass_on(&mut self, place: mpsc::Permit<'_, Incoming>) {
        if let Some(request) = self.said.requests.pop_front() {
            place.send(Incoming::Request(Box::new(request)));
        }
    }

    /// What the shell says. If that ends the socket: whether on purpose.
    async fn on_outgoing(&mut self, outgoing: Option<Outgoing>) -> Option<bool> {
        let (code, reason) = match outgoing {
            Some(Outgoing::Reply(reply)) => {
                self.authenticated |= matches!(reply.event, Event::Authenticated { .. });
                self.dialect.on_reply(*reply, &mut self.said);
                return None;
            }
            Some(Outgoing::Close(code, reason)) => (code, reason),
            None => (CloseCode::GoingAway, "the node is ending"),
        };
        self.close(code, reason).await;
        Some(true)
    }

    /// What the client says. If that ends the socket: whether on purpose.
    async fn on_frame(&mut self, frame: Message) -> Option<bool> {
        // Every frame counts, also those that the library answers by itself.
        let allowed = self.rate.allows(Instant::now());
        let (code, reason) = match frame {
            Message::Text(text) if !self.authenticated && text.len() > MAX_BEFORE_AUTH => {
                (CloseCode::TooBig, "at most 64 KiB before authentication")
            }
            Message::Text(text) => {
                self.dialect.on_text(&text, allowed, &mut self.said);
                return None;
            }
            Message::Binary(_) => (CloseCode::Unsupported, "send JSON in text frames"),
            Message::Close(frame) => return Some(frame.is_none_or(|frame| matches!(frame.code, 1000 | 1001))),
            Message::Ping(_) | Message::Pong(_) if allowed => return None,
            Message::Ping(_) | Message::Pong(_) => (CloseCode::Policy, "too many control frames; at most 100 a second"),
        };
        self.close(code, reason).await;
        Some(true)
    }

    /// False: the client does not take it, or is gone.
    async fn send(&mut self, frame: Message) -> bool {
        matches!(timeout(WRITE_WITHIN, self.socket.send(frame)).await, Ok(Ok(())))
    }

    async fn close(&mut self, code: CloseCode, reason: &'static str) {
        let frame = CloseFrame { code: code.code(), reason: reason.into() };
        // Courtesy only: the socket is dropped either way.
        self.send(Message::Close(Some(frame))).await;
        let _ = timeout(WRITE_WITHIN, async { while let Some(Ok(_)) = self.socket.next().await {} }).await;
    }
}

/// Requests that one client may have waiting.
const MAX_AHEAD: usize = 64;
/// Replies that one client may leave unread.
const MAX_BEHIND: usize = 512;
/// Longest frame from a client that has shown no token, in bytes.
const MAX_BEFORE_AUTH: usize = 64 * 1024;
/// Longest frame at all, in bytes.
pub(crate) const MAX_FRAME: usize = 1024 * 1024;
/// How often the server pings; three unanswered ones end the socket.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How long one write may take before the client counts as gone.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
