//! Event streams of viewers (WHEP's extension for server-sent events): each knows what is the case, and tells its newest reader.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
use tokio::sync::mpsc;
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
    /// What is the case: the last `active` or `inactive`, and the last `layers`, if such events are wanted.
    activity: Option<String>,
    layers: Option<String>,
    /// The way to the newest reader.
    reader: Option<mpsc::Sender<String>>,
}

impl Streams {
    /// Begins a stream of these kinds of events. False: there are as many as may be.
    pub(crate) fn begin(&self, id: String, wanted: Vec<String>) -> bool {
        let mut streams = self.lock();
        if streams.len() == MAX_STREAMS {
            return false;
        }
        streams.insert(id, Stream { wanted, activity: None, layers: None, reader: None });
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
        self.lock().get_mut(id).into_iter().for_each(|stream| stream.tell(kind, data));
    }

    /// Tells every stream that wants such events.
    pub(crate) fn tell(&self, kind: &str, data: &Value) {
        self.lock().values_mut().for_each(|stream| stream.tell(kind, data));
    }

    /// Reads a stream, from what is the case on, until it or its reader ends, or another one comes: whose network changed does so while
    /// the connection of before still seems to be there.
    pub(crate) fn read(&self, id: &str) -> Result<Response, Refusal> {
        let unread = self.lock().get_mut(id).map(Stream::take_reader).ok_or(Refusal::NO_SESSION)?;
        let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
        Ok((headers, Body::from_stream(stream::unfold(unread, next))).into_response())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Stream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn tell(&mut self, kind: &str, data: &Value) {
        let is_wanted = self.wanted.iter().any(|wanted| wanted == kind);
        let event = is_wanted.then(|| format!("event: {kind}\ndata: {data}\n\n"));
        match kind {
            "active" | "inactive" => self.activity.clone_from(&event),
            "layers" => self.layers.clone_from(&event),
            _ => {}
        }
        if let (Some(reader), Some(event)) = (&self.reader, event) {
            // It is gone, and the next one hears what is the case; or its queue is full, and it hears of the next change.
            let _ = reader.try_send(event);
        }
    }

    /// What a new reader hears; the one before hears no more.
    fn take_reader(&mut self) -> Unread {
        let (reader, unread) = mpsc::channel(MAX_UNREAD);
        for event in self.activity.iter().chain(&self.layers) {
            // An empty queue has room for two.
            let _ = reader.try_send(event.clone());
        }
        self.reader = Some(reader);
        unread
    }
}

type Unread = mpsc::Receiver<String>;

/// The next piece of a stream; a comment now and then, so that a reader who is gone is noticed.
async fn next(mut unread: Unread) -> Option<(Result<String, std::convert::Infallible>, Unread)> {
    let piece = match timeout(COMMENT_EVERY, unread.recv()).await {
        Ok(event) => event?,
        Err(_) => ":\n\n".to_owned(),
    };
    Some((Ok(piece), unread))
}

const COMMENT_EVERY: std::time::Duration = std::time::Duration::from_secs(15);
/// Events that wait for a reader.
const MAX_UNREAD: usize = 64;
/// Streams of one session.
const MAX_STREAMS: usize = 4;

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::json;

    use super::*;

    /// What is told on a stream whose end is in sight.
    async fn heard(response: Response) -> String {
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        String::from_utf8(body.into()).unwrap()
    }

    #[tokio::test]
    async fn the_newest_reader_is_told_and_first_what_is_the_case() {
        let streams = Streams::default();
        assert!(streams.begin("all".to_owned(), EVENTS.map(str::to_owned).into()));
        assert!(streams.begin("some".to_owned(), vec!["active".to_owned()]));
        streams.tell("active", &json!({}));
        streams.tell("layers", &json!({ "0": [] }));
        let first = streams.read("all").unwrap();
        streams.tell("inactive", &json!({}));
        let second = streams.read("all").unwrap();
        let (active, inactive) = ("event: active\ndata: {}\n\n", "event: inactive\ndata: {}\n\n");
        let layers = "event: layers\ndata: {\"0\":[]}\n\n";
        assert_eq!(heard(first).await, format!("{active}{layers}{inactive}"), "it ends with the next reader");
        let some = streams.read("some").unwrap();
        streams.tell("active", &json!({}));
        streams.end_all();
        assert_eq!(heard(second).await, format!("{inactive}{layers}{active}"));
        assert_eq!(heard(some).await, active, "what is over is not told, even if its end is not wanted");
        assert!(streams.read("all").is_err());
    }
}
