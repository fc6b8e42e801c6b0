//! Lines as they stand in files, and what people ask about them.

use lockgate_model::testing::{cases, damaged_text};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::seal::Hash;
use super::*;

/// Alice is participant 1, Bob 2.
fn who(number: u64, grant: &Value) -> Value {
    let (subject, name) = if number == 1 { ("42", "Alice") } else { ("7", "Bob") };
    let (subject, name) =
        if number > 2 { (format!("s{number}"), format!("Guest {number}")) } else { (subject.into(), name.into()) };
    json!({ "subject": subject, "userId": 40 + number, "username": name, "grant": grant, "participant": number, "door": "ws" })
}

fn room() -> Value {
    json!({ "name": "board", "participants": 2, "publications": 1, "recording": false })
}

fn question(hook: &str, asked: u64, more: Value) -> Value {
    let mut line = json!({ "kind": "question", "hook": hook, "askedMs": asked, "room": room(), "plugins": [], "epoch": 1, "us": 90 });
    line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    line
}

/// May Bob see Alice's camera? The plugin says so.
fn sight(asked: u64, verdict: &Value) -> Value {
    sight_of(asked, verdict, &json!({}), &json!({}))
}

fn sight_of(asked: u64, verdict: &Value, viewer: &Value, publisher: &Value) -> Value {
    let track = json!({ "id": "cam", "kind": "video", "source": "camera", "topLayer": { "spatial": 2, "temporal": 2 }, "publisher": 0 });
    let plugin = json!({ "plugin": "subscription-policy", "sha256": "ab".repeat(32), "said": [verdict], "us": 31 });
    let more = json!({
        "why": "announce", "who": who(2, viewer), "publishers": [who(1, publisher)], "tracks": [track],
        "plugins": [plugin], "decisions": [verdict],
    });
    question("subscription", asked, more)
}

fn allow() -> Value {
    json!({ "allow": { "maxSpatial": 1 } })
}

fn deny(code: &str) -> Value {
    json!({ "deny": { "code": code, "message": "students see only the teacher" } })
}

fn entered(number: u64) -> Vec<Value> {
    let admission = question("admission", 1, json!({ "who": who(number, &json!({})), "decisions": [{ "allow": {} }] }));
    vec![admission, json!({ "kind": "entered", "room": "board", "participant": number, "grant": {} })]
}

fn node() -> Value {
    json!({ "kind": "header", "format": 1, "why": "node", "file": 1, "keep": 2, "version": "1", "omit": [], "epoch": 1, "config": "", "plugins": [] })
}

/// Both are in, and this happened; a line each second.
fn after(more: &[Value]) -> Explainer {
    explainer(u64::MAX, &[vec![node()], entered(1), entered(2), more.to_vec()].concat())
}

fn explainer(at_ms: u64, lines: &[Value]) -> Explainer {
    let mut explainer = Explainer::new(at_ms);
    for (number, line) in lines.iter().enumerate() {
        let seq = number as u64 + 1;
        let sealed = Sealed { seq, prev: Hash::NONE, time_ms: seq * 1000, hash: Hash::NONE };
        let line = serde_json::from_value(line.clone()).unwrap_or_else(|error| panic!("{error}: {line}"));
        explainer.line("f", &sealed, &line);
    }
    explainer
}

fn asked(who: &str, sees: &str) -> Asked {
    Asked { room: "board".into(), who: who.into(), sees: sees.into(), track: None }
}

fn because(explainer: &Explainer) -> (bool, &'static str) {
    let why = explainer.why(&asked("Bob", "Alice")).unwrap();
    assert_eq!(why.sees, why.tracks[0].sees);
    (why.sees, why.tracks[0].because)
}

#[test]
fn a_denial_is_explained_by_the_plugin_that_gave_it() {
    let why = after(&[sight(5000, &deny("x-closed"))]).why(&asked("bob", "42")).unwrap();
    let sight = &why.tracks[0];
    assert_eq!((why.sees, sight.because, sight.plugin.as_deref()), (false, "denied", Some("subscription-policy")));
    assert_eq!(sight.line.as_ref().unwrap().seq, 6);
    let text = why.to_string();
    for part in [
        "Bob (subject 7) cannot see Alice (subject 42) in room \"board\"",
        "x-closed (students see only the teacher), says the plugin subscription-policy",
        "31 µs, sha256 abababababab…",
        "line 6 in f, 1970-01-01T00:00:06.000Z",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn who_may_see_is_told_with_the_limits() {
    let why = after(&[sight(5000, &allow())]).why(&asked("2", "1")).unwrap();
    assert!(why.sees && why.to_string().contains("spatial layers up to 1"), "{why}");
}

#[test]
fn the_last_answer_counts_unless_nobody_could_answer() {
    let no_answer = deny("policy-unavailable");
    assert_eq!(because(&after(&[sight(5000, &allow()), sight(6000, &deny("forbidden"))])), (false, "denied"));
    assert_eq!(because(&after(&[sight(5000, &deny("forbidden")), sight(6000, &allow())])), (true, "allowed"));
    assert_eq!(because(&after(&[sight(5000, &allow()), sight(6000, &no_answer)])), (true, "allowed"));
    assert_eq!(because(&after(&[sight(5000, &no_answer)])), (false, "denied"), "a first question that fails denies");
    // It was asked earlier, and answered later.
    assert_eq!(because(&after(&[sight(6000, &deny("forbidden")), sight(5000, &allow())])), (false, "denied"));
}

#[test]
fn what_an_operator_took_away_is_gone_and_older_questions_do_not_bring_it_back() {
    let line = |track: Value| {
        json!({ "kind": "revocation", "operator": "op", "room": "board", "participants": [2], "what": "subscription",
                "track": track, "reason": "enough" })
    };
    for track in [json!("cam"), Value::Null] {
        let explainer = after(&[sight(5000, &allow()), line(track.clone()), sight(5500, &allow())]);
        assert_eq!(because(&explainer), (false, "taken-back"));
        let why = explainer.why(&asked("Bob", "Alice")).unwrap().to_string();
        assert!(why.contains("the operator op took it away: enough"), "{why}");
        let again = after(&[sight(5000, &allow()), line(track), sight(7500, &allow())]);
        assert_eq!(because(&again), (true, "allowed"), "asked for after it, and allowed again");
    }
    assert_eq!(because(&after(&[sight(5000, &allow()), line(json!("other"))])), (true, "allowed"));
}

#[test]
fn whatever_ends_what_was_allowed_is_the_reason() {
    let told = json!({ "kind": "revoked", "room": "board", "participant": 2, "what": "subscription", "publisher": 1,
                       "track": "cam", "reason": "your grant has ended" });
    let lost =
        json!({ "kind": "revoked", "room": "board", "participant": 2, "what": "subscription", "reason": "ICE failed" });
    let line = |kind: &str, who: u64| json!({ "kind": kind, "room": "board", "participant": who });
    for (line, expected) in [
        (told, (false, "taken-back")),
        (lost, (true, "allowed")),
        (line("unpublished", 1), (false, "ended")),
        (line("unpublished", 2), (true, "allowed")),
        (line("left", 1), (false, "publisher-out")),
        (line("left", 2), (false, "viewer-out")),
        (json!({ "kind": "room-closed", "room": "board" }), (false, "viewer-out")),
        (json!({ "kind": "end" }), (false, "viewer-out")),
        (node(), (false, "viewer-out")),
        (
            json!({ "kind": "grants", "room": "board", "participant": 2, "grant": { "canSubscribe": false } }),
            (false, "own-grant"),
        ),
        (
            json!({ "kind": "grants", "room": "board", "participant": 1, "grant": { "hidden": true } }),
            (false, "hidden"),
        ),
        (
            json!({ "kind": "grants", "room": "board", "participant": 2, "grant": { "expiresAtMs": 7000 } }),
            (false, "expired"),
        ),
    ] {
        assert_eq!(because(&after(&[sight(5000, &allow()), line.clone()])), expected, "{line}");
    }
}

#[test]
fn somebody_who_was_not_let_in_is_told_why() {
    let refused =
        |number| question("admission", 5000, json!({ "who": who(number, &json!({})), "decisions": [deny("waiting")] }));
    let why = after(&[sight(5000, &allow()), refused(3)]).why(&asked("s3", "Alice")).unwrap();
    assert!(!why.sees && why.remarks[0].contains("Guest 3 (subject s3) is not in the room; since"), "{why}");
    assert!(why.remarks[0].contains("waiting"), "{why}");
    let by_host = json!({ "kind": "refused", "room": "board", "participant": 3, "of": "join-room",
                          "denial": { "code": "room-full", "message": "full" } });
    let asked_before =
        question("admission", 5000, json!({ "who": who(3, &json!({})), "decisions": [{ "allow": {} }] }));
    let why = after(&[asked_before, by_host]).why(&asked("s3", "Alice")).unwrap();
    assert!(why.remarks[0].contains("room-full (full)"), "{why}");
    assert!(why.remarks[1].contains("nothing that Alice (subject 42) publishes was ever asked about"), "{why}");
}

#[test]
fn who_came_in_before_the_first_line_that_is_left_is_in() {
    assert_eq!(because(&explainer(u64::MAX, &[sight(5000, &allow())])), (true, "allowed"));
    let left = json!({ "kind": "left", "room": "board", "participant": 2 });
    assert_eq!(because(&explainer(u64::MAX, &[sight(5000, &allow()), left])), (false, "viewer-out"));
}

#[test]
fn names_that_the_log_does_not_know_are_answered_with_those_it_knows() {
    let explainer = after(&[sight(5000, &allow())]);
    let error = |asked: &Asked| explainer.why(asked).unwrap_err().to_string();
    assert_eq!(error(&asked("Bbo", "Alice")), "the log has no participant \"Bbo\" by then; there is Bob");
    assert_eq!(
        error(&Asked { room: "bored".into(), ..asked("Bob", "Alice") }),
        "the log has no room \"bored\" by then; there is board"
    );
    let error = error(&Asked { track: Some("mic".into()), ..asked("Bob", "Alice") });
    assert_eq!(error, "the log has no track \"mic\" by then; there is cam");
    let twin = question(
        "admission",
        5000,
        json!({ "who": { "subject": "8", "userId": 8, "username": "Bob", "grant": {}, "participant": 8 },
                                                    "decisions": [{ "allow": {} }] }),
    );
    let error = after(&[twin]).why(&asked("Bob", "Alice")).unwrap_err();
    assert_eq!(error, Unexplained::Ambiguous { name: "Bob".into(), subjects: vec!["7".into(), "8".into()] });
}

#[test]
fn who_might_see_or_be_recorded_is_told_for_any_time() {
    let recording =
        |on: bool| json!({ "kind": "recording", "room": "board", "session": "s1", "track": "cam", "on": on });
    let lines = [
        vec![node()],
        entered(1),
        entered(2),
        vec![
            sight_of(5000, &allow(), &json!({ "canRecord": true }), &json!({})),
            recording(true),
            recording(false),
            json!({ "kind": "left", "room": "board", "participant": 2 }),
        ],
    ]
    .concat();
    let at = |seconds: u64| explainer(seconds * 1000, &lines).who("board").unwrap();
    let then = at(7);
    let bob = &then.inside[1];
    assert_eq!((then.inside.len(), bob.sees.len(), bob.may_record, then.recorded.len()), (2, 1, true, 1));
    let text = then.to_string();
    for part in [
        "room \"board\" at 1970-01-01T00:00:07.000Z: 2 participants",
        "Alice (subject 42)\n  sees nobody",
        "Bob (subject 7), may start and stop recordings\n  may see Alice (subject 42): camera cam, spatial layers up to 1",
        "recorded: Alice (subject 42): cam, in session s1",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(at(8).recorded.is_empty());
    assert_eq!((at(9).inside.len(), at(5).inside[1].sees.len(), at(3).inside.len()), (1, 0, 1));
    assert!(explainer(500, &lines).who("board").is_err(), "nobody was there yet");
}

proptest! {
    #![proptest_config(cases(64))]

    /// A log has no key: whoever may write to it can put anything into a line.
    #[test]
    fn lines_that_somebody_made_up_are_read_without_harm(
        texts in prop::collection::vec(damaged_text(corpus()), 1..12),
        at in any::<u64>(),
        times in prop::collection::vec(any::<u64>(), 12),
    ) {
        let mut explainer = Explainer::new(at);
        for (text, time_ms) in texts.iter().zip(times) {
            if let Ok(line) = serde_json::from_str(text) {
                explainer.line("f", &Sealed { seq: time_ms, prev: Hash::NONE, time_ms, hash: Hash::NONE }, &line);
            }
        }
        if let Ok(why) = explainer.why(&asked("Bob", "Alice")) {
            prop_assert!(why.to_string().contains("Alice"));
        }
        if let Ok(who) = explainer.who("board") {
            prop_assert!(who.to_string().contains("board"));
        }
    }
}

fn corpus() -> Vec<String> {
    let lines =
        [vec![node()], entered(1), entered(2), vec![sight(5000, &allow()), sight(6000, &deny("forbidden"))]].concat();
    lines.iter().map(Value::to_string).collect()
}
