//! The sans-I/O forwarding engine: routers, publishers' tracks, viewers' subscriptions.
//!
//! One rule: hand it something (a command, a datagram, the time), then drain what it has to say: [`Engine::egress`],
//! [`Engine::poll_transmit`], [`Engine::poll_event`], [`Engine::recorder`]; then wait until [`Engine::next_timeout`].

mod allocate;
mod arena;
mod data;
mod demands;
mod demux;
mod egress;
mod encoding;
mod engine;
mod entropy;
mod ids;
mod key_frames;
mod layer_rates;
mod link;
mod meter;
mod negotiate;
mod numbers;
mod packet;
mod pending;
mod pipe;
mod policer;
mod publish;
mod quality;
mod rate;
mod receive;
mod redundancy;
mod replay;
mod ring;
mod selection;
mod slots;
mod stats;
mod steering;
mod subscribe;
mod subscription;
mod tap;
mod template;
mod told;
mod track;
mod transport;

pub use data::DataLimits;
pub use egress::{Egress, Run};
pub use engine::{Engine, EngineConfig, Event, RouterEvent, Subscription, Withdrawn};
pub use entropy::Entropy;
pub use ids::{PipeId, RouterId, TransportId};
pub use lockgate_model::{AdmittedMedia, Limits, OfferedMedia, Quality};
pub use lockgate_transport::dtls::{Certificate, EngineKind};
pub use lockgate_transport::ice::Path;
pub use lockgate_transport::sdp::check_candidate;
pub use lockgate_transport::{CloseReason, Kind};
pub use negotiate::{AcceptedTrack, Answer, NegotiateError, ReceiveAnswer, ViewersAnswer, inspect_offer};
pub use replay::Replay;
pub use stats::{Counters, DropReason};
