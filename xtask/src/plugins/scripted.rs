//! Guests in JavaScript and Python: an engine and the script in one component, made by the tools of those languages.
//!
//! The tools come from npm and PyPI, in one version each, into the cache folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::c::PLUGIN;
use super::cache::Kind;
use super::guest::Guest;
use super::replace;
use crate::cargo::{capture, run};
use crate::console::heading;

/// What makes components of one language.
pub(super) struct Tool {
    /// Makes one of a guest, in the folder for what is built, and returns it. Errs if the tool is missing and cannot be had, or the script
    /// has errors.
    pub(super) make: fn(&Guest, &Path) -> Result<Vec<u8>>,
    /// Its version, and how it is called: with another one of these texts it makes another component.
    pub(super) made_of: &'static [&'static str],
}

pub(super) const JAVASCRIPT: Tool =
    Tool { make: javascript, made_of: &[COMPONENTIZE_JS.stamp, include_str!("scripted.rs"), COMPONENTIZE_MJS] };

pub(super) const PYTHON: Tool = Tool { make: python, made_of: &[COMPONENTIZE_PY.stamp, include_str!("scripted.rs")] };

fn javascript(guest: &Guest, target: &Path) -> Result<Vec<u8>> {
    let tool = COMPONENTIZE_JS.kept_or_made(install_componentize_js).context(NO_JAVASCRIPT)?;
    // What was installed may have an earlier one.
    replace(&tool.with_file_name("componentize.mjs"), COMPONENTIZE_MJS.as_bytes())?;
    let (scratch, output) = prepare(guest, target)?;
    let mut command = Command::new(tool);
    command.arg(guest.folder.join("plugin.js")).arg(scratch.join("wit")).arg(PLUGIN).arg(&output);
    run(&mut command)?;
    read(&output)
}

fn python(guest: &Guest, target: &Path) -> Result<Vec<u8>> {
    let tool = COMPONENTIZE_PY.kept_or_made(install_componentize_py).context(NO_PYTHON)?;
    let (scratch, output) = prepare(guest, target)?;
    // Beside the scripts that it runs it leaves compiled ones: those belong into the scratch folder.
    let scripts = scratch.join("scripts");
    copy(&guest.folder, &scripts)?;
    let mut command = Command::new(tool);
    command.arg("-d").arg(scratch.join("wit")).args(["-w", PLUGIN, "componentize", "--stub-wasi", "-p"]);
    run(command.arg(scripts).arg("plugin").arg("-o").arg(&output).stdout(Stdio::null()))?;
    read(&output)
}

fn prepare(guest: &Guest, target: &Path) -> Result<(PathBuf, PathBuf)> {
    let scratch = guest.scratch(target)?;
    guest.wit_into(&scratch.join("wit"))?;
    let output = scratch.join("component.wasm");
    Ok((scratch, output))
}

fn read(output: &Path) -> Result<Vec<u8>> {
    fs::read(output).with_context(|| format!("cannot read {}", output.display()))
}

/// Fills the folder. Returns the name to keep it under and what it was made from.
fn install_componentize_js(folder: &Path) -> Result<(String, String)> {
    let node = capture(Command::new("node").arg("--version")).context("Node.js 20 or later is missing")?;
    let package = format!("@bytecodealliance/componentize-js@{JS_VERSION}");
    heading(format!("plugins: installing {package} from npm, once (400 MB)"));
    let mut install = Command::new("npm");
    install.current_dir(folder).args([
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--save-exact",
        &package,
    ]);
    run(install.stdout(Stdio::null()))?;
    fs::write(folder.join("componentize.mjs"), COMPONENTIZE_MJS)?;
    script(&folder.join(COMPONENTIZE_JS.program), r#"exec node "$here/componentize.mjs" "$@""#)?;
    Ok((format!("componentize-js-{JS_VERSION}"), node))
}

/// Fills the folder. Returns the name to keep it under and what it was made from.
fn install_componentize_py(folder: &Path) -> Result<(String, String)> {
    let python = capture(Command::new("python3").arg("--version")).context("Python 3.9 or later is missing")?;
    heading(format!("plugins: installing componentize-py {PY_VERSION} from PyPI, once (100 MB)"));
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, include_str!("scripted/requirements.txt"))?;
    let mut install = Command::new("python3");
    install
        .args(["-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--target"])
        .arg(folder.join("lib"));
    run(install.arg("--requirement").arg(&requirements).stdout(Stdio::null()))?;
    let call = r#"PYTHONPATH="$here/lib" exec python3 -c 'from componentize_py import script; script()' "$@""#;
    script(&folder.join(COMPONENTIZE_PY.program), call)?;
    Ok((format!("componentize-py-{PY_VERSION}"), python))
}

/// Writes a script that calls a tool in its folder, wherever that is by then.
fn script(file: &Path, call: &str) -> Result<()> {
    fs::write(file, format!("#!/bin/sh\nhere=$(dirname \"$(readlink -f \"$0\")\")\n{call}\n"))?;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o755))?)
}

/// Copies the files of a folder and of those in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let copied = to.join(path.file_name().context("an entry has a name")?);
        if path.is_dir() {
            copy(&path, &copied)?;
        } else {
            fs::copy(&path, &copied)?;
        }
    }
    Ok(())
}

const JS_VERSION: &str = "0.23.0";
/// As in scripted/requirements.txt.
const PY_VERSION: &str = "0.25.1";

/// Must lie where the tool is installed: it looks for that beside itself.
const COMPONENTIZE_MJS: &str = include_str!("scripted/componentize.mjs");

const COMPONENTIZE_JS: Kind = Kind {
    partial: "partial-js",
    stamp: "lockgate-componentize-js-0.23.0",
    program: "componentize-js",
    probe: "--version",
};

const COMPONENTIZE_PY: Kind = Kind {
    partial: "partial-py",
    stamp: "lockgate-componentize-py-0.25.1",
    program: "componentize-py",
    probe: "--version",
};

const NO_JAVASCRIPT: &str =
    "no tool for guests in JavaScript: it needs Node.js 20 or later with npm, and npm's registry";

const NO_PYTHON: &str = "no tool for guests in Python: it needs Python 3.9 or later with pip, and PyPI";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_the_one_that_is_kept() {
        assert!(include_str!("scripted/requirements.txt").starts_with(&format!("componentize-py=={PY_VERSION} ")));
        assert!(COMPONENTIZE_PY.stamp.ends_with(PY_VERSION) && COMPONENTIZE_JS.stamp.ends_with(JS_VERSION));
    }

    #[test]
    fn folders_are_copied_with_those_in_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/b/c.py"), "x").unwrap();
        copy(&root.path().join("a"), &root.path().join("z")).unwrap();
        assert_eq!(fs::read(root.path().join("z/b/c.py")).unwrap(), b"x");
    }
}
