//! Fails on purpose, so that operators and tests see what a node does when a plugin fails. Not for rooms with people in them.
//!
//! It exports every hook and answers "yes, whatever it is" until its fault strikes.
//!
//! Grants: `config`, `log`, `kv`, `metrics`, `clock`. Settings, all optional:
//!
//! ```toml
//! [plugin.settings]
//! fault = "trap"     # "trap", "loop", "memory", "stack", "count" (too few verdicts), "long" (an answer beyond all bounds), or "none"
//! only = "trouble"   # only for this subject, room or token; absent: always
//! every = 2          # only every so many questions, counted in `kv`; absent: each
//! ```

mod fault;

use crate::exports::lockgate::policy::{admission, auth, command, lifecycle, publishing, recording, subscription};
use crate::fault::{Settings, strike};
use crate::lockgate::policy::types::{Attr, Grant, Identity, Verdict};
use crate::lockgate::policy::{clock, config, kv, log, metrics};

wit_bindgen::generate!({ path: "../../wit", world: "policy" });

struct Faulty;

export!(Faulty);

impl lifecycle::Guest for Faulty {
    fn describe() -> Vec<Attr> {
        vec![Attr { key: "name".into(), value: "faulty".into() }]
    }

    fn configure(settings: String) -> Result<(), String> {
        Settings::read(&settings).map(drop)
    }
}

impl auth::Guest for Faulty {
    fn authenticate(asked: auth::Question) -> auth::Outcome {
        let long = answer(&[&asked.token], 1).long;
        let subject = "x".repeat(if long { 1 << 20 } else { 1 });
        let identity =
            Identity { subject, username: String::new(), claims: Vec::new(), expires_at_ms: None, grant: grant(false) };
        auth::Outcome::Accept(identity)
    }
}

impl admission::Guest for Faulty {
    fn admit(asked: admission::Question) -> Verdict {
        let answer = answer(&[&asked.room.name, &asked.who.identity.subject], 1);
        Verdict::Allow(grant(answer.long))
    }
}

impl publishing::Guest for Faulty {
    fn decide(asked: publishing::Question) -> Vec<Verdict> {
        verdicts(&[&asked.room.name, &asked.who.identity.subject], asked.tracks.len())
    }
}

impl subscription::Guest for Faulty {
    fn decide(asked: subscription::Question) -> Vec<Verdict> {
        verdicts(&[&asked.room.name, &asked.who.identity.subject], asked.publications.len())
    }
}

impl recording::Guest for Faulty {
    fn decide(asked: recording::Question) -> Vec<Verdict> {
        verdicts(&[&asked.room.name], asked.publications.len())
    }
}

impl command::Guest for Faulty {
    fn handle(asked: command::Question) -> command::Outcome {
        answer(&[&asked.room.name, &asked.who.identity.subject], 1);
        command::Outcome::Done(command::Response { reply: asked.payload, effects: Vec::new() })
    }
}

/// What is left to do when the fault is not one that ends the call.
struct Answer {
    verdicts: usize,
    long: bool,
}

/// Strikes if it is time to; `about` is what the question is about.
fn answer(about: &[&str], verdicts: usize) -> Answer {
    let settings = Settings::read(&config::all()).expect("settings that were accepted");
    metrics::add("questions", 1);
    if !settings.concerns(about) || !is_turn(settings.every) {
        return Answer { verdicts, long: false };
    }
    let at = Attr { key: "at".into(), value: clock::now_ms().to_string() };
    log::write(log::Level::Info, &format!("now comes the fault: {}", settings.fault.name()), &[at]);
    match settings.fault {
        fault::Fault::Count => Answer { verdicts: verdicts.saturating_sub(1), long: false },
        fault::Fault::Long => Answer { verdicts, long: true },
        fault => {
            strike(fault);
            Answer { verdicts, long: false }
        }
    }
}

fn verdicts(about: &[&str], count: usize) -> Vec<Verdict> {
    let answer = answer(about, count);
    vec![Verdict::Allow(grant(answer.long)); answer.verdicts]
}

/// Counts the questions: an instance does not outlive its question, but `kv` does.
fn is_turn(every: u32) -> bool {
    let before = kv::get("questions").and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    let now = before.wrapping_add(1);
    let kept = kv::put("questions", &now.to_le_bytes(), None).is_ok();
    kept && now % every.max(1) == 0
}

fn grant(long: bool) -> Grant {
    let attributes = if long { vec![Attr { key: "k".repeat(1 << 20), value: String::new() }] } else { Vec::new() };
    Grant {
        max_spatial: None,
        max_temporal: None,
        max_bitrate: None,
        kinds: None,
        sources: None,
        rooms: None,
        can_publish: None,
        can_subscribe: None,
        can_record: None,
        can_data: None,
        admin: None,
        priority: None,
        hidden: false,
        expires_at_ms: None,
        reask_after_ms: None,
        attributes,
    }
}
