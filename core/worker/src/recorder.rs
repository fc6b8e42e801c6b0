//! The worker's data connection to the recorder: written without waiting, and what comes back is read away.

use std::io::{self, Read, Write};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

/// A data connection.
pub(crate) struct RecorderLink {
    stream: UnixStream,
    /// Being written, and how much of it is.
    writing: Vec<u8>,
    written: usize,
}

impl RecorderLink {
    pub(crate) fn new(stream: std::os::unix::net::UnixStream, registry: &Registry) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream);
        registry.register(&mut stream, TOKEN, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, writing: Vec::new(), written: 0 })
    }

    /// Writes what there is room for, and takes more from `waiting` when all of the last was written.
    ///
    /// # Errors
    /// When the recorder is gone.
    pub(crate) fn write(&mut self, waiting: &mut Vec<u8>) -> io::Result<()> {
        loop {
            if self.written == self.writing.len() {
                self.writing.clear();
                self.written = 0;
                std::mem::swap(&mut self.writing, waiting);
                if self.writing.is_empty() {
                    return Ok(());
                }
            }
            match self.stream.write(&self.writing[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads acknowledgements away: nothing is kept here that they could release.
    ///
    /// # Errors
    /// When the recorder is gone.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn detach(mut self, registry: &Registry) {
        // Closing the stream takes it off anyway.
        let _ = registry.deregister(&mut self.stream);
    }
}

/// Apart from the sockets, which count from 0.
pub(crate) const TOKEN: Token = Token(1 << 20);
