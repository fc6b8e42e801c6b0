//! What a replay found: how many answers are the same, and each kind of difference once, with an example.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use lockgate_model::policy::Hook;
use serde::Serialize;

use crate::compare::{Change, Said};
use crate::journal::{Spot, VerdictLine};

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// What was put with all that plugins were shown then.
    pub whole: Counts,
    /// What was put without something that the log leaves out: answers may differ because of that.
    pub incomplete: Counts,
    /// How many questions lacked what.
    pub missing: BTreeMap<&'static str, u64>,
    /// What was not put.
    pub left_out: LeftOut,
    /// Questions that took longer than the plugin's deadline allows on a node.
    pub slow: u64,
    /// Whether a plugin of this name is in the log. If not, only what would come of a question is compared.
    pub known: bool,
    /// Each kind of difference, the most frequent ones first.
    pub differences: Vec<Group>,
    /// Differences beyond the first thousand kinds.
    pub further: u64,
}

/// Questions and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Questions.
    pub questions: u64,
    /// Decisions in them: one for each track, or one.
    pub decisions: u64,
    /// Those in which the plugin says the same.
    pub same: u64,
    /// Those in which it does not.
    pub different: u64,
    /// Those of the different ones of which something else would come.
    pub changed: u64,
    /// Those of the different ones of which cannot be said what would come: other plugins were not asked then.
    pub unknown: u64,
}

/// Questions that were not put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// Who somebody is: the log has no tokens.
    pub auth: u64,
    /// Of a kind that this plugin is not asked.
    pub not_asked: u64,
    /// Plugins before it had denied all already.
    pub unreached: u64,
    /// No plugin was heard then.
    pub unanswered: u64,
    /// They cannot be made a question of again.
    pub unreadable: u64,
}

/// One kind of difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// How many decisions.
    pub count: u64,
    /// What was asked.
    pub hook: Hook,
    /// Whether the log leaves out something that the plugin was shown then.
    pub incomplete: bool,
    /// In what they differ; times and texts are those of the example.
    pub changes: Vec<Change>,
    /// What would come of it.
    pub outcome: Outcome,
    /// The first one.
    pub example: Example,
}

/// What a difference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing: others decide it.
    Same,
    /// Another decision.
    Changed,
    /// Nobody can say: other plugins were not asked then.
    Unknown,
}

/// A decision that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// Where the log has it.
    #[serde(flatten)]
    pub spot: Spot,
    /// When it was decided, in ms since 1970.
    pub time_ms: u64,
    /// The room.
    pub room: Option<String>,
    /// Who would have done it.
    pub who: Option<String>,
    /// About what: a track and whose it is, or an act.
    pub about: Option<String>,
    /// What the plugin said then; none: it was not asked.
    pub then: Option<Said>,
    /// What it says now.
    pub now: Said,
    /// What came of it then.
    pub came: VerdictLine,
    /// What would come of it now; none: nobody can say.
    pub would_come: Option<VerdictLine>,
}

/// Collects differences by kind.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// With the order in which they came.
    by_kind: HashMap<String, (usize, Group)>,
    further: u64,
}

impl Groups {
    /// One more decision that differs; the example is made if it is the first of its kind.
    pub(super) fn add(
        &mut self,
        (hook, incomplete): (Hook, bool),
        changes: Vec<Change>,
        outcome: Outcome,
        result: Option<&Change>,
        example: impl FnOnce() -> Example,
    ) {
        let keys: Vec<_> = changes.iter().map(Change::key).collect();
        let kind = format!("{hook:?} {incomplete} {outcome:?} {keys:?} {:?}", result.map(Change::key));
        let kinds = self.by_kind.len();
        match self.by_kind.entry(kind) {
            Entry::Occupied(mut known) => known.get_mut().1.count += 1,
            Entry::Vacant(_) if kinds >= MAX_KINDS => self.further += 1,
            Entry::Vacant(new) => {
                new.insert((kinds, Group { count: 1, hook, incomplete, changes, outcome, example: example() }));
            }
        }
    }

    /// All of them, the most frequent ones first, and how many had no place.
    pub(super) fn into_sorted(self) -> (Vec<Group>, u64) {
        let mut groups: Vec<_> = self.by_kind.into_values().collect();
        groups.sort_by_key(|(order, group)| (group.incomplete, Reverse(group.count), *order));
        (groups.into_iter().map(|(_, group)| group).collect(), self.further)
    }
}

/// Kinds of difference that are told; what is beyond is only counted.
const MAX_KINDS: usize = 1000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn add(groups: &mut Groups, line: u64, field: &str, now: u64) {
        let change = Change { field: field.into(), then: None, now: Some(json!(now)) };
        let spot = Spot { file: "log".into(), line };
        groups.add((Hook::Subscription, false), vec![change], Outcome::Same, None, || Example {
            spot,
            time_ms: line,
            room: None,
            who: None,
            about: None,
            then: None,
            now: Said::Verdict(VerdictLine::Abstain),
            came: VerdictLine::Abstain,
            would_come: None,
        });
    }

    #[test]
    fn the_same_difference_is_told_once_with_its_first_example() {
        let mut groups = Groups::default();
        add(&mut groups, 1, "maxSpatial", 0);
        add(&mut groups, 2, "maxSpatial", 1);
        add(&mut groups, 3, "maxSpatial", 1);
        add(&mut groups, 4, "expiresAtMs", 5);
        add(&mut groups, 5, "expiresAtMs", 6);
        add(&mut groups, 6, "expiresAtMs", 7);
        let (groups, further) = groups.into_sorted();
        let told: Vec<_> = groups.iter().map(|group| (group.count, group.example.spot.line)).collect();
        assert_eq!((told, further), (vec![(3, 4), (2, 2), (1, 1)], 0), "times are of their own each time");
    }

    #[test]
    fn kinds_beyond_the_bound_are_counted() {
        let mut groups = Groups::default();
        let kinds = u64::try_from(MAX_KINDS).unwrap();
        (0..kinds + 7).for_each(|kind| add(&mut groups, kind, "maxSpatial", kind));
        add(&mut groups, 0, "maxSpatial", 3);
        let (groups, further) = groups.into_sorted();
        assert_eq!((groups.len(), groups[0].count, further), (MAX_KINDS, 2, 7));
    }
}
