//! The folder of a session: its files, `session.json` that says what they are, `events.jsonl` that says what happened,
//! `speakers.vtt` that says who spoke, and a seal over all of them (`docs/archive.md`).
//!
//! A file has `.part` behind its name until it is complete, and no file is ever written over. What is in the files is not
//! this module's business.

mod date;
mod digest;
mod durable;
mod events;
mod folder;
mod key;
mod manifest;
mod mark;
mod seal;
mod speakers;
mod sweep;

pub(crate) use date::{now_micros, rfc3339};
pub(crate) use digest::{Budget, Digest, digest, from_hex, hex, open_regular};
pub(crate) use durable::Durable;
pub(crate) use events::Event;
pub(crate) use folder::{
    Archive, EVENTS, MANIFEST, NewFile, OPEN, Opened, is_held, lock_alone, lock_shared, rename_free,
};
pub(crate) use key::{KeyProblem, PublicKey, SigningKey};
pub(crate) use manifest::{FileEntry, Group, Manifest, Seal, SessionEnd, TrackEntry, signature_of, write_whole};
pub(crate) use mark::{LeftOpen, MarkFile, Position, Progress, TrackMark};
pub(crate) use seal::{SPEAKERS, Sealing, seal};
pub(crate) use speakers::{printable, speeches};
pub(crate) use sweep::{DELETING, Swept, deleting, is_deleting, report_swept, sessions, sweep_session};

#[cfg(test)]
mod tests;
