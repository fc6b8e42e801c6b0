//! The DevTools protocol over one WebSocket: calls with their results, and the events that somebody waits for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::{PATIENCE, within, within_time};

/// A connection to the browser. Sessions of pages share it ("flat" mode).
#[derive(Debug)]
pub(crate) struct DevTools {
    calls: mpsc::UnboundedSender<Call>,
    events: broadcast::Sender<Value>,
    console: Arc<Mutex<Vec<String>>>,
    carrier: JoinHandle<()>,
}

#[derive(Debug)]
struct Call {
    message: Value,
    reply: oneshot::Sender<Value>,
}

impl DevTools {
    pub(crate) async fn connect(url: &str) -> Self {
        // Screenshots are larger than the default allows.
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let opened = within("DevTools to open", connect_async_with_config(url, Some(config), true)).await;
        let (socket, _) = opened.unwrap_or_else(|error| panic!("{url}: {error}"));
        let (calls, called) = mpsc::unbounded_channel();
        let (events, console) = (broadcast::Sender::new(MAX_EVENTS), Arc::default());
        let carrier = tokio::spawn(carry(socket, called, events.clone(), Arc::clone(&console)));
        Self { calls, events, console, carrier }
    }

    /// Calls a method, of a page if there is a session, and returns its result.
    pub(crate) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let (reply, replied) = oneshot::channel();
        let mut message = json!({ "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        self.calls.send(Call { message, reply }).unwrap_or_else(|_| panic!("{method}: the browser is gone"));
        // A page gives up first, and says what it saw.
        let reply = within_time(2 * PATIENCE, method, replied)
            .await
            .unwrap_or_else(|_| panic!("{method}: the browser is gone"));
        assert!(reply.get("error").is_none(), "{method}: {}", reply["error"]);
        reply["result"].clone()
    }

    /// Events from here on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Value> {
        self.events.subscribe()
    }

    /// What pages have written to their consoles, errors included.
    pub(crate) fn console(&self) -> Vec<String> {
        self.console.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for DevTools {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

async fn carry(
    mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mut calls: mpsc::UnboundedReceiver<Call>,
    events: broadcast::Sender<Value>,
    console: Arc<Mutex<Vec<String>>>,
) {
    let (mut next, mut open) = (0_u64, HashMap::new());
    loop {
        tokio::select! {
            call = calls.recv() => {
                let Some(Call { mut message, reply }) = call else { return };
                next += 1;
                message["id"] = next.into();
                open.insert(next, reply);
                if socket.send(Message::text(message.to_string())).await.is_err() {
                    return;
                }
            }
            frame = socket.next() => {
                let Some(Ok(frame)) = frame else { return };
                let Message::Text(text) = frame else { continue };
                let Ok(message) = serde_json::from_str::<Value>(&text) else { continue };
                match message["id"].as_u64() {
                    // Whoever asked may have given up.
                    Some(id) => drop(open.remove(&id).map(|reply: oneshot::Sender<Value>| reply.send(message))),
                    None => {
                        console.lock().unwrap_or_else(PoisonError::into_inner).extend(written(&message));
                        // Nobody may be waiting.
                        let _ = events.send(message);
                    }
                }
            }
        }
    }
}

/// The text of an event that is about a page's console.
fn written(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.consoleAPICalled" => {
            let shown = |value: &Value| {
                value["value"]
                    .as_str()
                    .or(value["description"].as_str())
                    .map_or_else(|| value.to_string(), str::to_owned)
            };
            let words: Vec<_> = params["args"].as_array()?.iter().map(shown).collect();
            Some(format!("{}: {}", params["type"].as_str()?, words.join(" ")))
        }
        "Runtime.exceptionThrown" => {
            Some(params["exceptionDetails"]["exception"]["description"].as_str().unwrap_or("an exception").to_owned())
        }
        "Log.entryAdded" => {
            Some(format!("{}: {}", params["entry"]["level"].as_str()?, params["entry"]["text"].as_str()?))
        }
        _ => None,
    }
}

/// Events that somebody who waits may be behind.
const MAX_EVENTS: usize = 4096;
