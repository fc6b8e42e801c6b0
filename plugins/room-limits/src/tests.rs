use super::*;
use crate::lockgate::policy::types::{Attr, Identity, Participant, Room};

const THURSDAY_NOON: u64 = 1_767_268_800_000;
const LAB: &str = r#"{
    "exempt": ["host"],
    "rules": [{ "rooms": ["lab-*"], "most": 2, "open": ["thu 08:00-18:00"] }, { "rooms": ["*"], "most": 1 }]
}"#;

fn asked(room: &str, participants: u32, role: &str, now_ms: u64) -> Verdict {
    let identity = Identity {
        subject: "ann".into(),
        username: "Ann".into(),
        claims: vec![Attr { key: "role".into(), value: format!("{role:?}") }],
        expires_at_ms: None,
        grant: common::no_limits!(),
    };
    let (door, peer) = ("ws".into(), "::1".into());
    let who = Participant { identity, user_id: 1, publisher_id: None, door, peer, extra: Vec::new() };
    let room = Room { name: room.into(), participants, publications: 0, recording: false, extra: Vec::new() };
    let question = admission::Question { who, room, password: None, metadata: None, now_ms, extra: Vec::new() };
    Settings::read(LAB).unwrap().admit(&question)
}

#[test]
fn a_stay_ends_when_the_room_closes() {
    let Verdict::Allow(grant) = asked("lab-1", 1, "guest", THURSDAY_NOON) else { panic!("denied") };
    assert_eq!(grant.expires_at_ms, Some(THURSDAY_NOON + 6 * 3_600_000));
}

#[test]
fn a_closed_room_says_when_it_opens_and_a_full_one_when_to_ask() {
    let Verdict::Deny(closed) = asked("lab-1", 0, "guest", THURSDAY_NOON + 6 * 3_600_000) else { panic!("open") };
    assert_eq!((closed.code.as_str(), closed.retry_after_ms), ("closed", Some((7 * 24 - 10) * 3_600_000)));
    let Verdict::Deny(full) = asked("lab-1", 2, "guest", THURSDAY_NOON) else { panic!("not full") };
    assert_eq!((full.code.as_str(), full.retry_after_ms), ("room-full", Some(30_000)));
}

#[test]
fn the_first_rule_that_fits_counts_and_some_are_exempt() {
    assert_eq!(asked("hall", 0, "guest", 0), Verdict::Allow(common::no_limits!()));
    assert!(matches!(asked("hall", 1, "guest", 0), Verdict::Deny(_)));
    assert_eq!(asked("lab-1", 9, "host", 0), Verdict::Allow(common::no_limits!()));
}

#[test]
fn wrong_settings_are_told_with_their_place() {
    for (settings, part) in [
        ("{}", "[[plugin.settings.rules]]"),
        (r#"{"rules": [{"rooms": ["a"]}]}"#, "rules[0]: it bounds nothing"),
        (r#"{"rules": [{"rooms": ["a"], "most": 1, "opn": []}]}"#, "rules[0]: unknown field `opn`"),
        (r#"{"rules": [{"rooms": ["a"], "open": ["noon"]}]}"#, "rules[0].open[0]: \"noon\" is no time"),
        (r#"{"utc_offset": "1h", "rules": []}"#, "utc_offset: \"1h\""),
    ] {
        let wrong = Settings::read(settings).unwrap_err();
        assert!(wrong.contains(part), "{wrong}");
    }
}
