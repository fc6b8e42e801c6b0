//! A private Rust compiler with a standard library for the guests' target, built from source once and kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::cache::{Kind, remove};
use super::debian::Release;
use super::toolchain::{Linker, TARGET, guest_cargo};
use crate::cargo::{capture, run};
use crate::console::{brief, heading, note};

/// The compiler of the newest whole sysroot in the cache; without one, it is built first.
pub(super) fn cached_or_built(linker: &Linker) -> Result<PathBuf> {
    SYSROOT.kept_or_made(|folder| build(folder, linker))
}

/// Fills the folder. Returns the name to keep it under and what it was made from.
fn build(folder: &Path, linker: &Linker) -> Result<(String, String)> {
    let started = Instant::now();
    heading("plugins: making a compiler for wasm32-unknown-unknown, once (a few minutes, 0.6 GB)");
    note("the active toolchain has no such target; Debian's compiler is unpacked and its library built from source");
    require_linker()?;
    let (release, lists) = Release::find(&folder.join("apt"))?;
    let rustc = release.unpack(&lists, folder)?;
    let described = capture(Command::new(&rustc).arg("-vV")).context("the unpacked compiler does not run")?;
    library(folder, &rustc, linker)?;
    for scaffold in ["apt", "seed", "root/usr/src", "root/usr/share"] {
        remove(&folder.join(scaffold))?;
    }
    note(format!("made in {}", brief(started.elapsed())));
    Ok((format!("wasm-sysroot-{}", release.version), format!("Debian {}\n{described}", release.version)))
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

const SYSROOT: Kind = Kind { partial: "partial", stamp: "lockgate-1", program: "rustc", probe: "-vV" };

const SEED: &str = r#"[package]
name = "seed"
version = "0.0.0"
edition = "2024"

[profile.release]
panic = "abort"

[workspace]
"#;
