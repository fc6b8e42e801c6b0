//! `lockgate policy inspect`.

use std::path::PathBuf;

use lockgate_policy::kit::{self, About, Inspection, Settings};
use serde_json::json;

use super::Report;

/// Which plugin.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component.
    file: PathBuf,
    /// Write the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Report {
    let name = arguments.file.display();
    match kit::inspect(&arguments.file) {
        Ok(found) => {
            let text = if arguments.json { in_json(&found) } else { in_words(&found) };
            let complaint: String =
                found.problems.iter().map(|one| format!("{name}: {}; {}\n", one.problem, one.remedy)).collect();
            Report { text, code: u8::from(!complaint.is_empty()), complaint }
        }
        Err(problem) if arguments.json => {
            let problems = [json!({ "problem": problem.to_string(), "remedy": problem.remedy() })];
            Report { text: format!("{}\n", json!({ "problems": problems })), complaint: String::new(), code: 1 }
        }
        Err(problem) => Report::failed(format!("{name}: {problem}; {}", problem.remedy())),
    }
}

fn in_json(found: &Inspection) -> String {
    format!("{}\n", json!(found))
}

fn in_words(found: &Inspection) -> String {
    let hooks: Vec<&str> = found.hooks.iter().map(|hook| hook.as_str()).collect();
    let contracts: Vec<&str> = found.contracts.iter().map(String::as_str).collect();
    let size = format!("{} bytes", found.bytes);
    let rows = [
        ("size", size),
        ("sha256", found.sha256.clone()),
        ("contract", or(contracts.join(", "), "none")),
        ("world", found.world.clone().unwrap_or_else(|| "one of its own".into())),
        ("hooks", or(hooks.join(", "), "none")),
        ("imports", or(found.imports.join(", "), "none")),
        ("settings", settings(&found.settings, found.lifecycle)),
    ];
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect();
    text.push_str(&about(&found.about));
    text
}

fn settings(settings: &Settings, lifecycle: bool) -> String {
    match settings {
        Settings::Unasked if lifecycle => "not asked".into(),
        Settings::Unasked => "never checked: it does not export lifecycle".into(),
        Settings::Optional => "can do without".into(),
        Settings::Needed(why) => format!("needed: {why}"),
        Settings::Failed(failure) => format!("cannot say: {failure}"),
    }
}

/// Set apart: these are the plugin's words, not ours.
fn about(about: &About) -> String {
    match about {
        About::Unasked => String::new(),
        About::Said(said) => {
            let lines = said.iter().map(|(key, value)| format!("  {key} = {value:?}\n"));
            ["it says of itself\n".to_owned()].into_iter().chain(lines).collect()
        }
        About::Failed(failure) => format!("it cannot say what it is: {failure}\n"),
    }
}

fn or(text: String, nothing: &str) -> String {
    if text.is_empty() { nothing.into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Inspection {
        Inspection {
            bytes: 7,
            sha256: "ab".into(),
            contracts: ["lockgate:policy@0.1.0".to_owned()].into(),
            world: None,
            hooks: Vec::new(),
            lifecycle: true,
            imports: vec!["config", "kv"],
            about: About::Said(vec![("sha256".into(), "another".into())]),
            settings: Settings::Needed("set from".into()),
            problems: Vec::new(),
        }
    }

    #[test]
    fn what_a_plugin_says_of_itself_is_not_taken_for_what_was_found() {
        let text = in_words(&found());
        assert!(text.contains("\nsha256     ab\n") && text.contains("\nimports    config, kv\n"), "{text}");
        assert!(text.ends_with("settings   needed: set from\nit says of itself\n  sha256 = \"another\"\n"), "{text}");
    }

    #[test]
    fn the_json_names_everything() {
        let json: serde_json::Value = serde_json::from_str(&in_json(&found())).unwrap();
        assert_eq!(json["settings"], json!({ "needed": "set from" }));
        assert_eq!(json["about"], json!({ "said": [["sha256", "another"]] }));
        assert_eq!((&json["world"], &json["imports"]), (&json!(null), &json!(["config", "kv"])));
    }

    #[test]
    fn a_file_that_is_not_there_is_a_failure_with_a_remedy() {
        let report = run(&Arguments { file: "no/such.wasm".into(), json: false });
        assert_eq!((report.code, report.text.as_str()), (1, ""));
        assert!(report.complaint.contains("cannot read no/such.wasm") && report.complaint.contains("check the path"));
    }
}
