//! Pipes: how a room that is spread over engines gets its tracks from one to the other.

mod fields;
mod frame;
