//! A WebRTC SFU whose doors are programmable: the shell that wires the crates together.

pub mod config;
