//! What is made once and kept in the user's cache folder: a compiler, a folder of packages.
//!
//! Such a folder appears under its final name only when it is whole, so an interrupted build leaves nothing to trip over.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo::capture;

/// A kind of thing that is kept.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// Where it is while it is being made.
    pub(super) partial: &'static str,
    /// Says that it is whole, and from what it was made. A new name here retires all that were made before.
    pub(super) stamp: &'static str,
    /// The program in it, by its path.
    pub(super) program: &'static str,
    /// What makes the program do nothing but run.
    pub(super) probe: &'static str,
}

impl Kind {
    /// The program of the newest whole one in the cache; without one, `make` makes it.
    ///
    /// `make` fills the folder that it is given, and returns the name under which it is kept and the stamp's text.
    pub(super) fn kept_or_made(self, make: impl FnOnce(&Path) -> Result<(String, String)>) -> Result<PathBuf> {
        let cache = folder()?;
        fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
        if let Some(program) = self.newest(&cache)? {
            return Ok(program);
        }
        let turn = File::create(cache.join("lock"))?;
        turn.lock().with_context(|| format!("cannot lock {}", cache.display()))?;
        // Another process may have made it while this one waited.
        if let Some(program) = self.newest(&cache)? {
            return Ok(program);
        }
        let partial = cache.join(self.partial);
        remove(&partial)?;
        fs::create_dir(&partial)?;
        let (name, text) = make(&partial)?;
        fs::write(partial.join(self.stamp), text)?;
        let whole = cache.join(name);
        remove(&whole)?;
        fs::rename(&partial, &whole)?;
        Ok(whole.join(self.program))
    }

    fn newest(self, cache: &Path) -> Result<Option<PathBuf>> {
        let mut whole = Vec::new();
        for entry in fs::read_dir(cache)? {
            let path = entry?.path();
            if path.join(self.stamp).is_file() && self.works(&path.join(self.program)) {
                whole.push((path.join(self.stamp).metadata()?.modified()?, path));
            }
        }
        Ok(whole.into_iter().max().map(|(_, path)| path.join(self.program)))
    }

    /// A cached program can stop working when the system under it is upgraded: then it counts as absent.
    fn works(self, program: &Path) -> bool {
        capture(Command::new(program).arg(self.probe)).is_ok()
    }
}

/// The user's cache folder for this project.
fn folder() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME names a folder")?.join("lockgate"))
}

/// Removes a folder, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The files in a folder and in those in it, in no order.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const KIND: Kind = Kind { partial: "partial", stamp: "whole", program: "program", probe: "--version" };

    fn kept(cache: &Path, name: &str, program: &str) -> PathBuf {
        let folder = cache.join(name);
        fs::create_dir(&folder).unwrap();
        symlink(program, folder.join("program")).unwrap();
        folder
    }

    #[test]
    fn only_what_is_whole_and_works_is_used() {
        let cache = tempfile::tempdir().unwrap();
        kept(cache.path(), "unfinished", "/bin/true");
        let broken = kept(cache.path(), "broken", "/bin/false");
        fs::write(broken.join("whole"), "").unwrap();
        let other = kept(cache.path(), "other", "/bin/true");
        fs::write(other.join("another-kind"), "").unwrap();
        assert_eq!(KIND.newest(cache.path()).unwrap(), None);

        let whole = kept(cache.path(), "whole-one", "/bin/true");
        fs::write(whole.join("whole"), "").unwrap();
        assert_eq!(KIND.newest(cache.path()).unwrap(), Some(whole.join("program")));
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("nothing")).unwrap();
    }
}
