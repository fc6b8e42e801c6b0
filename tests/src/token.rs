//! Tokens as an operator's own service would make them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value, json};

use crate::config::SECRET;

/// A token (HS256) that is good for an hour and grants nothing by itself.
#[derive(Clone, Debug)]
pub struct Token {
    claims: Map<String, Value>,
    secret: &'static str,
}

impl Token {
    /// For this user.
    ///
    /// # Panics
    /// When the clock stands before 1970.
    pub fn of(user: u64, name: &str) -> Self {
        let token = Self { claims: Map::new(), secret: SECRET };
        token.claim("sub", json!(user)).claim("username", json!(name)).claim("exp", json!(now().as_secs() + 3600))
    }

    /// With one more claim, or another value of it.
    #[must_use]
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// With a role, which the shipped plugins look at.
    #[must_use]
    pub fn role(self, role: &str) -> Self {
        self.claim("role", json!(role))
    }

    /// Whose user may record.
    #[must_use]
    pub fn can_record(self) -> Self {
        self.claim("canRecord", json!(true))
    }

    /// That was good until a minute ago.
    #[must_use]
    pub fn expired(self) -> Self {
        self.claim("exp", json!(now().as_secs() - 60))
    }

    /// That is good for so many seconds only.
    #[must_use]
    pub fn expiring_in(self, seconds: u64) -> Self {
        self.claim("exp", json!(now().as_secs() + seconds))
    }

    /// Signed with a secret that is not the node's.
    #[must_use]
    pub fn forged(mut self) -> Self {
        self.secret = "a secret that somebody guessed, which is wrong";
        self
    }

    /// The token itself.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn text(&self) -> String {
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&Header::default(), &self.claims, &key).expect("HS256 signs everything")
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970")
}
