//! Requests for key frames: however many viewers want one of an encoding, its publisher is asked once.

use std::time::{Duration, Instant};

/// What is wanted of an encoding.
#[derive(Debug, Default)]
pub(crate) struct KeyFrames {
    wanted: bool,
    asked: Option<Instant>,
    tries: u32,
    /// Counts the wishes.
    command: u8,
}

impl KeyFrames {
    /// Somebody waits for one.
    pub(crate) fn want(&mut self) {
        if !self.wanted {
            (self.wanted, self.tries, self.command) = (true, 0, self.command.wrapping_add(1));
        }
    }

    /// Whether somebody waits for one: one more who does costs nothing.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// One came.
    pub(crate) fn satisfied(&mut self) {
        self.wanted = false;
    }

    /// What tells one wish from the repetition of another.
    pub(crate) fn command(&self) -> u8 {
        self.command
    }

    /// When to ask.
    pub(crate) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        self.wanted.then(|| self.asked.map_or(now, |asked| asked + self.interval()))
    }

    /// Whether to ask now.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        let due = self.next_timeout(now).is_some_and(|due| due <= now);
        if due {
            self.asked = Some(now);
            self.tries += 1;
        }
        due
    }

    /// An encoder needs a moment, and one that does not react need not be asked often.
    fn interval(&self) -> Duration {
        MERGE * 2_u32.pow(self.tries.saturating_sub(1).min(3))
    }
}

/// Requests closer together than this are one.
const MERGE: Duration = Duration::from_millis(300);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    #[test]
    fn many_wishes_are_one_request_until_a_key_frame_comes() {
        let now = Instant::now();
        let mut keys = KeyFrames::default();
        assert!(!keys.poll(now));
        (0..5).for_each(|_| keys.want());
        assert!(keys.poll(now));
        assert!(!keys.poll(now + MERGE / 2), "merged");
        assert!(keys.poll(now + MERGE), "asked again: it may have been lost");
        assert!(!keys.poll(now + 2 * MERGE), "less and less often");
        keys.satisfied();
        assert_eq!(keys.next_timeout(now), None);
        keys.want();
        assert!(!keys.poll(now + MERGE + MERGE / 2), "and a new wish is merged with the last request");
        assert!(keys.poll(now + 3 * MERGE));
    }
}
