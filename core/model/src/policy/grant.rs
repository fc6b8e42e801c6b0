//! What somebody may do, as data that the forwarder enforces.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Bitrate, Layer, MediaKind, Source};

/// A key and a value. Claims carry JSON text as value; attributes of a grant carry their plugin's name as prefix of the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Attribute {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Limits. An absent limit limits nothing; an absent permission takes the default of its place, which stands beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Grant {
    /// Highest spatial layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_spatial: Option<u8>,
    /// Highest temporal layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_temporal: Option<u8>,
    /// Highest bitrate of one track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bitrate: Option<Bitrate>,
    /// Allowed kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<BTreeSet<MediaKind>>,
    /// Allowed sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<BTreeSet<Source>>,
    /// Allowed rooms (a token's `rooms`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<BTreeSet<String>>,
    /// May publish; absent: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish: Option<bool>,
    /// May subscribe; absent: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_subscribe: Option<bool>,
    /// May start and stop recordings; absent: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_record: Option<bool>,
    /// May use data channels and chat; absent: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_data: Option<bool>,
    /// May use the admin interface, mute and kick; absent: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<bool>,
    /// Weight when bandwidth is short, 0 (least) … 255.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Whether others do not see them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// When it ends, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// After how many milliseconds it is asked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reask_after_ms: Option<u32>,
    /// Further limits of the plugins' own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
}

impl Grant {
    /// What both allow: limits, expiry, re-ask interval and priority by minimum, permissions by *and*, sets by intersection,
    /// `hidden` by *or*, attributes by union. Commutative, associative and idempotent, so the order of plugins changes nothing.
    pub fn and(&self, other: &Self) -> Self {
        Self {
            max_spatial: tighter(self.max_spatial, other.max_spatial),
            max_temporal: tighter(self.max_temporal, other.max_temporal),
            max_bitrate: tighter(self.max_bitrate, other.max_bitrate),
            kinds: common(&self.kinds, &other.kinds),
            sources: common(&self.sources, &other.sources),
            rooms: common(&self.rooms, &other.rooms),
            // `false < true`, so the tighter of two permissions is their conjunction.
            can_publish: tighter(self.can_publish, other.can_publish),
            can_subscribe: tighter(self.can_subscribe, other.can_subscribe),
            can_record: tighter(self.can_record, other.can_record),
            can_data: tighter(self.can_data, other.can_data),
            admin: tighter(self.admin, other.admin),
            priority: tighter(self.priority, other.priority),
            hidden: self.hidden || other.hidden,
            expires_at_ms: tighter(self.expires_at_ms, other.expires_at_ms),
            reask_after_ms: tighter(self.reask_after_ms, other.reask_after_ms),
            attributes: self
                .attributes
                .iter()
                .chain(&other.attributes)
                .cloned()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        }
    }

    /// Whether it allows other things than another one: when it ends and is asked again counts for nothing.
    pub fn differs_in_rights(&self, other: &Self) -> bool {
        let (expires_at_ms, reask_after_ms) = (self.expires_at_ms, self.reask_after_ms);
        *self != Self { expires_at_ms, reask_after_ms, ..other.clone() }
    }

    /// The highest layer allowed.
    pub fn max_layer(&self) -> Layer {
        Layer { spatial: self.max_spatial.unwrap_or(u8::MAX), temporal: self.max_temporal.unwrap_or(u8::MAX) }
    }

    /// Most cameras of others at a time: the attribute `last-n`, of whatever plugin.
    pub fn last_n(&self) -> Option<usize> {
        self.least(Self::LAST_N)
    }

    /// Most microphones of others at a time: the attribute `top-n`, of whatever plugin.
    pub fn top_n(&self) -> Option<usize> {
        self.least(Self::TOP_N)
    }

    /// The attribute that says how many cameras of others are sent at a time.
    pub const LAST_N: &'static str = "last-n";
    /// The attribute that says how many microphones of others are sent at a time.
    pub const TOP_N: &'static str = "top-n";

    /// Whether the room is allowed.
    pub fn allows_room(&self, room: &str) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.contains(room))
    }

    /// Whether such a track may be published.
    pub fn allows_publishing(&self, kind: MediaKind, source: Source) -> bool {
        self.can_publish.unwrap_or(true) && self.allows_track(kind, source)
    }

    /// Whether such a track may be received.
    pub fn allows_subscribing(&self, kind: MediaKind, source: Source) -> bool {
        self.can_subscribe.unwrap_or(true) && self.allows_track(kind, source)
    }

    /// Whether recordings may be started and stopped.
    pub fn allows_recording(&self) -> bool {
        self.can_record.unwrap_or(false)
    }

    /// Whether such a track may be recorded, as the answer to that very question: there, a permission that is absent was given.
    pub fn allows_being_recorded(&self, kind: MediaKind, source: Source) -> bool {
        self.can_record.unwrap_or(true) && self.allows_track(kind, source)
    }

    /// Whether chat and data channels may be used.
    pub fn allows_data(&self) -> bool {
        self.can_data.unwrap_or(true)
    }

    /// Whether others may be muted and put out.
    pub fn is_admin(&self) -> bool {
        self.admin.unwrap_or(false)
    }

    /// The least that plugins say under a name. What is no number allows nothing.
    fn least(&self, name: &str) -> Option<usize> {
        let is_it = |attribute: &&Attribute| attribute.key.split_once('.').is_some_and(|(_, own)| own == name);
        self.attributes.iter().filter(is_it).map(|attribute| attribute.value.parse().unwrap_or(0)).min()
    }

    fn allows_track(&self, kind: MediaKind, source: Source) -> bool {
        (kind != MediaKind::Data || self.allows_data())
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
            && self.sources.as_ref().is_none_or(|sources| sources.contains(&source))
    }
}

fn tighter<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn common<T: Ord + Clone>(a: &Option<BTreeSet<T>>, b: &Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a & b),
        (a, b) => a.as_ref().or(b.as_ref()).cloned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::testing::cases;
    use proptest::collection::btree_set;
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;

    /// Any grant.
    pub(in crate::policy) fn grants() -> impl Strategy<Value = Grant> {
        let limits =
            (of(0..4u8), of(0..4u8), of((0..4u64).prop_map(Bitrate)), of(any::<u8>()), of(0..9u64), of(0..9u32));
        let sets = (of(btree_set(kinds(), 0..2)), of(btree_set(sources(), 0..4)), of(btree_set("[ab]", 0..2)));
        let rights = (
            of(any::<bool>()),
            of(any::<bool>()),
            of(any::<bool>()),
            of(any::<bool>()),
            of(any::<bool>()),
            any::<bool>(),
        );
        let attributes = btree_set(("[ab]", "[xy]").prop_map(|(key, value)| Attribute { key, value }), 0..3);
        (limits, sets, rights, attributes).prop_map(|(limits, sets, rights, attributes)| Grant {
            max_spatial: limits.0,
            max_temporal: limits.1,
            max_bitrate: limits.2,
            priority: limits.3,
            expires_at_ms: limits.4,
            reask_after_ms: limits.5,
            kinds: sets.0,
            sources: sets.1,
            rooms: sets.2,
            can_publish: rights.0,
            can_subscribe: rights.1,
            can_record: rights.2,
            can_data: rights.3,
            admin: rights.4,
            hidden: rights.5,
            attributes: attributes.into_iter().collect(),
        })
    }

    fn kinds() -> impl Strategy<Value = MediaKind> {
        prop_oneof![Just(MediaKind::Audio), Just(MediaKind::Video), Just(MediaKind::Data)]
    }

    fn sources() -> impl Strategy<Value = Source> {
        prop_oneof![
            Just(Source::Camera),
            Just(Source::Microphone),
            Just(Source::Screen),
            Just(Source::ScreenAudio),
            Just(Source::Data)
        ]
    }

    #[test]
    fn the_fewest_places_that_any_plugin_leaves_count() {
        let grant = |attributes: &[(&str, &str)]| Grant {
            attributes: attributes
                .iter()
                .map(|(key, value)| Attribute { key: (*key).into(), value: (*value).into() })
                .collect(),
            ..Grant::default()
        };
        let (one, other) =
            (grant(&[("a.last-n", "9"), ("a.role", "guest")]), grant(&[("b.last-n", "4"), ("b.top-n", "3")]));
        assert_eq!((one.last_n(), one.top_n()), (Some(9), None));
        assert_eq!((one.and(&other).last_n(), one.and(&other).top_n()), (Some(4), Some(3)));
        assert_eq!(grant(&[("a.last-n", "many")]).last_n(), Some(0), "it is a limit, whatever it says");
        assert_eq!(grant(&[("last-n", "1"), ("a.b.last-n", "2")]).last_n(), None);
    }

    proptest! {
        #![proptest_config(cases(64))]

        #[test]
        fn the_order_of_grants_changes_nothing(a in grants(), b in grants(), c in grants()) {
            prop_assert_eq!(a.and(&b), b.and(&a));
            prop_assert_eq!(a.and(&b).and(&c), a.and(&b.and(&c)));
            prop_assert_eq!(a.and(&a), a);
        }

        #[test]
        fn a_grant_never_allows_more_than_each_of_its_parts(a in grants(), b in grants(), kind in kinds(), source in sources()) {
            let both = a.and(&b);
            for part in [&a, &b] {
                prop_assert_eq!(both.max_layer().min(part.max_layer()), both.max_layer());
                prop_assert!(!both.allows_publishing(kind, source) || part.allows_publishing(kind, source));
                prop_assert!(!both.allows_subscribing(kind, source) || part.allows_subscribing(kind, source));
                prop_assert!(!both.allows_room("a") || part.allows_room("a"));
                prop_assert!(part.expires_at_ms.is_none_or(|end| both.expires_at_ms.is_some_and(|all| all <= end)));
            }
        }
    }
}
