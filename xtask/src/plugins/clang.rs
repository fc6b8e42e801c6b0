//! A C compiler for guests: the WASI SDK, the installed clang if it can, or Debian's, unpacked once into the cache.

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache::{Kind, remove};
use super::toolchain::Linker;
use crate::apt::{self, Lists};
use crate::cargo::capture;
use crate::console::{heading, note};

/// A compiler and the linker that writes a component.
pub(super) struct Clang {
    program: PathBuf,
    sysroot: Option<PathBuf>,
    linker: Linker,
}

impl Clang {
    /// Finds one, or makes one (once; some seconds).
    ///
    /// # Errors
    /// If there is none; the message says what is missing and how to get it.
    pub(super) fn find(scratch: &Path) -> Result<Self> {
        let linker = Linker::find()?;
        if let Some(sdk) = env::var_os("WASI_SDK_PATH").map(PathBuf::from) {
            let sysroot = Some(sdk.join("share/wasi-sysroot"));
            return Ok(Self { program: sdk.join("bin/clang"), sysroot, linker });
        }
        let installed = Self { program: "clang".into(), sysroot: None, linker };
        if installed.can_build(scratch) {
            return Ok(installed);
        }
        let program = CLANG.kept_or_made(unpack).context(REMEDY)?;
        let sysroot = program.parent().map(|folder| folder.join("root/usr"));
        Ok(Self { program, sysroot, linker: installed.linker })
    }

    /// The compiler, set up so that what it links is a component without a `main`.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // The target's name of before 2024, which newer compilers warn of: Debian's library has no other.
        command.args(["--target=wasm32-wasi", "-Wno-deprecated", "-mexec-model=reactor", "-Os"]);
        if let Some(sysroot) = &self.sysroot {
            command.arg(format!("--sysroot={}", sysroot.display()));
        }
        command.arg(format!("-fuse-ld={}", self.linker.component_ld.display()));
        self.linker.on_path_of(&mut command);
        command
    }

    /// Whether it has the target, its headers and its library.
    fn can_build(&self, scratch: &Path) -> bool {
        let (source, output) = (scratch.join("probe.c"), scratch.join("probe.wasm"));
        let written = fs::write(&source, "#include <stdlib.h>\nvoid *probe(void) { return malloc(1); }\n");
        written.is_ok() && capture(self.command().arg(&source).arg("-o").arg(&output)).is_ok()
    }
}

impl fmt::Display for Clang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())
    }
}

/// Fills the folder with Debian's newest clang. Returns the name to keep it under and what it was made from.
fn unpack(folder: &Path) -> Result<(String, String)> {
    if !apt::present() {
        bail!("this system has no apt");
    }
    heading("plugins: unpacking a C compiler for wasm32, once (45 MB to download)");
    let (release, lists) = find(&folder.join("apt"))?;
    let debs = folder.join("debs");
    fs::create_dir_all(&debs)?;
    let mut packages = vec![
        format!("clang-{release}"),
        format!("libclang-common-{release}-dev"),
        format!("libclang-rt-{release}-dev-wasm32"),
        "wasi-libc".to_owned(),
    ];
    packages.extend(shared_libraries(&lists, release));
    note(format!("downloading {}", packages.join(" ")));
    lists.download(&packages, &debs)?;
    let root = folder.join("root");
    apt::unpack(&debs, &root)?;
    for scaffold in ["apt", "debs", "root/usr/share"] {
        remove(&folder.join(scaffold))?;
    }
    let version = capture(Command::new(wrapper(folder, release)?).arg("--version"))?;
    Ok((format!("wasm-clang-{release}"), version))
}

/// The newest release of clang that has a library for wasm32, and the lists that it is in.
fn find(scratch: &Path) -> Result<(u32, Lists)> {
    let names: Vec<_> = RELEASES.map(|release| format!("libclang-rt-{release}-dev-wasm32")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let lists = Lists::system();
    if let Some(release) = newest(&lists.show(&names)) {
        return Ok((release, lists));
    }
    let lists = Lists::fetch_into(scratch)?;
    let release = newest(&lists.show(&names)).context("Debian's package lists have no libclang-rt-…-dev-wasm32")?;
    Ok((release, lists))
}

fn newest(show: &str) -> Option<u32> {
    let release = |package: &str| package.strip_prefix("libclang-rt-")?.strip_suffix("-dev-wasm32")?.parse().ok();
    apt::entries(show).iter().filter_map(|entry| release(entry.package)).max()
}

/// What clang is linked to that this system has not installed. The headers for its own system, which it wants too, are not needed.
fn shared_libraries(lists: &Lists, release: u32) -> BTreeSet<String> {
    let text = lists.show(&[&format!("clang-{release}")]);
    let is_own = |name: &&str| name.starts_with("libclang-cpp") || name.starts_with("libllvm");
    let own: Vec<_> = apt::entries(&text)
        .iter()
        .flat_map(|entry| &entry.depends)
        .copied()
        .filter(is_own)
        .map(str::to_owned)
        .collect();
    apt::missing_with_dependencies(lists, &own).into_iter().collect()
}

/// Writes a script beside `root` that calls the compiler in it with its own shared libraries.
fn wrapper(folder: &Path, release: u32) -> Result<PathBuf> {
    let file = folder.join(CLANG.program);
    fs::write(&file, WRAPPER.replace("@RELEASE@", &release.to_string()))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(file)
}

const CLANG: Kind = Kind { partial: "partial-clang", stamp: "lockgate-clang-1", program: "clang", probe: "--version" };

/// Releases that may be there: WASI came to Debian with the first.
const RELEASES: std::ops::RangeInclusive<u32> = 14..=30;

const WRAPPER: &str = r#"#!/bin/sh
# Debian's clang out of its private folder, with its private shared libraries.
usr=$(dirname "$(readlink -f "$0")")/root/usr
for libraries in "$usr"/lib/*-linux-gnu; do break; done
LD_LIBRARY_PATH="$libraries:$usr/lib/llvm-@RELEASE@/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
    exec "$usr/lib/llvm-@RELEASE@/bin/clang" "$@"
"#;

const REMEDY: &str = "no C compiler for wasm32-wasi. Where the WASI SDK is, name its folder in WASI_SDK_PATH; or install clang, \
    its builtins for wasm32 and wasi-libc. Otherwise Debian's packages are unpacked privately, which failed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_wins_as_a_number() {
        let show = "Package: libclang-rt-9-dev-wasm32\nVersion: 1\n\nPackage: libclang-rt-19-dev-wasm32\nVersion: 1\n\n\
            Package: libclang-rt-21-dev-wasm64\nVersion: 1\n\n";
        assert_eq!(newest(show), Some(19));
        assert_eq!(newest(""), None);
    }
}
