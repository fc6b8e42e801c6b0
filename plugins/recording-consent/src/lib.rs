//! Records nobody who has not agreed, or who does not want it any more.
//!
//! Asked who is recorded and not who records: to start a recording still takes the grant for it. Nobody speaks for somebody else.
//! Whoever withdraws is not recorded from that moment on, in a recording that runs as well; what was recorded before stays.
//!
//! Commands (`policy-command`), of everybody about themselves:
//!
//! - `consent`: I may be recorded in this room. A recording of everything that runs already has my tracks from then on.
//! - `withdraw`: I may not.
//!
//! The reply to both is how it stands: `{"recordable": true}`. An agreement may be lost, if very much is remembered: then it is a no again.
//! A withdrawal is kept apart from those. Where there is no room for one, it still takes back what its author agreed to. Whoever would be
//! recorded all the same, since their token or `silence` says yes, is put out of the room, which ends their recording, and is told that the
//! withdrawal was not kept: if they come back, they say it again.
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

use common::{Ledger, Memory, digest, matches_any, ttl_ms};
use serde::Deserialize;

use crate::exports::lockgate::policy::command::Outcome;
use crate::exports::lockgate::policy::{command, recording};
use crate::lockgate::policy::types::{Grant, Identity, Verdict};

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
        let said = Said { memory, room: &asked.room.name, now_ms: asked.now_ms };
        let agrees = |who: &Identity| self.agrees(&said, who);
        let agree: Vec<_> = asked.publishers.iter().map(|publisher| agrees(&publisher.identity)).collect();
        let verdict = |publisher: u32, source: &String| {
            if !self.sources.contains(source) {
                return Verdict::Allow(common::no_limits!());
            }
            match agree.get(publisher as usize) {
                Some(true) => Verdict::Allow(Grant { reask_after_ms: Some(self.recheck_ms), ..common::no_limits!() }),
                _ => Verdict::Deny(common::denial!("forbidden", "who publishes this does not agree to be recorded")),
            }
        };
        asked.publications.iter().map(|one| verdict(one.publisher, &one.track.source)).collect()
    }

    /// What they said in the room counts first, then what their token says, then what silence means.
    fn agrees(&self, said: &Said<'_, impl Memory>, who: &Identity) -> bool {
        said.answer(&who.subject).unwrap_or_else(|| self.agrees_silently(who))
    }

    fn agrees_silently(&self, who: &Identity) -> bool {
        let claim = who.claims.iter().find(|attr| attr.key == self.claim).map(|claim| claim.value == "true");
        claim.unwrap_or(self.silence == Silence::Yes)
    }

    fn handle(&self, memory: &impl Memory, asked: &command::Question) -> Outcome {
        let (room, who) = (&asked.room.name, &asked.who.identity);
        if !matches_any(&self.rooms, room) {
            return Outcome::Abstain;
        }
        let said = Said { memory, room, now_ms: asked.now_ms };
        let holds_ms = ttl_ms(self.remember_s);
        let kept = match asked.name.as_str() {
            // What holds without their word takes no room.
            "consent" if said.answer(&who.subject).is_none() && self.agrees_silently(who) => true,
            "consent" => said.yes(&who.subject, holds_ms),
            "withdraw" => said.no(&who.subject, holds_ms) || self.takes_back(&said, who),
            _ => return Outcome::Abstain,
        };
        match (asked.name.as_str(), kept) {
            (_, true) => {
                let reply = format!("{{\"recordable\": {}}}", self.agrees(&said, who));
                common::done!(reply, vec![common::effect!("re-ask", &who.subject)])
            }
            ("consent", false) => {
                Outcome::Deny(common::denial!("memory-full", "your answer could not be kept: you are not recorded"))
            }
            (_, false) => {
                let reason = "your answer could not be kept, and out here nothing of you is recorded";
                let reply = r#"{"recordable": false, "kept": false}"#;
                common::done!(reply, vec![common::effect!("revoke", &who.subject, reason)])
            }
        }
    }

    /// Forgets their yes, for which there is always room. Returns whether that is enough for them not to be recorded.
    fn takes_back(&self, said: &Said<'_, impl Memory>, who: &Identity) -> bool {
        said.yeses().remove(said.room, &who.subject);
        !self.agrees(said, who)
    }
}

/// What people said in a room.
///
/// Each yes is a mark of a ledger, where many find room, and where it is safe that one is lost. A no has a key to which nothing but
/// another no is written, so that nothing at the same time can undo it; and it holds against a yes that is not later. Everybody has
/// sixteen such keys: rooms that share one share the no, until they say yes there.
struct Said<'a, M> {
    memory: &'a M,
    room: &'a str,
    now_ms: u64,
}

impl<M: Memory> Said<'_, M> {
    /// All answers hold for the same time, so that the later one ends later.
    fn answer(&self, subject: &str) -> Option<bool> {
        match (self.yes_until_ms(subject), self.no_until_ms(subject)) {
            (Some(yes), no) => Some(no.is_none_or(|no| no < yes)),
            (None, no) => no.map(|_| false),
        }
    }

    fn yes(&self, subject: &str, holds_ms: u32) -> bool {
        self.yeses().put(self.room, subject, YES, holds_ms)
    }

    /// Holds against each yes until now, even if the clock was set back since.
    fn no(&self, subject: &str, holds_ms: u32) -> bool {
        let earlier = self.yes_until_ms(subject).max(self.no_until_ms(subject)).unwrap_or(0);
        let until_ms = self.now_ms.saturating_add(holds_ms.into()).max(earlier);
        let holds_ms = u32::try_from(until_ms - self.now_ms).unwrap_or(u32::MAX);
        self.memory.put(&self.key(subject), until_ms.to_string().as_bytes(), holds_ms)
    }

    fn no_until_ms(&self, subject: &str) -> Option<u64> {
        let until_ms = self.memory.get(&self.key(subject))?;
        // What cannot be read is a no all the same.
        Some(String::from_utf8_lossy(&until_ms).parse().unwrap_or(u64::MAX))
    }

    fn yes_until_ms(&self, subject: &str) -> Option<u64> {
        self.yeses().mark(self.room, subject).map(|mark| mark.until_ms)
    }

    fn yeses(&self) -> Ledger<'_, M> {
        Ledger::new(self.memory, "yes", self.now_ms)
    }

    fn key(&self, subject: &str) -> String {
        format!("no/{:016x}/{}", digest(subject), digest(self.room) % NO_KEYS)
    }
}

const YES: u8 = 1;
/// Keys of one subject. More of them would let fewer rooms share a no, and fewer people fill the memory.
const NO_KEYS: u64 = 16;

#[cfg(test)]
mod tests;
