//! What a viewer was sent last, sealed: for one that asks for packets again and has no source of its own for them (RFC 4588).
//!
//! Such a viewer expects the packet under the number that it had. To seal it anew under that number, with a header that may say
//! something else by now, would use a nonce twice, which gives AES-GCM's authentication key away (RFC 7714 §8.1, NIST SP 800-38D §8).
//! The same bytes say nothing new to anybody.

/// The last datagrams that a viewer was sent of a track.
pub(crate) struct Copies {
    /// By the low bits of their numbers. Their memory is used again and again.
    kept: Vec<Kept>,
}

/// A datagram that was sent.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    /// Our own extended number.
    number: u64,
    wide: Option<u16>,
    datagram: Vec<u8>,
}

impl Kept {
    /// As it was sealed.
    pub(crate) fn datagram(&self) -> &[u8] {
        &self.datagram
    }

    /// The number on the whole connection that it carries.
    pub(crate) fn wide(&self) -> Option<u16> {
        self.wide
    }
}

impl Default for Copies {
    fn default() -> Self {
        Self { kept: vec![Kept::default(); COUNT] }
    }
}

impl Copies {
    /// Keeps a datagram in the place of the one that was sent [`COUNT`] numbers earlier.
    pub(crate) fn keep(&mut self, number: u64, wide: Option<u16>, datagram: &[u8]) {
        let copy = &mut self.kept[place(number)];
        (copy.number, copy.wide) = (number, wide);
        copy.datagram.clear();
        copy.datagram.extend_from_slice(datagram);
    }

    /// A datagram that is still there.
    pub(crate) fn get(&self, number: u64) -> Option<&Kept> {
        Some(&self.kept[place(number)]).filter(|copy| copy.number == number && !copy.datagram.is_empty())
    }
}

fn place(number: u64) -> usize {
    number as usize % COUNT
}

/// Most of a second of 2.5 Mbit/s, in 320 KB.
const COUNT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_as_they_were() {
        let mut copies = Copies::default();
        let first = 1 << 16;
        for number in first..first + 300 {
            copies.keep(number, Some(number as u16), &[number as u8; 7]);
        }
        let kept = |number: u64| copies.get(number).map(|copy| (copy.wide(), copy.datagram().to_vec()));
        assert_eq!(kept(first + 299), Some((Some(299), vec![43; 7])));
        assert_eq!(kept(first + 44), Some((Some(44), vec![44; 7])));
        assert_eq!(kept(first + 43), None);
        assert_eq!(kept(0), None, "it was never sent");
    }
}
