//! Programs that the tests use and cargo cannot bring: installed where we may, named exactly where not.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::console::note;

/// A program, Debian's package that has it, and what the tests use it for.
struct Tool {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

/// What the unit tests use.
pub(super) fn for_unit_tests() -> Result<()> {
    provide(MEDIA.iter())
}

/// What the system tests use.
///
/// # Errors
/// If something is missing, or the system gives us no networks of our own; the message says what to do.
pub(super) fn for_system_tests() -> Result<()> {
    provide(BROWSER.iter().chain(NETWORK).chain(MEDIA))?;
    own_network()
}

/// Tries once what tests on bad networks do: each of them would fail alike.
fn own_network() -> Result<()> {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let output = unshare.args(["--net", "true"]).output().context("cannot start unshare")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("no network namespace for the tests: {}; {REMEDY}", String::from_utf8_lossy(&output.stderr).trim());
}

/// Installs what is missing.
///
/// # Errors
/// If something is missing and cannot be installed; the message holds the one command to run.
fn provide<'a>(tools: impl Iterator<Item = &'a Tool>) -> Result<()> {
    let missing: Vec<_> = tools.filter(|tool| !on_path(tool.program)).collect();
    for tool in &missing {
        note(format!("{} is missing: {} (Debian package {})", tool.program, tool.purpose, tool.package));
    }
    let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    if packages.is_empty() { Ok(()) } else { apt::install(&packages) }
}

/// Whether a program can be called. Administrators' folders count: they are not on everybody's path.
pub(super) fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.into_iter().any(|folder: PathBuf| is_program(&folder.join(program)))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

const REMEDY: &str = "in a container, give it the capability SYS_ADMIN; as a user, set kernel.unprivileged_userns_clone=1 or \
    kernel.apparmor_restrict_unprivileged_userns=0 (whichever `sysctl` has), or run the tests as root";

const BROWSER: &[Tool] = &[
    Tool { program: "chromium", package: "chromium", purpose: "the browser in the calls" },
    Tool {
        program: "turnserver",
        package: "coturn",
        purpose: "relays a call that gets no UDP through; the package starts a service too",
    },
];

/// What makes bad networks, in namespaces of their own.
const NETWORK: &[Tool] = &[
    Tool { program: "unshare", package: "util-linux", purpose: "a network of a test's own" },
    Tool { program: "setpriv", package: "util-linux", purpose: "ends what a test has started with it" },
    Tool { program: "tc", package: "iproute2", purpose: "limits rates" },
    Tool { program: "nft", package: "nftables", purpose: "loses packets" },
];

/// Programs of one package stand together.
const MEDIA: &[Tool] = &[
    Tool { program: "ffmpeg", package: "ffmpeg", purpose: "makes test clips and decodes recordings" },
    Tool { program: "ffprobe", package: "ffmpeg", purpose: "counts the frames of recordings" },
    Tool { program: "mkvmerge", package: "mkvtoolnix", purpose: "a second opinion on recorded files" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_and_an_invented_one_is_not() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program-here"));
    }

    #[test]
    fn tools_of_one_package_stand_together() {
        let mut packages: Vec<_> = BROWSER.iter().chain(NETWORK).chain(MEDIA).map(|tool| tool.package).collect();
        packages.dedup();
        let mut sorted = packages.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(packages.len(), sorted.len());
    }
}
