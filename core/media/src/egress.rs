//! Datagrams that are ready to leave, in one buffer that is used again and again.

use lockgate_rtp::{Element, Profile};
use lockgate_transport::ice::Path;
use lockgate_transport::sdp::{Extension, ExtensionMap};
use lockgate_transport::{Connection, Refused};

use crate::packet::Packet;

/// Sealed datagrams, in the order in which they were made.
#[derive(Default)]
pub struct Egress {
    buffer: Vec<u8>,
    datagrams: Vec<(Path, u32, u32)>,
}

/// How a viewer's packet is headed.
pub(crate) struct Head<'a> {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// The ids that the viewer takes.
    pub(crate) ids: ExtensionMap,
    /// Its m-line.
    pub(crate) mid: &'a str,
}

impl Egress {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// What waits: the way of each datagram, and its bytes.
    pub fn iter(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.datagrams.iter().map(|(path, start, end)| (*path, &self.buffer[*start as usize..*end as usize]))
    }

    /// Forgets what waited; the memory stays.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.datagrams.clear();
    }

    /// Writes a packet, lets `edit` change the payload's copy, and seals it. How many bytes it became comes back.
    /// `before` stands before the payload: the original number of a retransmission (RFC 4588 §4).
    pub(crate) fn send(
        &mut self,
        connection: &mut Connection,
        head: &Head<'_>,
        packet: &Packet<'_>,
        before: &[u8],
        edit: impl FnOnce(&mut [u8]),
    ) -> Result<usize, Refused> {
        let start = self.buffer.len();
        self.write_head(head, packet);
        self.buffer.extend_from_slice(before);
        let payload = self.buffer.len();
        self.buffer.extend_from_slice(packet.payload());
        edit(&mut self.buffer[payload..]);
        let len = self.buffer.len() - start;
        self.buffer.resize(start + len + Connection::rtp_overhead(), 0);
        let sealed = connection.protect_rtp(&mut self.buffer[start..], len);
        match sealed {
            Ok((path, len)) => {
                self.buffer.truncate(start + len);
                self.datagrams.push((path, start as u32, (start + len) as u32));
                Ok(len)
            }
            Err(refused) => {
                self.buffer.truncate(start);
                Err(refused)
            }
        }
    }

    fn write_head(&mut self, head: &Head<'_>, packet: &Packet<'_>) {
        let out = &mut self.buffer;
        out.extend_from_slice(&[0x80, u8::from(head.marker) << 7 | head.payload_type]);
        out.extend_from_slice(&head.sequence.to_be_bytes());
        out.extend_from_slice(&head.timestamp.to_be_bytes());
        out.extend_from_slice(&head.ssrc.to_be_bytes());
        let start = out.len();
        let passed =
            || packet.passed.iter(packet.bytes).filter_map(|(extension, value)| Some((head.ids.id(extension)?, value)));
        // A dependency descriptor that brings its structure along is too long for the short form.
        let long = passed().any(|(_, value)| value.len() > 16) || head.mid.len() > 16;
        let profile = if long { Profile::TwoByte } else { Profile::OneByte };
        out.extend_from_slice(&profile.to_u16().to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        if let Some(id) = head.ids.id(Extension::Mid) {
            Element { id, value: head.mid.as_bytes() }.write(profile, out);
        }
        passed().for_each(|(id, value)| Element { id, value }.write(profile, out));
        let length = out.len() - start - 4;
        if length == 0 {
            return out.truncate(start);
        }
        let words = length.div_ceil(4);
        out.resize(start + 4 + 4 * words, 0);
        out[start + 2..start + 4].copy_from_slice(&(words as u16).to_be_bytes());
        out[start - 12] |= 0x10;
    }
}
