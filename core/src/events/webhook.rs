//! The webhook: every event, one after the other, to one address, signed (Standard Webhooks), until it is taken.
//!
//! The ring is its queue. An address that takes nothing for so long that the ring has turned over is told of the gap.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use lockgate_model::rfc3339;
use serde_json::json;
use tokio::time::sleep;

use super::feed::LAST;
use super::sign::SigningKey;
use super::{Batch, Kept};
use crate::http::{HttpClient, HttpLine};
use crate::node::{Ending, Node, wall_clock_ms};

/// Tells one address of everything.
pub(crate) struct Webhook {
    node: Arc<Node>,
    line: HttpLine,
    url: Uri,
    key: SigningKey,
    /// Tells the messages of this run from those of others, as their numbers alone may not.
    run: String,
}

/// A message, the same however often it is sent.
struct Message {
    id: String,
    body: String,
}

/// What became of an attempt.
enum Attempt {
    Taken,
    /// It is to be tried again.
    Failed(String),
    /// The address wants nothing more.
    Gone,
}

impl Webhook {
    pub(crate) fn new(node: Arc<Node>, client: HttpClient, url: Uri, key: SigningKey, run: String) -> Self {
        node.events.counts.has_webhook.store(true, Ordering::Relaxed);
        Self { node, line: HttpLine::new(client), url, key, run }
    }

    /// Goes on until the last event of the node was taken.
    pub(crate) async fn run(mut self, mut ending: Ending) {
        if !self.tell_all().await {
            // A part of the node ends with the node only.
            ending.comes().await;
        }
    }

    /// False: the address wants no more.
    async fn tell_all(&mut self) -> bool {
        let node = Arc::clone(&self.node);
        let events = &node.events;
        let mut newest = events.newest();
        let mut at = events.counts.webhook_at.load(Ordering::Relaxed);
        loop {
            newest.mark_unchanged();
            while at != events.last() {
                let Batch { gap, events: batch, last } = events.after(at);
                if let Some(gap) = gap {
                    events.counts.lost.fetch_add(gap.lost.unwrap_or(0), Ordering::Relaxed);
                    let message = self.gap(gap.last, at, gap.lost);
                    if !self.deliver(&message).await {
                        return false;
                    }
                }
                for event in batch {
                    let message = self.message(&event);
                    if !self.deliver(&message).await {
                        return false;
                    }
                    events.counts.webhook_at.store(event.id, Ordering::Relaxed);
                    if event.name == LAST {
                        return true;
                    }
                }
                at = last;
            }
            if newest.changed().await.is_err() {
                return true;
            }
        }
    }

    fn message(&self, event: &Kept) -> Message {
        let Kept { id, name, time_ms, text, .. } = event;
        self.wrap(*id, name, *time_ms, text)
    }

    fn gap(&self, id: u64, after: u64, lost: Option<u64>) -> Message {
        let now = wall_clock_ms();
        let text = json!({ "id": id, "timeMs": now, "type": "gap", "after": after, "lost": lost });
        self.wrap(id, "gap", now, &text.to_string())
    }

    fn wrap(&self, id: u64, name: &str, time_ms: u64, data: &str) -> Message {
        let timestamp = rfc3339(time_ms.saturating_mul(1000));
        let body = format!("{{\"type\":\"{name}\",\"timestamp\":\"{timestamp}\",\"data\":{data}}}");
        Message { id: format!("{}-{id}-{name}", self.run), body }
    }

    /// Sends a message until it is taken. False: the address wants no more.
    async fn deliver(&mut self, message: &Message) -> bool {
        let node = Arc::clone(&self.node);
        let counts = &node.events.counts;
        let mut wait = FIRST_WAIT;
        loop {
            match self.attempt(message).await {
                Attempt::Taken => {
                    counts.delivered.fetch_add(1, Ordering::Relaxed);
                    return true;
                }
                Attempt::Gone => {
                    tracing::error!(url = %self.place(), "the webhook answers 410 Gone: it is told nothing until the node is restarted");
                    return false;
                }
                Attempt::Failed(problem) => {
                    counts.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(url = %self.place(), problem, ?wait, "the webhook did not take an event; it is tried again");
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn attempt(&mut self, message: &Message) -> Attempt {
        // The time is that of the attempt: receivers refuse what is old, as it might be somebody's copy.
        let seconds = wall_clock_ms() / 1000;
        let request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("lockgate/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.key.sign(&message.id, seconds, &message.body))
            .body(Full::new(Bytes::from(message.body.clone())));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Attempt::Failed(error.to_string()),
        };
        match self.line.ask(request, ANSWER_WITHIN).await {
            Ok(status) if status.is_success() => Attempt::Taken,
            Ok(StatusCode::GONE) => Attempt::Gone,
            Ok(status) => Attempt::Failed(format!("it answered {status}")),
            Err(problem) => Attempt::Failed(problem.to_string()),
        }
    }

    /// The address without what may be a secret in it.
    fn place(&self) -> &str {
        self.url.host().unwrap_or_default()
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What the specification recommends as the least.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
