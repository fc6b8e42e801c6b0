//! Whether a contract still is what plugins were built against that exist already.
//!
//! Each released version has a copy in `released/`, which is never changed. What a component knows of an interface is in its
//! binary, so under a version that was released nothing may change but by new interfaces and worlds.

mod changes;
mod surface;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use self::surface::Surface;

/// Compares the package in a folder with its last release, and returns what is to be said of it.
///
/// # Errors
/// If something was changed that plugins rely on; the message names each item, what changed, and the remedy.
pub fn compare(folder: &Path) -> Result<String> {
    let now = Surface::read(folder)?;
    let mut releases = Vec::new();
    for entry in fs::read_dir(folder.join("released")).context("wit/released: the copies of released versions")? {
        let path = entry?.path();
        let release = Surface::read(&path)?;
        if path.file_name().is_none_or(|name| *name != *release.version.to_string()) {
            bail!("{}: it holds version {}: a copy lies in the folder of its version", path.display(), release.version);
        }
        releases.push(release);
    }
    let Some(last) = releases.into_iter().max_by(|a, b| a.version.cmp(&b.version)) else {
        bail!("wit/released is empty: a plugin that is built against a version needs its copy there");
    };
    if now.version < last.version {
        bail!("wit/ is version {}, older than {}, which was released", now.version, last.version);
    }
    if now.version > last.version {
        return Ok(format!("version {} is new; the last one that was released is {}", now.version, last.version));
    }
    let broken = changes::between(&last, &now);
    if !broken.is_empty() {
        bail!("{}", refusal(&broken, &last));
    }
    Ok(format!("version {} is as it was released, in {} interfaces and worlds", last.version, last.scopes()))
}

fn refusal(broken: &[String], last: &Surface) -> String {
    format!(
        "wit/ is not what was released as version {version}:\n  {}\nPlugins that are built against {version} would break. Put it back; \
         or add a new interface or world beside it; or write another version behind `package` in each file of wit/, and give the \
         host a module for it (docs/decisions/0022-contract-over-time.md)",
        broken.join("\n  "),
        version = last.version,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, version: &str, items: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("all.wit"), format!("package lockgate:policy@{version};\n{items}")).unwrap();
    }

    /// A package of this version beside releases.
    fn compared(version: &str, items: &str, releases: &[(&str, &str)]) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), version, items);
        fs::create_dir(folder.path().join("released")).unwrap();
        for (name, version) in releases {
            written(&folder.path().join("released").join(name), version, ONE);
        }
        compare(folder.path())
    }

    const ONE: &str = "interface one { f: func(); }";
    const OTHER: &str = "interface one { f: func(x: u8); }";

    #[test]
    fn this_contract_is_as_it_was_released() {
        compare(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit"))).unwrap();
    }

    #[test]
    fn a_changed_item_is_refused_with_a_remedy_unless_the_version_is_new() {
        let error = compared("0.1.0", OTHER, &[("0.1.0", "0.1.0")]).unwrap_err().to_string();
        for part in
            ["released as version 0.1.0", "interface one: function f was ", "Put it back; or add a new interface"]
        {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert_eq!(
            compared("0.2.0", OTHER, &[("0.1.0", "0.1.0")]).unwrap(),
            "version 0.2.0 is new; the last one that was released is 0.1.0"
        );
        assert!(compared("0.1.0", ONE, &[("0.1.0", "0.1.0")]).unwrap().contains("as it was released, in 1"));
    }

    #[test]
    fn the_last_release_is_the_newest_by_number() {
        let releases = [("0.9.0", "0.9.0"), ("0.10.0", "0.10.0")];
        assert!(compared("0.9.0", ONE, &releases).unwrap_err().to_string().contains("older than 0.10.0"));
        assert!(compared("0.10.0", ONE, &releases).is_ok());
    }

    #[test]
    fn a_copy_in_the_wrong_folder_or_none_at_all_is_told() {
        assert!(
            compared("0.1.0", ONE, &[("0.2.0", "0.1.0")]).unwrap_err().to_string().contains("it holds version 0.1.0")
        );
        assert!(compared("0.1.0", ONE, &[]).unwrap_err().to_string().contains("wit/released is empty"));
    }
}
