//! Acts of moderators: `let-in`, with the subject of somebody who waits as its payload. Hosts may do it.

use crate::exports::lockgate::policy::command::{Effect, Guest, Outcome, Question, Response};
use crate::lockgate::policy::kv;
use crate::rules::{Settings, deny, place};

/// How long somebody who was let in may come back: twelve hours.
const REMEMBERED_MS: u32 = 12 * 60 * 60 * 1000;
const TOO_LONG: &str = "this name is too long to be remembered here";
const FULL: &str = "they cannot be remembered: raise limits.kv_keys and limits.kv_bytes";

impl Guest for crate::Plugin {
    fn handle(asked: Question) -> Outcome {
        if asked.name != "let-in" {
            return Outcome::Abstain;
        }
        if !Settings::get().is_host(&asked.who.identity) {
            return Outcome::Deny(deny("forbidden", "only hosts let people in"));
        }
        let subject = asked.payload;
        if subject.is_empty() {
            return Outcome::Deny(deny("not-found", "the payload says whom to let in: their subject"));
        }
        match kv::put(&place(&asked.room.name, &subject), b"1", Some(REMEMBERED_MS)) {
            Ok(()) => {}
            Err(kv::Failure::TooLong) => return Outcome::Deny(deny("not-found", TOO_LONG)),
            Err(kv::Failure::Full) => return Outcome::Deny(deny("memory-full", FULL)),
        }
        let admit = Effect { name: "admit".into(), subject: Some(subject), payload: String::new() };
        Outcome::Done(Response { reply: "they are let in".into(), effects: vec![admit] })
    }
}
