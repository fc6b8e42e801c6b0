//! The last flight we sent, kept until it is answered, and sent again when it seems lost.
//!
//! The library's own timer cannot be used: whatever handshake record arrives stops it for good, so one lost flight would
//! leave both sides waiting for ever.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::record::renumber;

/// A flight and when it is due again.
pub(super) struct Flight {
    datagrams: Vec<BytesMut>,
    sent_at: Instant,
    /// `None` when only the peer's repetition asks for it: it ended the handshake.
    timer: Option<Timer>,
    resent: u32,
}

#[derive(Clone, Copy)]
struct Timer {
    due: Instant,
    wait: Duration,
}

impl Flight {
    /// A flight that was sent at `now` for the first time.
    pub(super) fn new(now: Instant, datagrams: Vec<BytesMut>) -> Self {
        let timer = Timer { due: now + FIRST_WAIT, wait: FIRST_WAIT };
        Self { datagrams, sent_at: now, timer: Some(timer), resent: 0 }
    }

    /// Stops the timer: the handshake is complete for us, and only the peer knows whether this flight arrived.
    pub(super) fn stop_timer(&mut self) {
        self.timer = None;
        self.resent = 0;
    }

    /// Resends if the time has come; the wait doubles up to [`MAX_WAIT`].
    pub(super) fn on_timeout(&mut self, now: Instant, sequence: &mut u64) -> Vec<Bytes> {
        let Some(timer) = self.timer.as_mut().filter(|timer| timer.due <= now) else {
            return Vec::new();
        };
        timer.wait = (timer.wait * 2).min(MAX_WAIT);
        self.resend(now, sequence)
    }

    /// Resends because the peer repeats what this flight answers, but not for every datagram of its repetition, and
    /// not for ever: the repetition may be forged.
    pub(super) fn on_repetition(&mut self, now: Instant, sequence: &mut u64) -> Vec<Bytes> {
        if now.saturating_duration_since(self.sent_at) < MIN_GAP || self.resent == MAX_RESENT {
            return Vec::new();
        }
        self.resend(now, sequence)
    }

    /// When [`Flight::on_timeout`] wants to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        self.timer.map(|timer| timer.due)
    }

    /// Unprotected records get new numbers, so that a peer which saw a record, but could not use it yet, takes it now.
    /// Protected ones go out as they were: a peer that could open them has used them.
    fn resend(&mut self, now: Instant, sequence: &mut u64) -> Vec<Bytes> {
        self.sent_at = now;
        self.resent += 1;
        if let Some(timer) = &mut self.timer {
            timer.due = now + timer.wait;
        }
        let mut copies = Vec::with_capacity(self.datagrams.len());
        for datagram in &mut self.datagrams {
            renumber(datagram, sequence);
            copies.push(Bytes::copy_from_slice(datagram));
        }
        copies
    }
}

/// Longer than most round trips, shorter than anybody notices.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// With it a lost datagram costs at most two seconds, and a dead peer fourteen further flights.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// A repeated flight of several datagrams is answered once.
const MIN_GAP: Duration = Duration::from_millis(50);
/// Answers to repetitions. A peer that doubles its wait repeats ten times in 30 s.
const MAX_RESENT: u32 = 32;
