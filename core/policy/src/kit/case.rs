//! A case: a question, what the plugin knows when it is put, and what is expected of it. People write them in TOML.

use std::collections::BTreeMap;

use lockgate_model::policy::Hook;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::contract::jwt;
use crate::failure::Failure;
use crate::kit::answer::{Outcome, Verdict, Wanted};
use crate::kit::call::{Bytes, CALLS};
use crate::kit::question::Question;

/// A question and what is known when it is put.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What is asked.
    pub question: Question,
    /// The operator's settings.
    pub settings: Map<String, Value>,
    /// What the plugin remembers.
    pub kv: BTreeMap<String, Bytes>,
    /// The tokens that are known.
    pub tokens: Vec<Token>,
}

/// A case and what is expected: one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Fixture {
    /// The case.
    pub case: Case,
    /// What is expected.
    pub expect: Expected,
}

/// A token as the import `jwt` finds it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Token {
    /// The token; any text.
    pub token: String,
    /// The key ring that knows it.
    #[serde(default = "default_ring")]
    pub key_ring: String,
    /// How it was signed.
    #[serde(default = "default_algorithm")]
    pub algorithm: String,
    /// With which key.
    pub key_id: Option<String>,
    /// What it says.
    #[serde(default)]
    pub claims: Map<String, Value>,
    /// Why it is not good; absent: it is.
    pub failure: Option<TokenFailure>,
}

/// Why a token is not good; see `jwt.failure` in `wit/host.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "wit/host.wit explains them")]
pub enum TokenFailure {
    Malformed,
    Algorithm,
    Key,
    Signature,
    NoExpiry,
    Expired,
    NotYetValid,
    Issuer,
    Audience,
    KeyRing,
}

/// What is expected. What is not written is not compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Expected {
    /// The answer of `admission`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Wanted<Verdict>>,
    /// The answers of `publishing`, `subscription` and `recording`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Vec<Wanted<Verdict>>>,
    /// The answer of `auth` and `command`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Wanted<Outcome>>,
    /// The cause of a failure, as in `trap`.
    #[serde(skip_serializing)]
    pub failure: Option<String>,
    /// Words of the sentence with which it refuses its settings.
    #[serde(skip_serializing)]
    pub refused_settings: Option<String>,
    /// Calls of the host that must come in this order; others may come between them.
    #[serde(skip_serializing)]
    pub calls: Vec<Map<String, Value>>,
    /// Calls of the host that must not come.
    #[serde(skip_serializing)]
    pub never: Vec<String>,
    /// What it remembers afterwards.
    #[serde(skip_serializing)]
    pub kv: BTreeMap<String, Bytes>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    hook: Option<Hook>,
    now: Option<Time>,
    question: Option<toml::Table>,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    kv: BTreeMap<String, Bytes>,
    #[serde(default)]
    tokens: Vec<Token>,
    expect: Option<Expected>,
}

/// Milliseconds since 1970, or a date and a time with a zone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Ms(u64),
    Written(toml::value::Datetime),
}

/// Why a file is no case.
#[derive(Debug, thiserror::Error)]
pub enum BadCase {
    /// It is no TOML, or says something that no case says.
    #[error("{0}")]
    Toml(String),
    /// The question is no question of its hook.
    #[error("question: {0}")]
    Question(String),
    /// There is a question and no hook.
    #[error("hook is missing: which one is asked?")]
    NoHook,
    /// The time is none.
    #[error("now is no time: write milliseconds since 1970, or as in 2026-01-31T18:00:00Z")]
    Time,
    /// Nothing would be compared.
    #[error("expect is missing, or expects nothing")]
    NothingExpected,
    /// More than one answer is expected.
    #[error("expect has several answers: write one of verdict, verdicts, outcome, failure, refused-settings")]
    SeveralExpected,
    /// An answer of another hook is expected.
    #[error("expect.{0} is no answer of this hook")]
    OtherHook(&'static str),
    /// No plugin fails so.
    #[error("{0:?} is no cause of a failure: they are {all}", all = Failure::ALL.map(Failure::as_str).join(", "))]
    NoSuchFailure(String),
    /// A call that no host has.
    #[error("{0:?} is no call of the host: they are {all}", all = CALLS.join(", "))]
    NoSuchCall(String),
}

impl Fixture {
    /// Reads a file's text.
    ///
    /// # Errors
    /// If it is no case, or expects nothing.
    pub fn read(text: &str) -> Result<Self, BadCase> {
        let written: Written = toml::from_str(text).map_err(|error| BadCase::Toml(error.to_string()))?;
        let expect = written.expect.unwrap_or_default();
        // Settings are refused before anything is asked.
        let hook = match (written.hook, &expect.refused_settings) {
            (Some(hook), _) => hook,
            (None, Some(_)) if written.question.is_none() => Hook::Auth,
            (None, _) => return Err(BadCase::NoHook),
        };
        expect.check(hook)?;
        let mut question = match written.question {
            Some(table) => Question::read(hook, table).map_err(|error| BadCase::Question(error.to_string()))?,
            None => Question::plain(hook),
        };
        if let Some(now) = written.now {
            *question.now_ms_mut() = now.ms().ok_or(BadCase::Time)?;
        }
        let case = Case { question, settings: written.settings, kv: written.kv, tokens: written.tokens };
        Ok(Self { case, expect })
    }
}

impl Expected {
    /// The answer, as far as it is written.
    pub(super) fn answer(&self) -> Value {
        let mut answer = json!(self);
        if let (Some(cause), Some(answer)) = (&self.failure, answer.as_object_mut()) {
            answer.insert("failure".into(), json!({ "cause": cause }));
        }
        answer
    }

    fn check(&self, hook: Hook) -> Result<(), BadCase> {
        let written = [
            ("verdict", self.verdict.is_some(), hook == Hook::Admission),
            ("verdicts", self.verdicts.is_some(), TRACKS.contains(&hook)),
            ("outcome", self.outcome.is_some(), matches!(hook, Hook::Auth | Hook::Command)),
            ("failure", self.failure.is_some(), true),
            ("refused-settings", self.refused_settings.is_some(), true),
        ];
        let answers = written.iter().filter(|(_, is_written, _)| *is_written);
        if let Some((name, ..)) = answers.clone().find(|(_, _, fits)| !fits) {
            return Err(BadCase::OtherHook(name));
        }
        let names = self.calls.iter().map(|call| call.get("call").and_then(Value::as_str).unwrap_or_default());
        if let Some(other) = names.chain(self.never.iter().map(String::as_str)).find(|name| !CALLS.contains(name)) {
            return Err(BadCase::NoSuchCall(other.to_owned()));
        }
        if let Some(other) = self.failure.as_ref().filter(|name| Failure::ALL.iter().all(|one| one.as_str() != **name))
        {
            return Err(BadCase::NoSuchFailure(other.clone()));
        }
        match answers.count() {
            0 if self.calls.is_empty() && self.never.is_empty() && self.kv.is_empty() => Err(BadCase::NothingExpected),
            0 | 1 => Ok(()),
            _ => Err(BadCase::SeveralExpected),
        }
    }
}

impl Time {
    fn ms(&self) -> Option<u64> {
        match self {
            Self::Ms(ms) => Some(*ms),
            Self::Written(at) => since_1970(at),
        }
    }
}

/// A date's milliseconds since 1970; none without a date, a time or a zone.
fn since_1970(at: &toml::value::Datetime) -> Option<u64> {
    let (date, time) = (at.date?, at.time?);
    let minutes_ahead = match at.offset? {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    // Days since the first of March of the year 0, in which a leap day is the last of its year.
    let (year, month) = match i64::from(date.month) {
        month @ 3.. => (i64::from(date.year), month - 3),
        month => (i64::from(date.year) - 1, month + 9),
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + i64::from(date.day) - 1;
    let minutes = ((days - UNIX_DAY) * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute) - minutes_ahead;
    let seconds = minutes * 60 + i64::from(time.second.unwrap_or(0));
    u64::try_from(seconds * 1000 + i64::from(time.nanosecond.unwrap_or(0) / 1_000_000)).ok()
}

impl TokenFailure {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::NoExpiry => "no-expiry",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::KeyRing => "key-ring",
        }
    }

    pub(super) fn into_contract(self) -> jwt::Failure {
        match self {
            Self::Malformed => jwt::Failure::Malformed,
            Self::Algorithm => jwt::Failure::Algorithm,
            Self::Key => jwt::Failure::Key,
            Self::Signature => jwt::Failure::Signature,
            Self::NoExpiry => jwt::Failure::NoExpiry,
            Self::Expired => jwt::Failure::Expired,
            Self::NotYetValid => jwt::Failure::NotYetValid,
            Self::Issuer => jwt::Failure::Issuer,
            Self::Audience => jwt::Failure::Audience,
            Self::KeyRing => jwt::Failure::KeyRing,
        }
    }
}

fn default_ring() -> String {
    "default".into()
}

fn default_algorithm() -> String {
    "HS256".into()
}

/// The hooks that answer about tracks.
const TRACKS: [Hook; 3] = [Hook::Publishing, Hook::Subscription, Hook::Recording];
/// The days from the first of March of the year 0 to the first of January 1970.
const UNIX_DAY: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Fixture::read(text).map(drop).unwrap_err().to_string()
    }

    fn now_ms(now: &str) -> Option<u64> {
        let text = format!("hook = \"auth\"\nnow = {now}\n[expect]\noutcome = \"abstain\"\n");
        Fixture::read(&text).ok().map(|fixture| fixture.case.question.now_ms())
    }

    #[test]
    fn what_is_not_written_has_a_plain_value() {
        let text =
            "hook = \"subscription\"\n[question]\nwho.identity.claims.role = \"host\"\n[expect]\nverdicts = []\n";
        let fixture = Fixture::read(text).unwrap();
        let Question::Subscription(asked) = fixture.case.question else { panic!("another question") };
        let asked = asked.into_contract();
        assert_eq!((asked.who.identity.subject.as_str(), asked.who.door.as_str()), ("somebody", "ws"));
        assert_eq!(asked.who.identity.claims[0].value, "\"host\"");
        assert_eq!(
            (asked.room.name.as_str(), asked.why.as_str(), asked.now_ms),
            ("room", "request", super::super::question::NOW_MS)
        );
    }

    #[test]
    fn a_misspelt_name_is_told_with_those_that_there_are() {
        for (text, part) in [
            ("hok = \"auth\"\n", "unknown field `hok`"),
            ("hook = \"auht\"\n[expect]\noutcome = \"deny\"", "unknown variant `auht`"),
            (
                "hook = \"auth\"\n[question]\ntokn = \"\"\n[expect]\noutcome = \"deny\"",
                "question: unknown field `tokn`, expected one of",
            ),
            ("hook = \"auth\"\n[expect]\noutcome = \"denied\"", "unknown variant `denied`, expected one of `accept`"),
            ("hook = \"admission\"\n[expect.verdict.allow]\nmax-spatal = 1", "unknown field `max-spatal`"),
            (
                "hook = \"auth\"\n[expect]\nnever = [\"kv.set\"]",
                "\"kv.set\" is no call of the host: they are log.write",
            ),
            ("hook = \"auth\"\n[expect]\nfailure = \"tarp\"", "\"tarp\" is no cause of a failure: they are trap"),
        ] {
            assert!(problem(text).contains(part), "{part:?} is not in {:?}", problem(text));
        }
    }

    #[test]
    fn an_expectation_that_could_never_fail_or_never_hold_is_refused() {
        for (text, part) in [
            ("hook = \"auth\"\n", "expect is missing"),
            ("hook = \"auth\"\n[expect]\n", "expects nothing"),
            ("[expect]\noutcome = \"deny\"\n", "hook is missing"),
            ("hook = \"auth\"\n[expect]\nverdict = \"deny\"\n", "expect.verdict is no answer of this hook"),
            ("hook = \"auth\"\n[expect]\noutcome = \"deny\"\nfailure = \"trap\"\n", "several answers"),
        ] {
            assert!(problem(text).contains(part), "{part:?} is not in {:?}", problem(text));
        }
    }

    #[test]
    fn a_time_is_written_in_milliseconds_or_as_a_date() {
        for (now, ms) in [
            ("7", 7),
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799_500),
            ("2026-01-01T12:00:00Z", super::super::question::NOW_MS),
            ("2026-01-01T13:30:00+01:30", super::super::question::NOW_MS),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
        ] {
            assert_eq!(now_ms(now), Some(ms), "{now}");
        }
        for bad in ["2026-01-01", "2026-01-01T12:00:00", "12:00:00", "\"noon\"", "1960-01-01T00:00:00Z"] {
            assert_eq!(now_ms(bad), None, "{bad}");
        }
    }
}
