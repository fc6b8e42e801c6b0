//! Cargo as a child process: a clean environment, its JSON messages, and where it puts things.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Something that cargo has built, as its JSON messages tell it.
#[derive(Debug, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) manifest_path: PathBuf,
    pub(crate) target: Target,
    pub(crate) profile: ArtifactProfile,
    pub(crate) filenames: Vec<PathBuf>,
    pub(crate) executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ArtifactProfile {
    /// Compiled with the test harness.
    pub(crate) test: bool,
}

impl Artifact {
    /// The folder of the package that it belongs to.
    pub(crate) fn folder(&self) -> Result<&Path> {
        self.manifest_path.parent().context("a manifest lies in a folder")
    }

    pub(crate) fn is(&self, kind: &str) -> bool {
        self.target.kind.iter().any(|k| k == kind)
    }
}

/// The cargo that started us, in the project's folder, without the variables that it set for us alone.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_cargos_own) {
            command.env_remove(name);
        }
    }
    command
}

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_path_buf)
}

/// Runs a build and collects what it made; compiler messages go to the terminal.
///
/// # Errors
/// If cargo cannot be started or fails; what failed is on the terminal already.
pub(crate) fn build(command: &mut Command) -> Result<Vec<Artifact>> {
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", shown(command)))?;
    let output = child.stdout.take().context("standard output is piped")?;
    let mut artifacts = Vec::new();
    for line in BufReader::new(output).lines() {
        artifacts.extend(artifact(&line?));
    }
    if !child.wait()?.success() {
        bail!("{} failed", shown(command));
    }
    Ok(artifacts)
}

/// Runs a command to its end with its output on the terminal.
///
/// # Errors
/// If it cannot be started or ends with anything but 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a command and returns what it wrote to standard output.
///
/// # Errors
/// If it cannot be started, fails (its standard error is quoted) or writes something other than UTF-8.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", shown(command), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} did not write UTF-8", shown(command)))
}

/// The command as a person would type it, without its folder and environment.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn artifact(line: &str) -> Option<Artifact> {
    #[derive(Deserialize)]
    struct Reason<'a> {
        reason: &'a str,
    }
    // The output may hold other things than cargo's messages; they are not ours to judge.
    let Reason { reason } = serde_json::from_str(line).ok()?;
    (reason == "compiler-artifact").then(|| serde_json::from_str(line).ok()).flatten()
}

/// Variables that `cargo run` sets for its child: a build inside must not see them.
fn is_cargos_own(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || matches!(name, "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH" | "CARGO_CRATE_NAME" | "CARGO_BIN_NAME")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_message_is_read() {
        let line = r#"{"reason":"compiler-artifact","package_id":"x","manifest_path":"/p/plugins/jwt-auth/Cargo.toml","target":{"kind":["cdylib"],"crate_types":["cdylib"],"name":"jwt_auth","src_path":"/p","edition":"2024","doc":true,"doctest":false,"test":true},"profile":{"opt_level":"s","debuginfo":0,"debug_assertions":false,"overflow_checks":false,"test":false},"features":[],"filenames":["/t/jwt_auth.wasm"],"executable":null,"fresh":true}"#;
        let artifact = artifact(line).unwrap();
        assert!(artifact.is("cdylib"));
        assert!(artifact.folder().unwrap().ends_with("jwt-auth"));
        assert_eq!(artifact.filenames, [PathBuf::from("/t/jwt_auth.wasm")]);
    }

    #[test]
    fn other_messages_and_foreign_lines_are_passed_over() {
        assert!(artifact(r#"{"reason":"build-finished","success":true}"#).is_none());
        assert!(artifact("warning: something").is_none());
    }

    #[test]
    fn a_command_is_shown_without_its_folder() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["build", "--release"]);
        assert_eq!(shown(&command), "cargo build --release");
    }

    #[test]
    fn the_users_own_cargo_settings_survive() {
        assert!(is_cargos_own("CARGO_PKG_NAME"));
        assert!(!is_cargos_own("CARGO_TARGET_DIR"));
        assert!(!is_cargos_own("CARGO_HOME"));
    }
}
