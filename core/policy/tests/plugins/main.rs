//! The host with real guests: the components that `cargo xtask plugins` builds.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print, also in its helpers")]

mod auth;
mod contract;
mod decisions;
mod failures;
mod imports;
mod isolation;
mod kit;
mod loading;
mod logging;
mod replaying;
mod shadowing;
mod speed;
mod support;
mod swapping;
