//! Records nobody who has not agreed, or who does not want it any more.
//!
//! Asked who is recorded and not who records: to start a recording still takes the grant for it. Nobody speaks for somebody else.
//! Whoever withdraws is not recorded from that moment on, in a recording that runs as well; what was recorded before stays.
//!
//! Commands (`policy-command`), of everybody about themselves:
//!
//! - `consent`: I may be recorded in this room. A recording that runs has my tracks after the next `start-recording`.
//! - `withdraw`: I may not.
//!
//! The reply to both is how it stands: `{"recordable": true}`.
//!
//! Grants: `config`, `kv`. Settings, all optional:
//!
//! ```toml
//! [plugin.settings]
//! rooms = ["*"]                     # rooms in which consent is needed; * stands for any text
//! silence = "no"                    # what it means when somebody has said nothing: "no" or "yes"
//! claim = "recordingConsent"        # the claim, true or false, that speaks for those who have said nothing in the room
//! sources = ["camera", "microphone", "screen", "screen-audio"]   # what needs consent; anything else is recorded
//! remember_s = 2592000              # how long an answer holds, at most 4294967
//! recheck_ms = 2000                 # how often the node asks whether what is recorded still may be, from 250
//! ```

use common::{Memory, key, matches_any, ttl_ms};
use serde::Deserialize;

use crate::exports::lockgate::policy::command::{Effect, Outcome, Response};
use crate::exports::lockgate::policy::{command, recording};
use crate::lockgate::policy::types::{Denial, Grant, Identity, Verdict};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package lockgate:recording-consent;
        world plugin {
            include lockgate:policy/recording-plugin@0.1.0;
            include lockgate:policy/command-plugin@0.1.0;
        }
    ",
    additional_derives: [PartialEq],
    generate_all,
});

struct RecordingConsent;

export!(RecordingConsent);

common::lifecycle!(RecordingConsent);

impl recording::Guest for RecordingConsent {
    fn decide(asked: recording::Question) -> Vec<Verdict> {
        settings().decide(&Kv, &asked)
    }
}

impl command::Guest for RecordingConsent {
    fn handle(asked: command::Question) -> Outcome {
        settings().handle(&Kv, &asked)
    }
}

common::kv_memory!();

/// What the operator chose; see the head of the crate.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    rooms: Vec<String>,
    silence: Silence,
    claim: String,
    sources: Vec<String>,
    remember_s: u32,
    recheck_ms: u32,
}

/// What it means that somebody has said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Silence {
    No,
    Yes,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rooms: vec!["*".into()],
            silence: Silence::No,
            claim: "recordingConsent".into(),
            sources: ["camera", "microphone", "screen", "screen-audio"].map(Into::into).into(),
            remember_s: 30 * 24 * 3600,
            recheck_ms: 2000,
        }
    }
}

impl Settings {
    fn read(json: &str) -> Result<Self, String> {
        let settings: Self = common::settings(json)?;
        if !(1..=u32::MAX / 1000).contains(&settings.remember_s) {
            return Err("remember_s: an answer holds for 1 to 4294967 seconds".into());
        }
        if settings.recheck_ms < 250 {
            return Err(
                "recheck_ms: the node asks again after 250 milliseconds at the soonest: write 250 or more".into()
            );
        }
        Ok(settings)
    }

    fn decide(&self, memory: &impl Memory, asked: &recording::Question) -> Vec<Verdict> {
        if !matches_any(&self.rooms, &asked.room.name) {
            return vec![Verdict::Abstain; asked.publications.len()];
        }
        let agrees = |who: &Identity| self.agrees(memory, &asked.room.name, who);
        let agree: Vec<_> = asked.publishers.iter().map(|publisher| agrees(&publisher.identity)).collect();
        let verdict = |publisher: u32, source: &String| {
            if !self.sources.contains(source) {
                return Verdict::Allow(common::no_limits!());
            }
            match agree.get(publisher as usize) {
                Some(true) => Verdict::Allow(Grant { reask_after_ms: Some(self.recheck_ms), ..common::no_limits!() }),
                _ => Verdict::Deny(denial("forbidden", "who publishes this does not agree to be recorded")),
            }
        };
        asked.publications.iter().map(|one| verdict(one.publisher, &one.track.source)).collect()
    }

    /// What they said in the room counts first, then what their token says, then what silence means.
    fn agrees(&self, memory: &impl Memory, room: &str, who: &Identity) -> bool {
        let claim = who.claims.iter().find(|attr| attr.key == self.claim).map(|claim| claim.value == "true");
        let said = memory.get(&key(ANSWER, room, &who.subject)).map(|answer| answer == YES);
        said.or(claim).unwrap_or(self.silence == Silence::Yes)
    }

    fn handle(&self, memory: &impl Memory, asked: &command::Question) -> Outcome {
        let answer = match asked.name.as_str() {
            "consent" => YES,
            "withdraw" => NO,
            _ => return Outcome::Abstain,
        };
        let (room, who) = (&asked.room.name, &asked.who.identity);
        if !matches_any(&self.rooms, room) {
            return Outcome::Abstain;
        }
        if !memory.put(&key(ANSWER, room, &who.subject), answer, ttl_ms(self.remember_s)) {
            // What cannot be remembered is a no, as soon as it can be.
            memory.delete(&key(ANSWER, room, &who.subject));
            let message = "your answer could not be kept: leave the room if you do not want to be recorded";
            return Outcome::Deny(denial("memory-full", message));
        }
        let subject = Some(who.subject.clone());
        let effects = vec![Effect { name: "re-ask".into(), subject, payload: String::new() }];
        Outcome::Done(Response { reply: format!("{{\"recordable\": {}}}", answer == YES), effects })
    }
}

fn denial(code: &str, message: &str) -> Denial {
    Denial { code: code.into(), message: message.into(), retry_after_ms: None }
}

const ANSWER: &str = "answer";
const YES: &[u8] = b"yes";
const NO: &[u8] = b"no";

#[cfg(test)]
mod tests;
