//! Event streams of viewers (WHEP's extension for server-sent events): each holds what its reader has not taken yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc};
use tokio::time::timeout;

use super::refusal::Refusal;

/// The kinds of events that are told here.
pub(crate) const EVENTS: [&str; 4] = ["active", "inactive", "layers", "reconnect"];

/// A session's streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<String, Stream>>>);

#[derive(Debug)]
struct Stream {
    wanted: Vec<String>,
    events: mpsc::Sender<String>,
    unread: Arc<AsyncMutex<mpsc::Receiver<String>>>,
}

impl Streams {
    /// Begins a stream of these kinds of events. False: there are as many as may be.
    pub(crate) fn begin(&self, id: String, wanted: Vec<String>) -> bool {
        let (events, unread) = mpsc::channel(MAX_UNREAD);
        let mut streams = self.lock();
        if streams.len() == MAX_STREAMS {
            return false;
        }
        streams.insert(id, Stream { wanted, events, unread: Arc::new(AsyncMutex::new(unread)) });
        true
    }

    /// Whether there was such a stream.
    pub(crate) fn end(&self, id: &str) -> bool {
        self.lock().remove(id).is_some()
    }

    /// The session is over: readers get what is left, and the end.
    pub(crate) fn end_all(&self) {
        self.lock().clear();
    }

    /// Tells one stream, if it wants such events.
    pub(crate) fn tell_one(&self, id: &str, kind: &str, data: &Value) {
        self.lock().get(id).into_iter().for_each(|stream| stream.tell(kind, data));
    }

    /// Tells every stream that wants such events. One that is not read misses what does not fit.
    pub(crate) fn tell(&self, kind: &str, data: &Value) {
        self.lock().values().for_each(|stream| stream.tell(kind, data));
    }

    /// Reads a stream until it or its reader ends; one reader at a time.
    pub(crate) fn read(&self, id: &str) -> Result<Response, Refusal> {
        let unread = self.lock().get(id).map(|stream| stream.unread.clone()).ok_or(Refusal::NO_SESSION)?;
        let unread = unread.try_lock_owned().map_err(|_| {
            Refusal::Http(StatusCode::CONFLICT, "invalid-message", "this stream is being read: begin another one")
        })?;
        let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
        Ok((headers, Body::from_stream(stream::unfold(unread, next))).into_response())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Stream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn tell(&self, kind: &str, data: &Value) {
        if self.wanted.iter().any(|wanted| wanted == kind) {
            // A full queue: its reader is away, and hears of the next change.
            let _ = self.events.try_send(format!("event: {kind}\ndata: {data}\n\n"));
        }
    }
}

type Unread = OwnedMutexGuard<mpsc::Receiver<String>>;

/// The next piece of a stream; a comment now and then, so that a reader who is gone is noticed.
async fn next(mut unread: Unread) -> Option<(Result<String, std::convert::Infallible>, Unread)> {
    let piece = match timeout(COMMENT_EVERY, unread.recv()).await {
        Ok(event) => event?,
        Err(_) => ":\n\n".to_owned(),
    };
    Some((Ok(piece), unread))
}

const COMMENT_EVERY: std::time::Duration = std::time::Duration::from_secs(15);
/// Events that a stream holds for its reader.
const MAX_UNREAD: usize = 64;
/// Streams of one session.
const MAX_STREAMS: usize = 4;
