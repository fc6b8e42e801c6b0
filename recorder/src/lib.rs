//! Turns recorded RTP into WebM archives.
//!
//! Packets come from the node over Unix sockets; they are put in order, made into frames, given a place on the session's
//! timeline and written to one file for each participant. Nothing is decoded. The protocol and the layout of an archive are
//! described in `docs/recorder.md`.

pub mod archive;
pub mod assemble;
pub mod clock;
mod config;
mod control;
pub mod jitter;
pub mod packet;
mod session;
pub mod webm;

pub use config::{Config, Problem};
pub use control::{Stop, run};
