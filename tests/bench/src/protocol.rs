//! What the two processes say to each other: one JSON object on a line for each question and each answer.
//!
//! The worker's process is alone with its allocator and its core; the clients live in the one that asks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::floor::Burst;

/// How the worker under test sends.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sending {
    /// As it always does.
    Runs,
    /// As it always does, to viewers that report every arrival, so that it estimates what they can be sent.
    Estimated,
    /// `sendmmsg`, one datagram in each message.
    Batched,
    /// One call for each datagram.
    Single,
}

impl Sending {
    pub(crate) const ALL: [Self; 4] = [Self::Runs, Self::Estimated, Self::Batched, Self::Single];
}

/// A question.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// Start a worker with one room.
    Spawn { sending: Sending },
    /// Take a publisher's offer; tracks by m-line.
    Publish { worker: usize, offer: String, tracks: Vec<(String, String)> },
    /// Make a viewer of these tracks.
    View { worker: usize, tracks: Vec<String> },
    /// Take a viewer's answer; another offer may follow.
    Answer { worker: usize, viewer: u64, sdp: String },
    /// Wait until so many transports have connected since the beginning.
    Connected { worker: usize, transports: usize },
    /// Wait until so many data channels were opened, and are forwarded.
    Opened { worker: usize, channels: usize },
    /// Let a viewer go.
    Leave { worker: usize, viewer: u64 },
    /// What a worker used and counted so far.
    Usage { worker: usize },
    /// Send these bursts to these ports.
    Floor { ports: Vec<u16>, bursts: Vec<Burst> },
}

/// An answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub(crate) enum Answer {
    Done,
    Spawned {
        worker: usize,
    },
    Accepted {
        sdp: String,
    },
    /// `offer` is none when the viewer's last offer named all its tracks already.
    Offer {
        viewer: u64,
        offer: Option<String>,
    },
    Usage(Box<Usage>),
    Floor {
        used: Duration,
        /// When each packet's burst began, by the wall clock.
        begun: Vec<Duration>,
    },
    Failed {
        why: String,
    },
}

/// What a worker's thread used, and its process holds, up to a moment.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Usage {
    /// The media thread's time on a core.
    pub(crate) thread: Duration,
    /// That of all threads of the process.
    pub(crate) process: Duration,
    /// How often the media thread asked for memory.
    pub(crate) allocations: u64,
    /// What it holds.
    pub(crate) heap: u64,
    /// Its bytes in memory.
    pub(crate) resident: u64,
    /// RTP datagrams that were sent.
    pub(crate) packets_out: u64,
    /// Of them, repetitions: to find out what a link carries.
    pub(crate) probes: u64,
    /// Messages to the system that they, and all else, left in; 0 if the worker does not count them.
    pub(crate) messages: u64,
    /// Datagrams in these messages.
    pub(crate) datagrams: u64,
    /// Datagrams that the system refused.
    pub(crate) unsent: u64,
    /// Transports that are there.
    pub(crate) transports: u64,
    /// Dropped packets by reason; those that never happened are left out.
    pub(crate) drops: BTreeMap<String, u64>,
}
