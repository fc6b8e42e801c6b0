//! What a component was made from, kept beside it: it is made anew when something of that has changed, and only then.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cache::files;
use super::guest::Guest;
use crate::cargo::root;

/// The note about one component.
pub(super) struct Made {
    note: PathBuf,
    from: String,
}

impl Made {
    /// What the guest's component would be made from now: its folder, the contract, and the texts that stand for the tool.
    pub(super) fn from(guest: &Guest, tool: &[&str], target: &Path) -> Result<Self> {
        let note = target.join("guests").join(format!("{}.made", guest.name));
        Ok(Self { note, from: digest(&guest.folder, &root().join("wit"), tool)? })
    }

    /// Whether that is what the last one was made from.
    pub(super) fn is_noted(&self) -> bool {
        fs::read_to_string(&self.note).is_ok_and(|noted| noted == self.from)
    }

    /// Puts a component in its place by `put`, and notes what it was made from; if that is interrupted, nothing is noted.
    pub(super) fn noted(&self, put: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
        if self.note.exists() {
            fs::remove_file(&self.note).with_context(|| format!("cannot remove {}", self.note.display()))?;
        }
        let component = put()?;
        fs::write(&self.note, &self.from).with_context(|| format!("cannot write {}", self.note.display()))?;
        Ok(component)
    }
}

/// A number for names and contents. Another compiler may count otherwise: then components are made once more.
fn digest(guest: &Path, wit: &Path, tool: &[&str]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    tool.hash(&mut hasher);
    for (folder, left_out) in [(guest, "fixtures"), (wit, "released")] {
        let mut inputs = Vec::new();
        for file in files(folder)? {
            let name = file.strip_prefix(folder)?.to_owned();
            if !name.starts_with(left_out) {
                inputs.push((name, fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?));
            }
        }
        inputs.sort();
        inputs.hash(&mut hasher);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    const TOOL: [&str; 2] = ["tool-1", "--flag"];

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        folder
    }

    #[test]
    fn whatever_a_component_is_made_from_counts_and_nothing_else() {
        let folder = written(&[("a/plugin.js", "1"), ("a/more/x.js", "2"), ("wit/hooks.wit", "3")]);
        let (guest, wit) = (folder.path().join("a"), folder.path().join("wit"));
        let now = || digest(&guest, &wit, &TOOL).unwrap();
        let before = now();
        for other in [&["tool-2", "--flag"], &["tool-1", "--no-flag"]] {
            assert_ne!(digest(&guest, &wit, other).unwrap(), before);
        }
        for file in ["a/more/x.js", "wit/hooks.wit"].map(|file| folder.path().join(file)) {
            let text = fs::read(&file).unwrap();
            fs::write(&file, "4").unwrap();
            assert_ne!(now(), before);
            fs::remove_file(&file).unwrap();
            assert_ne!(now(), before, "a file that is gone");
            fs::write(&file, text).unwrap();
            assert_eq!(now(), before, "its time does not count");
        }
        for aside in ["a/fixtures", "wit/released/0.1.0"].map(|aside| folder.path().join(aside)) {
            fs::create_dir_all(&aside).unwrap();
            fs::write(aside.join("x"), "x").unwrap();
        }
        assert_eq!(now(), before, "cases and copies of releases are no part of it");
        fs::rename(guest.join("more/x.js"), guest.join("more/y.js")).unwrap();
        assert_ne!(now(), before, "a file with another name");
    }

    #[test]
    fn what_was_not_put_in_place_is_not_noted() {
        let target = tempfile::tempdir().unwrap();
        let made = |from: &str| Made { note: target.path().join("a.made"), from: from.to_owned() };
        assert!(!made("1").is_noted());
        assert_eq!(made("1").noted(|| Ok("a.wasm".into())).unwrap(), Path::new("a.wasm"));
        assert!(made("1").is_noted() && !made("2").is_noted());
        assert!(made("2").noted(|| bail!("imports too much")).is_err());
        assert!(!made("1").is_noted() && !made("2").is_noted());
    }
}
