//! Debian's package tools: reading the lists, downloading and unpacking without installing, installing as root.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo::{capture, run};
use crate::console::note;

/// Package lists to read: the system's, or private ones where those are empty and we may not fill them.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    private: Option<PathBuf>,
}

impl Lists {
    /// The system's own package lists.
    pub(crate) fn system() -> Self {
        Self::default()
    }

    /// Fetches fresh lists into `folder`, which needs no root and leaves the system's alone.
    pub(crate) fn fetch_into(folder: &Path) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let lists = Self { private: Some(folder.to_path_buf()) };
        note("fetching Debian's package lists (apt-get update, into a private folder)");
        run(lists.command("apt-get").args(["-q", "update"]).stdout(Stdio::null()))?;
        Ok(lists)
    }

    /// The descriptions (`apt-cache show`) of every known version of these packages; empty if there is none.
    pub(crate) fn show(&self, packages: &[&str]) -> String {
        // apt-cache fails when one of the names is unknown: that is an answer too.
        capture(self.command("apt-cache").arg("show").args(packages)).unwrap_or_default()
    }

    /// Downloads packages (`name` or `name=version`) into `folder`, which needs no root.
    pub(crate) fn download(&self, packages: &[String], folder: &Path) -> Result<()> {
        let mut command = self.command("apt-get");
        // As root, apt would like to download as its own user, who may not write here: say that this is fine.
        command.args(["-q", "-o", "APT::Sandbox::User=root", "download"]).args(packages);
        run(command.current_dir(folder).stdout(Stdio::null()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = debian(program);
        if let Some(folder) = &self.private {
            command.args(["-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "APT::Sandbox::User=root"]);
            command.arg("-o").arg(format!("Dir::State::Lists={}", folder.join("state/lists").display()));
            command.arg("-o").arg(format!("Dir::Cache={}", folder.join("cache").display()));
        }
        command
    }
}

/// One entry of `apt-cache show`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) package: &'a str,
    pub(crate) version: &'a str,
    /// Names only: the first of each group of alternatives.
    pub(crate) depends: Vec<&'a str>,
}

/// Splits the output of `apt-cache show` into its entries, in its order (newest first for one package).
pub(crate) fn entries(text: &str) -> Vec<Entry<'_>> {
    text.split("\n\n").filter_map(entry).collect()
}

fn entry(paragraph: &str) -> Option<Entry<'_>> {
    let field =
        |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    let depends = field("Depends").unwrap_or_default().split(',').filter_map(|group| group.split_whitespace().next());
    Some(Entry {
        package: field("Package")?,
        version: field("Version")?,
        depends: depends.map(without_architecture).collect(),
    })
}

fn without_architecture(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// Whether this system has Debian's package tools.
pub(crate) fn present() -> bool {
    debian("apt-cache").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Whether a package is installed on the system.
pub(crate) fn installed(package: &str) -> bool {
    let query = capture(debian("dpkg-query").args(["--show", "--showformat=${db:Status-Status}\\n", package]));
    query.is_ok_and(|status| status.lines().any(|line| line == "installed"))
}

/// `packages` and everything they depend on, as far as it is not installed already.
pub(crate) fn missing_with_dependencies(lists: &Lists, packages: &[String]) -> Vec<String> {
    let mut queue: VecDeque<String> = packages.iter().cloned().collect();
    let mut seen = BTreeSet::new();
    while let Some(package) = queue.pop_front() {
        if installed(&package) || !seen.insert(package.clone()) {
            continue;
        }
        let text = lists.show(&[&package]);
        if let Some(entry) = entries(&text).first() {
            queue.extend(entry.depends.iter().map(ToString::to_string));
        }
    }
    seen.into_iter().collect()
}

/// Unpacks every `.deb` in `folder` under `root`: no scripts run, nothing is installed.
pub(crate) fn unpack(folder: &Path, root: &Path) -> Result<()> {
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(debian("dpkg-deb").arg("--extract").arg(&path).arg(root))?;
        }
    }
    Ok(())
}

/// Installs packages on the system.
///
/// # Errors
/// If we are not root (the message holds the one command to run) or if apt fails.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let command = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !present() {
        bail!("please install these (here by their Debian names) and try again: {}", packages.join(" "));
    }
    if !rustix::process::geteuid().is_root() {
        bail!("please run this and try again: sudo {command}");
    }
    run(debian("apt-get").args(["-q", "update"]).stdout(Stdio::null()))?;
    let mut install = debian("apt-get");
    install.args(["-q", "install", "-y", "--no-install-recommends"]).args(packages);
    run(install.stdout(Stdio::null())).with_context(|| format!("could not install; by hand: {command}"))
}

/// A command of Debian's tools that asks nothing and speaks English.
fn debian(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOW: &str = "Package: rustc-web\nVersion: 1.96.0+dfsg1-1~deb12u2\nDepends: libc6 (>= 2.34), \
        libstd-rust-web-dev (= 1.96.0+dfsg1-1~deb12u2), gcc | clang, python3:any\nDescription: Rust\n Depends: nothing\n\n\
        Package: rustc-web\nVersion: 1.85.0+dfsg3-1~deb12u3\n\n";

    #[test]
    fn entries_are_read_in_order_with_their_dependencies() {
        let entries = entries(SHOW);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].version, "1.96.0+dfsg1-1~deb12u2");
        assert_eq!(entries[0].depends, ["libc6", "libstd-rust-web-dev", "gcc", "python3"]);
        assert_eq!(entries[1].depends, Vec::<&str>::new());
    }

    #[test]
    fn an_empty_answer_has_no_entries() {
        assert!(entries("").is_empty());
        assert!(entries("E: No packages found\n").is_empty());
    }
}
