use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::*;
use crate::exports::lockgate::policy::command::Effect;
use crate::lockgate::policy::types::{Attr, Participant, Room};

type Map = RefCell<BTreeMap<String, Vec<u8>>>;

/// A memory that counts how often it is asked.
#[derive(Default)]
struct Counted {
    map: Map,
    calls: Cell<u32>,
}

impl Memory for Counted {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.calls.set(self.calls.get() + 1);
        self.map.get(key)
    }

    fn put(&self, key: &str, value: &[u8], ttl_ms: u32) -> bool {
        self.calls.set(self.calls.get() + 1);
        self.map.put(key, value, ttl_ms)
    }

    fn delete(&self, key: &str) {
        self.calls.set(self.calls.get() + 1);
        self.map.delete(key);
    }
}

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
    Room { name: name.into(), participants: 1, publications: 0, recording: false, extra: Vec::new() }
}

/// The code with which somebody is answered at the door of the board.
fn admitted(settings: &str, memory: &Map, subject: &str, role: &str, why: &str, now_ms: u64) -> String {
    admitted_to("board", settings, memory, subject, role, why, now_ms)
}

fn admitted_to(name: &str, settings: &str, memory: &Map, subject: &str, role: &str, why: &str, now_ms: u64) -> String {
    let room = room(name);
    let extra = vec![Attr { key: "why".into(), value: why.into() }];
    let who = somebody(subject, role);
    let asked = admission::Question { who, room, password: None, metadata: None, now_ms, extra };
    match Settings::read(settings).unwrap().admit(memory, &asked) {
        Verdict::Allow(_) => "allow".into(),
        Verdict::Deny(denial) => denial.code,
        Verdict::Abstain => "abstain".into(),
    }
}

fn enters(memory: &Map, subject: &str) -> String {
    admitted("{}", memory, subject, "guest", "request", 0)
}

/// What comes of a command: the reply or the code, and the effects with their subjects.
fn commanded(memory: &impl Memory, role: &str, name: &str, payload: &str) -> (String, Vec<String>) {
    let (name, payload) = (name.into(), payload.into());
    let who = somebody("mod", role);
    let asked =
        command::Question { who, room: room("board"), name, target: None, payload, now_ms: 0, extra: Vec::new() };
    match Settings::default().handle(memory, &asked) {
        Outcome::Done(done) => {
            let effect = |one: Effect| format!("{} {}", one.name, one.subject.unwrap_or_default());
            (done.reply, done.effects.into_iter().map(effect).collect())
        }
        Outcome::Deny(denial) => (denial.code, Vec::new()),
        Outcome::Abstain => ("abstain".into(), Vec::new()),
    }
}

#[test]
fn guests_wait_and_moderators_do_not() {
    let memory = Map::default();
    assert_eq!(enters(&memory, "ann"), "waiting");
    assert_eq!(admitted("{}", &memory, "bob", "host", "request", 0), "allow");
    assert_eq!(admitted(r#"{"rooms": ["lab-*"]}"#, &memory, "bob", "guest", "request", 0), "abstain");
}

#[test]
fn a_moderator_sees_who_waits_and_lets_them_in() {
    let memory = Map::default();
    enters(&memory, "ann");
    let (list, effects) = commanded(&memory, "host", "lobby-list", "");
    assert!(list.contains("\"subject\":\"ann\"") && effects.is_empty(), "{list}");
    let (left, effects) = commanded(&memory, "host", "lobby-admit", "ann");
    assert_eq!((left.as_str(), effects), (r#"{"people":[],"more":0}"#, vec!["admit ann".into(), "re-ask ann".into()]));
    assert_eq!(enters(&memory, "ann"), "allow", "and again");
    assert_eq!(enters(&memory, "bob"), "waiting");
}

#[test]
fn without_a_name_those_come_in_who_have_waited_longest() {
    let memory = Counted::default();
    for n in 0..20_u64 {
        admitted("{}", &memory.map, &format!("p{n}"), "guest", "request", 100 - n);
    }
    let (left, effects) = commanded(&memory, "host", "lobby-admit", "");
    assert_eq!((effects.len(), effects[0].as_str()), (32, "admit p19"));
    assert_eq!(left.matches("subject").count(), 4);
    assert!(memory.calls.get() < 500, "a question may do 1000 calls: {}", memory.calls.get());
}

#[test]
fn who_is_turned_away_does_not_come_back_and_may_be_forgiven() {
    let memory = Map::default();
    enters(&memory, "eve");
    assert_eq!(commanded(&memory, "host", "lobby-refuse", "eve").1, ["revoke eve"]);
    assert_eq!(enters(&memory, "eve"), "forbidden");
    assert_eq!(admitted("{}", &memory, "eve", "guest", "recheck", 0), "forbidden");
    commanded(&memory, "host", "lobby-admit", "eve");
    assert_eq!(enters(&memory, "eve"), "allow");
}

#[test]
fn who_is_in_stays_in_when_policy_is_asked_again() {
    assert_eq!(admitted("{}", &Map::default(), "ann", "guest", "recheck", 0), "allow");
}

#[test]
fn nobody_else_decides_and_other_commands_are_others_business() {
    let memory = Map::default();
    enters(&memory, "eve");
    for name in ["lobby-list", "lobby-admit", "lobby-refuse"] {
        assert_eq!(commanded(&memory, "guest", name, "eve"), ("forbidden".into(), vec![]), "{name}");
    }
    assert_eq!(enters(&memory, "eve"), "waiting");
    assert_eq!(commanded(&memory, "host", "kick", "").0, "abstain");
    assert_eq!(commanded(&memory, "host", "lobby-refuse", "").0, "not-found");
}

#[test]
fn whom_a_full_lobby_cannot_show_does_not_wait_unseen() {
    let memory = Map::default();
    for n in 0..64 {
        assert_eq!(enters(&memory, &format!("p{n}")), "waiting");
    }
    assert_eq!(enters(&memory, "late"), "room-full");
}

#[test]
fn one_participant_does_not_fill_the_lobbies_of_a_node() {
    let memory = Map::default();
    for n in 0..2000 {
        let told = admitted_to(&format!("r{n}"), "{}", &memory, "eve", "guest", "request", n);
        assert_eq!(told, "waiting", "in room {n}");
    }
    assert_eq!(enters(&memory, "ann"), "waiting");
    assert!(commanded(&memory, "host", "lobby-list", "").0.contains("\"ann\""));
    assert_eq!(commanded(&memory, "host", "lobby-admit", "ann").1.len(), 2);
    assert_eq!(enters(&memory, "ann"), "allow");
}

#[test]
fn thousands_are_let_in_and_turned_away_and_those_of_today_are_remembered() {
    let memory = Map::default();
    for n in 0..3000 {
        let name = if n % 2 == 0 { "lobby-admit" } else { "lobby-refuse" };
        assert!(!commanded(&memory, "host", name, &format!("p{n}")).1.is_empty(), "{n}");
    }
    assert!((2000..3000).step_by(2).all(|n| enters(&memory, &format!("p{n}")) == "allow"));
    assert!((2001..3000).step_by(2).all(|n| enters(&memory, &format!("p{n}")) == "forbidden"));
    assert_eq!(enters(&memory, "ann"), "waiting");
}

#[test]
fn who_cannot_be_remembered_waits_on_and_the_others_come_in() {
    let memory = Map::default();
    for n in 0..10 {
        enters(&memory, &format!("p{n}"));
    }
    // Five more keys, and no more.
    memory.borrow_mut().extend((10..1019).map(|n| (format!("f{n}"), Vec::new())));
    let (left, effects) = commanded(&memory, "host", "lobby-admit", "");
    let inside: Vec<_> = effects.iter().filter_map(|effect| effect.strip_prefix("admit ")).collect();
    assert!((5..10).contains(&inside.len()), "{inside:?}");
    for subject in (0..10).map(|n| format!("p{n}")) {
        let comes_in = inside.contains(&subject.as_str());
        assert_eq!(effects.contains(&format!("re-ask {subject}")), comes_in, "{subject}");
        assert_eq!(left.contains(&format!("{subject:?}")), !comes_in, "{subject}");
        assert_eq!(enters(&memory, &subject) == "allow", comes_in, "{subject}");
    }
    let mut map = memory.borrow_mut();
    map.retain(|key, _| !key.starts_with("decided/"));
    map.extend((0..1024).map(|n| (format!("g{n}"), Vec::new())));
    drop(map);
    assert_eq!(commanded(&memory, "host", "lobby-admit", ""), ("memory-full".into(), vec![]));
    assert_eq!(commanded(&memory, "host", "lobby-refuse", "p9"), ("memory-full".into(), vec![]));
}

#[test]
fn wrong_settings_are_told_with_what_to_write() {
    let wrong = |settings| Settings::read(settings).unwrap_err();
    assert!(wrong(r#"{"moderator": []}"#).contains("unknown field `moderator`, expected one of"));
    assert!(wrong(r#"{"admitted_s": 0}"#).contains("from 1"));
}
