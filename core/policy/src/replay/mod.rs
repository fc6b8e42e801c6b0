//! Puts the questions of a decision log to a plugin, and compares what it says with what was said and decided then.
//!
//! The plugin is asked as on a node, by itself, one question after the other, and is told the time of the log. It begins with nothing
//! remembered wherever the node began anew, and keeps what it writes in the order of the log. Lines come one by one: a log may be
//! larger than memory. Reading files is the caller's.

mod held;
mod outcome;
mod question;
mod report;

use std::sync::Arc;
use std::time::Duration;

use lockgate_model::policy::Hook;

use crate::chain::Chain;
use crate::compiled::Compiled;
use crate::config::{BreakerConfig, Limits, PluginConfig, PolicyConfig};
use crate::engine::Runtime;
use crate::journal::{Begun, Header, Line, Omit, Policies, QuestionLine, Sealed, Spot};
use crate::keys::KeyRings;
use crate::load::{self, Loader, interface};
use crate::load_error::{LoadError, LoadProblem};
use crate::plugin::Plugin;
use crate::question::Question;

pub(crate) use held::{Held, held};
pub(crate) use outcome::{Chained, Place};
use report::Groups;
pub use report::{Counts, Example, Group, LeftOut, Outcome, Replayed};

/// Which questions are compared. Those before and beside them are put as well if the plugin remembers things, as their answers may
/// depend on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of these kinds; empty: of all.
    pub hooks: Vec<Hook>,
    /// In this room; none: in all.
    pub room: Option<String>,
    /// Not decided before, in ms since 1970.
    pub since_ms: Option<u64>,
    /// Not decided after, in ms since 1970. Later ones are not put either.
    pub until_ms: Option<u64>,
}

/// A replay under way.
pub struct Replay {
    chain: Chain,
    name: String,
    limits: Limits,
    /// Whether it may keep something from one question to the next.
    remembers: bool,
    selection: Selection,
    /// What is left out of lines now.
    omit: Vec<Omit>,
    /// The latest configurations, the newest last.
    policies: Vec<Policies>,
    groups: Groups,
    replayed: Replayed,
}

/// Where something is counted.
type Counter = fn(&mut LeftOut) -> &mut u64;

/// A question, and where it stands.
struct Logged<'a> {
    spot: &'a Spot,
    time_ms: u64,
    chained: Chained<'a>,
    missing: Vec<&'static str>,
}

impl Replay {
    /// Compiles the plugin and has it check its settings. It takes the place of the plugin of its name. Neither its digest nor its signature
    /// is looked at, nor are there any keys.
    ///
    /// # Errors
    /// All reasons for which no node would load it.
    pub fn open(plugin: PluginConfig, selection: Selection) -> Result<Self, Vec<LoadError>> {
        let (name, limits) = (plugin.name.clone(), plugin.limits.clone());
        let engine = |error| LoadError { place: "policy".into(), problem: LoadProblem::Engine(error) };
        let runtime = Runtime::new(1 + load::OPERATORS, None).map_err(|error| vec![engine(error)])?;
        let patient = Limits { deadline: PATIENCE, hook_deadlines: [].into(), ..limits };
        // Whether it fails is what is to be found out, at each question.
        let breaker = BreakerConfig { failures: 0, ..plugin.breaker };
        let plugin = PluginConfig { limits: patient, breaker, sha256: None, shadow: None, ..plugin };
        let config =
            PolicyConfig { plugins: vec![plugin], chain_budget: PATIENCE, threads: 1, ..PolicyConfig::default() };
        let (runtime, compiled, keys) = (Arc::new(runtime), Compiled::default(), Arc::<KeyRings>::default());
        let askers = 1 + load::OPERATORS;
        let loader = Loader { host: &config, runtime: &runtime, compiled: &compiled, keys: &keys, askers, there: &[] };
        let plugins = loader.plugins()?;
        let remembers = plugins.iter().any(|plugin| imports_kv(plugin, &runtime));
        Ok(Self {
            chain: Chain { runtime, plugins, default_allow: false },
            name,
            limits,
            remembers,
            selection,
            omit: Vec::new(),
            policies: Vec::new(),
            groups: Groups::default(),
            replayed: Replayed::default(),
        })
    }

    /// The next line of the log.
    pub fn line(&mut self, spot: &Spot, sealed: &Sealed, line: &Line) {
        match line {
            Line::Header(header) => self.begin(header),
            Line::Swap(swap) => self.learn(&swap.to),
            Line::Question(line) => self.question(spot, sealed.time_ms, line),
            _ => {}
        }
    }

    /// There are no more lines.
    pub fn finish(self) -> Replayed {
        let (differences, further) = self.groups.into_sorted();
        Replayed { differences, further, ..self.replayed }
    }

    fn begin(&mut self, header: &Header) {
        if header.why == Begun::Node {
            self.policies.clear();
            self.chain.plugins.iter().for_each(|plugin| plugin.forget());
        }
        self.omit.clone_from(&header.omit);
        for policies in [&header.policies].into_iter().chain(&header.canary) {
            self.learn(policies);
        }
    }

    /// Questions may be answered by these from now on.
    fn learn(&mut self, policies: &Policies) {
        self.policies.retain(|known| known.epoch != policies.epoch);
        if self.policies.len() >= MAX_EPOCHS {
            self.policies.remove(0);
        }
        self.policies.push(policies.clone());
        self.replayed.known |= policies.plugins.iter().any(|plugin| plugin.name == self.name);
    }

    fn question(&mut self, spot: &Spot, time_ms: u64, line: &QuestionLine) {
        let is_selected = self.selection.has(line, time_ms);
        if !is_selected && (!self.remembers || self.selection.is_over(time_ms)) {
            return;
        }
        let (policies, name) = (std::mem::take(&mut self.policies), self.name.clone());
        let of_epoch = policies.iter().find(|one| one.epoch == line.epoch).or(policies.last());
        let chained = Chained { line, plugin: &name, policies: of_epoch };
        match self.question_to_put(&chained) {
            Ok(question) => {
                let now = self.put(question);
                if is_selected {
                    let missing = question::missing(line);
                    self.compare(&Logged { spot, time_ms, chained, missing }, &now);
                }
            }
            Err(counter) if is_selected => *counter(&mut self.replayed.left_out) += 1,
            Err(_) => {}
        }
        self.policies = policies;
    }

    /// The question, or what counts those that are left out for the same reason.
    fn question_to_put(&self, chained: &Chained<'_>) -> Result<Question, Counter> {
        let line = chained.line;
        if line.hook == Hook::Auth {
            return Err(|left_out| &mut left_out.auth);
        }
        if !self.chain.plugins.iter().any(|plugin| plugin.is_asked(line.hook)) {
            return Err(|left_out| &mut left_out.not_asked);
        }
        if line.host.is_some() {
            return Err(|left_out| &mut left_out.unanswered);
        }
        if chained.place() == Place::Unreached {
            return Err(|left_out| &mut left_out.unreached);
        }
        question::asked(line).ok_or(|left_out| &mut left_out.unreadable)
    }

    /// Asks the plugin, and tells what it says as the log would.
    fn put(&self, question: Question) -> QuestionLine {
        Arc::new(question).ask_beside(&self.chain, None, PATIENCE).question_line(&self.omit)
    }

    fn compare(&mut self, logged: &Logged<'_>, now: &QuestionLine) {
        let Logged { chained, missing, .. } = logged;
        for reason in missing {
            *self.replayed.missing.entry(reason).or_default() += 1;
        }
        let deadline = u64::try_from(self.limits.deadline_of(now.hook).as_micros()).unwrap_or(u64::MAX);
        self.replayed.slow += u64::from(now.plugins.iter().any(|words| words.us > deadline));
        self.counts(missing).questions += 1;
        for found in held(chained, now) {
            self.count(logged, found);
        }
    }

    fn count(&mut self, logged: &Logged<'_>, found: Held) {
        let Logged { chained, missing, .. } = logged;
        let counts = self.counts(missing);
        counts.decisions += 1;
        if !found.differs() {
            counts.same += 1;
            return;
        }
        counts.different += 1;
        counts.changed += u64::from(found.outcome == Outcome::Changed);
        counts.unknown += u64::from(found.outcome == Outcome::Unknown);
        let Held { track, then, now, changes, outcome, result, came, would_come } = found;
        let line = chained.line;
        self.groups.add((line.hook, !missing.is_empty()), changes, outcome, result.as_ref(), || Example {
            spot: logged.spot.clone(),
            time_ms: logged.time_ms,
            room: line.room.as_ref().map(|room| room.name.as_str().to_owned()),
            who: line.who.as_ref().map(ToString::to_string),
            about: about(line, track),
            then,
            now,
            came,
            would_come,
        });
    }

    fn counts(&mut self, missing: &[&'static str]) -> &mut Counts {
        if missing.is_empty() { &mut self.replayed.whole } else { &mut self.replayed.incomplete }
    }
}

impl Selection {
    fn has(&self, line: &QuestionLine, time_ms: u64) -> bool {
        let in_room = |wanted: &String| line.room.as_ref().is_some_and(|room| room.name.as_str() == wanted);
        (self.hooks.is_empty() || self.hooks.contains(&line.hook))
            && self.room.as_ref().is_none_or(in_room)
            && self.since_ms.is_none_or(|since| time_ms >= since)
            && !self.is_over(time_ms)
    }

    fn is_over(&self, time_ms: u64) -> bool {
        self.until_ms.is_some_and(|until| time_ms > until)
    }
}

/// A track and whose it is, or an act and on whom.
fn about(line: &QuestionLine, track: usize) -> Option<String> {
    if let Some(act) = &line.command {
        let target = act.target.as_ref().map(|target| format!(" on {target}"));
        return Some(format!("{:?}{}", act.name, target.unwrap_or_default()));
    }
    let track = line.tracks.get(track)?;
    let whose = track.publisher.and_then(|place| line.publishers.get(place)).map(|who| format!(" of {who}"));
    Some(format!("{} {:?}{}", track.source.as_str(), track.id, whose.unwrap_or_default()))
}

fn imports_kv(plugin: &Plugin, runtime: &Runtime) -> bool {
    let kind = plugin.guests.pre.component().component_type();
    kind.imports(&runtime.engine).any(|(name, _)| interface(name).is_some_and(|(name, _)| name == "kv"))
}

/// Time for one question: a busy machine must not make a difference.
const PATIENCE: Duration = Duration::from_secs(2);
/// Configurations of one run that are known at a time: a question is answered by one of the latest.
const MAX_EPOCHS: usize = 16;
