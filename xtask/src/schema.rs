//! `cargo xtask schema`: whether the schema of `/ws` in `docs/schema/` is what the types say, and lets clients of earlier releases go on.

mod alternatives;
mod changes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo::root;
use crate::cli::SchemaOptions;
use crate::console::{failure, note};

/// Runs the command.
pub(crate) fn schema(options: &SchemaOptions) -> Result<ExitCode> {
    if options.write {
        let file = current();
        fs::write(&file, lockgate_model::schema::dialect_text()).with_context(|| file.display().to_string())?;
        note(format!("{} is what the types say", file.display()));
    }
    check().map(|()| ExitCode::SUCCESS)
}

/// Compares the types with the file, and both with what was released.
///
/// # Errors
/// If the file says something else than the types, or if something was changed that clients rely on; the message names it and the remedy.
pub(crate) fn check() -> Result<()> {
    let types = lockgate_model::schema::dialect();
    if read(&current())? != types {
        bail!(
            "docs/schema/ws.json is not what the types say; run `cargo xtask schema --write`, and look at the difference"
        );
    }
    let mut compared = 0;
    let mut broken = 0;
    for file in released()? {
        for change in changes::breaking(&read(&file)?, &types) {
            failure(format!("{}: {change}", file.display()));
            broken += 1;
        }
        compared += 1;
    }
    if broken > 0 {
        bail!(
            "{broken} changes would break clients of earlier releases; add something beside it instead (docs/signalling.md, \"The schema\")"
        );
    }
    if compared == 0 {
        bail!("docs/schema/released has no schema to compare with");
    }
    note(format!("{compared} released schemas compared"));
    Ok(())
}

fn folder() -> PathBuf {
    root().join("docs/schema")
}

fn current() -> PathBuf {
    folder().join("ws.json")
}

/// What was said at each release, `docs/schema/released/<version>/ws.json`.
fn released() -> Result<Vec<PathBuf>> {
    let folder = folder().join("released");
    let versions = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files = Vec::new();
    for version in versions {
        files.push(version?.path().join("ws.json"));
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("{}: cannot be read", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: no JSON", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_documentation_is_that_of_the_types() {
        check().unwrap();
    }
}
