//! Plugins in shadow: asked what the others are asked, after those have answered, and never heard.
//!
//! One thread of their own asks them, so that nobody waits for it, and its queue is bounded: what does not fit is not asked, and counted.
//! What they would have changed is counted, told, and in the decision log.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Instant;

use lockgate_model::policy::{Grant, Hook, Identity};

use crate::chain::Chain;
use crate::failure::Failure;
use crate::journal::{
    Answered, Journal, Line, PluginFacts, QuestionLine, ShadowLine, ShadowWord, TrackLine, VerdictLine,
};
use crate::metrics::{ShadowResult, place};
use crate::plugin::Plugin;
use crate::pool::Pool;
use crate::question::Answer;
use crate::quota::Quota;
use crate::replay::{Chained, Held, Place, held};
use crate::set::Set;

/// A plugin that is only tried.
pub(crate) struct Shadow {
    /// It alone.
    pub(crate) chain: Chain,
    told: Quota,
}

/// How often what came of asking a plugin in shadow, by hook.
#[derive(Debug, Default)]
pub(crate) struct ShadowCounts([[AtomicU64; ShadowResult::ALL.len()]; Hook::ALL.len()]);

/// The way to the thread that asks them.
pub(crate) struct Lane {
    ends: Arc<AtomicBool>,
    /// Bytes that wait, about.
    waiting: Arc<AtomicUsize>,
    pool: Pool,
}

impl Lane {
    pub(crate) fn new() -> std::io::Result<Self> {
        let pool = Pool::new("policy-shadow", THREADS, MAX_WAITING)?;
        Ok(Self { ends: Arc::default(), waiting: Arc::default(), pool })
    }

    /// Has the plugins in shadow asked what was answered. Never waits.
    pub(crate) fn hand_over(&self, answered: Arc<Answered>, set: &Arc<Set>, journal: &Journal) {
        let (weight, hook) = (answered.weight(), answered.question.hook());
        let waiting = self.waiting.fetch_add(weight, Relaxed);
        let (ends, counted) = (Arc::clone(&self.ends), Arc::clone(&self.waiting));
        let (of, journal) = (Arc::clone(set), journal.clone());
        let job = move || {
            counted.fetch_sub(weight, Relaxed);
            let asked = of.shadows.iter().filter(|shadow| shadow.is_asked(hook) && !ends.load(Relaxed));
            asked.for_each(|shadow| shadow.ask(&answered, &of, &journal));
        };
        if waiting + weight > MAX_BYTES || self.pool.leave(job).is_err() {
            self.waiting.fetch_sub(weight, Relaxed);
            let missed = set.shadows.iter().filter(|shadow| shadow.is_asked(hook));
            missed.for_each(|shadow| shadow.count(hook, ShadowResult::Dropped));
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The pool waits for its thread: what is left is not worth that.
        self.ends.store(true, Relaxed);
    }
}

impl Shadow {
    pub(crate) fn new(chain: Chain) -> Self {
        Self { chain, told: Quota::new(TOLD, Arc::default()) }
    }

    pub(crate) fn is_asked(&self, hook: Hook) -> bool {
        self.plugins().any(|plugin| plugin.is_asked(hook))
    }

    /// It, and nobody else.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.chain.plugins.iter()
    }

    pub(crate) fn facts(&self) -> impl Iterator<Item = PluginFacts> {
        self.plugins().map(|plugin| plugin.facts())
    }

    /// Puts a question that was answered, and tells where it would have been answered otherwise.
    fn ask(&self, answered: &Answered, set: &Set, journal: &Journal) {
        let line = answered.question_line(journal.omit());
        for plugin in self.plugins() {
            let of = plugin.config.shadow.as_ref().and_then(|shadow| shadow.of.as_deref());
            let name = of.unwrap_or(&plugin.name);
            let chained = Chained { line: &line, plugin: name, policies: Some(&set.policies) };
            if chained.place() == Place::Unreached {
                continue;
            }
            let (said, failed) = self.put(answered, &chained, set, journal);
            let found: Vec<_> = held(&chained, &said).into_iter().filter(Held::differs).collect();
            let result = match (failed, found.is_empty()) {
                (Some(_), _) => ShadowResult::Failed,
                (None, true) => ShadowResult::Same,
                (None, false) => ShadowResult::Different,
            };
            // That it is paused was told, and tells nothing of this question.
            if !found.is_empty() && failed != Some(Failure::Paused) {
                self.tell(plugin, of, &line, &found);
                journal.note(Line::Shadow(Box::new(shadow_line(plugin, of, &line, found))));
            }
            // Last, so that what is counted is in the log.
            self.count(line.hook, result);
        }
        self.chain.warm_up(answered.question.now_ms());
    }

    /// What it says, as the log would tell of it under the name of the plugin in whose place it is asked; and whether it failed.
    fn put(
        &self,
        answered: &Answered,
        chained: &Chained<'_>,
        set: &Set,
        journal: &Journal,
    ) -> (QuestionLine, Option<Failure>) {
        let question = Arc::clone(&answered.question);
        let asked = question.ask_beside(&self.chain, accepted(answered, chained), set.budget);
        let said = Answered { epoch: answered.epoch, ..asked };
        let failed = said.words.iter().find_map(|words| words.failed);
        (renamed(said.question_line(journal.omit()), chained.plugin), failed)
    }

    fn tell(&self, plugin: &Plugin, of: Option<&str>, line: &QuestionLine, found: &[Held]) {
        if !self.told.take(Instant::now()) {
            return;
        }
        let (hook, tracks) = (line.hook.as_str(), found.len());
        // What it is about only: the values, which are people's, are for the decision log.
        let field = found.iter().flat_map(|held| &held.changes).next().map(|change| change.field.as_str());
        let plugin = plugin.name.as_str();
        tracing::warn!(plugin, of, hook, tracks, field, "a plugin in shadow would have decided otherwise");
    }

    fn count(&self, hook: Hook, result: ShadowResult) {
        self.plugins().for_each(|plugin| plugin.ledger.shadow.count(hook, result));
    }
}

impl ShadowCounts {
    fn count(&self, hook: Hook, result: ShadowResult) {
        self.0[place(&Hook::ALL, hook)][place(&ShadowResult::ALL, result)].fetch_add(1, Release);
    }

    /// Of one hook, in the order of [`ShadowResult::ALL`].
    pub(crate) fn of(&self, hook: Hook) -> [u64; ShadowResult::ALL.len()] {
        let counts = &self.0[place(&Hook::ALL, hook)];
        std::array::from_fn(|result| counts[result].load(Acquire))
    }
}

/// Whom others had accepted before its turn. Of several it is what all of them made of somebody: those after it may have narrowed that.
fn accepted(answered: &Answered, chained: &Chained<'_>) -> Option<Identity> {
    let Answer::Identity(Ok(identity)) = &answered.answer else { return None };
    let before = chained.line.plugins.iter().take_while(|words| words.plugin != chained.plugin);
    let accepts = |verdict: &VerdictLine| matches!(verdict, VerdictLine::Allow(_));
    before.into_iter().any(|words| words.said.iter().any(accepts)).then(|| identity.clone())
}

/// The same under another name, which stands before the keys of attributes, too.
fn renamed(mut line: QuestionLine, name: &str) -> QuestionLine {
    for words in &mut line.plugins {
        let prefix = format!("{}.", words.plugin);
        let grants = words.said.iter_mut().filter_map(|verdict| match verdict {
            VerdictLine::Allow(grant) => Some(grant),
            VerdictLine::Deny(_) | VerdictLine::Abstain => None,
        });
        for attribute in grants.flat_map(|Grant { attributes, .. }| attributes) {
            if let Some(own) = attribute.key.strip_prefix(&prefix) {
                attribute.key = format!("{name}.{own}");
            }
        }
        name.clone_into(&mut words.plugin);
    }
    line
}

fn shadow_line(plugin: &Plugin, of: Option<&str>, line: &QuestionLine, found: Vec<Held>) -> ShadowLine {
    let more = found.len().saturating_sub(MOST_WORDS);
    let word = |held: Held| {
        let track: Option<&TrackLine> = line.tracks.get(held.track);
        let publisher = track.and_then(|track| line.publishers.get(track.publisher?)?.participant);
        let Held { then: live, now: shadow, changes, came, would_come, .. } = held;
        ShadowWord { track: track.map(|track| track.id.clone()), publisher, live, shadow, changes, came, would_come }
    };
    let who = line.who.as_ref().or(line.identity.as_ref());
    ShadowLine {
        plugin: plugin.name.clone(),
        sha256: plugin.sha256.to_string(),
        of: of.map(str::to_owned),
        hook: line.hook,
        asked_ms: line.asked_ms,
        room: line.room.as_ref().map(|room| room.name.as_str().to_owned()),
        who: who.map(|who| who.subject.clone()),
        epoch: line.epoch,
        differs: found.into_iter().take(MOST_WORDS).map(word).collect(),
        more,
    }
}

/// One: plugins in shadow take no more than a core from the others.
pub(crate) const THREADS: usize = 1;
/// Questions that may wait.
const MAX_WAITING: usize = 1024;
/// Bytes that may, about.
const MAX_BYTES: usize = 16 << 20;
/// Lines about differences, a second.
const TOLD: u32 = 1;
/// Tracks in one line of the decision log.
const MOST_WORDS: usize = 64;
