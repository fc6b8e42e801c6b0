//! The packages we are made of, as `cargo metadata` tells them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::cargo::{capture, cargo};

/// The workspace and everything under it.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Package {
    id: String,
    pub(super) name: String,
    pub(super) version: String,
    /// An SPDX expression, or the older form with slashes.
    pub(super) license: Option<String>,
    pub(super) manifest_path: PathBuf,
    pub(super) dependencies: Vec<Dependency>,
}

/// One line of a package's manifest.
#[derive(Debug, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    kind: Option<String>,
}

impl Dependency {
    /// Linked into what we ship, rather than used for tests or builds only.
    pub(super) fn is_normal(&self) -> bool {
        self.kind.is_none()
    }
}

impl Metadata {
    /// Asks cargo, which fails if Cargo.lock is not up to date.
    pub(super) fn read() -> Result<Self> {
        let text = capture(cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
        Self::parse(&text)
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("cargo metadata has another form than expected")
    }

    /// Our own packages.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }
}
