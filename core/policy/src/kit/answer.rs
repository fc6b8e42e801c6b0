//! The answers as people read and expect them, in the words of the plugin: a code is not yet `x-…`, an attribute has no prefix.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::contract::{auth, command, types};
use crate::failure::Failure;
use crate::kit::words::{Grant, Identity};

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Of `admission`.
    Verdict(Verdict),
    /// Of `publishing`, `subscription` and `recording`: one for each track.
    Verdicts(Vec<Verdict>),
    /// Of `auth` and `command`.
    Outcome(Outcome),
    /// None that counts: what the node would call it in its log and metrics.
    Failure {
        /// The cause.
        cause: String,
        /// What the engine says of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// The plugin refused the settings, so that no node would ask it.
    RefusedSettings(String),
}

/// An answer about somebody or something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Yes, within these limits.
    Allow(Grant),
    /// No.
    Deny(Denial),
    /// Not my business.
    Abstain,
}

/// An answer about a token or an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// I know them.
    Accept(Box<Identity>),
    /// Done, or may be done.
    Done(Response),
    /// No.
    Deny(Denial),
    /// Not my business.
    Abstain,
}

/// A refusal; see `denial` in `wit/types.wit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/types.wit explains them")]
pub struct Denial {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// What comes of an act; see `response` in `wit/hooks.wit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/hooks.wit explains them")]
pub struct Response {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effects: Option<Vec<Effect>>,
}

/// Something for the server to do; see `effect` in `wit/hooks.wit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/hooks.wit explains them")]
pub struct Effect {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// An expected answer: all of it that matters, or only of which kind it is, as in `"deny"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Wanted<T> {
    /// Any of this kind.
    Kind(String),
    /// This one.
    Like(T),
}

/// Answers of several kinds.
pub trait Kinds {
    /// The names of the kinds.
    const KINDS: &'static [&'static str];
}

impl Kinds for Verdict {
    const KINDS: &'static [&'static str] = &["allow", "deny", "abstain"];
}

impl Kinds for Outcome {
    const KINDS: &'static [&'static str] = &["accept", "done", "deny", "abstain"];
}

impl<'de, T: Deserialize<'de> + Kinds> Deserialize<'de> for Wanted<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Either(std::marker::PhantomData))
    }
}

struct Either<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de> + Kinds> Visitor<'de> for Either<T> {
    type Value = Wanted<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "one of {}, or a table with one of them as key", T::KINDS.join(", "))
    }

    fn visit_str<E: Error>(self, kind: &str) -> Result<Self::Value, E> {
        if T::KINDS.contains(&kind) {
            Ok(Wanted::Kind(kind.to_owned()))
        } else {
            Err(E::unknown_variant(kind, T::KINDS))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Wanted::Like)
    }
}

impl Answer {
    /// Whether it is an answer, and no failure.
    pub fn counts(&self) -> bool {
        !matches!(self, Self::Failure { .. } | Self::RefusedSettings(_))
    }

    /// An answer that does not count.
    pub(super) fn failure(failure: Failure, detail: Option<String>) -> Self {
        Self::Failure { cause: failure.as_str().to_owned(), detail }
    }
}

impl From<types::Verdict> for Verdict {
    fn from(verdict: types::Verdict) -> Self {
        match verdict {
            types::Verdict::Allow(grant) => Self::Allow(Grant::from_contract(grant)),
            types::Verdict::Deny(denial) => Self::Deny(denial.into()),
            types::Verdict::Abstain => Self::Abstain,
        }
    }
}

impl From<auth::Outcome> for Outcome {
    fn from(outcome: auth::Outcome) -> Self {
        match outcome {
            auth::Outcome::Accept(identity) => Self::Accept(Box::new(Identity::from_contract(identity))),
            auth::Outcome::Deny(denial) => Self::Deny(denial.into()),
            auth::Outcome::Abstain => Self::Abstain,
        }
    }
}

impl From<command::Outcome> for Outcome {
    fn from(outcome: command::Outcome) -> Self {
        match outcome {
            command::Outcome::Done(response) => {
                let effects = response.effects.into_iter().map(Effect::from).collect();
                Self::Done(Response { reply: Some(response.reply), effects: Some(effects) })
            }
            command::Outcome::Deny(denial) => Self::Deny(denial.into()),
            command::Outcome::Abstain => Self::Abstain,
        }
    }
}

impl From<types::Denial> for Denial {
    fn from(denial: types::Denial) -> Self {
        Self { code: Some(denial.code), message: Some(denial.message), retry_after_ms: denial.retry_after_ms }
    }
}

impl From<command::Effect> for Effect {
    fn from(effect: command::Effect) -> Self {
        Self { name: Some(effect.name), subject: effect.subject, payload: Some(effect.payload) }
    }
}
