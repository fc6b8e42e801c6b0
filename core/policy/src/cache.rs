//! Machine code that was made of plugins, kept on a disk: a node that starts again waits for no compiler.
//!
//! What lies there runs as this program does, whatever was signed: whoever can write to the folder owns the node. So it is the node's
//! own, or it is not used.

use std::fs::{self, DirBuilder, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wasmtime::{Cache, CacheConfig};

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It is neither there nor can it be made, or cannot be read.
    #[error("{} cannot be had: {problem}", folder.display())]
    Unusable {
        /// As it was named.
        folder: PathBuf,
        /// What the system or the engine said.
        problem: String,
    },
    /// Something else has its name.
    #[error("{} is no folder", .0.display())]
    NoFolder(PathBuf),
    /// Another user's.
    #[error("{} belongs to somebody else, and what lies in it would run as the node", .0.display())]
    Foreign(PathBuf),
    /// Its group or everybody may write to it.
    #[error("others can write to {}, and what lies in it would run as the node", .0.display())]
    Writable(PathBuf),
}

impl CacheError {
    /// What the operator can do.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::Unusable { .. } => "name a folder in one that is there and that the node may write to".into(),
            Self::NoFolder(_) => "name another, or leave `cache` out".into(),
            Self::Foreign(_) => "give the node a folder of its own".into(),
            Self::Writable(folder) => format!("take that right away: chmod go-w {}", folder.display()),
        }
    }
}

/// Opens the folder, or makes it.
///
/// # Errors
/// When it cannot be had, or others could write to it.
pub(crate) fn open(folder: &Path) -> Result<Cache, CacheError> {
    let unusable = |problem: String| CacheError::Unusable { folder: folder.to_owned(), problem };
    if let Err(error) = DirBuilder::new().mode(0o700).create(folder)
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(unusable(error.to_string()));
    }
    // A name may lead somewhere else later; where it leads now is what is checked.
    let folder = fs::canonicalize(folder).map_err(|error| unusable(error.to_string()))?;
    let found = fs::metadata(&folder).map_err(|error| unusable(error.to_string()))?;
    own(&folder, &found, rustix::process::geteuid().as_raw())?;
    let mut config = CacheConfig::new();
    config.with_directory(folder).with_optimized_compression_usage_counter_threshold(NEVER);
    config.with_files_total_size_soft_limit(MAX_SIZE).with_cleanup_interval(CLEANED_EVERY);
    Cache::new(config).map_err(|error| unusable(format!("{error:#}")))
}

/// That nobody else puts machine code there.
fn own(folder: &Path, found: &Metadata, us: u32) -> Result<(), CacheError> {
    let folder = folder.to_owned();
    if !found.is_dir() {
        return Err(CacheError::NoFolder(folder));
    }
    if found.uid() != us {
        return Err(CacheError::Foreign(folder));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        return Err(CacheError::Writable(folder));
    }
    Ok(())
}

const OTHERS_WRITE: u32 = 0o022;
/// How often a file is used before more time is spent on making it smaller: it is small enough.
const NEVER: u64 = u64::MAX;
/// In bytes: hundreds of plugins. Those that were not used for the longest time go first.
const MAX_SIZE: u64 = 256 << 20;
const CLEANED_EVERY: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use wasmtime::component::Component;

    use super::*;
    use crate::engine::Runtime;

    #[test]
    fn the_folder_is_made_for_nobody_else_and_used_again() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("cache");
        for _ in 0..2 {
            open(&folder).unwrap();
            assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn what_was_compiled_by_one_node_is_found_by_the_next_and_a_damaged_file_is_made_anew() {
        let place = tempfile::tempdir().unwrap();
        let counts = || {
            let cache = open(place.path()).unwrap();
            let runtime = Runtime::new(1, Some(cache.clone())).unwrap();
            Component::new(&runtime.engine, b"\0asm\x0d\0\x01\0").unwrap();
            (cache.cache_hits(), cache.cache_misses())
        };
        assert_eq!([counts(), counts()], [(0, 1), (1, 0)]);
        for file in files(place.path()) {
            fs::write(file, "no machine code").unwrap();
        }
        assert_eq!([counts(), counts()], [(0, 1), (1, 0)]);
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, mut found): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        found.extend(folders.iter().flat_map(|folder| files(folder)));
        found
    }

    #[test]
    fn a_folder_to_which_others_can_write_is_refused_with_the_remedy() {
        let place = tempfile::tempdir().unwrap();
        for mode in [0o770, 0o707, 0o1777] {
            fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).unwrap();
            let error = open(place.path()).unwrap_err();
            assert!(matches!(error, CacheError::Writable(_)), "{error}");
            assert!(error.remedy().contains("chmod go-w /"), "{}", error.remedy());
        }
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        open(place.path()).unwrap();
        let found = fs::metadata(place.path()).unwrap();
        let others = own(place.path(), &found, found.uid() + 1);
        assert!(matches!(others, Err(CacheError::Foreign(_))), "{others:?}");
    }

    #[test]
    fn what_is_no_folder_is_refused_and_so_is_one_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(open(&file), Err(CacheError::NoFolder(_))));
        assert!(matches!(open(&place.path().join("not/there")), Err(CacheError::Unusable { .. })));
    }
}
