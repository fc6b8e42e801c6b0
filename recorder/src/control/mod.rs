//! The connections to the node, and the loop that does what comes over them.
//!
//! Threads read, one for each connection; everything they read goes through one bounded queue to the engine, which is alone
//! with the sessions and their files. When files are slow the queue fills, reading stops, and the node counts a gap.

mod engine;
mod link;
mod outlet;

use std::ops::Range;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use lockgate_model::carrier::ToRecorder;

use crate::archive::{Durable, SigningKey};
use crate::config::Config;
use crate::upload::Uploader;
use engine::Engine;
use link::Link;
use outlet::Outlet;

/// What the engine hears.
pub(crate) enum Input {
    /// The node is there, and all its connections stand.
    Attached {
        control: Outlet,
        /// One for each worker.
        data: Vec<Outlet>,
    },
    /// The node speaks.
    Control(ToRecorder),
    /// Media frames, whole, somewhere in these bytes.
    Media { bytes: Bytes, frames: Vec<Range<usize>> },
    /// The node is gone; nothing it sent is left unread.
    Detached,
    /// The process is to end.
    Terminate,
}

/// Asks a running recorder to end.
#[derive(Clone)]
pub struct Stop(SyncSender<Input>);

impl Stop {
    /// Waits its turn behind what was read before.
    pub fn now(&self) {
        // Nobody listens when it has ended already.
        let _ = self.0.send(Input::Terminate);
    }
}

/// Records whatever the node asks for, until it is stopped. What earlier runs left open goes on if the node says so, and is mended if
/// it does not, or no node comes.
/// `ready` is given the way to stop it.
pub fn run(config: &Config, ready: impl FnOnce(Stop)) -> std::io::Result<()> {
    let (inputs, engine_inputs) = sync_channel(MAX_WAITING);
    ready(Stop(inputs.clone()));
    let (durable, background) = Durable::start(Some(config.directory.clone()), key_of(config))?;
    let uploader = Uploader::start(config)?;
    let link = Link::new(config.socket.clone(), inputs);
    thread::Builder::new().name("link".into()).spawn(move || link.run())?;
    Engine::new(config, durable).run(&engine_inputs);
    let sealed = background.finish();
    if let Some(uploader) = uploader {
        uploader.finish();
    }
    sealed
}

/// The key that archives are signed with. What cannot be signed is recorded all the same.
fn key_of(config: &Config) -> Option<SigningKey> {
    let loaded = SigningKey::load_or_make(config.signing_key.as_deref()?);
    loaded.inspect_err(|error| tracing::error!("archives will not be signed: {error}")).ok()
}

/// Batches of at most 64 KiB (or one frame) that may wait for the engine.
const MAX_WAITING: usize = 256;
