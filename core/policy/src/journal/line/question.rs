//! What a line says of a question: who asked for what, what each plugin said, and what came of it.

use std::fmt;

use lockgate_model::policy::{Attribute, Door, Grant, Hook, RoomFacts, Why};
use lockgate_model::{Bitrate, Codec, Layer, MediaKind, Source};
use serde::{Deserialize, Serialize};

use super::{Omit, is_zero};

/// A question, what each plugin said, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuestionLine {
    /// The kind of question.
    pub hook: Hook,
    /// What led to it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<Why>,
    /// When it was asked, in ms since 1970: the time that plugins were told.
    pub asked_ms: u64,
    /// `auth`: where they knocked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub door: Option<Door>,
    /// `auth`: from which address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<String>,
    /// `auth`: whether there was a token.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token: Option<bool>,
    /// `admission`: whether there was a password.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub password: Option<bool>,
    /// `admission`: what the client wrote.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata: Option<String>,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<RoomFacts>,
    /// Who would do it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub who: Option<Who>,
    /// Whose the tracks are, each once.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub publishers: Vec<Who>,
    /// What it is about.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tracks: Vec<TrackLine>,
    /// `command`: the act.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub command: Option<CommandLine>,
    /// What plugins were shown of it and is left out here.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub omitted: Vec<Omit>,
    /// What plugins said, in the order in which they were asked.
    pub plugins: Vec<PluginLine>,
    /// Why no plugin was heard.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<HostReason>,
    /// What came of it: one for each track, or one.
    pub decisions: Vec<VerdictLine>,
    /// `auth`: who it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub identity: Option<Who>,
    /// `command`: what else is done.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub effects: Vec<EffectLine>,
    /// Which configuration of plugins was asked.
    pub epoch: u64,
    /// From the question to the answer, the wait for a thread counted in, in microseconds.
    pub us: u64,
}

/// Why the host answered by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostReason {
    /// Too many questions were waiting.
    Overloaded,
    /// Its turn did not come in time.
    Late,
    /// The host failed.
    Failed,
}

/// Somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// The token's `sub`.
    pub subject: String,
    /// The number that signalling shows.
    pub user_id: u64,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub username: Option<String>,
    /// What else the token says.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub claims: Vec<Attribute>,
    /// When the token ends, in ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_at_ms: Option<u64>,
    /// What they may do at all: token, auth and admission together, as far as they were asked.
    pub grant: Grant,
    /// Their place in the room.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub participant: Option<u64>,
    /// The door they came by.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub door: Option<Door>,
    /// From which address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<String>,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.username {
            Some(name) => write!(f, "{name} (subject {})", self.subject),
            None => write!(f, "subject {}", self.subject),
        }
    }
}

/// A track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackLine {
    /// Its name in the room.
    pub id: String,
    /// Audio, video or data.
    pub kind: MediaKind,
    /// Where it comes from.
    pub source: Source,
    /// How it is coded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub codec: Option<Codec>,
    /// The highest layer there is.
    pub top_layer: Layer,
    /// What it uses at most.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bitrate: Option<Bitrate>,
    /// Whose it is: the place in `publishers`; none: `who`'s.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub publisher: Option<usize>,
}

/// A moderator's or operator's act.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandLine {
    /// Which.
    pub name: String,
    /// On whom.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<Who>,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload: Option<String>,
    /// What the plugins answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reply: Option<String>,
}

/// What one plugin said.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginLine {
    /// Its name.
    pub plugin: String,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// The first track that it was asked about, where there are too many for one question.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub from: usize,
    /// Why it gave no answer; what counts instead is in `said`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed: Option<String>,
    /// Its verdicts: one for each track, or one.
    pub said: Vec<VerdictLine>,
    /// How long it took, in microseconds.
    pub us: u64,
}

/// A verdict or a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictLine {
    /// Yes, within these limits.
    Allow(Grant),
    /// No.
    Deny(DenialLine),
    /// Not my business.
    Abstain,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DenialLine {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// When it may be worth asking again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
    /// Whether the asker waits in the lobby.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub waiting: bool,
}

/// Something that a plugin wants done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectLine {
    /// `re-ask`, `admit`, `revoke` or `notify`.
    pub effect: String,
    /// Whom it concerns; none: everybody.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<String>,
    /// `revoke`: why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// `notify`: what.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload: Option<String>,
}
