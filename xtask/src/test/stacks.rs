//! Stacks of other makes that `tests/tests/system/interop.rs` tries: fetched where we may, left out with a note where not.
//!
//! They lie in `target/stacks` and in `tests/stacks/node_modules`; what is there already is not fetched again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::client;
use super::tools::on_path;
use crate::apt;
use crate::cargo::{capture, root};
use crate::console::note;

/// Some stacks that come from one place.
struct Source {
    names: &'static str,
    provide: fn() -> Result<()>,
}

/// Makes ready what can be had here. Whatever cannot is a note: a registry out of reach is no fault of ours.
pub(super) fn provide() {
    for Source { names, provide } in SOURCES {
        if let Err(error) = provide() {
            note(format!("{names}: not tried as WHIP and WHEP clients: {error:#}"));
        }
    }
}

/// aiortc, unless somebody says by `LOCKGATE_PYTHON` where they have it.
fn from_pypi() -> Result<()> {
    if std::env::var_os("LOCKGATE_PYTHON").is_some() {
        return Ok(());
    }
    let folder = fetched().join("python");
    let mut probe = python(PYTHON);
    probe.env("PYTHONPATH", &folder).arg(stacks().join("aiortc_client.py")).arg("version");
    if capture(&mut probe).is_ok() {
        return Ok(());
    }
    note("fetching aiortc from PyPI (160 MB)");
    let mut install = python(PYTHON);
    install.args(["-m", "pip", "install", "--quiet", "--upgrade", "--require-hashes", "--no-deps", "--target"]);
    install.arg(&folder).arg("--requirement").arg(stacks().join("requirements.txt"));
    capture(&mut install).map(drop).context("it needs Python 3.11 or later with pip, and PyPI")
}

/// werift and @roamhq/wrtc.
fn from_npm() -> Result<()> {
    if !client::fetched(&stacks(), "stacks to try WHIP and WHEP with, from npm (55 MB)") {
        bail!("they need Node.js 20 or newer with npm, and npm's registry");
    }
    Ok(())
}

/// Pion: Debian has its sources, which need no module proxy.
fn pion() -> Result<()> {
    let (source, program) = (stacks().join("go/src/pion_client/main.go"), fetched().join("pion"));
    if client::is_newer(&program, &source) {
        return Ok(());
    }
    if !on_path("go") || !Path::new(DEBIANS_GO).join("src/github.com/pion/webrtc").is_dir() {
        apt::install(&["golang-go", PION])?;
    }
    let version = capture(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", PION]))?;
    note("compiling a client with Pion");
    let mut build = Command::new("go");
    // As Debian builds: imports are found in the search path, by their names and without versions.
    build.env("GO111MODULE", "off").env("GOPATH", format!("{}:{DEBIANS_GO}", stacks().join("go").display()));
    build.env("GOFLAGS", "").env("GOCACHE", fetched().join("go-cache")).args(["build", "-o"]).arg(&program);
    build.args(["-ldflags", &format!("-X main.version={version}"), "pion_client"]);
    capture(&mut build).map(drop)
}

/// GStreamer with its bindings for Python.
fn gstreamer() -> Result<()> {
    let probe = || capture(python(DEBIANS_PYTHON).arg(stacks().join("gstreamer_client.py")).arg("version"));
    if probe().is_ok() {
        return Ok(());
    }
    apt::install(GSTREAMER)?;
    probe().map(drop)
}

/// An interpreter that leaves no compiled files among the sources.
fn python(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    command
}

/// Where the clients are.
fn stacks() -> PathBuf {
    root().join("tests/stacks")
}

/// Where the tests look for what was fetched.
fn fetched() -> PathBuf {
    root().join("target/stacks")
}

const SOURCES: &[Source] = &[
    Source { names: "aiortc", provide: from_pypi },
    Source { names: "werift and @roamhq/wrtc", provide: from_npm },
    Source { names: "Pion", provide: pion },
    Source { names: "GStreamer", provide: gstreamer },
];

const PYTHON: &str = "python3";
/// Debian's bindings are for Debian's Python, whichever else comes first.
const DEBIANS_PYTHON: &str = "/usr/bin/python3";
/// Where Debian has the sources of libraries in Go.
const DEBIANS_GO: &str = "/usr/share/gocode";
const PION: &str = "golang-github-pion-webrtc.v3-dev";
const GSTREAMER: &[&str] = &[
    "python3-gi",
    "gir1.2-gst-plugins-bad-1.0",
    "gstreamer1.0-nice",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_are_where_they_are_looked_for() {
        for name in ["requirements.txt", "package-lock.json", "aiortc_client.py", "gstreamer_client.py"] {
            assert!(stacks().join(name).is_file(), "{name}");
        }
        assert!(stacks().join("go/src/pion_client/main.go").is_file());
    }
}
