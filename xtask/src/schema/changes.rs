//! What between two schemas of the dialect breaks somebody.
//!
//! Of what clients say everything that was allowed must stay allowed; of what the server says nothing may come that was not
//! allowed. So one question is asked both ways: is everything that this allows allowed by that?

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::alternatives::{Alternative, alternatives};

/// One sentence for each change that breaks clients of the release.
pub(super) fn breaking(released: &Value, current: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    for side in [Side::Client, Side::Server] {
        let (said, understood) = match side {
            Side::Client => (released, current),
            Side::Server => (current, released),
        };
        let comparison = Comparison { side, said, understood };
        for (name, before) in messages(released, side) {
            match current["$defs"].get(name) {
                None => broken.push(format!("the message {name} is gone")),
                Some(now) => {
                    let (said, understood) = if side == Side::Client { (before, now) } else { (now, before) };
                    broken.extend(comparison.beyond(name, said, understood));
                }
            }
        }
    }
    broken
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

fn messages(document: &Value, side: Side) -> impl Iterator<Item = (&String, &Value)> {
    let prefix = if side == Side::Client { "client." } else { "server." };
    document["$defs"].as_object().into_iter().flatten().filter(move |(name, _)| name.starts_with(prefix))
}

/// The schema by which messages are said, and the one by which they are understood.
struct Comparison<'a> {
    side: Side,
    said: &'a Value,
    understood: &'a Value,
}

impl Comparison<'_> {
    /// What may be said and is not understood, a sentence for each.
    fn beyond(&self, place: &str, said: &Value, understood: &Value) -> Vec<String> {
        match (alternatives(self.said, said), alternatives(self.understood, understood)) {
            (Err(problem), _) | (_, Err(problem)) => vec![format!("{place}: {problem}")],
            (Ok(said), Ok(understood)) => {
                said.iter().flat_map(|one| self.beyond_all(place, one, &understood)).collect()
            }
        }
    }

    /// Nothing, if one of those that are understood allows it; else why the nearest does not.
    fn beyond_all(&self, place: &str, said: &Alternative, understood: &[Alternative]) -> Vec<String> {
        let same_type = |one: &&Alternative| is_of_type(said, one);
        let near: Vec<_> = understood.iter().filter(same_type).collect();
        let mut why: Vec<_> = near.iter().map(|one| self.beyond_one(place, said, one)).collect();
        if why.iter().any(Vec::is_empty)
            || (self.side == Side::Server && near.iter().any(|one| one.contains_key("x-grows")))
        {
            return Vec::new();
        }
        match why.pop() {
            Some(only) if why.is_empty() => only,
            _ => vec![self.changed(place, &in_words(said), &one_of(understood))],
        }
    }

    fn beyond_one(&self, place: &str, said: &Alternative, understood: &Alternative) -> Vec<String> {
        let mut beyond = self.beyond_bounds(place, said, understood);
        beyond.extend(self.beyond_values(place, said, understood));
        if let Some(items) = understood.get("items") {
            beyond.extend(self.beyond(&format!("{place}[]"), said.get("items").unwrap_or(&Value::Bool(true)), items));
        }
        beyond.extend(self.beyond_keys(place, said, understood));
        beyond
    }

    /// Limits, patterns, and whether things come once only.
    fn beyond_bounds(&self, place: &str, said: &Alternative, understood: &Alternative) -> Vec<String> {
        let listed = said.get("enum").and_then(Value::as_array);
        let mut beyond = Vec::new();
        for (key, within) in LIMITS {
            let Some(limit) = understood.get(*key).and_then(Value::as_f64) else { continue };
            let fits = match listed {
                Some(values) => values.iter().all(|value| size(value, key).is_some_and(|size| within(size, limit))),
                None => said.get(*key).and_then(Value::as_f64).is_some_and(|own| within(own, limit)),
            };
            if !fits {
                beyond.push(self.changed(place, &constraint(said, key), &constraint(understood, key)));
            }
        }
        for key in ["pattern", "uniqueItems"] {
            if understood.contains_key(key) && said.get(key) != understood.get(key) {
                beyond.push(self.changed(place, &constraint(said, key), &constraint(understood, key)));
            }
        }
        beyond
    }

    /// Values that are listed.
    fn beyond_values(&self, place: &str, said: &Alternative, understood: &Alternative) -> Option<String> {
        let values = |of: &Alternative| of.get("enum").and_then(Value::as_array).cloned();
        let understood_values = values(understood)?;
        let fits = values(said).is_some_and(|said| said.iter().all(|value| understood_values.contains(value)));
        (!fits).then(|| self.changed(place, &in_words(said), &in_words(understood)))
    }

    /// Keys of an object: none goes, none is asked for that may be absent, and each has what it had.
    fn beyond_keys(&self, place: &str, said: &Alternative, understood: &Alternative) -> Vec<String> {
        let none = Map::new();
        let keys = |of: &Alternative| of.get("properties").and_then(Value::as_object).unwrap_or(&none).clone();
        let (said_keys, understood_keys) = (keys(said), keys(understood));
        let (before, now) =
            if self.side == Side::Client { (&said_keys, &understood_keys) } else { (&understood_keys, &said_keys) };
        let gone = before.keys().filter(|name| !now.contains_key(*name));
        let mut beyond: Vec<_> = gone.map(|name| format!("{place}.{name} is gone")).collect();
        for name in required(understood).difference(&required(said)) {
            beyond.push(match self.side {
                Side::Client => {
                    format!("{place}.{name} must be there now: what clients say without it would be refused")
                }
                Side::Server => format!("{place}.{name} may be absent now: clients rely on it"),
            });
        }
        if understood.get("additionalProperties") == Some(&Value::Bool(false))
            && said.get("additionalProperties") != Some(&Value::Bool(false))
        {
            beyond.push(self.changed(place, "open for other keys", "closed"));
        }
        for (name, schema) in &said_keys {
            if let Some(other) = understood_keys.get(name) {
                beyond.extend(self.beyond(&format!("{place}.{name}"), schema, other));
            }
        }
        beyond
    }

    fn changed(&self, place: &str, said: &str, understood: &str) -> String {
        match self.side {
            Side::Client => format!("{place} was {said} and is {understood} now: what clients say would be refused"),
            Side::Server => format!("{place} was {understood} and is {said} now: clients do not expect that"),
        }
    }
}

fn is_of_type(said: &Alternative, understood: &Alternative) -> bool {
    match (said.get("type"), understood.get("type")) {
        (_, None) => true,
        (Some(said), Some(understood)) => said == understood || (said == "integer" && understood == "number"),
        (None, Some(_)) => false,
    }
}

fn required(of: &Alternative) -> BTreeSet<&str> {
    of.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What a limit counts of a value.
fn size(value: &Value, limit: &str) -> Option<f64> {
    match limit {
        "minLength" | "maxLength" => value.as_str().map(|text| text.chars().count() as f64),
        "minItems" | "maxItems" => value.as_array().map(|all| all.len() as f64),
        _ => value.as_f64(),
    }
}

fn constraint(of: &Alternative, key: &str) -> String {
    of.get(key).map_or_else(|| format!("without {key}"), |value| format!("of {key} {value}"))
}

fn in_words(one: &Alternative) -> String {
    match (one.get("enum").and_then(Value::as_array), one.get("type").and_then(Value::as_str)) {
        (Some(values), _) => values.iter().map(Value::to_string).collect::<Vec<_>>().join(" or "),
        (None, Some(kind)) => kind.to_owned(),
        (None, None) => "anything".to_owned(),
    }
}

fn one_of(all: &[Alternative]) -> String {
    all.iter().map(in_words).collect::<Vec<_>>().join(" or ")
}

/// Whether a value lies within a limit.
type Within = fn(f64, f64) -> bool;

const LIMITS: &[(&str, Within)] = &[
    ("minimum", |own, limit| own >= limit),
    ("maximum", |own, limit| own <= limit),
    ("minLength", |own, limit| own >= limit),
    ("maxLength", |own, limit| own <= limit),
    ("minItems", |own, limit| own >= limit),
    ("maxItems", |own, limit| own <= limit),
];

#[cfg(test)]
mod tests;
