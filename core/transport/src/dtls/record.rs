//! DTLS 1.2 records and handshake fragments as views of a datagram (RFC 6347 §4.1, §4.2.2). Nothing is decided here.

use bytes::{BufMut, BytesMut};

/// A record's content type (RFC 5246 §6.2.1).
pub(super) mod content {
    pub(in crate::dtls) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(in crate::dtls) const ALERT: u8 = 21;
    pub(in crate::dtls) const HANDSHAKE: u8 = 22;
    pub(in crate::dtls) const APPLICATION_DATA: u8 = 23;
}

/// One record of a datagram.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) content: u8,
    pub(super) epoch: u16,
    pub(super) body: &'a [u8],
    /// Header and body.
    pub(super) whole: &'a [u8],
}

/// Walks the records of a datagram up to its end or to the first byte that starts no DTLS 1.0 to 1.2 record.
pub(super) struct Records<'a> {
    rest: &'a [u8],
}

/// One piece of a handshake message.
#[derive(Clone, Copy)]
pub(super) struct Fragment<'a> {
    pub(super) header: MessageHeader,
    /// Where `data` belongs in the message, in bytes.
    pub(super) offset: usize,
    pub(super) data: &'a [u8],
}

/// What all fragments of a message have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageHeader {
    pub(super) kind: u8,
    /// The whole message's length without header, in bytes; 24 bits on the wire.
    pub(super) length: usize,
    /// The message's place in the handshake.
    pub(super) sequence: u16,
}

impl<'a> Records<'a> {
    pub(super) fn of(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    /// Whether bytes are left that are no record.
    pub(super) fn is_broken(&self) -> bool {
        !self.rest.is_empty()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let header: &[u8; RECORD_HEADER] = self.rest.first_chunk()?;
        // Both versions occur: a first ClientHello may say 1.0 (RFC 6347 §4.2.1).
        if header[1] != 0xfe || !matches!(header[2], 0xff | 0xfd) {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let whole = self.rest.get(..RECORD_HEADER + length).filter(|_| length > 0)?;
        self.rest = &self.rest[whole.len()..];
        let epoch = u16::from_be_bytes([header[3], header[4]]);
        Some(Record { content: header[0], epoch, body: &whole[RECORD_HEADER..], whole })
    }
}

impl<'a> Fragment<'a> {
    /// Takes the first fragment off a handshake record's body; several may share a record. `None` leaves `body` alone.
    pub(super) fn take(body: &mut &'a [u8]) -> Option<Self> {
        let (header, rest) = body.split_first_chunk::<FRAGMENT_HEADER>()?;
        let data = rest.get(..uint24(&header[9..12]))?;
        *body = &rest[data.len()..];
        let sequence = u16::from_be_bytes([header[4], header[5]]);
        let message = MessageHeader { kind: header[0], length: uint24(&header[1..4]), sequence };
        Some(Self { header: message, offset: uint24(&header[6..9]), data })
    }

    /// Whether it carries the message's last byte.
    pub(super) fn is_last(&self) -> bool {
        self.offset + self.data.len() == self.header.length
    }
}

/// Appends an unprotected record. `body` is at most [`MAX_RECORD`] bytes long.
pub(super) fn put_record(out: &mut BytesMut, content: u8, sequence: u64, body: &[u8]) {
    out.put_u8(content);
    out.put_slice(&[0xfe, 0xfd, 0, 0]);
    out.put_slice(&sequence.to_be_bytes()[2..]);
    out.put_u16(body.len() as u16);
    out.put_slice(body);
}

/// Writes a whole message as the one fragment that carries it.
pub(super) fn whole_message(header: MessageHeader) -> Vec<u8> {
    let length = &(header.length as u32).to_be_bytes()[1..];
    let mut message = Vec::with_capacity(FRAGMENT_HEADER + header.length);
    message.push(header.kind);
    message.extend_from_slice(length);
    message.extend_from_slice(&header.sequence.to_be_bytes());
    message.extend_from_slice(&[0, 0, 0]);
    message.extend_from_slice(length);
    message
}

/// Gives every unprotected record of our own datagram the next number of epoch 0.
pub(super) fn renumber(datagram: &mut [u8], next: &mut u64) {
    let mut start = 0;
    while let Some(record) = Records::of(&datagram[start..]).next() {
        let (end, plain) = (start + record.whole.len(), record.epoch == 0);
        if plain {
            datagram[start + 5..start + 11].copy_from_slice(&next.to_be_bytes()[2..]);
            *next += 1;
        }
        start = end;
    }
}

fn uint24(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

const RECORD_HEADER: usize = 13;
const FRAGMENT_HEADER: usize = 12;
