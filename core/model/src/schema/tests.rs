//! The schema against what the readers and writers do, and against what the documentation says.

use std::collections::BTreeSet;

use jsonschema::Validator;
use proptest::prelude::*;

use super::*;
use crate::policy::Grant;
use crate::testing::{cases, damaged_text};
use crate::{
    Bitrate, ChannelFacts, Codec, Credential, ErrorCode, IceServer, LayerReason, MediaKind, MemberInfo, PublisherId,
    Reply, Request, RoomName, Source, TrackId, TrackInfo, UserId,
};

/// Holds messages against a definition of the document.
fn validator(definition: &str) -> Validator {
    let mut document = dialect();
    document["anyOf"] = json!([{ "$ref": format!("#/$defs/{definition}") }]);
    jsonschema::validator_for(&document).unwrap()
}

fn problems(validator: &Validator, message: &Value) -> Vec<String> {
    validator.iter_errors(message).map(|error| error.to_string()).collect()
}

fn names(side: &str) -> BTreeSet<String> {
    let document = dialect();
    let all = document["$defs"].as_object().unwrap().keys();
    all.filter_map(|name| name.strip_prefix(side)).map(str::to_owned).collect()
}

/// The documentation of the dialect.
fn documentation() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/signalling.md")).unwrap()
}

/// What is in the first column of the table under a heading.
fn documented(heading: &str) -> BTreeSet<String> {
    let text = documentation();
    let (_, after) = text.split_once(&format!("## {heading}\n")).unwrap();
    let rows = after.lines().skip(2).take_while(|line| line.starts_with('|'));
    let first = rows.filter_map(|row| row.split('|').nth(1)).skip_while(|first| !first.contains('`'));
    first.flat_map(|first| first.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_message_is_in_it_and_in_the_documentation() {
    let client = names("client.");
    assert_eq!(client, Command::NAMES.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(client, documented("Client → server"));
    // Replies that the other table names, and what is relayed.
    let elsewhere = ["answer", "chat", "ice-candidate", "offer", "pong"].map(str::to_owned);
    let told: BTreeSet<_> = documented("Server → client").into_iter().chain(elsewhere).collect();
    assert_eq!(names("server."), told);
}

#[test]
fn what_both_sides_use_is_the_same_for_both() {
    let settings = SchemaSettings::draft2020_12;
    let client = half::<Command>("client", settings().for_deserialize().into_generator());
    let mut server = half::<Event>("server", settings().for_serialize().into_generator());
    server.each(&mut strip_null);
    let both: Vec<_> = client.parts.keys().filter(|name| server.parts.contains_key(*name)).collect();
    assert!(both.len() >= 5, "{both:?}");
    for name in both {
        assert_eq!(client.parts[name], server.parts[name], "{name}");
    }
}

#[test]
fn the_conversation_in_the_documentation_is_valid() {
    let (client, server) = (validator("clientMessage"), validator("serverMessage"));
    let mut shown = 0;
    for line in documentation().lines() {
        let (validator, text) = match (line.strip_prefix("→ {"), line.strip_prefix("← {")) {
            (Some(text), _) => (&client, text),
            (_, Some(text)) => (&server, text),
            _ => continue,
        };
        let message: Value =
            serde_json::from_str(&format!("{{{text}")).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(problems(validator, &message), Vec::<String>::new(), "{line}");
        shown += 1;
    }
    assert!(shown >= 12, "{shown}");
}

/// One of each kind of value that clients write.
const SAID: [&str; 12] = [
    r#"{"type":"auth","token":"a.b.c","resume":null}"#,
    r#"{"type":"join-room","roomName":"Käse","password":"p","metadata":"m","subscribeConnections":"per-publisher","id":7}"#,
    r#"{"type":"publish-offer","roomName":"r","offer":{"type":"offer","sdp":"v=0\r\n"},"tracks":[{"mid":"0","source":"camera","name":"n"}]}"#,
    r#"{"type":"publish-ice-candidate","roomName":"r","candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 5 typ host","sdpMid":"0"}}"#,
    r#"{"type":"subscribe-ice-candidate","roomName":"r","publisherId":3,"candidate":null}"#,
    r#"{"type":"subscribe-request","roomName":"r","publisherId":4294967297,"trackIds":["t1"],"maxLayer":{"spatial":1,"temporal":2},"id":"a"}"#,
    r#"{"type":"subscribe-answer","roomName":"r","publisherId":3,"answer":"v=0","offerId":2,"later":[true]}"#,
    r#"{"type":"set-layer","roomName":"r","publisherId":3,"trackId":"t1","spatial":1,"temporal":0,"paused":false,"priority":9}"#,
    r#"{"type":"offer","roomName":"r","targetUserId":3,"offer":{"sdp":"x","n":[1e308,-0.0]},"id":1.5}"#,
    r#"{"type":"policy-command","roomName":"r","name":"n","payload":"p"}"#,
    r#"{"type":"start-recording","roomName":"r","tracks":["a","b"]}"#,
    r#"{"type":"ping"}"#,
];

#[test]
fn what_clients_say_is_valid_as_far_as_it_is_read() {
    let client = validator("clientMessage");
    for said in SAID {
        assert_eq!(problems(&client, &serde_json::from_str(said).unwrap()), Vec::<String>::new(), "{said}");
    }
    for broken in [
        r#"{"type":"fly"}"#,
        r#"{"type":"receive-offer","roomName":"r","offer":"v=0"}"#,
        r#"{"type":"auth"}"#,
        r#"{"type":"join-room","roomName":""}"#,
        r#"{"type":"join-room","roomName":"a\u0000b"}"#,
        r#"{"type":"join-room","roomName":"r","subscribeConnections":"two"}"#,
        r#"{"type":"publish-offer","roomName":"r","offer":{"type":"offer"}}"#,
        r#"{"type":"publish-offer","roomName":"r","offer":"v=0","tracks":[{"mid":"0"}]}"#,
        r#"{"type":"unpublish","roomName":"r","trackId":"a b"}"#,
        r#"{"type":"kick","roomName":"r","publisherId":-1}"#,
        r#"{"type":"kick","roomName":"r","publisherId":"1"}"#,
        r#"{"type":"set-layer","roomName":"r","publisherId":3,"trackId":"t1","spatial":256}"#,
        r#"{"type":"chat","roomName":"r","text":7}"#,
    ] {
        let message: Value = serde_json::from_str(broken).unwrap();
        assert!(!client.is_valid(&message), "{broken}");
        assert!(serde_json::from_value::<Request>(message).is_err(), "{broken}");
    }
    assert!(!client.is_valid(&json!({ "type": "ping", "id": "x".repeat(129) })));
    assert!(!client.is_valid(&json!({ "type": "chat", "roomName": "r", "text": "x".repeat(4097) })));
    assert!(!client.is_valid(&json!({ "type": "pong" })), "that is the server's");
}

proptest! {
    #![proptest_config(cases(128))]

    /// Whoever follows the schema is understood.
    #[test]
    fn what_is_valid_is_read(text in damaged_text(SAID)) {
        thread_local!(static CLIENT: Validator = validator("clientMessage"));
        if let Ok(mut message) = serde_json::from_str::<Value>(&text)
            && CLIENT.with(|client| client.is_valid(&message))
        {
            whole(&mut message);
            prop_assert!(serde_json::from_value::<Request>(message).is_ok(), "{}", text);
        }
    }
}

/// To JSON Schema `3.0` and `-0` are whole numbers; clients write `3` and `0`.
fn whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number
                .as_f64()
                .filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() <= MAX_NUMBER as f64)
            {
                *value = json!(float as i64);
            }
        }
        Value::Array(all) => all.iter_mut().for_each(whole),
        Value::Object(all) => all.values_mut().for_each(whole),
        _ => {}
    }
}

fn track(kind: MediaKind, channel: Option<ChannelFacts>) -> TrackInfo {
    let codec = (kind == MediaKind::Video).then_some(Codec::Vp8);
    let (track_id, source) = (TrackId::new("t").unwrap(), Source::default_for(kind));
    TrackInfo { track_id, kind, source, codec, simulcast: true, encodings: 3, muted: false, name: None, channel }
}

/// With everything that may be absent, and without it.
fn events() -> Vec<Event> {
    let room_name = || RoomName::new("den").unwrap();
    let (user_id, publisher_id, username) = (UserId(7), PublisherId(1 << 32), || String::from("Ann"));
    let servers = [Some(Credential("secret".into())), None].map(|credential| {
        let username = credential.as_ref().map(|_| "1:2".into());
        IceServer { urls: vec!["turn:192.0.2.1".into()], username, credential }
    });
    let authenticated = |expires_at, ice_servers| {
        let resume_token = "0".repeat(32);
        Event::Authenticated { user_id, username: username(), expires_at, resume_token, resume_ms: 15_000, ice_servers }
    };
    let everything = Grant {
        max_spatial: Some(2),
        max_bitrate: Some(Bitrate(1_000_000)),
        kinds: Some([MediaKind::Audio, MediaKind::Data].into()),
        sources: Some([Source::Camera].into()),
        can_record: Some(true),
        priority: Some(255),
        hidden: true,
        expires_at_ms: Some(1),
        attributes: vec![crate::policy::Attribute { key: "a.role".into(), value: "host".into() }],
        ..Grant::default()
    };
    let member =
        MemberInfo { user_id, username: username(), publisher_id, tracks: vec![track(MediaKind::Video, None)] };
    let joined = |participants, grants| Event::RoomJoined {
        room_name: room_name(),
        user_id,
        publisher_id,
        participants,
        grants,
    };
    let label = "chat".into();
    let channel = ChannelFacts {
        label,
        protocol: String::new(),
        ordered: true,
        max_retransmits: Some(3),
        max_packet_life_time: None,
    };
    let tracks = vec![track(MediaKind::Data, Some(channel)), track(MediaKind::Audio, None)];
    let changed = |paused, spatial, temporal| {
        let (room_name, track_id, reason) = (room_name(), TrackId::new("t").unwrap(), LayerReason::Bandwidth);
        Event::LayerChanged { room_name, publisher_id, track_id, paused, spatial, temporal, reason }
    };
    vec![
        authenticated(Some(1_767_225_600), servers.into()),
        authenticated(None, Vec::new()),
        joined(vec![member], everything),
        joined(Vec::new(), Grant::default()),
        Event::NewPublisher { room_name: room_name(), publisher_id, username: username(), tracks, subject: "7".into() },
        changed(false, Some(1), Some(2)),
        changed(true, None, None),
        Event::error(ErrorCode::from_plugin("after hours"), "come tomorrow", "join-room"),
        Event::Pong {},
    ]
}

#[test]
fn what_the_server_says_is_valid_and_what_it_never_says_is_not() {
    let server = validator("serverMessage");
    for event in events() {
        let message = serde_json::to_value(Reply::from(event)).unwrap();
        assert_eq!(problems(&server, &message), Vec::<String>::new(), "{message}");
    }
    for never in [
        json!({ "type": "media-connected", "roomName": "den" }),
        json!({ "type": "receive-answer", "roomName": "den", "answer": "v=0", "tracks": [] }),
        json!({ "type": "token-expiring", "expiresAt": null }),
        json!({ "type": "error", "code": "my-own", "message": "", "of": "" }),
        json!({ "type": "error", "code": "internal", "message": "", "of": "", "roomName": null }),
        json!({ "type": "quality", "roomName": "den", "score": 11, "bitrate": 0, "loss": 0 }),
        json!({ "type": "quality", "roomName": "den", "score": 9, "bitrate": 0, "loss": 1.5 }),
        json!({ "type": "publishers-list", "roomName": "den" }),
    ] {
        assert!(!server.is_valid(&never), "{never}");
    }
}

#[test]
fn numbers_have_their_ranges_and_everything_its_words() {
    let document = dialect();
    let at = |place: &str| document.pointer(&format!("/$defs/{place}")).unwrap_or_else(|| panic!("no {place}"));
    assert_eq!(at("PublisherId")["maximum"], MAX_NUMBER);
    assert_eq!(at("server.active-speaker/properties/audioLevels")["maxItems"], 16);
    assert_eq!(at("ActiveLevel/properties/level")["minimum"], -127);
    assert_eq!(at("client.set-layer/properties/priority")["maximum"], 255);
    assert_eq!(at("Codec")["x-grows"], true);
    for (name, definition) in document["$defs"].as_object().unwrap() {
        assert!(definition["description"].is_string(), "{name} has no description");
    }
}
