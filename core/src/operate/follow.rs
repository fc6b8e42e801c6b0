//! `lockgate events`: what happens in a node, as it happens, one line for each event.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::AUTHORIZATION;
use hyper::{Request, StatusCode};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::access::Access;
use super::call::Refused;
use super::table::moment;
use crate::http::{Exchange, HttpClient};

/// Follows a node until it ends or says no, and writes each event. A connection that is lost is opened again where it was.
pub(super) async fn follow(
    access: &Access,
    mut after: Option<u64>,
    room: Option<&str>,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Refused> {
    let client = HttpClient::new().map_err(|error| Refused::Away(error.to_string()))?;
    let mut was_there = false;
    loop {
        let mut reader = Reader { last: after, ..Reader::default() };
        match open(&client, access, after).await {
            Ok(mut exchange) => {
                was_there = true;
                while let Ok(Some(Ok(frame))) = timeout(SILENT_FOR, exchange.body.frame()).await {
                    for event in reader.take(frame.data_ref().map_or(&[][..], |data| &data[..])) {
                        let Ok(event) = serde_json::from_str::<Value>(&event) else { continue };
                        if room.is_none_or(|room| event["roomName"] == room || event["type"] == "gap") {
                            let text = if json { format!("{event}\n") } else { line(&event) };
                            if !is_read(out, &text) {
                                return Ok(());
                            }
                        }
                        if event["type"] == "node-ending" {
                            return Ok(());
                        }
                    }
                }
            }
            // It may only be on its way back.
            Err(Refused::Away(_)) if was_there => {}
            Err(Refused::No { status, .. }) if was_there && is_for_now(status) => {}
            Err(refused) => return Err(refused),
        }
        after = reader.last;
        sleep(AGAIN_AFTER).await;
    }
}

/// Writes it at once. False: whoever reads this has gone, and there is nothing left to do.
pub(super) fn is_read(out: &mut impl Write, text: &str) -> bool {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Whether the same request may succeed in a while: the node is full or begins, or a proxy before it does not reach it.
pub(super) fn is_for_now(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

async fn open(client: &HttpClient, access: &Access, after: Option<u64>) -> Result<Exchange, Refused> {
    let after = after.map(|after| format!("?after={after}")).unwrap_or_default();
    let token = access.token().map_err(Refused::Away)?;
    let request = Request::get(format!("{}/admin/v1/events{after}", access.url))
        .header(AUTHORIZATION, format!("Bearer {}", token.expose()))
        .body(Full::new(Bytes::new()))
        .map_err(|error| Refused::Away(error.to_string()))?;
    let exchange = client.send(request, ANSWER_WITHIN).await.map_err(|problem| Refused::Away(problem.to_string()))?;
    if exchange.status.is_success() {
        return Ok(exchange);
    }
    let status = exchange.status;
    let body = exchange.read(MAX_REFUSAL).await.unwrap_or_default();
    Err(Refused::of(status, serde_json::from_slice(&body).unwrap_or_default()))
}

/// Takes a stream of server-sent events apart.
#[derive(Debug, Default)]
struct Reader {
    rest: Vec<u8>,
    data: String,
    /// The last event's number.
    last: Option<u64>,
}

impl Reader {
    /// The data of the events that are whole by now.
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            match line.trim_end_matches(['\r', '\n']).split_once(':') {
                Some(("data", text)) => self.data.push_str(text.strip_prefix(' ').unwrap_or(text)),
                Some(("id", id)) => self.last = id.trim().parse().ok().or(self.last),
                // A blank line ends an event; one without data is none.
                None if line.trim().is_empty() && !self.data.is_empty() => events.push(std::mem::take(&mut self.data)),
                _ => {}
            }
        }
        events
    }
}

/// An event for people: when, where, what, and the rest as it is.
fn line(event: &Value) -> String {
    let time = moment(&event["timeMs"]);
    let room = event["roomName"].as_str().map_or_else(|| "-".to_owned(), |room| format!("{room:?}"));
    let mut rest = event.clone();
    if let Value::Object(rest) = &mut rest {
        rest.retain(|key, _| !["id", "timeMs", "roomName", "type"].contains(&key.as_str()));
    }
    let name = event["type"].as_str().unwrap_or_default();
    format!("{time} {} {name:<20} {room} {rest}\n", event["id"])
}

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A node says every 15 s how far it is: one that is silent for three times as long is out of reach, though nobody said so.
const SILENT_FOR: Duration = Duration::from_secs(45);
/// No refusal of a node is longer, in bytes.
const MAX_REFUSAL: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_stream_is_cut() {
        let stream = b"id: 7\nevent: room-opened\ndata: {\"id\":7}\n\n: nothing new\nid: 9\n\nid: 10\r\ndata: {\"id\":10}\r\n\r\ndata: half";
        for size in [1, 3, stream.len()] {
            let mut reader = Reader::default();
            let events: Vec<_> = stream.chunks(size).flat_map(|chunk| reader.take(chunk)).collect();
            assert_eq!(events, ["{\"id\":7}", "{\"id\":10}"], "{size}");
            assert_eq!(reader.last, Some(10));
        }
    }

    #[test]
    fn an_event_is_one_line_for_people() {
        let event = serde_json::json!({"id": 7, "timeMs": 0, "type": "room-opened", "roomName": "a\nb", "x": 1});
        assert_eq!(line(&event), "1970-01-01T00:00:00.000Z 7 room-opened          \"a\\nb\" {\"x\":1}\n");
    }
}
