//! Programs that the system tests use and cargo cannot bring: installed where we may, named exactly where not.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::apt;
use crate::console::note;

/// A program, Debian's package that has it, and what the tests use it for.
struct Tool {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

/// Installs what is missing.
///
/// # Errors
/// If something is missing and cannot be installed; the message holds the one command to run.
pub(super) fn provide() -> Result<()> {
    let missing: Vec<_> = TOOLS.iter().filter(|tool| !on_path(tool.program)).collect();
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

/// Packages of one program stand together.
const TOOLS: &[Tool] = &[
    Tool { program: "chromium", package: "chromium", purpose: "the browser in the calls" },
    Tool { program: "node", package: "nodejs", purpose: "drives the browser, through playwright-core" },
    Tool { program: "npm", package: "npm", purpose: "fetches playwright-core" },
    Tool { program: "ffmpeg", package: "ffmpeg", purpose: "makes test clips and decodes recordings" },
    Tool { program: "ffprobe", package: "ffmpeg", purpose: "counts the frames of recordings" },
    Tool { program: "mkvmerge", package: "mkvtoolnix", purpose: "a second opinion on recorded files" },
    Tool { program: "ip", package: "iproute2", purpose: "gives a test a network of its own" },
    Tool { program: "nft", package: "nftables", purpose: "loses packets in that network" },
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
        let mut packages: Vec<_> = TOOLS.iter().map(|tool| tool.package).collect();
        packages.dedup();
        let mut sorted = packages.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(packages.len(), sorted.len());
    }
}
