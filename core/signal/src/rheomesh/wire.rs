//! The messages: JSON text frames, tagged by `action`, with keys in camelCase.

use lockgate_model::{Candidate, ErrorCode, TrackId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a client says. Unknown keys are ignored.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all_fields = "camelCase")]
pub(crate) enum FromClient {
    /// Asks for a `Pong`.
    Ping {},
    /// Its publish transport is there.
    PublisherInit {},
    /// Its subscribe transport is there: it wants to know what is published.
    SubscriberInit {},
    /// Asks for a `StartAsPublisher`.
    RequestPublish {},
    /// A candidate of the publish transport.
    PublisherIce {
        #[serde(default)]
        candidate: Option<Candidate>,
    },
    /// A candidate of the subscribe transport.
    SubscriberIce {
        #[serde(default)]
        candidate: Option<Candidate>,
    },
    /// Of the publish transport.
    Offer { sdp: Description },
    /// Of the subscribe transport.
    Answer { sdp: Description },
    /// Wants published what it has offered: names a track, or a data channel by its label.
    Publish {},
    /// Wants to receive a track or a data channel.
    Subscribe { publisher_id: TrackId },
    /// Takes a track or a data channel back.
    StopPublish { publisher_id: TrackId },
    /// Wants to receive no more of it.
    StopSubscribe { subscriber_id: TrackId },
    /// Chooses what to receive: by the layer's numbers, or an encoding by its name as older examples do.
    SetPreferredLayer {
        subscriber_id: TrackId,
        #[serde(default)]
        sid: Option<u8>,
        #[serde(default)]
        tid: Option<u8>,
        #[serde(default)]
        rid: Option<Rid>,
    },
    /// Wants an `Offer` with new ICE credentials.
    #[serde(rename = "RestartICE", alias = "RestartIce")]
    RestartIce {},
    /// Asks for a `RecordingSDP`.
    Record { publisher_id: TrackId },
    /// Wants a track recorded.
    StartRecording { publisher_id: TrackId },
    /// Wants it recorded no more.
    StopRecording { publisher_id: TrackId },
}

/// A session description: the browser's object, or its text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Description {
    Init { sdp: String },
    Text(String),
}

impl Description {
    pub(crate) fn into_text(self) -> String {
        let (Self::Init { sdp: text } | Self::Text(text)) = self;
        text
    }
}

/// The names that the client's helper gives to encodings, from the smallest.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rid {
    Low,
    Mid,
    High,
}

/// What a client is told. `PublisherIce` and `SubscriberIce` are never sent: all our candidates are inside our descriptions.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "action", rename_all_fields = "camelCase")]
pub(crate) enum ToClient {
    Pong {},
    StartAsPublisher {},
    Answer {
        sdp: Sdp,
    },
    Offer {
        sdp: Sdp,
    },
    Published(Published),
    Subscribed {
        subscriber_id: TrackId,
    },
    #[serde(rename = "RecordingSDP")]
    RecordingSdp {
        sdp: String,
    },
    RecordingError {
        error: String,
    },
    /// Why something was not done. The examples know no such message, and write it to the console.
    Error {
        code: ErrorCode,
        message: String,
        /// The action that it is about.
        of: String,
    },
}

/// Something can be subscribed to. The media examples read one key, the data examples the other, and neither minds the other's.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Published {
    #[serde(rename_all = "camelCase")]
    Media { publisher_ids: Vec<TrackId> },
    #[serde(rename_all = "camelCase")]
    Data { publisher_id: TrackId, publisher_ids: [TrackId; 0] },
}

/// A session description as browsers have it.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Sdp {
    #[serde(rename = "type")]
    kind: &'static str,
    sdp: String,
}

impl Sdp {
    pub(crate) fn offer(sdp: String) -> Self {
        Self { kind: "offer", sdp }
    }

    pub(crate) fn answer(sdp: String) -> Self {
        Self { kind: "answer", sdp }
    }
}

impl ToClient {
    pub(crate) fn error(code: ErrorCode, message: impl Into<String>, of: &str) -> Self {
        Self::Error { code, message: message.into(), of: of.to_owned() }
    }
}

/// Reads one frame. An unreadable one gives the error that the client is told.
pub(crate) fn read(text: &str) -> Result<FromClient, ToClient> {
    let invalid = |message: String, of: &str| ToClient::error(ErrorCode::INVALID_MESSAGE, message, of);
    let value: Value = serde_json::from_str(text).map_err(|error| invalid(format!("not JSON: {error}"), ""))?;
    let Some(action) = value.get("action").and_then(Value::as_str).map(str::to_owned) else {
        return Err(invalid("a message is a JSON object with an `action`".into(), ""));
    };
    let action: String = action.chars().take(64).collect();
    if !ACTIONS.contains(&action.as_str()) {
        let message = format!("no message has the action {action:?}");
        return Err(ToClient::error(ErrorCode::UNKNOWN_MESSAGE, message, &action));
    }
    serde_json::from_value(value).map_err(|error| invalid(error.to_string(), &action))
}

/// Writes one frame.
pub(crate) fn write(message: &ToClient) -> String {
    serde_json::to_string(message).unwrap_or_else(|error| {
        tracing::error!(%error, "a message could not be written");
        String::from(r#"{"action":"Error","code":"internal","message":"a message could not be written","of":""}"#)
    })
}

/// Every `action` that a client may send.
const ACTIONS: [&str; 18] = [
    "Ping",
    "PublisherInit",
    "SubscriberInit",
    "RequestPublish",
    "PublisherIce",
    "SubscriberIce",
    "Offer",
    "Answer",
    "Publish",
    "Subscribe",
    "StopPublish",
    "StopSubscribe",
    "SetPreferredLayer",
    "RestartICE",
    "RestartIce",
    "Record",
    "StartRecording",
    "StopRecording",
];

#[cfg(test)]
mod tests {
    use lockgate_model::testing::damaged_text;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// As the examples send them.
    const MESSAGES: [&str; 19] = [
        r#"{"action":"Ping"}"#,
        r#"{"action":"PublisherInit"}"#,
        r#"{"action":"SubscriberInit"}"#,
        r#"{"action":"RequestPublish"}"#,
        r#"{"action":"PublisherIce","candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 5 typ host","sdpMid":"0","sdpMLineIndex":0}}"#,
        r#"{"action":"SubscriberIce","candidate":null}"#,
        r#"{"action":"Offer","sdp":{"type":"offer","sdp":"v=0\r\n"}}"#,
        r#"{"action":"Answer","sdp":{"type":"answer","sdp":"v=0\r\n"}}"#,
        r#"{"action":"Publish","publisherId":"t1"}"#,
        r#"{"action":"Publish","label":"any text at all"}"#,
        r#"{"action":"Publish","trackId":"t1"}"#,
        r#"{"action":"Subscribe","publisherId":"t1"}"#,
        r#"{"action":"StopPublish","publisherId":"t1"}"#,
        r#"{"action":"StopSubscribe","subscriberId":"t1"}"#,
        r#"{"action":"SetPreferredLayer","subscriberId":"t1","sid":1,"tid":2}"#,
        r#"{"action":"SetPreferredLayer","subscriberId":"t1","rid":"mid"}"#,
        r#"{"action":"RestartICE"}"#,
        r#"{"action":"Record","publisherId":"t1"}"#,
        r#"{"action":"StartRecording","publisherId":"t1","more":[]}"#,
    ];

    proptest! {
        /// What is refused is told so, in what is JSON again.
        #[test]
        fn damaged_messages_are_read_or_refused(text in damaged_text(MESSAGES)) {
            if let Err(refusal) = read(&text) {
                let told: Value = serde_json::from_str(&write(&refusal)).unwrap();
                prop_assert_eq!(&told["action"], "Error");
            }
        }
    }

    #[test]
    fn what_the_examples_send_is_read() {
        for message in MESSAGES {
            assert!(read(message).is_ok(), "{message}: {:?}", read(message));
        }
    }

    #[test]
    fn bad_messages_are_told_what_is_wrong_with_them() {
        for (text, code, of) in [
            ("{", "invalid-message", ""),
            ("[]", "invalid-message", ""),
            (r#"{"action":7}"#, "invalid-message", ""),
            (r#"{"action":"Fly"}"#, "unknown-message", "Fly"),
            (r#"{"action":"Subscribe"}"#, "invalid-message", "Subscribe"),
            (r#"{"action":"Subscribe","publisherId":"a b"}"#, "invalid-message", "Subscribe"),
            (r#"{"action":"SetPreferredLayer","subscriberId":"t","sid":256}"#, "invalid-message", "SetPreferredLayer"),
        ] {
            let told: Value = serde_json::from_str(&write(&read(text).unwrap_err())).unwrap();
            assert_eq!((&told["code"], &told["of"]), (&json!(code), &json!(of)), "{text}");
            assert!(!told["message"].as_str().unwrap().is_empty());
        }
    }

    #[test]
    fn messages_look_as_the_examples_expect_them() {
        let id = || TrackId::new("t1").unwrap();
        for (message, expected) in [
            (ToClient::Pong {}, json!({ "action": "Pong" })),
            (
                ToClient::Answer { sdp: Sdp::answer("v=0".into()) },
                json!({ "action": "Answer", "sdp": { "type": "answer", "sdp": "v=0" } }),
            ),
            (
                ToClient::Published(Published::Media { publisher_ids: vec![id()] }),
                json!({ "action": "Published", "publisherIds": ["t1"] }),
            ),
            (
                ToClient::Published(Published::Data { publisher_id: id(), publisher_ids: [] }),
                json!({ "action": "Published", "publisherId": "t1", "publisherIds": [] }),
            ),
            (ToClient::Subscribed { subscriber_id: id() }, json!({ "action": "Subscribed", "subscriberId": "t1" })),
            (ToClient::RecordingSdp { sdp: "v=0".into() }, json!({ "action": "RecordingSDP", "sdp": "v=0" })),
            (ToClient::RecordingError { error: "no".into() }, json!({ "action": "RecordingError", "error": "no" })),
        ] {
            assert_eq!(serde_json::from_str::<Value>(&write(&message)).unwrap(), expected);
        }
    }
}
