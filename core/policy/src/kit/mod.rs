//! For those who write plugins and those who have to trust them: what a component is, and what it does when it is asked.
//!
//! A plugin runs here by itself, on an engine that counts what it computes instead of the time that passes, so that it does the
//! same on every machine. No key, no other plugin and no configuration is involved. How long things take on a
//! node is measured elsewhere.

mod inspect;
mod specimen;
mod witness;

pub use inspect::{About, Inspection, Settings, Trouble, inspect};
