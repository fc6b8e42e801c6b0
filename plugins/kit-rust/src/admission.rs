//! May they enter? Hosts may; guests wait until a host has let them in.

use crate::exports::lockgate::policy::admission::{Guest, Question};
use crate::lockgate::policy::kv;
use crate::lockgate::policy::types::Verdict;
use crate::rules::{Settings, allow, deny, place};

impl Guest for crate::Plugin {
    fn admit(asked: Question) -> Verdict {
        let who = &asked.who.identity;
        // Who is in was let in, however long ago.
        let is_in = asked.extra.iter().any(|fact| fact.key == "why" && fact.value == "recheck");
        if is_in || Settings::get().is_host(who) || kv::get(&place(&asked.room.name, &who.subject)).is_some() {
            return allow();
        }
        Verdict::Deny(deny("waiting", "a host will let you in"))
    }
}
