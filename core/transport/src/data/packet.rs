//! SCTP packets as views (RFC 9260 §3): chunks, and the few fields that the guard looks at.

use bytes::{BufMut, Bytes, BytesMut};

/// Chunk types.
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const INIT: u8 = 1;
    pub(in super::super) const SACK: u8 = 3;
    pub(in super::super) const HEARTBEAT: u8 = 4;
    pub(in super::super) const ABORT: u8 = 6;
    pub(in super::super) const SHUTDOWN: u8 = 7;
    pub(in super::super) const SHUTDOWN_ACK: u8 = 8;
    pub(in super::super) const COOKIE_ECHO: u8 = 10;
    pub(in super::super) const SHUTDOWN_COMPLETE: u8 = 14;
    /// RFC 6525.
    pub(in super::super) const RE_CONFIG: u8 = 130;
    /// RFC 3758.
    pub(in super::super) const FORWARD_TSN: u8 = 192;
}

/// A chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) value: &'a [u8],
}

/// The chunks of a packet, as far as they can be read.
pub(super) struct Chunks<'a> {
    rest: &'a [u8],
    broken: bool,
}

impl<'a> Chunks<'a> {
    pub(super) fn of(packet: &'a [u8]) -> Self {
        let rest = packet.get(HEAD..).unwrap_or_default();
        Self { rest, broken: packet.len() < HEAD + CHUNK_HEAD }
    }

    /// Whether something was left that is no chunk.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let read = read_chunk(self.rest);
        match read {
            Some((chunk, rest)) => {
                self.rest = rest;
                Some(chunk)
            }
            None => {
                (self.rest, self.broken) = (&[], true);
                None
            }
        }
    }
}

fn read_chunk(bytes: &[u8]) -> Option<(Chunk<'_>, &[u8])> {
    let [kind, flags, high, low] = *bytes.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let value = bytes.get(CHUNK_HEAD..length)?;
    // The last chunk's padding may be missing.
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((Chunk { kind, flags, value }, rest))
}

/// Whether a packet is whole and meant for the association whose tag this is (RFC 9260 §8.5): the library reads no other.
pub(super) fn is_for(packet: &[u8], tag: u32) -> bool {
    let Some((head, _)) = packet.split_first_chunk::<HEAD>() else { return false };
    let ports = [[head[0], head[1]], [head[2], head[3]]];
    let sum = crc32c::crc32c_append(crc32c::crc32c(&head[..8]), &[0; 4]);
    ports.iter().all(|port| *port != [0; 2])
        && head[4..8] == tag.to_be_bytes()
        && head[8..] == crc32c::crc32c_append(sum, &packet[HEAD..]).to_le_bytes()
}

/// The tag that the writer of an INIT or INIT ACK wants to find in the packets that it gets.
pub(super) fn initiate_tag(packet: &[u8]) -> Option<u32> {
    let chunk = Chunks::of(packet).next()?;
    chunk.value.first_chunk().map(|tag| u32::from_be_bytes(*tag))
}

/// How many messages begin in a packet.
pub(super) fn messages_in(packet: &[u8]) -> usize {
    Chunks::of(packet).filter(|chunk| chunk.kind == kind::DATA && chunk.flags & FIRST != 0).count()
}

/// A DATA chunk (RFC 9260 §3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) tsn: u32,
    pub(super) stream: u16,
    pub(super) ssn: u16,
    pub(super) unordered: bool,
    pub(super) first: bool,
    pub(super) last: bool,
    /// Of the user data.
    pub(super) len: usize,
}

impl Data {
    pub(super) fn read(chunk: Chunk<'_>) -> Option<Self> {
        let (head, data) = chunk.value.split_first_chunk::<12>()?;
        if data.is_empty() {
            return None;
        }
        Some(Self {
            tsn: u32::from_be_bytes([head[0], head[1], head[2], head[3]]),
            stream: u16::from_be_bytes([head[4], head[5]]),
            ssn: u16::from_be_bytes([head[6], head[7]]),
            unordered: chunk.flags & 4 != 0,
            first: chunk.flags & FIRST != 0,
            last: chunk.flags & 1 != 0,
            len: data.len(),
        })
    }
}

/// An INIT chunk (RFC 9260 §3.3.2): who begins, at which number, and whether it may give up messages (RFC 3758).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Init {
    pub(super) tsn: u32,
    head: [u8; 16],
    pub(super) forwards: bool,
}

impl Init {
    /// The INIT that a packet is; it stands alone in it.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let mut chunks = Chunks::of(packet);
        let chunk = chunks.next().filter(|chunk| chunk.kind == kind::INIT)?;
        let (head, parameters) = chunk.value.split_first_chunk::<16>()?;
        let streams = [[head[8], head[9]], [head[10], head[11]]].map(u16::from_be_bytes);
        if chunks.next().is_some() || chunks.is_broken() || head[..4] == [0; 4] || streams.contains(&0) {
            return None;
        }
        let tsn = u32::from_be_bytes([head[12], head[13], head[14], head[15]]);
        let forwards = Parameters(parameters)
            .any(|(kind, value)| kind == FORWARD_SUPPORTED || kind == EXTENSIONS && value.contains(&kind::FORWARD_TSN));
        Some(Self { tsn, head: *head, forwards })
    }

    /// The packet that says this and no more: the library reads whatever is in one.
    pub(super) fn rewritten(&self, packet: &[u8]) -> Bytes {
        let extensions = if self.forwards { &SUPPORTED[..] } else { &[] };
        let value = [&self.head[..], extensions].concat();
        rebuilt(packet, &[Chunk { kind: kind::INIT, flags: 0, value: &value }])
    }
}

/// The parameters of a chunk, as far as they can be read.
struct Parameters<'a>(&'a [u8]);

impl<'a> Iterator for Parameters<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [kind_high, kind_low, high, low] = *self.0.first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_be_bytes([kind_high, kind_low]), value))
    }
}

/// Whether a HEARTBEAT carries what it must (RFC 9260 §3.3.5): it is sent back.
pub(super) fn is_sane_heartbeat(chunk: Chunk<'_>) -> bool {
    let length = chunk.value.len();
    let [high, low] = (length as u16).to_be_bytes();
    (4..=MAX_HEARTBEAT).contains(&length) && chunk.value.starts_with(&[0, 1, high, low])
}

/// Whether a SACK's blocks are in order and apart, as every receiver's are: the library walks through each of them.
pub(super) fn is_sane_sack(chunk: Chunk<'_>) -> bool {
    let Some((head, rest)) = chunk.value.split_first_chunk::<12>() else { return false };
    let [gaps, duplicates] =
        [[head[8], head[9]], [head[10], head[11]]].map(|field| usize::from(u16::from_be_bytes(field)));
    if rest.len() != 4 * (gaps + duplicates) {
        return false;
    }
    let mut end = 0;
    rest.chunks_exact(4).take(gaps).all(|block| {
        let (start, last) = (u16::from_be_bytes([block[0], block[1]]), u16::from_be_bytes([block[2], block[3]]));
        let apart = start > end && last >= start;
        end = last;
        apart
    })
}

/// A FORWARD TSN chunk (RFC 3758 §3.2): up to where, and what was the last of which stream.
pub(super) fn read_forward(chunk: Chunk<'_>) -> Option<(u32, impl Iterator<Item = (u16, u16)> + Clone)> {
    let (tsn, rest) = chunk.value.split_first_chunk::<4>()?;
    if !rest.len().is_multiple_of(4) {
        return None;
    }
    let pairs = rest
        .chunks_exact(4)
        .map(|pair| (u16::from_be_bytes([pair[0], pair[1]]), u16::from_be_bytes([pair[2], pair[3]])));
    Some((u32::from_be_bytes(*tsn), pairs))
}

/// What a RE-CONFIG chunk asks or answers (RFC 6525 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    /// Streams of the writer begin anew, once everything up to `last_tsn` has come.
    Request { number: u32, last_tsn: u32, streams: Vec<u16> },
    /// The answer to the request of this number; `later` if it is to be asked again.
    Response { number: u32, later: bool },
}

impl Reset {
    fn read(kind: u16, value: &[u8]) -> Option<Self> {
        let word = |at| value.get(at..at + 4).and_then(|word| word.first_chunk().copied()).map(u32::from_be_bytes);
        match (kind, value.len()) {
            (OUTGOING_RESET, 12..) if value.len().is_multiple_of(2) => Some(Self::Request {
                number: word(0)?,
                last_tsn: word(8)?,
                streams: value[12..].chunks_exact(2).map(|id| u16::from_be_bytes([id[0], id[1]])).collect(),
            }),
            // The longer form answers what is never asked here, and the library reads on in the middle of it.
            (RESPONSE, 8) => Some(Self::Response { number: word(0)?, later: word(4)? == IN_PROGRESS }),
            _ => None,
        }
    }
}

/// The parts of a RE-CONFIG chunk. None if there are none, or others.
pub(super) fn read_resets(chunk: Chunk<'_>) -> Option<Vec<Reset>> {
    let mut parameters = Parameters(chunk.value);
    let resets: Option<Vec<_>> = parameters.by_ref().map(|(kind, value)| Reset::read(kind, value)).collect();
    resets.filter(|resets| parameters.0.is_empty() && (1..=2).contains(&resets.len()))
}

/// A packet with the head of another one and these chunks.
pub(super) fn rebuilt(packet: &[u8], chunks: &[Chunk<'_>]) -> Bytes {
    let mut out = BytesMut::with_capacity(packet.len() + 4);
    out.put_slice(&packet[..HEAD - 4]);
    out.put_u32(0);
    for chunk in chunks {
        out.put_u8(chunk.kind);
        out.put_u8(chunk.flags);
        out.put_u16((CHUNK_HEAD + chunk.value.len()) as u16);
        out.put_slice(chunk.value);
        out.put_bytes(0, chunk.value.len().next_multiple_of(4) - chunk.value.len());
    }
    // RFC 9260 §6.8: the lowest byte first.
    let sum = crc32c::crc32c(&out);
    out[HEAD - 4..HEAD].copy_from_slice(&sum.to_le_bytes());
    out.freeze()
}

/// Ports, tag and checksum.
pub(super) const HEAD: usize = 12;
const CHUNK_HEAD: usize = 4;
/// The flag of DATA that begins a message.
const FIRST: u8 = 2;
const OUTGOING_RESET: u16 = 13;
const RESPONSE: u16 = 16;
const IN_PROGRESS: u32 = 6;
/// RFC 5061 §4.2.7 and RFC 3758 §3.1.
const EXTENSIONS: u16 = 0x8008;
const FORWARD_SUPPORTED: u16 = 0xc000;
/// Both of these chunks, as [`EXTENSIONS`].
const SUPPORTED: [u8; 6] = [0x80, 0x08, 0, 6, kind::RE_CONFIG, kind::FORWARD_TSN];
const MAX_HEARTBEAT: usize = 512;
