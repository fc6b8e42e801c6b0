//! Files: WebM, and Matroska for the codecs that WebM does not have.
//!
//! `webm-iterable` turns elements into bytes; where they go, when they reach the disk, what is patched afterwards and how a file
//! is mended that was never finished is decided here. A file can be read at any time, whatever happens to its writer.

mod earlier;
mod ends;
mod finish;
mod fragment;
mod head;
mod inspect;
mod reader;
mod repair;
mod scan;
mod writer;

pub(crate) use finish::Finished;
pub(crate) use head::{Head, TrackHead};
pub(crate) use inspect::inspect;
pub(crate) use repair::{Repair, repair};
pub(crate) use writer::{Place, Writer};

#[cfg(test)]
mod tests;
