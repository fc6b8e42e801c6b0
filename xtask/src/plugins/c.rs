//! Guests in C: bindings for their world, and the compiler over all `.c` files of the folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::clang::Clang;
use super::guest::Guest;
use crate::cargo::{root, run};
use crate::language::WORLD;
use crate::wit::tool;

/// Compiles a guest to a component, and returns it.
///
/// # Errors
/// If its world is not one, or its code does not compile; what is wrong with the code is on the terminal already.
pub(super) fn compile(guest: &Guest, clang: &Clang, target: &Path) -> Result<Vec<u8>> {
    let scratch = guest.scratch(target)?;
    let made = tool(&["bindings".as_ref(), &root().join("wit"), &guest.folder.join(WORLD), &scratch])?;
    let output = scratch.join("component.wasm");
    let mut command = clang.command();
    // Debugging sections have no use in a component that nobody steps through.
    command.args(["-std=c11", "-Wall", "-Wextra", "-Wl,--strip-debug"]);
    command.arg("-I").arg(&scratch).arg("-I").arg(&guest.folder);
    command.args(sources(&guest.folder)?).args(made.lines()).arg("-o").arg(&output);
    run(&mut command)?;
    fs::read(&output).with_context(|| format!("cannot read {}", output.display()))
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        sources.extend(path.extension().is_some_and(|extension| extension == "c").then_some(path));
    }
    sources.sort();
    Ok(sources)
}

/// What a guest's world is called.
pub(super) const PLUGIN: &str = "plugin";
