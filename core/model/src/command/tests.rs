//! How clients' messages are read.

use super::*;

fn read(json: &str) -> Request {
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_seeds_first_messages_are_read_and_unknown_keys_ignored() {
    let request = read(r#"{"type":"auth","token":"x","later":[1]}"#);
    assert!(matches!(request.command, Command::Auth { ref token, .. } if token.expose() == "x"));
    let request = read(r#"{"type":"subscribe-request","roomName":"r","publisherId":4294967297,"id":"a"}"#);
    assert_eq!(request.id, Some(RequestId::Text("a".into())));
    assert!(matches!(
        request.command,
        Command::SubscribeRequest { publisher_id: PublisherId(4_294_967_297), track_ids: None, .. }
    ));
}

#[test]
fn a_description_is_text_or_the_browsers_object() {
    for offer in [r#""v=0""#, r#"{"type":"offer","sdp":"v=0"}"#] {
        let request = read(&format!(r#"{{"type":"publish-offer","roomName":"r","offer":{offer}}}"#));
        assert!(matches!(request.command, Command::PublishOffer { ref offer, .. } if offer == "v=0"));
    }
}

#[test]
fn a_candidate_is_a_line_or_the_browsers_object_or_nothing() {
    let line = |json: &str| match read(json).command {
        Command::PublishIceCandidate { candidate, .. } => candidate.map(|c| c.line().to_owned()),
        _ => None,
    };
    assert_eq!(
        line(r#"{"type":"publish-ice-candidate","roomName":"r","candidate":"a=candidate:1"}"#).as_deref(),
        Some("candidate:1")
    );
    assert_eq!(
        line(r#"{"type":"publish-ice-candidate","roomName":"r","candidate":{"candidate":"candidate:1","sdpMid":"0"}}"#)
            .as_deref(),
        Some("candidate:1")
    );
    assert_eq!(line(r#"{"type":"publish-ice-candidate","roomName":"r","candidate":null}"#), None);
}

#[test]
fn a_peer_relay_keeps_what_it_does_not_know() {
    let Command::Offer(relay) = read(r#"{"type":"offer","roomName":"r","targetUserId":3,"offer":{"sdp":"x"}}"#).command
    else {
        panic!()
    };
    assert_eq!((relay.target_user_id, relay.payload["offer"]["sdp"].as_str()), (Some(UserId(3)), Some("x")));
}

#[test]
fn what_is_no_message_of_the_dialect_is_not_read_as_one() {
    let text = r#"{"type":"receive-offer","roomName":"r","offer":"v=0"}"#;
    assert!(serde_json::from_str::<Request>(text).is_err());
}

#[test]
fn every_name_is_a_type_that_is_read() {
    for name in Command::NAMES {
        let error = serde_json::from_str::<Request>(&format!(r#"{{"type":"{name}"}}"#)).err().map(|e| e.to_string());
        assert!(!error.unwrap_or_default().contains("unknown variant"), "{name}");
    }
}
