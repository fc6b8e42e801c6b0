//! The doors: HTTP pages, WebSocket dialects (our own and that of Rheomesh's examples), WHIP and WHEP.
//!
//! Turns what arrives into the shared model's requests and the model's replies into what the client understands.
//! Decides nothing: who may do what is the shell's to ask. Every socket and every session over HTTP is one [`Arrival`]
//! with a bounded channel each way; a client that does not read is closed, one that writes too fast waits.

mod admin;
mod body;
mod dialect;
mod guest;
mod listen;
mod pages;
mod problem;
mod rate;
mod recorded;
mod rheomesh;
mod server;
mod socket;
mod turn;
mod whip;

pub use admin::{
    AdminAct, AdminRequest, Administer, DrainRequest, FeedItem, FeedRequest, MuteRequest, OpenFeed, PageRequest,
    RecordingRequest, RecordingWish, RevocationRequest,
};
pub use guest::{GuestRequest, MintGuest};
pub use listen::Streaming;
pub use recorded::{FindRecorded, RecordedRequest};
pub use server::{Asset, Doors, Pages, Readiness, serve};
pub use socket::{Arrival, CloseCode, Incoming, Outgoing};
pub use whip::Origins;

/// Longest subject of a token that a path may name, in bytes.
const MAX_SUBJECT: usize = 256;
