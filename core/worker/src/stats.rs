//! What a worker counts: at its sockets, and in its engine.

use lockgate_media::Counters;

use crate::batch::Tally;

/// What was counted since the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// By the engine: packets, and what became of them.
    pub engine: Counters,
    /// At the sockets: datagrams, and how they came and went.
    pub network: NetworkCounters,
    /// How often the thread looked for something to do.
    pub turns: u64,
}

impl Stats {
    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        self.engine.add(&other.engine);
        self.network.add(&other.network);
        self.turns += other.turns;
    }
}

macro_rules! reasons {
    ($(#[doc = $what:literal])* $type:ident { $($(#[doc = $doc:literal])* $name:ident = $label:literal,)* }) => {
        $(#[doc = $what])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $type {
            $($(#[doc = $doc])* $name,)*
        }

        impl $type {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

reasons! {
    /// Why a datagram was not sent.
    SendFailure {
        /// The system took nothing more, and what may wait for it did already.
        NoRoom = "no-room",
        /// Longer than its way allows (EMSGSIZE).
        TooLong = "too-long",
        /// A firewall forbids it (EPERM, EACCES).
        NotPermitted = "not-permitted",
        /// There is no way to its receiver (ENETUNREACH and the like).
        Unreachable = "unreachable",
        /// Anything else.
        Other = "other",
        /// A client at the other end of a TCP connection takes less than it is sent: what waited too long, or for too much room.
        Behind = "behind",
        /// The TCP connection that it was for is over, or ended while it waited there.
        StreamOver = "stream-over",
        /// It waited for room, in a socket or at a slow client's TCP connection, and its track was taken from its receiver meanwhile.
        Withdrawn = "withdrawn",
    }
}

reasons! {
    /// Why a TCP connection ended.
    StreamEnd {
        /// The client ended it.
        Peer = "peer",
        /// The network or the system did.
        Failed = "failed",
        /// Nothing on it went to a connection that is there.
        Unused = "unused",
        /// No check came by it in time.
        NoCheck = "no-check",
        /// What came first was no check that is good here.
        WrongCheck = "wrong-check",
        /// It said that something longer follows than ever does.
        TooLong = "too-long",
        /// Too many had not said who they are; this was the oldest of them.
        Crowded = "crowded",
        /// There was no room for it: in the worker, or in the system (file descriptors).
        NoRoom = "no-room",
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What a worker's sockets counted since it began.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct NetworkCounters {
            $($(#[doc = $doc])* pub $name: u64,)*
            /// See [`Self::failures`].
            pub failure_counts: [u64; SendFailure::ALL.len()],
            /// See [`Self::ends`].
            pub end_counts: [u64; StreamEnd::ALL.len()],
        }

        impl NetworkCounters {
            /// Adds another worker's.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                self.failure_counts.iter_mut().zip(other.failure_counts).for_each(|(sum, count)| *sum += count);
                self.end_counts.iter_mut().zip(other.end_counts).for_each(|(sum, count)| *sum += count);
            }
        }
    };
}

counters! {
    /// Datagrams that came in.
    datagrams_in,
    /// System calls that received some.
    receive_calls,
    /// Messages of several datagrams that the system had joined (UDP_GRO).
    joined_in,
    /// The datagrams in them.
    joined_datagrams_in,
    /// Messages that were longer than the room for them; what was whole of them was taken.
    truncated,
    /// Datagrams that the system threw away before they could be received: the worker is too slow or the buffer too small.
    overflowed,
    /// Datagrams that went out.
    datagrams_out,
    /// System calls that sent some or tried to.
    send_calls,
    /// Messages of several datagrams that the system cut apart (UDP_SEGMENT).
    runs_out,
    /// The datagrams in them.
    run_datagrams_out,
    /// Runs that the system refused; their datagrams were sent one by one.
    runs_refused,
    /// Datagrams that had to wait as the system took no more.
    held,
    /// Bytes that wait now.
    held_bytes,
    /// TCP connections that are there.
    streams,
    /// TCP connections that came about.
    streams_accepted,
    /// Datagrams that came in by TCP.
    frames_in,
    /// Datagrams that went out by TCP.
    frames_out,
}

impl NetworkCounters {
    pub(crate) fn receive(&mut self, tally: Tally) {
        self.datagrams_in += tally.datagrams;
        self.joined_in += tally.joined;
        self.joined_datagrams_in += tally.joined_datagrams;
        self.truncated += tally.truncated;
    }

    pub(crate) fn fail(&mut self, failure: SendFailure, datagrams: u64) {
        self.failure_counts[failure as usize] += datagrams;
    }

    /// How many datagrams were not sent for each reason.
    pub fn failures(&self) -> impl Iterator<Item = (SendFailure, u64)> + '_ {
        SendFailure::ALL.iter().map(|failure| (*failure, self.failure_counts[*failure as usize]))
    }

    /// How many TCP connections ended for each reason.
    pub fn ends(&self) -> impl Iterator<Item = (StreamEnd, u64)> + '_ {
        StreamEnd::ALL.iter().map(|end| (*end, self.end_counts[*end as usize]))
    }
}
