//! How a track goes on, ends and leaves its group, and when it can be forgotten.

use std::time::{Duration, Instant};

use super::Track;
use crate::clock::PublisherClock;
use crate::session::timed::Timed;

#[derive(Clone, Copy, Debug)]
pub(super) enum Life {
    Running,
    /// The node says it is over; packets may still be on their way.
    Ending {
        since: Instant,
    },
    Over,
    /// It has left its group: what it brought last is on its way into a file, and is acknowledged from there.
    Left {
        since: Instant,
    },
}

impl Track {
    /// The node says on the control connection that it is over.
    pub(in crate::session) fn ending(&mut self, now: Instant) {
        if matches!(self.life, Life::Running) {
            self.life = Life::Ending { since: now };
        }
    }

    /// Nothing more comes.
    pub(in crate::session) fn on_end(&mut self, now: Instant, publisher: &PublisherClock, out: &mut Vec<Timed>) {
        self.life = Life::Over;
        if let Some(stream) = &mut self.stream {
            stream.jitter.flush();
        }
        self.release(now, publisher, out);
        self.end_notes();
    }

    /// What is missing and what is being said ends here.
    pub(in crate::session) fn end_notes(&mut self) {
        self.gaps.end();
        self.speech.extend(self.voice.end());
    }

    /// Whether nothing more is to be expected, and its group does not know that yet.
    pub(in crate::session) fn is_over(&self, now: Instant) -> bool {
        match self.life {
            Life::Running => false,
            Life::Ending { since } => {
                let quiet = now.saturating_duration_since(self.last_heard.max(since));
                quiet >= QUIET || now.saturating_duration_since(since) >= PATIENCE
            }
            Life::Over => true,
            Life::Left { .. } => false,
        }
    }

    /// It leaves its group: nothing more is taken.
    pub(in crate::session) fn leave(&mut self, now: Instant) {
        self.life = Life::Left { since: now };
    }

    /// Whether it has left its group.
    pub(in crate::session) fn has_left(&self) -> bool {
        matches!(self.life, Life::Left { .. })
    }

    /// Whether it can be forgotten: it has left, and all that it brought is in files, or was waited for long enough.
    pub(in crate::session) fn is_done(&self, now: Instant) -> bool {
        let Life::Left { since } = self.life else { return false };
        self.unwritten == 0 || now.saturating_duration_since(since) >= KEPT
    }
}

/// A track that the control connection ended is over when the data connection, which may lag, has been silent for so long.
const QUIET: Duration = Duration::from_secs(1);
/// Or after this in any case.
const PATIENCE: Duration = Duration::from_secs(10);
/// A node keeps no packet for longer: acknowledging later would tell nobody anything.
const KEPT: Duration = Duration::from_secs(4);
