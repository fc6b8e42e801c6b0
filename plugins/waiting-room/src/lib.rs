//! Keeps people in a lobby until a moderator lets them in.
//!
//! Moderators are those with one of the roles, or with the `admin` grant; they go straight in. Whoever is let in may come back
//! without waiting for a while, and whoever is refused may not.
//!
//! Commands (`policy-command`), of moderators only:
//!
//! - `lobby-list`: who waits, as `{"people": [{"subject", "username", "sinceMs"}], "more": 0}`.
//! - `lobby-admit`: lets the subject in that the payload names; without a payload the sixteen who have waited longest.
//! - `lobby-refuse`: turns the subject away that the payload names.
//!
//! Grants: `config`, `kv`. Settings, all optional:
//!
//! ```toml
//! [plugin.settings]
//! rooms = ["*"]                       # rooms with a lobby; * stands for any text
//! role_claim = "role"                 # the claim that names the role, or a list of roles
//! moderators = ["host", "moderator"]  # roles that let people in
//! message = "a moderator will let you in"
//! waiting_s = 3600                    # how long somebody is listed who does not ask again
//! admitted_s = 43200                  # how long somebody may come back
//! refused_s = 600                     # how long somebody may not
//! ```

use common::{Entry, Memory, Roster, Seated, key, matches_any, ttl_ms, words};
use serde::Deserialize;

use crate::exports::lockgate::policy::command::{Effect, Outcome, Response};
use crate::exports::lockgate::policy::{admission, command};
use crate::lockgate::policy::types::{Denial, Identity, Verdict};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package lockgate:waiting-room;
        world plugin {
            include lockgate:policy/admission-plugin@0.1.0;
            include lockgate:policy/command-plugin@0.1.0;
        }
    ",
    additional_derives: [PartialEq],
    generate_all,
});

struct WaitingRoom;

export!(WaitingRoom);

common::lifecycle!(WaitingRoom);

impl admission::Guest for WaitingRoom {
    fn admit(asked: admission::Question) -> Verdict {
        settings().admit(&Kv, &asked)
    }
}

impl command::Guest for WaitingRoom {
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
    role_claim: String,
    moderators: Vec<String>,
    message: String,
    waiting_s: u32,
    admitted_s: u32,
    refused_s: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rooms: vec!["*".into()],
            role_claim: "role".into(),
            moderators: vec!["host".into(), "moderator".into()],
            message: "a moderator will let you in".into(),
            waiting_s: 3600,
            admitted_s: 12 * 3600,
            refused_s: 600,
        }
    }
}

impl Settings {
    fn read(json: &str) -> Result<Self, String> {
        let settings: Self = common::settings(json)?;
        let times = [("waiting_s", settings.waiting_s), ("admitted_s", settings.admitted_s)];
        match times.into_iter().find(|(_, seconds)| *seconds == 0) {
            Some((name, _)) => Err(format!("{name}: 0 would forget people at once: write a number of seconds from 1")),
            None => Ok(settings),
        }
    }

    fn admit(&self, memory: &impl Memory, asked: &admission::Question) -> Verdict {
        let (who, room) = (&asked.who.identity, &asked.room.name);
        if !matches_any(&self.rooms, room) {
            return Verdict::Abstain;
        }
        if self.moderates(who) {
            return Verdict::Allow(common::no_limits!());
        }
        if memory.get(&key(REFUSED, room, &who.subject)).is_some() {
            return Verdict::Deny(denial("forbidden", "a moderator turned you away"));
        }
        // Who is in was let in, however long ago.
        let is_in = asked.extra.iter().any(|attr| attr.key == "why" && attr.value == "recheck");
        if is_in || memory.get(&key(ADMITTED, room, &who.subject)).is_some() {
            return Verdict::Allow(common::no_limits!());
        }
        let entry = Entry { subject: who.subject.clone(), username: who.username.clone(), since_ms: asked.now_ms };
        match Roster::new(memory, WAITING, room).put(&entry, ttl_ms(self.waiting_s)) {
            Seated::Full => Verdict::Deny(denial("room-full", "the lobby is full")),
            Seated::Anew | Seated::Already => Verdict::Deny(denial("waiting", &self.message)),
        }
    }

    fn handle(&self, memory: &impl Memory, asked: &command::Question) -> Outcome {
        let room = &asked.room.name;
        if !["lobby-list", "lobby-admit", "lobby-refuse"].contains(&asked.name.as_str())
            || !matches_any(&self.rooms, room)
        {
            return Outcome::Abstain;
        }
        if !self.moderates(&asked.who.identity) {
            return Outcome::Deny(denial("forbidden", "only moderators decide who comes in"));
        }
        let waiting = Roster::new(memory, WAITING, room);
        match (asked.name.as_str(), asked.payload.as_str()) {
            ("lobby-list", _) => done(waiting.told(), Vec::new()),
            ("lobby-admit", "") => {
                let longest: Vec<_> = waiting.all().into_iter().take(AT_ONCE).map(|entry| entry.subject).collect();
                self.let_in(memory, room, &longest)
            }
            ("lobby-admit", subject) => self.let_in(memory, room, &[subject.to_owned()]),
            (_, "") => Outcome::Deny(denial("not-found", "the payload says whom to turn away: their subject")),
            (_, subject) => self.turn_away(memory, room, subject),
        }
    }

    /// Remembers them first: policy is asked about them when they are in, with all its plugins.
    fn let_in(&self, memory: &impl Memory, room: &str, subjects: &[String]) -> Outcome {
        let waiting = Roster::new(memory, WAITING, room);
        let mut effects = Vec::new();
        for subject in subjects {
            memory.delete(&key(REFUSED, room, subject));
            if !memory.put(&key(ADMITTED, room, subject), b"1", ttl_ms(self.admitted_s)) {
                return Outcome::Deny(denial("memory-full", "too many people are remembered: raise limits.kv_keys"));
            }
            effects.extend([effect("admit", subject, ""), effect("re-ask", subject, "")]);
        }
        waiting.remove(subjects);
        done(waiting.told(), effects)
    }

    fn turn_away(&self, memory: &impl Memory, room: &str, subject: &str) -> Outcome {
        let waiting = Roster::new(memory, WAITING, room);
        if self.refused_s > 0 && !memory.put(&key(REFUSED, room, subject), b"1", ttl_ms(self.refused_s)) {
            return Outcome::Deny(denial("memory-full", "too many people are remembered: raise limits.kv_keys"));
        }
        memory.delete(&key(ADMITTED, room, subject));
        waiting.remove(&[subject.to_owned()]);
        done(waiting.told(), vec![effect("revoke", subject, "a moderator turned you away")])
    }

    fn moderates(&self, who: &Identity) -> bool {
        let claim = who.claims.iter().find(|attr| attr.key == self.role_claim);
        let mut roles = claim.map(|claim| words(&claim.value)).unwrap_or_default().into_iter();
        who.grant.admin == Some(true) || roles.any(|role| self.moderators.contains(&role))
    }
}

fn done(reply: String, effects: Vec<Effect>) -> Outcome {
    Outcome::Done(Response { reply, effects })
}

fn effect(name: &str, subject: &str, payload: &str) -> Effect {
    Effect { name: name.into(), subject: Some(subject.into()), payload: payload.into() }
}

fn denial(code: &str, message: &str) -> Denial {
    Denial { code: code.into(), message: message.into(), retry_after_ms: None }
}

const WAITING: &str = "waiting";
const ADMITTED: &str = "admitted";
const REFUSED: &str = "refused";
/// A command has at most 32 effects, and each who is let in has two.
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests;
