//! A raw client of `/ws`: it sends what it is told and keeps what it hears.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::dialect::assert_servers;
use crate::token::Token;
use crate::within;

/// One socket.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    heard: VecDeque<Value>,
    asked: u64,
    /// Whether the server is held to the schema of `/ws` in all that it says.
    typed: bool,
}

impl Client {
    /// Opens a socket.
    ///
    /// # Panics
    /// When that fails.
    pub async fn connect(url: &str) -> Self {
        let opened = within("the socket to open", connect_async(url)).await;
        let (socket, _) = opened.unwrap_or_else(|error| panic!("{url}: {error}"));
        Self { socket, heard: VecDeque::new(), asked: 0, typed: url.ends_with("/ws") }
    }

    /// Shows a token.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn authenticate(&mut self, token: &Token) -> Value {
        let reply = self.ask(json!({ "type": "auth", "token": token.text() })).await;
        assert_eq!(reply["type"], "authenticated", "{reply}");
        reply
    }

    /// Sends a message.
    ///
    /// # Panics
    /// When the socket is closed.
    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a text that may be no message at all.
    ///
    /// # Panics
    /// When the socket is closed.
    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap_or_else(|error| panic!("{text} was not sent: {error}"));
    }

    /// Sends a message with an `id` and waits for the reply that echoes it.
    ///
    /// # Panics
    /// When there is none.
    pub async fn ask(&mut self, mut message: Value) -> Value {
        self.asked += 1;
        let id = json!(format!("asked-{}", self.asked));
        message["id"] = id.clone();
        let what = format!("the reply to {}", message["type"]);
        self.send(message).await;
        self.hear(&what, |reply| reply["id"] == id).await
    }

    /// Waits for a message of this type, one that was heard and passed over before included.
    ///
    /// # Panics
    /// When none comes.
    pub async fn hear_type(&mut self, kind: &str) -> Value {
        self.hear(kind, |message| message["type"] == kind).await
    }

    /// Waits for a message that fits, one that was heard and passed over before included.
    ///
    /// # Panics
    /// When none comes.
    pub async fn hear(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.heard.iter().position(&fits) {
            return self.heard.remove(at).expect("it was found there");
        }
        let Self { socket, heard, typed, .. } = self;
        let next = async {
            loop {
                let message = next_text(socket, *typed).await;
                let message = message.unwrap_or_else(|end| panic!("{what} did not come before {end:?}, but {heard:?}"));
                if fits(&message) {
                    return message;
                }
                heard.push_back(message);
            }
        };
        within(what, next).await
    }

    /// Whether such a message was heard and passed over so far. Send `ping` and wait for `pong` first.
    pub fn has_heard(&self, fits: impl Fn(&Value) -> bool) -> bool {
        self.heard.iter().any(fits)
    }

    /// Waits until the server closes the socket, and returns the code.
    ///
    /// # Panics
    /// When it does not, or gives none.
    pub async fn closed(&mut self) -> u16 {
        let end = within("the server to close the socket", async {
            loop {
                match next_text(&mut self.socket, self.typed).await {
                    Ok(message) => self.heard.push_back(message),
                    Err(end) => return end,
                }
            }
        });
        match end.await {
            Message::Close(Some(frame)) => frame.code.into(),
            other => panic!("the socket ended with {other:?}"),
        }
    }
}

/// The next message, or how the socket ended.
async fn next_text(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>, typed: bool) -> Result<Value, Message> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let message = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
                if typed {
                    assert_servers(&message);
                }
                return Ok(message);
            }
            Some(Ok(close @ Message::Close(_))) => return Err(close),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(Message::Close(None)),
        }
    }
}
