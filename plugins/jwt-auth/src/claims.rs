//! The claims that are read, and the identity that comes of them.

use serde::Deserialize;
use serde_json::{Map, Number, Value};

use crate::lockgate::policy::types::{Attr, Grant, Identity};

/// What a token says of its holder. A claim of a wrong type makes the token bad: what somebody meant to forbid must not be
/// allowed by a misspelt value.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Claims {
    sub: Subject,
    exp: f64,
    username: Option<String>,
    name: Option<String>,
    rooms: Option<Vec<String>>,
    can_publish: Option<bool>,
    can_subscribe: Option<bool>,
    can_record: Option<bool>,
    can_data: Option<bool>,
    admin: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Subject {
    Text(String),
    Number(Number),
}

impl Claims {
    /// Reads claims as the host gives them: key and JSON text.
    pub(crate) fn read(claims: &[Attr]) -> Result<Self, String> {
        let mut object = Map::new();
        for claim in claims {
            let value = serde_json::from_str(&claim.value).map_err(|error| error.to_string())?;
            object.insert(claim.key.clone(), value);
        }
        let claims: Self = serde_json::from_value(Value::Object(object))
            .map_err(|error| format!("the token's claims cannot be read: {error}"))?;
        match &claims.sub {
            Subject::Text(text) if text.is_empty() => Err("the token has an empty subject".into()),
            _ => Ok(claims),
        }
    }

    /// Who it is. Claims that are not read here go along, as far as the contract's bounds allow.
    pub(crate) fn into_identity(self, all: Vec<Attr>) -> Identity {
        let mut claims: Vec<Attr> = all.into_iter().filter(|claim| !READ.contains(&claim.key.as_str())).collect();
        claims.retain(|claim| claim.key.len() <= 64 && claim.value.len() <= 4096);
        claims.truncate(64);
        Identity {
            subject: match self.sub {
                Subject::Text(text) => text,
                Subject::Number(number) => number.to_string(),
            },
            username: self.username.or(self.name).unwrap_or_default(),
            claims,
            expires_at_ms: Some((self.exp * 1e3) as u64),
            grant: Grant {
                rooms: self.rooms,
                can_publish: self.can_publish,
                can_subscribe: self.can_subscribe,
                can_record: Some(self.can_record.unwrap_or(false)),
                can_data: self.can_data,
                admin: Some(self.admin.unwrap_or(false)),
                ..common::no_limits!()
            },
        }
    }
}

/// Claims that need not go along.
const READ: [&str; 15] = [
    "sub",
    "exp",
    "iat",
    "nbf",
    "iss",
    "aud",
    "jti",
    "username",
    "name",
    "rooms",
    "canPublish",
    "canSubscribe",
    "canRecord",
    "canData",
    "admin",
];
