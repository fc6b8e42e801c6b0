//! A schema as the list of what it may be: references followed, unions taken apart, one type each. Knows the keywords that our generator
//! writes, and says so of any other one: a keyword that is passed over might hide what breaks somebody.

use serde_json::{Map, Value, json};

/// What a value may be: its constraints, all of which hold. Without any it may be anything.
pub(super) type Alternative = Map<String, Value>;

/// Everything that a schema of this document allows.
///
/// # Errors
/// If it cannot be understood.
pub(super) fn alternatives(document: &Value, schema: &Value) -> Result<Vec<Alternative>, String> {
    match schema {
        Value::Bool(true) => Ok(vec![Alternative::new()]),
        Value::Object(keys) => of_object(document, keys.clone()),
        other => Err(format!("{other} is no schema that this check knows")),
    }
}

fn of_object(document: &Value, mut keys: Alternative) -> Result<Vec<Alternative>, String> {
    if let Some(place) = keys.remove("$ref") {
        let path = place.as_str().and_then(|place| place.strip_prefix('#')).unwrap_or_default();
        let there = document.pointer(path).and_then(Value::as_object).ok_or_else(|| format!("there is no {place}"))?;
        return of_object(document, both(there.clone(), keys)?);
    }
    for union in ["anyOf", "oneOf"] {
        if let Some(members) = keys.remove(union) {
            let mut all = Vec::new();
            for member in members.as_array().into_iter().flatten() {
                let member =
                    member.as_object().ok_or_else(|| format!("{member} is no schema that this check knows"))?;
                all.extend(of_object(document, both(keys.clone(), member.clone())?)?);
            }
            return Ok(all);
        }
    }
    if let Some(one) = keys.remove("const") {
        keys.insert("enum".to_owned(), json!([one]));
    }
    keys.retain(|key, _| !NOTES.contains(&key.as_str()));
    if let Some(unknown) = keys.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("this check does not know the keyword `{unknown}`"));
    }
    Ok(match keys.get("type").and_then(Value::as_array).cloned() {
        None => vec![keys],
        Some(types) => types.into_iter().map(|one| with_type(keys.clone(), one)).collect(),
    })
}

/// What holds when both hold.
fn both(mut one: Alternative, other: Alternative) -> Result<Alternative, String> {
    for (key, value) in other {
        let is_note = NOTES.contains(&key.as_str());
        match one.insert(key.clone(), value.clone()) {
            Some(before) if before != value && !is_note => {
                return Err(format!("`{key}` is said twice: {before} and {value}"));
            }
            _ => {}
        }
    }
    Ok(one)
}

/// With this type alone, and without what constrains others.
fn with_type(mut keys: Alternative, one: Value) -> Alternative {
    let is_of = |key: &str| match key {
        "minimum" | "maximum" => one == "integer" || one == "number",
        "minLength" | "maxLength" | "pattern" => one == "string",
        "items" | "minItems" | "maxItems" | "uniqueItems" => one == "array",
        "properties" | "required" | "additionalProperties" => one == "object",
        _ => true,
    };
    keys.retain(|key, _| is_of(key));
    keys.insert("type".to_owned(), one);
    keys
}

/// What constrains nothing.
const NOTES: &[&str] = &["description", "title"];
/// What is compared.
const KNOWN: &[&str] = &[
    "type",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "properties",
    "required",
    "additionalProperties",
    "x-grows",
];
