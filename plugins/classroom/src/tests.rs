use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::lockgate::policy::types::{Attr, Layer, MediaKind, Participant, Publication, Room, Track};

type Map = RefCell<BTreeMap<String, Vec<u8>>>;

fn somebody(subject: &str, role: &str) -> Participant {
    let identity = Identity {
        subject: subject.into(),
        username: subject.into(),
        claims: vec![Attr { key: "role".into(), value: format!("{role:?}") }],
        expires_at_ms: None,
        grant: common::no_limits!(),
    };
    let (door, peer) = ("ws".into(), "::1".into());
    Participant { identity, user_id: 1, publisher_id: None, door, peer, extra: Vec::new() }
}

fn room(name: &str) -> Room {
    Room { name: name.into(), participants: 3, publications: 3, recording: false, extra: Vec::new() }
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

fn allowed(verdicts: Vec<Verdict>) -> Vec<bool> {
    verdicts.iter().map(|verdict| matches!(verdict, Verdict::Allow(_))).collect()
}

/// Whether somebody sees the teacher, the student Ben, and a publisher that the question does not have.
fn sees(memory: &Map, who: Participant) -> Vec<bool> {
    let publishers = vec![somebody("tess", "teacher"), somebody("ben", "student")];
    let publications = (0..3).map(|publisher| Publication { publisher, track: track("camera") }).collect();
    let (why, extra) = ("announce".into(), Vec::new());
    let asked = subscription::Question { who, room: room("class"), publishers, publications, why, now_ms: 0, extra };
    allowed(Settings::default().subscribe(memory, &asked))
}

/// Whether somebody may publish a camera, and a screen.
fn publishes(memory: &Map, who: Participant) -> Vec<bool> {
    let (tracks, why, extra) = (vec![track("camera"), track("screen")], "request".into(), Vec::new());
    let asked = publishing::Question { who, room: room("class"), tracks, why, now_ms: 0, extra };
    allowed(Settings::default().publish(memory, &asked))
}

/// What comes of a command: the reply or the code, and the effects with their subjects and payloads.
fn commanded(memory: &Map, who: Participant, name: &str, payload: &str) -> (String, Vec<String>) {
    commanded_in("class", memory, who, name, payload)
}

fn commanded_in(class: &str, memory: &Map, who: Participant, name: &str, payload: &str) -> (String, Vec<String>) {
    let (room, name, payload) = (room(class), name.into(), payload.into());
    let asked = command::Question { who, room, name, target: None, payload, now_ms: 7, extra: Vec::new() };
    match Settings::default().handle(memory, &asked) {
        Outcome::Done(done) => {
            let effect = |one: Effect| format!("{} {} {}", one.name, one.subject.unwrap_or_default(), one.payload);
            (done.reply, done.effects.into_iter().map(effect).collect())
        }
        Outcome::Deny(denial) => (denial.code, Vec::new()),
        Outcome::Abstain => ("abstain".into(), Vec::new()),
    }
}

fn teacher() -> Participant {
    somebody("tess", "teacher")
}

fn student() -> Participant {
    somebody("ann", "student")
}

#[test]
fn students_see_only_the_teacher_and_teachers_see_all() {
    let memory = Map::default();
    assert_eq!(sees(&memory, student()), [true, false, false]);
    assert_eq!(sees(&memory, teacher()), [true, true, false]);
    assert_eq!(sees(&memory, somebody("eve", "Teacher")), [true, false, false], "another word");
}

#[test]
fn who_is_at_the_board_is_seen_by_all_and_shows_a_screen_until_dismissed() {
    let memory = Map::default();
    let ben = || somebody("ben", "student");
    assert_eq!(publishes(&memory, ben()), [true, false]);
    let (_, effects) = commanded(&memory, teacher(), "board-call", "ben");
    assert_eq!(effects, ["re-ask ben ", "notify ben {\"board\":\"called\"}"]);
    assert_eq!(sees(&memory, student()), [true, true, false]);
    assert_eq!((publishes(&memory, ben()), publishes(&memory, student())), (vec![true, true], vec![true, false]));
    commanded(&memory, teacher(), "board-dismiss", "ben");
    assert_eq!((sees(&memory, student()), publishes(&memory, ben())), (vec![true, false, false], vec![true, false]));
}

#[test]
fn a_raised_hand_is_told_to_teachers_who_asked_and_to_no_student() {
    let memory = Map::default();
    assert_eq!(commanded(&memory, student(), "hand-raise", "").1, [""; 0], "nobody has asked yet");
    let (hands, _) = commanded(&memory, teacher(), "hands", "");
    assert_eq!(hands, r#"{"people":[{"subject":"ann","username":"ann","sinceMs":7}],"more":0}"#);
    let (_, effects) = commanded(&memory, somebody("ben", "student"), "hand-raise", "");
    assert_eq!(effects, [r#"notify tess {"hand":"raised","subject":"ben","username":"ben"}"#]);
    assert!(commanded(&memory, somebody("ben", "student"), "hand-raise", "").1.is_empty(), "it is up already");
    let (_, effects) = commanded(&memory, student(), "hand-lower", "ben");
    assert_eq!(effects, [r#"notify tess {"hand":"lowered","subject":"ann"}"#], "each only their own");
    commanded(&memory, teacher(), "board-call", "ben");
    assert_eq!(commanded(&memory, teacher(), "hands", "").0, r#"{"people":[],"more":0}"#);
}

#[test]
fn one_student_or_teacher_does_not_fill_the_classes_of_a_node() {
    let memory = Map::default();
    for class in (0..1100).map(|n| format!("c{n}")) {
        assert_eq!(commanded_in(&class, &memory, somebody("eve", "student"), "hand-raise", "").0, "", "{class}");
        assert_eq!(commanded_in(&class, &memory, somebody("mal", "teacher"), "board-call", "eve").0, "", "{class}");
        commanded_in(&class, &memory, somebody("mal", "teacher"), "hands", "");
        assert_eq!(commanded_in("mals", &memory, somebody("mal", "teacher"), "board-call", &class).0, "", "{class}");
    }
    let (hands, _) = commanded(&memory, teacher(), "hands", "");
    assert_eq!(hands, r#"{"people":[],"more":0}"#);
    assert_eq!(commanded(&memory, student(), "hand-raise", "").1.len(), 1, "the teacher is told");
    commanded(&memory, teacher(), "board-call", "ben");
    assert_eq!(sees(&memory, student()), [true, true, false]);
}

#[test]
fn only_teachers_call_mute_and_put_out() {
    let memory = Map::default();
    for name in ["hands", "board-call", "board-dismiss"] {
        assert_eq!(commanded(&memory, student(), name, "ann").0, "forbidden", "{name}");
    }
    for name in ["mute", "kick"] {
        assert_eq!(commanded(&memory, student(), name, "").0, "abstain", "{name}");
        assert_eq!(commanded(&memory, teacher(), name, "").0, "", "{name}");
    }
    assert_eq!(commanded(&memory, teacher(), "board-call", "").0, "not-found");
    assert_eq!(commanded(&memory, teacher(), "lobby-list", "").0, "abstain");
}

#[test]
fn wrong_settings_are_told_with_what_to_write() {
    assert!(Settings::read(r#"{"teacher": []}"#).unwrap_err().contains("unknown field `teacher`, expected one of"));
    assert!(Settings::read(r#"{"lesson_s": 0}"#).unwrap_err().contains("from 1"));
}
