//! Mends a file whose writer was killed: cuts what is torn and ends it as its writer would have.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;

use super::finish::{Finished, finish};
use super::fragment::size8;
use super::scan::scan;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// The file is complete.
    Mended(Finished),
    /// It holds no block, or nothing at all: its writer had only begun.
    Empty,
    /// It is not a file that this program wrote, or its head is damaged. Nothing was changed.
    Unknown,
}

/// Mends a file in place. It must be open for reading and writing, and nobody else may write it.
pub(crate) fn repair(file: &File) -> io::Result<Repair> {
    if file.metadata()?.len() == 0 {
        return Ok(Repair::Empty);
    }
    let Some(scan) = scan(&mut BufReader::new(file))? else { return Ok(Repair::Unknown) };
    if scan.blocks == 0 {
        return Ok(Repair::Empty);
    }
    file.set_len(scan.end)?;
    if let Some((start, size)) = scan.open_cluster {
        file.write_all_at(&size8(size), start + 4)?;
    }
    finish(file, &scan.layout, &scan.cues, scan.ends.duration_ms(), scan.end).map(Repair::Mended)
}
