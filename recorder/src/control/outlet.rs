//! The way back to the node on one connection. It never waits.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

/// Sends what the socket takes and keeps the rest.
#[derive(Debug)]
pub(crate) struct Outlet {
    stream: UnixStream,
    waiting: Vec<u8>,
}

impl Outlet {
    /// The stream may be read by another thread meanwhile.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, waiting: Vec::new() }
    }

    /// Sends, or keeps for later. A node that does not read for too long is given up: its reader sees the connection end.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        self.flush();
        if self.waiting.len() > MAX_WAITING {
            self.close();
        }
    }

    /// Tries again what was kept.
    pub(super) fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.waiting.len() {
            match send(&self.stream, &self.waiting[sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return self.close(),
            }
        }
        self.waiting.drain(..sent);
    }

    /// Whether everything was taken.
    pub(super) fn is_clear(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Ends the connection, also for its reader.
    fn close(&mut self) {
        self.waiting.clear();
        // It fails when it is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a node may leave unread, in bytes, beyond what the socket holds.
const MAX_WAITING: usize = 4 << 20;
