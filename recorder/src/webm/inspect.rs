//! Examines a complete file: whether everything that it says of itself is so.
//!
//! Elements are read by the library and not by what writes and mends files, so that one does not repeat the other's mistakes.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use webm_iterable::WebmIterator;
use webm_iterable::matroska_spec::{Master, MatroskaSpec, SimpleBlock};

use super::ends::Ends;
use super::finish::CUES;
use super::fragment::{UNKNOWN_SIZE, size8};
use super::head::VIDEO;
use super::scan::{INFO, TAGS, TRACKS, scan};

/// What is in a file, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    /// Up to the end of the last block.
    pub(crate) duration_ms: u64,
    /// By the number in the file, from 1.
    pub(crate) tracks: BTreeMap<u64, TrackContent>,
    /// For people; at most [`MAX_PROBLEMS`] are told.
    pub(crate) problems: Vec<String>,
}

/// What is in a track.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TrackContent {
    /// Matroska's name of the codec.
    pub(crate) codec: String,
    /// Blocks.
    pub(crate) frames: u64,
    /// Those at which decoding can begin.
    pub(crate) keyframes: u64,
    /// The time of the last one, in milliseconds.
    last: Option<u64>,
    picture: bool,
}

/// Examines a file. Errs only when it cannot be read; damage is a finding.
pub(crate) fn inspect(file: &File) -> io::Result<Inspection> {
    let mut reader = BufReader::with_capacity(CHUNK, file);
    let mut found = Inspection::default();
    let Some(scan) = scan(&mut reader)? else {
        found.tell("it is no WebM or Matroska file that this program wrote, or its head is damaged".into());
        return Ok(found);
    };
    let length = file.metadata()?.len();
    let mut size = [0; 8];
    file.read_exact_at(&mut size, scan.layout.segment - 8)?;
    if size != size8(length - scan.layout.segment) {
        found.tell("its segment has no size or another one than the file: it was cut, or never completed".into());
    }
    if scan.open_cluster.is_some() {
        found.tell("its last cluster is cut, or was never completed".into());
    }
    let Some(head) = head_of_any_size(file, scan.layout.segment)? else {
        found.tell("its head is longer than any that this program wrote".into());
        return Ok(found);
    };
    reader.seek(SeekFrom::Start(scan.layout.segment))?;
    let mut walk = Walk { found, segment: scan.layout.segment, ..Walk::default() };
    walk.read(Cursor::new(head).chain(reader));
    walk.compare();
    Ok(walk.found)
}

/// What stands before the segment's content, with no size for the segment: the library takes no element above a limit, also none
/// that it does not read as a whole, and a file may be longer.
fn head_of_any_size(file: &File, segment: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(length) = usize::try_from(segment).ok().filter(|length| (8..=LARGEST).contains(length)) else {
        return Ok(None);
    };
    let mut head = vec![0; length];
    file.read_exact_at(&mut head, 0)?;
    head[length - 8..].copy_from_slice(&UNKNOWN_SIZE);
    Ok(Some(head))
}

/// What was seen on the way through a file.
#[derive(Default)]
struct Walk {
    found: Inspection,
    segment: u64,
    ends: Ends,
    duration: Option<f64>,
    /// Of the track entry that is being read.
    number: u64,
    /// Offset and time of the cluster that is being read.
    cluster: Option<(u64, u64)>,
    /// Time, track and kind of the first block of each cluster, by its offset.
    clusters: HashMap<u64, Entrance>,
    /// Where the elements are that a seek head may name.
    parts: HashMap<u32, u64>,
    seeks: Vec<(u32, u64)>,
    cues: Vec<Cue>,
}

#[derive(Clone, Copy)]
struct Entrance {
    at: u64,
    track: u64,
    keyframe: bool,
}

#[derive(Default)]
struct Cue {
    at: u64,
    track: u64,
    position: u64,
}

impl Walk {
    fn read(&mut self, reader: impl Read) {
        let mut elements = WebmIterator::new(reader, &[]);
        elements.set_max_allowable_tag_size(Some(LARGEST));
        while let Some(element) = elements.next() {
            let offset = elements.last_emitted_tag_offset() as u64;
            match element {
                Ok(element) => self.element(element, offset),
                Err(error) => return self.found.tell(format!("behind byte {offset}: {error}")),
            }
        }
    }

    fn element(&mut self, element: MatroskaSpec, offset: u64) {
        match element {
            MatroskaSpec::Duration(duration) => self.duration = Some(duration),
            MatroskaSpec::TrackNumber(number) => {
                self.number = number;
                self.found.tracks.entry(number).or_default();
            }
            MatroskaSpec::TrackType(kind) => self.track(|track| track.picture = kind == VIDEO),
            MatroskaSpec::CodecID(codec) => self.track(|track| track.codec = codec),
            MatroskaSpec::Info(Master::Start) => drop(self.parts.insert(INFO, offset)),
            MatroskaSpec::Tracks(Master::Start) => drop(self.parts.insert(TRACKS, offset)),
            MatroskaSpec::Tags(Master::Start) => drop(self.parts.insert(TAGS, offset)),
            MatroskaSpec::Cues(Master::Start) => drop(self.parts.insert(CUES, offset)),
            MatroskaSpec::SeekID(id) => {
                self.seeks.push((id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte)), 0));
            }
            MatroskaSpec::SeekPosition(position) => {
                if let Some(seek) = self.seeks.last_mut() {
                    seek.1 = position;
                }
            }
            MatroskaSpec::CueTime(at) => self.cues.push(Cue { at, ..Cue::default() }),
            MatroskaSpec::CueTrack(track) => self.cue(|cue| cue.track = track),
            MatroskaSpec::CueClusterPosition(position) => self.cue(|cue| cue.position = position),
            MatroskaSpec::Cluster(Master::Start) => self.cluster = Some((offset, 0)),
            MatroskaSpec::Timestamp(at) => self.cluster = self.cluster.map(|(offset, _)| (offset, at)),
            MatroskaSpec::SimpleBlock(data) => match SimpleBlock::try_from(&data) {
                Ok(block) => self.block(&block, offset),
                Err(error) => self.found.tell(format!("the block at byte {offset} cannot be read: {error}")),
            },
            _ => {}
        }
    }

    fn block(&mut self, block: &SimpleBlock<'_>, offset: u64) {
        let Some((cluster, start)) = self.cluster else { return };
        let (at, keyframe) = (start.saturating_add_signed(block.timestamp.into()), block.keyframe);
        self.ends.note(block.track, at);
        let Some(track) = self.found.tracks.get_mut(&block.track) else {
            return self
                .found
                .tell(format!("the block at byte {offset} is of track {}, which there is not", block.track));
        };
        track.frames += 1;
        track.keyframes += u64::from(keyframe);
        let first = Entrance { at: start, track: block.track, keyframe: keyframe && track.picture };
        self.clusters.entry(cluster).or_insert(first);
        let (before, begins) = (track.last.replace(at), track.picture && track.frames == 1);
        if before.is_some_and(|before| before >= at) {
            self.found.tell(format!("the block at byte {offset} is not later than the one before it in its track"));
        }
        if begins && !keyframe {
            self.found.tell(format!("track {} does not begin with a key frame", block.track));
        }
    }

    /// Holds what the file says of itself against what was seen.
    fn compare(&mut self) {
        let duration = self.ends.duration_ms();
        self.found.duration_ms = duration;
        match self.duration {
            None => self.found.tell("it has no duration".into()),
            Some(said) if (said - duration as f64).abs() > 1.0 => {
                self.found.tell(format!("it says that it lasts {said} ms; it lasts {duration} ms"));
            }
            Some(_) => {}
        }
        if self.seeks.is_empty() {
            self.found.tell("it has no seek head".into());
        }
        for (id, position) in std::mem::take(&mut self.seeks) {
            if self.parts.get(&id) != Some(&(self.segment + position)) {
                self.found.tell(format!("its seek head points to where no element {id:08X} is"));
            }
        }
        let picture = self.found.tracks.values().any(|track| track.picture && track.frames > 0);
        if self.cues.is_empty() && (picture || duration > LONG) {
            self.found.tell("it has no index".into());
        }
        for Cue { at, track, position } in std::mem::take(&mut self.cues) {
            match self.clusters.get(&(self.segment + position)) {
                Some(entrance) if entrance.at == at && entrance.track == track && (entrance.keyframe || !picture) => {}
                _ => self.found.tell(format!("its index points for {at} ms to where playing cannot begin")),
            }
        }
    }

    fn track(&mut self, change: impl FnOnce(&mut TrackContent)) {
        if let Some(track) = self.found.tracks.get_mut(&self.number) {
            change(track);
        }
    }

    fn cue(&mut self, change: impl FnOnce(&mut Cue)) {
        if let Some(cue) = self.cues.last_mut() {
            change(cue);
        }
    }
}

impl Inspection {
    fn tell(&mut self, problem: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

/// More would be the same again.
pub(crate) const MAX_PROBLEMS: usize = 20;
/// Read at once, in bytes.
const CHUNK: usize = 256 * 1024;
/// No element that is read as a whole is longer: a frame has at most some MiB.
const LARGEST: usize = 64 << 20;
/// A file of sound of this length has an index, ms.
const LONG: u64 = 30_000;
