//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-03): publishing and viewing with one HTTP request.
//!
//! A session here is an [`crate::Arrival`] like a WebSocket: it says what a client of the dialect would say, and is asked, granted and
//! revoked alike. This side only translates: requests to messages, messages to answers.

mod acts;
pub(crate) mod cors;
mod door;
mod fragment;
mod refusal;
mod session;
mod sessions;
mod stream;
mod target;
mod view;

pub use cors::Origins;
pub(crate) use door::{whep, whip};
pub(crate) use sessions::Sessions;
