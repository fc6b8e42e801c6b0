//! Debian's own Rust compiler, found in the package lists and unpacked (not installed) into a folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt::{self, Entry, Lists};
use crate::console::note;

/// A release of the compiler as the package lists have it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Release {
    /// Debian's version, the same for all its packages.
    pub(super) version: String,
    /// The compiler's libraries, whose package name carries the Rust version.
    libraries: String,
}

impl Release {
    /// The newest release that can compile the guests, and the lists that it is in.
    ///
    /// `scratch` takes fresh package lists if the system's know of none.
    pub(super) fn find(scratch: &Path) -> Result<(Self, Lists)> {
        if !apt::present() {
            bail!("this system has no apt");
        }
        let lists = Lists::system();
        if let Some(release) = newest(&lists.show(PACKAGES)) {
            return Ok((release, lists));
        }
        let lists = Lists::fetch_into(scratch)?;
        let release = newest(&lists.show(PACKAGES))
            .with_context(|| format!("Debian's package lists have no rustc-web from {}.{} on", OLDEST.0, OLDEST.1))?;
        Ok((release, lists))
    }

    /// Downloads the compiler, its library's source and what it needs to run, and unpacks all under `folder/root`.
    /// Returns the compiler to call.
    pub(super) fn unpack(&self, lists: &Lists, folder: &Path) -> Result<PathBuf> {
        let debs = folder.join("debs");
        fs::create_dir_all(&debs)?;
        let mut packages: Vec<_> = ["rustc-web", "libstd-rust-web-dev", "rust-web-src", &self.libraries]
            .map(|name| format!("{name}={}", self.version))
            .into();
        packages.extend(self.shared_libraries(lists));
        note(format!("downloading {} (about 140 MB)", packages.join(" ")));
        lists.download(&packages, &debs)?;
        note("unpacking");
        let root = folder.join("root");
        apt::unpack(&debs, &root)?;
        fs::remove_dir_all(&debs)?;
        wrapper(folder)
    }

    /// LLVM and whatever else the compiler is linked to that this system has not installed.
    fn shared_libraries(&self, lists: &Lists) -> Vec<String> {
        let text = lists.show(&[&format!("{}={}", self.libraries, self.version)]);
        let needed = apt::entries(&text).into_iter().flat_map(|entry| entry.depends).map(str::to_string);
        apt::missing_with_dependencies(lists, &needed.collect::<Vec<_>>())
    }
}

/// Writes a script beside `root` that calls the compiler in it with its own shared libraries.
fn wrapper(folder: &Path) -> Result<PathBuf> {
    let libraries = fs::read_dir(folder.join("root/usr/lib"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let libraries =
        libraries.into_iter().find(|name| name.contains("-linux-gnu")).context("no shared libraries were unpacked")?;
    let script = WRAPPER.replace("@LIBRARIES@", &libraries);
    let file = folder.join("rustc");
    fs::write(&file, script)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(file)
}

/// The newest release in the output of `apt-cache show` that is complete and new enough.
fn newest(show: &str) -> Option<Release> {
    let entries = apt::entries(show);
    let compilers = entries.iter().filter(|entry| entry.package == "rustc-web");
    let usable = compilers.filter_map(|compiler| {
        let rust = rust_version(compiler.version)?;
        let libraries = libraries_of(&entries, compiler.version)?;
        (rust >= OLDEST).then(|| (rust, Release { version: compiler.version.into(), libraries: libraries.into() }))
    });
    // On a tie the first wins: apt lists the newer packaging first.
    usable.rev().max_by_key(|(rust, _)| *rust).map(|(_, release)| release)
}

fn libraries_of<'a>(entries: &[Entry<'a>], version: &str) -> Option<&'a str> {
    let library = entries.iter().find(|entry| entry.package == "libstd-rust-web-dev" && entry.version == version)?;
    library.depends.iter().copied().find(|name| name.starts_with("libstd-rust-web-"))
}

/// Major and minor version of the compiler in a Debian version, e.g. `1.96.0+dfsg1-1~deb12u2`.
fn rust_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '+', '~', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The oldest compiler for edition 2024 and wit-bindgen, as `rust-version` in plugins/Cargo.toml says.
const OLDEST: (u32, u32) = (1, 85);

const PACKAGES: &[&str] = &["rustc-web", "libstd-rust-web-dev"];

const WRAPPER: &str = r#"#!/bin/sh
# Debian's compiler out of its private folder, with its private shared libraries.
usr=$(dirname "$(readlink -f "$0")")/root/usr
LD_LIBRARY_PATH="$usr/lib/@LIBRARIES@${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$usr/bin/rustc" "$@"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(package: &str, version: &str, depends: &str) -> String {
        format!("Package: {package}\nVersion: {version}\nDepends: {depends}\n\n")
    }

    fn release(version: &str, libraries: &str) -> String {
        entry("rustc-web", version, &format!("libc6, libstd-rust-web-dev (= {version})"))
            + &entry("libstd-rust-web-dev", version, &format!("{libraries} (= {version})"))
    }

    #[test]
    fn the_newest_release_wins_whatever_the_order() {
        let old = release("1.85.0+dfsg3-1~deb12u3", "libstd-rust-web-1.85");
        let new = release("1.96.0+dfsg1-1~deb12u2", "libstd-rust-web-1.96");
        for lists in [format!("{old}{new}"), format!("{new}{old}")] {
            let found = newest(&lists).unwrap();
            assert_eq!(found.version, "1.96.0+dfsg1-1~deb12u2");
            assert_eq!(found.libraries, "libstd-rust-web-1.96");
        }
    }

    #[test]
    fn of_two_packagings_of_one_compiler_the_first_listed_wins() {
        let lists = release("1.96.0+dfsg1-1~deb12u2", "libstd-rust-web-1.96")
            + &release("1.96.0+dfsg1-1~deb12u1", "libstd-rust-web-1.96");
        assert_eq!(newest(&lists).unwrap().version, "1.96.0+dfsg1-1~deb12u2");
    }

    #[test]
    fn versions_compare_as_numbers() {
        let lists =
            release("1.100.0+dfsg1-1", "libstd-rust-web-1.100") + &release("1.96.0+dfsg1-1", "libstd-rust-web-1.96");
        assert_eq!(newest(&lists).unwrap().libraries, "libstd-rust-web-1.100");
    }

    #[test]
    fn a_compiler_that_is_too_old_or_has_no_libraries_is_passed_over() {
        assert_eq!(newest(&release("1.63.0+dfsg1-2", "libstd-rust-web-1.63")), None);
        assert_eq!(newest(&entry("rustc-web", "1.96.0+dfsg1-1", "libc6")), None);
        assert_eq!(newest(""), None);
    }
}
