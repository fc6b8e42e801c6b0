//! The host with real guests: the components that `cargo xtask plugins` builds.

mod auth;
mod decisions;
mod failures;
mod imports;
mod loading;
mod speed;
mod support;
