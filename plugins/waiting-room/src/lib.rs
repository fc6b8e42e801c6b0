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

use common::{Entry, Ledger, Memory, Roster, Seated, any_in, matches_any, ttl_ms, words_of};
use serde::Deserialize;

use crate::exports::lockgate::policy::command::Outcome;
use crate::exports::lockgate::policy::{admission, command};
use crate::lockgate::policy::types::{Identity, Verdict};

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
        let decided = Ledger::new(memory, DECIDED, asked.now_ms).mark(room, &who.subject).map(|mark| mark.kind);
        // Who is in was let in, however long ago.
        let is_in = asked.extra.iter().any(|attr| attr.key == "why" && attr.value == "recheck");
        match decided {
            Some(REFUSED) => return Verdict::Deny(common::denial!("forbidden", "a moderator turned you away")),
            Some(ADMITTED) => return Verdict::Allow(common::no_limits!()),
            _ if is_in => return Verdict::Allow(common::no_limits!()),
            _ => {}
        }
        let entry = Entry { subject: who.subject.clone(), username: who.username.clone(), since_ms: asked.now_ms };
        match Roster::read(memory, WAITING, room).put(&entry, ttl_ms(self.waiting_s)) {
            Seated::Full => Verdict::Deny(common::denial!("room-full", "the lobby is full")),
            Seated::Anew | Seated::Already => Verdict::Deny(common::denial!("waiting", &self.message)),
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
            return Outcome::Deny(common::denial!("forbidden", "only moderators decide who comes in"));
        }
        let waiting = Roster::read(memory, WAITING, room);
        let decided = Ledger::new(memory, DECIDED, asked.now_ms);
        match (asked.name.as_str(), asked.payload.as_str()) {
            ("lobby-list", _) => common::done!(waiting.told(), Vec::new()),
            ("lobby-admit", "") => {
                let longest: Vec<_> = waiting.all().into_iter().take(AT_ONCE).map(|entry| entry.subject).collect();
                self.let_in(waiting, &decided, room, longest)
            }
            ("lobby-admit", subject) => self.let_in(waiting, &decided, room, vec![subject.to_owned()]),
            (_, "") => Outcome::Deny(common::denial!("not-found", "the payload says whom to turn away: their subject")),
            (_, subject) => self.turn_away(waiting, &decided, room, subject),
        }
    }

    /// Those who cannot be remembered wait on. The others are remembered first, as policy is asked about them, with all its plugins,
    /// when they are in.
    fn let_in<M: Memory>(
        &self,
        mut waiting: Roster<'_, M>,
        decided: &Ledger<'_, M>,
        room: &str,
        mut subjects: Vec<String>,
    ) -> Outcome {
        let asked = subjects.len();
        subjects.retain(|subject| decided.put(room, subject, ADMITTED, ttl_ms(self.admitted_s)));
        if subjects.is_empty() && asked > 0 {
            return Outcome::Deny(common::denial!("memory-full", NO_ROOM));
        }
        waiting.remove(&subjects);
        let effects = |subject: &String| [common::effect!("admit", subject), common::effect!("re-ask", subject)];
        common::done!(waiting.told(), subjects.iter().flat_map(effects).collect())
    }

    fn turn_away<M: Memory>(
        &self,
        mut waiting: Roster<'_, M>,
        decided: &Ledger<'_, M>,
        room: &str,
        subject: &str,
    ) -> Outcome {
        if self.refused_s == 0 {
            decided.remove(room, subject);
        } else if !decided.put(room, subject, REFUSED, ttl_ms(self.refused_s)) {
            return Outcome::Deny(common::denial!("memory-full", NO_ROOM));
        }
        waiting.remove(&[subject.to_owned()]);
        common::done!(waiting.told(), vec![common::effect!("revoke", subject, "a moderator turned you away")])
    }

    fn moderates(&self, who: &Identity) -> bool {
        who.grant.admin == Some(true) || any_in(&words_of!(who, self.role_claim), &self.moderators)
    }
}

const WAITING: &str = "waiting";
/// The ledger of what moderators decided, and its marks.
const DECIDED: &str = "decided";
const ADMITTED: u8 = 1;
const REFUSED: u8 = 2;
const NO_ROOM: &str = "nothing more can be remembered: raise limits.kv_keys and limits.kv_bytes";
/// A command has at most 32 effects, and each who is let in has two.
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests;
