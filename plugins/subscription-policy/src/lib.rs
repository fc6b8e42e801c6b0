//! Decides who sees whom, and how much of them.
//!
//! The viewer's role, a claim of their token, picks a rule; those without a role, or with one that has no rule, get the default
//! rule. What a rule does not mention is not limited. What the viewer may not receive is not even announced to them.
//!
//! Grants: `config`. Settings, all optional:
//!
//! ```toml
//! [plugin.settings]
//! role_claim = "role"        # the claim that names the role
//!
//! [plugin.settings.default]  # for everybody else
//!
//! [plugin.settings.roles.viewer]
//! sees = ["host", "speaker"]      # the roles of those whom they may see and hear; absent: everybody
//! sources = ["camera", "microphone"]
//! max_spatial = 1                 # highest layers, from 0
//! max_temporal = 1
//! max_bitrate = 600000            # of one track, in bits per second
//! priority = 50                   # when bandwidth is short: 0 (least) … 255
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::exports::lockgate::policy::subscription;
use crate::lockgate::policy::types::{Denial, Grant, Participant, Track, Verdict};

wit_bindgen::generate!({ path: "../../wit", world: "subscription-plugin", additional_derives: [PartialEq] });

struct SubscriptionPolicy;

export!(SubscriptionPolicy);

common::lifecycle!(SubscriptionPolicy);

impl subscription::Guest for SubscriptionPolicy {
    fn decide(asked: subscription::Question) -> Vec<Verdict> {
        settings().decide(&asked)
    }
}

/// What the operator chose.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    role_claim: String,
    #[serde(rename = "default")]
    others: Rule,
    roles: BTreeMap<String, Rule>,
}

/// What a role receives.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rule {
    sees: Option<Vec<String>>,
    sources: Option<Vec<String>>,
    max_spatial: Option<u8>,
    max_temporal: Option<u8>,
    max_bitrate: Option<u64>,
    priority: Option<u8>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { role_claim: "role".into(), others: Rule::default(), roles: BTreeMap::new() }
    }
}

impl Settings {
    fn read(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn decide(&self, asked: &subscription::Question) -> Vec<Verdict> {
        let rule = self.role_of(&asked.who).and_then(|role| self.roles.get(&role)).unwrap_or(&self.others);
        let verdict_about = |track: &Track, publisher: Option<&Participant>| {
            if asked.who.identity.grant.can_subscribe == Some(false) {
                return Verdict::Deny(denial("you may not watch"));
            }
            let role = publisher.and_then(|publisher| self.role_of(publisher));
            rule.verdict(track, role.as_deref())
        };
        let publications = asked.publications.iter();
        publications.map(|one| verdict_about(&one.track, asked.publishers.get(one.publisher as usize))).collect()
    }

    /// The role that somebody's token names. Claims are JSON text.
    fn role_of(&self, who: &Participant) -> Option<String> {
        let claim = who.identity.claims.iter().find(|attr| attr.key == self.role_claim)?;
        serde_json::from_str(&claim.value).ok()
    }
}

impl Rule {
    /// About a track of somebody with such a role.
    fn verdict(&self, track: &Track, role: Option<&str>) -> Verdict {
        let sees = |roles: &Vec<String>| role.is_some_and(|role| roles.iter().any(|one| one == role));
        if !self.sees.as_ref().is_none_or(sees) {
            return Verdict::Deny(denial("your role may not see them"));
        }
        if !self.sources.as_ref().is_none_or(|sources| sources.contains(&track.source)) {
            return Verdict::Deny(denial("your role may not receive this kind of track"));
        }
        Verdict::Allow(Grant {
            max_spatial: self.max_spatial,
            max_temporal: self.max_temporal,
            max_bitrate: self.max_bitrate,
            priority: self.priority,
            ..common::no_limits!()
        })
    }
}

fn denial(message: &str) -> Denial {
    Denial { code: "forbidden".into(), message: message.into(), retry_after_ms: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockgate::policy::types::{Attr, Identity, Layer, MediaKind, Publication, Room};

    fn somebody(role: Option<&str>) -> Participant {
        let claims = role.map(|role| Attr { key: "role".into(), value: format!("{role:?}") }).into_iter().collect();
        let identity = Identity {
            subject: "s".into(),
            username: "s".into(),
            claims,
            expires_at_ms: None,
            grant: common::no_limits!(),
        };
        let (door, peer) = ("ws".into(), "::1".into());
        Participant { identity, user_id: 1, publisher_id: None, door, peer, extra: Vec::new() }
    }

    fn publication(publisher: u32, source: &str) -> Publication {
        let track = Track {
            id: "t".into(),
            kind: MediaKind::Video,
            source: source.into(),
            codec: None,
            top_layer: Layer { spatial: 2, temporal: 2 },
            bitrate: None,
            extra: Vec::new(),
        };
        Publication { publisher, track }
    }

    /// A viewer before the camera of a host, the screen of a host, and the camera of somebody without a role.
    fn verdicts(settings: &str, viewer: Participant) -> Vec<Verdict> {
        Settings::read(settings).unwrap().decide(&subscription::Question {
            who: viewer,
            room: Room { name: "r".into(), participants: 3, publications: 3, recording: false, extra: Vec::new() },
            publishers: vec![somebody(Some("host")), somebody(None)],
            publications: vec![publication(0, "camera"), publication(0, "screen"), publication(1, "camera")],
            why: "announce".into(),
            now_ms: 0,
            extra: Vec::new(),
        })
    }

    fn allowed(verdicts: &[Verdict]) -> Vec<bool> {
        verdicts.iter().map(|verdict| matches!(verdict, Verdict::Allow(_))).collect()
    }

    #[test]
    fn without_settings_everybody_sees_everybody_without_limits() {
        assert_eq!(verdicts("{}", somebody(None)), vec![Verdict::Allow(common::no_limits!()); 3]);
    }

    #[test]
    fn a_role_caps_the_layer() {
        let settings = r#"{"roles": {"viewer": {"max_spatial": 0, "priority": 7}}}"#;
        let Verdict::Allow(grant) = &verdicts(settings, somebody(Some("viewer")))[0] else { panic!("denied") };
        assert_eq!((grant.max_spatial, grant.max_temporal, grant.priority), (Some(0), None, Some(7)));
        assert_eq!(verdicts(settings, somebody(Some("host")))[0], Verdict::Allow(common::no_limits!()));
    }

    #[test]
    fn a_role_sees_only_the_roles_and_sources_of_its_rule() {
        let sees = r#"{"roles": {"viewer": {"sees": ["host"]}}}"#;
        assert_eq!(allowed(&verdicts(sees, somebody(Some("viewer")))), [true, true, false]);
        let sources = r#"{"roles": {"viewer": {"sources": ["camera"]}}}"#;
        assert_eq!(allowed(&verdicts(sources, somebody(Some("viewer")))), [true, false, true]);
    }

    #[test]
    fn a_role_without_a_rule_is_everybody_else() {
        let settings = r#"{"default": {"sees": []}, "roles": {"host": {}}}"#;
        assert_eq!(allowed(&verdicts(settings, somebody(Some("clown")))), [false; 3]);
        assert_eq!(allowed(&verdicts(settings, somebody(None))), [false; 3]);
        assert_eq!(allowed(&verdicts(settings, somebody(Some("host")))), [true; 3]);
    }

    #[test]
    fn who_may_not_subscribe_receives_nothing() {
        let mut viewer = somebody(None);
        viewer.identity.grant.can_subscribe = Some(false);
        assert_eq!(allowed(&verdicts("{}", viewer)), [false; 3]);
    }
}
