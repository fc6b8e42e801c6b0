//! What is to be sent to the node.

use std::collections::BTreeMap;

use lockgate_model::carrier::{Frame, FromRecorder};

/// Messages and acknowledgements that were not sent yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) control: Vec<FromRecorder>,
    /// Encoded, for each worker.
    pub(crate) acks: BTreeMap<u32, Vec<u8>>,
}

impl Outbox {
    /// On the control connection.
    pub(crate) fn say(&mut self, message: FromRecorder) {
        self.control.push(message);
    }

    /// On a worker's data connection.
    pub(super) fn acknowledge(&mut self, worker: u32, ack: Frame<'_>) {
        ack.encode(self.acks.entry(worker).or_default());
    }
}
