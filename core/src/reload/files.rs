//! The files that plugins and their configuration are read from, and whether one of them is another one than before.
//!
//! They are looked at by name, each second. That costs a microsecond a file, and works where notices of the system do not: on network
//! file systems, across mounts, and when a whole folder is replaced by another one behind a link.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lockgate_policy::signature_file;

use crate::config::{Config, KeySource};

/// Files that are looked after.
#[derive(Debug)]
pub(crate) struct Files {
    /// As they were when they were read.
    read: BTreeMap<PathBuf, Stamp>,
    /// As they were at the last look.
    seen: BTreeMap<PathBuf, Stamp>,
}

/// What of a file changes when it is written, or replaced by another one. None: there is no such file.
type Stamp = Option<[i64; 7]>;

impl Files {
    /// Those of a configuration, as they are now.
    pub(crate) fn of(config: &Config) -> Self {
        let read: BTreeMap<_, _> = named(config).into_iter().map(|file| (file.clone(), stamp(&file))).collect();
        Self { seen: read.clone(), read }
    }

    /// Those of another configuration. Those of this one are taken for read when this was made, the others now.
    pub(super) fn and_those_of(self, config: &Config) -> Self {
        let known = |file: &PathBuf| self.read.get(file).copied();
        let read: BTreeMap<_, _> = named(config)
            .into_iter()
            .map(|file| (file.clone(), known(&file).unwrap_or_else(|| stamp(&file))))
            .collect();
        Self { seen: read.clone(), read }
    }

    /// The first file that is not as it was when it was read. Whatever is being written, is not told until it is the same at two looks.
    pub(super) fn look(&mut self) -> Option<PathBuf> {
        let now: BTreeMap<_, _> = self.read.keys().map(|file| (file.clone(), stamp(file))).collect();
        let rests = now == self.seen;
        self.seen = now;
        if !rests {
            return None;
        }
        let changed = self.seen.iter().find(|(file, stamp)| self.read.get(*file) != Some(*stamp))?.0.clone();
        // Told once: what is wrong with it now is wrong until it changes again.
        self.read.clone_from(&self.seen);
        Some(changed)
    }
}

/// The configuration, plugins, their signatures and the keys for both.
fn named(config: &Config) -> Vec<PathBuf> {
    let mut files = vec![config.file.clone()];
    for plugin in &config.plugins {
        files.push(plugin.file.clone());
        if !config.policy.trusted_keys.is_empty() {
            files.push(signature_file(&plugin.file));
        }
    }
    files.extend(config.policy.trusted_keys.iter().cloned());
    if let Some(KeySource::PublicKey(file) | KeySource::Jwks(file)) = &config.auth.key {
        files.push(file.clone());
    }
    files
}

fn stamp(file: &Path) -> Stamp {
    let of = fs::metadata(file).ok()?;
    // A device or inode is a name, and stays one when its bits are read as another number.
    let (device, inode, size) = (of.dev().cast_signed(), of.ino().cast_signed(), of.size().cast_signed());
    Some([device, inode, size, of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()])
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let file = self.0.path().join(name);
            fs::write(&file, text).unwrap();
            file
        }

        fn config(&self, text: &str) -> Config {
            let file = self.write("config.toml", &format!("[dev]\nenabled = true\n{text}"));
            Config::load(&file).unwrap()
        }

        fn one_plugin(&self) -> Config {
            self.config("[[plugin]]\nname = \"a\"\nfile = \"a.wasm\"\n")
        }
    }

    #[test]
    fn a_file_that_changes_is_told_once_when_it_rests() {
        let folder = Folder::new();
        let plugin = folder.write("a.wasm", "one");
        let mut files = Files::of(&folder.one_plugin());
        assert_eq!(files.look(), None);
        folder.write("a.wasm", "half of tw");
        assert_eq!(files.look(), None, "it may not be whole");
        folder.write("a.wasm", "the whole of two");
        assert_eq!(files.look(), None, "it was not");
        assert_eq!(files.look(), Some(plugin));
        assert_eq!(files.look(), None);
    }

    #[test]
    fn a_file_that_takes_the_place_of_another_or_goes_is_another_one() {
        let folder = Folder::new();
        let plugin = folder.write("a.wasm", "one");
        let mut files = Files::of(&folder.one_plugin());
        let next = folder.write("b.wasm", "two");
        fs::rename(next, &plugin).unwrap();
        assert_eq!((files.look(), files.look()), (None, Some(plugin.clone())));
        fs::remove_file(&plugin).unwrap();
        assert_eq!((files.look(), files.look()), (None, Some(plugin.clone())));
        folder.write("a.wasm", "two");
        assert_eq!((files.look(), files.look()), (None, Some(plugin)));
    }

    #[test]
    fn what_changes_while_it_is_read_is_told_afterwards() {
        let folder = Folder::new();
        let plugin = folder.write("a.wasm", "one");
        let before = Files::of(&folder.one_plugin());
        folder.write("a.wasm", "another one");
        let other =
            folder.config("[[plugin]]\nname = \"a\"\nfile = \"a.wasm\"\n[[plugin]]\nname = \"b\"\nfile = \"b.wasm\"\n");
        let mut files = before.and_those_of(&other);
        assert_eq!((files.look(), files.look()), (None, Some(folder.0.path().join("a.wasm"))));
        let added = folder.write("b.wasm", "one");
        assert_eq!((files.look(), files.look()), (None, Some(added)));
        drop(plugin);
    }

    #[test]
    fn signatures_and_keys_are_looked_after_where_there_are_any() {
        let folder = Folder::new();
        let text = "[auth]\njwks_file = \"keys.json\"\n[policy]\ntrusted_keys = [\"k.pem\"]\n[[plugin]]\nname = \"a\"\nfile = \"a\"\n";
        let named = named(&folder.config(text));
        let names: Vec<_> = named.iter().filter_map(|file| file.file_name()?.to_str()).collect();
        assert_eq!(names, ["config.toml", "a", "a.sig", "k.pem", "keys.json"]);
    }
}
