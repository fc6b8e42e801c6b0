//! What lines say of plugins: which are asked, how others took their place, and what those in shadow would have said.

use lockgate_model::policy::Hook;
use serde::{Deserialize, Serialize};

use super::{VerdictLine, is_zero};
use crate::compare::{Change, Said};

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
