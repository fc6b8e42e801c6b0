//! How clients speak on a socket, and the `type` dialect: JSON text frames, one message each.

use std::collections::VecDeque;

use lockgate_model::{Command, ErrorCode, Event, Reply, Request, RequestId};
use serde_json::Value;

use crate::socket::CloseCode;

/// How one client speaks: what its texts ask of the shell, and how it is told what the shell says.
pub(crate) trait Dialect: Send {
    /// The socket is open.
    fn begin(&mut self, _said: &mut Said) {}

    /// The client says something, within the rate that is allowed or beyond it.
    fn on_text(&mut self, text: &str, allowed: bool, said: &mut Said);

    /// The shell says something.
    fn on_reply(&mut self, reply: Reply, said: &mut Said);

    /// Whether a client whose socket is lost may come back to its place.
    fn resumes(&self) -> bool;
}

/// What is to be said next. The client is read from again only when all requests are on their way.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// To the client.
    pub(crate) texts: VecDeque<String>,
    /// To the shell.
    pub(crate) requests: VecDeque<Request>,
    /// That the socket ends, after that.
    pub(crate) close: Option<(CloseCode, &'static str)>,
}

/// The `type` dialect.
pub(crate) struct Typed;

impl Dialect for Typed {
    fn on_text(&mut self, text: &str, allowed: bool, said: &mut Said) {
        let request =
            if allowed { read(text) } else { Err(refusal(None, "", ErrorCode::RATE_LIMITED, TOO_MANY.into())) };
        match request {
            Ok(request) => said.requests.push_back(request),
            Err(refusal) => said.texts.push_back(write(&refusal)),
        }
    }

    fn on_reply(&mut self, reply: Reply, said: &mut Said) {
        said.texts.push_back(write(&reply));
    }

    fn resumes(&self) -> bool {
        true
    }
}

/// Reads one frame. An unreadable one gives the error that the client is told.
fn read(text: &str) -> Result<Request, Box<Reply>> {
    let mut value: Value = serde_json::from_str(text)
        .map_err(|error| refusal(None, "", ErrorCode::INVALID_MESSAGE, format!("not JSON: {error}")))?;
    let Some(object) = value.as_object_mut() else {
        return Err(refusal(None, "", ErrorCode::INVALID_MESSAGE, "a message is a JSON object with a `type`".into()));
    };
    let id = request_id(object)?;
    // The signalling seed's server took any object with a token for `auth`.
    if !object.contains_key("type") && object.contains_key("token") {
        object.insert("type".into(), "auth".into());
    }
    let Some(name) = object.get("type").and_then(Value::as_str).map(str::to_owned) else {
        return Err(refusal(id, "", ErrorCode::INVALID_MESSAGE, "the message has no `type`".into()));
    };
    if !Command::NAMES.contains(&name.as_str()) {
        let shown: String = name.chars().take(64).collect();
        return Err(refusal(id, &shown, ErrorCode::UNKNOWN_MESSAGE, format!("no message has the type {shown:?}")));
    }
    Request::deserialize_value(value)
        .map(|request| Request { size: text.len(), ..request })
        .map_err(|error| refusal(id, &name, ErrorCode::INVALID_MESSAGE, error))
}

/// Writes one frame.
fn write(reply: &Reply) -> String {
    serde_json::to_string(reply).unwrap_or_else(|error| {
        tracing::error!(%error, "an event could not be written");
        String::from(r#"{"type":"error","code":"internal","message":"an event could not be written","of":""}"#)
    })
}

trait DeserializeValue: Sized {
    fn deserialize_value(value: Value) -> Result<Self, String>;
}

impl DeserializeValue for Request {
    fn deserialize_value(value: Value) -> Result<Self, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
}

/// Takes the message's own mark out, bounded: it is sent back with replies.
fn request_id(object: &mut serde_json::Map<String, Value>) -> Result<Option<RequestId>, Box<Reply>> {
    match object.get("id") {
        None | Some(Value::Null) => {
            object.remove("id");
            Ok(None)
        }
        Some(Value::String(text)) if text.len() <= MAX_ID => Ok(Some(RequestId::Text(text.clone()))),
        Some(Value::Number(number)) => {
            Ok(number.as_i64().map(RequestId::Number).or_else(|| number.as_f64().map(RequestId::Float)))
        }
        Some(_) => {
            let text = format!("`id` is a number or a text of at most {MAX_ID} bytes");
            Err(refusal(None, "", ErrorCode::INVALID_MESSAGE, text))
        }
    }
}

fn refusal(id: Option<RequestId>, of: &str, code: ErrorCode, message: String) -> Box<Reply> {
    Box::new(Reply { id, event: Event::error(code, message, of) })
}

/// What a client is told that talks too fast.
pub(crate) const TOO_MANY: &str = "too many messages; at most 100 a second";
/// Longest `id` of a message, in bytes.
const MAX_ID: usize = 128;

#[cfg(test)]
mod tests {
    use lockgate_model::testing::damaged_text;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is refused is told so, in what is JSON again.
        #[test]
        fn damaged_messages_are_read_or_refused(text in damaged_text(MESSAGES)) {
            if let Err(refusal) = read(&text) {
                let told: Value = serde_json::from_str(&write(&refusal)).unwrap();
                prop_assert_eq!(&told["type"], "error");
            }
        }
    }

    #[test]
    fn the_messages_that_are_damaged_are_whole_before() {
        for message in MESSAGES {
            assert!(read(message).is_ok(), "{message}");
        }
    }

    /// With all that readers look at: numbers, lists, descriptions, candidates, what is passed on.
    const MESSAGES: [&str; 12] = [
        r#"{"type":"auth","token":"a.b.c","resume":"0123456789abcdef0123456789abcdef"}"#,
        r#"{"type":"join-room","roomName":"r","password":"p","metadata":"m","subscribeConnections":"per-publisher","id":7}"#,
        r#"{"type":"publish-offer","roomName":"r","offer":{"type":"offer","sdp":"v=0\r\n"},"tracks":[{"mid":"0","source":"camera","name":"n"}]}"#,
        r#"{"type":"publish-ice-candidate","roomName":"r","candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 5 typ host","sdpMid":"0"}}"#,
        r#"{"type":"subscribe-ice-candidate","roomName":"r","publisherId":3,"candidate":null}"#,
        r#"{"type":"subscribe-request","roomName":"r","publisherId":4294967297,"trackIds":["t1"],"maxLayer":{"spatial":1,"temporal":2},"id":"a"}"#,
        r#"{"type":"subscribe-answer","roomName":"r","publisherId":3,"answer":"v=0","offerId":2}"#,
        r#"{"type":"set-layer","roomName":"r","publisherId":3,"trackId":"t1","spatial":1,"temporal":0,"paused":false,"priority":9}"#,
        r#"{"type":"offer","roomName":"r","targetUserId":3,"offer":{"sdp":"x","n":[1e308,-0.0]}}"#,
        r#"{"type":"policy-command","roomName":"r","name":"n","payload":"p"}"#,
        r#"{"type":"chat","roomName":"r","text":"sch\u00f6n"}"#,
        r#"{"token":"t"}"#,
    ];

    fn error(text: &str) -> Value {
        serde_json::to_value(&*read(text).unwrap_err()).unwrap()
    }

    #[test]
    fn bad_messages_are_told_what_is_wrong_with_them() {
        assert_eq!(error("{")["code"], "invalid-message");
        assert_eq!(error("[]")["code"], "invalid-message");
        assert_eq!(
            error(r#"{"type":"fly","id":7}"#),
            serde_json::json!({
                "id": 7, "type": "error", "code": "unknown-message", "message": "no message has the type \"fly\"", "of": "fly"
            })
        );
        let missing = error(r#"{"type":"join-room","id":"x"}"#);
        assert_eq!((missing["of"].as_str(), missing["id"].as_str()), (Some("join-room"), Some("x")));
        assert!(missing["message"].as_str().unwrap().contains("roomName"), "{missing}");
        assert!(
            error(r#"{"type":"join-room","roomName":""}"#)["message"].as_str().unwrap().contains("room name is empty")
        );
        assert_eq!(error(&format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(129)))["code"], "invalid-message");
    }

    #[test]
    fn a_request_knows_how_long_its_message_was() {
        let text = r#"{"type":"ping","padding":"for nobody"}"#;
        assert_eq!(read(text).unwrap().size, text.len());
    }

    #[test]
    fn the_seeds_bare_token_is_an_auth() {
        assert!(matches!(read(r#"{"token":"t"}"#).unwrap().command, Command::Auth { .. }));
    }
}
