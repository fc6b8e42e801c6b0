//! One WebSocket: frames in become requests, replies become frames.

use std::future::pending;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::StreamExt;
use lockgate_model::policy::Door;
use lockgate_model::{ErrorCode, Event, Reply, Request};
use tokio::sync::mpsc;
use tokio::time::{interval_at, timeout};

use crate::dialect;
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
pub(crate) async fn carry(socket: WebSocket, peer: SocketAddr, arrivals: mpsc::Sender<Arrival>) {
    let (requests, incoming) = mpsc::channel(MAX_AHEAD);
    let (outgoing, mut replies) = mpsc::channel(MAX_BEHIND);
    let mut carrier = Carrier { socket, authenticated: false, rate: Rate::new(Instant::now()) };
    if arrivals.try_send(Arrival { door: Door::Ws, peer, incoming, outgoing }).is_err() {
        return carrier.close(CloseCode::TryAgain, "the node takes no more connections now").await;
    }
    let clean = carrier.run(&requests, &mut replies).await;
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

/// What one frame came to.
enum Heard {
    Request(Box<Request>),
    Nothing,
    End { clean: bool },
}

struct Carrier {
    socket: WebSocket,
    authenticated: bool,
    rate: Rate,
}

impl Carrier {
    /// Whether the client ended it on purpose.
    async fn run(&mut self, requests: &mpsc::Sender<Incoming>, replies: &mut mpsc::Receiver<Outgoing>) -> bool {
        let mut pings = interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                // Replies first: a client learns why before it is closed.
                biased;
                reply = replies.recv() => match reply {
                    Some(Outgoing::Reply(reply)) => if !self.write(&reply).await { return false },
                    Some(Outgoing::Close(code, reason)) => {
                        self.close(code, reason).await;
                        return true;
                    }
                    None => {
                        self.close(CloseCode::GoingAway, "the node is ending").await;
                        return true;
                    }
                },
                // Reading waits while the shell is behind: the client's own TCP window slows it down.
                frame = hear(&mut self.socket, requests) => {
                    heard = Instant::now();
                    match frame {
                        Frame::Heard(place, frame) => match self.on_frame(frame).await {
                            Heard::Request(request) => place.send(Incoming::Request(request)),
                            Heard::Nothing => {}
                            Heard::End { clean } => return clean,
                        },
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

    async fn on_frame(&mut self, frame: Message) -> Heard {
        // Every frame counts, also those that the library answers by itself.
        let allowed = self.rate.allows(Instant::now());
        match frame {
            Message::Text(text) if !self.authenticated && text.len() > MAX_BEFORE_AUTH => {
                self.close(CloseCode::TooBig, "at most 64 KiB before authentication").await;
                Heard::End { clean: true }
            }
            Message::Text(text) => self.on_text(&text, allowed).await,
            Message::Binary(_) => {
                self.close(CloseCode::Unsupported, "send JSON in text frames").await;
                Heard::End { clean: true }
            }
            Message::Close(frame) => Heard::End { clean: frame.is_none_or(|frame| matches!(frame.code, 1000 | 1001)) },
            Message::Ping(_) | Message::Pong(_) if allowed => Heard::Nothing,
            Message::Ping(_) | Message::Pong(_) => {
                self.close(CloseCode::Policy, "too many control frames; at most 100 a second").await;
                Heard::End { clean: true }
            }
        }
    }

    async fn on_text(&mut self, text: &str, allowed: bool) -> Heard {
        let request = if allowed {
            dialect::read(text)
        } else {
            Err(Box::new(Event::error(ErrorCode::RATE_LIMITED, "too many messages; at most 100 a second", "").into()))
        };
        match request {
            Ok(request) => Heard::Request(Box::new(request)),
            Err(refusal) if self.write(&refusal).await => Heard::Nothing,
            Err(_) => Heard::End { clean: false },
        }
    }

    async fn write(&mut self, reply: &Reply) -> bool {
        self.authenticated |= matches!(reply.event, Event::Authenticated { .. });
        self.send(Message::Text(dialect::write(reply).into())).await
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
