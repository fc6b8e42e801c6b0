//! Reads what is in a file, also in one whose end is missing.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;

use super::ends::Ends;
use super::finish::{CUES, Cue, Cues};
use super::head::SEEK_HEAD_ROOM;
use super::reader::{CLUSTER, Element, MAX_PARTS, Reader, SIMPLE_BLOCK, TIMESTAMP, VOID};

/// Where things stand that are patched at a file's end. Offsets count from the file's start.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Where the segment's content starts; its size is the eight bytes before.
    pub(super) segment: u64,
    /// The room for the seek head.
    pub(super) seek_head: Option<u64>,
    /// The room for the duration.
    pub(super) duration: Option<u64>,
    /// What a seek head points to: ids and positions in the segment.
    pub(super) parts: Vec<(u32, u64)>,
}

/// What is in a file.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) layout: Layout,
    pub(super) cues: Cues,
    pub(super) ends: Ends,
    /// Where its last whole block ends.
    pub(super) end: u64,
    /// The last cluster with its true size, if that is not written there.
    pub(super) open_cluster: Option<(u64, u64)>,
    /// How many whole blocks there are.
    pub(super) blocks: u64,
    /// Clusters that were not looked at.
    pub(super) skipped: Option<Range<u64>>,
}

/// Reads a file from its start. None if it is no segment with tracks that this program wrote.
pub(super) fn scan(file: &mut (impl Read + Seek)) -> io::Result<Option<Scan>> {
    scan_from(file, 0)
}

/// The same of a file whose clusters before this offset were seen already: of them nothing is read.
pub(super) fn scan_from(file: &mut (impl Read + Seek), cluster: u64) -> io::Result<Option<Scan>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    match Scan::read(&mut Reader::new(file, 0, length), cluster) {
        Ok(scan) => Ok(scan.filter(|scan| scan.layout.parts.iter().any(|(id, _)| *id == TRACKS))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

impl Scan {
    fn read(reader: &mut Reader<'_, impl Read + Seek>, from: u64) -> io::Result<Option<Self>> {
        let Some(ebml) = reader.element()?.filter(|element| element.id == EBML) else { return Ok(None) };
        let Some(size) = ebml.size else { return Ok(None) };
        reader.go_to(ebml.content + size)?;
        let Some(segment) = reader.element()?.filter(|element| element.id == SEGMENT) else { return Ok(None) };
        if segment.content - segment.start != 12 {
            return Ok(None);
        }
        let layout = Layout { segment: segment.content, ..Layout::default() };
        let (cues, end) = (Cues::new(false), segment.content);
        let ends = Ends::default();
        let mut scan = Self { layout, cues, ends, end, open_cluster: None, blocks: 0, skipped: None };
        let mut pictures = Vec::new();
        while let Some(element) = reader.whole_element()? {
            match (element.id, element.size) {
                (CLUSTER, _) if element.start < from => {
                    reader.go_to(from)?;
                    scan.skipped = Some(element.start..from);
                }
                (CLUSTER, _) => {
                    if !scan.cluster(reader, &element, &pictures)? {
                        break;
                    }
                }
                // An index of an earlier end is made anew. Where a cluster was said to be, there is nothing else.
                (_, None) | (CUES, _) => break,
                _ if scan.skipped.is_some() => break,
                (id, Some(size)) => {
                    scan.part(reader, id, &element, size, &mut pictures)?;
                    reader.go_to(element.content + size)?;
                    scan.end = element.content + size;
                }
            }
        }
        Ok(Some(scan))
    }

    fn part(
        &mut self,
        reader: &mut Reader<'_, impl Read + Seek>,
        id: u32,
        element: &Element,
        size: u64,
        pictures: &mut Vec<u64>,
    ) -> io::Result<()> {
        let whole = element.content + size - element.start;
        match id {
            VOID | SEEK_HEAD if element.start == self.layout.segment => {
                // A seek head of an earlier end is followed by a void: together they are as long as the room.
                let fits = id == SEEK_HEAD || whole == SEEK_HEAD_ROOM as u64;
                self.layout.seek_head = fits.then_some(element.start);
            }
            INFO => {
                self.layout.duration = reader.find_duration(element.content + size)?;
                self.note(id, element);
            }
            TRACKS => {
                *pictures = reader.picture_tracks(element.content + size)?;
                self.cues = Cues::new(!pictures.is_empty());
                self.note(id, element);
            }
            TAGS => self.note(id, element),
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, id: u32, element: &Element) {
        if self.layout.parts.len() < MAX_PARTS {
            self.layout.parts.push((id, element.start - self.layout.segment));
        }
    }

    /// Reads a cluster; `false` at the file's end or where it is torn.
    fn cluster(
        &mut self,
        reader: &mut Reader<'_, impl Read + Seek>,
        cluster: &Element,
        pictures: &[u64],
    ) -> io::Result<bool> {
        let until = cluster.size.map(|size| cluster.content + size);
        let (mut at, mut first, mut end) = (0, true, cluster.content);
        while until.is_none_or(|until| reader.at < until) {
            let Some(element) = reader.whole_element()? else { break };
            let Some(size) = element.size.filter(|_| !is_top(element.id)) else {
                reader.go_to(element.start)?;
                break;
            };
            match element.id {
                TIMESTAMP => at = reader.unsigned(size)?,
                SIMPLE_BLOCK => {
                    let Some(block) = reader.block(size)? else { break };
                    let time = at.saturating_add_signed(i64::from(block.offset));
                    if first {
                        let keyframe = block.keyframe && pictures.contains(&block.track);
                        self.cues.note(Cue { at, track: block.track, offset: cluster.start }, keyframe);
                        first = false;
                    }
                    self.ends.note(block.track, time);
                    self.blocks += 1;
                    end = element.content + size;
                }
                _ => {}
            }
            reader.go_to(element.content + size)?;
        }
        if first {
            // Nothing in it: the file ends before it.
            return Ok(false);
        }
        self.end = end;
        let closed = until == Some(end);
        self.open_cluster = (!closed).then_some((cluster.start, end - cluster.content));
        Ok(closed || reader.at < reader.length && reader.at == end)
    }
}

/// Whether such an element ends a cluster of unknown size.
fn is_top(id: u32) -> bool {
    matches!(id, CLUSTER | CUES | TAGS | INFO | TRACKS | SEEK_HEAD | SEGMENT | EBML)
}

const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114D_9B74;
pub(super) const INFO: u32 = 0x1549_A966;
pub(super) const TRACKS: u32 = 0x1654_AE6B;
pub(super) const TAGS: u32 = 0x1254_C367;
