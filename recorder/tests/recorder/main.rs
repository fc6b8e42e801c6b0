//! The real recorder as a process of its own, on its real socket, fed with real media by a node that only the tests know.

#![allow(clippy::unwrap_used, reason = "in a test, a panic says what is wrong")]

mod archive;
mod breaks;
mod codecs;
mod compose;
mod disks;
mod kills;
mod losses;
mod parts;
mod recording;
mod support;
mod upload;
