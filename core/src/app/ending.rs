//! When and how a node ends.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::timeout;

use crate::node::Ending;

/// What must be ended, and how its parts learn of it.
pub(super) struct Shutdown {
    node: watch::Sender<bool>,
    recorder: watch::Sender<bool>,
    pub(super) http: Parts,
    /// Hub and door.
    pub(super) recording: Parts,
    /// Who looks after the media threads.
    pub(super) watching: Parts,
    /// The recorder's process, if the node started it.
    pub(super) supervised: Parts,
}

/// Tasks that end only with the node.
#[derive(Default)]
pub(super) struct Parts {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// A part that ended before the node.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) part: &'static str,
    pub(super) reason: String,
}

impl Parts {
    /// Starts one, under the name by which people hear of its end.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.names.insert(self.tasks.spawn(task).id(), name);
    }

    /// The next one that ends, which none should. Waits for ever while there is none.
    pub(super) async fn lost(&mut self) -> Lost {
        let Some(ended) = self.tasks.join_next_with_id().await else { return pending().await };
        let (id, reason) = match ended {
            Ok((id, ())) => (id, "it ended by itself".to_owned()),
            Err(error) => (error.id(), error.to_string()),
        };
        Lost { part: self.names.remove(&id).unwrap_or("a part of the node"), reason }
    }

    /// Waits until all have ended.
    async fn ended(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the node failed at its end");
            }
        }
    }

    /// Ends all of them.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

impl Shutdown {
    pub(super) fn new() -> Self {
        let (node, recorder) = (watch::Sender::new(false), watch::Sender::new(false));
        let parts = Parts::default;
        Self { node, recorder, http: parts(), recording: parts(), watching: parts(), supervised: parts() }
    }

    /// The next part that ends before the node does.
    pub(super) async fn lost(&mut self) -> Lost {
        tokio::select! {
            lost = self.http.lost() => lost,
            lost = self.recording.lost() => lost,
            lost = self.watching.lost() => lost,
            lost = self.supervised.lost() => lost,
        }
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
        if timeout(RECORDINGS_WITHIN, self.recording.ended()).await.is_err() {
            tracing::warn!("some recordings were not closed in time; the recorder repairs them at its next start");
        }
        self.recording.shutdown().await;
        self.recorder.send_replace(true);
        self.supervised.ended().await;
    }

    pub(super) async fn http_ended(&mut self) {
        if timeout(HTTP_WITHIN, self.http.ended()).await.is_err() {
            tracing::warn!("some HTTP connections were cut");
        }
        self.http.shutdown().await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_fails_is_told_by_its_name_and_while_all_go_on_nothing_is() {
        let mut shutdown = Shutdown::new();
        shutdown.watching.spawn("the watch", pending());
        tokio::select! {
            biased;
            lost = shutdown.lost() => panic!("{lost:?}"),
            () = std::future::ready(()) => {}
        }
        shutdown.recording.spawn("the door", pending());
        shutdown.recording.spawn("the hub", async { panic!("a test wants it") });
        let Lost { part, reason } = shutdown.lost().await;
        assert!(part == "the hub" && reason.contains("panicked"), "{part}: {reason}");
        shutdown.supervised.spawn("the recorder", async {});
        assert_eq!(shutdown.lost().await.part, "the recorder");
    }
}
