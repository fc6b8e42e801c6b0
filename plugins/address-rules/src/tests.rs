use super::*;
use crate::lockgate::policy::types::{Attr, Identity, Participant, Room};

const SETTINGS: &str = r#"{ "rules": [
    { "deny": ["203.0.113.0/24", "2001:db8:bad::/48"] },
    { "doors": ["admin", "whip"], "allow": ["10.0.0.0/8", "::1"] },
    { "rooms": ["board-*"], "allow": ["10.0.0.0/8"], "countries": ["CH", "DE"] }
] }"#;

fn connects(door: &str, peer: &str) -> bool {
    let asked = auth::Question {
        token: String::new(),
        accepted: None,
        door: door.into(),
        peer: peer.into(),
        now_ms: 0,
        extra: Vec::new(),
    };
    match Settings::read(SETTINGS).unwrap().connect(&asked) {
        auth::Outcome::Abstain => true,
        auth::Outcome::Deny(_) => false,
        auth::Outcome::Accept(identity) => panic!("it knows nobody: {identity:?}"),
    }
}

fn enters(settings: &str, room: &str, peer: &str, country: Option<&str>) -> String {
    let claim = country.map(|value| Attr { key: "country".into(), value: value.into() });
    let identity = Identity {
        subject: "ann".into(),
        username: "Ann".into(),
        claims: claim.into_iter().collect(),
        expires_at_ms: None,
        grant: common::no_limits!(),
    };
    let (door, peer) = ("ws".into(), peer.into());
    let who = Participant { identity, user_id: 1, publisher_id: None, door, peer, extra: Vec::new() };
    let room = Room { name: room.into(), participants: 0, publications: 0, recording: false, extra: Vec::new() };
    let asked = admission::Question { who, room, password: None, metadata: None, now_ms: 0, extra: Vec::new() };
    match Settings::read(settings).unwrap().admit(&asked) {
        Verdict::Allow(grant) => {
            assert_eq!(grant, common::no_limits!());
            "allow".into()
        }
        Verdict::Deny(denial) => denial.message,
        Verdict::Abstain => "abstain".into(),
    }
}

#[test]
fn who_connects_is_held_against_the_rules_of_their_door() {
    assert!(connects("ws", "198.51.100.1") && connects("ws", "2001:db8:1::1"));
    assert!(!connects("ws", "203.0.113.9") && !connects("ws", "2001:db8:bad::1"));
    assert!(connects("admin", "10.1.2.3") && connects("admin", "::ffff:10.1.2.3") && connects("whip", "::1"));
    assert!(!connects("admin", "198.51.100.1") && !connects("whip", "198.51.100.1"));
    assert!(!connects("ws", "a unix socket"), "what is no address is none that is not denied");
}

#[test]
fn who_enters_keeps_every_rule_of_the_door_and_the_room() {
    let enters = |room, peer, country| enters(SETTINGS, room, peer, country);
    assert_eq!(enters("hall", "198.51.100.1", None), "allow");
    assert!(enters("hall", "203.0.113.9", None).contains("address"));
    assert_eq!(enters("board-1", "10.0.0.1", Some("\"ch\"")), "allow");
    assert!(enters("board-1", "198.51.100.1", Some("\"CH\"")).contains("address"));
    assert_eq!(enters("board-1", "10.0.0.1", Some(r#"["ch", "DE"]"#)), "allow");
    for country in [None, Some("\"FR\""), Some(r#"["CH", "FR"]"#), Some("[]"), Some("true"), Some("\"\"")] {
        assert!(enters("board-1", "10.0.0.1", country).contains("country"), "{country:?}");
    }
}

#[test]
fn a_room_without_a_rule_is_others_business() {
    assert_eq!(enters(r#"{"rules": [{"rooms": ["a"], "allow": []}]}"#, "b", "::1", None), "abstain");
    assert!(enters(r#"{"rules": [{"rooms": ["a"], "allow": []}]}"#, "a", "::1", None).contains("address"));
}

#[test]
fn wrong_settings_are_told_with_their_place() {
    for (settings, part) in [
        ("{}", "write [[plugin.settings.rules]]"),
        (r#"{"rules": [{"rooms": ["a"]}]}"#, "rules[0]: it refuses nobody"),
        (r#"{"rules": [{"alow": ["::1"]}]}"#, "rules[0]: unknown field `alow`, expected one of"),
        (r#"{"rules": [{"allow": ["::1"]}, {"deny": ["1.2.3"]}]}"#, "rules[1].deny[0]: \"1.2.3\" is no network"),
        (r#"{"rules": [{"doors": ["back"], "deny": []}]}"#, "\"back\" is no door: they are ws"),
    ] {
        let wrong = Settings::read(settings).unwrap_err();
        assert!(wrong.contains(part), "{wrong}");
    }
}
