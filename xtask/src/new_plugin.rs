//! `cargo xtask new-plugin`: a folder in `plugins/` with a copy of the worked example, made up of the hooks that are wanted.
//!
//! The example has one file for each hook, and names the hooks in its main file and in its world line by line: what is not wanted is
//! left out, and nothing else is changed but the name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::cargo::root;
use crate::cli::{Hook, NewPluginOptions};
use crate::language::{Language, WORLD};
use crate::plugins::remove;

/// Runs the command.
pub(crate) fn new_plugin(options: &NewPluginOptions) -> Result<ExitCode> {
    let plugins = root().join("plugins");
    check(&options.name, &plugins)?;
    let hooks: BTreeSet<&str> = options.hooks.iter().map(|hook| hook.name()).collect();
    let grants = create(&plugins, &options.name, options.lang, &hooks)?;
    print!("{}", told(&options.name, options.lang, &grants));
    Ok(ExitCode::SUCCESS)
}

/// Errs if a plugin cannot have this name.
fn check(name: &str, plugins: &Path) -> Result<()> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
        bail!("{name:?} cannot be a plugin's name: use 1 to {MAX_NAME} lower-case letters, digits and hyphens");
    }
    if !name.as_bytes()[0].is_ascii_lowercase() || name.ends_with('-') {
        bail!("{name:?} cannot be a plugin's name: begin with a letter, and end with a letter or a digit");
    }
    if ["c", "dist", "javascript", "python", "target", "test", "core", "std", "alloc"].contains(&name) {
        bail!("{name:?} cannot be a plugin's name: cargo or this project uses it for something else");
    }
    let there = Language::value_variants().iter().map(|language| language.place(name));
    if let Some(place) = there.into_iter().find(|place| plugins.join(place).exists()) {
        bail!("plugins/{place} is there already: choose another name, or remove the folder");
    }
    Ok(())
}

/// Makes the folder, whole or not at all. Returns the imports that the plugin needs to be granted.
fn create(plugins: &Path, name: &str, language: Language, hooks: &BTreeSet<&str>) -> Result<Vec<String>> {
    let (partial, place) = (plugins.join("target").join("new").join(name), plugins.join(language.place(name)));
    remove(&partial)?;
    fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    let grants = fill(&partial, plugins, name, language, hooks)?;
    fs::rename(&partial, &place).with_context(|| format!("cannot create {}", place.display()))?;
    Ok(grants)
}

fn fill(folder: &Path, plugins: &Path, name: &str, language: Language, hooks: &BTreeSet<&str>) -> Result<Vec<String>> {
    let kit = format!("kit-{}", language.name());
    copy(&plugins.join(language.place(&kit)), folder, &|file, text| {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        (!is_hook(stem) || hooks.contains(stem)).then(|| kept(text, hooks).replace(&kit, name))
    })?;
    let fixtures = folder.join("fixtures");
    fs::create_dir(&fixtures)?;
    copy(&plugins.join("kit-rust/fixtures"), &fixtures, &|_, text| {
        let hook = text.lines().find_map(|line| line.strip_prefix("hook = \"")?.strip_suffix('"'));
        hook.is_none_or(|hook| hooks.contains(hook)).then(|| text.to_owned())
    })?;
    needed(folder)
}

/// The text without the lines that are there for hooks that are not wanted.
fn kept(text: &str, hooks: &BTreeSet<&str>) -> String {
    let unwanted = |line: &str| {
        HOOKS.iter().filter(|hook| !hooks.contains(*hook)).any(|hook| {
            line == format!("mod {hook};")
                || line.ends_with(&format!(" from './{hook}.js';"))
                || line.starts_with(&format!("from {hook} import "))
                || line.contains(&format!("export lockgate:policy/{hook}@"))
        })
    };
    text.lines().filter(|line| !unwanted(line)).map(|line| format!("{line}\n")).collect()
}

/// The imports that are used in the folder; those that are not are taken out of its world.
fn needed(folder: &Path) -> Result<Vec<String>> {
    let mut sources = String::new();
    for folder in [folder.to_owned(), folder.join("src")].iter().filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_file() && !path.ends_with(WORLD) {
                sources.push_str(&fs::read_to_string(&path)?);
            }
        }
    }
    let words: BTreeSet<&str> = sources.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let world = folder.join(WORLD);
    let (mut needed, mut text) = (Vec::new(), String::new());
    for line in fs::read_to_string(&world)?.lines() {
        let import = line.trim().strip_prefix("import lockgate:policy/").and_then(|rest| rest.split('@').next());
        if import.is_none_or(|import| words.contains(import)) {
            text.push_str(&format!("{line}\n"));
            needed.extend(import.map(str::to_owned));
        }
    }
    fs::write(&world, text)?;
    Ok(needed)
}

/// Copies the texts of a folder and of those in it, as `change` has them; it leaves a file out by answering nothing.
fn copy(from: &Path, to: &Path, change: &dyn Fn(&Path, &str) -> Option<String>) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let name = path.file_name().context("an entry has a name")?;
        if path.is_dir() && name == "src" {
            fs::create_dir(to.join(name))?;
            copy(&path, &to.join(name), change)?;
        } else if path.is_file()
            && let Some(text) = change(&path, &fs::read_to_string(&path)?)
        {
            fs::write(to.join(name), text)?;
        }
    }
    Ok(())
}

fn is_hook(word: &str) -> bool {
    HOOKS.contains(&word)
}

/// What is to be done next.
fn told(name: &str, language: Language, grants: &[String]) -> String {
    let place = language.place(name);
    let main = language.main();
    let kept = match language {
        Language::Rust | Language::C => "",
        // The engine starts with the first call of an instance: milliseconds, and more memory than a compiled plugin has.
        Language::Javascript | Language::Python => "isolation = \"reuse\"\nlimits = { memory = \"64 MiB\" }\n",
    };
    let grants = grants.iter().map(|grant| format!("{grant:?}")).collect::<Vec<_>>().join(", ");
    format!(
        "plugins/{place} is made; begin with its {main}. Build it and try it:\n\n\
         cargo xtask plugins {name}\n\
         lockgate policy test plugins/{place}/fixtures\n\n\
         Have a node ask it (config.toml):\n\n\
         [[plugin]]\nname = \"{name}\"\nfile = \"plugins/dist/{name}.wasm\"\ngrants = [{grants}]\n{kept}"
    )
}

impl Hook {
    fn name(self) -> &'static str {
        HOOKS[self as usize]
    }
}

const HOOKS: [&str; 6] = ["auth", "admission", "publishing", "subscription", "recording", "command"];
/// As the host has it.
const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> String {
        check(name, &root().join("plugins")).unwrap_err().to_string()
    }

    /// The files of a new plugin, by their paths, and its grants.
    fn made(language: Language, hooks: &[&str]) -> (BTreeSet<String>, String, Vec<String>) {
        let plugins = tempfile::tempdir().unwrap();
        let kit = language.place(&format!("kit-{}", language.name()));
        for kit in ["kit-rust/fixtures", &kit] {
            fs::create_dir_all(plugins.path().join(kit)).unwrap();
            copy(&root().join("plugins").join(kit), &plugins.path().join(kit), &|_, text| Some(text.to_owned()))
                .unwrap();
        }
        let grants = create(plugins.path(), "my-own", language, &hooks.iter().copied().collect()).unwrap();
        let (mut files, mut all) = (BTreeSet::new(), String::new());
        let folder = plugins.path().join(language.place("my-own"));
        for part in ["", "src", "fixtures"] {
            let Ok(entries) = fs::read_dir(folder.join(part)) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
                files.insert(path.strip_prefix(&folder).unwrap().display().to_string());
                all.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
        assert!(!plugins.path().join("target/new/my-own").exists());
        (files, all, grants)
    }

    #[test]
    fn names_that_cannot_be_and_folders_that_are_there_are_refused() {
        for name in ["", "Night", "night_watch", "../night", "-night", "night-", "9nights", &"n".repeat(65)] {
            assert!(refused(name).contains("cannot be a plugin's name"), "{name}");
        }
        assert!(refused("dist").contains("something else"));
        assert!(refused("jwt-auth").contains("plugins/jwt-auth is there already"));
        check("night-watch-2", &root().join("plugins")).unwrap();
    }

    #[test]
    fn every_hook_has_its_name() {
        let names: Vec<_> = Hook::value_variants().iter().map(|hook| hook.name()).collect();
        assert_eq!(names, HOOKS);
        assert!(Hook::value_variants().iter().all(|hook| hook.to_possible_value().unwrap().get_name() == hook.name()));
    }

    #[test]
    fn a_plugin_has_the_hooks_that_are_wanted_and_no_trace_of_others() {
        for &language in Language::value_variants() {
            let (files, text, grants) = made(language, &["admission"]);
            assert!(files.iter().any(|file| file.contains("admission.")), "{files:?}");
            assert!(files.contains("fixtures/guest-waits.toml") && files.contains("fixtures/misspelt-setting.toml"));
            assert!(!files.iter().any(|file| file.contains("command") || file.contains("host-publishes")), "{files:?}");
            assert!(text.contains("my-own") && !text.contains("kit-"), "{language:?}");
            for trace in ["mod command", "./command.js", "from command import", "policy/command@"] {
                assert!(!text.contains(trace), "{language:?}: {trace}");
            }
            assert_eq!(grants, ["config", "kv"]);
        }
    }

    #[test]
    fn what_no_hook_uses_is_not_imported() {
        for &language in Language::value_variants() {
            let (_, text, grants) = made(language, &["publishing", "recording"]);
            assert_eq!(grants, ["config"], "{language:?}");
            assert!(!text.contains("policy/kv@"), "{language:?}");
        }
    }

    #[test]
    fn what_is_next_is_told() {
        let text = told("night", Language::Python, &["config".into(), "kv".into()]);
        for part in [
            "plugins/python/night is made; begin with its plugin.py",
            "lockgate policy test plugins/python/night/fixtures",
            "cargo xtask plugins night\n",
            "grants = [\"config\", \"kv\"]",
            "isolation = \"reuse\"",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
