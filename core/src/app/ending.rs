//! When and how a node ends.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::node::Ending;

/// What must be ended, and how its parts learn of it.
pub(super) struct Shutdown {
    node: watch::Sender<bool>,
    recorder: watch::Sender<bool>,
    /// Hub and door.
    pub(super) recording: JoinSet<()>,
    /// Who looks after the media threads.
    pub(super) watching: JoinSet<()>,
    /// The recorder's process, if the node started it.
    pub(super) supervised: JoinSet<()>,
}

impl Shutdown {
    pub(super) fn new() -> Self {
        let (node, recorder) = (watch::Sender::new(false), watch::Sender::new(false));
        Self { node, recorder, recording: JoinSet::new(), watching: JoinSet::new(), supervised: JoinSet::new() }
    }

    /// Tells that the node ends.
    pub(super) fn watch(&self) -> Ending {
        Ending(self.node.subscribe())
    }

    /// Tells that the recorder has nothing more to write.
    pub(super) fn watch_recorder(&self) -> Ending {
        Ending(self.recorder.subscribe())
    }

    pub(super) fn begin(&self) {
        self.node.send_replace(true);
    }

    /// Waits until the recordings are complete.
    pub(super) async fn recording_ended(&mut self) {
        if timeout(RECORDINGS_WITHIN, async { while self.recording.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("some recordings were not closed in time; the recorder repairs them at its next start");
        }
        self.recording.shutdown().await;
        self.recorder.send_replace(true);
        while self.supervised.join_next().await.is_some() {}
    }

    pub(super) async fn http_ended(&self, http: &mut JoinSet<io::Result<()>>) {
        if timeout(HTTP_WITHIN, async { while http.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("some HTTP connections were cut");
        }
        http.shutdown().await;
    }
}

/// The signals that ask the node to end.
pub(super) struct Asked {
    interrupt: Signal,
    terminate: Signal,
}

impl Asked {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The name of the next one that comes.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// How long the recorder may take to close its files.
const RECORDINGS_WITHIN: Duration = Duration::from_secs(10);
/// How long open HTTP requests may take.
const HTTP_WITHIN: Duration = Duration::from_secs(2);
