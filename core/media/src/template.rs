//! What a viewer's packets of one track are headed with: what never changes is made once, the rest is put in its place.

use lockgate_rtp::{MAX_DESCRIPTOR, MaskPlace, Profile};
use lockgate_transport::sdp::{Extension, ExtensionMap};

use crate::packet::{DESCRIPTOR, PASSED, Packet};

/// The header extension block of a viewer's packets (RFC 8285 §4.2), and the ids that it takes.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// With the mid, and behind it room for the number; padded to whole words.
    block: [u8; BLOCK],
    /// How much of it is the mid's element.
    mid: u8,
    /// The id of the transport-wide number; 0: this viewer tells nothing by it.
    counted: u8,
    /// The ids of what is passed on; 0: not to this viewer.
    ids: [u8; PASSED.len()],
}

/// What is each packet's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) marker: bool,
    /// Padding follows the payload.
    pub(crate) padded: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// The number of the packet among all of the connection, if it is told.
    pub(crate) wide: u16,
}

/// What a viewer's copy of a dependency descriptor says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    /// The frame's number.
    pub(crate) number: u16,
    /// The decode targets that the viewer gets, and where they are told; none: as the publisher said.
    pub(crate) mask: Option<u32>,
    pub(crate) place: MaskPlace,
}

impl Template {
    /// For an m-line. A mid is sent if the viewer takes it and it fits into an element, as those of our offers do.
    pub(crate) fn new(mid: &str, ids: &ExtensionMap) -> Self {
        let mut block = [0; BLOCK];
        let mut length = 0;
        if let Some(id) = ids.id(Extension::Mid)
            && (1..=MAX_MID).contains(&mid.len())
        {
            block[4] = id << 4 | (mid.len() - 1) as u8;
            block[5..5 + mid.len()].copy_from_slice(mid.as_bytes());
            length = 1 + mid.len();
        }
        let mid = length as u8;
        let counted = ids.id(Extension::Twcc).unwrap_or(0);
        if counted > 0 {
            block[4 + length] = counted << 4 | 1;
            length += 3;
        }
        block[..2].copy_from_slice(&Profile::OneByte.to_u16().to_be_bytes());
        block[3] = length.div_ceil(4) as u8;
        Self { block, mid, counted, ids: PASSED.map(|extension| ids.id(extension).unwrap_or(0)) }
    }

    /// Whether packets carry a number that the viewer reports on (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).
    pub(crate) fn is_counted(&self) -> bool {
        self.counted > 0
    }

    /// How long a packet's header becomes, give or take some bytes.
    pub(crate) fn length(&self, packet: &Packet<'_>) -> usize {
        FIXED + 4 + 4 * usize::from(self.block[3]) + packet.passed.len()
    }

    /// Writes the header for a packet to the front of `out`, which has [`MAX_HEAD`] bytes; its length comes back.
    pub(crate) fn write(
        &self,
        head: &Head,
        packet: &Packet<'_>,
        described: Option<Described>,
        out: &mut [u8],
    ) -> usize {
        out[1] = u8::from(head.marker) << 7 | head.payload_type;
        out[2..4].copy_from_slice(&head.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&head.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&head.ssrc.to_be_bytes());
        let block = if packet.passed.is_empty() {
            let length = 4 + 4 * usize::from(self.block[3]);
            out[FIXED..FIXED + BLOCK].copy_from_slice(&self.block);
            if self.is_counted() {
                let place = FIXED + 5 + usize::from(self.mid);
                out[place..place + 2].copy_from_slice(&head.wide.to_be_bytes());
            }
            length
        } else {
            self.write_elements(head, packet, described, &mut out[FIXED..])
        };
        let extended = block > 4;
        out[0] = 0x80 | u8::from(head.padded) << 5 | u8::from(extended) << 4;
        if extended { FIXED + block } else { FIXED }
    }

    /// The block with what the publisher said beside the mid.
    fn write_elements(&self, head: &Head, packet: &Packet<'_>, described: Option<Described>, out: &mut [u8]) -> usize {
        let passed = || packet.passed.iter(packet.bytes).filter(|(place, _)| self.ids[*place] > 0);
        let described =
            |place: usize, value: &[u8]| described.filter(|_| place == DESCRIPTOR).map(|one| one.within_bounds(value));
        let length_of = |place: usize, value: &[u8]| match described(place, value) {
            Some(one) => one.length(value),
            None => value.len(),
        };
        // A dependency descriptor that brings its structure along is too long for the short form.
        let long = passed().any(|(place, value)| length_of(place, value) > 16);
        let profile = if long { Profile::TwoByte } else { Profile::OneByte };
        out[..2].copy_from_slice(&profile.to_u16().to_be_bytes());
        let mut length = 4;
        if self.mid > 0 {
            let (id, mid) = (self.block[4] >> 4, &self.block[5..4 + usize::from(self.mid)]);
            length += write_element(profile, id, mid, &mut out[length..]);
        }
        if self.is_counted() {
            length += write_element(profile, self.counted, &head.wide.to_be_bytes(), &mut out[length..]);
        }
        for (place, value) in passed() {
            let (id, out) = (self.ids[place], &mut out[length..]);
            length += match described(place, value) {
                Some(one) => one.write(profile, id, value, out),
                None => write_element(profile, id, value, out),
            };
        }
        let words = (length - 4).div_ceil(4);
        out[length..4 + 4 * words].fill(0);
        out[2..4].copy_from_slice(&(words as u16).to_be_bytes());
        4 + 4 * words
    }
}

impl Described {
    /// Without the mask if no element has the room for it.
    fn within_bounds(self, value: &[u8]) -> Self {
        if self.length(value) <= MAX_DESCRIPTOR { self } else { Self { mask: None, ..self } }
    }

    fn length(&self, value: &[u8]) -> usize {
        self.place.length(value.len(), self.mask.is_some())
    }

    fn write(&self, profile: Profile, id: u8, value: &[u8], out: &mut [u8]) -> usize {
        let length = self.length(value);
        let head = write_element_head(profile, id, length, out);
        if let Some(room) = out[head..].first_chunk_mut() {
            self.place.rewrite(value, self.number, self.mask, room);
        }
        head + length
    }
}

/// Ids are 1…14 and values short enough for the profile: ours to number, and chosen so.
fn write_element(profile: Profile, id: u8, value: &[u8], out: &mut [u8]) -> usize {
    let head = write_element_head(profile, id, value.len(), out);
    out[head..head + value.len()].copy_from_slice(value);
    head + value.len()
}

fn write_element_head(profile: Profile, id: u8, length: usize, out: &mut [u8]) -> usize {
    match profile {
        Profile::OneByte => {
            out[0] = id << 4 | (length - 1) as u8;
            1
        }
        Profile::TwoByte | Profile::Unknown => {
            out[..2].copy_from_slice(&[id, length as u8]);
            2
        }
    }
}

const FIXED: usize = 12;
const MAX_MID: usize = 16;
const BLOCK: usize = 4 + 1 + MAX_MID + 3;
/// No header is longer: the mid, the number, and of each extension that is passed on 255 bytes.
pub(crate) const MAX_HEAD: usize = FIXED + BLOCK + PASSED.len() * 260;

#[cfg(test)]
mod tests {
    use lockgate_rtp::{Header, PacketFacts};

    use super::*;
    use crate::packet::Passed;

    const HEAD: Head = Head {
        marker: true,
        padded: false,
        payload_type: 96,
        sequence: 7,
        timestamp: 9,
        ssrc: 0x0102_0304,
        wide: 0x0a0b,
    };

    /// The elements that a viewer sees of a publisher's packet with these.
    fn seen(theirs: &[(u8, &[u8])], ids: &[(Extension, u8)], mid: &str) -> Vec<(u8, Vec<u8>)> {
        let mut bytes = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0x10, 0x00, 0, 0];
        for (id, value) in theirs {
            bytes.extend_from_slice(&[*id, value.len() as u8]);
            bytes.extend_from_slice(value);
        }
        while bytes.len() % 4 > 0 {
            bytes.push(0);
        }
        bytes[15] = ((bytes.len() - 16) / 4) as u8;
        bytes.push(1);
        let header = Header::parse(&bytes).unwrap();
        let published = ExtensionMap::of(&[(Extension::Orientation, 5), (Extension::DependencyDescriptor, 6)]);
        let passed = Passed::find(&header, &bytes, &published);
        let (payload, facts) = (header.payload(&bytes).unwrap(), PacketFacts::default());
        let packet = Packet { number: 1, header, facts, payload, passed, bytes: &bytes };
        let mut out = vec![0xee; MAX_HEAD];
        let length = Template::new(mid, &ExtensionMap::of(ids)).write(&HEAD, &packet, None, &mut out);
        let read = Header::parse(&out[..length]).unwrap();
        assert_eq!((read.len, read.marker, read.payload_type, read.sequence), (length, true, 96, 7));
        assert_eq!((read.timestamp, read.ssrc), (9, 0x0102_0304));
        read.extensions(&out).map(|element| (element.id, element.value.to_vec())).collect()
    }

    #[test]
    fn the_mid_goes_with_every_packet_and_their_elements_with_their_own() {
        let ids = [(Extension::Mid, 1), (Extension::Orientation, 3)];
        assert_eq!(seen(&[], &ids, "12"), [(1, b"12".to_vec())]);
        assert_eq!(seen(&[(5, &[1]), (6, &[2; 4])], &ids, "12"), [(1, b"12".to_vec()), (3, vec![1])]);
    }

    #[test]
    fn who_reports_on_numbers_gets_them_whatever_else_there_is() {
        let ids = [(Extension::Mid, 1), (Extension::Orientation, 3), (Extension::Twcc, 5)];
        let (mid, number) = ((1, b"sixteen-letters!".to_vec()), (5, vec![0x0a, 0x0b]));
        assert_eq!(seen(&[], &ids, "sixteen-letters!"), [mid.clone(), number.clone()]);
        assert_eq!(seen(&[(5, &[1])], &ids, "sixteen-letters!"), [mid, number.clone(), (3, vec![1])]);
        assert_eq!(seen(&[], &ids, ""), [number]);
    }

    #[test]
    fn a_long_descriptor_takes_the_long_form() {
        let ids = [(Extension::Mid, 1), (Extension::DependencyDescriptor, 4)];
        assert_eq!(seen(&[(6, &[9; 200])], &ids, "0"), [(1, b"0".to_vec()), (4, vec![9; 200])]);
    }

    #[test]
    fn a_viewer_that_takes_no_extension_gets_none() {
        assert_eq!(seen(&[(5, &[1])], &[], "0"), []);
        assert_eq!(seen(&[], &[], "0"), []);
    }
}
