//! `cargo xtask plugins`: the guests in `plugins/`, compiled to components in `plugins/dist/`.
//!
//! Cargo decides what of those in Rust is up to date; finding or making compilers is the duty of `toolchain` and `clang`.

mod c;
mod cache;
mod clang;
mod component;
mod debian;
mod guest;
mod made;
mod scripted;
mod sysroot;
mod toolchain;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

pub(crate) use self::cache::remove;
use self::clang::Clang;
use self::guest::Guest;
use self::made::Made;
use self::scripted::Tool;
use crate::cargo::{self, Artifact, root};
use crate::cli::PluginsOptions;
use crate::console::{brief, heading, note};
use crate::language::Language;

/// Which guests are built.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// Those in Rust: what the project ships.
    Shipped,
    /// Those in Rust and C.
    Compiled,
    /// Those in JavaScript and Python, too.
    All,
    /// These, by their folders.
    Named(&'a [String]),
}

/// Runs the command.
pub(crate) fn plugins(options: &PluginsOptions) -> Result<ExitCode> {
    let wanted = match options.names.as_slice() {
        [] if options.all_languages => Wanted::All,
        [] => Wanted::Compiled,
        names => Wanted::Named(names),
    };
    for component in build(wanted)? {
        if options.verbose {
            let imports = component::imports(&fs::read(&component)?)?;
            note(format!("{} imports {}", component.display(), imports.join(", ")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds guests and returns the components, each checked to import nothing but our own interfaces.
///
/// Safe to call from several processes at once: they take turns.
pub(crate) fn build(wanted: Wanted<'_>) -> Result<Vec<PathBuf>> {
    let started = Instant::now();
    let folder = root().join("plugins");
    let target = folder.join("target");
    fs::create_dir_all(&target)?;
    let turn = File::create(target.join(".xtask-lock"))?;
    turn.lock().context("cannot lock plugins/target")?;

    let dist = folder.join("dist");
    fs::create_dir_all(&dist)?;
    let guests = Guest::all(&folder)?;
    let mut components = rust(&folder, &target, &selection(wanted, &guests, &folder)?)?;
    components.extend(others(&guests, &target, &dist, wanted)?);
    components.sort();
    note(format!("{} components in plugins/dist, {}", components.len(), brief(started.elapsed())));
    Ok(components)
}

/// What cargo is told to build; nothing, if none of the wanted guests is its own.
fn selection(wanted: Wanted<'_>, guests: &[Guest], folder: &Path) -> Result<Vec<String>> {
    let Wanted::Named(names) = wanted else {
        return Ok(["--workspace", "--exclude", "wit-tool"].map(str::to_owned).into());
    };
    let mut selection = Vec::new();
    for name in names {
        if folder.join(name).join("Cargo.toml").is_file() {
            selection.extend(["--package".to_owned(), name.clone()]);
        } else if guests.iter().all(|guest| guest.name != *name) {
            bail!("there is no plugin {name} in plugins/, nor in its folders c, javascript and python");
        }
    }
    Ok(selection)
}

/// Builds the guests that are cargo's.
fn rust(folder: &Path, target: &Path, selection: &[String]) -> Result<Vec<PathBuf>> {
    if selection.is_empty() {
        return Ok(Vec::new());
    }
    heading("plugins: compiling to wasm32-unknown-unknown");
    let compiler = toolchain::find()?;
    note(format!("compiler: {compiler}"));
    let mut command = compiler.cargo();
    command.args(["build", "--release", "--target", toolchain::TARGET]).args(selection);
    command.arg("--manifest-path").arg(folder.join("Cargo.toml")).arg("--target-dir").arg(target);
    let artifacts = cargo::build(&mut command)?;
    let components = publish(&artifacts, &folder.join("dist"))?;
    if components.is_empty() {
        bail!("cargo built no guest: a member of plugins/ needs crate-type = [\"cdylib\"]");
    }
    Ok(components)
}

/// Copies what changed to `dist` under the name of the guest's folder, after a check of its imports.
fn publish(artifacts: &[Artifact], dist: &Path) -> Result<Vec<PathBuf>> {
    let mut components = Vec::new();
    for artifact in artifacts.iter().filter(|artifact| artifact.is("cdylib")) {
        let Some(built) = artifact.filenames.iter().find(|file| file.extension().is_some_and(|e| e == "wasm")) else {
            continue;
        };
        let name = artifact.folder()?.file_name().context("a guest lies in a folder of its own")?;
        let name = name.to_string_lossy();
        components.push(put(&fs::read(built)?, &name, dist).with_context(|| format!("plugins/{name}"))?);
    }
    Ok(components)
}

/// Builds the guests that are not cargo's.
fn others(guests: &[Guest], target: &Path, dist: &Path, wanted: Wanted<'_>) -> Result<Vec<PathBuf>> {
    let (mut components, mut clang) = (Vec::new(), None);
    for guest in guests.iter().filter(|guest| wanted.includes(guest)) {
        let component = match guest.language {
            // Cargo's own: no guest here is in it.
            Language::Rust => continue,
            Language::C => found(&mut clang, target)
                .and_then(|clang| c::compile(guest, clang, target))
                .and_then(|bytes| put(&bytes, &guest.name, dist)),
            Language::Javascript => kept_or_made(guest, &scripted::JAVASCRIPT, target, dist),
            Language::Python => kept_or_made(guest, &scripted::PYTHON, target, dist),
        };
        components.push(component.with_context(|| format!("plugins/{}", guest.name))?);
    }
    let left: Vec<_> = guests.iter().filter(|guest| !wanted.includes(guest)).map(|guest| guest.name.as_str()).collect();
    if matches!(wanted, Wanted::Compiled) && !left.is_empty() {
        note(format!("left out: {} (--all-languages builds those in JavaScript and Python, too)", left.join(", ")));
    }
    Ok(components)
}

/// Builds a guest in a language that takes half a minute, unless its component is there and would become the same.
fn kept_or_made(guest: &Guest, tool: &Tool, target: &Path, dist: &Path) -> Result<PathBuf> {
    let (made, component) = (Made::from(guest, tool.made_of, target)?, file(&guest.name, dist));
    if made.is_noted() && component.is_file() {
        return Ok(component);
    }
    let bytes = (tool.make)(guest, target)?;
    made.noted(|| put(&bytes, &guest.name, dist))
}

impl Wanted<'_> {
    fn includes(&self, guest: &Guest) -> bool {
        match self {
            Self::Shipped => false,
            Self::Compiled => guest.language == Language::C,
            Self::All => true,
            Self::Named(names) => names.contains(&guest.name),
        }
    }
}

/// The C compiler, looked for when the first guest needs it.
fn found<'a>(clang: &'a mut Option<Clang>, target: &Path) -> Result<&'a Clang> {
    if clang.is_none() {
        let fresh = Clang::find(target)?;
        note(format!("C compiler: {fresh}"));
        *clang = Some(fresh);
    }
    clang.as_ref().context("it was just found")
}

/// Where a component is put.
fn file(name: &str, dist: &Path) -> PathBuf {
    dist.join(format!("{name}.wasm"))
}

/// Puts a component in `dist`, after a check of its imports.
fn put(bytes: &[u8], name: &str, dist: &Path) -> Result<PathBuf> {
    component::check(bytes)?;
    let file = file(name, dist);
    replace(&file, bytes)?;
    Ok(file)
}

/// Puts a new version in place in one step, and leaves an equal one untouched.
fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let fresh = file.with_extension("new");
    fs::write(&fresh, bytes)?;
    fs::rename(&fresh, file).with_context(|| format!("cannot replace {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_component_keeps_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        replace(&file, b"one").unwrap();
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        replace(&file, b"one").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        replace(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
