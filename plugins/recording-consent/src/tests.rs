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

fn room(name: &str) -> Room {
    Room { name: name.into(), participants: 2, publications: 2, recording: true, extra: Vec::new() }
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
    recorded_in("board", settings, memory, publishers)
}

fn recorded_in(name: &str, settings: &str, memory: &Map, publishers: Vec<Participant>) -> Vec<bool> {
    let room = room(name);
    let publications = (0..=publishers.len()).map(|one| publication(u32::try_from(one).unwrap(), "camera")).collect();
    let (why, extra) = ("request".into(), Vec::new());
    let asked = recording::Question { who: None, room, publishers, publications, why, now_ms: 0, extra };
    let verdicts = Settings::read(settings).unwrap().decide(memory, &asked);
    verdicts.iter().map(|verdict| matches!(verdict, Verdict::Allow(_))).collect()
}

fn says(memory: &Map, subject: &str, name: &str) -> Outcome {
    says_in("board", "{}", memory, somebody(subject, None), name, 1)
}

fn says_in(room_name: &str, settings: &str, memory: &Map, who: Participant, name: &str, now_ms: u64) -> Outcome {
    let (room, name, payload) = (room(room_name), name.into(), String::new());
    let asked = command::Question { who, room, name, target: None, payload, now_ms, extra: Vec::new() };
    Settings::read(settings).unwrap().handle(memory, &asked)
}

fn reply(outcome: Outcome) -> String {
    let Outcome::Done(done) = outcome else { panic!("refused: {outcome:?}") };
    done.reply
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
    let consents = says_in("board", "{}", &memory, somebody("bob", None), "consent", 2);
    assert_eq!(reply(consents), "{\"recordable\": true}");
    assert_eq!(recorded("{}", &memory, people()), [true, true, false]);
}

#[test]
fn the_later_word_counts_and_of_two_at_once_the_no() {
    let memory = Map::default();
    let ann = || somebody("ann", None);
    let says_at = |now_ms: u64, name: &str| {
        says_in("board", "{}", &memory, ann(), name, now_ms);
        recorded("{}", &memory, vec![ann()])[0]
    };
    assert!(says_at(10, "consent"));
    assert!(!says_at(10, "withdraw") && !says_at(10, "consent"));
    assert!(says_at(11, "consent"));
    // The clock was set back.
    assert!(!says_at(5, "withdraw") && !says_at(6, "consent"));
    // A page of the ledger that was read before the withdrawal, and is written after it.
    assert!(says_at(12, "consent"));
    let page = memory.borrow().iter().find(|(key, _)| key.starts_with("yes/")).map(|(k, v)| (k.clone(), v.clone()));
    assert!(!says_at(13, "withdraw"));
    memory.borrow_mut().extend(page);
    assert!(!recorded("{}", &memory, vec![ann()])[0]);
}

#[test]
fn an_answer_is_about_its_room_and_holds_for_all_tokens_of_its_author() {
    let memory = Map::default();
    let yes = r#"{"silence": "yes"}"#;
    says(&memory, "ann", "consent");
    assert!(!recorded_in("hall", "{}", &memory, vec![somebody("ann", None)])[0]);
    assert_eq!(reply(says_in("board", "{}", &memory, somebody("bob", None), "withdraw", 1)), "{\"recordable\": false}");
    assert!(!recorded("{}", &memory, vec![somebody("bob", Some(true))])[0], "with another token");
    let elsewhere = (0..100).filter(|n| recorded_in(&format!("r{n}"), yes, &memory, vec![somebody("bob", None)])[0]);
    assert!(elsewhere.count() > 80, "few rooms share a no");
    let shares = (0..1000)
        .map(|n| format!("r{n}"))
        .find(|room| !recorded_in(room, yes, &memory, vec![somebody("bob", None)])[0]);
    let shares = shares.unwrap();
    assert_eq!(reply(says_in(&shares, yes, &memory, somebody("bob", None), "consent", 2)), "{\"recordable\": true}");
    assert!(recorded_in(&shares, yes, &memory, vec![somebody("bob", None)])[0]);
    assert!(!recorded(yes, &memory, vec![somebody("bob", None)])[0], "a yes there is none here");
}

#[test]
fn one_participant_does_not_keep_others_from_withdrawing() {
    let memory = Map::default();
    for n in 0..2000 {
        let room = format!("r{n}");
        for name in ["consent", "withdraw", "consent"] {
            assert!(matches!(says_in(&room, "{}", &memory, somebody("eve", None), name, n), Outcome::Done(_)), "{n}");
        }
    }
    assert!(memory.borrow().len() <= 17, "{}", memory.borrow().len());
    let yes = r#"{"silence": "yes"}"#;
    let withdraws = says_in("board", yes, &memory, somebody("ann", None), "withdraw", 1);
    assert_eq!(reply(withdraws), "{\"recordable\": false}");
    assert!(!recorded(yes, &memory, vec![somebody("ann", None)])[0]);
}

#[test]
fn thousands_agree_and_an_answer_that_holds_anyway_takes_no_room() {
    let memory = Map::default();
    for n in 0..3000 {
        says(&memory, &format!("p{n}"), "consent");
        says_in("board", "{}", &memory, somebody(&format!("q{n}"), Some(true)), "consent", 1);
    }
    let people = (2000..3000).map(|n| somebody(&format!("p{n}"), None)).collect();
    assert_eq!(recorded("{}", &memory, people).iter().filter(|may| **may).count(), 1000);
    let marks: usize = memory.borrow().values().map(|page| page.len() / 25).sum();
    assert!(marks <= 3000, "{marks}");
}

#[test]
fn what_is_recorded_is_asked_about_again_soon() {
    let memory = Map::default();
    says(&memory, "ann", "consent");
    let (who, why, extra) = (None, "auto".into(), Vec::new());
    let (publishers, publications) = (vec![somebody("ann", None)], vec![publication(0, "camera")]);
    let asked = recording::Question { who, room: room("board"), publishers, publications, why, now_ms: 0, extra };
    let [Verdict::Allow(grant)] = &Settings::default().decide(&memory, &asked)[..] else { panic!("denied") };
    assert_eq!(grant.reask_after_ms, Some(2000));
}

/// As many keys of others as there is room for.
fn fill(memory: &Map) {
    let room = 1024 - memory.borrow().len();
    memory.borrow_mut().extend((0..room).map(|n| (n.to_string(), Vec::new())));
}

#[test]
fn a_withdrawal_that_finds_no_room_takes_back_the_yes() {
    let memory = Map::default();
    says(&memory, "ann", "consent");
    says_in("hall", "{}", &memory, somebody("ann", None), "consent", 1);
    fill(&memory);
    let Outcome::Done(done) = says(&memory, "ann", "withdraw") else { panic!("refused") };
    assert_eq!(done.reply, r#"{"recordable": false}"#);
    assert_eq!((done.effects[0].name.as_str(), done.effects[0].subject.as_deref()), ("re-ask", Some("ann")));
    assert!(!recorded("{}", &memory, vec![somebody("ann", None)])[0], "when they come back, too");
    assert!(recorded_in("hall", "{}", &memory, vec![somebody("ann", None)])[0], "what they said elsewhere holds");
}

#[test]
fn a_withdrawal_that_cannot_be_kept_ends_the_stay_and_an_agreement_is_not_promised() {
    let memory = Map::default();
    fill(&memory);
    let yes = r#"{"silence": "yes"}"#;
    for (settings, who) in [("{}", somebody("ann", Some(true))), (yes, somebody("ann", None))] {
        let outcome = says_in("board", settings, &memory, who, "withdraw", 1);
        let Outcome::Done(done) = outcome else { panic!("refused") };
        assert_eq!(done.reply, r#"{"recordable": false, "kept": false}"#);
        assert_eq!((done.effects[0].name.as_str(), done.effects[0].subject.as_deref()), ("revoke", Some("ann")));
    }
    let Outcome::Deny(denial) = says(&memory, "ann", "consent") else { panic!("promised") };
    assert_eq!(denial.code, "memory-full");
}

#[test]
fn other_commands_rooms_and_sources_are_others_business() {
    assert_eq!(says(&Map::default(), "ann", "kick"), Outcome::Abstain);
    let elsewhere = Settings::read(r#"{"rooms": ["lab-*"]}"#).unwrap();
    let publications = vec![publication(0, "camera")];
    let (publishers, why, extra) = (Vec::new(), "auto".into(), Vec::new());
    let asked = recording::Question { who: None, room: room("board"), publishers, publications, why, now_ms: 0, extra };
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
