//! Bounds how many are in a room, and when it is open.
//!
//! The first rule whose pattern fits the room counts; a room without a rule is none of this plugin's business. A stay ends when
//! the room closes, to the millisecond. Hours are those of one offset from UTC, all the year: there is no summer time.
//!
//! Grants: `config`. Settings:
//!
//! ```toml
//! [plugin.settings]
//! utc_offset = "+01:00"        # of the hours below; absent: UTC
//! role_claim = "role"          # the claim that names the role, or a list of roles
//! exempt = ["host"]            # roles that come in at any time, and into a full room
//! retry_s = 30                 # after how long it is worth asking again at a full room
//!
//! [[plugin.settings.rules]]
//! rooms = ["lab-*"]            # * stands for any text
//! most = 30                    # most participants; absent: the node's own bound
//! open = ["mon-fri 08:00-18:00", "sat 22:00-02:00"]   # absent: always
//! ```

mod hours;

use common::{any_in, matches_any, words_of};
use serde::Deserialize;
use serde_json::Value;

use crate::exports::lockgate::policy::admission;
use crate::hours::{Hours, offset_ms};
use crate::lockgate::policy::types::{Grant, Verdict};

wit_bindgen::generate!({ path: "../../wit", world: "admission-plugin", additional_derives: [PartialEq] });

struct RoomLimits;

export!(RoomLimits);

common::lifecycle!(RoomLimits);

impl admission::Guest for RoomLimits {
    fn admit(asked: admission::Question) -> Verdict {
        settings().admit(&asked)
    }
}

/// What the operator chose, as it is written.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    utc_offset: String,
    role_claim: String,
    exempt: Vec<String>,
    retry_s: u64,
    rules: Vec<Value>,
}

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    rooms: Vec<String>,
    most: Option<u32>,
    open: Option<Vec<String>>,
}

/// What the operator chose.
#[derive(Debug)]
struct Settings {
    written: Written,
    offset_ms: i64,
    rules: Vec<Rule>,
}

/// What holds in some rooms.
#[derive(Debug)]
struct Rule {
    rooms: Vec<String>,
    most: Option<u32>,
    open: Option<Hours>,
}

impl Default for Written {
    fn default() -> Self {
        let (utc_offset, role_claim) = ("+00:00".into(), "role".into());
        Self { utc_offset, role_claim, exempt: Vec::new(), retry_s: 30, rules: Vec::new() }
    }
}

impl Settings {
    fn read(json: &str) -> Result<Self, String> {
        let written: Written = common::settings(json)?;
        let offset_ms = offset_ms(&written.utc_offset)?;
        if written.rules.is_empty() {
            return Err("rules: there are none, so nothing would be bounded: write [[plugin.settings.rules]]".into());
        }
        let rules = written.rules.iter().enumerate();
        let rules = rules.map(|(at, rule)| Rule::read(&format!("rules[{at}]"), rule)).collect::<Result<_, _>>()?;
        Ok(Self { written, offset_ms, rules })
    }

    fn admit(&self, asked: &admission::Question) -> Verdict {
        let Some(rule) = self.rules.iter().find(|rule| matches_any(&rule.rooms, &asked.room.name)) else {
            return Verdict::Abstain;
        };
        if any_in(&words_of!(asked.who.identity, self.written.role_claim), &self.written.exempt) {
            return Verdict::Allow(common::no_limits!());
        }
        let closes = match rule.open.as_ref().map(|open| open.at(asked.now_ms, self.offset_ms)) {
            Some(Err(opens_in_ms)) => {
                return Verdict::Deny(common::denial!("closed", "the room is closed at this time", Some(opens_in_ms)));
            }
            Some(Ok(closes_in_ms)) => closes_in_ms.map(|rest| asked.now_ms.saturating_add(rest)),
            None => None,
        };
        match rule.most {
            Some(most) if asked.room.participants >= most => {
                let message = format!("the room has its {most} participants");
                let retry_after_ms = self.written.retry_s.saturating_mul(1000);
                Verdict::Deny(common::denial!("room-full", message, Some(retry_after_ms)))
            }
            _ => Verdict::Allow(Grant { expires_at_ms: closes, ..common::no_limits!() }),
        }
    }
}

impl Rule {
    fn read(place: &str, rule: &Value) -> Result<Self, String> {
        let WrittenRule { rooms, most, open } = common::part(place, rule)?;
        if most.is_none() && open.is_none() {
            return Err(format!("{place}: it bounds nothing: write most, or open, or take the rule away"));
        }
        let open = open.map(|open| Hours::read(&format!("{place}.open"), &open)).transpose()?;
        Ok(Self { rooms, most, open })
    }
}

#[cfg(test)]
mod tests;
