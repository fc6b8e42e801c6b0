//! Reads the structure of a file, also of one whose end is missing. It trusts nothing that it reads.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use super::ends::Ends;
use super::finish::{CUES, Cue, Cues};
use super::head::{DURATION_LENGTH, SEEK_HEAD_ROOM, VIDEO};

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
}

/// Reads a file from its start. None if it is no segment with tracks that this program wrote.
pub(super) fn scan(file: &mut (impl Read + Seek)) -> io::Result<Option<Scan>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = Reader { file, at: 0, length };
    match Scan::read(&mut reader) {
        Ok(scan) => Ok(scan.filter(|scan| scan.layout.parts.iter().any(|(id, _)| *id == TRACKS))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

impl Scan {
    fn read(reader: &mut Reader<'_, impl Read + Seek>) -> io::Result<Option<Self>> {
        let Some(ebml) = reader.element()?.filter(|element| element.id == EBML) else { return Ok(None) };
        let Some(size) = ebml.size else { return Ok(None) };
        reader.go_to(ebml.content + size)?;
        let Some(segment) = reader.element()?.filter(|element| element.id == SEGMENT) else { return Ok(None) };
        if segment.content - segment.start != 12 {
            return Ok(None);
        }
        let layout = Layout { segment: segment.content, ..Layout::default() };
        let (cues, end) = (Cues::new(false), segment.content);
        let mut scan = Self { layout, cues, ends: Ends::default(), end, open_cluster: None, blocks: 0 };
        let mut pictures = Vec::new();
        while let Some(element) = reader.whole_element()? {
            match (element.id, element.size) {
                (CLUSTER, _) => {
                    if !scan.cluster(reader, &element, &pictures)? {
                        break;
                    }
                }
                // An index of an earlier end is made anew.
                (_, None) | (CUES, _) => break,
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

/// An element's head.
#[derive(Debug)]
struct Element {
    id: u32,
    start: u64,
    content: u64,
    /// None: unknown.
    size: Option<u64>,
}

struct Block {
    track: u64,
    offset: i16,
    keyframe: bool,
}

struct Reader<'a, R> {
    file: &'a mut R,
    at: u64,
    length: u64,
}

impl<R: Read + Seek> Reader<'_, R> {
    /// The next element's head; none where there is no more, or no element.
    fn element(&mut self) -> io::Result<Option<Element>> {
        let start = self.at;
        let Some(id) = self.vint(4, false)? else { return Ok(None) };
        let Some((size, known)) = self.vint(8, true)?.map(|(size, width)| (size, size != (1 << (7 * width)) - 1))
        else {
            return Ok(None);
        };
        Ok(Some(Element { id: id.0 as u32, start, content: self.at, size: known.then_some(size) }))
    }

    /// Like `element`, and none if its content is cut off. Of a cluster that is, the whole blocks still count: it is as if its size
    /// were not known yet.
    fn whole_element(&mut self) -> io::Result<Option<Element>> {
        let length = self.length;
        let fits = |size: &u64, content: u64| content.checked_add(*size).is_some_and(|end| end <= length);
        Ok(self.element()?.and_then(|element| {
            let size = element.size.filter(|size| fits(size, element.content));
            (size.is_some() || element.id == CLUSTER).then_some(Element { size, ..element })
        }))
    }

    /// A number of variable width (RFC 8794 §4) and its width.
    fn vint(&mut self, widest: u32, unmarked: bool) -> io::Result<Option<(u64, u32)>> {
        if self.at >= self.length {
            return Ok(None);
        }
        let [first] = self.bytes()?;
        let width = first.leading_zeros() + 1;
        if width > widest || self.at + u64::from(width) - 1 > self.length {
            return Ok(None);
        }
        let mut value = u64::from(first);
        if unmarked {
            value &= (1 << (8 - width)) - 1;
        }
        for _ in 1..width {
            let [byte] = self.bytes()?;
            value = value << 8 | u64::from(byte);
        }
        Ok(Some((value, width)))
    }

    fn unsigned(&mut self, size: u64) -> io::Result<u64> {
        let mut value = 0;
        for _ in 0..size.min(8) {
            let [byte] = self.bytes()?;
            value = value << 8 | u64::from(byte);
        }
        Ok(value)
    }

    /// The head of a simple block (RFC 9559 §10.2).
    fn block(&mut self, size: u64) -> io::Result<Option<Block>> {
        let content = self.at;
        let Some((track, _)) = self.vint(8, true)? else { return Ok(None) };
        if self.at + 3 > content + size {
            return Ok(None);
        }
        let [high, low, flags] = self.bytes()?;
        Ok(Some(Block { track, offset: i16::from_be_bytes([high, low]), keyframe: flags & 0x80 != 0 }))
    }

    /// Within an info element: the duration, or the void that keeps its place.
    fn find_duration(&mut self, until: u64) -> io::Result<Option<u64>> {
        while self.at < until {
            let Some(Element { id, start, content, size: Some(size) }) = self.element()? else { break };
            if matches!(id, DURATION | VOID) && content + size - start == DURATION_LENGTH as u64 {
                return Ok(Some(start));
            }
            self.go_to(content.saturating_add(size))?;
        }
        Ok(None)
    }

    /// Within a tracks element: the numbers of the pictures.
    fn picture_tracks(&mut self, until: u64) -> io::Result<Vec<u64>> {
        let (mut pictures, mut number) = (Vec::new(), 0);
        while self.at < until {
            let Some(Element { id, content, size: Some(size), .. }) = self.element()? else { break };
            match id {
                // Its children are read as if they stood here.
                TRACK_ENTRY => continue,
                TRACK_NUMBER => number = self.unsigned(size)?,
                TRACK_TYPE if self.unsigned(size)? == VIDEO && pictures.len() < MAX_PARTS => pictures.push(number),
                _ => {}
            }
            self.go_to(content.saturating_add(size))?;
        }
        Ok(pictures)
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn go_to(&mut self, at: u64) -> io::Result<()> {
        let at = at.min(self.length);
        self.file.seek_relative(at.wrapping_sub(self.at).cast_signed())?;
        self.at = at;
        Ok(())
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
const CLUSTER: u32 = 0x1F43_B675;
const TIMESTAMP: u32 = 0xE7;
const SIMPLE_BLOCK: u32 = 0xA3;
const VOID: u32 = 0xEC;
const DURATION: u32 = 0x4489;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_TYPE: u32 = 0x83;
/// More are not ours.
const MAX_PARTS: usize = 16;
