//! Reads the body of a request within bounds of length and time, so that nobody holds a place by sending little. Knows no page.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use tokio::time::timeout;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is too long, or broke off.
    Broken,
    /// It did not come in time.
    Slow,
}

/// Reads a body of at most so many bytes.
pub(crate) async fn read_body(body: Body, most: usize) -> Result<Bytes, Unread> {
    match timeout(BODY_WITHIN, to_bytes(body, most)).await {
        Ok(read) => read.map_err(|_| Unread::Broken),
        Err(_) => Err(Unread::Slow),
    }
}

/// How long the body of a request may take.
pub(crate) const BODY_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_within_its_length_and_its_time() {
        assert_eq!(read_body(Body::from("four"), 4).await, Ok(Bytes::from_static(b"four")));
        assert_eq!(read_body(Body::from("four."), 4).await, Err(Unread::Broken));
        let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(read_body(never, 4).await, Err(Unread::Slow));
    }
}
