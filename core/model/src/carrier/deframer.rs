//! Cuts a byte stream at its length prefixes.
//!
//! It buffers at most one frame and what was read with it. It neither reads nor knows what is in a frame.

/// A frame that claims to be longer than its connection allows. The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame of {length} bytes where at most {limit} are allowed")]
pub struct FrameTooLong {
    /// What its prefix says.
    pub length: usize,
    /// What is allowed.
    pub limit: usize,
}

/// Collects bytes as they come and hands out whole frames.
///
/// Bytes go in with [`extend`](Self::extend), or without a copy through [`space`](Self::space) and [`filled`](Self::filled).
#[derive(Debug)]
pub struct Deframer {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
}

impl Deframer {
    /// For frames of at most `limit` bytes without their length.
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, end: 0, limit }
    }

    /// Takes bytes of any length, cut anywhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.space(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Room for at least `wanted` bytes to be read into; what was written there counts after [`filled`](Self::filled).
    pub fn space(&mut self, wanted: usize) -> &mut [u8] {
        if self.buffer.len() - self.end < wanted {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.buffer.len() < self.end + wanted {
                self.buffer.resize(self.end + wanted, 0);
            }
        }
        &mut self.buffer[self.end..]
    }

    /// Says how many bytes were written into [`space`](Self::space); more than it had counts as all of it.
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// The next whole frame, without its length. After an error the connection must be closed: every later call fails too.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameTooLong> {
        let waiting = &self.buffer[self.start..self.end];
        let Some((prefix, rest)) = waiting.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > self.limit {
            return Err(FrameTooLong { length, limit: self.limit });
        }
        if rest.len() < length {
            return Ok(None);
        }
        let from = self.start + PREFIX;
        self.start = from + length;
        Ok(Some(&self.buffer[from..from + length]))
    }

    /// Bytes that wait for the rest of their frame.
    pub fn pending(&self) -> usize {
        self.end - self.start
    }
}

const PREFIX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use proptest::prelude::*;

    #[test]
    fn a_frame_over_the_limit_ends_the_stream() {
        let mut deframer = Deframer::new(8);
        deframer.extend(&[0, 0, 0, 9, 1]);
        for _ in 0..2 {
            assert_eq!(deframer.next_frame(), Err(FrameTooLong { length: 9, limit: 8 }));
        }
    }

    #[test]
    fn an_empty_frame_is_a_frame() {
        let mut deframer = Deframer::new(8);
        deframer.extend(&[0, 0, 0, 0]);
        assert_eq!(deframer.next_frame(), Ok(Some(&[][..])));
        assert_eq!(deframer.next_frame(), Ok(None));
    }

    proptest! {
        #![proptest_config(cases(64))]

        #[test]
        fn frames_come_out_whole_wherever_the_stream_is_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            cuts in prop::collection::vec(1_usize..30, 1..40),
        ) {
            let mut stream = Vec::new();
            for frame in &frames {
                stream.extend((frame.len() as u32).to_be_bytes());
                stream.extend(frame);
            }
            let (mut deframer, mut seen, mut rest) = (Deframer::new(40), Vec::new(), &stream[..]);
            for cut in cuts.into_iter().cycle() {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                deframer.extend(now);
                while let Some(frame) = deframer.next_frame().unwrap() {
                    seen.push(frame.to_vec());
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(seen, frames);
            prop_assert_eq!(deframer.pending(), 0);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_the_buffer_stays_bounded(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        ) {
            let mut deframer = Deframer::new(1000);
            for chunk in chunks {
                deframer.extend(&chunk);
                while let Ok(Some(frame)) = deframer.next_frame() {
                    prop_assert!(frame.len() <= 1000);
                }
                if deframer.next_frame().is_err() {
                    break;
                }
                prop_assert!(deframer.pending() < 1004);
            }
        }
    }
}
