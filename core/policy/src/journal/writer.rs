//! The thread that writes the log: lines, files, what reaches the disk when, and what happens when that is full.
//!
//! Each batch of lines is one write. It is on the disk a second later at the latest, at each end of a file and at the end. What
//! was written before a process dies is in the file all the same; a machine that dies may lose the last second.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::entry::withheld;
use super::folder::{Earlier, FileProblem, Folder};
use super::folds::Folds;
use super::line::{Begun, Header, Line, Lost, Policies, SwapLine, SwapOutcome, Torn};
use super::queue::{Counts, Entry, Message};
use super::seal::{Head, MAX_LINE};
use super::{JournalConfig, now_ms};

/// The log as its thread sees it.
#[derive(Debug)]
pub(crate) struct Writer {
    folder: Folder,
    config: JournalConfig,
    policies: Policies,
    /// Those that are asked for a share of the rooms.
    canary: Option<Policies>,
    file: File,
    number: u64,
    length: u64,
    since_ms: u64,
    head: Head,
    /// Lines that are sealed and not written.
    batch: Vec<u8>,
    /// How many of them tell something.
    batched: u64,
    /// How many lost ones the others tell of.
    batched_gaps: u64,
    /// Whether the file has nothing but its header.
    fresh: bool,
    /// The head that the file has.
    written: Head,
    /// What surely is on the disk.
    synced: Synced,
    /// Lines that were written since, and how many lost ones the others tell of.
    since_sync: (u64, u64),
    /// Whether there may be more in the file than what surely is on the disk, and it has to go before anything follows.
    doubtful: bool,
    /// Lines that the disk would not take, and that the log does not tell of yet.
    refused: u64,
    /// Since when something is written that the disk may not have.
    unsynced: Option<Instant>,
    /// When the disk refused something last.
    failed: Option<Instant>,
    /// Refusals that are told as a number.
    folds: Folds,
    told: (Instant, u64),
    counts: Arc<Counts>,
}

/// The part of the last file that a power failure leaves.
#[derive(Clone, Copy, Debug)]
struct Synced {
    head: Head,
    length: u64,
    fresh: bool,
}

impl Writer {
    /// Goes on where an earlier run stopped.
    pub(crate) fn open(
        folder: Folder,
        config: &JournalConfig,
        policies: Policies,
        now_ms: u64,
    ) -> Result<Self, FileProblem> {
        let earlier = folder.earlier()?;
        let Earlier { head, since_ms, torn, .. } = earlier;
        let full = earlier.length >= config.max_size || is_old(since_ms, now_ms, config);
        let goes_on = earlier.whole && !full;
        let number = earlier.file.saturating_add(u64::from(!goes_on));
        let file = folder.append_to(number, !goes_on)?;
        let (length, since_ms) = if goes_on { (earlier.length, since_ms) } else { (0, now_ms) };
        let counts = Arc::new(Counts::new(head));
        let mut writer = Self {
            folder,
            config: config.clone(),
            policies,
            canary: None,
            file,
            number,
            length,
            since_ms,
            head,
            batch: Vec::new(),
            batched: 0,
            batched_gaps: 0,
            fresh: !goes_on,
            written: head,
            synced: Synced { head, length, fresh: !goes_on },
            since_sync: (0, 0),
            doubtful: false,
            refused: 0,
            unsynced: None,
            failed: None,
            folds: Folds::default(),
            told: (Instant::now(), head.seq),
            counts,
        };
        let header = writer.header(Begun::Node, number, torn);
        writer.seal(&header, now_ms);
        let begun = writer.write().and_then(|()| writer.file.sync_data());
        begun.map_err(|source| FileProblem { path: writer.folder.file(number), source })?;
        writer.is_synced();
        writer.forget();
        writer.tell("the decision log goes on from here");
        Ok(writer)
    }

    /// Takes messages until the last one.
    pub(super) fn run(&mut self, messages: &Receiver<Message>) {
        loop {
            let first = match self.wait() {
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => messages.recv_timeout(wait),
            };
            let more = match first {
                Ok(first) => self.take(first, messages),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !more {
                break;
            }
            let repeated = self.folds.over(now_ms(), &self.config.omit);
            self.put_all(repeated);
            if self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_EVERY) {
                self.sync();
            }
            if self.told.0.elapsed() >= TELL_EVERY && self.told.1 != self.synced.head.seq {
                self.tell("the head of the decision log");
            }
        }
        let repeated = self.folds.all(&self.config.omit);
        self.put_all(repeated);
        self.admit_gaps(now_ms());
        self.put(&Line::End {}, now_ms());
        self.flush();
        self.sync();
        self.tell("the decision log ends");
    }

    /// How long nothing happens unless something comes.
    fn wait(&self) -> Option<Duration> {
        let sync = self.unsynced.map(|since| SYNC_EVERY.saturating_sub(since.elapsed()));
        let over = self.folds.next_ms().map(|next| Duration::from_millis(next.saturating_sub(now_ms())));
        sync.into_iter().chain(over).min()
    }

    fn put_all(&mut self, lines: Vec<Line>) {
        for line in lines {
            self.put(&withheld(line), now_ms());
        }
        self.flush();
    }

    /// Takes what waits, as one batch. Returns whether more may come.
    fn take(&mut self, first: Message, messages: &Receiver<Message>) -> bool {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(message) = next {
            let Message::Entry { entry, time_ms, weight } = message else {
                self.flush();
                return false;
            };
            self.admit_gaps(time_ms);
            if self.folds.tells(&entry, time_ms) {
                let line = match entry {
                    Entry::Line(line) => withheld(*line),
                    Entry::Answered(answered) => answered.line(&self.config.omit),
                };
                self.put(&line, time_ms);
                self.learn(line);
            }
            self.counts.weight.fetch_sub(weight, Relaxed);
            taken += 1;
            next = if taken < MAX_BATCH { messages.try_recv().ok() } else { None };
        }
        self.flush();
        true
    }

    /// Whom the headers of further files name.
    fn learn(&mut self, line: Line) {
        let Line::Swap(line) = line else { return };
        let SwapLine { outcome, to, .. } = *line;
        if outcome == SwapOutcome::Canary {
            self.canary = Some(to);
        } else {
            (self.policies, self.canary) = (to, None);
        }
    }

    /// Says where lines are missing, as soon as something can be said.
    pub(super) fn admit_gaps(&mut self, time_ms: u64) {
        let missed = self.counts.missed.swap(0, Relaxed);
        if missed > 0 {
            self.put(&Line::Gap { lost: missed, why: Lost::Queue }, time_ms);
        }
    }

    pub(super) fn put(&mut self, line: &Line, time_ms: u64) {
        if self.failed.is_some_and(|at| at.elapsed() < RETRY_AFTER) || !self.cut_doubtful() {
            return self.lose(line);
        }
        self.begin(time_ms);
        let before = (self.head, self.batch.len());
        self.seal(line, time_ms);
        if self.batch.len() - before.1 > MAX_LINE {
            self.head = before.0;
            self.batch.truncate(before.1);
            // It should not have come through the queue.
            self.counts.missed.fetch_add(1, Relaxed);
            self.counts.lost.fetch_add(1, Relaxed);
            return;
        }
        let too_long = self.length + self.batch.len() as u64 > self.config.max_size;
        if self.fresh || !(too_long || is_old(self.since_ms, time_ms, &self.config)) {
            self.count(line);
            return;
        }
        // It belongs into the next file, behind its header.
        self.head = before.0;
        self.batch.truncate(before.1);
        if self.rotate(time_ms) {
            self.begin(time_ms);
            self.seal(line, time_ms);
            self.count(line);
        } else {
            self.lose(line);
        }
    }

    /// What stands before the next line: the header of a new file, and how many lines the disk would not take.
    fn begin(&mut self, time_ms: u64) {
        if self.length == 0 && self.batch.is_empty() {
            let header = self.header(Begun::File, self.number, None);
            self.seal(&header, time_ms);
        }
        if self.refused > 0 {
            let gap = Line::Gap { lost: std::mem::take(&mut self.refused), why: Lost::Disk };
            self.seal(&gap, time_ms);
            self.count(&gap);
        }
    }

    /// A line of the batch: if that cannot be written, so much is lost.
    fn count(&mut self, line: &Line) {
        self.fresh = false;
        match line {
            Line::Gap { lost, .. } => self.batched_gaps += lost,
            _ => self.batched += 1,
        }
    }

    /// Ends the file and begins the next one, if the disk has all of it, and room for more.
    fn rotate(&mut self, time_ms: u64) -> bool {
        self.flush();
        self.sync();
        if self.doubtful {
            return false;
        }
        let number = self.number.saturating_add(1);
        match self.folder.append_to(number, true) {
            Ok(file) => {
                self.tell("a file of the decision log is full");
                (self.file, self.number, self.length, self.since_ms) = (file, number, 0, time_ms);
                self.fresh = true;
                self.synced = Synced { head: self.written, length: 0, fresh: true };
                self.forget();
                true
            }
            Err(problem) => {
                self.fail(&problem);
                false
            }
        }
    }

    fn seal(&mut self, line: &Line, time_ms: u64) {
        match serde_json::to_string(line) {
            Ok(event) => self.head.seal(time_ms, &event, &mut self.batch),
            // Nothing in a line can fail to be written as JSON.
            Err(error) => tracing::error!(%error, "a decision cannot be logged"),
        }
    }

    /// Hands the batch to the system; if it does not take all, none of it is in the file.
    pub(super) fn flush(&mut self) {
        if let Err(source) = self.write() {
            self.refused += self.batched + self.batched_gaps;
            self.counts.lost.fetch_add(self.batched, Relaxed);
            (self.head, self.batched, self.batched_gaps) = (self.written, 0, 0);
            self.batch.clear();
            self.fail(&FileProblem { path: self.folder.file(self.number), source });
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(&self.batch) {
            // Half a line would be in the way of the next one.
            self.doubtful |= self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += self.batch.len() as u64;
        self.batch.clear();
        self.since_sync.0 += std::mem::take(&mut self.batched);
        self.since_sync.1 += std::mem::take(&mut self.batched_gaps);
        self.counts.lines.fetch_add(self.head.seq - self.written.seq, Relaxed);
        self.written = self.head;
        self.counts.set_head(self.written);
        self.unsynced.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Has the disk take what is written. If it does not, nothing of it counts: the system tells of the failure once, and may have
    /// thrown the bytes away.
    pub(super) fn sync(&mut self) {
        if self.unsynced.is_none() {
            return;
        }
        match self.file.sync_data() {
            Ok(()) => self.is_synced(),
            Err(source) => {
                let (lines, gaps) = std::mem::take(&mut self.since_sync);
                self.refused += lines + gaps;
                self.counts.lost.fetch_add(lines, Relaxed);
                let Synced { head, length, fresh } = self.synced;
                (self.head, self.written, self.length, self.fresh) = (head, head, length, fresh);
                self.counts.set_head(head);
                (self.unsynced, self.doubtful) = (None, true);
                self.fail(&FileProblem { path: self.folder.file(self.number), source });
            }
        }
    }

    fn is_synced(&mut self) {
        self.synced = Synced { head: self.written, length: self.length, fresh: self.fresh };
        (self.unsynced, self.since_sync, self.failed) = (None, (0, 0), None);
        self.counts.works.store(true, Relaxed);
    }

    /// Takes what the disk may not have off the file, so that nobody reads lines there that the chain knows nothing of. False: it
    /// cannot be done yet. The log goes on in the same file: a disk that fails now and then shall not use up the files that are kept.
    fn cut_doubtful(&mut self) -> bool {
        if !self.doubtful {
            return true;
        }
        match self.file.set_len(self.length).and_then(|()| self.file.sync_all()) {
            Ok(()) => self.doubtful = false,
            Err(source) => self.fail(&FileProblem { path: self.folder.file(self.number), source }),
        }
        !self.doubtful
    }

    fn fail(&mut self, problem: &FileProblem) {
        if self.counts.works.swap(false, Relaxed) {
            tracing::error!(%problem, "decisions cannot be logged; they are made all the same");
        }
        self.failed = Some(Instant::now());
    }

    fn lose(&mut self, line: &Line) {
        // A gap is lines already.
        let lost = if let Line::Gap { lost, .. } = line { *lost } else { 1 };
        self.refused += lost;
        if !matches!(line, Line::Gap { .. }) {
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }

    fn forget(&self) {
        if let Err(problem) = self.folder.forget(self.config.keep) {
            tracing::warn!(%problem, "an old file of the decision log cannot be deleted");
        }
    }

    fn tell(&mut self, what: &str) {
        // Others keep it and hold the log against it: it must not be taken back.
        let Head { seq, hash } = self.synced.head;
        tracing::info!(seq, %hash, file = %self.folder.file(self.number).display(), "{what}");
        self.told = (Instant::now(), seq);
    }

    /// What both sides of the queue count.
    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Goes on with another disk.
    #[cfg(test)]
    pub(super) fn on_another(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    /// So much later that the disk may be tried again.
    #[cfg(test)]
    pub(super) fn try_again(&mut self) {
        self.failed = self.failed.map(|at| at.checked_sub(RETRY_AFTER).unwrap_or(at));
    }

    fn header(&self, why: Begun, file: u64, torn: Option<Torn>) -> Line {
        Line::Header(Box::new(Header {
            format: 1,
            why,
            file,
            keep: self.config.keep,
            torn,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            omit: self.config.omit.clone(),
            policies: self.policies.clone(),
            canary: self.canary.clone(),
        }))
    }
}

fn is_old(since_ms: u64, now_ms: u64, config: &JournalConfig) -> bool {
    u128::from(now_ms.saturating_sub(since_ms)) >= config.max_age.as_millis()
}

/// Lines in one write.
const MAX_BATCH: usize = 512;
/// How long what is written may be in memory only.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How often a disk that refuses is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often the operator's log is told where the chain is.
const TELL_EVERY: Duration = Duration::from_secs(600);
