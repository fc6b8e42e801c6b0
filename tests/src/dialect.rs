//! What is said on `/ws`, held against its schema.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::programs::root;

/// Holds what a client said against the schema.
///
/// # Panics
/// When it is no message of clients.
pub fn assert_clients(message: &Value) {
    assert_fits(&CLIENT, message);
}

/// Holds what the server said against the schema.
///
/// # Panics
/// When it is no message of the server.
pub fn assert_servers(message: &Value) {
    assert_fits(&SERVER, message);
}

fn assert_fits(validator: &Validator, message: &Value) {
    if !validator.is_valid(message) {
        let problems: Vec<_> = validator.iter_errors(message).map(|error| error.to_string()).collect();
        panic!("docs/schema/ws.json does not have this message: {message}\n{problems:#?}");
    }
}

static CLIENT: LazyLock<Validator> = LazyLock::new(|| validator("clientMessage"));
static SERVER: LazyLock<Validator> = LazyLock::new(|| validator("serverMessage"));

fn validator(definition: &str) -> Validator {
    let file = root().join("docs/schema/ws.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    document["anyOf"] = json!([{ "$ref": format!("#/$defs/{definition}") }]);
    jsonschema::validator_for(&document).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
