//! The way between a node and its recorder, looked at: a Unix socket that passes everything on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::node::Node;
use crate::passed::Passed;

/// A socket beside the node's. Dropping it ends what goes through it.
#[derive(Debug)]
pub struct RecorderWire {
    socket: PathBuf,
    /// What the node has written on connections that carry media, in bytes.
    seen: Arc<Passed>,
    _passing: JoinSet<()>,
}

impl RecorderWire {
    /// Opens the socket.
    ///
    /// # Panics
    /// When it cannot.
    pub fn beside(node: &Node) -> Self {
        let folder = node.folder().join("run");
        let (socket, to) = (folder.join("watched.sock"), folder.join("recorder.sock"));
        let listener = UnixListener::bind(&socket).expect("the folder is ours");
        let seen = Arc::new(Passed::new());
        let mut passing = JoinSet::new();
        passing.spawn(pass_all(listener, to, Arc::clone(&seen)));
        Self { socket, seen, _passing: passing }
    }

    /// How many bytes of media the recorder was sent, and when the last of them were.
    pub fn sent_by_node(&self) -> (u64, Instant) {
        self.seen.read()
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

async fn pass_all(listener: UnixListener, to: PathBuf, seen: Arc<Passed>) {
    let (mut passing, mut connections) = (JoinSet::new(), 0);
    while let Ok((recorder, _)) = listener.accept().await {
        let Ok(node) = UnixStream::connect(&to).await else { return };
        let ((from_recorder, to_recorder), (from_node, to_node)) = (recorder.into_split(), node.into_split());
        passing.spawn(pass(from_recorder, to_node, None));
        // The first one is for control, the others for media.
        passing.spawn(pass(from_node, to_recorder, (connections > 0).then(|| Arc::clone(&seen))));
        connections += 1;
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, seen: Option<Arc<Passed>>) {
    let mut bytes = vec![0; 65_536];
    while let Ok(length) = from.read(&mut bytes).await {
        if let Some(seen) = seen.as_ref().filter(|_| length > 0) {
            seen.note(length as u64);
        }
        if length == 0 || to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
