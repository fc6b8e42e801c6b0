//! The program as its user meets it: what it says of itself, of a wrong configuration, and of tokens.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Runs `lockgate` with a configuration of this text and nothing of the test's own environment that could change it.
fn lockgate(config: &str, arguments: &[&str]) -> (Output, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    (run(folder.path(), arguments), folder)
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.current_dir(folder).args(arguments);
    for name in ["JWT_SECRET", "PORT", "CLUSTER_MODE"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const DEV: &str = "[dev]\nenabled = true\n";

#[test]
fn the_help_names_every_command_and_the_exit_codes() {
    let (output, _folder) = lockgate("", &["--help"]);
    let help = text(&output.stdout);
    for words in ["check", "token", "schema", "--config", "--host", "--port", "64"] {
        assert!(help.contains(words), "{help}");
    }
}

#[test]
fn a_wrong_configuration_exits_64_with_all_problems() {
    let (output, folder) = lockgate("[http]\nport = 70000\nhots = 1\n", &[]);
    assert_eq!(output.status.code(), Some(64));
    let problems = text(&output.stderr);
    assert_eq!(problems.lines().count(), 3, "{problems}");
    assert!(problems.contains("config.toml:2:8: http.port = 70000") && problems.contains("auth.secret"), "{problems}");
    let output = run(folder.path(), &["check", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((said["ok"].as_bool(), said["problems"].as_array().unwrap().len()), (Some(false), 3));
    assert_eq!(run(folder.path(), &["--config", "none.toml"]).status.code(), Some(64));
}

#[test]
fn what_is_wrong_with_plugins_is_found_before_anything_is_bound() {
    let plugin = format!("{DEV}[[plugin]]\nname = \"gone\"\nfile = \"gone.wasm\"\n");
    let (output, folder) = lockgate(&plugin, &["check"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("cargo xtask plugins"), "{}", text(&output.stderr));
    let output = run(folder.path(), &[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0));
}

#[test]
fn options_are_checked_with_the_rest() {
    let (output, _folder) = lockgate(&format!("{DEV}guest_tokens = true\n"), &["--host", "0.0.0.0", "check"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("dev.guest_tokens"), "{}", text(&output.stderr));
}

#[test]
fn a_right_configuration_is_told_to_be_right() {
    let (output, _folder) = lockgate(DEV, &["check"]);
    assert_eq!((output.status.code(), text(&output.stdout).trim()), (Some(0), "the configuration is right"));
}

#[test]
fn nobody_who_reads_is_no_trouble() {
    for arguments in [&["schema"][..], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        let output = command.args(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn the_schema_of_the_sockets_is_printed_without_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["schema"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/ws.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(kept).unwrap()).unwrap();
    assert!(printed == kept, "docs/schema/ws.json is another one; run `cargo xtask schema --write`");
}

#[test]
fn tokens_are_made_with_the_configured_secret_or_not_at_all() {
    let config = "[auth]\nsecret = { file = \"secret\" }\n";
    let (_, folder) = lockgate(config, &["--help"]);
    std::fs::write(folder.path().join("secret"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let output = run(folder.path(), &["token", "--subject", "7", "--name", "Ann", "--record", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["token"].as_str().unwrap().split('.').count(), 3);
    let (output, _folder) = lockgate(DEV, &["token", "--subject", "7"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("start the node first"), "{}", text(&output.stderr));
}
