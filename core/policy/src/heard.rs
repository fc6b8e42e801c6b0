//! What each plugin of a chain said to one question, kept for the decision log and for operators who look on. Without either nothing is
//! kept, nor copied, but whether one failed.

use std::time::{Duration, Instant};

use lockgate_model::policy::Verdict;

use crate::failure::Failure;
use crate::journal::Hash;
use crate::plugin::Plugin;

/// The words of a chain.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    words: Option<Vec<Words>>,
    /// How many tracks were asked about before these.
    from: usize,
    failed: bool,
}

/// What one plugin said.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) plugin: String,
    pub(crate) sha256: Hash,
    pub(crate) from: usize,
    pub(crate) failed: Option<Failure>,
    pub(crate) said: Vec<Verdict>,
    pub(crate) took: Duration,
}

/// A plugin that is being asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking(Option<Instant>);

impl Heard {
    /// Keeps what is said, if anybody wants to know.
    pub(crate) fn new(wanted: bool) -> Self {
        Self { words: wanted.then(Vec::new), from: 0, failed: false }
    }

    /// A plugin is asked now.
    pub(crate) fn ask(&self) -> Asking {
        Asking(self.words.as_ref().map(|_| Instant::now()))
    }

    /// It said this, or failed, and this counts instead.
    pub(crate) fn said(
        &mut self,
        asking: Asking,
        plugin: &Plugin,
        failed: Option<Failure>,
        said: impl FnOnce() -> Vec<Verdict>,
    ) {
        self.failed |= failed.is_some();
        let (Some(words), Some(asked)) = (&mut self.words, asking.0) else { return };
        words.push(Words {
            plugin: plugin.name.clone(),
            sha256: plugin.sha256,
            from: self.from,
            failed,
            said: said(),
            took: asked.elapsed(),
        });
    }

    /// The next tracks are asked about.
    pub(crate) fn go_on(&mut self, tracks: usize) {
        self.from += tracks;
    }

    /// Whether any of them failed.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    pub(crate) fn into_words(self) -> Vec<Words> {
        self.words.unwrap_or_default()
    }
}
