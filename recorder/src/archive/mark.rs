//! Beside each file that grows: up to where it is whole, and which packets of its tracks that is. The recorder that comes after one
//! that was killed cuts the file there and goes on.
//!
//! A mark is written over the last one, in one write and behind the media that it speaks of. A kill leaves the old one or the new
//! one; should it ever be neither, its hash shows that, and the file is completed instead.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use lockgate_model::MediaKind;
use lockgate_model::carrier::{NodeTime, TrackNumber, TrackStats};
use serde::{Deserialize, Serialize};

use super::digest::hex;
use super::folder::{lock_new, open_name};
use super::manifest::{FileEntry, Manifest};
use crate::assemble::Shape;
use crate::clock::ClockMark;
use crate::webm::{Place, Writer};

/// How far a file that grows has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mark {
    /// Of the node: its numbers mean nothing to another life of it.
    pub(crate) epoch: u32,
    /// What the manifest will say of the file, as long as it may not do so yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entry: Option<FileEntry>,
    /// Up to here it is whole.
    pub(crate) place: Place,
    /// Its tracks.
    pub(crate) tracks: Vec<TrackMark>,
}

/// How far a track of it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrackMark {
    /// What the node calls it.
    pub(crate) number: TrackNumber,
    /// What the file's head says of it.
    pub(crate) shape: Shape,
    /// Its blocks.
    pub(crate) frames: u64,
    /// Key frames among them.
    pub(crate) keyframes: u64,
    /// None when nothing of it was settled yet.
    pub(crate) progress: Option<Progress>,
}

/// Where a track's packets go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
    /// The last packet that is in the file or was given up.
    pub(crate) position: Position,
    /// The last frame's moment.
    pub(crate) last: Option<NodeTime>,
    /// The picture's size.
    pub(crate) size: Option<(u32, u32)>,
    /// How its timestamps become moments.
    pub(crate) clock: Option<ClockMark>,
    /// What was counted.
    pub(crate) stats: TrackStats,
}

/// A packet behind which a frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Position {
    /// Its encoding.
    pub(crate) ssrc: u32,
    /// Its number, extended by the node.
    pub(crate) seq: u64,
    /// Whether what follows can be decoded.
    pub(crate) whole: bool,
    /// When the encoding's first packet reached the node: what is of another encoding and older is in the file, too.
    pub(crate) since: NodeTime,
}

/// The mark beside one file.
#[derive(Debug)]
pub(crate) struct MarkFile {
    file: File,
    epoch: u32,
    last: Vec<u8>,
}

/// A file that was left open and goes on.
pub(crate) struct LeftOpen {
    /// What the manifest says of it.
    pub(crate) entry: FileEntry,
    /// Its name when it is complete.
    pub(crate) name: String,
    /// Behind its last whole block.
    pub(crate) writer: Writer,
    /// How far it had come.
    pub(crate) mark: Mark,
    /// Where that is written from now on.
    pub(crate) file: MarkFile,
}

impl MarkFile {
    /// For the file that will have this name.
    pub(super) fn create(folder: &Path, name: &str, epoch: u32) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(mark_path(folder, name))?;
        Ok(Self { file, epoch, last: Vec::new() })
    }

    /// Says up to where the file is whole, and what it is as long as the manifest may not know it.
    pub(crate) fn save(&mut self, place: Place, tracks: Vec<TrackMark>, entry: Option<FileEntry>) -> io::Result<()> {
        let json = serde_json::to_vec(&Mark { epoch: self.epoch, entry, place, tracks })?;
        if json == self.last {
            return Ok(());
        }
        let mut line = hex(digest(&SHA256, &json).as_ref()).into_bytes();
        line.push(b' ');
        line.extend_from_slice(&json);
        // What a longer one leaves behind the line's end is not read.
        line.push(b'\n');
        self.file.write_all_at(&line, 0)?;
        self.last = json;
        Ok(())
    }
}

/// Opens the files that a recorder left open where their marks say, if those are of this life of the node. Others are to be mended.
pub(super) fn take_over(folder: &Path, manifest: &Manifest, epoch: u32) -> io::Result<Vec<LeftOpen>> {
    let mut left = Vec::new();
    for found in std::fs::read_dir(folder)? {
        let name = found?.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(MARK)) else { continue };
        left.extend(take_over_one(folder, name, manifest, epoch));
    }
    left.sort_by_key(|left| left.entry.part);
    Ok(left)
}

fn take_over_one(folder: &Path, name: &str, manifest: &Manifest, epoch: u32) -> Option<LeftOpen> {
    let mark = load(&mark_path(folder, name)).filter(|mark| mark.epoch == epoch)?;
    let open = open_name(name);
    let known = manifest.files.iter().find(|entry| entry.path == open);
    let entry = known.or(mark.entry.as_ref()).filter(|entry| entry.path == open)?.clone();
    let path = folder.join(&open);
    path.symlink_metadata().ok().filter(Metadata::is_file)?;
    let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
    lock_new(&file).ok()?;
    let pictures = entry.tracks.iter().map(|track| track.kind == MediaKind::Video).collect();
    let resumed = Writer::resume(file, mark.place.clone(), pictures);
    let resumed = resumed.inspect_err(|error| tracing::warn!(file = %path.display(), %error, "a file cannot go on"));
    let (writer, file) = (resumed.ok()??, MarkFile::create(folder, name, epoch).ok()?);
    Some(LeftOpen { entry, name: name.to_owned(), writer, mark, file })
}

/// Takes away the mark of a file that grows no more.
pub(super) fn remove(folder: &Path, name: &str) {
    let path = mark_path(folder, name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = %path.display(), %error, "a mark that is of no use stays");
        }
        _ => {}
    }
}

/// Takes away marks of files that are there no more: their recorder was killed when it had completed them.
pub(super) fn tidy(folder: &Path) -> io::Result<()> {
    for found in std::fs::read_dir(folder)? {
        let name = found?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(MARK))
            && folder.join(open_name(name)).symlink_metadata().is_err()
        {
            remove(folder, name);
        }
    }
    Ok(())
}

fn load(path: &Path) -> Option<Mark> {
    let bytes = std::fs::read(path).ok()?;
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let (hash, json) = line.split_at_checked(HASH)?;
    let json = json.strip_prefix(b" ")?;
    (hex(digest(&SHA256, json).as_ref()).as_bytes() == hash).then(|| serde_json::from_slice(json).ok())?
}

fn mark_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{MARK}"))
}

/// Behind the name of a file that grows, without its `.part`.
const MARK: &str = ".mark";
/// SHA-256 in hex.
const HASH: usize = 64;
