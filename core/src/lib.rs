//! A WebRTC SFU whose doors are programmable: the shell that wires the crates together.
//!
//! The shell reads the configuration, starts policy, media workers and doors, runs one task for each socket and each room, and
//! ends them all. What may happen is decided by plugins, what a room is by `lockgate_room`, what a packet does by the workers.

mod admin;
mod app;
mod assets;
pub mod cli;
pub mod config;
mod drain;
mod events;
mod held;
mod http;
mod ice_servers;
mod interfaces;
mod metrics;
mod node;
pub mod operate;
mod policies;
pub mod policy_cli;
mod private;
mod recording;
mod reload;
mod rooms;
mod session;
#[cfg(test)]
mod testing;
pub mod token;

pub use app::{RunError, check, run};
