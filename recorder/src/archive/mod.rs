//! The folder of a session: its files, `session.json` that says what they are, `events.jsonl` that says what happened.
//!
//! A file has `.part` behind its name until it is complete, and no file is ever written over. What is in the files is not
//! this module's business.

mod date;
mod durable;
mod events;
mod folder;
mod manifest;
mod sweep;

pub(crate) use durable::Durable;
pub(crate) use events::Event;
pub(crate) use folder::{Archive, NewFile};
pub(crate) use manifest::{FileEntry, Group, SessionEnd, TrackEntry};
pub(crate) use sweep::{Swept, sweep};

#[cfg(test)]
mod tests;
