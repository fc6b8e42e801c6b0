//! One peer's connection, sans-I/O: ICE-lite, DTLS, SRTP, SDP, TWCC.

mod connection;
mod crypto;
pub mod dtls;
pub mod ice;
pub mod sdp;
pub mod srtp;
pub mod twcc;

pub use connection::{CloseReason, Connection, ConnectionEvent, Kind, Refused};
