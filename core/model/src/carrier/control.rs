//! Messages of a control connection, and the hello and welcome that open every connection. JSON, so that a person can read them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{BindingToken, MAX_MESSAGE, NodeTime, TrackNumber};
use crate::{Codec, MediaKind, PublisherId, RecordingId, RoomName, Source, TrackId, UserId};

/// The recorder's first message on every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The version it speaks, [`super::PROTOCOL`].
    pub protocol: u32,
    /// Name and version of the program, for logs.
    pub software: String,
    /// What the connection is for.
    #[serde(flatten)]
    pub role: Role,
}

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum Role {
    /// Sessions and tracks, one connection for each recorder. When it ends, its data connections end too.
    Control,
    /// The media of one worker.
    Data {
        /// Which one, from 0.
        worker: u32,
        /// The token in the control connection's welcome.
        token: BindingToken,
    },
}

/// The node's answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Welcome {
    /// The connection stands.
    Accepted {
        /// The version the node speaks.
        protocol: u32,
        /// Name and version of the program, for logs.
        software: String,
        /// How many workers there are: the recorder now opens one data connection for each. 0 on a data connection.
        workers: u32,
        /// What the data connections must show. Absent on a data connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<BindingToken>,
    },
    /// The node closes the connection.
    Refused {
        /// Why.
        code: Refusal,
        /// For people.
        message: String,
    },
}

/// Why the node refuses a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The token belongs to no control connection that stands.
    Unauthenticated,
    /// Not a hello, or there is no such worker.
    InvalidMessage,
    /// The node speaks another version.
    WrongProtocol,
    /// The node has as many recorders as it takes.
    Overloaded,
}

/// From the node, on the control connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ToRecorder {
    /// Begins a session. Answered by a `state`.
    StartSession(StartSession),
    /// Adds a track to a session. Sent before the track's first frame; a recorder holds frames that overtake it.
    AddTrack(AddTrack),
    /// The track is over: what came of it is written out.
    RemoveTrack {
        /// The session.
        session: RecordingId,
        /// The track.
        track: TrackNumber,
    },
    /// Ends a session: all its files are closed. Answered by a `state` with all of them.
    StopSession {
        /// The session.
        session: RecordingId,
    },
    /// Everything was told that ran when the recorder attached. What it finds of other sessions nobody goes on with.
    SessionsTold,
    /// Asks for a pong.
    Ping {
        /// Comes back in the pong.
        id: u64,
    },
}

/// A new session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartSession {
    /// Its id and the name of its folder.
    pub session: RecordingId,
    /// The room that is recorded.
    pub room: RoomName,
    /// When it began by the wall clock, in microseconds since 1970 (UTC).
    pub started_at_us: u64,
    /// The same moment on the node's timeline: time 0 of the session.
    pub started: NodeTime,
    /// Counts the node's lives within one session, from 0: a node that was restarted and goes on with it adds one.
    pub epoch: u32,
}

/// A new track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddTrack {
    /// What frames and requests call it.
    pub number: TrackNumber,
    /// Its session.
    pub session: RecordingId,
    /// The worker whose data connection brings it.
    pub worker: u32,
    /// Whose it is. Tracks of one publisher share clocks and files.
    pub publisher_id: PublisherId,
    /// The person, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Their name for people; may be empty.
    #[serde(default)]
    pub username: String,
    /// The track's name in its room.
    pub track_id: TrackId,
    /// Audio or video.
    pub kind: MediaKind,
    /// Where it comes from.
    pub source: Source,
    /// How it is coded.
    pub codec: Codec,
    /// RTP clock rate in Hz.
    pub clock_rate: u32,
    /// The payload type of the codec in this track's packets; others (comfort noise, RED) are not recorded.
    pub payload_type: u8,
    /// The format parameters of the publisher's SDP (`a=fmtp`) without the payload type; empty when it has none.
    #[serde(default)]
    pub fmtp: String,
    /// The id of the header extension in which its packets say how loud they are (RFC 6464), if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level_id: Option<u8>,
}

/// From the recorder, on the control connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum FromRecorder {
    /// How a session stands: sent at every change.
    State {
        /// The session.
        session: RecordingId,
        /// Its state.
        state: SessionState,
        /// Why it failed, or what went wrong on the way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Its files so far.
        #[serde(default)]
        files: Vec<RecordedFile>,
    },
    /// A key frame is needed. At most one a second for each track.
    Pli {
        /// The track.
        track: TrackNumber,
    },
    /// What happened to the tracks; about every two seconds while there are any.
    Stats {
        /// One entry for each track that is being recorded.
        tracks: Vec<TrackStats>,
    },
    /// The answer to a ping.
    Pong {
        /// The ping's.
        id: u64,
    },
}

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Its folder is there; nothing is written yet.
    Starting,
    /// Media is being written.
    Recording,
    /// All files are closed.
    Stopped,
    /// It ended without being asked to, or could not begin.
    Failed,
}

/// A file of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedFile {
    /// Its name in the session's folder.
    pub path: String,
    /// Whose media it holds.
    pub publisher_id: PublisherId,
    /// Whether it is complete.
    pub state: FileState,
    /// Its size.
    pub bytes: u64,
    /// Length of what it holds, in milliseconds.
    pub duration_ms: u64,
}

/// Whether a file is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// It still grows, under a name that ends in `.part`.
    Open,
    /// It is complete.
    Closed,
}

/// What happened to a track since it was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackStats {
    /// The track.
    pub track: TrackNumber,
    /// Packets that came.
    pub packets: u64,
    /// Frames written to a file.
    pub frames: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Frames given up: incomplete, or without the frames that they build on.
    pub dropped_frames: u64,
    /// Key frames asked for.
    pub plis: u64,
}

/// Why a control message cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It is longer than a message may be.
    #[error("control message of {length} bytes where at most {MAX_MESSAGE} are allowed")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It is not the JSON that is expected here.
    #[error("malformed control message")]
    Malformed(#[from] serde_json::Error),
}

/// Appends a message with its length.
pub fn encode_message<M: Serialize>(message: &M, out: &mut Vec<u8>) -> Result<(), MessageError> {
    let json = serde_json::to_vec(message)?;
    if json.len() > MAX_MESSAGE {
        return Err(MessageError::TooLong { length: json.len() });
    }
    out.extend_from_slice(&(json.len() as u32).to_be_bytes());
    out.extend_from_slice(&json);
    Ok(())
}

/// Reads a message from what stood behind its length. Keys that this version does not know are ignored.
pub fn decode_message<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, MessageError> {
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::{Deframer, PROTOCOL};
    use crate::testing::{cases, damaged_text};
    use proptest::prelude::*;

    fn there_and_back<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &M) -> String {
        let mut wire = Vec::new();
        encode_message(message, &mut wire).unwrap();
        let mut deframer = Deframer::new(MAX_MESSAGE);
        deframer.extend(&wire);
        let bytes = deframer.next_frame().unwrap().unwrap();
        assert_eq!(decode_message::<M>(bytes).unwrap(), *message);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_hello_names_its_role_beside_its_version() {
        let control = Hello { protocol: PROTOCOL, software: "r/1".into(), role: Role::Control };
        assert_eq!(there_and_back(&control), r#"{"protocol":2,"software":"r/1","role":"control"}"#);
        let role = Role::Data { worker: 3, token: BindingToken::from_random([0x11; 16]) };
        let data = Hello { protocol: PROTOCOL, software: "r/1".into(), role };
        let json = there_and_back(&data);
        assert!(json.contains(r#""role":"data","worker":3,"token":"1111"#), "{json}");
    }

    #[test]
    fn a_welcome_is_accepted_or_refused() {
        let token = Some(BindingToken::from_random([1; 16]));
        there_and_back(&Welcome::Accepted { protocol: 1, software: "n/1".into(), workers: 2, token });
        let refused = Welcome::Refused { code: Refusal::Unauthenticated, message: "wrong token".into() };
        assert_eq!(there_and_back(&refused), r#"{"type":"refused","code":"unauthenticated","message":"wrong token"}"#);
    }

    #[test]
    fn every_control_message_is_read_as_it_was_written() {
        let session = RecordingId::new("s-1").unwrap();
        there_and_back(&ToRecorder::StartSession(StartSession {
            session: session.clone(),
            room: RoomName::new("a/b").unwrap(),
            started_at_us: 1_700_000_000_000_000,
            started: NodeTime(5),
            epoch: 0,
        }));
        let json = there_and_back(&ToRecorder::AddTrack(AddTrack {
            number: TrackNumber(1),
            session: session.clone(),
            worker: 0,
            publisher_id: PublisherId(9),
            user_id: None,
            username: "Ann".into(),
            track_id: TrackId::new("t").unwrap(),
            kind: MediaKind::Video,
            source: Source::Camera,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            payload_type: 96,
            fmtp: String::new(),
            level_id: Some(1),
        }));
        assert!(json.starts_with(r#"{"type":"add-track","number":1,"session":"s-1","worker":0,"publisherId":9"#));
        there_and_back(&ToRecorder::RemoveTrack { session: session.clone(), track: TrackNumber(1) });
        there_and_back(&ToRecorder::StopSession { session: session.clone() });
        there_and_back(&ToRecorder::Ping { id: 7 });
        let files = vec![RecordedFile {
            path: "9-camera-1.webm".into(),
            publisher_id: PublisherId(9),
            state: FileState::Closed,
            bytes: 10,
            duration_ms: 20,
        }];
        there_and_back(&FromRecorder::State { session, state: SessionState::Stopped, reason: None, files });
        assert_eq!(there_and_back(&FromRecorder::Pli { track: TrackNumber(4) }), r#"{"type":"pli","track":4}"#);
        there_and_back(&FromRecorder::Stats { tracks: Vec::new() });
        there_and_back(&FromRecorder::Pong { id: 7 });
    }

    #[test]
    fn keys_of_a_later_version_are_ignored() {
        let read: ToRecorder = decode_message(br#"{"type":"ping","id":1,"later":{"x":[]}}"#).unwrap();
        assert_eq!(read, ToRecorder::Ping { id: 1 });
    }

    #[test]
    fn a_message_over_the_limit_is_not_written() {
        let mut out = Vec::new();
        let long = Hello { protocol: 1, software: "x".repeat(MAX_MESSAGE), role: Role::Control };
        assert!(matches!(encode_message(&long, &mut out), Err(MessageError::TooLong { .. })));
        assert!(out.is_empty());
    }

    proptest! {
        #![proptest_config(cases(64))]

        #[test]
        fn damaged_messages_never_panic(text in damaged_text([
            r#"{"protocol":1,"software":"r/1","role":"data","worker":3,"token":"11111111111111111111111111111111"}"#,
            r#"{"type":"ping","id":1,"later":{"x":[]}}"#,
            r#"{"type":"stop-session","session":"s-1"}"#,
            r#"{"type":"remove-track","session":"s-1","track":1}"#,
            r#"{"type":"add-track","number":1,"session":"s-1","worker":0,"publisherId":9,"username":"Ann","trackId":"t","kind":"video"}"#,
        ])) {
            drop(decode_message::<Hello>(text.as_bytes()));
            drop(decode_message::<ToRecorder>(text.as_bytes()));
            drop(decode_message::<FromRecorder>(text.as_bytes()));
        }
    }
}
