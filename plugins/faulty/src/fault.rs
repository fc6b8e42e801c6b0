//! The faults, and the settings that choose among them.

use std::hint::black_box;

use serde::Deserialize;

use crate::lockgate::policy::{kv, log};

/// All settings; see the head of the crate.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) fault: Fault,
    only: Option<Names>,
    pub(crate) every: u32,
    /// Strikes when an instance is made, not when it is asked.
    pub(crate) start: bool,
    /// So many calls of a flood; none: without end.
    pub(crate) calls: Option<u32>,
    at: Option<Vec<String>>,
    why: Option<String>,
    pub(crate) expires_after_ms: Option<u64>,
    pub(crate) reask_after_ms: Option<u32>,
}

/// One or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

/// Ways to fail.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fault {
    None,
    Trap,
    Loop,
    Memory,
    Stack,
    Deep,
    Log,
    Kv,
    Text,
    Count,
    More,
    Long,
    Deny,
    Repeat,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fault: Fault::None,
            only: None,
            every: 1,
            start: false,
            calls: None,
            at: None,
            why: None,
            expires_after_ms: None,
            reask_after_ms: None,
        }
    }
}

impl Settings {
    pub(crate) fn read(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    /// Whether the fault is meant for a question about these, put for such a reason.
    pub(crate) fn concerns(&self, about: &[&str], why: &str) -> bool {
        let only: &[String] = match &self.only {
            None => &[],
            Some(Names::One(one)) => std::slice::from_ref(one),
            Some(Names::Several(several)) => several.as_slice(),
        };
        (only.is_empty() || only.iter().any(|only| about.contains(&only.as_str())))
            && self.why.as_deref().is_none_or(|only| only == why)
    }

    /// Whether it is to fail, and to limit, when it is asked this kind of question.
    pub(crate) fn is_for(&self, hook: &str) -> bool {
        self.at.as_ref().is_none_or(|at| at.iter().any(|one| one == hook))
    }
}

impl Fault {
    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Does not return if it is a fault that ends the call.
pub(crate) fn strike(settings: &Settings) {
    match settings.fault {
        Fault::Trap => panic!("on purpose"),
        Fault::Loop => loop {
            black_box(());
        },
        Fault::Memory => hoard(),
        Fault::Stack => drop(descend(0)),
        Fault::Deep => {
            black_box(fall(black_box(u64::MAX)));
        }
        Fault::Log => flood(settings, |n| log::write(log::Level::Info, &format!("line {n}"), &[])),
        Fault::Kv => flood(settings, |n| {
            // When its memory is full, it goes on all the same.
            let _ = kv::put(&n.to_string(), &[0; 1024], None);
        }),
        Fault::Text => log::write(log::Level::Info, &"x".repeat(8 << 20), &[]),
        Fault::None | Fault::Count | Fault::More | Fault::Long | Fault::Deny | Fault::Repeat => {}
    }
}

fn flood(settings: &Settings, call: impl Fn(u32)) {
    (0..settings.calls.unwrap_or(u32::MAX)).for_each(call);
}

fn hoard() {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(black_box(vec![1; 1 << 20]));
    }
}

fn descend(depth: u64) -> u64 {
    let here = black_box([depth; 64]);
    if here[1] == u64::MAX {
        return 0;
    }
    // The addition after the call keeps the compiler from making a loop of it.
    black_box(descend(here[0] + 1) + here[63])
}

/// Needs nothing but the machine's own stack, which `descend` does not reach: it fills the one in memory first.
#[inline(never)]
fn fall(depth: u64) -> u64 {
    // Turning the bits after the call keeps the compiler from making a loop of it.
    if depth == 0 { 0 } else { fall(depth - 1).rotate_left(7) ^ depth }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_can_be_kept_to_some_questions() {
        let settings = Settings::read(r#"{"fault": "loop", "only": "trouble"}"#).unwrap();
        assert!(settings.concerns(&["calm", "trouble"], "request"));
        assert!(!settings.concerns(&["calm"], "request"));
        assert!(Settings::read("{}").unwrap().concerns(&[], ""));
        let later = Settings::read(r#"{"fault": "deny", "why": "recheck", "at": ["recording"]}"#).unwrap();
        let several = Settings::read(r#"{"fault": "deny", "only": ["7@admin", "board"]}"#).unwrap();
        assert!(several.concerns(&["board"], "") && !several.concerns(&["7@ws"], ""));
        assert!(later.concerns(&[], "recheck") && !later.concerns(&[], "request"));
        assert!(later.is_for("recording") && !later.is_for("admission"));
        assert!(Settings::read(r#"{"fault": "no such"}"#).is_err());
    }
}
