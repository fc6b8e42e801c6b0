//! A plugin of the contract's version 0.1.0, built against its copy in `wit/released`: what `wit/` has become since is not known here.
//!
//! It has every hook, calls every import, and gives every kind of answer with every field in use. What it was asked comes back
//! as text, so that a test sees each field of a question arrive in its place. It decides nothing that anybody wants: the tests
//! of the host in `core/policy` load it, and keep old plugins alive by that.

use exports::lockgate::policy::{admission, auth, command, lifecycle, publishing, recording, subscription};
use lockgate::policy::types::{Attr, Denial, Grant, Identity, MediaKind, Verdict};
use lockgate::policy::{clock, config, jwt, kv, log, metrics};

wit_bindgen::generate!({ path: "../../wit/released/0.1.0", world: "policy" });

struct Contract;

export!(Contract);

impl lifecycle::Guest for Contract {
    fn describe() -> Vec<Attr> {
        vec![attr("name", env!("CARGO_PKG_NAME")), attr("version", env!("CARGO_PKG_VERSION"))]
    }

    fn configure(settings: String) -> Result<(), String> {
        if settings.contains("refuse") { Err(format!("refused: {settings}")) } else { Ok(()) }
    }
}

impl auth::Guest for Contract {
    fn authenticate(asked: auth::Question) -> auth::Outcome {
        match asked.token.as_str() {
            "" => auth::Outcome::Abstain,
            "deny" => auth::Outcome::Deny(denial()),
            _ => {
                let asked = auth::Question { token: backwards(&asked.token), ..asked };
                auth::Outcome::Accept(Identity {
                    subject: "subject".into(),
                    username: "username".into(),
                    claims: vec![attr("asked", &format!("{asked:?}"))],
                    expires_at_ms: Some(7),
                    grant: grant(""),
                })
            }
        }
    }
}

impl admission::Guest for Contract {
    fn admit(asked: admission::Question) -> Verdict {
        match asked.password.as_deref() {
            Some("deny") => Verdict::Deny(denial()),
            Some("abstain") => Verdict::Abstain,
            _ => {
                let asked = admission::Question { password: asked.password.as_deref().map(backwards), ..asked };
                Verdict::Allow(grant(&format!("{asked:?}")))
            }
        }
    }
}

impl publishing::Guest for Contract {
    fn decide(asked: publishing::Question) -> Vec<Verdict> {
        verdicts(asked.tracks.len(), &format!("{asked:?}"))
    }
}

impl subscription::Guest for Contract {
    fn decide(asked: subscription::Question) -> Vec<Verdict> {
        verdicts(asked.publications.len(), &format!("{asked:?}"))
    }
}

impl recording::Guest for Contract {
    fn decide(asked: recording::Question) -> Vec<Verdict> {
        verdicts(asked.publications.len(), &format!("{asked:?}"))
    }
}

impl command::Guest for Contract {
    fn handle(asked: command::Question) -> command::Outcome {
        match asked.name.as_str() {
            "deny" => command::Outcome::Deny(denial()),
            "abstain" => command::Outcome::Abstain,
            "imports" => done(imports(&asked.payload)),
            _ => done(format!("{asked:?}")),
        }
    }
}

/// Of three tracks: one is allowed, one is denied, and one is not this plugin's business. Those after them are allowed.
fn verdicts(count: usize, asked: &str) -> Vec<Verdict> {
    let verdict = |place| match place {
        1 => Verdict::Deny(denial()),
        2 => Verdict::Abstain,
        _ => Verdict::Allow(grant(asked)),
    };
    (0..count).map(verdict).collect()
}

/// Each field has another value, so that none can be taken for its neighbour.
fn grant(asked: &str) -> Grant {
    let attributes = if asked.is_empty() { Vec::new() } else { vec![attr("asked", asked)] };
    Grant {
        max_spatial: Some(1),
        max_temporal: Some(2),
        max_bitrate: Some(5_000_000_000),
        kinds: Some(vec![MediaKind::Audio, MediaKind::Data]),
        sources: Some(vec!["camera".into(), "screen-audio".into()]),
        rooms: Some(vec!["board".into()]),
        can_publish: Some(true),
        can_subscribe: Some(false),
        can_record: Some(true),
        can_data: None,
        admin: Some(false),
        priority: Some(200),
        hidden: true,
        expires_at_ms: Some(4_000_000_000_000),
        reask_after_ms: Some(60_000),
        attributes,
    }
}

fn denial() -> Denial {
    Denial { code: "code".into(), message: "message".into(), retry_after_ms: Some(5_000_000_000) }
}

fn done(reply: String) -> command::Outcome {
    let effect = |name: &str, subject: Option<&str>, payload: &str| command::Effect {
        name: name.into(),
        subject: subject.map(Into::into),
        payload: payload.into(),
    };
    let effects = vec![
        effect("re-ask", Some("ann"), ""),
        effect("admit", Some("bob"), ""),
        effect("revoke", Some("eve"), "why"),
        effect("notify", None, "what"),
    ];
    command::Outcome::Done(command::Response { reply, effects })
}

/// A secret as it is said back: a host refuses an answer that repeats one.
fn backwards(secret: &str) -> String {
    secret.chars().rev().collect()
}

/// Calls every import; what comes of it as text.
fn imports(token: &str) -> String {
    let heard = [
        format!("now {}", clock::now_ms()),
        format!("settings {:?} {:?} {}", config::get("colour"), config::get("none"), config::all()),
        format!("kept {:?} {:?}", kv::get("before"), kv::put("after", b"\x01\xff", Some(1000))),
        format!("too long {:?}", kv::put(&"k".repeat(257), b"", None)),
        format!("kept {:?} {:?}", kv::get("after"), kv::delete("before")),
        format!("verified {:?}", jwt::verify("ring", token)),
    ];
    for level in [log::Level::Debug, log::Level::Info, log::Level::Warn, log::Level::Error] {
        log::write(level, "line", &[attr("key", "value")]);
    }
    metrics::add("calls", 5_000_000_000);
    heard.join("\n")
}

fn attr(key: &str, value: &str) -> Attr {
    Attr { key: key.into(), value: value.into() }
}
