//! Tells who somebody is from their JSON web token (RFC 7519).
//!
//! The host verifies the token with a key ring of its configuration; no key comes in here. This plugin reads the claims:
//!
//! - `sub` (text or number): who it is. Required.
//! - `username` or `name`: for people.
//! - `rooms`: the rooms that the token is for; absent: all.
//! - `canPublish`, `canSubscribe`, `canData`: absent: yes.
//! - `canRecord`, `admin`: absent: no.
//!
//! All other claims, such as `role`, go on to the plugins that are asked later.
//!
//! Grants: `config`, `jwt`. Settings, all optional:
//!
//! ```toml
//! [plugin.settings]
//! key_ring = "default"      # the key ring that verifies tokens
//! anonymous = "never"       # who may come without a token: "never", "loopback" (this machine), "anywhere"
//! ```

mod claims;

use std::net::IpAddr;

use serde::Deserialize;

use crate::claims::Claims;
use crate::exports::lockgate::policy::{auth, lifecycle};
use crate::lockgate::policy::types::{Attr, Denial, Grant, Identity};
use crate::lockgate::policy::{config, jwt};

wit_bindgen::generate!({ path: "../../wit", world: "auth-plugin", additional_derives: [PartialEq] });

struct JwtAuth;

export!(JwtAuth);

impl lifecycle::Guest for JwtAuth {
    fn describe() -> Vec<Attr> {
        common::about!()
    }

    fn configure(settings: String) -> Result<(), String> {
        let settings = Settings::read(&settings)?;
        match jwt::verify(&settings.key_ring, "") {
            Err(jwt::Failure::KeyRing) => Err(format!("there is no key ring {:?}", settings.key_ring)),
            _ => Ok(()),
        }
    }
}

impl auth::Guest for JwtAuth {
    fn authenticate(asked: auth::Question) -> auth::Outcome {
        // `configure` has accepted them; if they are bad all the same, a trap denies, which is right.
        let settings = Settings::read(&config::all()).expect("settings that were accepted");
        settings.authenticate(&asked, jwt::verify)
    }
}

/// What the operator chose.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    key_ring: String,
    anonymous: Anonymous,
}

/// Who may come without a token.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Anonymous {
    Never,
    Loopback,
    Anywhere,
}

impl Default for Settings {
    fn default() -> Self {
        Self { key_ring: "default".into(), anonymous: Anonymous::Never }
    }
}

impl Settings {
    fn read(json: &str) -> Result<Self, String> {
        common::settings(json)
    }

    fn authenticate(
        &self,
        asked: &auth::Question,
        verify: impl FnOnce(&str, &str) -> Result<jwt::Claims, jwt::Failure>,
    ) -> auth::Outcome {
        if asked.accepted.is_some() {
            return auth::Outcome::Abstain;
        }
        if asked.token.is_empty() {
            return if self.welcomes(&asked.peer) { auth::Outcome::Accept(stranger()) } else { auth::Outcome::Abstain };
        }
        let verified = match verify(&self.key_ring, &asked.token) {
            Ok(verified) => verified,
            // Perhaps a token that another plugin knows. If none does, the host refuses it.
            Err(jwt::Failure::Malformed | jwt::Failure::Key | jwt::Failure::Issuer) => return auth::Outcome::Abstain,
            Err(failure) => return auth::Outcome::Deny(refusal(failure)),
        };
        match Claims::read(&verified.claims) {
            Ok(claims) => auth::Outcome::Accept(claims.into_identity(verified.claims)),
            Err(problem) => auth::Outcome::Deny(common::denial!("unauthenticated", &problem)),
        }
    }

    fn welcomes(&self, peer: &str) -> bool {
        match self.anonymous {
            Anonymous::Never => false,
            Anonymous::Loopback => peer.parse().is_ok_and(|peer: IpAddr| peer.to_canonical().is_loopback()),
            Anonymous::Anywhere => true,
        }
    }
}

/// Somebody without a token: the host gives them a subject, and the grant leaves everything at its default.
fn stranger() -> Identity {
    Identity {
        subject: String::new(),
        username: String::new(),
        claims: Vec::new(),
        expires_at_ms: None,
        grant: Grant { can_record: Some(false), admin: Some(false), ..common::no_limits!() },
    }
}

fn refusal(failure: jwt::Failure) -> Denial {
    match failure {
        jwt::Failure::Expired => common::denial!("token-expired", "the token has expired"),
        jwt::Failure::NotYetValid => common::denial!("unauthenticated", "the token is not valid yet"),
        jwt::Failure::NoExpiry => common::denial!("unauthenticated", "the token has no expiry"),
        jwt::Failure::Algorithm => common::denial!("unauthenticated", "the token's algorithm is not accepted"),
        jwt::Failure::Signature => common::denial!("unauthenticated", "the token's signature is wrong"),
        jwt::Failure::Audience => common::denial!("unauthenticated", "the token is for somebody else"),
        _ => common::denial!("unauthenticated", "the token is not accepted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(token: &str, peer: &str) -> auth::Question {
        auth::Question {
            token: token.into(),
            accepted: None,
            door: "ws".into(),
            peer: peer.into(),
            now_ms: 1,
            extra: Vec::new(),
        }
    }

    fn claims(pairs: &[(&str, &str)]) -> jwt::Claims {
        let attr = |(key, value): &(&str, &str)| Attr { key: (*key).into(), value: (*value).into() };
        jwt::Claims { algorithm: "HS256".into(), key_id: None, claims: pairs.iter().map(attr).collect() }
    }

    #[test]
    fn a_good_token_says_who_it_is_and_what_they_may() {
        let good =
            claims(&[("sub", "42"), ("name", "\"Ann\""), ("exp", "1.5"), ("canRecord", "true"), ("role", "\"host\"")]);
        let outcome = Settings::default().authenticate(&question("t", "192.0.2.1"), |ring, token| {
            assert_eq!((ring, token), ("default", "t"));
            Ok(good)
        });
        let auth::Outcome::Accept(identity) = outcome else { panic!("{outcome:?}") };
        assert_eq!((identity.subject.as_str(), identity.username.as_str()), ("42", "Ann"));
        assert_eq!(identity.expires_at_ms, Some(1500));
        assert_eq!((identity.grant.can_record, identity.grant.admin), (Some(true), Some(false)));
        assert_eq!(identity.claims, [Attr { key: "role".into(), value: "\"host\"".into() }]);
    }

    #[test]
    fn claims_of_a_wrong_type_are_refused_rather_than_ignored() {
        let outcome = |pairs: &[(&str, &str)]| {
            let all: Vec<_> = pairs.iter().chain(&[("exp", "1")]).copied().collect();
            Settings::default().authenticate(&question("t", "::1"), |_, _| Ok(claims(&all)))
        };
        assert!(matches!(outcome(&[("sub", "\"a\"")]), auth::Outcome::Accept(_)));
        for bad in [&[("sub", "\"\"")][..], &[], &[("sub", "\"a\""), ("canPublish", "\"no\"")]] {
            let outcome = outcome(bad);
            assert!(matches!(outcome, auth::Outcome::Deny(denial) if denial.code == "unauthenticated"), "{bad:?}");
        }
    }

    #[test]
    fn an_expired_token_is_told_from_a_false_one_and_from_somebody_elses() {
        let outcome = |failure| Settings::default().authenticate(&question("t", "::1"), |_, _| Err(failure));
        assert!(
            matches!(outcome(jwt::Failure::Expired), auth::Outcome::Deny(denial) if denial.code == "token-expired")
        );
        assert!(
            matches!(outcome(jwt::Failure::Signature), auth::Outcome::Deny(denial) if denial.code == "unauthenticated")
        );
        assert_eq!(outcome(jwt::Failure::Malformed), auth::Outcome::Abstain);
    }

    #[test]
    fn without_a_token_only_those_come_in_whom_the_settings_welcome() {
        let comes_in = |settings: &str, peer: &str| {
            let settings = Settings::read(settings).unwrap();
            match settings.authenticate(&question("", peer), |_, _| unreachable!()) {
                auth::Outcome::Accept(identity) => identity.subject.is_empty(),
                _ => false,
            }
        };
        assert!(!comes_in("{}", "127.0.0.1"));
        assert!(comes_in(r#"{"anonymous": "loopback"}"#, "::ffff:127.0.0.1"));
        assert!(!comes_in(r#"{"anonymous": "loopback"}"#, "192.0.2.1"));
        assert!(comes_in(r#"{"anonymous": "anywhere"}"#, "192.0.2.1"));
        assert!(Settings::read(r#"{"anonymus": "loopback"}"#).unwrap_err().contains("anonymus"));
    }
}
