//! Threads and sockets around the engine, and the async handles that the binary and library users share.
//!
//! One worker is one thread with its sockets, all on one UDP port, and its engine. Nothing is shared between workers; commands
//! reach one in a queue that it drains once per turn, and everything else is the thread's own.

mod command;
mod handle;
mod recorder;
mod sockets;
mod thread;
mod workers;

pub use handle::{NewRouter, PublishTransport, RequestError, Router, SubscribeTransport, WorkerGone};
pub use lockgate_media::{
    AcceptedTrack, AdmittedMedia, Answer, CloseReason, Counters as Stats, DropReason, Limits, NegotiateError,
    OfferedMedia, RouterEvent, Subscription, TransportId, check_candidate, inspect_offer,
};
pub use workers::{Announced, SpawnError, Workers, WorkersConfig};
