//! How a plugin can fail a question.

use wasmtime::Trap;

use crate::call::TooManyCalls;

/// Why there was no answer, or none that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Failure {
    /// It panicked or did something illegal.
    #[error("trap")]
    Trap,
    /// It was not done in time.
    #[error("timeout")]
    Timeout,
    /// It wanted more memory than it may have.
    #[error("memory")]
    Memory,
    /// It called itself too deeply.
    #[error("stack")]
    Stack,
    /// Its answer breaks the contract: wrong number of verdicts, too many or too long texts.
    #[error("bad-answer")]
    BadAnswer,
    /// The time for the whole chain was used up before it was asked.
    #[error("budget")]
    Budget,
    /// It could not be instantiated.
    #[error("instantiation")]
    Instantiation,
    /// It called its imports more often than it may for one question.
    #[error("host-calls")]
    HostCalls,
    /// It was not asked, as it failed too often lately.
    #[error("paused")]
    Paused,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Trap,
        Self::Timeout,
        Self::Memory,
        Self::Stack,
        Self::BadAnswer,
        Self::Budget,
        Self::Instantiation,
        Self::HostCalls,
        Self::Paused,
    ];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::BadAnswer => "bad-answer",
            Self::Budget => "budget",
            Self::Instantiation => "instantiation",
            Self::HostCalls => "host-calls",
            Self::Paused => "paused",
        }
    }

    /// Reads the cause from what a call returned; `starved` tells that memory was refused during the call.
    pub(crate) fn of_call(error: &wasmtime::Error, starved: bool) -> Self {
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::Timeout,
            Some(Trap::StackOverflow) => Self::Stack,
            _ if error.is::<TooManyCalls>() => Self::HostCalls,
            _ if starved => Self::Memory,
            Some(_) => Self::Trap,
            // No trap: the answer, or what an import was handed, could not be read out of the guest's memory.
            None => Self::BadAnswer,
        }
    }
}
