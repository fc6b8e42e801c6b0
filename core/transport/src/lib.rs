//! One peer's connection, sans-I/O: ICE-lite, DTLS, SRTP, SDP, TWCC, bandwidth estimation, data channels.

pub mod bandwidth;
mod connection;
mod crypto;
pub mod data;
pub mod dtls;
pub mod ice;
pub mod nack;
pub mod pacer;
pub mod sdp;
pub mod srtp;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod twcc;

pub use connection::{CloseReason, Connection, ConnectionEvent, Kind, Outlet, Refused};
