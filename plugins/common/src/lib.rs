//! What several of the plugins need: settings that say where they are wrong, patterns of rooms, roles in claims, and lists in a
//! plugin's memory. It is no plugin itself, and knows nothing of the contract: each plugin has bindings of its own.

mod bindings;
mod roster;

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use crate::roster::{Entry, Roster, Seated};

/// What a plugin remembers from one question to the next: the import `kv`, or a map in tests.
pub trait Memory {
    /// What is kept under the key.
    fn get(&self, key: &str) -> Option<Vec<u8>>;

    /// Keeps a value, for so many milliseconds. Returns whether there was room for it.
    #[must_use]
    fn put(&self, key: &str, value: &[u8], ttl_ms: u32) -> bool;

    /// Forgets a key.
    fn delete(&self, key: &str);
}

/// A memory for tests: it forgets nothing by itself, and holds 100 keys.
impl Memory for RefCell<BTreeMap<String, Vec<u8>>> {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.borrow().get(key).cloned()
    }

    fn put(&self, key: &str, value: &[u8], _ttl_ms: u32) -> bool {
        let mut map = self.borrow_mut();
        let fits = map.len() < 100 || map.contains_key(key);
        if fits {
            map.insert(key.to_owned(), value.to_owned());
        }
        fits
    }

    fn delete(&self, key: &str) {
        self.borrow_mut().remove(key);
    }
}

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

/// A key about somebody in a room, or about the room: short however long their names are, and nobody else's.
pub fn key(what: &str, room: &str, subject: &str) -> String {
    let names = Sha256::new().chain_update([u8::try_from(room.len()).unwrap_or(u8::MAX)]).chain_update(room);
    let digest = names.chain_update(subject).finalize();
    digest.iter().fold(format!("{what}/"), |key, byte| key + &format!("{byte:02x}"))
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
    fn keys_of_different_people_and_rooms_differ_and_are_short() {
        let keys = [key("a", "r", "s"), key("b", "r", "s"), key("a", "rs", ""), key("a", "", "rs"), key("a", "r", "S")];
        for (at, one) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(one), "{one}");
        }
        assert!(key("what", &"r".repeat(128), &"s".repeat(256)).len() <= 256);
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
