//! One pass over all sessions: what is complete goes to the store, what has been there long enough goes away here, what is too old is
//! deleted. None waits for another that takes long: as long as something is done, the folders are looked at again.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::EACH;
use super::jobs::Jobs;
use super::known::{Known, Version, version};
use super::line::Line;
use super::store::Trouble;
use crate::archive::{deleting, sessions};

/// What is looked at, and what is known of it from the last time.
pub(super) struct Pass {
    jobs: Jobs,
    known: Known,
    /// How often folders are looked at while something is done.
    pub(super) each: Duration,
}

impl Pass {
    pub(super) fn new(jobs: Jobs) -> Self {
        Self { jobs, known: Known::default(), each: EACH }
    }

    /// Does what there is to do, until there is no more. `false`: the store refused all that it was asked to take.
    pub(super) async fn run(&mut self) -> bool {
        let Self { jobs, known, each } = self;
        let jobs = &*jobs;
        // Deletions are few requests each, and have a line of their own: they wait for no upload.
        let (mut uploads, mut deletions) = (Line::new(SESSIONS.max(jobs.parallel)), Line::new(1));
        let mut going = FuturesUnordered::new();
        let mut next_look = Instant::now();
        loop {
            if Instant::now() >= next_look {
                look(jobs, known, &mut uploads, &mut deletions);
                next_look = Instant::now() + *each;
            }
            while let Some(folder) = uploads.begin() {
                going.push(perform(jobs, Work::Upload, folder));
            }
            while let Some(folder) = deletions.begin() {
                going.push(perform(jobs, Work::Delete, folder));
            }
            if going.is_empty() {
                return uploads.is_well();
            }
            tokio::select! {
                Some(done) = going.next() => {
                    let line = match done.work {
                        Work::Upload => &mut uploads,
                        Work::Delete => &mut deletions,
                    };
                    line.end(&done.folder, &done.result);
                    match done.result {
                        Ok(until_us) => known.settle(done.folder, done.manifest, until_us),
                        Err(trouble) => known.fail(&done.folder, &trouble),
                    }
                }
                () = sleep_until(next_look) => {}
            }
        }
    }
}

/// Puts in line what there is to do, and takes out of sight what is too old.
fn look(jobs: &Jobs, known: &mut Known, uploads: &mut Line, deletions: &mut Line) {
    let folders: Vec<_> = sessions(&jobs.root).collect();
    known.keep(&folders);
    for folder in folders {
        if !uploads.is_open_to(&folder) || !known.is_due(&folder) {
            continue;
        }
        match jobs.retire(&folder) {
            Ok(Some(until_us)) => uploads.enter(folder, until_us),
            Ok(None) => uploads.leave(&folder),
            Err(trouble) => known.fail(&folder, &trouble),
        }
    }
    // Uploads may go on for ever, and this pass with them: what could not be deleted waits for its own time only.
    deletions.try_again();
    for folder in deleting(&jobs.root) {
        if deletions.is_open_to(&folder) && known.is_due(&folder) {
            deletions.enter(folder, u64::MAX);
        }
    }
}

#[derive(Clone, Copy)]
enum Work {
    Upload,
    Delete,
}

/// What came of it.
struct Done {
    work: Work,
    folder: PathBuf,
    /// As it was before.
    manifest: Option<Version>,
    /// Until when nothing more is to be done, in microseconds since 1970 (UTC).
    result: Result<u64, Trouble>,
}

async fn perform(jobs: &Jobs, work: Work, folder: PathBuf) -> Done {
    let manifest = version(&folder);
    let result = match work {
        Work::Upload => jobs.upload(&folder).await,
        // It is gone, and forgotten with the next look.
        Work::Delete => jobs.delete(&folder).await.map(|()| u64::MAX),
    };
    Done { work, folder, manifest, result }
}

/// So many sessions are uploaded at once; their files take turns. One of many large files keeps no small one waiting for all of them.
const SESSIONS: usize = 8;
