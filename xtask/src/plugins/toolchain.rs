//! Which compiler the guests get: the active toolchain's, a cached private one, or one that is made now.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::sysroot;
use crate::cargo::{capture, cargo};

/// The guests' target: no WASI, so that a plugin can import only what we offer.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// A compiler and a linker that together turn a crate into a component.
#[derive(Debug)]
pub(super) struct Toolchain {
    compiler: Compiler,
    linker: Linker,
}

#[derive(Debug)]
enum Compiler {
    /// The active toolchain has the target installed.
    Active,
    /// A private compiler whose library was built from source.
    Private(PathBuf),
}

/// `wasm-component-ld`, which links and then writes a component, and the `wasm-ld` that it calls.
#[derive(Debug)]
pub(super) struct Linker {
    pub(super) component_ld: PathBuf,
    /// Folder that must be on the path, unless `wasm-ld` is there already.
    wasm_ld: Option<PathBuf>,
}

/// Finds a way to compile guests, or makes one (once; minutes).
///
/// # Errors
/// If there is none; the message says what is missing and how to get it.
pub(super) fn find() -> Result<Toolchain> {
    let linker = Linker::find()?;
    let compiler = if target_installed() {
        Compiler::Active
    } else {
        Compiler::Private(sysroot::cached_or_built(&linker).context(REMEDY)?)
    };
    Ok(Toolchain { compiler, linker })
}

impl Toolchain {
    /// Cargo, set up to compile guests with this.
    pub(super) fn cargo(&self) -> Command {
        let mut command = guest_cargo(&self.linker);
        if let Compiler::Private(rustc) = &self.compiler {
            command.env("RUSTC", rustc);
        }
        command
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.compiler {
            Compiler::Active => f.write_str("the active toolchain"),
            Compiler::Private(rustc) => write!(f, "{}", rustc.display()),
        }
    }
}

impl Linker {
    /// Looks beside the active compiler, where rustup puts it, then on the path.
    ///
    /// # Errors
    /// If there is none; the message says what is missing and how to get it.
    pub(super) fn find() -> Result<Self> {
        let bundled = bundled_tools().unwrap_or_default();
        let component_ld = executable(&bundled, "wasm-component-ld").or_else(|| on_path("wasm-component-ld"));
        let component_ld = component_ld.context(NO_LINKER)?;
        let wasm_ld = bundled.join("gcc-ld");
        let wasm_ld = executable(&wasm_ld, "wasm-ld").is_some().then_some(wasm_ld);
        if wasm_ld.is_none() && on_path("wasm-ld").is_none() {
            bail!("wasm-ld is missing: rustup's stable toolchain bundles it, so does Debian's package lld");
        }
        Ok(Self { component_ld, wasm_ld })
    }

    /// Has the command find the `wasm-ld` that the linker calls.
    pub(super) fn on_path_of(&self, command: &mut Command) {
        if let Some(folder) = &self.wasm_ld {
            let path = env::var_os("PATH").unwrap_or_default();
            let folders = std::iter::once(folder.clone()).chain(env::split_paths(&path));
            command.env("PATH", env::join_paths(folders).unwrap_or_else(|_| OsString::from(&path)));
        }
    }
}

/// Cargo with the component linker and without settings that are meant for the host.
pub(super) fn guest_cargo(linker: &Linker) -> Command {
    let mut command = cargo();
    for host_only in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_TARGET_DIR",
    ] {
        command.env_remove(host_only);
    }
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &linker.component_ld);
    linker.on_path_of(&mut command);
    command
}

fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn target_installed() -> bool {
    let folder = capture(rustc().args(["--print", "target-libdir", "--target", TARGET])).unwrap_or_default();
    let Ok(files) = std::fs::read_dir(folder.trim()) else {
        return false;
    };
    files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

/// The folder of tools that rustup ships with a compiler.
fn bundled_tools() -> Result<PathBuf> {
    // `target-libdir` is .../rustlib/<host>/lib; the tools are its neighbours.
    let lib = capture(rustc().args(["--print", "target-libdir"]))?;
    let host = Path::new(lib.trim()).parent().context("rustc printed no library folder")?;
    Ok(host.join("bin"))
}

fn executable(folder: &Path, name: &str) -> Option<PathBuf> {
    let file = folder.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    file.is_file().then_some(file)
}

fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find_map(|folder| executable(&folder, name))
}

const NO_LINKER: &str = "wasm-component-ld is missing: rustup's stable toolchain bundles it (the active one is another); \
    or run: cargo install wasm-component-ld";

const REMEDY: &str = "no compiler for wasm32-unknown-unknown. Where rustup can reach its server, this is the short way: \
    rustup target add wasm32-unknown-unknown. Otherwise Debian's rustc-web packages are unpacked privately, which failed";
