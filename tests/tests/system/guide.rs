//! The guide for authors of plugins, docs/plugins.md, followed word by word: its files are written, its commands are run.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use lockgate_tests::program;

/// What the guide has its reader do.
#[derive(Debug, PartialEq)]
enum Step<'a> {
    /// A text between backticks on a line of its own, and a block after it: a file.
    Write { file: &'a str, text: &'a str },
    /// A block of `sh`: commands, in the project's folder.
    Run(&'a str),
}

/// The steps under the headings that are wanted.
fn steps(guide: &str, wanted: impl Fn(&str) -> bool) -> Vec<Step<'_>> {
    let (mut steps, mut file, mut here) = (Vec::new(), None, false);
    let mut rest = guide;
    while let Some((line, after)) = rest.split_once('\n') {
        rest = after;
        if line.starts_with('#') {
            here = wanted(line.trim_start_matches(['#', ' ']));
        } else if let Some(language) = line.strip_prefix("```") {
            let (text, after) = rest.split_once("\n```\n").expect("a block ends");
            rest = after;
            match file.take() {
                Some(file) if here => steps.push(Step::Write { file, text }),
                None if here && language == "sh" => steps.push(Step::Run(text)),
                _ => {}
            }
        } else if !line.is_empty() {
            file = line.strip_prefix('`').and_then(|line| line.strip_suffix('`')).filter(|file| file.contains('/'));
        }
    }
    steps
}

/// A copy of what the guide works on, so that nothing of it stays in the project.
struct Copy {
    folder: tempfile::TempDir,
}

impl Copy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for part in ["config.toml", "wit", "plugins/Cargo.toml", "plugins/Cargo.lock", "plugins/wit-tool"] {
            copy(&project.join(part), &folder.path().join(part));
        }
        for kit in ["kit-rust", "c/kit-c", "javascript/kit-javascript", "python/kit-python"] {
            copy(&project.join("plugins").join(kit), &folder.path().join("plugins").join(kit));
        }
        // What config.toml has a node ask.
        for shipped in ["jwt-auth", "room-admission", "subscription-policy"] {
            let component = Path::new("plugins/dist").join(shipped).with_extension("wasm");
            copy(&project.join(&component), &folder.path().join(&component));
        }
        // Libraries that were compiled for the project's plugins need not be compiled again.
        symlink(project.join("plugins/target"), folder.path().join("plugins/target")).unwrap();
        let this = Self { folder };
        this.tool("lockgate", &format!("exec {} \"$@\"", program("lockgate").display()));
        let xtask = program("xtask");
        // `cargo xtask` would build the whole project for a program that is there.
        let cargo = format!(
            "PATH=\"${{PATH#*:}}\"\nif [ \"$1\" = xtask ]; then shift; CARGO_MANIFEST_DIR={} exec {} \"$@\"; fi\nexec cargo \"$@\"",
            this.path("xtask").display(),
            xtask.display()
        );
        this.tool("cargo", &cargo);
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tool(&self, name: &str, script: &str) {
        let file = self.path("bin").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn take(&self, step: &Step<'_>) {
        match step {
            Step::Write { file, text } => {
                fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
                fs::write(self.path(file), format!("{text}\n")).unwrap();
            }
            Step::Run(commands) => self.run(commands),
        }
    }

    fn run(&self, commands: &str) {
        let path = env::var("PATH").unwrap();
        let mut shell = Command::new("bash");
        shell.args(["-euxo", "pipefail", "-c", commands]).current_dir(self.folder.path());
        shell.env("PATH", format!("{}:{path}", self.path("bin").display()));
        shell.env("CARGO_TARGET_DIR", self.path("plugins/target/host"));
        let output = shell.output().unwrap();
        let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "the guide's commands\n{commands}\nfailed:\n{}{}",
            told(&output.stdout),
            told(&output.stderr)
        );
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            copy(&path, &to.join(path.file_name().unwrap()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
}

const GUIDE: &str = include_str!("../../../docs/plugins.md");

#[test]
fn the_guide_leads_to_plugins_in_rust_and_c() {
    let steps = steps(GUIDE, |heading| !["JavaScript", "Python"].contains(&heading));
    let runs = steps.iter().filter(|step| matches!(step, Step::Run(_))).count();
    assert!(runs >= 4 && steps.len() - runs >= 4, "{steps:?}");
    let copy = Copy::new();
    for step in &steps {
        copy.take(step);
    }
    // What the commands were to do is done, and nothing else was passed over.
    assert!(copy.path("plugins/dist/night-watch.wasm").is_file() && copy.path("plugins/dist/doorman.wasm").is_file());
}

#[test]
#[ignore = "fetches tools from npm and PyPI: cargo xtask test --only languages"]
fn the_guide_leads_to_plugins_in_javascript_and_python() {
    let steps = steps(GUIDE, |heading| ["JavaScript", "Python"].contains(&heading));
    assert_eq!(steps.len(), 2, "{steps:?}");
    let copy = Copy::new();
    for step in &steps {
        copy.take(step);
    }
    assert!(copy.path("plugins/dist/doorman-js.wasm").is_file() && copy.path("plugins/dist/doorman-py.wasm").is_file());
}

#[test]
fn a_command_that_fails_fails_the_guide() {
    let failed = std::panic::catch_unwind(|| Copy::new().run("lockgate policy test plugins/no-such/fixtures\ntrue"));
    let told = *failed.unwrap_err().downcast::<String>().unwrap();
    assert!(told.contains("plugins/no-such/fixtures"), "{told}");
}

#[test]
fn steps_are_read_in_order_under_the_wanted_headings() {
    let guide = "# A\n\n`a/b.rs`\n\n```rust\nfn f() {}\n```\n\nSay `x/y`:\n\n```sh\ntrue\n```\n\n## B\n\n```sh\nfalse\n```\n\n# C\n\n```toml\nx = 1\n```\n";
    let found = steps(guide, |heading| heading != "B");
    assert_eq!(found, [Step::Write { file: "a/b.rs", text: "fn f() {}" }, Step::Run("true")]);
}
