//! Handing on: what publishers sent goes to their viewers, first what waited for room.

use std::time::Instant;

use super::Engine;
use crate::arena::Key;

impl Engine {
    /// Hands on what was taken in since the last time, viewer by viewer. True: the egress is full; send it, clear it, and call again.
    pub fn forward(&mut self, now: Instant) -> bool {
        if self.release_held(now) {
            return true;
        }
        while let Some(key) = self.waiting.first() {
            let (tracks, mut onward) = self.split(now);
            if let Some(track) = tracks.get_mut(key) {
                let more = track.forward(&mut onward, key);
                if track.has_changed() {
                    self.stirred.insert(key);
                    self.wishes.insert(key);
                }
                if more {
                    return true;
                }
            }
            self.waiting.pop_first();
        }
        self.waiting_bytes = 0;
        self.tell_layers(now);
        false
    }

    /// Whether so much was taken in, or is to be sent for what was, that it should be handed on and sent before there is more.
    pub fn is_full(&self) -> bool {
        self.waiting_bytes >= MAX_WAITING || self.egress.is_full()
    }

    /// Something came of a track.
    pub(super) fn wait_for_forward(&mut self, track: Key, bytes: usize) {
        self.waiting_bytes += bytes;
        self.waiting.insert(track);
    }
}

/// A fraction of what an encoding's ring holds: what waits must not be overwritten there.
const MAX_WAITING: usize = 256 << 10;
