//! Why a client did not join or did not stay, under a code that is counted.

use std::collections::BTreeMap;

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The server's own code (`unauthenticated`, `room-full`, …), `http-401` and the like, or one of ours.
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// The server cannot be reached.
    pub(crate) fn connect(error: impl std::fmt::Display) -> Self {
        Self::new("connect", error.to_string())
    }

    /// The server's description, or its answer, is not what it should be.
    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new("protocol", message)
    }
}

impl From<lockgate_load::NegotiateError> for Failure {
    fn from(error: lockgate_load::NegotiateError) -> Self {
        Self::new("sdp", error.to_string())
    }
}

/// Failures by code, each with how often it was and what the first one said.
#[derive(Clone, Debug, Default, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Failures {
    by_code: BTreeMap<String, Counted>,
}

/// One code's failures.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Counted {
    pub(crate) count: u64,
    pub(crate) first: String,
}

impl Failures {
    /// Notes one. True if it is the first of its code.
    pub(crate) fn note(&mut self, failure: Failure) -> bool {
        let Failure { code, message } = failure;
        let counted = self.by_code.entry(code).or_insert(Counted { count: 0, first: message });
        counted.count += 1;
        counted.count == 1
    }

    pub(crate) fn count(&self) -> u64 {
        self.by_code.values().map(|counted| counted.count).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Counted)> {
        self.by_code.iter().map(|(code, counted)| (code.as_str(), counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_keeps_its_first_message() {
        let mut failures = Failures::default();
        assert!(failures.note(Failure::new("a", "one")));
        assert!(!failures.note(Failure::new("a", "two")));
        assert!(failures.note(Failure::connect("three")));
        assert_eq!(failures.count(), 3);
        let text = serde_json::to_value(&failures).unwrap();
        assert_eq!(text["a"], serde_json::json!({ "count": 2, "first": "one" }));
    }
}
