//! Control messages on a stream: length, then JSON.

use std::io;
use std::time::Duration;

use lockgate_model::carrier::{Deframer, MAX_MESSAGE, decode_message, encode_message};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Reads messages off a stream, one at a time.
#[derive(Debug)]
pub(crate) struct Messages {
    deframer: Deframer,
}

impl Messages {
    pub(super) fn new() -> Self {
        Self { deframer: Deframer::new(MAX_MESSAGE) }
    }

    /// The next message; none at the stream's end. Safe to cancel: what was read stays here.
    pub(super) async fn next<M: DeserializeOwned>(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Option<M>> {
        loop {
            if let Some(frame) = self.deframer.next_frame().map_err(io::Error::other)? {
                return decode_message(frame).map(Some).map_err(io::Error::other);
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await? {
                0 => return Ok(None),
                count => self.deframer.extend(&chunk[..count]),
            }
        }
    }
}

/// Writes one message; a peer that does not read for too long counts as gone.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let mut bytes = Vec::new();
    encode_message(message, &mut bytes).map_err(io::Error::other)?;
    timeout(WRITE_WITHIN, stream.write_all(&bytes)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

const WRITE_WITHIN: Duration = Duration::from_secs(5);
