//! `lockgate policy replay`.

use std::path::{Path, PathBuf};

use lockgate_model::distance;
use lockgate_model::policy::Hook;
use lockgate_policy::replay::{Counts, Example, Group, Outcome, Replay, Replayed, Selection};
use lockgate_policy::{Capability, PluginConfig};
use serde_json::json;

use super::Report;
use super::case::{hook, parsed};
use super::log::{Doubts, read, time};
use crate::config::Config;
use crate::policies;

/// Which plugin, which log, and what of it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component.
    file: PathBuf,
    /// The log: its folder, or some of its files, the oldest first; may be given several times.
    #[arg(long = "log", required = true, value_name = "FOLDER|FILE")]
    logs: Vec<PathBuf>,
    /// The name of the plugin whose place it takes. Absent: the file's name without its ending.
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// Its settings: an object, in TOML if the name ends so, otherwise JSON. What is not given comes from the plugin of that name in --config:
    /// settings, hooks, grants, limits. Without --config it has all grants and the default limits.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Compare only such questions: admission, publishing, subscription, recording or command; may be given several times.
    #[arg(long, value_parser = hook)]
    hook: Vec<Hook>,
    /// Compare only questions in this room.
    #[arg(long)]
    room: Option<String>,
    /// Compare only what was decided then or later: a time as in "2026-01-31T12:00:00Z", milliseconds since 1970, or how long ago, as in
    /// "10m". Earlier questions are put all the same to a plugin that remembers things.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<u64>,
    /// Compare only what was decided until then.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<u64>,
    /// How many kinds of difference are told; all are counted.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Write the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, config: Option<&Path>) -> Report {
    replay(arguments, config).unwrap_or_else(Report::wrong)
}

fn replay(arguments: &Arguments, config: Option<&Path>) -> Result<Report, String> {
    let plugin = plugin(arguments, config)?;
    let (name, file) = (plugin.name.clone(), arguments.file.display());
    let selection = Selection {
        hooks: arguments.hook.clone(),
        room: arguments.room.clone(),
        since_ms: arguments.since,
        until_ms: arguments.until,
    };
    let mut replay = Replay::open(plugin, selection).map_err(|problems| {
        let problems: Vec<_> =
            problems.iter().map(|one| format!("{}; {}", one.problem, one.problem.remedy())).collect();
        format!("{file}: {}", problems.join("\nlockgate: "))
    })?;
    let doubts = read(&arguments.logs, |spot, sealed, line| replay.line(spot, sealed, line))?;
    let mut replayed = replay.finish();
    let kinds = replayed.differences.len();
    replayed.differences.truncate(arguments.limit);
    let text =
        if arguments.json { in_json(&replayed, kinds, &name, doubts) } else { in_words(&replayed, kinds, &name) };
    let nothing = replayed.whole.questions + replayed.incomplete.questions == 0;
    let mut complaint = doubts.complaint();
    if nothing {
        complaint
            .push_str(&format!("lockgate: no question of this log could be put to {name}; see what was left out\n"));
    }
    let code = if nothing { 64 } else { u8::from(replayed.whole.different > 0) };
    Ok(Report { text, complaint, code })
}

/// The plugin as it would be configured.
fn plugin(arguments: &Arguments, config: Option<&Path>) -> Result<PluginConfig, String> {
    let stem = arguments.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = arguments.plugin.clone().or(stem).ok_or("name the plugin with --plugin")?;
    let mut plugin = match config {
        Some(config) => configured(config, &name)?,
        None => PluginConfig { grants: Capability::ALL.into(), ..PluginConfig::new(name, "") },
    };
    if let Some(settings) = &arguments.settings {
        plugin.settings = parsed(settings)?;
    }
    plugin.file.clone_from(&arguments.file);
    Ok(plugin)
}

fn configured(file: &Path, name: &str) -> Result<PluginConfig, String> {
    let config = Config::load(file)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nlockgate: "))?;
    let found = config.plugins.iter().find(|plugin| plugin.name == name);
    found.map(policies::plugin).ok_or_else(|| {
        let alike = config.plugins.iter().map(|plugin| plugin.name.as_str()).min_by_key(|known| distance(known, name));
        let hint = alike.map_or_else(String::new, |known| format!(": did you mean --plugin {known}?"));
        format!("{}: no plugin is called {name:?}{hint}", file.display())
    })
}

fn in_json(replayed: &Replayed, kinds: usize, name: &str, doubts: Doubts) -> String {
    let mut json = json!(replayed);
    if let Some(members) = json.as_object_mut() {
        members.insert("plugin".into(), name.into());
        members.insert("kinds".into(), kinds.into());
        members.insert("lost".into(), doubts.lost.into());
        members.insert("unbroken".into(), doubts.is_whole().into());
    }
    format!("{json}\n")
}

fn in_words(replayed: &Replayed, kinds: usize, name: &str) -> String {
    let mut text: String = replayed.differences.iter().map(|group| format!("{}\n", difference(group))).collect();
    let hidden = kinds.saturating_sub(replayed.differences.len());
    if hidden > 0 {
        text.push_str(&format!("and {hidden} more kinds of difference: see --limit\n\n"));
    }
    if replayed.further > 0 {
        text.push_str(&format!("and {} more differences of further kinds\n\n", replayed.further));
    }
    text.push_str(&totals(replayed, name));
    text
}

fn difference(group: &Group) -> String {
    let Group { count, hook, incomplete, changes, outcome, example } = group;
    let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
    let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
    let unsure = if *incomplete { " (incomplete: it may be because of what the log leaves out)" } else { "" };
    let Example { spot, time_ms, room, who, about, then, now, came, would_come } = example;
    let would_come = would_come.as_ref().map(|decision| decision.in_short());
    let outcome = match (outcome, would_come) {
        (Outcome::Changed, Some(would_come)) => format!("{} → {would_come}", came.in_short()),
        (Outcome::Same, _) => format!("{} all the same", came.in_short()),
        _ => format!("{} → nobody can say: plugins behind it were not asked then", came.in_short()),
    };
    let when = lockgate_model::rfc3339(time_ms.saturating_mul(1000));
    let who = who.as_deref().unwrap_or("the configuration");
    let room = room.as_deref().map_or_else(String::new, |room| format!(" in {room:?}"));
    let about = about.as_deref().map_or_else(String::new, |about| format!(", {about}"));
    let then = then.as_ref().map_or_else(|| "not asked".to_owned(), |said| json!(said).to_string());
    format!(
        "{}, {times}{unsure}: {}\n  comes of it  {outcome}\n  for example  {spot}, {when}: {who}{room}{about}\n    then  {then}\n    now   {}\n",
        hook.as_str(),
        changes.join(", "),
        json!(now),
    )
}

fn counted(counts: &Counts) -> String {
    let Counts { questions, decisions, same, different, changed, unknown } = counts;
    let mut text = format!("{questions} questions with {decisions} decisions: {same} same, {different} different");
    if *different > 0 {
        text.push_str(&format!(" ({changed} of them change what comes of it"));
        text.push_str(&if *unknown > 0 { format!(", and of {unknown} nobody can say)") } else { ")".to_owned() });
    }
    text.push('\n');
    text
}

fn totals(replayed: &Replayed, name: &str) -> String {
    let mut text = format!("{name}: {}", counted(&replayed.whole));
    if !replayed.known {
        text.push_str("no plugin of this name is in the log: compared is what would come of questions\n");
    }
    if replayed.incomplete.questions > 0 {
        let missing: Vec<_> = replayed.missing.iter().map(|(what, count)| format!("{what} {count}")).collect();
        let missing = missing.join(", ");
        text.push_str(&format!(
            "incomplete, as the log leaves things out ({missing}): {}",
            counted(&replayed.incomplete)
        ));
    }
    let left_out = &replayed.left_out;
    let reasons = [
        (left_out.auth, "auth: the log has no tokens"),
        (left_out.not_asked, "of a hook that it is not asked"),
        (left_out.unreached, "denied before its turn"),
        (left_out.unanswered, "no plugin was heard then"),
        (left_out.unreadable, "cannot be made a question of again"),
    ];
    let reasons: Vec<_> = reasons.iter().filter(|(count, _)| *count > 0).collect();
    if !reasons.is_empty() {
        let reasons: Vec<_> = reasons.iter().map(|(count, why)| format!("{count} ({why})")).collect();
        text.push_str(&format!("left out: {}\n", reasons.join(", ")));
    }
    if replayed.slow > 0 {
        text.push_str(&format!(
            "{} questions took longer here than its deadline: on a node each of them is a failure\n",
            replayed.slow
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_policy::replay::LeftOut;

    use super::*;

    #[test]
    fn the_totals_say_what_was_compared_what_is_unsure_and_what_was_left_out() {
        let whole = Counts { questions: 3, decisions: 5, same: 2, different: 3, changed: 1, unknown: 1 };
        let incomplete = Counts { questions: 1, decisions: 1, same: 1, ..Counts::default() };
        let left_out = LeftOut { auth: 7, unreached: 2, ..LeftOut::default() };
        let missing = BTreeMap::from([("metadata", 1)]);
        let found = Replayed { whole, incomplete, missing, left_out, slow: 4, known: false, ..Replayed::default() };
        assert_eq!(
            totals(&found, "new"),
            "new: 3 questions with 5 decisions: 2 same, 3 different (1 of them change what comes of it, and of 1 nobody can say)\n\
             no plugin of this name is in the log: compared is what would come of questions\n\
             incomplete, as the log leaves things out (metadata 1): 1 questions with 1 decisions: 1 same, 0 different\n\
             left out: 7 (auth: the log has no tokens), 2 (denied before its turn)\n\
             4 questions took longer here than its deadline: on a node each of them is a failure\n"
        );
    }

    #[test]
    fn a_component_or_a_configuration_that_is_not_there_is_a_problem() {
        let arguments = |file: &str| Arguments {
            file: file.into(),
            logs: vec!["none".into()],
            plugin: None,
            settings: None,
            hook: Vec::new(),
            room: None,
            since: None,
            until: None,
            limit: 1,
            json: false,
        };
        let report = run(&arguments("no/such.wasm"), None);
        assert!(report.code == 64 && report.complaint.contains("cannot read no/such.wasm"), "{report:?}");
        let report = run(&arguments("no/such.wasm"), Some(Path::new("none.toml")));
        assert!(report.code == 64 && report.complaint.contains("none.toml"), "{report:?}");
    }
}
