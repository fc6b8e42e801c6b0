//! The decision log: who was allowed what, by which plugin, and why; and how to find out whether it was changed since.
//!
//! Whoever decides something hands it to a bounded queue and goes on. One thread turns it into lines, chains them by their hashes and
//! writes them. What does not fit into the queue, or the disk will not take, is lost, and the log says how many lines that were.
//! Reading, checking and explaining are pure functions over lines. The format is docs/decision-log.md.

mod entry;
pub mod explain;
mod folder;
mod folds;
mod line;
mod queue;
mod read;
mod seal;
mod tail;
mod verify;
mod weight;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use entry::Answered;
pub use folder::{FileProblem, files_of};
pub use line::{
    Begun, CommandLine, DenialLine, EffectLine, Header, HostReason, Line, Lost, Omit, OperatorAct, PluginFacts,
    PluginLine, Policies, QuestionLine, Revocation, ShadowLine, ShadowWord, SwapLine, SwapOutcome, Torn, TrackLine,
    VerdictLine, Who,
};
pub use read::{ReadLine, Reader};
pub use seal::{BadLine, Hash, Head, Sealed};
pub use verify::{Finding, Note, Report, Spot, Verifier};

use folder::Folder;
use queue::{Entry, Shared};
use writer::Writer;

/// Where decisions are logged, and how much of them is kept.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// The folder, made if need be. Nothing else should be in it.
    pub directory: PathBuf,
    /// How long a file may be, in bytes; a line that is longer has one of its own.
    pub max_size: u64,
    /// How long a file is written to.
    pub max_age: Duration,
    /// How many files are kept, at least 1; the oldest ones are deleted.
    pub keep: u64,
    /// What is left out.
    pub omit: Vec<Omit>,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Something in the folder cannot be read or written.
    #[error(transparent)]
    File(#[from] FileProblem),
    /// Two logs in one folder would be none.
    #[error("{} is written to by another process: choose another folder", .0.display())]
    Taken(PathBuf),
    /// The system gives no thread.
    #[error("the decision log has no thread")]
    Thread(#[source] std::io::Error),
}

/// The way into the log. Clones are the same log; one by default is none.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    shared: Option<Arc<Shared>>,
}

/// How the log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalStats {
    /// Lines that were written since the start.
    pub lines: u64,
    /// Lines that were lost since the start, those counted in that were written before the disk failed to keep them.
    pub lost: u64,
    /// Whether the disk took what was written last, and the log goes on.
    pub works: bool,
    /// Where the chain ends.
    pub head: Head,
}

impl Journal {
    pub(crate) fn open(config: &JournalConfig, policies: Policies) -> Result<Self, JournalError> {
        let folder = Folder::open(&config.directory)?;
        let mut writer = Writer::open(folder, config, policies, now_ms())?;
        let shared = Shared::start(writer.counts(), config.omit.clone(), move |messages| writer.run(messages));
        Ok(Self { shared: Some(Arc::new(shared.map_err(JournalError::Thread)?)) })
    }

    /// Whether anything is logged.
    pub fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// Logs what was decided now. Never waits.
    pub fn note(&self, line: Line) {
        if let Some(shared) = &self.shared {
            shared.hand_over(Entry::Line(Box::new(line)), now_ms());
        }
    }

    /// Logs an answer. Never waits.
    pub(crate) fn answered(&self, answered: Arc<Answered>) {
        if let Some(shared) = &self.shared {
            shared.hand_over(Entry::Answered(answered), now_ms());
        }
    }

    /// What is left out of lines.
    pub(crate) fn omit(&self) -> &[Omit] {
        self.shared.as_ref().map_or(&[], |shared| &shared.omit)
    }

    /// How it does; none: there is no log.
    pub fn stats(&self) -> Option<JournalStats> {
        let shared = self.shared.as_ref()?;
        Some(JournalStats {
            lines: shared.counts.lines.load(Relaxed),
            lost: shared.counts.lost.load(Relaxed),
            works: shared.counts.works.load(Relaxed),
            head: shared.counts.head(),
        })
    }

    /// Writes what is left and an end. Nothing is logged after it. Waits for the disk, two seconds at most.
    pub fn close(&self) {
        if let Some(shared) = &self.shared {
            shared.close(CLOSE_WITHIN);
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

const CLOSE_WITHIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
