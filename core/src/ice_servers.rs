//! STUN and TURN servers for one client: with credentials of its own, which are good for a while.
//!
//! A TURN server that shares a secret with this node recomputes the credential and needs no list of users
//! (draft-uberti-behave-turn-rest-00 §2.2; coturn's `use-auth-secret`).

use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lockgate_model::{Credential, IceServer, UserId};

use crate::config::IceServers;

/// What this user is told at this time, in seconds since 1970. Empty where none are configured.
pub(crate) fn for_user(config: &IceServers, user: UserId, now: u64) -> Vec<IceServer> {
    let stun =
        (!config.stun.is_empty()).then(|| IceServer { urls: config.stun.clone(), username: None, credential: None });
    let turn = config.secret.as_ref().filter(|_| !config.turn.is_empty()).map(|secret| {
        let username = format!("{}:{user}", now + config.lifetime.as_secs());
        // The draft knows no other algorithm than SHA-1; as a MAC's it is not broken.
        let tag = sign(&Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes()), username.as_bytes());
        IceServer {
            urls: config.turn.clone(),
            username: Some(username),
            credential: Some(Credential(STANDARD.encode(tag))),
        }
    });
    stun.into_iter().chain(turn).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lockgate_model::Secret;

    use super::*;

    fn config(stun: &[&str], turn: &[&str], secret: Option<&str>) -> IceServers {
        let urls = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect();
        IceServers {
            stun: urls(stun),
            turn: urls(turn),
            secret: secret.map(Secret::new),
            lifetime: Duration::from_secs(3600),
        }
    }

    #[test]
    fn a_turn_credential_is_that_of_the_draft() {
        let user = UserId(7);
        let servers = for_user(&config(&["stun:a"], &["turn:b", "turns:b"], Some("north")), user, 1_000);
        assert_eq!(servers.len(), 2);
        assert_eq!((&servers[0].username, &servers[0].credential), (&None, &None));
        assert_eq!(servers[1].urls, ["turn:b", "turns:b"]);
        assert_eq!(servers[1].username.as_deref(), Some("4600:7"));
        // printf 4600:7 | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(servers[1].credential, Some(Credential("sMJeqR5JKd+SOjqA+eoDWp3jca4=".into())));
    }

    #[test]
    fn nobody_is_told_of_servers_that_are_not_there() {
        let user = UserId(7);
        assert!(for_user(&config(&[], &[], None), user, 1_000).is_empty());
    }
}
