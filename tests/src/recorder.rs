//! The real `lockgate-recorder` program beside a node.

use std::process::ExitStatus;

use crate::node::{Node, command};
use crate::process::Process;
use crate::until;
use crate::wire::RecorderWire;

/// A running recorder.
#[derive(Debug)]
pub struct Recorder {
    process: Process,
}

impl Recorder {
    /// Starts it with a node's configuration and waits until the node has let it in.
    ///
    /// # Panics
    /// When it is not let in.
    pub async fn beside(node: &Node) -> Self {
        let process = Process::start("lockgate-recorder", command(node.folder(), "lockgate-recorder"));
        let attached = async || (node.metric("lockgate_recorder_attached").await > 0.5).then_some(());
        until("the recorder to attach", attached).await;
        Self { process }
    }

    /// Starts it with a node's configuration, but another way to the node.
    ///
    /// # Panics
    /// When it is not let in.
    pub async fn through(node: &Node, wire: &RecorderWire) -> Self {
        let mut command = command(node.folder(), "lockgate-recorder");
        command.env("LOCKGATE_RECORDER_SOCKET", format!("{:?}", wire.socket()));
        let process = Process::start("lockgate-recorder", command);
        let attached = async || (node.metric("lockgate_recorder_attached").await > 0.5).then_some(());
        until("the recorder to attach", attached).await;
        Self { process }
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.process.terminate().await
    }

    /// Ends it without asking (SIGKILL).
    ///
    /// # Panics
    /// When it does not end.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }
}
