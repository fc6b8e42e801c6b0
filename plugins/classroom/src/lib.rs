//! Lets students see and hear only the teacher and who is at the board.
//!
//! Teachers, that is those with one of the roles or with the `admin` grant, see and hear everybody, publish anything, and may `mute`
//! and `kick`. Students publish some sources; whoever is at the board is seen by all and publishes anything, a screen as well.
//!
//! Commands (`policy-command`):
//!
//! - `hand-raise`, `hand-lower`, of students; `hand-lower` of teachers, too, with a subject as payload.
//! - `hands`, of teachers: raised hands, as `{"people": [{"subject", "username", "sinceMs"}], "more": 0}`. Whoever has asked is
//!   told of later ones: `notify` with `{"hand": "raised", "subject", "username"}`, or `"lowered"`.
//! - `board-call`, `board-dismiss`, of teachers, with a subject as payload. They are told: `notify` with `{"board": "called"}`.
//!
//! Grants: `config`, `kv`. Settings, all optional:
//!
//! ```toml
//! [plugin.settings]
//! rooms = ["*"]                              # rooms that are classrooms; * stands for any text
//! role_claim = "role"                        # the claim that names the role, or a list of roles
//! teachers = ["teacher"]                     # roles of teachers
//! student_sources = ["camera", "microphone"] # what students publish, for their teachers
//! lesson_s = 14400                           # how long hands stay up, and somebody at the board
//! ```

use common::{Entry, Memory, Roster, key, matches_any, ttl_ms, words};
use serde::Deserialize;
use serde_json::json;

use crate::exports::lockgate::policy::command::{Effect, Outcome, Response};
use crate::exports::lockgate::policy::{command, publishing, subscription};
use crate::lockgate::policy::types::{Denial, Identity, Verdict};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package lockgate:classroom;
        world plugin {
            include lockgate:policy/publishing-plugin@0.1.0;
            include lockgate:policy/subscription-plugin@0.1.0;
            include lockgate:policy/command-plugin@0.1.0;
        }
    ",
    additional_derives: [PartialEq],
    generate_all,
});

struct Classroom;

export!(Classroom);

common::lifecycle!(Classroom);

impl publishing::Guest for Classroom {
    fn decide(asked: publishing::Question) -> Vec<Verdict> {
        settings().publish(&Kv, &asked)
    }
}

impl subscription::Guest for Classroom {
    fn decide(asked: subscription::Question) -> Vec<Verdict> {
        settings().subscribe(&Kv, &asked)
    }
}

impl command::Guest for Classroom {
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
    teachers: Vec<String>,
    student_sources: Vec<String>,
    lesson_s: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rooms: vec!["*".into()],
            role_claim: "role".into(),
            teachers: vec!["teacher".into()],
            student_sources: vec!["camera".into(), "microphone".into()],
            lesson_s: 4 * 3600,
        }
    }
}

impl Settings {
    fn read(json: &str) -> Result<Self, String> {
        let settings: Self = common::settings(json)?;
        match settings.lesson_s {
            0 => Err("lesson_s: 0 would lower each hand at once: write a number of seconds from 1".into()),
            _ => Ok(settings),
        }
    }

    fn publish(&self, memory: &impl Memory, asked: &publishing::Question) -> Vec<Verdict> {
        if !matches_any(&self.rooms, &asked.room.name) {
            return vec![Verdict::Abstain; asked.tracks.len()];
        }
        let all = self.is_seen(memory, &asked.room.name, &asked.who.identity);
        let may = |source: &String| all || self.student_sources.contains(source);
        asked.tracks.iter().map(|track| verdict(may(&track.source), "students may not publish this")).collect()
    }

    fn subscribe(&self, memory: &impl Memory, asked: &subscription::Question) -> Vec<Verdict> {
        if !matches_any(&self.rooms, &asked.room.name) {
            return vec![Verdict::Abstain; asked.publications.len()];
        }
        let all = self.teaches(&asked.who.identity);
        let is_seen = |who: &Identity| all || self.is_seen(memory, &asked.room.name, who);
        let seen: Vec<_> = asked.publishers.iter().map(|publisher| is_seen(&publisher.identity)).collect();
        let may = |publisher: u32| seen.get(publisher as usize) == Some(&true);
        let seen = asked.publications.iter().map(|one| may(one.publisher));
        seen.map(|may| verdict(may, "students see only the teacher and who is at the board")).collect()
    }

    /// Whether all see and hear them.
    fn is_seen(&self, memory: &impl Memory, room: &str, who: &Identity) -> bool {
        self.teaches(who) || memory.get(&key(BOARD, room, &who.subject)).is_some()
    }

    fn teaches(&self, who: &Identity) -> bool {
        let claim = who.claims.iter().find(|attr| attr.key == self.role_claim);
        let mut roles = claim.map(|claim| words(&claim.value)).unwrap_or_default().into_iter();
        who.grant.admin == Some(true) || roles.any(|role| self.teachers.contains(&role))
    }

    fn handle(&self, memory: &impl Memory, asked: &command::Question) -> Outcome {
        let (room, who, payload) = (&asked.room.name, &asked.who.identity, asked.payload.as_str());
        if !matches_any(&self.rooms, room) {
            return Outcome::Abstain;
        }
        let me = Entry { subject: who.subject.clone(), username: who.username.clone(), since_ms: asked.now_ms };
        match (asked.name.as_str(), self.teaches(who)) {
            ("hand-raise", false) => self.raise(memory, room, &me),
            ("hand-lower", false) => lower(memory, room, &me.subject),
            ("hand-lower", true) => lower(memory, room, payload),
            ("hands", true) => {
                // Who does not fit has the list all the same.
                let _ = Roster::new(memory, DESK, room).put(&me, ttl_ms(self.lesson_s));
                done(Roster::new(memory, HANDS, room).told(), Vec::new())
            }
            ("board-call" | "board-dismiss", true) if payload.is_empty() => {
                Outcome::Deny(denial("not-found", "the payload says whom: their subject"))
            }
            ("board-call", true) => self.call(memory, room, payload),
            ("board-dismiss", true) => {
                memory.delete(&key(BOARD, room, payload));
                done(String::new(), vec![re_ask(payload), notify(payload, &json!({ "board": "dismissed" }))])
            }
            ("mute" | "kick", true) => done(String::new(), Vec::new()),
            ("hands" | "board-call" | "board-dismiss", false) => {
                Outcome::Deny(denial("forbidden", "only teachers may"))
            }
            _ => Outcome::Abstain,
        }
    }

    fn raise(&self, memory: &impl Memory, room: &str, me: &Entry) -> Outcome {
        match Roster::new(memory, HANDS, room).put(me, ttl_ms(self.lesson_s)) {
            common::Seated::Full => Outcome::Deny(denial("rate-limited", "too many hands are up")),
            common::Seated::Already => done(String::new(), Vec::new()),
            common::Seated::Anew => {
                let told = json!({ "hand": "raised", "subject": me.subject, "username": me.username });
                done(String::new(), tell_teachers(memory, room, &told))
            }
        }
    }

    fn call(&self, memory: &impl Memory, room: &str, subject: &str) -> Outcome {
        if !memory.put(&key(BOARD, room, subject), b"1", ttl_ms(self.lesson_s)) {
            return Outcome::Deny(denial("memory-full", "too much is remembered: raise limits.kv_keys"));
        }
        Roster::new(memory, HANDS, room).remove(&[subject.to_owned()]);
        done(String::new(), vec![re_ask(subject), notify(subject, &json!({ "board": "called" }))])
    }
}

fn lower(memory: &impl Memory, room: &str, subject: &str) -> Outcome {
    let was_up = Roster::new(memory, HANDS, room).remove(&[subject.to_owned()]) > 0;
    let told = json!({ "hand": "lowered", "subject": subject });
    done(String::new(), if was_up { tell_teachers(memory, room, &told) } else { Vec::new() })
}

/// Those who have asked for raised hands, and no student.
fn tell_teachers(memory: &impl Memory, room: &str, what: &serde_json::Value) -> Vec<Effect> {
    let teachers = Roster::new(memory, DESK, room).all().into_iter().take(MAX_EFFECTS);
    teachers.map(|teacher| notify(&teacher.subject, what)).collect()
}

fn re_ask(subject: &str) -> Effect {
    Effect { name: "re-ask".into(), subject: Some(subject.into()), payload: String::new() }
}

fn notify(subject: &str, what: &serde_json::Value) -> Effect {
    Effect { name: "notify".into(), subject: Some(subject.into()), payload: what.to_string() }
}

fn done(reply: String, effects: Vec<Effect>) -> Outcome {
    Outcome::Done(Response { reply, effects })
}

fn verdict(may: bool, otherwise: &str) -> Verdict {
    if may { Verdict::Allow(common::no_limits!()) } else { Verdict::Deny(denial("forbidden", otherwise)) }
}

fn denial(code: &str, message: &str) -> Denial {
    Denial { code: code.into(), message: message.into(), retry_after_ms: None }
}

const BOARD: &str = "board";
const HANDS: &str = "hands";
const DESK: &str = "desk";
/// Most effects of a command.
const MAX_EFFECTS: usize = 32;

#[cfg(test)]
mod tests;
