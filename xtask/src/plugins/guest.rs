//! Guests that cargo does not know: those of `plugins/c`, `plugins/javascript` and `plugins/python`, each a folder with a world.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::cache::remove;
use crate::cargo::root;
use crate::language::{Language, WORLD};

/// One folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Guest {
    /// Of the folder, and of the component.
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) language: Language,
}

impl Guest {
    /// Those in `plugins`, by language and name.
    ///
    /// # Errors
    /// If one lacks a file that it must have, or has another one's name.
    pub(super) fn all(plugins: &Path) -> Result<Vec<Self>> {
        let mut guests: Vec<Self> = Vec::new();
        for &language in Language::value_variants() {
            let Some(Ok(entries)) = language.folder().map(|folder| fs::read_dir(plugins.join(folder))) else {
                continue;
            };
            let mut folders = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
            folders.sort();
            for folder in folders.into_iter().filter(|folder| folder.is_dir()) {
                let guest = Self::of(folder, language)?;
                if guests.iter().any(|other| other.name == guest.name) || plugins.join(&guest.name).is_dir() {
                    bail!("two plugins are called {}: rename one, as both would be dist/{0}.wasm", guest.name);
                }
                guests.push(guest);
            }
        }
        Ok(guests)
    }

    fn of(folder: PathBuf, language: Language) -> Result<Self> {
        let name = folder.file_name().and_then(|name| name.to_str()).context("a plugin's folder has a plain name")?;
        for (file, what) in [(language.main(), "it begins there"), (WORLD, "say there what it imports and exports")] {
            if !folder.join(file).is_file() {
                let kit = language.place(&format!("kit-{}", language.name()));
                bail!("plugins/{} has no {file}: {what}, as in plugins/{kit}", language.place(name));
            }
        }
        Ok(Self { name: name.to_owned(), folder, language })
    }

    /// The guest's own folder for what is made on the way, empty.
    pub(super) fn scratch(&self, target: &Path) -> Result<PathBuf> {
        let scratch = target.join("guests").join(&self.name);
        remove(&scratch)?;
        fs::create_dir_all(&scratch)?;
        Ok(scratch)
    }

    /// A WIT package as component tools want it, in the folder: the guest's world, and the contract in `deps`.
    pub(super) fn wit_into(&self, folder: &Path) -> Result<()> {
        let contract = folder.join("deps/lockgate-policy");
        fs::create_dir_all(&contract)?;
        fs::copy(self.folder.join(WORLD), folder.join(WORLD))?;
        for entry in fs::read_dir(root().join("wit"))? {
            let path = entry?.path();
            if let (Some(name), true) = (path.file_name(), path.is_file()) {
                fs::copy(&path, contract.join(name))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[&str]) -> tempfile::TempDir {
        let plugins = tempfile::tempdir().unwrap();
        for file in files {
            let file = plugins.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        plugins
    }

    fn refused(files: &[&str]) -> String {
        Guest::all(written(files).path()).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_is_a_guest_in_the_language_of_its_place() {
        let files = [
            "python/b/plugin.py",
            "python/b/world.wit",
            "c/a/plugin.c",
            "c/a/world.wit",
            "r/Cargo.toml",
            "c/README.md",
        ];
        let plugins = written(&files);
        let found = Guest::all(plugins.path()).unwrap();
        let found: Vec<_> = found.iter().map(|guest| (guest.name.as_str(), guest.language)).collect();
        assert_eq!(found, [("a", Language::C), ("b", Language::Python)]);
    }

    #[test]
    fn what_is_missing_or_there_twice_is_told() {
        assert!(refused(&["c/a/plugin.c"]).contains("plugins/c/a has no world.wit: say there"));
        assert!(refused(&["c/a/plugin.js", "c/a/world.wit"]).contains("plugins/c/a has no plugin.c"));
        let two = ["c/a/plugin.c", "c/a/world.wit", "python/a/plugin.py", "python/a/world.wit"];
        assert!(refused(&two).contains("two plugins are called a"));
        assert!(refused(&["c/a/plugin.c", "c/a/world.wit", "a/Cargo.toml"]).contains("two plugins are called a"));
    }
}
