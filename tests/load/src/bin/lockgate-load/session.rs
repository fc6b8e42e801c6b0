//! A WebSocket that speaks Lockgate's protocol (docs/signalling.md): JSON objects with a `type`.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use url::Url;

use crate::failure::Failure;
use crate::net::{self, Stream};
use crate::tokens::{Tokens, Who};

/// An authenticated socket.
pub(crate) struct Session {
    socket: WebSocketStream<Box<dyn Stream>>,
    tokens: Arc<Tokens>,
    who: Who,
}

impl Session {
    /// Opens a socket, shows a token and enters a room.
    pub(crate) async fn enter(url: &Url, tokens: &Arc<Tokens>, who: Who, room: &str) -> Result<Self, Failure> {
        let token = tokens.token(&who).await?;
        let stream = net::connect(url).await?;
        // The buffer is cleared before each attempt to read: the usual 128 KiB would cost hundreds of clients more than their media.
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let opened = tokio_tungstenite::client_async_with_config(url.as_str(), stream, Some(config)).await;
        let (socket, _) = opened.map_err(upgrade_failure)?;
        let mut session = Self { socket, tokens: Arc::clone(tokens), who };
        session.send(json!({ "type": "auth", "token": token })).await?;
        session.expect("authenticated").await?;
        session.send(json!({ "type": "join-room", "roomName": room })).await?;
        session.expect("room-joined").await?;
        Ok(session)
    }

    pub(crate) async fn send(&mut self, message: Value) -> Result<(), Failure> {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .map_err(|error| Failure::new("socket", error.to_string()))
    }

    /// Waits for a message of this type; an error that comes instead is the failure.
    pub(crate) async fn expect(&mut self, kind: &str) -> Result<Value, Failure> {
        loop {
            let message = self.next().await?;
            match message["type"].as_str() {
                Some(found) if found == kind => return Ok(message),
                Some("error") => return Err(told(&message)),
                Some("room-waiting") => {
                    return Err(Failure::new("waiting", "the room's policy lets nobody in by itself"));
                }
                _ => {}
            }
        }
    }

    /// The next message. What keeps the session itself alive is dealt with here.
    pub(crate) async fn next(&mut self) -> Result<Value, Failure> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text)
                        .map_err(|error| Failure::protocol(format!("a message is not JSON: {error}")))?;
                    if message["type"] == "token-expiring" {
                        let token = self.tokens.token(&self.who).await?;
                        self.send(json!({ "type": "auth", "token": token })).await?;
                    } else {
                        return Ok(message);
                    }
                }
                Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Failure::new("socket", error.to_string())),
                None => return Err(closed(None)),
            }
        }
    }

    /// Leaves for good.
    pub(crate) async fn leave(mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        // A socket that is gone already has been left too.
        let _ = self.socket.close(Some(frame)).await;
    }
}

/// The failure that an `error` tells.
pub(crate) fn told(message: &Value) -> Failure {
    let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
    let code = if message["code"].is_string() { text("code") } else { "protocol".into() };
    Failure::new(code, format!("{} ({})", text("message"), text("of")))
}

fn closed(frame: Option<CloseFrame>) -> Failure {
    match frame {
        Some(frame) => {
            let code = u16::from(frame.code);
            Failure::new(format!("closed-{code}"), format!("the server closed the socket: {code} {}", frame.reason))
        }
        None => Failure::new("socket", "the server ended the connection without a word"),
    }
}

fn upgrade_failure(error: Error) -> Failure {
    match error {
        Error::Http(answer) => {
            let status = answer.status();
            Failure::new(format!("http-{}", status.as_u16()), format!("no WebSocket there: {status}"))
        }
        other => Failure::connect(other),
    }
}

const READ_BUFFER: usize = 8 << 10;
