//! `lockgate policy test`: a folder of fixtures.

use std::fs;
use std::path::{Path, PathBuf};

use lockgate_policy::kit::{self, Tested, Trial};
use serde_json::json;

use super::Report;

/// Which fixtures.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder; each `.toml` file in it is a case
    folder: PathBuf,
    /// The component; otherwise of `…/<name>/fixtures` that is `…/dist/<name>.wasm`, where `cargo xtask plugins` puts it
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Write the results there too, as JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the results as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Report {
    match test(arguments) {
        Ok(report) => report,
        Err(problem) => Report::wrong(problem),
    }
}

fn test(arguments: &Arguments) -> Result<Report, String> {
    let folder = &arguments.folder;
    let files = kit::fixtures(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    if files.is_empty() {
        return Err(format!("{}: there is no case in it, that is no file whose name ends in .toml", folder.display()));
    }
    let plugin = match &arguments.plugin {
        Some(plugin) => plugin.clone(),
        None => beside(folder).ok_or_else(|| format!("{}: name the component with --plugin", folder.display()))?,
    };
    let trial = Trial::open(&plugin).map_err(|bad| format!("{}: {bad}; {}", plugin.display(), bad.remedy()))?;
    let tested: Vec<Tested> = files.iter().map(|file| kit::test(&trial, file)).collect();
    if let Some(junit) = &arguments.junit {
        let suite = folder.display().to_string();
        fs::write(junit, kit::junit(&suite, &tested)).map_err(|error| format!("{}: {error}", junit.display()))?;
    }
    let code = u8::from(!tested.iter().all(Tested::passed));
    let text = if arguments.json { in_json(&tested) } else { in_words(&tested) };
    Ok(Report { text, code, ..Report::default() })
}

/// Where `cargo xtask plugins` puts the plugin whose fixtures these are.
fn beside(fixtures: &Path) -> Option<PathBuf> {
    let fixtures = fs::canonicalize(fixtures).ok()?;
    let plugin = fixtures.parent().filter(|_| fixtures.ends_with("fixtures"))?;
    let component = format!("dist/{}.wasm", plugin.file_name()?.to_str()?);
    // Plugins in other languages than Rust lie a folder deeper.
    let places: Vec<_> = plugin.ancestors().skip(1).take(2).map(|folder| folder.join(&component)).collect();
    places.iter().find(|file| file.is_file()).or(places.first()).cloned()
}

fn in_json(tested: &[Tested]) -> String {
    let cases: Vec<_> = tested
        .iter()
        .map(|one| json!({ "name": one.name, "passed": one.passed(), "complaint": one.complaint() }))
        .collect();
    format!("{}\n", json!({ "ok": tested.iter().all(Tested::passed), "cases": cases }))
}

fn in_words(tested: &[Tested]) -> String {
    let mut text = String::new();
    for one in tested {
        text.push_str(&format!("{} {}\n", if one.passed() { "ok    " } else { "FAILED" }, one.name));
        one.complaint().lines().for_each(|line| text.push_str(&format!("       {line}\n")));
    }
    let failed = tested.iter().filter(|one| !one.passed()).count();
    text.push_str(&format!("{} passed, {failed} failed\n", tested.len() - failed));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_of_a_plugins_fixtures_lies_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("night-watch.v2/fixtures");
        fs::create_dir_all(&folder).unwrap();
        let root = root.path().canonicalize().unwrap();
        assert_eq!(beside(&folder), Some(root.join("dist/night-watch.v2.wasm")));
        let deeper = root.join("c/night/fixtures");
        fs::create_dir_all(&deeper).unwrap();
        fs::create_dir(root.join("dist")).unwrap();
        fs::write(root.join("dist/night.wasm"), "").unwrap();
        assert_eq!(beside(&deeper), Some(root.join("dist/night.wasm")));
        assert_eq!(beside(&root), None);
    }

    #[test]
    fn a_folder_without_cases_is_no_success() {
        let root = tempfile::tempdir().unwrap();
        let report = run(&Arguments { folder: root.path().into(), plugin: None, junit: None, json: false });
        assert_eq!(report.code, 64);
        assert!(report.complaint.contains("there is no case in it"), "{}", report.complaint);
    }
}
