//! What plugins repeat of a secret that they were shown goes no further than to them.
//!
//! A token or a password is in one question. What is answered goes on: into later questions, to others in the room, into the decision
//! log; and nobody there knows any more what was a secret once. So it is looked for where the answer enters the node. A text that is
//! for people is withheld. What decides something is not replaced: a client that chooses its secret well would choose which limit is
//! lost. There the answer is no.

use lockgate_model::policy::{Attribute, Decision, Denial, Grant, Hook, Identity};
use lockgate_model::{ErrorCode, Secret};
use serde_json::Value;

use crate::question::{Answer, Question};

/// The secret that a question shows to plugins, if it has one.
#[derive(Debug)]
pub(crate) struct Shown<'a>(Option<Repeated<'a>>);

/// A secret as it is found again.
#[derive(Debug)]
struct Repeated<'a> {
    hook: Hook,
    secret: &'a Secret,
    /// As it stands within JSON, if that is not the same.
    escaped: Option<Secret>,
}

impl<'a> Shown<'a> {
    pub(crate) fn by(question: &'a Question) -> Self {
        let (hook, secret) = match question {
            Question::Auth(question) => (Hook::Auth, Some(&question.token)),
            Question::Admission(question) => (Hook::Admission, question.password.as_ref()),
            Question::Publish(_) | Question::Subscribe(_) | Question::Record(_) | Question::Command(_) => {
                return Self(None);
            }
        };
        let secret = secret.filter(|secret| secret.expose().len() >= LEAST_SECRET);
        Self(secret.map(|secret| Repeated { hook, secret, escaped: escaped(secret.expose()) }))
    }

    /// Nothing is a secret.
    pub(crate) fn nothing() -> Self {
        Self(None)
    }

    /// Whether a text holds it, as it is or within JSON.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|secret| secret.is_in(text))
    }

    /// The answer without it.
    pub(crate) fn kept_from(&self, answer: Answer) -> Answer {
        let Some(secret) = &self.0 else { return answer };
        match answer {
            Answer::Identity(known) => Answer::Identity(match known {
                Ok(identity) => secret.identity(identity),
                Err(denial) => Err(secret.denial(denial)),
            }),
            Answer::Decisions(decisions) => {
                Answer::Decisions(decisions.into_iter().map(|decision| secret.decision(decision)).collect())
            }
            // No act is asked about with a secret.
            Answer::Act(answer) => Answer::Act(answer),
        }
    }
}

impl Repeated<'_> {
    fn identity(&self, mut identity: Identity) -> Result<Identity, Denial> {
        let Identity { subject, claims, grant, .. } = &identity;
        if self.is_in(subject) || claims.iter().any(|claim| self.is_in(&claim.key) || self.is_in(&claim.value)) {
            return Err(self.repeated());
        }
        if self.is_in_grant(grant) {
            return Err(self.repeated());
        }
        if self.is_in(&identity.username) {
            identity.username = WITHHELD.to_owned();
        }
        Ok(identity)
    }

    fn decision(&self, decision: Decision) -> Decision {
        match decision {
            Ok(grant) if self.is_in_grant(&grant) => Err(self.repeated()),
            Ok(grant) => Ok(grant),
            Err(denial) => Err(self.denial(denial)),
        }
    }

    fn denial(&self, mut denial: Denial) -> Denial {
        if self.is_in(&denial.message) {
            denial.message = WITHHELD.to_owned();
        }
        if self.is_in(denial.code.as_str()) && !denial.code.is_stable() {
            denial.code = ErrorCode::FORBIDDEN;
        }
        denial
    }

    fn is_in_grant(&self, grant: &Grant) -> bool {
        // Before the dot is the plugin's name, which the host has put there.
        let own = |key: &str| key.split_once('.').map_or(key, |(_, own)| own).to_owned();
        let repeats = |one: &Attribute| self.is_in(&own(&one.key)) || self.is_in(&one.value);
        grant.attributes.iter().any(repeats) || grant.rooms.iter().flatten().any(|room| self.is_in(room))
    }

    fn is_in(&self, text: &str) -> bool {
        let secret = self.secret.expose();
        text.contains(secret)
            || self.escaped.as_ref().is_some_and(|escaped| text.contains(escaped.expose()))
            // There are more ways than one to write the same in JSON.
            || text.contains('\\') && serde_json::from_str(text).is_ok_and(|value| holds(&value, secret))
    }

    /// The refusal of an answer that decides by what must not be told.
    fn repeated(&self) -> Denial {
        let hook = self.hook.as_str();
        tracing::warn!(hook, "an answer repeats the secret that was shown: it is refused; see docs/decision-log.md");
        match self.hook {
            Hook::Auth => Denial::new(ErrorCode::UNAUTHENTICATED, "a plugin would have others know your token"),
            _ => Denial::new(ErrorCode::FORBIDDEN, "a plugin would have others know your password"),
        }
    }
}

/// Whether there is a JSON Web Token in a text (RFC 7519): three parts in base64url, the first one a JSON object.
pub(crate) fn holds_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let runs = text.split(|c: char| !u8::try_from(c).is_ok_and(is_part));
    runs.into_iter().any(|run| {
        run.find("eyJ").is_some_and(|start| {
            let mut parts = run[start..].split('.');
            let long = |part: Option<&str>, least| part.is_some_and(|part: &str| part.len() >= least);
            long(parts.next(), 10) && long(parts.next(), 4) && parts.next().is_some()
        })
    })
}

/// A text as it stands between the quotes of JSON, if that is another one.
fn escaped(text: &str) -> Option<Secret> {
    let json = Value::from(text).to_string();
    let inner = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    (inner != text).then(|| Secret::new(inner))
}

/// Whether any text in a value holds the secret.
fn holds(value: &Value, secret: &str) -> bool {
    match value {
        Value::String(text) => text.contains(secret),
        Value::Array(values) => values.iter().any(|value| holds(value, secret)),
        Value::Object(members) => members.iter().any(|(key, value)| key.contains(secret) || holds(value, secret)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What stands for a text that may not be shown.
pub(crate) const WITHHELD: &str = "[withheld: it holds a secret]";
/// Shorter secrets are found in any text.
const LEAST_SECRET: usize = 4;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use lockgate_model::UserId;
    use lockgate_model::policy::{AuthQuestion, Door};

    use super::*;

    fn auth(token: &str) -> Question {
        let peer = Ipv4Addr::LOCALHOST.into();
        Question::Auth(AuthQuestion { token: Secret::new(token), door: Door::Ws, peer, now_ms: 5 })
    }

    fn ann() -> Identity {
        Identity {
            subject: "7".into(),
            user_id: UserId(7),
            username: "Ann".into(),
            claims: Vec::new(),
            expires_at_ms: None,
            grant: Grant::default(),
        }
    }

    fn attribute(key: &str, value: &str) -> Vec<Attribute> {
        vec![Attribute { key: key.into(), value: value.into() }]
    }

    /// What comes of an identity for which this token was shown.
    fn known(token: &str, identity: Identity) -> Result<Identity, Denial> {
        Shown::by(&auth(token)).kept_from(Answer::Identity(Ok(identity))).into_identity()
    }

    #[test]
    fn a_secret_is_found_however_json_writes_it() {
        let question = auth("pa\"ss\\wörd/7");
        let shown = Shown::by(&question);
        let texts = [
            r#"pa"ss\wörd/7"#,
            r#"he said pa\"ss\\wörd/7 to me"#,
            r#"{"of":["pa\"ss\\w\u00f6rd\/7"]}"#,
            r#"{"pa\u0022ss\\wörd/7":1}"#,
        ];
        for text in texts {
            assert!(shown.is_in(text), "{text}");
        }
        assert!(!shown.is_in(r#""pass\\wörd/7""#));
        let (short, none) = (auth("abc"), auth(""));
        assert!(!Shown::by(&short).is_in("abc") && !Shown::by(&none).is_in(""));
    }

    #[test]
    fn a_name_is_withheld_and_who_it_is_stays_the_same() {
        let named = Identity { username: "I am opaque-token".into(), ..ann() };
        let cleared = known("opaque-token", named).unwrap();
        assert_eq!(cleared, Identity { username: WITHHELD.into(), ..ann() });
    }

    #[test]
    fn what_decides_something_is_refused_rather_than_replaced() {
        let granted = |grant| Identity { grant, ..ann() };
        let rooms = Some(["opaque-token".to_owned()].into());
        let bad = [
            Identity { subject: "opaque-token".into(), ..ann() },
            Identity { claims: attribute("sub", "\"opaque-token\""), ..ann() },
            Identity { claims: attribute("opaque-token", "1"), ..ann() },
            granted(Grant { attributes: attribute("auth.key", "opaque-token"), ..Grant::default() }),
            granted(Grant { attributes: attribute("auth.opaque-token", "1"), ..Grant::default() }),
            granted(Grant { rooms, ..Grant::default() }),
        ];
        for identity in bad {
            assert_eq!(
                known("opaque-token", identity.clone()).unwrap_err().code,
                ErrorCode::UNAUTHENTICATED,
                "{identity:?}"
            );
        }
        // The plugin's name is the operator's choice.
        let limited = granted(Grant { attributes: attribute("opaque.last-n", "2"), ..Grant::default() });
        assert_eq!(known("opaque", limited.clone()), Ok(limited));
    }

    #[test]
    fn a_client_loses_no_limit_by_a_secret_of_that_name() {
        let limited = Grant { attributes: attribute("limits.last-n", "2"), ..Grant::default() };
        assert!(known("last-n", Identity { grant: limited, ..ann() }).is_err());
    }

    #[test]
    fn a_refusal_is_one_without_the_secret_too() {
        let denial = Denial::new(ErrorCode::from_plugin("x-opaque-token"), "opaque-token is not known");
        let cleared =
            Shown::by(&auth("opaque-token")).kept_from(Answer::Identity(Err(denial))).into_identity().unwrap_err();
        assert_eq!(cleared, Denial::new(ErrorCode::FORBIDDEN, WITHHELD));
        let stable = Denial::new(ErrorCode::FORBIDDEN, "no");
        assert_eq!(
            Shown::by(&auth("forbidden")).kept_from(Answer::Identity(Err(stable.clone()))).into_identity(),
            Err(stable)
        );
    }

    #[test]
    fn a_token_is_told_from_what_only_looks_like_one() {
        assert!(holds_token("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl"));
        assert!(!holds_token("version eyJ.1.2") && !holds_token("the eyJhbGciOiJIUzI1NiJ9 alone"));
    }
}
