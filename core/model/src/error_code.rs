//! The stable codes of `error` messages.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// What went wrong, for programs. Plugins add their own, which start with `x-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(Cow<'static, str>);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed($text));)*

            const STABLE: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

codes! {
    /// No token, or one that no plugin accepts.
    UNAUTHENTICATED = "unauthenticated",
    /// The token was good once.
    TOKEN_EXPIRED = "token-expired",
    /// Policy says no.
    FORBIDDEN = "forbidden",
    /// No such room, publisher, track or transport, or none that the asker may know of.
    NOT_FOUND = "not-found",
    /// The room has its number of participants.
    ROOM_FULL = "room-full",
    /// Policy keeps the asker in the lobby.
    WAITING = "waiting",
    /// The message cannot be read or does not fit the state.
    INVALID_MESSAGE = "invalid-message",
    /// No message has this `type`.
    UNKNOWN_MESSAGE = "unknown-message",
    /// The session description cannot be read or used, or answers no open offer.
    INVALID_SDP = "invalid-sdp",
    /// None of the offered codecs is forwarded here.
    UNSUPPORTED_CODEC = "unsupported-codec",
    /// Too many messages.
    RATE_LIMITED = "rate-limited",
    /// A plugin failed, timed out or is missing: the answer is no until it works again.
    POLICY_UNAVAILABLE = "policy-unavailable",
    /// The node is at its limit.
    OVERLOADED = "overloaded",
    /// No recorder is attached, or it cannot take more.
    RECORDING_UNAVAILABLE = "recording-unavailable",
    /// We broke a promise; the log has more.
    INTERNAL = "internal",
}

impl ErrorCode {
    /// The code a plugin gave: a stable one as it is, its own made to start with `x-`, cut to 64 characters of `a–z 0–9 -`.
    pub fn from_plugin(code: &str) -> Self {
        if let Some(stable) = Self::STABLE.iter().find(|stable| stable.0 == code) {
            return stable.clone();
        }
        let own: String = code
            .chars()
            .map(|c| c.to_ascii_lowercase())
            .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
            .take(62)
            .collect();
        match own.strip_prefix("x-").unwrap_or(&own) {
            "" => Self::FORBIDDEN,
            own => Self(Cow::Owned(format!("x-{own}"))),
        }
    }

    /// Whether it is one of those that are listed here, and none of a plugin's own.
    pub fn is_stable(&self) -> bool {
        Self::STABLE.contains(self)
    }

    /// The text on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl JsonSchema for ErrorCode {
    fn schema_name() -> Cow<'static, str> {
        "ErrorCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What went wrong, for programs. Plugins add their own, which start with `x-`.",
            "type": "string",
            "anyOf": [{ "enum": Self::STABLE }, { "pattern": "^x-[a-z0-9-]{1,62}$" }],
            "x-grows": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_cannot_pass_its_own_code_for_a_stable_one() {
        assert_eq!(ErrorCode::from_plugin("room-full"), ErrorCode::ROOM_FULL);
        assert_eq!(ErrorCode::from_plugin("After Hours").as_str(), "x-afterhours");
        assert_eq!(ErrorCode::from_plugin("x-lobby").as_str(), "x-lobby");
        assert_eq!(ErrorCode::from_plugin("<>"), ErrorCode::FORBIDDEN);
        assert!(ErrorCode::ROOM_FULL.is_stable() && !ErrorCode::from_plugin("x-lobby").is_stable());
    }
}
