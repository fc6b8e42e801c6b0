//! The last flight we sent, kept until it is answered, and sent again when it seems lost.
//!
//! The library's own timer cannot be used: whatever handshake record arrives stops it for good, so one lost flight
//! would leave both sides waiting for ever.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::Role;
use super::record::renumber;

/// A flight and when it is due again.
pub(super) struct Flight {
    datagrams: Vec<BytesMut>,
    role: Role,
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
    pub(super) fn new(now: Instant, role: Role, datagrams: Vec<BytesMut>) -> Self {
        let timer = Timer { due: now + FIRST_WAIT, wait: FIRST_WAIT };
        Self { datagrams, role, sent_at: now, timer: Some(timer), resent: 0 }
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

    /// A server repeats itself verbatim. Its flights are one datagram each, so a peer has all of it or nothing, and its
    /// replay window keeps a superfluous copy from doing harm: `rtc-dtls` as client would stop its own timer for it.
    ///
    /// A client gives new numbers to its unprotected records (RFC 6347 §4.2.4): a server that saw a record, but could
    /// not use it yet or has answered it already, must notice. Protected records are sealed and go out as they were.
    fn resend(&mut self, now: Instant, sequence: &mut u64) -> Vec<Bytes> {
        self.sent_at = now;
        self.resent += 1;
        if let Some(timer) = &mut self.timer {
            timer.due = now + timer.wait;
        }
        let mut copies = Vec::with_capacity(self.datagrams.len());
        for datagram in &mut self.datagrams {
            if self.role == Role::Client {
                renumber(datagram, sequence);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::record::{content, put_record};

    /// Two unprotected records and, if numbers were given to all of them, the next number.
    fn datagram() -> BytesMut {
        let mut datagram = BytesMut::new();
        put_record(&mut datagram, content::HANDSHAKE, 0, &[1; 20]);
        put_record(&mut datagram, content::CHANGE_CIPHER_SPEC, 1, &[1]);
        datagram
    }

    #[allow(clippy::disallowed_methods, reason = "virtual time needs a first instant")]
    fn resent(role: Role) -> (Bytes, u64) {
        let now = Instant::now();
        let mut sequence = 2;
        let mut flight = Flight::new(now, role, vec![datagram()]);
        let copies = flight.on_timeout(now + FIRST_WAIT, &mut sequence);
        (copies[0].clone(), sequence)
    }

    #[test]
    fn a_server_repeats_itself_verbatim() {
        assert_eq!(resent(Role::Server), (datagram().freeze(), 2));
    }

    #[test]
    fn a_client_never_uses_a_record_number_twice() {
        let mut renumbered = datagram();
        renumbered[10] = 2;
        renumbered[33 + 10] = 3;
        assert_eq!(resent(Role::Client), (renumbered.freeze(), 4));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "virtual time needs a first instant")]
    fn the_wait_doubles_up_to_two_seconds() {
        let started = Instant::now();
        let mut flight = Flight::new(started, Role::Server, vec![datagram()]);
        let waits: Vec<u128> = (0..7)
            .map(|_| {
                let due = flight.due().unwrap();
                assert!(flight.on_timeout(due - Duration::from_millis(1), &mut 0).is_empty());
                assert_eq!(flight.on_timeout(due, &mut 0).len(), 1);
                (due - started).as_millis()
            })
            .collect();
        assert_eq!(waits, [100, 300, 700, 1_500, 3_100, 5_100, 7_100]);
    }
}
