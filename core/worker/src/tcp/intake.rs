//! Cuts what came by a stream at its lengths (RFC 4571 §2: two bytes before each datagram).
//!
//! All streams of a worker are read into the same memory, one after the other; a stream keeps only the piece of a frame that has not
//! come as a whole. It knows nothing of what is in frames.

use std::ops::Range;

/// Where a stream is read into, and taken apart.
pub(crate) struct Intake {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// A frame says that it is longer than it may be. Nothing behind it can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Intake {
    pub(crate) fn new() -> Self {
        Self::with_room(ROOM)
    }

    /// `room` is what is read at once, beside what a stream may have kept.
    fn with_room(room: usize) -> Self {
        Self { bytes: vec![0; room + PREFIX + LONGEST].into(), start: 0, end: 0 }
    }

    /// Begins with what a stream kept. It keeps the memory, and nothing in it.
    pub(crate) fn resume(&mut self, kept: &mut Vec<u8>) {
        (self.start, self.end) = (0, kept.len());
        self.bytes[..kept.len()].copy_from_slice(kept);
        kept.clear();
    }

    /// Where to read into; how much was read is said by [`Self::filled`].
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let room = self.bytes.len() - PREFIX - LONGEST;
        &mut self.bytes[self.end..self.end + room]
    }

    pub(crate) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// Where the next whole frame of at most `longest` bytes is. Empty ones are passed over: they say nothing but that somebody is there.
    pub(crate) fn next_frame(&mut self, longest: usize) -> Result<Option<Range<usize>>, TooLong> {
        while let Some(length) = self.next_length() {
            if length > longest.min(LONGEST) {
                return Err(TooLong);
            }
            let from = self.start + PREFIX;
            if self.end < from + length {
                return Ok(None);
            }
            self.start = from + length;
            if length > 0 {
                return Ok(Some(from..from + length));
            }
        }
        Ok(None)
    }

    /// A frame's bytes.
    pub(crate) fn frame(&mut self, at: Range<usize>) -> &mut [u8] {
        &mut self.bytes[at]
    }

    /// Gives the stream the piece that is left over, to be kept; it is shorter than a prefix and the longest frame.
    pub(crate) fn keep(&mut self, kept: &mut Vec<u8>) {
        if self.start == self.end && kept.capacity() > SMALL {
            *kept = Vec::new();
        }
        kept.extend_from_slice(&self.bytes[self.start..self.end]);
        (self.start, self.end) = (0, 0);
    }

    fn next_length(&self) -> Option<usize> {
        let prefix = self.bytes[self.start..self.end].first_chunk::<PREFIX>()?;
        Some(usize::from(u16::from_be_bytes(*prefix)))
    }
}

/// What stands before a datagram of this length.
pub(crate) fn prefix(length: usize) -> [u8; PREFIX] {
    // What is longer than 16 bits can say was refused before.
    (length as u16).to_be_bytes()
}

pub(crate) const PREFIX: usize = 2;
/// The longest DTLS record there is (RFC 6347 §4.1), and more than any packet of media.
pub(crate) const LONGEST: usize = (1 << 14) + 2048 + 13;
/// What is read at once: a part of a turn, as others wait.
pub(crate) const ROOM: usize = 16 << 10;
/// What a stream may go on holding while it keeps nothing.
const SMALL: usize = 2048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(datagrams: &[Vec<u8>]) -> Vec<u8> {
        datagrams.iter().flat_map(|datagram| [&prefix(datagram.len())[..], datagram].concat()).collect()
    }

    /// What comes out of bytes that come in pieces, and the most that was kept between two of them.
    fn taken(pieces: &[&[u8]], longest: usize) -> (Vec<Vec<u8>>, Result<(), TooLong>, usize) {
        let (mut intake, mut kept, mut all, mut most) =
            (Intake::with_room(PREFIX + LONGEST), Vec::new(), Vec::new(), 0);
        for piece in pieces {
            intake.resume(&mut kept);
            intake.room()[..piece.len()].copy_from_slice(piece);
            intake.filled(piece.len());
            loop {
                match intake.next_frame(longest) {
                    Ok(Some(frame)) => all.push(intake.frame(frame).to_vec()),
                    Ok(None) => break,
                    Err(error) => return (all, Err(error), most),
                }
            }
            intake.keep(&mut kept);
            most = most.max(kept.len());
        }
        (all, Ok(()), most)
    }

    #[test]
    fn frames_come_out_one_by_one_and_empty_ones_not_at_all() {
        let bytes = framed(&[b"one".to_vec(), Vec::new(), Vec::new(), b"three".to_vec()]);
        assert_eq!(taken(&[&bytes], 9), (vec![b"one".to_vec(), b"three".to_vec()], Ok(()), 0));
    }

    #[test]
    fn a_frame_that_is_too_long_is_noticed_by_its_length_alone_after_those_before_it() {
        let bytes = [&framed(&[b"one".to_vec()])[..], &prefix(10), b"x"].concat();
        assert_eq!(taken(&[&bytes], 9), (vec![b"one".to_vec()], Err(TooLong), 0));
        assert_eq!(taken(&[&prefix(10)], 10).1, Ok(()));
        assert_eq!(taken(&[&[0xff, 0xff]], usize::MAX).1, Err(TooLong), "whatever is allowed");
        let longest = framed(&[vec![7; LONGEST]]);
        let (head, tail) = longest.split_at(LONGEST + 1);
        assert_eq!(taken(&[head, tail], usize::MAX), (vec![vec![7; LONGEST]], Ok(()), LONGEST + 1));
    }

    #[test]
    fn a_stream_gives_back_the_memory_for_a_long_piece_once_that_is_whole() {
        let (mut intake, mut kept) = (Intake::new(), Vec::new());
        let frame = framed(&[vec![7; 9000]]);
        for half in frame.chunks(5000) {
            intake.resume(&mut kept);
            intake.room()[..half.len()].copy_from_slice(half);
            intake.filled(half.len());
            while intake.next_frame(LONGEST).unwrap().is_some() {}
            intake.keep(&mut kept);
        }
        assert_eq!((kept.len(), kept.capacity()), (0, 0));
    }

    proptest! {
        #[test]
        fn however_bytes_are_cut_the_same_frames_come_out(
            datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..12),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let bytes = framed(&datagrams);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let ends = cuts.iter().copied().chain([bytes.len()]);
            let begins = [0].into_iter().chain(cuts.iter().copied());
            let pieces: Vec<_> = begins.zip(ends).map(|(begin, end)| &bytes[begin..end]).collect();
            let wanted: Vec<_> = datagrams.into_iter().filter(|datagram| !datagram.is_empty()).collect();
            let (all, end, most) = taken(&pieces, 40);
            prop_assert_eq!((all, end), (wanted, Ok(())));
            prop_assert!(most < PREFIX + 40, "{} bytes were kept", most);
        }

        #[test]
        fn no_bytes_make_it_keep_more_than_a_frame(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
        ) {
            let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
            let (_, _, most) = taken(&pieces, 500);
            prop_assert!(most < PREFIX + 500);
        }
    }
}
