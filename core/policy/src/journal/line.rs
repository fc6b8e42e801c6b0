//! What the lines of the log say: one type for each kind, for whoever writes and whoever reads. The format is docs/decision-log.md.
//!
//! No type here has a place for a token or a password.

mod change;
mod question;

use lockgate_model::RevokedWhat;
use lockgate_model::policy::{Door, Grant};
use serde::{Deserialize, Serialize};

pub use self::change::{PluginFacts, Policies, ShadowLine, ShadowWord, SwapLine, SwapOutcome};
pub use self::question::{
    CommandLine, DenialLine, EffectLine, HostReason, PluginLine, QuestionLine, TrackLine, VerdictLine, Who,
};

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
    /// An operator did something that takes nothing from anybody for good.
    Act {
        /// Who.
        operator: String,
        /// What.
        act: OperatorAct,
        /// In which room; none: to the node.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
        /// To whom.
        #[serde(skip_serializing_if = "Option::is_none")]
        participant: Option<u64>,
        /// Which track; none: all there were.
        #[serde(skip_serializing_if = "Option::is_none")]
        track: Option<String>,
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

/// What an operator did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorAct {
    /// What somebody publishes is not forwarded.
    Mute,
    /// It is forwarded again.
    Unmute,
    /// The room is to be recorded; whether it may be is a question of its own.
    StartRecording,
    /// It is not to be recorded any more.
    StopRecording,
    /// The node lets nobody in any more, and ends when it is empty.
    Drain,
    /// It lets people in again.
    Undrain,
}

impl OperatorAct {
    /// Its name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::Unmute => "unmute",
            Self::StartRecording => "start-recording",
            Self::StopRecording => "stop-recording",
            Self::Drain => "drain",
            Self::Undrain => "undrain",
        }
    }
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
