//! One plugin's answer to one question, held against what another one said and what came of it.

use lockgate_model::policy::Hook;
use serde_json::json;

use super::outcome::{Chained, Place};
use super::report::Outcome;
use crate::chain::STRANGER;
use crate::compare::{Change, Said, changes, verdict_changes};
use crate::journal::{PluginLine, QuestionLine, VerdictLine, Who};

/// One thing that was asked about.
#[derive(Debug)]
pub(crate) struct Held {
    /// Which: the place among the tracks.
    pub(crate) track: usize,
    /// What was said then; none: the plugin was not asked.
    pub(crate) then: Option<Said>,
    pub(crate) now: Said,
    /// In what the two differ; where none was asked then, in what the decisions do.
    pub(crate) changes: Vec<Change>,
    pub(crate) outcome: Outcome,
    /// The first thing in which the decisions differ.
    pub(crate) result: Option<Change>,
    pub(crate) came: VerdictLine,
    /// None: nobody can say.
    pub(crate) would_come: Option<VerdictLine>,
}

impl Held {
    /// Whether it is another answer.
    pub(crate) fn differs(&self) -> bool {
        !self.changes.is_empty() || self.then.is_none() && self.outcome == Outcome::Unknown
    }
}

/// Everything that the plugin is asked about in this question, and would have been asked about then.
pub(crate) fn held(chained: &Chained<'_>, now: &QuestionLine) -> Vec<Held> {
    let is_new = chained.place() == Place::New;
    let more = more_changes(chained, now);
    let answers = now.plugins.iter().flat_map(|words| {
        let places = words.from..words.from.saturating_add(words.said.len());
        places.zip(&words.said).map(move |(track, verdict)| (track, verdict, said(words, verdict)))
    });
    answers
        .filter_map(|(track, verdict, now)| {
            let then = chained.said(track).map(|(words, verdict)| said(words, verdict));
            // Of many tracks it may have been asked about some only: those before it had denied all that came with this one.
            (is_new || then.is_some()).then_some(())?;
            one(chained, track, then, now, verdict, more.clone())
        })
        .collect()
}

fn one(
    chained: &Chained<'_>,
    track: usize,
    then: Option<Said>,
    now: Said,
    verdict: &VerdictLine,
    more: Vec<Change>,
) -> Option<Held> {
    let came = chained.line.decisions.get(track)?.clone();
    let would_come = chained.decision(track, verdict);
    let results = would_come.as_ref().map(|would_come| verdict_changes(&came, would_come));
    let mut changes = match (&then, &results) {
        (Some(then), _) => changes(then, &now),
        (None, results) => results.clone().unwrap_or_default(),
    };
    let outcome = match &results {
        None => Outcome::Unknown,
        Some(results) if results.is_empty() && more.is_empty() => Outcome::Same,
        Some(_) => Outcome::Changed,
    };
    changes.extend(more);
    let result = results.and_then(|results| results.into_iter().next());
    Some(Held { track, then, now, changes, outcome, result, came, would_come })
}

fn said(words: &PluginLine, verdict: &VerdictLine) -> Said {
    match &words.failed {
        Some(failed) => Said::Failed { failed: failed.clone() },
        None => Said::Verdict(verdict.clone()),
    }
}

/// What is not in verdicts: what an act does, and who somebody is. A line has both for all plugins together: they are compared where this
/// one alone said yes, then as now.
fn more_changes(chained: &Chained<'_>, now: &QuestionLine) -> Vec<Change> {
    let then = chained.line;
    let allows = |verdict: &VerdictLine| matches!(verdict, VerdictLine::Allow(_));
    let by = |line: &QuestionLine| -> Vec<String> {
        let yes = line.plugins.iter().filter(|words| words.said.iter().any(allows));
        yes.map(|words| words.plugin.clone()).collect()
    };
    if !then.decisions.iter().all(allows) || by(now).is_empty() || by(then) != [chained.plugin] {
        return Vec::new();
    }
    match then.hook {
        Hook::Command => act_changes(then, now),
        Hook::Auth => {
            then.identity.iter().zip(&now.identity).flat_map(|(then, now)| identity_changes(then, now)).collect()
        }
        _ => Vec::new(),
    }
}

fn act_changes(then: &QuestionLine, now: &QuestionLine) -> Vec<Change> {
    let effects = |line: &QuestionLine| Some(json!(line.effects)).filter(|_| !line.effects.is_empty());
    let reply = |line: &QuestionLine| line.command.as_ref().and_then(|act| act.reply.clone()).map(Into::into);
    let both = [("effects", effects(then), effects(now)), ("reply", reply(then), reply(now))];
    let differ = both.into_iter().filter(|(_, then, now)| then != now);
    differ.map(|(field, then, now)| Change { field: field.to_owned(), then, now }).collect()
}

fn identity_changes(then: &Who, now: &Who) -> Vec<Change> {
    // Strangers have names that are drawn.
    let subject = |who: &Who| if who.subject.starts_with(STRANGER) { STRANGER.to_owned() } else { who.subject.clone() };
    let facts = |who: &Who| {
        [
            ("subject", json!(subject(who))),
            ("username", json!(who.username)),
            ("claims", json!(who.claims)),
            ("expires", json!(who.expires_at_ms)),
        ]
    };
    let both = facts(then).into_iter().zip(facts(now));
    let differ = both.filter(|((_, then), (_, now))| then != now);
    differ
        .map(|((name, then), (_, now))| Change { field: format!("identity.{name}"), then: Some(then), now: Some(now) })
        .collect()
}
