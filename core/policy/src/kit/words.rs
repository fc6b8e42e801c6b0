//! The records of the contract as people write and read them: under the names of `wit/`, in JSON or TOML.
//!
//! What is left out of a question has a plain value; what is left out of an expectation is not compared. A misspelt name is an
//! error in both.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::MediaKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chain::user_id;
use crate::contract::types;

/// Limits and permissions; see `grant` in `wit/types.wit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/types.wit explains them")]
pub struct Grant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_spatial: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_temporal: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bitrate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<BTreeSet<MediaKind>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_subscribe: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_record: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_data: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reask_after_ms: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// Somebody; see `identity` in `wit/types.wit`. Claims are written as what they are, not as JSON text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/types.wit explains them")]
pub struct Identity {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
}

/// Somebody at a door or in a room; see `participant` in `wit/types.wit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/types.wit explains them")]
pub struct Participant {
    pub identity: Identity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher_id: Option<u64>,
    pub door: String,
    pub peer: String,
    pub extra: BTreeMap<String, String>,
}

/// A room; see `room` in `wit/types.wit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/types.wit explains them")]
pub struct Room {
    pub name: String,
    pub participants: u32,
    pub publications: u32,
    pub recording: bool,
    pub extra: BTreeMap<String, String>,
}

/// A track; see `track` in `wit/types.wit`. Its kind is that of its source unless another is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/types.wit explains them")]
pub struct Track {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<MediaKind>,
    pub source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    pub top_layer: Layer,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
    pub extra: BTreeMap<String, String>,
}

/// Steps of resolution and frame rate; see `layer` in `wit/types.wit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/types.wit explains them")]
pub struct Layer {
    pub spatial: u8,
    pub temporal: u8,
}

/// Somebody's track; see `publication` in `wit/types.wit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/types.wit explains them")]
pub struct Publication {
    pub publisher: u32,
    pub track: Track,
}

impl Default for Participant {
    fn default() -> Self {
        let (door, peer) = ("ws".into(), "127.0.0.1".into());
        Self { identity: Identity::default(), user_id: None, publisher_id: None, door, peer, extra: BTreeMap::new() }
    }
}

impl Default for Room {
    fn default() -> Self {
        Self { name: "room".into(), participants: 0, publications: 0, recording: false, extra: BTreeMap::new() }
    }
}

impl Default for Track {
    fn default() -> Self {
        let (id, source) = ("track".into(), "camera".into());
        Self { id, kind: None, source, codec: None, top_layer: Layer::default(), bitrate: None, extra: BTreeMap::new() }
    }
}

impl Grant {
    pub(super) fn into_contract(self) -> types::Grant {
        types::Grant {
            max_spatial: self.max_spatial,
            max_temporal: self.max_temporal,
            max_bitrate: self.max_bitrate,
            kinds: self.kinds.map(|kinds| kinds.into_iter().map(kind).collect()),
            sources: self.sources.map(|sources| sources.into_iter().collect()),
            rooms: self.rooms.map(|rooms| rooms.into_iter().collect()),
            can_publish: self.can_publish,
            can_subscribe: self.can_subscribe,
            can_record: self.can_record,
            can_data: self.can_data,
            admin: self.admin,
            priority: self.priority,
            hidden: self.hidden,
            expires_at_ms: self.expires_at_ms,
            reask_after_ms: self.reask_after_ms,
            attributes: attrs(self.attributes),
        }
    }

    pub(super) fn from_contract(grant: types::Grant) -> Self {
        Self {
            max_spatial: grant.max_spatial,
            max_temporal: grant.max_temporal,
            max_bitrate: grant.max_bitrate,
            kinds: grant.kinds.map(|kinds| kinds.into_iter().map(read_kind).collect()),
            sources: grant.sources.map(|sources| sources.into_iter().collect()),
            rooms: grant.rooms.map(|rooms| rooms.into_iter().collect()),
            can_publish: grant.can_publish,
            can_subscribe: grant.can_subscribe,
            can_record: grant.can_record,
            can_data: grant.can_data,
            admin: grant.admin,
            priority: grant.priority,
            hidden: grant.hidden,
            expires_at_ms: grant.expires_at_ms,
            reask_after_ms: grant.reask_after_ms,
            attributes: map(grant.attributes, |text| text),
        }
    }
}

impl Identity {
    pub(super) fn into_contract(self) -> types::Identity {
        let subject = self.subject.unwrap_or_else(|| "somebody".into());
        let claims = self.claims.unwrap_or_default();
        types::Identity {
            username: self.username.unwrap_or_else(|| subject.clone()),
            subject,
            claims: claims.into_iter().map(|(key, value)| attr(key, value.to_string())).collect(),
            expires_at_ms: self.expires_at_ms,
            grant: self.grant.unwrap_or_default().into_contract(),
        }
    }

    pub(super) fn from_contract(identity: types::Identity) -> Self {
        // What is no JSON is shown as the text that it is.
        let claim = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self {
            subject: Some(identity.subject),
            username: Some(identity.username),
            claims: Some(map(identity.claims, claim)),
            expires_at_ms: identity.expires_at_ms,
            grant: Some(Grant::from_contract(identity.grant)),
        }
    }
}

impl Participant {
    pub(super) fn into_contract(self) -> types::Participant {
        let identity = self.identity.into_contract();
        types::Participant {
            user_id: self.user_id.unwrap_or_else(|| user_id(&identity.subject).0),
            identity,
            publisher_id: self.publisher_id,
            door: self.door,
            peer: self.peer,
            extra: attrs(self.extra),
        }
    }
}

impl Room {
    pub(super) fn into_contract(self) -> types::Room {
        let Self { name, participants, publications, recording, extra } = self;
        types::Room { name, participants, publications, recording, extra: attrs(extra) }
    }
}

impl Track {
    pub(super) fn into_contract(self) -> types::Track {
        let usual = match self.source.as_str() {
            "microphone" | "screen-audio" => MediaKind::Audio,
            "data" => MediaKind::Data,
            _ => MediaKind::Video,
        };
        types::Track {
            id: self.id,
            kind: kind(self.kind.unwrap_or(usual)),
            source: self.source,
            codec: self.codec,
            top_layer: types::Layer { spatial: self.top_layer.spatial, temporal: self.top_layer.temporal },
            bitrate: self.bitrate,
            extra: attrs(self.extra),
        }
    }
}

impl Publication {
    pub(super) fn into_contract(self) -> types::Publication {
        types::Publication { publisher: self.publisher, track: self.track.into_contract() }
    }
}

pub(super) fn attrs(pairs: BTreeMap<String, String>) -> Vec<types::Attr> {
    pairs.into_iter().map(|(key, value)| attr(key, value)).collect()
}

pub(super) fn attr(key: String, value: String) -> types::Attr {
    types::Attr { key, value }
}

/// Keys and values as a map. A key that is said twice is there twice, the second time as `key#2`.
pub(super) fn map<V, M: Default + Extend<(String, V)>>(attrs: Vec<types::Attr>, read: impl Fn(String) -> V) -> M {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut map = M::default();
    for types::Attr { key, value } in attrs {
        let times = seen.entry(key.clone()).or_default();
        *times += 1;
        let key = if *times == 1 { key } else { format!("{key}#{times}") };
        map.extend([(key, read(value))]);
    }
    map
}

fn kind(kind: MediaKind) -> types::MediaKind {
    match kind {
        MediaKind::Audio => types::MediaKind::Audio,
        MediaKind::Video => types::MediaKind::Video,
        MediaKind::Data => types::MediaKind::Data,
    }
}

fn read_kind(kind: types::MediaKind) -> MediaKind {
    match kind {
        types::MediaKind::Audio => MediaKind::Audio,
        types::MediaKind::Video => MediaKind::Video,
        types::MediaKind::Data => MediaKind::Data,
    }
}
