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

use common::{Entry, Ledger, Memory, Roster, any_in, matches_any, ttl_ms, words_of};
use serde::Deserialize;
use serde_json::json;

use crate::exports::lockgate::policy::command::{Effect, Outcome};
use crate::exports::lockgate::policy::{command, publishing, subscription};
use crate::lockgate::policy::types::{Identity, Verdict};

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
        let board = Ledger::new(memory, BOARD, asked.now_ms);
        let all = self.is_seen(&board, &asked.room.name, &asked.who.identity);
        let may = |source: &String| all || self.student_sources.contains(source);
        asked.tracks.iter().map(|track| verdict(may(&track.source), "students may not publish this")).collect()
    }

    fn subscribe(&self, memory: &impl Memory, asked: &subscription::Question) -> Vec<Verdict> {
        if !matches_any(&self.rooms, &asked.room.name) {
            return vec![Verdict::Abstain; asked.publications.len()];
        }
        let all = self.teaches(&asked.who.identity);
        let board = Ledger::new(memory, BOARD, asked.now_ms);
        let is_seen = |who: &Identity| all || self.is_seen(&board, &asked.room.name, who);
        let seen: Vec<_> = asked.publishers.iter().map(|publisher| is_seen(&publisher.identity)).collect();
        let may = |publisher: u32| seen.get(publisher as usize) == Some(&true);
        let seen = asked.publications.iter().map(|one| may(one.publisher));
        seen.map(|may| verdict(may, "students see only the teacher and who is at the board")).collect()
    }

    /// Whether all see and hear them.
    fn is_seen(&self, board: &Ledger<'_, impl Memory>, room: &str, who: &Identity) -> bool {
        self.teaches(who) || board.mark(room, &who.subject).is_some()
    }

    fn teaches(&self, who: &Identity) -> bool {
        who.grant.admin == Some(true) || any_in(&words_of!(who, self.role_claim), &self.teachers)
    }

    fn handle(&self, memory: &impl Memory, asked: &command::Question) -> Outcome {
        let (room, who, payload) = (&asked.room.name, &asked.who.identity, asked.payload.as_str());
        if !matches_any(&self.rooms, room) {
            return Outcome::Abstain;
        }
        let board = Ledger::new(memory, BOARD, asked.now_ms);
        let me = Entry { subject: who.subject.clone(), username: who.username.clone(), since_ms: asked.now_ms };
        match (asked.name.as_str(), self.teaches(who)) {
            ("hand-raise", false) => self.raise(memory, room, &me),
            ("hand-lower", false) => lower(memory, room, &me.subject),
            ("hand-lower", true) => lower(memory, room, payload),
            ("hands", true) => {
                // Who does not fit has the list all the same.
                let _ = Roster::read(memory, DESK, room).put(&me, ttl_ms(self.lesson_s));
                common::done!(Roster::read(memory, HANDS, room).told(), Vec::new())
            }
            ("board-call" | "board-dismiss", true) if payload.is_empty() => {
                Outcome::Deny(common::denial!("not-found", "the payload says whom: their subject"))
            }
            ("board-call", true) => self.call(memory, &board, room, payload),
            ("board-dismiss", true) => {
                board.remove(room, payload);
                common::done!(
                    "",
                    vec![common::effect!("re-ask", payload), notify(payload, &json!({ "board": "dismissed" }))]
                )
            }
            ("mute" | "kick", true) => common::done!("", Vec::new()),
            ("hands" | "board-call" | "board-dismiss", false) => {
                Outcome::Deny(common::denial!("forbidden", "only teachers may"))
            }
            _ => Outcome::Abstain,
        }
    }

    fn raise(&self, memory: &impl Memory, room: &str, me: &Entry) -> Outcome {
        match Roster::read(memory, HANDS, room).put(me, ttl_ms(self.lesson_s)) {
            common::Seated::Full => Outcome::Deny(common::denial!("rate-limited", "too many hands are up")),
            common::Seated::Already => common::done!("", Vec::new()),
            common::Seated::Anew => {
                let told = json!({ "hand": "raised", "subject": me.subject, "username": me.username });
                common::done!("", tell_teachers(memory, room, &told))
            }
        }
    }

    fn call<M: Memory>(&self, memory: &M, board: &Ledger<'_, M>, room: &str, subject: &str) -> Outcome {
        if !board.put(room, subject, CALLED, ttl_ms(self.lesson_s)) {
            let message = "nothing more can be remembered: raise limits.kv_keys and limits.kv_bytes";
            return Outcome::Deny(common::denial!("memory-full", message));
        }
        Roster::read(memory, HANDS, room).remove(&[subject.to_owned()]);
        common::done!("", vec![common::effect!("re-ask", subject), notify(subject, &json!({ "board": "called" }))])
    }
}

fn lower(memory: &impl Memory, room: &str, subject: &str) -> Outcome {
    let was_up = Roster::read(memory, HANDS, room).remove(&[subject.to_owned()]) > 0;
    let told = json!({ "hand": "lowered", "subject": subject });
    common::done!("", if was_up { tell_teachers(memory, room, &told) } else { Vec::new() })
}

/// Those who have asked for raised hands, and no student.
fn tell_teachers(memory: &impl Memory, room: &str, what: &serde_json::Value) -> Vec<Effect> {
    let teachers = Roster::read(memory, DESK, room).all().into_iter().take(MAX_EFFECTS);
    teachers.map(|teacher| notify(&teacher.subject, what)).collect()
}

fn notify(subject: &str, what: &serde_json::Value) -> Effect {
    common::effect!("notify", subject, what.to_string())
}

fn verdict(may: bool, otherwise: &str) -> Verdict {
    if may { Verdict::Allow(common::no_limits!()) } else { Verdict::Deny(common::denial!("forbidden", otherwise)) }
}

/// The ledger of who is at the board, and its mark.
const BOARD: &str = "board";
const CALLED: u8 = 1;
const HANDS: &str = "hands";
const DESK: &str = "desk";
/// Most effects of a command.
const MAX_EFFECTS: usize = 32;

#[cfg(test)]
mod tests;
