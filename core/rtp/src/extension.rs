//! Elements of a header extension block (RFC 8285), and writing them.

/// How elements are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// One byte for id and length (RFC 8285 §4.2).
    OneByte,
    /// A byte each (RFC 8285 §4.3).
    TwoByte,
    /// A block of something else, which has no elements.
    Unknown,
}

impl Profile {
    pub(crate) fn from_u16(value: u16) -> Self {
        match value {
            0xbede => Self::OneByte,
            value if value >> 4 == 0x100 => Self::TwoByte,
            _ => Self::Unknown,
        }
    }

    /// The 16 bits that open a block of this profile.
    pub fn to_u16(self) -> u16 {
        match self {
            Self::OneByte => 0xbede,
            Self::TwoByte => 0x1000,
            Self::Unknown => 0,
        }
    }
}

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its negotiated id.
    pub id: u8,
    /// Its bytes.
    pub value: &'a [u8],
}

impl Element<'_> {
    /// Appends the element to a block, for a stream whose block fits the profile.
    /// Nothing is written of what the one-byte form cannot say: an id above 14, a value that is empty or longer than 16.
    pub fn write(&self, profile: Profile, out: &mut Vec<u8>) {
        match profile {
            Profile::OneByte if (1..=14).contains(&self.id) && (1..=16).contains(&self.value.len()) => {
                out.push(self.id << 4 | (self.value.len() as u8 - 1));
            }
            Profile::TwoByte if self.id > 0 && self.value.len() <= 255 => {
                out.extend_from_slice(&[self.id, self.value.len() as u8]);
            }
            _ => return,
        }
        out.extend_from_slice(self.value);
    }
}

/// The elements of a block, in order. Ends early where a block is malformed.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    profile: Profile,
    rest: &'a [u8],
}

impl<'a> Extensions<'a> {
    pub(crate) fn new(profile: Profile, block: &'a [u8]) -> Self {
        Self { profile, rest: block }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        if self.profile == Profile::Unknown {
            return None;
        }
        while let Some((0, rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        let (id, length, rest) = match (self.profile, self.rest) {
            // 15 ends the block (RFC 8285 §4.2).
            (Profile::OneByte, [head, rest @ ..]) if head >> 4 != 15 => (head >> 4, usize::from(head & 15) + 1, rest),
            (Profile::TwoByte, [id, length, rest @ ..]) => (*id, usize::from(*length), rest),
            _ => return None,
        };
        let Some((value, rest)) = rest.split_at_checked(length) else {
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        Some(Element { id, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for profile in [Profile::OneByte, Profile::TwoByte] {
            let mut block = Vec::new();
            let elements = [Element { id: 3, value: b"ab" }, Element { id: 14, value: b"0123456789abcdef" }];
            elements.iter().for_each(|element| element.write(profile, &mut block));
            block.push(0);
            assert_eq!(Extensions::new(profile, &block).collect::<Vec<_>>(), elements);
        }
    }

    #[test]
    fn the_one_byte_form_leaves_out_what_it_cannot_say() {
        let mut block = Vec::new();
        Element { id: 15, value: b"a" }.write(Profile::OneByte, &mut block);
        Element { id: 1, value: &[0; 17] }.write(Profile::OneByte, &mut block);
        assert_eq!(block, [0_u8; 0]);
    }

    #[test]
    fn an_element_longer_than_its_block_ends_it() {
        assert_eq!(Extensions::new(Profile::OneByte, &[0x13, 1]).count(), 0);
        assert_eq!(Extensions::new(Profile::OneByte, &[0xf0, 0x10, 1]).count(), 0);
    }
}
