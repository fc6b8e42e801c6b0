//! The JSON Schema (2020-12) of the `type` dialect, made from the types that its messages are read into and written from.
//!
//! What it says beyond them stands beside their fields: lengths and ranges that are checked elsewhere. `docs/signalling.md` ("The schema") tells
//! what clients may rely on; `cargo xtask schema` holds every change against what was released.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::{Command, Event, RequestId};

/// The whole document: each message by its direction and its `type`, and what they are made of.
pub fn dialect() -> Value {
    let settings = SchemaSettings::draft2020_12;
    let client = half::<Command>("client", settings().for_deserialize().into_generator());
    let mut server = half::<Event>("server", settings().for_serialize().into_generator());
    server.each(&mut strip_null);
    let mut definitions = Map::new();
    for (half, about) in [(client, OF_CLIENTS), (server, OF_SERVERS)] {
        let name = format!("{}Message", half.from);
        definitions.insert(name, json!({ "description": about, "oneOf": half.references() }));
        definitions.extend(half.messages.into_iter().chain(half.parts));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lockgate's signalling over WebSocket",
        "description": ABOUT,
        "anyOf": [{ "$ref": "#/$defs/clientMessage" }, { "$ref": "#/$defs/serverMessage" }],
        "$defs": definitions,
    })
}

/// The document as it is served, and as it stands in `docs/schema/ws.json`.
pub fn dialect_text() -> String {
    format!("{:#}\n", dialect())
}

/// What one side says.
struct Half {
    from: &'static str,
    /// Each message, as `client.auth`.
    messages: Map<String, Value>,
    /// What they are made of.
    parts: Map<String, Value>,
}

/// The messages that an enum stands for, tagged by their `type`.
fn half<Message: JsonSchema>(from: &'static str, mut generator: SchemaGenerator) -> Half {
    let mut all = Message::json_schema(&mut generator).to_value();
    let id = generator.subschema_for::<RequestId>().to_value();
    let variants = all.get_mut("oneOf").and_then(Value::as_array_mut).map(std::mem::take);
    let mut messages = Map::new();
    for mut message in variants.unwrap_or_default() {
        let Some(name) = message["properties"]["type"]["const"].as_str().map(str::to_owned) else { continue };
        message["properties"]["id"] = id.clone();
        messages.insert(format!("{from}.{name}"), message);
    }
    let mut half = Half { from, messages, parts: generator.take_definitions(true) };
    half.each(&mut tidy);
    half
}

impl Half {
    fn references(&self) -> Vec<Value> {
        self.messages.keys().map(|name| json!({ "$ref": format!("#/$defs/{name}") })).collect()
    }

    /// Changes every schema in it, the innermost first.
    fn each(&mut self, change: &mut impl FnMut(&mut Map<String, Value>)) {
        self.messages.values_mut().chain(self.parts.values_mut()).for_each(|schema| each(schema, change));
    }
}

fn each(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(keys) => {
            keys.values_mut().for_each(|value| each(value, change));
            change(keys);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| each(value, change)),
        _ => {}
    }
}

/// Says what is so anyhow, that whoever reads passes over keys that they do not know; and not how numbers are kept here, nor that what is
/// absent is absent. (A key of a message that had such a name would have an object beside it.)
fn tidy(schema: &mut Map<String, Value>) {
    schema.retain(|key, value| !matches!(key.as_str(), "format" | "default") || value.is_object());
    if schema.get("properties").is_some_and(Value::is_object) {
        schema.entry("additionalProperties").or_insert(true.into());
    }
}

/// What the server has nothing to say of is left out, and never `null`.
fn strip_null(schema: &mut Map<String, Value>) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &String| required.as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (_, property) in properties.iter_mut().filter(|(name, _)| !is_required(name)) {
        let Some(property) = property.as_object_mut() else { continue };
        if let Some(Value::Array(types)) = property.get("type") {
            let others: Vec<_> = types.iter().filter(|one| *one != "null").cloned().collect();
            let one = if let [one] = others.as_slice() { one.clone() } else { others.into() };
            property.insert("type".to_owned(), one);
        }
        if let Some(Value::Array(any)) = property.get("anyOf")
            && let [Value::Object(one), null] = any.as_slice()
            && null["type"] == "null"
        {
            let one = one.clone();
            property.remove("anyOf");
            property.extend(one);
        }
    }
}

/// The greatest whole number that JavaScript keeps exact, 2^53 − 1.
pub(crate) const MAX_NUMBER: u64 = (1 << 53) - 1;

const ABOUT: &str = "Text frames at /ws, one message each, tagged by `type`; docs/signalling.md says what they mean. Every message of clients is \
     a `client.…` below, every message of the server a `server.…`. Unknown keys are passed over by either side. Clients pass over messages whose \
     `type` they do not know, and values that they do not know where `x-grows` is true. Lengths count characters; where the server counts bytes of \
     UTF-8, which may be more, the text beside it says so.";
const OF_CLIENTS: &str = "What a client says. What does not fit is answered with `error` `invalid-message`, an unknown `type` with `unknown-message`.";
const OF_SERVERS: &str = "What the server says.";

#[cfg(test)]
mod tests;
