//! What the lines of the log say: one type for each kind, for whoever writes and whoever reads. The format is docs/decision-log.md.
//!
//! No type here has a place for a token or a password.

use std::fmt;

use lockgate_model::policy::{Attribute, Door, Grant, Hook, RoomFacts, Why};
use lockgate_model::{Bitrate, Codec, Layer, MediaKind, RevokedWhat, Source};
use serde::{Deserialize, Serialize};

use crate::compare::{Change, Said};

/// One line, without its place in the chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Line {
    /// A file or a node begins.
    Header(Box<Header>),
    /// A question was answered.
    Question(Box<QuestionLine>),
    /// An operator took something away.
    Revocation(Revocation),
    /// An operator keeps a subject out.
    Hold {
        /// Who decided it.
        operator: String,
        /// Whom it concerns.
        subject: String,
        /// Until when, in ms since 1970.
        until_ms: u64,
    },
    /// A participant was told that something is over: a grant ended, an answer changed, somebody took it away.
    Revoked {
        /// Where.
        room: String,
        /// Who was told.
        participant: u64,
        /// What is over.
        what: RevokedWhat,
        /// Whose track it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        publisher: Option<u64>,
        /// Which one; none: everything of that kind, or a connection that was lost.
        #[serde(skip_serializing_if = "Option::is_none")]
        track: Option<String>,
        /// Why, for people; none: policy's answer to a question before this line says it.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A participant may do other things than before.
    Grants {
        /// Where.
        room: String,
        /// Who.
        participant: u64,
        /// What they may do now.
        grant: Grant,
    },
    /// The node refused something, whether or not plugins were asked.
    Refused {
        /// Where.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
        /// Whom; none: somebody who is in no room.
        #[serde(skip_serializing_if = "Option::is_none")]
        participant: Option<u64>,
        /// Who that is, where it is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// The request.
        of: String,
        /// The refusal.
        denial: DenialLine,
    },
    /// The same refusal came again and again: only the first one was told.
    Repeated {
        /// What was refused: the request, or `auth`.
        of: String,
        /// Where they knocked.
        #[serde(skip_serializing_if = "Option::is_none")]
        door: Option<Door>,
        /// From which address, or network of IPv6.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// Who that is, where it is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// The refusal, for programs. None: whoever there was no place for, whatever the refusal.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// How often, without the one that was told.
        times: u64,
        /// Since when, in ms since 1970.
        since_ms: u64,
    },
    /// A participant is in the room.
    Entered {
        /// Where.
        room: String,
        /// Who.
        participant: u64,
        /// What they may do.
        grant: Grant,
    },
    /// A participant is gone.
    Left {
        /// Where.
        room: String,
        /// Who.
        participant: u64,
    },
    /// A participant publishes something no more.
    Unpublished {
        /// Where.
        room: String,
        /// Who.
        participant: u64,
        /// What; none: nothing any more.
        #[serde(skip_serializing_if = "Option::is_none")]
        track: Option<String>,
    },
    /// A track is recorded, or no more.
    Recording {
        /// Where.
        room: String,
        /// In which session.
        session: String,
        /// Which; none: all of the session.
        #[serde(skip_serializing_if = "Option::is_none")]
        track: Option<String>,
        /// Whose.
        #[serde(skip_serializing_if = "Option::is_none")]
        publisher: Option<u64>,
        /// Whether.
        on: bool,
    },
    /// A room is over, with all that was in it.
    RoomClosed {
        /// Which.
        room: String,
    },
    /// Other plugins answer than before, or for some rooms.
    Swap(Box<SwapLine>),
    /// A plugin in shadow would have answered otherwise than the one that did.
    Shadow(Box<ShadowLine>),
    /// Lines are missing that should have been here.
    Gap {
        /// How many.
        lost: u64,
        /// Why.
        why: Lost,
    },
    /// The node stopped, and everything before was written.
    End {},
}

/// Why lines were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// They came faster than the disk took them.
    Queue,
    /// The disk refused them.
    Disk,
}

/// What was true when a file or a node began.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The version of the line format: 1.
    pub format: u32,
    /// What begins here.
    pub why: Begun,
    /// The number of the file.
    pub file: u64,
    /// How many files are kept.
    pub keep: u64,
    /// What is left of a line that was being written when the node died, at the end of the file before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub torn: Option<Torn>,
    /// The node's version.
    pub version: String,
    /// What is left out of lines.
    pub omit: Vec<Omit>,
    /// The plugins that are asked.
    #[serde(flatten)]
    pub policies: Policies,
    /// Those that are asked for a share of the rooms.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub canary: Option<Policies>,
}

/// What begins with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begun {
    /// A node: nobody is in any room.
    Node,
    /// Only a file: everything goes on.
    File,
}

/// The rest of a line that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Torn {
    /// How long it is.
    pub bytes: u64,
    /// What it hashes to, in hexadecimal.
    #[serde(with = "hexadecimal")]
    pub sha256: super::seal::Hash,
}

/// Other plugins answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwapLine {
    /// In which way.
    pub outcome: SwapOutcome,
    /// What led to it.
    pub why: String,
    /// Who answered before.
    pub from: Policies,
    /// Who answers now.
    pub to: Policies,
}

/// What came of a change of plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapOutcome {
    /// They answer for all.
    Swapped,
    /// They answer for a share of the rooms.
    Canary,
    /// They answered for a share of the rooms, and answer for all.
    Promoted,
    /// Those before answer again, as the new ones did worse.
    RolledBack,
    /// Those before answer again for the rooms that others were tried on, as they are configured again.
    Withdrawn,
    /// Nothing differs.
    Unchanged,
    /// They cannot be used. Those before answer.
    Refused,
}

impl SwapOutcome {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Swapped,
        Self::Canary,
        Self::Promoted,
        Self::RolledBack,
        Self::Withdrawn,
        Self::Unchanged,
        Self::Refused,
    ];

    /// The name in metrics and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Swapped => "swapped",
            Self::Canary => "canary",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled-back",
            Self::Withdrawn => "withdrawn",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }

    /// Whether somebody else answers some questions than before.
    pub fn is_change(self) -> bool {
        !matches!(self, Self::Unchanged | Self::Refused)
    }
}

/// What a plugin in shadow would have said.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowLine {
    /// Its name.
    pub plugin: String,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// The plugin whose answers its own are held against; none: what comes of questions is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub of: Option<String>,
    /// The kind of question.
    pub hook: Hook,
    /// When it was asked, in ms since 1970: the `askedMs` of the question, which stands before.
    pub asked_ms: u64,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<String>,
    /// Who would do it, by subject.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub who: Option<String>,
    /// Which configuration answered.
    pub epoch: u64,
    /// Where it differs; the first 64 tracks.
    pub differs: Vec<ShadowWord>,
    /// How many tracks more.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub more: usize,
}

/// One thing about which a plugin in shadow would have said something else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowWord {
    /// Which track; none: it is not about tracks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub track: Option<String>,
    /// Whose track, by their place in the room; none: theirs who asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub publisher: Option<u64>,
    /// What the other plugin said; none: it was not asked, or there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub live: Option<Said>,
    /// What this one says.
    pub shadow: Said,
    /// In what they differ.
    pub changes: Vec<Change>,
    /// What came of it.
    pub came: VerdictLine,
    /// What would have come of it; none: nobody can say, as others were not asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub would_come: Option<VerdictLine>,
}

/// A configuration of plugins.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policies {
    /// Its number in this run of the node, from 1.
    pub epoch: u64,
    /// SHA-256 of what is configured of them, but for the values of their settings: the same for the same configuration.
    pub config: String,
    /// Whether something is allowed on which all of them abstain; none: the log does not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub default_allow: Option<bool>,
    /// The plugins, in the order in which they are asked.
    pub plugins: Vec<PluginFacts>,
    /// Those that are asked beside them, and whose answers count for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub shadows: Vec<PluginFacts>,
}

/// A plugin that is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginFacts {
    /// Its name.
    pub name: String,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// What it is asked.
    pub hooks: Vec<Hook>,
}

/// Something that is left out of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Omit {
    /// What tokens say beyond who it is.
    Claims,
    /// Names for people.
    Username,
    /// Addresses.
    Peer,
    /// What clients write for policy when they join.
    Metadata,
    /// What moderators' acts carry, and what plugins answer to them.
    Payload,
}

impl Omit {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Claims, Self::Username, Self::Peer, Self::Metadata, Self::Payload];

    /// The name in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::Username => "username",
            Self::Peer => "peer",
            Self::Metadata => "metadata",
            Self::Payload => "payload",
        }
    }
}

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

/// What an operator took away.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// Who decided it.
    pub operator: String,
    /// Where.
    pub room: String,
    /// Whom it concerned.
    pub participants: Vec<u64>,
    /// What is over.
    pub what: RevokedWhat,
    /// Which track; none: all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub track: Option<String>,
    /// Why, for people.
    pub reason: String,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A hash as text.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::journal::seal::Hash;

    pub(super) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(hash)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        Hash::parse(text.as_bytes()).ok_or_else(|| D::Error::custom("is no SHA-256"))
    }
}
