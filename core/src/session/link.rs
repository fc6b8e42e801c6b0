//! The two ends that a session holds: the client's socket, and the rooms' news.

use std::net::SocketAddr;

use lockgate_model::policy::Door;
use lockgate_model::{PublisherId, Reply, Request, RoomName};
use lockgate_signal::{Arrival, CloseCode, Incoming, Outgoing};
use tokio::sync::mpsc;

/// The client's socket.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) door: Door,
    pub(crate) peer: SocketAddr,
    incoming: mpsc::Receiver<Incoming>,
    outgoing: mpsc::Sender<Outgoing>,
}

/// What a room has for one of its members.
#[derive(Debug)]
pub(crate) struct RoomNews {
    pub(crate) room: RoomName,
    pub(crate) member: PublisherId,
    pub(crate) event: RoomEvent,
}

/// One piece of news.
#[derive(Debug)]
pub(crate) enum RoomEvent {
    /// Tell the client.
    Tell(Box<Reply>),
    /// The client is not in the room any more.
    Gone,
    /// The client is out of the room, for a reason that it should be told: the room failed, or the session did not keep up.
    Out(&'static str),
    /// This came when the client was not in the room any more, though it had been when it was sent on: the room has not answered it.
    Missed(Box<Request>),
}

impl From<Arrival> for Link {
    fn from(arrival: Arrival) -> Self {
        let Arrival { door, peer, incoming, outgoing } = arrival;
        Self { door, peer, incoming, outgoing }
    }
}

impl Link {
    /// A socket that is over.
    pub(crate) fn ended(door: Door, peer: SocketAddr) -> Self {
        Self { door, peer, incoming: mpsc::channel(1).1, outgoing: mpsc::channel(1).0 }
    }

    /// The client's next word; a socket that ended without a word counts as lost.
    pub(crate) async fn next(&mut self) -> Incoming {
        self.incoming.recv().await.unwrap_or(Incoming::Closed { clean: false })
    }

    /// Tells the client; false when it does not read, or is gone.
    pub(crate) fn tell(&self, reply: impl Into<Reply>) -> bool {
        self.outgoing.try_send(Outgoing::Reply(Box::new(reply.into()))).is_ok()
    }

    /// Whether the client takes what it is told: at most half of what may wait does.
    pub(crate) fn has_room(&self) -> bool {
        self.outgoing.capacity() >= self.outgoing.max_capacity() / 2
    }

    /// Ends the socket. One that does not read learns nothing more.
    pub(crate) fn close(&self, code: CloseCode, reason: &'static str) {
        // A full queue or an ended socket: dropping the link ends it just as well.
        let _ = self.outgoing.try_send(Outgoing::Close(code, reason));
    }
}
