use super::*;
use crate::lockgate::policy::types::{Attr, Layer, Participant, Room};

fn question(claims: &[(&str, &str)], password: Option<&str>, participants: u32) -> admission::Question {
    let claims = claims.iter().map(|(key, value)| Attr { key: (*key).into(), value: (*value).into() });
    let identity = Identity {
        subject: "alice".into(),
        username: "Alice".into(),
        claims: claims.collect(),
        expires_at_ms: None,
        grant: common::no_limits!(),
    };
    let who = Participant {
        identity,
        user_id: 1,
        publisher_id: None,
        door: "ws".into(),
        peer: "::1".into(),
        extra: Vec::new(),
    };
    let room = Room { name: "board".into(), participants, publications: 0, recording: false, extra: Vec::new() };
    let password = password.map(Into::into);
    admission::Question { who, room, password, metadata: None, now_ms: 0, extra: Vec::new() }
}

fn code(settings: &str, asked: &admission::Question) -> String {
    match admit(&Settings::read(settings).unwrap(), asked) {
        Verdict::Allow(_) => "allow".into(),
        Verdict::Deny(denial) => denial.code,
        Verdict::Abstain => "abstain".into(),
    }
}

fn publishes(settings: &Settings, who: &Identity, source: &str) -> bool {
    let verdict = publish(&rules(settings, &roles(settings, who)), &who.grant, &track(source));
    matches!(verdict, Verdict::Allow(_))
}

fn track(source: &str) -> Track {
    Track {
        id: "t".into(),
        kind: MediaKind::Video,
        source: source.into(),
        codec: None,
        top_layer: Layer { spatial: 0, temporal: 0 },
        bitrate: None,
        extra: Vec::new(),
    }
}

#[test]
fn without_settings_everybody_enters() {
    assert_eq!(code("{}", &question(&[], None, 10_000)), "allow");
}

#[test]
fn a_full_room_takes_nobody() {
    let settings = r#"{"door": {"capacity": 2}}"#;
    assert_eq!(code(settings, &question(&[], None, 1)), "allow");
    assert_eq!(code(settings, &question(&[], None, 2)), "room-full");
}

#[test]
fn a_rooms_own_door_replaces_the_common_one() {
    let settings = r#"{"door": {"capacity": 1}, "rooms": {"board": {"capacity": 5}}}"#;
    assert_eq!(code(settings, &question(&[], None, 4)), "allow");
}

#[test]
fn a_password_is_needed_and_must_be_right() {
    let digest: String =
        <sha2::Sha256 as sha2::Digest>::digest("sesame").iter().map(|byte| format!("{byte:02X}")).collect();
    let settings = format!(r#"{{"door": {{"password_sha256": "{digest}"}}}}"#);
    assert_eq!(code(&settings, &question(&[], Some("sesame"), 0)), "allow");
    assert_eq!(code(&settings, &question(&[], Some("Sesame"), 0)), "forbidden");
    assert_eq!(code(&settings, &question(&[], None, 0)), "forbidden");
    assert!(Settings::read(r#"{"door": {"password_sha256": "sesame"}}"#).is_err());
}

#[test]
fn lists_of_subjects_and_roles_keep_others_out() {
    let host = [("role", "\"host\"")];
    assert_eq!(code(r#"{"door": {"subjects": ["alice"]}}"#, &question(&[], None, 0)), "allow");
    assert_eq!(code(r#"{"door": {"subjects": ["bob"]}}"#, &question(&[], None, 0)), "forbidden");
    assert_eq!(code(r#"{"door": {"roles": ["host"]}}"#, &question(&host, None, 0)), "allow");
    assert_eq!(code(r#"{"door": {"roles": ["host"]}}"#, &question(&[], None, 0)), "forbidden");
    assert_eq!(code(r#"{"door": {"roles": ["guest"]}}"#, &question(&[], None, 0)), "allow");
}

#[test]
fn a_role_limits_what_is_published_and_recorded() {
    let settings = Settings::read(r#"{"roles": {"guest": {"publish": ["camera"], "record": false}}}"#).unwrap();
    let asked = question(&[], None, 0);
    let Verdict::Allow(grant) = admit(&settings, &asked) else { panic!("not admitted") };
    assert_eq!((grant.can_publish, grant.can_record), (None, Some(false)));
    assert!(publishes(&settings, &asked.who.identity, "camera"));
    assert!(!publishes(&settings, &asked.who.identity, "screen"));
    let host = question(&[("role", "\"host\"")], None, 0).who.identity;
    assert!(publishes(&settings, &host, "screen"));
}

#[test]
fn a_list_of_roles_escapes_the_rules_of_none_of_them() {
    let settings = r#"{"door": {"roles": ["student", "host"]}, "roles": {
        "student": {"publish": ["camera", "microphone"], "record": false, "last_n": 4},
        "mobile": {"publish": ["camera"], "last_n": 2, "top_n": 3}, "guest": {"publish": []}, "host": {} } }"#;
    let asked = |roles| question(&[("role", roles)], None, 0);
    let both = asked(r#"["student", "mobile", "staff"]"#);
    let settings = Settings::read(settings).unwrap();
    let Verdict::Allow(grant) = admit(&settings, &both) else { panic!("any role on the list lets them in") };
    let attributes: Vec<_> = grant.attributes.iter().map(|attr| (attr.key.as_str(), attr.value.as_str())).collect();
    assert_eq!(attributes, [("last-n", "2"), ("top-n", "3"), ("role", r#"["student","mobile","staff"]"#)]);
    assert_eq!((grant.can_publish, grant.can_record), (None, Some(false)));
    let may = |roles, source| publishes(&settings, &asked(roles).who.identity, source);
    assert_eq!([may(r#"["student"]"#, "microphone"), may(r#"["student"]"#, "screen")], [true, false]);
    assert_eq!(
        [may(r#"["student", "mobile"]"#, "camera"), may(r#"["student", "mobile"]"#, "microphone")],
        [true, false]
    );
    assert!(may(r#"["host", "staff"]"#, "screen") && !may("[]", "camera") && !may("true", "camera"));
    assert!(matches!(admit(&settings, &asked(r#"["mobile"]"#)), Verdict::Deny(_)));
}

#[test]
fn a_role_without_rules_publishes_what_its_token_allows() {
    let settings = Settings::default();
    let mut identity = question(&[], None, 0).who.identity;
    assert!(publishes(&settings, &identity, "screen"));
    identity.grant.can_publish = Some(false);
    assert!(!publishes(&settings, &identity, "screen"));
}

#[test]
fn recording_needs_leave_unless_the_operator_wants_it() {
    let may = |can_record| matches!(record(Some(&Grant { can_record, ..common::no_limits!() })), Verdict::Allow(_));
    assert_eq!([may(None), may(Some(false)), may(Some(true))], [false, false, true]);
    assert!(matches!(record(None), Verdict::Allow(_)));
}

#[test]
fn a_role_is_left_so_many_places() {
    let settings = Settings::read(r#"{"roles": {"guest": {"last_n": 4, "top_n": 3}}}"#).unwrap();
    let Verdict::Allow(grant) = admit(&settings, &question(&[], None, 0)) else { panic!("not admitted") };
    let attributes: Vec<_> = grant.attributes.iter().map(|attr| (attr.key.as_str(), attr.value.as_str())).collect();
    assert_eq!(attributes, [("last-n", "4"), ("top-n", "3"), ("role", "guest")]);
}
