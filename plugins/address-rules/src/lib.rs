//! Lets people in by their network address, and by the country that their token names.
//!
//! Every rule that fits the door and the room must be kept. Rules for all rooms are held against addresses when somebody connects,
//! too, before their token counts for anything; so those of the door `admin` protect the operators' interface. The address is that of
//! the connection: behind a proxy it is the proxy's. Where an address lies on Earth is not known in here, as there is no database and
//! no network: whoever makes the tokens may write it into a claim.
//!
//! Grants: `config`. Settings:
//!
//! ```toml
//! [plugin.settings]
//! country_claim = "country"             # the claim that names the country
//!
//! [[plugin.settings.rules]]             # at least one
//! doors = ["ws", "admin"]               # absent: all; "ws", "whip", "whep", "relay", "recorder", "admin"
//! rooms = ["board-*"]                   # absent: all; * stands for any text
//! allow = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]   # absent: all
//! deny = ["10.6.6.6"]                   # even if they are allowed
//! countries = ["CH", "DE"]              # absent: all; those without the claim are refused
//! ```

mod network;

use common::{matches_any, words_of};
use serde::Deserialize;
use serde_json::Value;

use crate::exports::lockgate::policy::{admission, auth};
use crate::lockgate::policy::types::Verdict;
use crate::network::Networks;

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package lockgate:address-rules;
        world plugin {
            include lockgate:policy/auth-plugin@0.1.0;
            include lockgate:policy/admission-plugin@0.1.0;
        }
    ",
    additional_derives: [PartialEq],
    generate_all,
});

struct AddressRules;

export!(AddressRules);

common::lifecycle!(AddressRules);

impl auth::Guest for AddressRules {
    fn authenticate(asked: auth::Question) -> auth::Outcome {
        settings().connect(&asked)
    }
}

impl admission::Guest for AddressRules {
    fn admit(asked: admission::Question) -> Verdict {
        settings().admit(&asked)
    }
}

/// What the operator chose, as it is written.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    country_claim: String,
    rules: Vec<Value>,
}

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    doors: Option<Vec<String>>,
    rooms: Option<Vec<String>>,
    allow: Option<Vec<String>>,
    deny: Option<Vec<String>>,
    countries: Option<Vec<String>>,
}

/// What the operator chose; see the head of the crate.
#[derive(Debug)]
struct Settings {
    country_claim: String,
    rules: Vec<Rule>,
}

/// Who comes in by some doors, to some rooms.
#[derive(Debug)]
struct Rule {
    doors: Option<Vec<String>>,
    rooms: Option<Vec<String>>,
    allow: Option<Networks>,
    deny: Networks,
    countries: Option<Vec<String>>,
}

impl Default for Written {
    fn default() -> Self {
        Self { country_claim: "country".into(), rules: Vec::new() }
    }
}

impl Settings {
    fn read(json: &str) -> Result<Self, String> {
        let Written { country_claim, rules } = common::settings(json)?;
        if rules.is_empty() {
            return Err("rules: there are none, so everybody would come in: write [[plugin.settings.rules]]".into());
        }
        let rules = rules.iter().enumerate().map(|(at, rule)| Rule::read(&format!("rules[{at}]"), rule));
        Ok(Self { country_claim, rules: rules.collect::<Result<_, _>>()? })
    }

    /// Says no, or leaves it to the plugins that know the token.
    fn connect(&self, asked: &auth::Question) -> auth::Outcome {
        let mut rules = self.rules.iter().filter(|rule| rule.rooms.is_none() && rule.is_for_door(&asked.door));
        match rules.all(|rule| rule.welcomes(&asked.peer)) {
            true => auth::Outcome::Abstain,
            false => auth::Outcome::Deny(common::denial!("forbidden", "your network address may not come in here")),
        }
    }

    fn admit(&self, asked: &admission::Question) -> Verdict {
        let (who, room) = (&asked.who, &asked.room.name);
        let fits = |rule: &&Rule| rule.is_for_door(&who.door) && rule.is_for_room(room);
        let rules: Vec<_> = self.rules.iter().filter(fits).collect();
        if rules.is_empty() {
            return Verdict::Abstain;
        }
        if !rules.iter().all(|rule| rule.welcomes(&who.peer)) {
            return Verdict::Deny(common::denial!("forbidden", "your network address may not enter this room"));
        }
        let countries = words_of!(who.identity, self.country_claim);
        match rules.iter().all(|rule| rule.is_for(&countries)) {
            true => Verdict::Allow(common::no_limits!()),
            false => Verdict::Deny(common::denial!("forbidden", "this room is not open to your country")),
        }
    }
}

impl Rule {
    fn read(place: &str, rule: &Value) -> Result<Self, String> {
        let WrittenRule { doors, rooms, allow, deny, countries } = common::part(place, rule)?;
        if allow.is_none() && deny.is_none() && countries.is_none() {
            return Err(format!("{place}: it refuses nobody: write allow, deny or countries, or take the rule away"));
        }
        if let Some(door) = doors.iter().flatten().find(|door| !DOORS.contains(&door.as_str())) {
            return Err(format!("{place}.doors: {door:?} is no door: they are {}", DOORS.join(", ")));
        }
        let allow = allow.map(|allow| Networks::read(&format!("{place}.allow"), &allow)).transpose()?;
        let deny = Networks::read(&format!("{place}.deny"), &deny.unwrap_or_default())?;
        Ok(Self { doors, rooms, allow, deny, countries })
    }

    fn is_for_door(&self, door: &String) -> bool {
        self.doors.as_ref().is_none_or(|doors| doors.contains(door))
    }

    fn is_for_room(&self, room: &str) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| matches_any(rooms, room))
    }

    /// What is no address is none that is allowed, and may be one that is denied.
    fn welcomes(&self, peer: &str) -> bool {
        let Ok(peer) = peer.parse() else { return self.allow.is_none() && self.deny.is_empty() };
        self.allow.as_ref().is_none_or(|allow| allow.contain(peer)) && !self.deny.contain(peer)
    }

    /// Whoever has several countries needs each of them allowed.
    fn is_for(&self, theirs: &[String]) -> bool {
        let Some(allowed) = &self.countries else { return true };
        let is_allowed = |country: &String| allowed.iter().any(|one| one.eq_ignore_ascii_case(country));
        !theirs.is_empty() && theirs.iter().all(is_allowed)
    }
}

const DOORS: [&str; 6] = ["ws", "whip", "whep", "relay", "recorder", "admin"];

#[cfg(test)]
mod tests;
