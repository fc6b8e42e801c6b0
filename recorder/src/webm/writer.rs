//! A file that grows. Blocks are gathered and written in batches; every cluster gets its size when the next one begins.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};
use webm_iterable::matroska_spec::{Master, MatroskaSpec, SimpleBlock};
use webm_iterable::{WebmWriter, WriteOptions};

use super::earlier::Earlier;
use super::ends::Ends;
use super::finish::{Cue, Cues, Finished, finish, reopen};
use super::fragment::{segment_writer, size8};
use super::head::Head;
use super::scan::{Layout, Scan, scan, scan_from};

/// Writes one file.
pub(crate) struct Writer {
    file: File,
    /// Its destination is a buffer: the library would write and flush after every element.
    elements: WebmWriter<Vec<u8>>,
    /// How much of the file is written and whole.
    written: u64,
    layout: Layout,
    cluster: Option<Cluster>,
    /// Where the last cluster begins that is written.
    last_cluster: Option<u64>,
    /// Offset and size of a cluster that has ended and whose size is not in the file.
    unsized_cluster: Option<(u64, u64)>,
    cues: Cues,
    /// Of another writer.
    earlier: Option<Earlier>,
    ends: Ends,
    /// The same of what is written.
    written_ends: Ends,
    pictures: Vec<bool>,
}

#[derive(Debug)]
struct Cluster {
    offset: u64,
    at: u64,
}

/// Up to where a file that grows is whole, and what another writer must know to go on there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place {
    /// Its size.
    pub(crate) bytes: u64,
    /// Where its last cluster begins; none: there is none yet.
    pub(crate) cluster: Option<u64>,
    /// Where its tracks end.
    pub(crate) ends: Ends,
}

impl Writer {
    /// Writes the head into an empty file.
    pub(crate) fn create(file: File, head: &Head) -> io::Result<Self> {
        let elements = head.begin()?;
        let layout = scan(&mut io::Cursor::new(elements.get_ref()))?;
        let layout = layout.ok_or_else(|| io::Error::other("the head cannot be read back"))?.layout;
        let pictures: Vec<_> = head.tracks.iter().map(|track| track.codec != lockgate_model::Codec::Opus).collect();
        let cues = Cues::new(pictures.contains(&true));
        let mut writer = Self {
            file,
            elements,
            written: 0,
            layout,
            cluster: None,
            last_cluster: None,
            unsized_cluster: None,
            cues,
            earlier: None,
            ends: Ends::default(),
            written_ends: Ends::default(),
            pictures,
        };
        writer.flush()?;
        Ok(writer)
    }

    /// Goes on with a file that another writer had flushed up to this place; what stands behind it is cut off. `pictures` says of each
    /// of its tracks whether it is one. Only the head and the last cluster are read. None: it is not such a file.
    pub(crate) fn resume(file: File, place: Place, pictures: Vec<bool>) -> io::Result<Option<Self>> {
        let Place { bytes, cluster, ends } = place;
        if file.metadata()?.len() < bytes {
            return Ok(None);
        }
        file.set_len(bytes)?;
        let mut reader = BufReader::with_capacity(SHORT_READ, &file);
        let scanned = scan_from(&mut reader, cluster.unwrap_or(0))?.filter(|scan| scan.end == bytes);
        let Some(Scan { layout, cues, open_cluster, skipped, .. }) = scanned else { return Ok(None) };
        reopen(&file, &layout)?;
        let earlier = skipped.map(|clusters| Earlier::new(clusters, pictures.contains(&true)));
        let mut writer = Self {
            file,
            elements: segment_writer()?,
            written: bytes,
            layout,
            cluster: None,
            last_cluster: cluster,
            unsized_cluster: open_cluster,
            cues,
            earlier,
            written_ends: ends.clone(),
            ends,
            pictures,
        };
        writer.patch_cluster()?;
        Ok(Some(writer))
    }

    /// Adds a block of the track with this index in the head, at this time in milliseconds. A key frame starts a cluster.
    pub(crate) fn write(&mut self, track: usize, at: u64, keyframe: bool, data: &[u8]) -> io::Result<()> {
        let picture = self.pictures.get(track).copied().unwrap_or(false);
        if self.needs_cluster(at, picture && keyframe) {
            self.begin_cluster(track, at, picture && keyframe)?;
        }
        let start = self.cluster.as_ref().map_or(at, |cluster| cluster.at);
        let offset = (at as i64 - start as i64).clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16;
        let number = track as u64 + 1;
        let block = SimpleBlock::new_uncheked(data, number, offset, false, None, false, keyframe);
        self.elements.write(&MatroskaSpec::from(block)).map_err(io::Error::other)?;
        self.ends.note(number, at);
        if self.elements.get_ref().len() >= BATCH { self.flush() } else { Ok(()) }
    }

    /// Hands what was gathered to the operating system. After an error the file ends where it last was whole.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let bytes = self.elements.get_mut();
        if bytes.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all_at(bytes, self.written) {
            bytes.clear();
            self.cues.cut(self.written);
            self.ends = self.written_ends.clone();
            self.cluster.take_if(|cluster| cluster.offset >= self.written);
            // Whatever reached the disk of this batch may end within a block.
            self.file.set_len(self.written)?;
            return Err(error);
        }
        self.written += bytes.len() as u64;
        bytes.clear();
        self.written_ends.clone_from(&self.ends);
        self.last_cluster = self.cluster.as_ref().map(|cluster| cluster.offset).or(self.last_cluster);
        Ok(())
    }

    /// Looks at a bit of what another writer wrote, for the index. To be called now and then; else it takes longer to finish.
    pub(crate) fn catch_up(&mut self) {
        self.look_back(CATCH_UP);
    }

    /// Ends the file: index, duration and sizes are put in, so that players can seek. Flush before, to see what cannot be written.
    pub(crate) fn finish(mut self) -> io::Result<Finished> {
        self.flush()?;
        self.end_cluster()?;
        self.patch_cluster()?;
        self.look_back(usize::MAX);
        let mut cues = self.cues;
        if let Some(earlier) = self.earlier {
            let later = std::mem::replace(&mut cues, earlier.into_cues());
            cues.append(later);
        }
        finish(&self.file, &self.layout, &cues, self.ends.duration_ms(), self.written)
    }

    /// How much of it the operating system has: it ends behind a whole block.
    pub(crate) fn flushed(&self) -> Place {
        Place { bytes: self.written, cluster: self.last_cluster, ends: self.written_ends.clone() }
    }

    /// The time of the last block of the track with this index in the head, in milliseconds.
    pub(crate) fn last_ms(&self, track: usize) -> Option<u64> {
        self.ends.last(track as u64 + 1)
    }

    /// Its size so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.elements.get_ref().len() as u64
    }

    /// Writes into another handle from now on; the one so far.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    /// How long it is so far, in milliseconds.
    pub(crate) fn duration_ms(&self) -> u64 {
        self.ends.duration_ms()
    }

    fn look_back(&mut self, most: usize) {
        let Some(earlier) = &mut self.earlier else { return };
        if let Err(error) = earlier.look(&self.file, &self.pictures, most) {
            // What the index lacks then only makes seeking slower.
            tracing::warn!(%error, "a file that goes on has clusters that its index will not have");
            earlier.give_up();
        }
    }

    fn needs_cluster(&self, at: u64, keyframe: bool) -> bool {
        let Some(cluster) = &self.cluster else { return true };
        let longest = if self.pictures.contains(&true) { PICTURE_CLUSTER } else { SOUND_CLUSTER };
        keyframe || at.abs_diff(cluster.at) >= longest || self.bytes() - cluster.offset > LARGEST_CLUSTER
    }

    fn begin_cluster(&mut self, track: usize, at: u64, keyframe: bool) -> io::Result<()> {
        self.end_cluster()?;
        let offset = self.bytes();
        let unknown = WriteOptions::is_unknown_sized_element();
        self.elements.write_advanced(&MatroskaSpec::Cluster(Master::Start), unknown).map_err(io::Error::other)?;
        self.elements.write(&MatroskaSpec::Timestamp(at)).map_err(io::Error::other)?;
        self.cues.note(Cue { at, track: track as u64 + 1, offset }, keyframe);
        self.cluster = Some(Cluster { offset, at });
        Ok(())
    }

    fn end_cluster(&mut self) -> io::Result<()> {
        let Some(Cluster { offset, .. }) = self.cluster.take() else { return Ok(()) };
        self.elements.write(&MatroskaSpec::Cluster(Master::End)).map_err(io::Error::other)?;
        let flushed = self.flush();
        // Also when the rest of it had no room: what is there must not be left without a size in a file that will have one.
        self.unsized_cluster = self.written.checked_sub(offset + CLUSTER_HEAD).map(|size| (offset, size));
        flushed.and(self.patch_cluster())
    }

    fn patch_cluster(&mut self) -> io::Result<()> {
        if let Some((offset, size)) = self.unsized_cluster {
            self.file.write_all_at(&size8(size), offset + 4)?;
            self.unsized_cluster = None;
        }
        Ok(())
    }
}

/// A batch is written when it is this long, in bytes, if the clock does not ask for it before.
const BATCH: usize = 64 * 1024;
/// Reading here and there, more at once would be thrown away, in bytes.
const SHORT_READ: usize = 512;
/// So many clusters of another writer are looked at in one go: an hour of two-second ones is done after 22 s of ten goes a second.
const CATCH_UP: usize = 8;
/// A cluster's id and its size.
pub(super) const CLUSTER_HEAD: u64 = 12;
/// Clusters are at most this long, in milliseconds. Blocks count from their cluster in 16 bits: 32 s.
const PICTURE_CLUSTER: u64 = 2_000;
const SOUND_CLUSTER: u64 = 5_000;
/// And at most this long in bytes.
const LARGEST_CLUSTER: u64 = 5 << 20;
