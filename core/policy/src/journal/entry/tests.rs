//! What lines say of each kind of question, and that nothing secret is in them.

use std::net::Ipv4Addr;

use lockgate_model::policy::{AdmissionQuestion, AuthQuestion, Door, RoomFacts, Why};
use lockgate_model::{ErrorCode, RoomName, Secret, UserId};

use super::*;
use crate::journal::{Hash, Policies, SwapOutcome};

fn identity(claim: &str) -> Identity {
    Identity {
        subject: "7".into(),
        user_id: UserId(7),
        username: "Bob".into(),
        claims: vec![Attribute { key: "role".into(), value: claim.into() }],
        expires_at_ms: None,
        grant: Grant::default(),
    }
}

fn answered(question: Question, said: Verdict, answer: Answer) -> Answered {
    let (plugin, sha256, took) = ("one".to_owned(), Hash::NONE, Duration::from_micros(31));
    let words = vec![Words { plugin, sha256, from: 0, failed: None, said: vec![said], took }];
    Answered { question: Arc::new(question), words, host: None, answer, epoch: 1, took }
}

fn text(answered: Answered, omit: &[Omit]) -> String {
    serde_json::to_string(&answered.line(omit)).unwrap()
}

fn auth(token: &str) -> Question {
    let peer = Ipv4Addr::LOCALHOST.into();
    Question::Auth(AuthQuestion { token: Secret::new(token), door: Door::Ws, peer, now_ms: 5 })
}

fn deny(message: &str) -> Denial {
    Denial::new(ErrorCode::UNAUTHENTICATED, message)
}

#[test]
fn a_plugin_that_repeats_a_token_does_not_get_it_into_the_log() {
    let token = "an opaque token";
    let denial = deny(&format!("{token} is not known"));
    let shown = text(answered(auth(token), Verdict::Deny(denial.clone()), Answer::Identity(Err(denial))), &[]);
    assert!(!shown.contains(token) && shown.matches(WITHHELD).count() == 2, "{shown}");
    let known = Answer::Identity(Ok(identity(token)));
    let rooms = Some([token.to_owned()].into());
    let shown = text(answered(auth(token), Verdict::Allow(Grant { rooms, ..Grant::default() }), known), &[]);
    assert!(!shown.contains(token) && shown.matches(WITHHELD).count() == 2, "{shown}");
}

#[test]
fn a_token_among_claims_is_withheld_wherever_they_are_shown() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl";
    let who = Participant {
        identity: identity(&format!("Bearer {jwt}")),
        publisher_id: None,
        door: Door::Ws,
        peer: Ipv4Addr::LOCALHOST.into(),
    };
    let name = RoomName::new("board").unwrap();
    let room = RoomFacts { name, participants: 1, publications: 0, recording: false };
    let (password, metadata) = (Some(Secret::new("hunter2")), Some("x".to_owned()));
    let question = AdmissionQuestion { who, room, password, metadata, why: Why::Request, now_ms: 5 };
    let said = Denial::new(ErrorCode::FORBIDDEN, "hunter2 is wrong");
    let answer = Answer::Decisions(vec![Err(said.clone())]);
    let shown = text(answered(Question::Admission(question), Verdict::Deny(said), answer), &[]);
    assert!(!shown.contains("eyJ") && !shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("\"password\":true") && shown.contains("\"metadata\":\"x\""), "{shown}");
}

#[test]
fn a_token_in_what_somebody_may_do_is_withheld_when_they_enter() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl";
    let attributes = vec![Attribute { key: "plugin.upstream".into(), value: jwt.into() }];
    let grant = Grant { attributes, ..Grant::default() };
    let entered = Line::Entered { room: "board".into(), participant: 1, grant: grant.clone() };
    for line in [entered, Line::Grants { room: "board".into(), participant: 1, grant }] {
        let shown = serde_json::to_string(&withheld(line)).unwrap();
        assert!(!shown.contains("eyJ") && shown.contains(WITHHELD), "{shown}");
    }
}

#[test]
fn an_operator_whose_name_is_a_token_is_not_named_where_other_plugins_are_told_of() {
    let why = "the operator eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl".to_owned();
    let swap = SwapLine { outcome: SwapOutcome::Refused, why, from: Policies::default(), to: Policies::default() };
    let shown = serde_json::to_string(&withheld(Line::Swap(Box::new(swap)))).unwrap();
    assert!(!shown.contains("eyJ") && shown.contains(WITHHELD), "{shown}");
}

#[test]
fn what_the_operator_leaves_out_is_not_there() {
    let known = || Answer::Identity(Ok(identity("host")));
    let all = text(answered(auth("tokentoken"), Verdict::Abstain, known()), &[]);
    for shown in ["127.0.0.1", "Bob", "host"] {
        assert!(all.contains(shown), "{all}");
    }
    let less = text(answered(auth("tokentoken"), Verdict::Abstain, known()), &Omit::ALL);
    for hidden in ["127.0.0.1", "Bob", "host"] {
        assert!(!less.contains(hidden), "{less}");
    }
}

#[test]
fn a_line_says_what_it_leaves_out_of_what_plugins_were_shown() {
    let asked = |metadata: Option<&str>, omit: &[Omit]| {
        let who = Participant {
            identity: identity("host"),
            publisher_id: None,
            door: Door::Ws,
            peer: Ipv4Addr::LOCALHOST.into(),
        };
        let name = RoomName::new("board").unwrap();
        let room = RoomFacts { name, participants: 1, publications: 0, recording: false };
        let metadata = metadata.map(str::to_owned);
        let question = AdmissionQuestion { who, room, password: None, metadata, why: Why::Request, now_ms: 5 };
        let answer = Answer::Decisions(vec![Ok(Grant::default())]);
        let Line::Question(line) = answered(Question::Admission(question), Verdict::Abstain, answer).line(omit) else {
            panic!("it is a question")
        };
        line.omitted
    };
    let usual = [Omit::Metadata, Omit::Payload];
    assert_eq!(asked(Some("x"), &usual), [Omit::Metadata]);
    assert_eq!(asked(None, &usual), [], "there was none");
    assert_eq!(asked(Some("x"), &[]), []);
    assert_eq!(asked(None, &Omit::ALL), [Omit::Claims, Omit::Username, Omit::Peer]);
}
