//! Threads and sockets around the engine, and the async handles that the binary and library users share.
//!
//! One worker is one thread with its sockets, all on one port, and its engine. Commands reach it in a queue that it drains
//! once per turn, and what other workers pipe to it in buffers that change hands once per batch; everything else is its own.

mod backlog;
mod batch;
mod carrier;
mod command;
mod events;
mod handle;
mod outlet;
mod pipes;
mod place;
mod recorder;
mod router;
mod sockets;
mod stats;
mod tcp;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod thread;
mod vitals;
mod watch;
mod withdrawal;
mod workers;

pub use events::RouterEvents;
pub use handle::{PublishTransport, RequestError, SubscribeTransport, WorkerGone};
pub use lockgate_media::{
    AcceptedTrack, AdmittedMedia, Answer, CloseReason, Counters, DataLimits, DropReason, Limits, NegotiateError,
    OfferedMedia, ReceiveAnswer, RouterEvent, Subscription, TransportId, check_candidate, inspect_offer,
};
pub use outlet::Sending;
pub use router::{NewRouter, Router};
pub use stats::{NetworkCounters, SendFailure, Stats, StreamEnd};
pub use tcp::MAX_STREAMS as MAX_TCP_CONNECTIONS;
pub use vitals::{WorkerHealth, WorkerState};
pub use workers::{Announced, SpawnError, Workers, WorkersConfig};
