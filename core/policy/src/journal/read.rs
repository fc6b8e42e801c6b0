//! Lines of files, one after the other, as bytes: for verification they are that, and nothing else.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::folder::{FileProblem, files_of, problem};
use super::seal::MAX_LINE;

/// Reads the files of a log, one by one.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
}

/// What stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadLine {
    /// A line, without its line feed.
    Whole(Vec<u8>),
    /// What is after the last line feed.
    Rest(Vec<u8>),
    /// More than a line may be, which is none.
    TooLong,
}

impl ReadLine {
    /// Takes what was read up to a line feed or the end.
    pub fn of(mut bytes: Vec<u8>) -> Self {
        let is_whole = bytes.pop_if(|byte| *byte == b'\n').is_some();
        if is_whole { Self::Whole(bytes) } else { Self::Rest(bytes) }
    }
}

impl Reader {
    /// Opens one.
    ///
    /// # Errors
    /// When that fails.
    pub fn open(path: &Path) -> Result<Self, FileProblem> {
        let file = File::open(path).map_err(problem(path))?;
        Ok(Self { path: path.to_owned(), file: BufReader::new(file) })
    }

    /// The next line; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read further.
    pub fn next_line(&mut self) -> Result<Option<ReadLine>, FileProblem> {
        let mut line = Vec::new();
        // A line, and its line feed.
        let most = MAX_LINE as u64 + 1;
        let read = (&mut self.file).take(most).read_until(b'\n', &mut line).map_err(problem(&self.path))?;
        if read == 0 {
            return Ok(None);
        }
        if read > MAX_LINE && !line.ends_with(b"\n") {
            self.file.skip_until(b'\n').map_err(problem(&self.path))?;
            return Ok(Some(ReadLine::TooLong));
        }
        Ok(Some(ReadLine::of(line)))
    }

    /// The files that such arguments name: folders stand for the files of their log.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn files(arguments: &[PathBuf]) -> Result<Vec<PathBuf>, FileProblem> {
        let mut files = Vec::new();
        for argument in arguments {
            if argument.is_dir() {
                files.extend(files_of(argument)?.into_iter().map(|(_, path)| path));
            } else {
                files.push(argument.clone());
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let longest = "x".repeat(MAX_LINE);
        let read = |text: String| {
            std::fs::write(file.path(), text).unwrap();
            let mut reader = Reader::open(file.path()).unwrap();
            std::iter::from_fn(|| reader.next_line().unwrap()).collect::<Vec<_>>()
        };
        let (whole, end) = (ReadLine::Whole(longest.clone().into()), ReadLine::Rest(b"end".to_vec()));
        assert_eq!(read(format!("{longest}\nend")), [whole, end.clone()]);
        assert_eq!(read(format!("{longest}yz\nend")), [ReadLine::TooLong, end]);
        assert_eq!(read(format!("{longest}yz")), [ReadLine::TooLong]);
    }
}
