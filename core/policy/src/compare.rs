//! How what one plugin said differs from what another one, or an earlier version of it, says to the same question.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::journal::VerdictLine;

/// What a plugin made of one thing that it was asked about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Said {
    /// An answer.
    Verdict(VerdictLine),
    /// None.
    Failed {
        /// The cause, as in metrics.
        failed: String,
    },
}

/// One thing in which they differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which: `verdict` where one is of another kind, otherwise a member of the grant or the denial.
    pub field: String,
    /// What it was; none: nothing.
    pub then: Option<Value>,
    /// What it is; none: nothing.
    pub now: Option<Value>,
}

impl Said {
    /// In a word or two: `allow`, `deny room-full`, `abstain`, `failed timeout`.
    pub fn in_short(&self) -> String {
        match self {
            Self::Verdict(verdict) => verdict.in_short(),
            Self::Failed { failed } => format!("failed {failed}"),
        }
    }
}

impl VerdictLine {
    /// In a word or two: `allow`, `deny room-full`, `abstain`.
    pub fn in_short(&self) -> String {
        match self {
            Self::Allow(_) => "allow".to_owned(),
            Self::Deny(denial) => format!("deny {}", denial.code),
            Self::Abstain => "abstain".to_owned(),
        }
    }
}

/// Everything in which two answers differ; nothing: they are the same, as are two failures.
pub(crate) fn changes(then: &Said, now: &Said) -> Vec<Change> {
    match (then, now) {
        (Said::Verdict(then), Said::Verdict(now)) => verdict_changes(then, now),
        (Said::Failed { .. }, Said::Failed { .. }) => Vec::new(),
        (then, now) => vec![of_kind(then.in_short(), now.in_short())],
    }
}

/// Everything in which two verdicts differ.
pub(crate) fn verdict_changes(then: &VerdictLine, now: &VerdictLine) -> Vec<Change> {
    match (then, now) {
        (VerdictLine::Allow(then), VerdictLine::Allow(now)) => between(&json!(then), &json!(now)),
        (VerdictLine::Deny(then), VerdictLine::Deny(now)) => between(&json!(then), &json!(now)),
        (VerdictLine::Abstain, VerdictLine::Abstain) => Vec::new(),
        (then, now) => vec![of_kind(then.in_short(), now.in_short())],
    }
}

impl Change {
    /// What tells this change from others of its kind. Texts for people and times are other ones each time.
    pub(crate) fn key(&self) -> String {
        if OF_ITS_OWN_BELOW.iter().any(|place| self.field.starts_with(place))
            || OF_ITS_OWN.contains(&self.field.as_str())
        {
            return self.field.clone();
        }
        format!("{}: {} -> {}", self.field, shown(self.then.as_ref()), shown(self.now.as_ref()))
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} → {}", self.field, shown(self.then.as_ref()), shown(self.now.as_ref()))
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) if text.chars().all(|c| c.is_ascii_graphic() || c == ' ') => text.clone(),
        Some(value) => value.to_string(),
    }
}

fn of_kind(then: String, now: String) -> Change {
    Change { field: "verdict".to_owned(), then: Some(then.into()), now: Some(now.into()) }
}

fn between(then: &Value, now: &Value) -> Vec<Change> {
    let (then, mut now) = (members(then), members(now));
    let mut changes = Vec::new();
    for (field, then) in then {
        let now = now.remove(&field);
        if now.as_ref() != Some(&then) {
            changes.push(Change { field, then: Some(then), now });
        }
    }
    changes.extend(now.into_iter().map(|(field, now)| Change { field, then: None, now: Some(now) }));
    changes
}

/// The members of a grant or a denial; each attribute is one of its own, as `attributes.<key>`.
fn members(value: &Value) -> BTreeMap<String, Value> {
    let members = value.as_object().into_iter().flat_map(Map::iter);
    let (attributes, others): (Vec<_>, Vec<_>) = members.partition(|(name, _)| *name == "attributes");
    let mut all: BTreeMap<_, _> = others.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    for attribute in attributes.iter().filter_map(|(_, list)| list.as_array()).flatten() {
        let name = format!("attributes.{}", attribute["key"].as_str().unwrap_or_default());
        let value = attribute["value"].clone();
        // A key may be there several times: then all of its values are compared.
        let value = match all.remove(&name) {
            Some(other) => json!([other, value]),
            None => value,
        };
        all.insert(name, value);
    }
    all
}

const OF_ITS_OWN_BELOW: [&str; 2] = ["attributes.", "identity."];
const OF_ITS_OWN: [&str; 6] = ["message", "expiresAtMs", "retryAfterMs", "reaskAfterMs", "effects", "reply"];

#[cfg(test)]
mod tests {
    use lockgate_model::Bitrate;
    use lockgate_model::policy::{Attribute, Grant};

    use super::*;
    use crate::journal::DenialLine;

    fn allow(grant: Grant) -> Said {
        Said::Verdict(VerdictLine::Allow(grant))
    }

    fn deny(code: &str, message: &str) -> Said {
        let (code, message) = (code.to_owned(), message.to_owned());
        Said::Verdict(VerdictLine::Deny(DenialLine { code, message, retry_after_ms: None, waiting: false }))
    }

    fn told(then: &Said, now: &Said) -> Vec<String> {
        changes(then, now).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_limit_that_is_another_one_is_named() {
        let attribute = |value: &str| Attribute { key: "tiers.tier".into(), value: value.into() };
        let then = Grant {
            max_spatial: Some(1),
            max_bitrate: Some(Bitrate(600_000)),
            can_record: Some(true),
            attributes: vec![attribute("free"), Attribute { key: "same".into(), value: "1".into() }],
            ..Grant::default()
        };
        let now = Grant { max_spatial: Some(0), can_record: None, hidden: true, ..then.clone() };
        let now = Grant { attributes: vec![then.attributes[1].clone(), attribute("pro")], ..now };
        assert_eq!(
            told(&allow(then.clone()), &allow(now)),
            [
                "attributes.tiers.tier free → pro",
                "canRecord true → nothing",
                "maxSpatial 1 → 0",
                "hidden nothing → true"
            ]
        );
        assert_eq!(told(&allow(then.clone()), &allow(then)), Vec::<String>::new());
    }

    #[test]
    fn an_answer_of_another_kind_is_one_change() {
        let failed = |cause: &str| Said::Failed { failed: cause.into() };
        assert_eq!(told(&allow(Grant::default()), &deny("room-full", "no")), ["verdict allow → deny room-full"]);
        assert_eq!(told(&failed("trap"), &deny("forbidden", "no")), ["verdict failed trap → deny forbidden"]);
        assert_eq!(told(&failed("trap"), &failed("timeout")), Vec::<String>::new(), "a failure is one");
        let abstain = Said::Verdict(VerdictLine::Abstain);
        assert_eq!(told(&abstain, &failed("trap")), ["verdict abstain → failed trap"]);
    }

    #[test]
    fn what_is_another_text_each_time_is_one_kind_of_change() {
        let key = |then: &Said, now: &Said| changes(then, now).iter().map(Change::key).collect::<Vec<_>>();
        let (one, other) = (deny("forbidden", "no, Ann"), deny("forbidden", "no, Bob"));
        assert_eq!(key(&one, &other), ["message"]);
        assert_eq!(key(&one, &deny("waiting", "no, Ann")), ["code: forbidden -> waiting"]);
        let ends = |at| allow(Grant { expires_at_ms: Some(at), ..Grant::default() });
        assert_eq!(key(&ends(1), &ends(2)), ["expiresAtMs"]);
    }
}
