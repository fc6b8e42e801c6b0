//! Turns recorded RTP into WebM archives.
//!
//! Packets come from the node over Unix sockets; they are put in order, made into frames, given a place on the session's
//! timeline and written to one file for each participant. Nothing is decoded. The protocol and the layout of an archive are
//! described in `docs/recorder.md` and `docs/archive.md`. Tools check, mend, list and compose archives.

mod archive;
mod assemble;
mod clock;
mod config;
mod control;
mod jitter;
mod packet;
mod session;
mod tools;
mod upload;
mod webm;

pub use config::{Config, Problem};
pub use control::{Stop, run};
pub use tools::{ComposeArguments, HoldState, Outcome, Tool, ToolError, use_tool};
pub use upload::Settings as UploadSettings;
