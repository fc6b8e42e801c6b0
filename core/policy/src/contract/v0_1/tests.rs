use proptest::prelude::*;

use super::super::MAX_MESSAGE;
use super::*;

fn no_limits() -> types::Grant {
    grant(&model::Grant::default())
}

fn attr(key: &str, value: &str) -> types::Attr {
    types::Attr { key: key.into(), value: value.into() }
}

#[test]
fn attributes_carry_the_name_of_their_plugin() {
    let answer = types::Grant { attributes: vec![attr("role", "host")], ..no_limits() };
    let model::Verdict::Allow(grant) = read_verdict("door", types::Verdict::Allow(answer)).unwrap() else {
        panic!("not allowed")
    };
    assert_eq!(grant.attributes, [model::Attribute { key: "door.role".into(), value: "host".into() }]);
}

#[test]
fn a_set_of_unknown_words_allows_nothing_rather_than_everything() {
    let answer = types::Grant { sources: Some(vec!["telescope".into()]), ..no_limits() };
    let grant = read_grant("p", answer).unwrap();
    assert!(!grant.allows_subscribing(MediaKind::Video, Source::Camera));
    assert_eq!(grant.sources.unwrap().len(), 0);
}

#[test]
fn a_grant_for_data_alone_is_for_data_alone() {
    let (kinds, sources) = (Some(vec![types::MediaKind::Data]), Some(vec!["data".into()]));
    let grant = read_grant("p", types::Grant { kinds, sources, ..no_limits() }).unwrap();
    assert!(grant.allows_publishing(MediaKind::Data, Source::Data));
    assert!(!grant.allows_publishing(MediaKind::Video, Source::Camera));
}

#[test]
fn answers_beyond_the_bounds_of_the_contract_are_failures() {
    let too_many = types::Grant { attributes: vec![attr("k", "v"); MAX_ATTRIBUTES + 1], ..no_limits() };
    let too_long = types::Grant { attributes: vec![attr("k", &"v".repeat(MAX_VALUE + 1))], ..no_limits() };
    let rooms = types::Grant { rooms: Some(vec!["r".into(); MAX_ROOMS + 1]), ..no_limits() };
    let places = types::Grant { attributes: vec![attr("last-n", "a few")], ..no_limits() };
    for answer in [too_many, too_long, rooms, places] {
        assert_eq!(read_grant("p", answer), Err(Failure::BadAnswer));
    }
    let identity = |subject: usize, claims: usize| types::Identity {
        subject: "s".repeat(subject),
        username: String::new(),
        claims: vec![attr("k", &"v".repeat(4000)); claims],
        expires_at_ms: None,
        grant: no_limits(),
    };
    assert!(read_identity("p", identity(MAX_SUBJECT, 4)).is_ok());
    for (subject, claims) in [(MAX_SUBJECT + 1, 0), (1, 5)] {
        assert!(matches!(read_identity("p", identity(subject, claims)), Err(Failure::BadAnswer)));
    }
}

#[test]
fn effects_that_nobody_knows_are_named_and_skipped() {
    let effect = |name: &str| command::Effect { name: name.into(), subject: None, payload: "p".into() };
    let response = command::Response { reply: "ok".into(), effects: vec![effect("notify"), effect("fly")] };
    let (reply, effects, unknown) = read_response(response).unwrap();
    assert_eq!(reply, "ok");
    assert_eq!(effects, [CommandEffect::Notify { subject: None, payload: "p".into() }]);
    assert_eq!(unknown, ["fly"]);
}

#[test]
fn a_publisher_of_many_tracks_is_told_once() {
    let somebody = |subject: &str| model::Participant {
        identity: model::Identity {
            subject: subject.into(),
            user_id: lockgate_model::UserId(1),
            username: subject.into(),
            claims: Vec::new(),
            expires_at_ms: None,
            grant: model::Grant::default(),
        },
        publisher_id: None,
        door: model::Door::Ws,
        peer: "::1".parse().unwrap(),
    };
    let publication = |subject: &str| model::Publication {
        publisher: somebody(subject),
        track: model::TrackFacts {
            id: lockgate_model::TrackId::new("t").unwrap(),
            kind: MediaKind::Audio,
            source: Source::Microphone,
            codec: None,
            top_layer: lockgate_model::Layer { spatial: 0, temporal: 0 },
            bitrate: None,
        },
    };
    let batch = Batch::new(&[publication("a"), publication("b"), publication("a")]);
    assert_eq!(batch.publishers.len(), 2);
    assert_eq!(batch.publications.iter().map(|one| one.publisher).collect::<Vec<_>>(), [0, 1, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_denials_words_are_short_and_cannot_move_a_cursor(code in any::<String>(), message in ".{0,400}") {
        let denial = read_denial(types::Denial { code, message, retry_after_ms: None });
        prop_assert!(denial.message.len() <= MAX_MESSAGE);
        prop_assert!(!denial.message.chars().any(char::is_control));
        prop_assert!(denial.code.as_str().len() <= 64);
    }
}
