//! Folders that only this user may enter.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Makes the folder with mode 0700; one that others may enter, or that is somebody else's, is refused, not changed.
pub(crate) fn private_folder(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = std::fs::metadata(folder)?;
    if found.uid() != rustix::process::getuid().as_raw() {
        return Err(io::Error::other("it is another user's"));
    }
    match found.mode() & 0o077 {
        0 => Ok(()),
        _ => Err(io::Error::other(format!("its mode is {:03o}", found.mode() & 0o777))),
    }
}

/// The folder of a file, `.` when it has none.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
