//! A private compiler with a standard library for the guests' target, built from source once and kept in the cache.
//!
//! A sysroot appears under its final name only when it is whole, so an interrupted build leaves nothing to trip over.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::debian::Release;
use super::toolchain::{Linker, TARGET, guest_cargo};
use crate::cargo::{capture, run};
use crate::console::{brief, heading, note};

/// The compiler of the newest whole sysroot in the cache; without one, it is built first.
pub(super) fn cached_or_built(linker: &Linker) -> Result<PathBuf> {
    let cache = folder()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    if let Some(rustc) = newest(&cache)? {
        return Ok(rustc);
    }
    let turn = File::create(cache.join("lock"))?;
    turn.lock().with_context(|| format!("cannot lock {}", cache.display()))?;
    // Another process may have built it while this one waited.
    match newest(&cache)? {
        Some(rustc) => Ok(rustc),
        None => build(&cache, linker),
    }
}

/// The user's cache folder for this project.
fn folder() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME names a folder")?.join("lockgate"))
}

fn newest(cache: &Path) -> Result<Option<PathBuf>> {
    let mut sysroots = Vec::new();
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        if path.join(STAMP).is_file() && works(&path.join("rustc")) {
            sysroots.push((path.join(STAMP).metadata()?.modified()?, path));
        }
    }
    Ok(sysroots.into_iter().max().map(|(_, path)| path.join("rustc")))
}

/// A cached compiler can stop working when the system under it is upgraded: then it counts as absent.
fn works(rustc: &Path) -> bool {
    capture(Command::new(rustc).arg("-vV")).is_ok()
}

fn build(cache: &Path, linker: &Linker) -> Result<PathBuf> {
    let started = Instant::now();
    heading("plugins: making a compiler for wasm32-unknown-unknown, once (a few minutes, 0.6 GB)");
    note("the active toolchain has no such target; Debian's compiler is unpacked and its library built from source");
    require_linker()?;
    let partial = cache.join("partial");
    remove(&partial)?;
    fs::create_dir(&partial)?;
    let (release, lists) = Release::find(&partial.join("apt"))?;
    let rustc = release.unpack(&lists, &partial)?;
    let described = capture(Command::new(&rustc).arg("-vV")).context("the unpacked compiler does not run")?;
    library(&partial, &rustc, linker)?;
    for scaffold in ["apt", "seed", "root/usr/src", "root/usr/share"] {
        remove(&partial.join(scaffold))?;
    }
    fs::write(partial.join(STAMP), format!("Debian {}\n{described}", release.version))?;
    let whole = cache.join(format!("wasm-sysroot-{}", release.version));
    remove(&whole)?;
    fs::rename(&partial, &whole)?;
    note(format!("kept in {}, {}", whole.display(), brief(started.elapsed())));
    Ok(whole.join("rustc"))
}

/// Builds the standard library by compiling an empty crate, and puts it where the compiler looks for it.
fn library(folder: &Path, rustc: &Path, linker: &Linker) -> Result<()> {
    let seed = folder.join("seed");
    fs::create_dir_all(seed.join("src"))?;
    fs::write(seed.join("src/lib.rs"), "#![no_std]\n")?;
    fs::write(seed.join("Cargo.toml"), SEED)?;
    note("building the standard library");
    let mut command = guest_cargo(linker);
    command.current_dir(&seed).env("RUSTC", rustc);
    // The switch that builds a standard library is unstable; the private compiler is told to accept it, for this only.
    command.env("RUSTC_BOOTSTRAP", "1").args(["build", "--release", "--target", TARGET, "-Zbuild-std=std,panic_abort"]);
    run(command.arg("--target-dir").arg(seed.join("target")))?;
    let built = seed.join("target").join(TARGET).join("release/deps");
    let library = folder.join("root/usr/lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&library)?;
    for file in fs::read_dir(built)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libseed") {
            fs::copy(file.path(), library.join(name))?;
        }
    }
    Ok(())
}

/// Proc macros run on the host, so the guests need the host's linker too.
fn require_linker() -> Result<()> {
    if capture(Command::new("cc").arg("--version")).is_err() {
        bail!("a C compiler is missing (cc); on Debian: apt-get install gcc libc6-dev");
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Says that a sysroot is whole, and from what it was made. A new number here retires all that were made before.
const STAMP: &str = "lockgate-1";

const SEED: &str = r#"[package]
name = "seed"
version = "0.0.0"
edition = "2024"

[profile.release]
panic = "abort"

[workspace]
"#;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn sysroot(cache: &Path, name: &str, compiler: &str) -> PathBuf {
        let folder = cache.join(name);
        fs::create_dir(&folder).unwrap();
        symlink(compiler, folder.join("rustc")).unwrap();
        folder
    }

    #[test]
    fn only_a_whole_and_working_sysroot_is_used() {
        let cache = tempfile::tempdir().unwrap();
        sysroot(cache.path(), "unfinished", "/bin/true");
        let broken = sysroot(cache.path(), "broken", "/bin/false");
        fs::write(broken.join(STAMP), "").unwrap();
        assert_eq!(newest(cache.path()).unwrap(), None);

        let whole = sysroot(cache.path(), "whole", "/bin/true");
        fs::write(whole.join(STAMP), "").unwrap();
        assert_eq!(newest(cache.path()).unwrap(), Some(whole.join("rustc")));
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("nothing")).unwrap();
    }
}
