//! Decides who sees whom, and how much of them.
//!
//! The viewer's role, a claim of their token, picks a rule; those without a role, or with one that has no rule, get the default
//! rule. The claim may be a list: who has several roles gets what the rules of all of them allow, and of a publisher any role counts. What a
//! rule does not mention is not limited. What the viewer may not receive is not even announced to them.
//!
//! Grants: `config`. Settings, all optional:
//!
//! ```toml
//! [plugin.settings]
//! role_claim = "role"        # the claim that names the role, or a list of roles
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

use common::{any_in, on_both, tighter, words_of};
use serde::Deserialize;

use crate::exports::lockgate::policy::subscription;
use crate::lockgate::policy::types::{Grant, Participant, Track, Verdict};

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
#[derive(Clone, Debug, Default, Deserialize)]
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
        common::settings(json)
    }

    fn decide(&self, asked: &subscription::Question) -> Vec<Verdict> {
        let rule = self.rule_for(&asked.who);
        let verdict_about = |track: &Track, publisher: Option<&Participant>| {
            if asked.who.identity.grant.can_subscribe == Some(false) {
                return Verdict::Deny(common::denial!("forbidden", "you may not watch"));
            }
            rule.verdict(track, &publisher.map(|publisher| self.roles_of(publisher)).unwrap_or_default())
        };
        let publications = asked.publications.iter();
        publications.map(|one| verdict_about(&one.track, asked.publishers.get(one.publisher as usize))).collect()
    }

    /// What the rules of all their roles allow; the default only if there are none.
    fn rule_for(&self, viewer: &Participant) -> Rule {
        let roles = self.roles_of(viewer);
        let rules = roles.iter().filter_map(|role| self.roles.get(role)).cloned();
        rules.reduce(Rule::and).unwrap_or_else(|| self.others.clone())
    }

    fn roles_of(&self, who: &Participant) -> Vec<String> {
        words_of!(who.identity, self.role_claim)
    }
}

impl Rule {
    fn and(self, other: Self) -> Self {
        Self {
            sees: on_both(self.sees, other.sees),
            sources: on_both(self.sources, other.sources),
            max_spatial: tighter(self.max_spatial, other.max_spatial),
            max_temporal: tighter(self.max_temporal, other.max_temporal),
            max_bitrate: tighter(self.max_bitrate, other.max_bitrate),
            priority: tighter(self.priority, other.priority),
        }
    }

    /// About a track of somebody with such roles.
    fn verdict(&self, track: &Track, roles: &[String]) -> Verdict {
        if !self.sees.as_ref().is_none_or(|sees| any_in(roles, sees)) {
            return Verdict::Deny(common::denial!("forbidden", "your role may not see them"));
        }
        if !self.sources.as_ref().is_none_or(|sources| sources.contains(&track.source)) {
            let message = "your role may not receive this kind of track";
            return Verdict::Deny(common::denial!("forbidden", message));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockgate::policy::types::{Attr, Identity, Layer, MediaKind, Publication, Room};

    fn somebody(role: Option<&str>) -> Participant {
        with_claim(role.map(|role| format!("{role:?}")))
    }

    fn with_claim(value: Option<String>) -> Participant {
        let claims = value.map(|value| Attr { key: "role".into(), value }).into_iter().collect();
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
    fn a_list_of_roles_escapes_the_rule_of_none_of_them() {
        let settings = r#"{"default": {"max_temporal": 0}, "roles": {
            "viewer": {"max_spatial": 1, "max_bitrate": 600, "sees": ["host", "viewer"]},
            "mobile": {"max_spatial": 2, "max_bitrate": 300, "sees": ["host"], "sources": ["camera"]},
            "staff": {} } }"#;
        let grant = |claim: &str| match &verdicts(settings, with_claim(Some(claim.into())))[0] {
            Verdict::Allow(grant) => (grant.max_spatial, grant.max_temporal, grant.max_bitrate),
            denied => panic!("{denied:?}"),
        };
        assert_eq!(grant(r#"["viewer"]"#), (Some(1), None, Some(600)));
        for both in [r#"["viewer", "mobile"]"#, r#"["mobile", "staff", "viewer", "clown"]"#] {
            assert_eq!(grant(both), (Some(1), None, Some(300)), "{both}");
        }
        assert_eq!(grant(r#"["clown", 7]"#), (None, Some(0), None));
        let both = verdicts(settings, with_claim(Some(r#"["viewer", "mobile"]"#.into())));
        assert_eq!(allowed(&both), [true, false, false], "what each of the rules lets them see");
    }

    #[test]
    fn of_a_publisher_any_role_counts() {
        let rule = Rule { sees: Some(vec!["host".into()]), ..Rule::default() };
        let track = publication(0, "camera").track;
        let seen = |roles: [&str; 2]| matches!(rule.verdict(&track, &roles.map(String::from)), Verdict::Allow(_));
        assert_eq!([seen(["staff", "host"]), seen(["staff", "viewer"])], [true, false]);
    }

    #[test]
    fn who_may_not_subscribe_receives_nothing() {
        let mut viewer = somebody(None);
        viewer.identity.grant.can_subscribe = Some(false);
        assert_eq!(allowed(&verdicts("{}", viewer)), [false; 3]);
    }
}
