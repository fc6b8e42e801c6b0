//! Many WebRTC clients on few threads: publishers that send made-up media with the time in it, viewers that count what comes.
//!
//! The clients are sans-I/O ([`Peer`] and what stands on it); a [`Driver`] carries them over real sockets, one for each, by UDP or TCP. How
//! descriptions are exchanged is the caller's business: the program `lockgate-load` does it over WebSocket, WHIP and WHEP.

mod arrivals;
mod clock;
mod delivery;
mod driver;
mod ice;
mod incoming;
mod outgoing;
mod peer;
mod publisher;
mod report;
mod sdp;
mod socket;
mod stamp;
mod traffic;
mod viewer;
mod voice;
mod wire;

pub use driver::{Driver, DriverError, Options, PublisherHandle, Stage, ViewerHandle};
pub use ice::Agent;
pub use peer::{Closed, Peer, PeerEvent};
pub use publisher::{PublisherSpec, VideoSpec};
pub use report::{Delivery, Histogram, Snapshot, Uplink};
pub use sdp::NegotiateError;
pub use traffic::Traffic;
pub use viewer::ViewerSpec;
pub use voice::Voice;
