//! What tests do to a worker.

use std::sync::mpsc;

/// What happens to a worker in a test.
pub(crate) enum Failure {
    /// Its thread panics.
    Panic,
    /// It stands still until the other end is dropped.
    Stall(mpsc::Receiver<()>),
}

impl Failure {
    pub(crate) fn happen(self) {
        match self {
            Self::Panic => panic!("a test wants it"),
            Self::Stall(end) => drop(end.recv()),
        }
    }
}
