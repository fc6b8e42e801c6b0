//! What is written in JavaScript for browsers: the SDK's own tests and its types. Real browsers have it in the system tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::counts::Counts;
use super::outcome::watched;
use super::tools::on_path;
use crate::cargo::{capture, root, run};
use crate::console::note;

/// Tests and types, with Node.js where it is installed.
pub(super) fn check(counts: &mut Counts) -> Result<()> {
    if !has_node() {
        note("left out: it needs Node.js 20 or newer with npm, which is not installed");
        return Ok(());
    }
    // Some tests leave something out without them, and say so.
    let has_tools = has_tools();
    let tests = tests()?;
    let mut node = Command::new("node");
    node.current_dir(root()).args(["--test", "--test-reporter=spec"]).args(&tests);
    if watched("the client SDK and the pages", &mut node, counts)?.is_some() {
        bail!("the tests in {} failed", FOLDERS.join(" and "));
    }
    if !has_tools {
        note("types left out: npm could not fetch what client/package-lock.json names");
        return Ok(());
    }
    run(Command::new("node").current_dir(root().join("client")).args([
        "node_modules/typescript/bin/tsc",
        "-p",
        "sdk/example",
    ]))
    .context("the example in TypeScript does not fit the SDK's types")
}

/// Whether what checks pages and types is there, or can be fetched.
pub(super) fn has_tools() -> bool {
    fetched(&root().join("client"), "what checks the client, from npm (5 MB)")
}

/// Whether what a folder's package-lock.json names is there, or can be fetched; `what` it is, with the place and the size.
pub(super) fn fetched(folder: &Path, what: &str) -> bool {
    if !has_node() {
        return false;
    }
    let installed = folder.join("node_modules/.package-lock.json");
    if is_newer(&installed, &folder.join("package-lock.json")) {
        return true;
    }
    note(format!("fetching {what}"));
    let mut install = Command::new("npm");
    install.current_dir(folder).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    run(install.stdin(Stdio::null()).stdout(Stdio::null())).is_ok()
}

fn has_node() -> bool {
    let version = capture(Command::new("node").arg("--version")).unwrap_or_default();
    on_path("npm") && major(&version).is_some_and(|major| major >= 20)
}

/// Of `v20.11.1`, 20.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Whether a file was changed at the same time as another one, or later; not, if one of them is missing.
pub(super) fn is_newer(file: &Path, than: &Path) -> bool {
    let changed = |file: &Path| file.metadata().and_then(|data| data.modified()).ok();
    changed(file).zip(changed(than)).is_some_and(|(file, than)| file >= than)
}

fn tests() -> Result<Vec<PathBuf>> {
    let mut tests = Vec::new();
    for folder in FOLDERS.map(|folder| root().join(folder)) {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
        tests.extend(entries.flatten().map(|entry| entry.path()).filter(|path| is_test(path)));
    }
    tests.sort();
    Ok(tests)
}

fn is_test(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".test.js")
}

const FOLDERS: [&str; 2] = ["client/app/test", "client/sdk/test"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_are_read() {
        assert_eq!((major("v20.11.1\n"), major("v8.0.0"), major("node")), (Some(20), Some(8), None));
    }

    #[test]
    fn the_sdk_and_the_pages_have_tests() {
        let tests = tests().unwrap();
        for folder in FOLDERS {
            assert!(tests.iter().any(|test| test.starts_with(root().join(folder))), "{folder}");
        }
    }
}
