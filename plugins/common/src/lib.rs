//! What several of the plugins need: settings that say where they are wrong, patterns of rooms, roles in claims, rules of several roles,
//! and lists and marks in a plugin's memory. It is no plugin itself, and knows nothing of the contract: each plugin has bindings of its own.

mod bindings;
mod ledger;
mod memory;
mod roster;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use crate::ledger::{Ledger, Mark};
pub use crate::memory::Memory;
pub use crate::roster::{Entry, Roster, Seated};

/// Reads all settings of a plugin.
///
/// # Errors
/// With the name that is wrong and those that there are.
pub fn settings<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    let value: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Reads a part of the settings.
///
/// # Errors
/// With the place before what is wrong.
pub fn part<T: DeserializeOwned>(place: &str, value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("{place}: {error}"))
}

/// Whether a name fits a pattern, in which `*` stands for any text.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(tail)
}

/// Whether a name fits one of the patterns.
pub fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// The words of a claim, which is JSON text: one text or number, or a list of them. Anything else has none.
pub fn words(claim: &str) -> Vec<String> {
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match serde_json::from_str(claim) {
        Ok(Value::Array(values)) => values.iter().filter_map(word).collect(),
        Ok(value) => word(&value).into_iter().collect(),
        Err(_) => Vec::new(),
    }
}

/// Whether one of the words is on the list.
pub fn any_in(words: &[String], list: &[String]) -> bool {
    words.iter().any(|word| list.contains(word))
}

/// What two rules allow together, as a node joins the grants of two plugins: the lower limit, or no permission if one gives none. What a
/// rule leaves out it does not limit.
pub fn tighter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What two lists allow together: what is on both. What a rule leaves out it does not limit.
pub fn on_both(one: Option<Vec<String>>, other: Option<Vec<String>>) -> Option<Vec<String>> {
    match (one, other) {
        (Some(mut one), Some(other)) => {
            one.retain(|word| other.contains(word));
            Some(one)
        }
        (one, other) => one.or(other),
    }
}

/// A short number for a long name: the first eight bytes of its SHA-256. For two names of somebody's choice to have the same one, they would
/// try some billions; to meet the number of a name that there is, far more than anybody can.
pub fn digest(name: &str) -> u64 {
    Sha256::digest(name).iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Seconds as the milliseconds that `kv` takes: 49 days at most.
pub fn ttl_ms(seconds: u32) -> u32 {
    seconds.saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_does() {
        for (pattern, name) in [("*", ""), ("*", "a"), ("lab-*", "lab-1"), ("*-lab", "a-lab"), ("a*b*c", "a-b-b-c")] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("", "a"), ("lab", "lab1"), ("lab-*", "lab"), ("a*a", "a"), ("a*b*c", "a-c"), ("?", "a")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_claim_may_name_one_role_or_several() {
        assert_eq!(words("\"host\""), ["host"]);
        assert_eq!(words("[\"host\", 7, null]"), ["host", "7"]);
        for none in ["{}", "true", "host", ""] {
            assert!(words(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn two_rules_together_allow_what_both_allow() {
        assert_eq!([tighter(Some(1), Some(2)), tighter(Some(2), None), tighter(None, None)], [Some(1), Some(2), None]);
        assert_eq!(tighter(Some(true), Some(false)), Some(false));
        let list = |words: &[&str]| Some(words.iter().map(|word| String::from(*word)).collect::<Vec<_>>());
        assert_eq!(on_both(list(&["a", "b"]), list(&["c", "b"])), list(&["b"]));
        assert_eq!([on_both(list(&["a"]), None), on_both(None, list(&[]))], [list(&["a"]), list(&[])]);
    }

    #[test]
    fn a_digest_is_the_beginning_of_what_sha256sum_prints() {
        // printf abc | sha256sum
        assert_eq!(digest("abc"), 0xba78_16bf_8f01_cfea);
        assert_ne!(digest(""), digest("a"));
    }

    #[test]
    fn a_wrong_setting_is_told_with_its_place_and_what_there_is() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Rule {
            #[serde(rename = "most")]
            _most: u32,
        }
        let wrong = part::<Rule>("rules[1]", &serde_json::json!({ "mst": 1 })).unwrap_err();
        assert_eq!(wrong, "rules[1]: unknown field `mst`, expected `most`");
        assert!(!settings::<Rule>("{\"most\": \"a\"}").unwrap_err().contains("line"));
    }
}
