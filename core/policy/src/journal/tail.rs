//! A file of the log from its end. It may be as long as operators let it: no more is read than it takes to find the last line.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::folder::{FileProblem, problem};
use super::line::Torn;
use super::read::{ReadLine, Reader};
use super::seal::{Hash, Head, MAX_LINE, Sealed};

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// How long it is, in bytes.
    pub(super) length: u64,
    /// The last line that is one, and whether it is the last of all.
    pub(super) last: Option<(Head, bool)>,
    /// What stands after the last line feed.
    pub(super) torn: Option<Torn>,
}

/// Where line feeds are, the last one first.
struct LineFeeds<'a> {
    file: &'a File,
    /// What is read of it and not looked through, and where that begins.
    block: Vec<u8>,
    start: u64,
}

impl Tail {
    pub(super) fn of(path: &Path) -> Result<Self, FileProblem> {
        let file = File::open(path).map_err(problem(path))?;
        Self::read(&file).map_err(problem(path))
    }

    fn read(file: &File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut feeds = LineFeeds { file, block: Vec::new(), start: length };
        let end = feeds.next()?;
        let rest = end.map_or(0, |end| end + 1);
        let torn = if rest < length {
            Some(Torn { bytes: length - rest, sha256: Hash::of_part(file, rest, length)? })
        } else {
            None
        };
        let last = match end {
            Some(end) => last_before(end, &mut feeds)?,
            None => None,
        };
        Ok(Self { length, last, torn })
    }
}

/// When the first line was decided, in ms since 1970; 0: the file does not begin with a line.
pub(super) fn began_ms(path: &Path) -> Result<u64, FileProblem> {
    let Some(ReadLine::Whole(first)) = Reader::open(path)?.next_line()? else { return Ok(0) };
    Ok(Sealed::open(&first).map_or(0, |first| first.time_ms))
}

/// The last line that ends at this line feed or an earlier one.
fn last_before(mut end: u64, feeds: &mut LineFeeds<'_>) -> io::Result<Option<(Head, bool)>> {
    let mut is_last = true;
    loop {
        let earlier = feeds.next()?;
        let start = earlier.map_or(0, |earlier| earlier + 1);
        // A longer one is none, and is not held in memory to say so.
        if let Some(length) = usize::try_from(end - start).ok().filter(|length| *length <= MAX_LINE) {
            let mut line = vec![0; length];
            feeds.file.read_exact_at(&mut line, start)?;
            if let Ok(sealed) = Sealed::open(&line) {
                return Ok(Some((Head { seq: sealed.seq, hash: sealed.hash }, is_last)));
            }
        }
        let Some(earlier) = earlier else { return Ok(None) };
        (end, is_last) = (earlier, false);
    }
}

impl LineFeeds<'_> {
    fn next(&mut self) -> io::Result<Option<u64>> {
        loop {
            if let Some(at) = self.block.iter().rposition(|byte| *byte == b'\n') {
                self.block.truncate(at);
                return Ok(Some(self.start + at as u64));
            }
            if self.start == 0 {
                return Ok(None);
            }
            let length = self.start.min(BLOCK);
            self.start -= length;
            self.block.resize(usize::try_from(length).unwrap_or_default(), 0);
            self.file.read_exact_at(&mut self.block, self.start)?;
        }
    }
}

/// So much is read at a time.
const BLOCK: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tail(bytes: &[u8]) -> Tail {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        Tail::of(file.path()).unwrap()
    }

    /// A line of some length, and the chain after it.
    fn line(head: &mut Head, length: usize) -> Vec<u8> {
        let mut line = Vec::new();
        head.seal(7, &format!(r#"{{"kind":"{}"}}"#, "x".repeat(length)), &mut line);
        line
    }

    #[test]
    fn the_last_line_is_found_wherever_blocks_end() {
        let block = usize::try_from(BLOCK).unwrap();
        let mut head = Head::START;
        let first = line(&mut head, 20);
        let one = head;
        for length in [1, block - 230, block / 2].into_iter().chain(block - 200..block - 190) {
            let mut head = one;
            let bytes = [first.clone(), line(&mut head, length.min(MAX_LINE - 300))].concat();
            let expected = Tail { length: bytes.len() as u64, last: Some((head, true)), torn: None };
            assert_eq!(tail(&bytes), expected, "{length}");
        }
    }

    #[test]
    fn what_is_no_line_is_passed_over_up_to_the_last_one() {
        let mut head = Head::START;
        let whole = line(&mut head, 20);
        let long = vec![b'x'; MAX_LINE + 1];
        for noise in [&b"{}\n"[..], b"\n\n\n", &[&long[..], b"\n"].concat()] {
            let found = tail(&[&whole[..], noise].concat());
            assert_eq!((found.last, found.torn), (Some((head, false)), None));
        }
        for rest in [&b"{\"seq\":2"[..], &long] {
            let found = tail(&[&whole[..], rest].concat());
            assert_eq!(found.last, Some((head, true)));
            assert_eq!(found.torn, Some(Torn { bytes: rest.len() as u64, sha256: Hash::of(rest) }));
        }
        assert_eq!(tail(b"").last, None);
        assert_eq!(tail(b"x").torn.unwrap().bytes, 1);
        assert_eq!(tail(&long).last, None);
    }
}
