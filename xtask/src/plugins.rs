//! `cargo xtask plugins`: the guests in `plugins/`, compiled to components in `plugins/dist/`.
//!
//! Cargo decides what is up to date; finding or making a compiler for the guests is `toolchain`'s duty.

mod component;
mod debian;
mod sysroot;
mod toolchain;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, Artifact, root};
use crate::cli::PluginsOptions;
use crate::console::{brief, heading, note};

/// Runs the command.
pub(crate) fn plugins(options: &PluginsOptions) -> Result<ExitCode> {
    for component in build()? {
        if options.verbose {
            let imports = component::imports(&fs::read(&component)?)?;
            note(format!("{} imports {}", component.display(), imports.join(", ")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds every guest and returns the components, each checked to import nothing but our own interfaces.
///
/// Safe to call from several processes at once: they take turns.
pub(crate) fn build() -> Result<Vec<PathBuf>> {
    let started = Instant::now();
    let folder = root().join("plugins");
    let target = folder.join("target");
    fs::create_dir_all(&target)?;
    let turn = File::create(target.join(".xtask-lock"))?;
    turn.lock().context("cannot lock plugins/target")?;

    heading("plugins: compiling to wasm32-unknown-unknown");
    let compiler = toolchain::find()?;
    note(format!("compiler: {compiler}"));
    let mut command = compiler.cargo();
    command.args(["build", "--release", "--workspace", "--target", toolchain::TARGET]);
    command.arg("--manifest-path").arg(folder.join("Cargo.toml")).arg("--target-dir").arg(&target);
    let artifacts = cargo::build(&mut command)?;
    let components = publish(&artifacts, &folder.join("dist"))?;
    if components.is_empty() {
        bail!("plugins/ holds no guest: a member needs crate-type = [\"cdylib\"]");
    }
    note(format!("{} components in plugins/dist, {}", components.len(), brief(started.elapsed())));
    Ok(components)
}

/// Copies what changed to `dist` under the name of the guest's folder, after a check of its imports.
fn publish(artifacts: &[Artifact], dist: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(dist)?;
    let mut components = Vec::new();
    for artifact in artifacts.iter().filter(|artifact| artifact.is("cdylib")) {
        let Some(built) = artifact.filenames.iter().find(|file| file.extension().is_some_and(|e| e == "wasm")) else {
            continue;
        };
        let name = artifact.folder()?.file_name().context("a guest lies in a folder of its own")?;
        let bytes = fs::read(built)?;
        component::check(&bytes).with_context(|| format!("plugins/{}", name.display()))?;
        let file = dist.join(name).with_extension("wasm");
        replace(&file, &bytes)?;
        components.push(file);
    }
    components.sort();
    Ok(components)
}

/// Puts a new version in place in one step, and leaves an equal one untouched.
fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let fresh = file.with_extension("wasm.new");
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
