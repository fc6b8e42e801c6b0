//! The worker's data connection to the recorder: written without waiting, and its acknowledgements are read.

use std::io::{self, Read, Write};

use lockgate_media::Replay;
use lockgate_model::carrier::{Deframer, Frame};
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

/// A data connection.
pub(crate) struct RecorderLink {
    stream: UnixStream,
    /// What goes before everything else, and how much of it is written.
    first: Vec<u8>,
    written: usize,
    /// There is more to be written than a turn allows.
    more: bool,
    acks: Deframer,
}

impl RecorderLink {
    /// `first` goes before everything else.
    pub(crate) fn new(stream: std::os::unix::net::UnixStream, registry: &Registry, first: Vec<u8>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream);
        registry.register(&mut stream, TOKEN, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, first, written: 0, more: false, acks: Deframer::new(LONGEST_ACK) })
    }

    /// Writes what there is room for, but not so much that viewers wait for it: the rest has its turn.
    ///
    /// # Errors
    /// When the recorder is gone.
    pub(crate) fn write(&mut self, replay: &mut Replay) -> io::Result<()> {
        let mut turn = MOST_AT_ONCE;
        self.more = false;
        loop {
            let rest = &self.first[self.written..];
            let is_first = !rest.is_empty();
            let next = if is_first { rest } else { replay.unsent() };
            self.more = turn == 0 && !next.is_empty();
            let next = &next[..next.len().min(turn)];
            if next.is_empty() {
                return Ok(());
            }
            match self.stream.write(next) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    turn -= count;
                    if is_first {
                        self.written += count;
                    } else {
                        replay.sent(count);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether it should be called again although nothing happens.
    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    /// Reads acknowledgements: what is in a file need not be kept.
    ///
    /// # Errors
    /// When the recorder is gone, or says something else.
    pub(crate) fn read(&mut self, replay: &mut Replay) -> io::Result<()> {
        loop {
            while let Some(bytes) = self.acks.next_frame().map_err(io::Error::other)? {
                match Frame::decode(bytes).map_err(io::Error::other)? {
                    Frame::Ack { track, ssrc, seq } => replay.acknowledge(track, ssrc, seq),
                    other => return Err(io::Error::other(format!("a recorder does not send {other:?}"))),
                }
            }
            match self.stream.read(self.acks.space(CHUNK)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.acks.filled(count),
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
/// An acknowledgement has 17 bytes; of what is longer the recorder would be told in vain.
const LONGEST_ACK: usize = 64;
/// Written in one turn, in bytes: what a recorder gets that comes back is many times more, and takes a thread as long as it takes to copy.
const MOST_AT_ONCE: usize = 1 << 20;
/// Read at once, in bytes.
const CHUNK: usize = 4096;
