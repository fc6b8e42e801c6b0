//! Fails on purpose, so that operators and tests see what a node does when a plugin fails. Not for rooms with people in them.
//!
//! It exports every hook and answers "yes, whatever it is" until its fault strikes.
//!
//! Grants: `config`, `log`, `kv`, `metrics`, `clock`. Settings, all optional:
//!
//! ```toml
//! [plugin.settings]
//! fault = "trap"     # "trap", "loop", "memory"; "stack" and "deep" (recursion, with and without locals in memory);
//!                    # "log" and "kv" (floods of calls), "text" (a log line of 8 MiB); "count" and "more" (verdicts: one too
//!                    # few, one too many), "long" (an answer beyond all bounds); "repeat" (the token as a name, the password
//!                    # as an attribute); "deny" (no fault: it says no); or "none"
//! calls = 100        # of a flood, which then is over; absent: without end
//! start = true       # strikes when an instance is made instead, after the first two, which check the settings
//! only = "trouble"   # only for this subject, room or token, or this subject at a door (`7@admin`) or at a kind of question
//!                    # (`7@recording`); or several of them; absent: always
//! every = 2          # only every so many questions, counted in `kv`; absent: each
//! at = ["recording"] # only these kinds of question; absent: all
//! why = "recheck"    # only questions put for this reason; absent: any
//! expires_after_ms = 5000   # what it allows (`at` such questions) ends so soon
//! reask_after_ms = 1000     # and is to be asked about again so soon
//! ```

mod fault;

use crate::exports::lockgate::policy::{admission, auth, command, lifecycle, publishing, recording, subscription};
use crate::fault::{Settings, strike};
use crate::lockgate::policy::types::{Attr, Denial, Grant, Identity, Verdict};
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
        let subject = asked.accepted.as_ref().map(|accepted| accepted.subject.as_str()).unwrap_or_default();
        let answer = answer(&Asked { hook: "auth", subject, of: [&asked.token, &asked.door], why: "" }, 1);
        if answer.denies {
            return auth::Outcome::Deny(denial());
        }
        let subject = "x".repeat(if answer.long { 1 << 20 } else { 1 });
        let grant = grant(&answer);
        auth::Outcome::Accept(Identity {
            subject,
            username: if answer.repeats { asked.token } else { String::new() },
            claims: Vec::new(),
            expires_at_ms: None,
            grant,
        })
    }
}

impl admission::Guest for Faulty {
    fn admit(asked: admission::Question) -> Verdict {
        let why = asked.extra.iter().find(|one| one.key == "why").map(|one| one.value.as_str()).unwrap_or_default();
        let (subject, of) = (&asked.who.identity.subject, [asked.room.name.as_str(), &asked.who.door]);
        let answer = answer(&Asked { hook: "admission", subject, of, why }, 1);
        match asked.password.filter(|_| answer.repeats) {
            Some(password) => {
                let attributes = vec![Attr { key: "password".into(), value: password }];
                Verdict::Allow(Grant { attributes, ..grant(&answer) })
            }
            None => verdict(&answer),
        }
    }
}

impl publishing::Guest for Faulty {
    fn decide(asked: publishing::Question) -> Vec<Verdict> {
        let (subject, of) = (&asked.who.identity.subject, [asked.room.name.as_str(), &asked.who.door]);
        verdicts(&Asked { hook: "publishing", subject, of, why: &asked.why }, asked.tracks.len())
    }
}

impl subscription::Guest for Faulty {
    fn decide(asked: subscription::Question) -> Vec<Verdict> {
        let (subject, of) = (&asked.who.identity.subject, [asked.room.name.as_str(), &asked.who.door]);
        verdicts(&Asked { hook: "subscription", subject, of, why: &asked.why }, asked.publications.len())
    }
}

impl recording::Guest for Faulty {
    fn decide(asked: recording::Question) -> Vec<Verdict> {
        let subject = asked.who.as_ref().map(|who| who.identity.subject.as_str()).unwrap_or_default();
        let of = [asked.room.name.as_str(), ""];
        verdicts(&Asked { hook: "recording", subject, of, why: &asked.why }, asked.publications.len())
    }
}

impl command::Guest for Faulty {
    fn handle(asked: command::Question) -> command::Outcome {
        let (subject, of) = (&asked.who.identity.subject, [asked.room.name.as_str(), &asked.who.door]);
        if answer(&Asked { hook: "command", subject, of, why: "" }, 1).denies {
            return command::Outcome::Deny(denial());
        }
        command::Outcome::Done(command::Response { reply: asked.payload, effects: Vec::new() })
    }
}

/// Runs when an instance is made, before it is asked anything: a guest can fail as early as that.
#[cfg(target_family = "wasm")]
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    let settings = Settings::read(&config::all()).unwrap_or_default();
    if settings.start && count("instances") > 2 {
        strike(&settings);
    }
}

/// A question, as far as it matters here.
struct Asked<'a> {
    hook: &'a str,
    subject: &'a str,
    /// Room or token, and door.
    of: [&'a str; 2],
    why: &'a str,
}

/// What is left to do when the fault is not one that ends the call.
#[derive(Default)]
struct Answer {
    verdicts: usize,
    long: bool,
    denies: bool,
    /// What it was told in confidence.
    repeats: bool,
    expires_at_ms: Option<u64>,
    reask_after_ms: Option<u32>,
}

/// Strikes if it is time to.
fn answer(asked: &Asked, verdicts: usize) -> Answer {
    let settings = Settings::read(&config::all()).expect("settings that were accepted");
    metrics::add("questions", 1);
    let plain = Answer { verdicts, ..Answer::default() };
    if settings.start || !settings.is_for(asked.hook) {
        return plain;
    }
    let expires_at_ms = settings.expires_after_ms.map(|after| clock::now_ms() + after);
    let plain = Answer { expires_at_ms, reask_after_ms: settings.reask_after_ms, ..plain };
    let ([of, door], subject) = (asked.of, asked.subject);
    let (here, so) = (format!("{subject}@{door}"), format!("{subject}@{}", asked.hook));
    if !settings.concerns(&[of, subject, &here, &so], asked.why) || !is_turn(settings.every) {
        return plain;
    }
    let at = Attr { key: "at".into(), value: clock::now_ms().to_string() };
    log::write(log::Level::Info, &format!("now comes the fault: {}", settings.fault.name()), &[at]);
    match settings.fault {
        fault::Fault::Count => Answer { verdicts: verdicts.saturating_sub(1), ..plain },
        fault::Fault::More => Answer { verdicts: verdicts + 1, ..plain },
        fault::Fault::Long => Answer { long: true, ..plain },
        fault::Fault::Deny => Answer { denies: true, ..plain },
        fault::Fault::Repeat => Answer { repeats: true, ..plain },
        _ => {
            strike(&settings);
            plain
        }
    }
}

fn verdicts(asked: &Asked, count: usize) -> Vec<Verdict> {
    let answer = answer(asked, count);
    vec![verdict(&answer); answer.verdicts]
}

fn verdict(answer: &Answer) -> Verdict {
    if answer.denies { Verdict::Deny(denial()) } else { Verdict::Allow(grant(answer)) }
}

fn denial() -> Denial {
    Denial { code: "closed".into(), message: "this door is closed to you".into(), retry_after_ms: None }
}

/// Counts the questions.
fn is_turn(every: u32) -> bool {
    count("questions") % every.max(1) == 0
}

/// Counts: an instance does not outlive its question, but `kv` does.
fn count(what: &str) -> u32 {
    let before = kv::get(what).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    let now = before.wrapping_add(1);
    kv::put(what, &now.to_le_bytes(), None).expect("room for a number");
    now
}

fn grant(answer: &Answer) -> Grant {
    let attributes =
        if answer.long { vec![Attr { key: "k".repeat(1 << 20), value: String::new() }] } else { Vec::new() };
    Grant {
        expires_at_ms: answer.expires_at_ms,
        reask_after_ms: answer.reask_after_ms,
        attributes,
        ..common::no_limits!()
    }
}
