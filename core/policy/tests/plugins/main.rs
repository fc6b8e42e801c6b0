//! The host with real guests: the components that `cargo xtask plugins` builds.

#![allow(clippy::unwrap_used, reason = "what must not happen in a test fails it")]

mod auth;
mod decisions;
mod failures;
mod imports;
mod loading;
mod speed;
mod support;
