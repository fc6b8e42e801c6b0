//! The questions as people write them, one shape for each hook: the `question` records of `wit/hooks.wit`.

use std::collections::BTreeMap;

use lockgate_model::policy::Hook;
use serde::{Deserialize, Deserializer, Serialize};

use crate::contract::{admission, auth, command, publishing, recording, subscription};
use crate::kit::words::{Identity, Participant, Publication, Room, Track, attrs};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, clippy::large_enum_variant, reason = "each is the question of its hook; a case has one")]
pub enum Question {
    Auth(Auth),
    Admission(Admission),
    Publishing(Publishing),
    Subscription(Subscription),
    Recording(Recording),
    Command(Command),
}

/// Who is it?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/hooks.wit explains them")]
pub struct Auth {
    pub token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Identity>,
    pub door: String,
    pub peer: String,
    pub now_ms: u64,
    pub extra: BTreeMap<String, String>,
}

/// May they enter? `extra` has `why`, as on a node, unless it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/hooks.wit explains them")]
pub struct Admission {
    pub who: Participant,
    pub room: Room,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    pub now_ms: u64,
    pub extra: BTreeMap<String, String>,
}

/// May they publish these tracks?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/hooks.wit explains them")]
pub struct Publishing {
    pub who: Participant,
    pub room: Room,
    pub tracks: Vec<Track>,
    pub why: String,
    pub now_ms: u64,
    pub extra: BTreeMap<String, String>,
}

/// May they receive these tracks?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/hooks.wit explains them")]
pub struct Subscription {
    pub who: Participant,
    pub room: Room,
    pub publishers: Vec<Participant>,
    pub publications: Vec<Publication>,
    pub why: String,
    pub now_ms: u64,
    pub extra: BTreeMap<String, String>,
}

/// May these tracks be recorded?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/hooks.wit explains them")]
pub struct Recording {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<Participant>,
    pub room: Room,
    pub publishers: Vec<Participant>,
    pub publications: Vec<Publication>,
    pub why: String,
    pub now_ms: u64,
    pub extra: BTreeMap<String, String>,
}

/// What does an act do?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs, reason = "wit/hooks.wit explains them")]
pub struct Command {
    pub who: Participant,
    pub room: Room,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Participant>,
    pub payload: String,
    pub now_ms: u64,
    pub extra: BTreeMap<String, String>,
}

impl Question {
    /// Reads the question of a hook.
    ///
    /// # Errors
    /// If it has a key that such questions do not have, or a value of another type.
    pub fn read<'de, D: Deserializer<'de>>(hook: Hook, from: D) -> Result<Self, D::Error> {
        Ok(match hook {
            Hook::Auth => Self::Auth(Auth::deserialize(from)?),
            Hook::Admission => Self::Admission(Admission::deserialize(from)?),
            Hook::Publishing => Self::Publishing(Publishing::deserialize(from)?),
            Hook::Subscription => Self::Subscription(Subscription::deserialize(from)?),
            Hook::Recording => Self::Recording(Recording::deserialize(from)?),
            Hook::Command => Self::Command(Command::deserialize(from)?),
        })
    }

    /// The question in which nothing is written but one track where tracks are asked about.
    pub fn plain(hook: Hook) -> Self {
        let (publishers, publications) = (vec![Participant::default()], vec![Publication::default()]);
        match hook {
            Hook::Auth => Self::Auth(Auth::default()),
            Hook::Admission => Self::Admission(Admission::default()),
            Hook::Publishing => {
                Self::Publishing(Publishing { tracks: vec![Track::default()], ..Publishing::default() })
            }
            Hook::Subscription => {
                Self::Subscription(Subscription { publishers, publications, ..Subscription::default() })
            }
            Hook::Recording => Self::Recording(Recording { publishers, publications, ..Recording::default() }),
            Hook::Command => Self::Command(Command::default()),
        }
    }

    /// To whom it goes.
    pub fn hook(&self) -> Hook {
        match self {
            Self::Auth(_) => Hook::Auth,
            Self::Admission(_) => Hook::Admission,
            Self::Publishing(_) => Hook::Publishing,
            Self::Subscription(_) => Hook::Subscription,
            Self::Recording(_) => Hook::Recording,
            Self::Command(_) => Hook::Command,
        }
    }

    /// When it is put, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        match self {
            Self::Auth(asked) => asked.now_ms,
            Self::Admission(asked) => asked.now_ms,
            Self::Publishing(asked) => asked.now_ms,
            Self::Subscription(asked) => asked.now_ms,
            Self::Recording(asked) => asked.now_ms,
            Self::Command(asked) => asked.now_ms,
        }
    }

    /// When it is put, to be changed.
    pub fn now_ms_mut(&mut self) -> &mut u64 {
        match self {
            Self::Auth(asked) => &mut asked.now_ms,
            Self::Admission(asked) => &mut asked.now_ms,
            Self::Publishing(asked) => &mut asked.now_ms,
            Self::Subscription(asked) => &mut asked.now_ms,
            Self::Recording(asked) => &mut asked.now_ms,
            Self::Command(asked) => &mut asked.now_ms,
        }
    }
}

impl Auth {
    pub(super) fn into_contract(self) -> auth::Question {
        auth::Question {
            token: self.token,
            accepted: self.accepted.map(Identity::into_contract),
            door: self.door,
            peer: self.peer,
            now_ms: self.now_ms,
            extra: attrs(self.extra),
        }
    }
}

impl Admission {
    pub(super) fn into_contract(mut self) -> admission::Question {
        self.extra.entry("why".into()).or_insert_with(|| "request".into());
        admission::Question {
            who: self.who.into_contract(),
            room: self.room.into_contract(),
            password: self.password,
            metadata: self.metadata,
            now_ms: self.now_ms,
            extra: attrs(self.extra),
        }
    }
}

impl Publishing {
    pub(super) fn into_contract(self) -> publishing::Question {
        publishing::Question {
            who: self.who.into_contract(),
            room: self.room.into_contract(),
            tracks: self.tracks.into_iter().map(Track::into_contract).collect(),
            why: self.why,
            now_ms: self.now_ms,
            extra: attrs(self.extra),
        }
    }
}

impl Subscription {
    pub(super) fn into_contract(self) -> subscription::Question {
        subscription::Question {
            who: self.who.into_contract(),
            room: self.room.into_contract(),
            publishers: self.publishers.into_iter().map(Participant::into_contract).collect(),
            publications: self.publications.into_iter().map(Publication::into_contract).collect(),
            why: self.why,
            now_ms: self.now_ms,
            extra: attrs(self.extra),
        }
    }
}

impl Recording {
    pub(super) fn into_contract(self) -> recording::Question {
        recording::Question {
            who: self.who.map(Participant::into_contract),
            room: self.room.into_contract(),
            publishers: self.publishers.into_iter().map(Participant::into_contract).collect(),
            publications: self.publications.into_iter().map(Publication::into_contract).collect(),
            why: self.why,
            now_ms: self.now_ms,
            extra: attrs(self.extra),
        }
    }
}

impl Command {
    pub(super) fn into_contract(self) -> command::Question {
        command::Question {
            who: self.who.into_contract(),
            room: self.room.into_contract(),
            name: self.name,
            target: self.target.map(Participant::into_contract),
            payload: self.payload,
            now_ms: self.now_ms,
            extra: attrs(self.extra),
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        let (door, peer) = ("ws".into(), "127.0.0.1".into());
        Self { token: String::new(), accepted: None, door, peer, now_ms: NOW_MS, extra: BTreeMap::new() }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            who: Participant::default(),
            room: Room::default(),
            password: None,
            metadata: None,
            now_ms: NOW_MS,
            extra: BTreeMap::new(),
        }
    }
}

impl Default for Publishing {
    fn default() -> Self {
        Self {
            who: Participant::default(),
            room: Room::default(),
            tracks: Vec::new(),
            why: "request".into(),
            now_ms: NOW_MS,
            extra: BTreeMap::new(),
        }
    }
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            who: Participant::default(),
            room: Room::default(),
            publishers: Vec::new(),
            publications: Vec::new(),
            why: "request".into(),
            now_ms: NOW_MS,
            extra: BTreeMap::new(),
        }
    }
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            who: None,
            room: Room::default(),
            publishers: Vec::new(),
            publications: Vec::new(),
            why: "request".into(),
            now_ms: NOW_MS,
            extra: BTreeMap::new(),
        }
    }
}

impl Default for Command {
    fn default() -> Self {
        Self {
            who: Participant::default(),
            room: Room::default(),
            name: "knock".into(),
            target: None,
            payload: String::new(),
            now_ms: NOW_MS,
            extra: BTreeMap::new(),
        }
    }
}

/// Noon of the first of January 2026, in UTC: a time that does not move.
pub(super) const NOW_MS: u64 = 1_767_268_800_000;
