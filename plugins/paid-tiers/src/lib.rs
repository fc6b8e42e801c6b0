//! Caps layers, bitrates and places by what somebody pays for, as a claim of their token says.
//!
//! A claim that names no tier of the settings, or none at all, means the default tier: nobody gets more by an unknown word. The claim may be a
//! list: who has several tiers gets what all of them allow. What
//! somebody receives is capped by their own tier, and what they publish by theirs: a viewer who pays does not get what was never sent.
//!
//! Grants: `config`. Settings:
//!
//! ```toml
//! [plugin.settings]
//! tier_claim = "tier"       # the claim that names the tier
//! default_tier = "free"     # the tier of everybody else; it must be one of those below
//!
//! [plugin.settings.tiers.free]   # all optional; what is absent is not limited
//! max_spatial = 0           # highest layers that they receive, counted from 0
//! max_temporal = 1
//! max_bitrate = 300000      # of each track that they receive, in bits per second
//! priority = 50             # when bandwidth is short, 0 (least) to 255
//! last_n = 4                # most cameras of others at a time
//! top_n = 3                 # most microphones of others at a time
//! record = false            # whether they may record; `true` leaves it to the token
//! publish = ["camera", "microphone"]   # sources that they publish; [] for none
//! publish_bitrate = 500000  # of each track that they publish, in bits per second
//! ```

use std::collections::BTreeMap;

use common::{on_both, tighter, words_of};
use serde::Deserialize;
use serde_json::Value;

use crate::exports::lockgate::policy::{admission, publishing, subscription};
use crate::lockgate::policy::types::{Grant, Identity, Verdict};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package lockgate:paid-tiers;
        world plugin {
            include lockgate:policy/admission-plugin@0.1.0;
            include lockgate:policy/publishing-plugin@0.1.0;
            include lockgate:policy/subscription-plugin@0.1.0;
        }
    ",
    additional_derives: [PartialEq],
    generate_all,
});

struct PaidTiers;

export!(PaidTiers);

common::lifecycle!(PaidTiers);

impl admission::Guest for PaidTiers {
    fn admit(asked: admission::Question) -> Verdict {
        Verdict::Allow(settings().of(&asked.who.identity).stay())
    }
}

impl publishing::Guest for PaidTiers {
    fn decide(asked: publishing::Question) -> Vec<Verdict> {
        let tier = settings().of(&asked.who.identity);
        asked.tracks.iter().map(|track| tier.publish(&track.source)).collect()
    }
}

impl subscription::Guest for PaidTiers {
    fn decide(asked: subscription::Question) -> Vec<Verdict> {
        let verdict = Verdict::Allow(settings().of(&asked.who.identity).receive());
        vec![verdict; asked.publications.len()]
    }
}

/// What the operator chose, as it is written.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    tier_claim: String,
    default_tier: String,
    tiers: BTreeMap<String, Value>,
}

/// What the operator chose; see the head of the crate.
#[derive(Debug)]
struct Settings {
    tier_claim: String,
    tiers: BTreeMap<String, Tier>,
    everybody_else: Tier,
}

/// What a tier limits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    max_spatial: Option<u8>,
    max_temporal: Option<u8>,
    max_bitrate: Option<u64>,
    priority: Option<u8>,
    last_n: Option<u32>,
    top_n: Option<u32>,
    record: Option<bool>,
    publish: Option<Vec<String>>,
    publish_bitrate: Option<u64>,
}

impl Default for Written {
    fn default() -> Self {
        Self { tier_claim: "tier".into(), default_tier: "free".into(), tiers: BTreeMap::new() }
    }
}

impl Settings {
    fn read(json: &str) -> Result<Self, String> {
        let Written { tier_claim, default_tier, tiers } = common::settings(json)?;
        let tier = |(name, tier): (&String, &Value)| Ok((name.clone(), Tier::read(&format!("tiers.{name}"), tier)?));
        let tiers = tiers.iter().map(tier).collect::<Result<BTreeMap<_, _>, String>>()?;
        let everybody_else = tiers.get(&default_tier).cloned().ok_or_else(|| {
            format!(
                "default_tier: there is no tier {default_tier:?}, so that nobody without a tier would be limited: write \
                 [plugin.settings.tiers.{default_tier}]"
            )
        })?;
        Ok(Self { tier_claim, tiers, everybody_else })
    }

    /// What all tiers of somebody allow.
    fn of(&self, who: &Identity) -> Tier {
        let named = words_of!(who, self.tier_claim);
        let tiers = named.iter().filter_map(|name| self.tiers.get(name)).cloned();
        tiers.reduce(Tier::and).unwrap_or_else(|| self.everybody_else.clone())
    }
}

impl Tier {
    fn read(place: &str, tier: &Value) -> Result<Self, String> {
        let tier: Self = common::part(place, tier)?;
        let bitrates = [("max_bitrate", tier.max_bitrate), ("publish_bitrate", tier.publish_bitrate)];
        match bitrates.into_iter().find(|(_, bitrate)| bitrate.is_some_and(|bitrate| bitrate < LEAST_BITRATE)) {
            Some((name, _)) => Err(format!(
                "{place}.{name}: nothing useful fits into less than {LEAST_BITRATE} bits per second: is it kbit/s? To forbid a \
                 source, leave it out of publish"
            )),
            None => Ok(tier),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            max_spatial: tighter(self.max_spatial, other.max_spatial),
            max_temporal: tighter(self.max_temporal, other.max_temporal),
            max_bitrate: tighter(self.max_bitrate, other.max_bitrate),
            priority: tighter(self.priority, other.priority),
            last_n: tighter(self.last_n, other.last_n),
            top_n: tighter(self.top_n, other.top_n),
            record: tighter(self.record, other.record),
            publish: on_both(self.publish, other.publish),
            publish_bitrate: tighter(self.publish_bitrate, other.publish_bitrate),
        }
    }

    /// The grant for the whole stay. An absent permission leaves the matter to the token.
    fn stay(&self) -> Grant {
        let publishes = self.publish.as_ref().is_none_or(|sources| !sources.is_empty());
        Grant {
            can_publish: (!publishes).then_some(false),
            can_record: self.record.filter(|record| !record),
            attributes: common::places!(self.last_n, self.top_n).collect(),
            ..common::no_limits!()
        }
    }

    fn publish(&self, source: &String) -> Verdict {
        if self.publish.as_ref().is_some_and(|sources| !sources.contains(source)) {
            return Verdict::Deny(common::denial!("forbidden", format!("your plan does not include {source}")));
        }
        Verdict::Allow(Grant { max_bitrate: self.publish_bitrate, ..common::no_limits!() })
    }

    fn receive(&self) -> Grant {
        Grant {
            max_spatial: self.max_spatial,
            max_temporal: self.max_temporal,
            max_bitrate: self.max_bitrate,
            priority: self.priority,
            ..common::no_limits!()
        }
    }
}

/// Less than the sparest voice.
const LEAST_BITRATE: u64 = 6000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockgate::policy::types::Attr;

    const SETTINGS: &str = r#"{ "tiers": {
        "free": { "max_spatial": 0, "max_bitrate": 300000, "last_n": 4, "record": false, "publish": ["camera"],
                  "publish_bitrate": 500000 },
        "pro": { "record": true },
        "guest": { "publish": [] }
    } }"#;

    fn tier(claim: Option<&str>) -> Tier {
        let claim = claim.map(|value| Attr { key: "tier".into(), value: value.into() });
        let who = Identity {
            subject: "ann".into(),
            username: "Ann".into(),
            claims: claim.into_iter().collect(),
            expires_at_ms: None,
            grant: common::no_limits!(),
        };
        Settings::read(SETTINGS).unwrap().of(&who)
    }

    #[test]
    fn a_tier_caps_what_is_received_and_what_is_published() {
        let free = tier(None);
        let received = free.receive();
        assert_eq!((received.max_spatial, received.max_temporal, received.max_bitrate), (Some(0), None, Some(300_000)));
        let Verdict::Allow(published) = free.publish(&"camera".into()) else { panic!("denied") };
        assert_eq!(published, Grant { max_bitrate: Some(500_000), ..common::no_limits!() });
        assert!(matches!(free.publish(&"screen".into()), Verdict::Deny(_)));
        let last_n = vec![Attr { key: "last-n".into(), value: "4".into() }];
        let stay = Grant { can_record: Some(false), attributes: last_n, ..common::no_limits!() };
        assert_eq!(free.stay(), stay);
        assert_eq!(tier(Some("\"guest\"")).stay().can_publish, Some(false));
    }

    #[test]
    fn who_pays_is_not_limited_and_gets_nothing_that_the_token_does_not_give() {
        let pro = tier(Some("\"pro\""));
        assert_eq!((pro.receive(), pro.stay()), (common::no_limits!(), common::no_limits!()));
        assert_eq!(pro.publish(&"screen".into()), Verdict::Allow(common::no_limits!()));
    }

    #[test]
    fn a_list_of_tiers_escapes_the_caps_of_none_of_them() {
        assert_eq!(tier(Some(r#"["pro", "platinum", "free"]"#)), tier(Some("\"free\"")));
        let both = tier(Some(r#"["free", "guest"]"#));
        assert_eq!((both.publish, both.record, both.last_n), (Some(Vec::new()), Some(false), Some(4)));
    }

    #[test]
    fn an_unknown_tier_is_the_default() {
        for claim in ["\"gold\"", "7", "true", "\"PRO\"", "", "{}"] {
            assert_eq!(tier(Some(claim)), tier(None), "{claim}");
        }
    }

    #[test]
    fn wrong_settings_are_told_with_their_place() {
        for (settings, part) in [
            ("{}", "write [plugin.settings.tiers.free]"),
            (r#"{"default_tier": "x", "tiers": {"free": {}}}"#, "there is no tier \"x\""),
            (r#"{"tiers": {"free": {"max_spatal": 0}}}"#, "tiers.free: unknown field `max_spatal`"),
            (r#"{"tiers": {"free": {"max_bitrate": 300}}}"#, "tiers.free.max_bitrate: nothing useful"),
        ] {
            let wrong = Settings::read(settings).unwrap_err();
            assert!(wrong.contains(part), "{wrong}");
        }
    }
}
