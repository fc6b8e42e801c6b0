//! Frames on their way to the recorder, and those that it has not yet said to be in a file: what a recorder that was killed
//! had taken is sent to the next one again.
//!
//! One log of encoded frames for all tracks of a worker: what is sent and what is kept are the same bytes. A frame goes when the
//! recorder acknowledges it, when it is old, or when there is no room for it; nothing here ever waits, and nothing of the log is
//! ever moved: the thread that forwards media has no time for tens of megabytes.

mod blocks;

use std::collections::HashMap;

use blocks::Blocks;
use lockgate_model::carrier::{Frame, GapReason, NodeTime, TrackNumber};

/// The log of what the recorder is to get.
#[derive(Debug, Default)]
pub struct Replay {
    /// The frames that are kept, one behind the other.
    bytes: Blocks<u8, BLOCK>,
    /// So many of these bytes the recorder was given.
    sent: usize,
    /// Of what is to be sent, so much was kept from before the recorder came, in bytes.
    backlog: usize,
    entries: Blocks<Entry, ENTRIES>,
    /// The frame that is being added: only then its length is known.
    scratch: Vec<u8>,
    tracks: HashMap<TrackNumber, Progress>,
    attached: bool,
    now: NodeTime,
}

/// A frame that is kept.
#[derive(Clone, Copy, Debug)]
struct Entry {
    len: usize,
    at: NodeTime,
    track: TrackNumber,
    content: Content,
}

/// What a frame is to its track. The generation counts the track's encodings as one follows the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// A packet.
    Packet { generation: u32, seq: u64 },
    /// Something that is of no use any more when this packet is in a file.
    UpTo { generation: u32, seq: u64 },
    /// Nothing comes behind it.
    End,
}

/// How far the recorder has come with a track.
#[derive(Debug, Default)]
struct Progress {
    /// The encoding that is being sent: its generation, source and first number.
    current: Option<(u32, u32, u64)>,
    /// The source of the one before.
    previous: Option<u32>,
    /// Generation and number of the last packet that is in a file or was given up.
    acked: Option<(u32, u64)>,
    /// Generation, first and last number of packets that went before they were acknowledged.
    lost: Option<(u32, u64, u64)>,
    /// Its frames in the log.
    kept: usize,
    over: bool,
}

impl Replay {
    /// What is to be sent next, as far as it lies in one piece; it ends anywhere. Empty: nothing is to be sent.
    pub fn unsent(&self) -> &[u8] {
        self.bytes.from(self.sent)
    }

    /// So many bytes of [`Self::unsent`] were sent.
    pub fn sent(&mut self, count: usize) {
        self.sent = (self.sent + count).min(self.bytes.len());
        self.backlog = self.backlog.saturating_sub(count);
        self.release();
    }

    /// A recorder is there, and one that was there is gone: it gets everything that is kept, behind these frames, which say what
    /// is kept no more.
    pub fn attach(&mut self) -> Vec<u8> {
        self.detach();
        // All of it: what waited for the one before, beyond what is kept, would wait for this one beside what waits then.
        while self.release() {}
        self.attached = true;
        self.sent = 0;
        self.backlog = self.bytes.len();
        let mut gaps = Vec::new();
        for (track, progress) in &self.tracks {
            if let Some((ssrc, from, to)) = progress.missing() {
                Frame::Gap { track: *track, ssrc, from, to, reason: GapReason::Absent }.encode(&mut gaps);
            }
        }
        gaps
    }

    /// The recorder is gone. What it was given is kept for the next one, as everything that comes.
    pub fn detach(&mut self) {
        self.attached = false;
        self.release();
    }

    /// Every packet of an encoding up to this one is in a file or was given up.
    pub fn acknowledge(&mut self, track: TrackNumber, ssrc: u32, seq: u64) {
        let Some(progress) = self.tracks.get_mut(&track) else { return };
        let Some(acked) = progress.generation_of(ssrc, seq).map(|generation| (generation, seq)) else { return };
        if progress.acked.is_none_or(|before| before < acked) {
            progress.acked = Some(acked);
            progress.lost.take_if(|(generation, _, to)| (*generation, *to) <= acked);
            self.release();
        }
    }

    /// Lets go of what is too old by now. To be called often: it goes on with what was too much for once.
    pub fn expire(&mut self, now: NodeTime) {
        if !self.entries.is_empty() {
            self.now = self.now.max(now);
            self.release();
        }
    }

    /// Whether more may wait. Without a recorder, the oldest makes room.
    pub(crate) fn has_room(&self) -> bool {
        !self.attached || self.bytes.len() - self.sent - self.backlog < MAX_WAITING
    }

    /// A track goes on with another encoding, or begins with its first one.
    pub(crate) fn switch(&mut self, track: TrackNumber, generation: u32, ssrc: u32, first: u64) {
        let progress = self.tracks.entry(track).or_default();
        progress.previous = progress.current.map(|(_, ssrc, _)| ssrc);
        progress.current = Some((generation, ssrc, first));
    }

    /// Adds a frame that `encode` appends.
    pub(crate) fn push(
        &mut self,
        at: NodeTime,
        track: TrackNumber,
        content: Content,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        self.now = self.now.max(at);
        self.scratch.clear();
        encode(&mut self.scratch);
        let len = self.scratch.len();
        if len == 0 {
            return;
        }
        self.bytes.extend(&self.scratch);
        let progress = self.tracks.entry(track).or_default();
        progress.kept += 1;
        progress.over |= matches!(content, Content::End);
        self.entries.extend(&[Entry { len, at: self.now, track, content }]);
        self.release();
    }

    /// The latest moment that it knows.
    pub(crate) fn now(&self) -> NodeTime {
        self.now
    }

    /// Lets go of the oldest frames as far as nobody needs them, but not of so many that viewers wait for it: the rest has its
    /// turn with whatever happens next. Whether there may be a rest.
    fn release(&mut self) -> bool {
        for _ in 0..MOST_AT_ONCE {
            let Some(entry) = self.entries.front() else { return false };
            let was_sent = entry.len <= self.sent;
            let kept = if self.attached { self.sent } else { self.bytes.len() };
            let is_old = self.now.micros_since(entry.at) > KEEP || kept > MAX_KEPT;
            let progress = self.tracks.get(&entry.track);
            let is_done = progress.is_some_and(|progress| progress.is_done(entry.content));
            // Of what is being sent, nothing may go.
            if self.attached && !was_sent || !is_done && !is_old {
                return false;
            }
            self.pop(entry, is_done);
        }
        true
    }

    /// Lets go of the oldest frame, which is this one.
    fn pop(&mut self, Entry { len, track, content, .. }: Entry, is_done: bool) {
        self.entries.drop_front(1);
        self.bytes.drop_front(len);
        self.sent = self.sent.saturating_sub(len);
        let Some(progress) = self.tracks.get_mut(&track) else { return };
        progress.kept -= 1;
        if !is_done {
            progress.lose(content);
        }
        if progress.over && progress.kept == 0 {
            self.tracks.remove(&track);
        }
    }
}

impl Progress {
    fn is_done(&self, content: Content) -> bool {
        match content {
            Content::Packet { generation, seq } | Content::UpTo { generation, seq } => {
                self.acked.is_some_and(|acked| (generation, seq) <= acked)
            }
            Content::End => false,
        }
    }

    /// A publisher may go back to an encoding: its numbers have counted on.
    fn generation_of(&self, ssrc: u32, seq: u64) -> Option<u32> {
        let (generation, current, first) = self.current?;
        if ssrc == current && seq >= first {
            return Some(generation);
        }
        (self.previous == Some(ssrc)).then(|| generation.checked_sub(1)).flatten()
    }

    fn lose(&mut self, content: Content) {
        let Content::Packet { generation, seq } = content else { return };
        self.lost = match self.lost {
            Some((of, from, to)) if of == generation => Some((of, from.min(seq), to.max(seq))),
            _ => Some((generation, seq, seq)),
        };
    }

    /// What is kept no more and in no file: source, first and last number.
    fn missing(&self) -> Option<(u32, u64, u64)> {
        let ((of, from, to), (current, ssrc, _)) = (self.lost?, self.current?);
        let acked = self.acked.filter(|(generation, _)| *generation == of).map_or(0, |(_, seq)| seq + 1);
        let ssrc = if of == current { Some(ssrc) } else { self.previous.filter(|_| of + 1 == current) };
        Some((ssrc?, from.max(acked), to)).filter(|(_, from, to)| from <= to)
    }
}

/// How long a frame is kept that is not acknowledged, µs: a recorder that was killed is back after one second or two.
const KEEP: i64 = 4_000_000;
/// So much is kept at most, in bytes: four seconds of a hundred tracks of 1 Mbit/s.
const MAX_KEPT: usize = 64 << 20;
/// Some seconds of a worker's recordings: a recorder that is behind by more has a disk that cannot keep up.
const MAX_WAITING: usize = 16 << 20;
/// So many frames go at once: of packets as long as a datagram, a tenth of a millisecond's work.
const MOST_AT_ONCE: usize = 1024;
/// The log grows by this, in bytes. Little enough to be had, and given back, while viewers wait.
const BLOCK: usize = 256 << 10;
/// And the list of what is in it by so many, which take 160 KiB.
const ENTRIES: usize = 4096;

#[cfg(test)]
mod tests;
