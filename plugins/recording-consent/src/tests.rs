use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::lockgate::policy::types::{Attr, Layer, MediaKind, Participant, Publication, Room, Track};

type Map = RefCell<BTreeMap<String, Vec<u8>>>;

fn somebody(subject: &str, consent: Option<bool>) -> Participant {
    let claim = |consent: bool| Attr { key: "recordingConsent".into(), value: consent.to_string() };
    let identity = Identity {
        subject: subject.into(),
        username: subject.into(),
        claims: consent.map(claim).into_iter().collect(),
        expires_at_ms: None,
        grant: common::no_limits!(),
    };
    let (door, peer) = ("ws".into(), "::1".into());
    Participant { identity, user_id: 1, publisher_id: None, door, peer, extra: Vec::new() }
}

fn room() -> Room {
    Room { name: "board".into(), participants: 2, publications: 2, recording: true, extra: Vec::new() }
}

fn publication(publisher: u32, source: &str) -> Publication {
    let track = Track {
        id: "t".into(),
        kind: MediaKind::Video,
        source: source.into(),
        codec: None,
        top_layer: Layer { spatial: 0, temporal: 0 },
        bitrate: None,
        extra: Vec::new(),
    };
    Publication { publisher, track }
}

/// Whether the camera of each may be recorded, and some track of nobody.
fn recorded(settings: &str, memory: &Map, publishers: Vec<Participant>) -> Vec<bool> {
    let publications = (0..=publishers.len()).map(|one| publication(u32::try_from(one).unwrap(), "camera")).collect();
    let (why, extra) = ("request".into(), Vec::new());
    let asked = recording::Question { who: None, room: room(), publishers, publications, why, now_ms: 0, extra };
    let verdicts = Settings::read(settings).unwrap().decide(memory, &asked);
    verdicts.iter().map(|verdict| matches!(verdict, Verdict::Allow(_))).collect()
}

fn says(memory: &Map, subject: &str, name: &str) -> Outcome {
    let (who, name, payload) = (somebody(subject, None), name.into(), String::new());
    let asked = command::Question { who, room: room(), name, target: None, payload, now_ms: 0, extra: Vec::new() };
    Settings::default().handle(memory, &asked)
}

#[test]
fn silence_is_no_unless_the_operator_says_otherwise() {
    let people = || vec![somebody("ann", None), somebody("bob", Some(true)), somebody("eve", Some(false))];
    assert_eq!(recorded("{}", &Map::default(), people()), [false, true, false, false]);
    assert_eq!(recorded(r#"{"silence": "yes"}"#, &Map::default(), people()), [true, true, false, false]);
}

#[test]
fn who_withdraws_is_not_recorded_whatever_the_token_says() {
    let memory = Map::default();
    let Outcome::Done(done) = says(&memory, "bob", "withdraw") else { panic!("refused") };
    assert_eq!(done.reply, "{\"recordable\": false}");
    assert_eq!((done.effects[0].name.as_str(), done.effects[0].subject.as_deref()), ("re-ask", Some("bob")));
    let people = || vec![somebody("ann", Some(true)), somebody("bob", Some(true))];
    assert_eq!(recorded("{}", &memory, people()), [true, false, false]);
    assert_eq!(recorded(r#"{"silence": "yes"}"#, &memory, people()), [true, false, false]);
    says(&memory, "bob", "consent");
    assert_eq!(recorded("{}", &memory, people()), [true, true, false]);
}

#[test]
fn what_is_recorded_is_asked_about_again_soon() {
    let memory = Map::default();
    says(&memory, "ann", "consent");
    let (who, why, extra) = (None, "auto".into(), Vec::new());
    let (publishers, publications) = (vec![somebody("ann", None)], vec![publication(0, "camera")]);
    let asked = recording::Question { who, room: room(), publishers, publications, why, now_ms: 0, extra };
    let [Verdict::Allow(grant)] = &Settings::default().decide(&memory, &asked)[..] else { panic!("denied") };
    assert_eq!(grant.reask_after_ms, Some(2000));
}

#[test]
fn an_answer_that_cannot_be_kept_is_not_promised() {
    let memory = Map::default();
    memory.borrow_mut().extend((0..100).map(|n| (n.to_string(), Vec::new())));
    let Outcome::Deny(denial) = says(&memory, "ann", "withdraw") else { panic!("promised") };
    assert_eq!(denial.code, "memory-full");
}

#[test]
fn other_commands_rooms_and_sources_are_others_business() {
    assert_eq!(says(&Map::default(), "ann", "kick"), Outcome::Abstain);
    let elsewhere = Settings::read(r#"{"rooms": ["lab-*"]}"#).unwrap();
    let publications = vec![publication(0, "camera")];
    let (publishers, why, extra) = (Vec::new(), "auto".into(), Vec::new());
    let asked = recording::Question { who: None, room: room(), publishers, publications, why, now_ms: 0, extra };
    assert_eq!(elsewhere.decide(&Map::default(), &asked), [Verdict::Abstain]);
    let voices = r#"{"sources": ["microphone"]}"#;
    assert_eq!(recorded(voices, &Map::default(), vec![somebody("ann", None)]), [true, true]);
}

#[test]
fn wrong_settings_are_told_with_what_to_write() {
    for (settings, part) in [
        (r#"{"silence": "maybe"}"#, "unknown variant `maybe`, expected `no` or `yes`"),
        (r#"{"remember_s": 0}"#, "1 to 4294967"),
        (r#"{"recheck_ms": 10}"#, "write 250 or more"),
    ] {
        let wrong = Settings::read(settings).unwrap_err();
        assert!(wrong.contains(part), "{wrong}");
    }
}
