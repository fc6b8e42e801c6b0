//! Levels: how loud the tracks that are at home here are, told in batches.
//!
//! Who speaks is not decided here: a room may have its publishers on several engines.

use std::time::{Duration, Instant};

use lockgate_model::Heard;

use super::{Engine, RouterEvent};
use crate::arena::Key;

impl Engine {
    /// A track told how loud it is.
    pub(super) fn listen(&mut self, now: Instant, track: Key) {
        self.heard.insert(track);
        self.next_levels.get_or_insert(now + EVERY);
    }

    /// Tells the owners of routers what was heard there, when it is time.
    pub(super) fn tell_levels(&mut self, now: Instant) {
        if self.next_levels.take_if(|due| *due <= now).is_none() {
            return;
        }
        let at = self.at(now);
        for (key, heard) in self.take_heard() {
            if let Some(router) = self.routers.get_mut(key) {
                router.silences = SILENCES + 1;
                self.tell(key, RouterEvent::Levels { at, heard });
            }
        }
        let (mut silent, mut more) = (Vec::new(), false);
        for (key, router) in self.routers.iter_mut().filter(|(_, router)| router.silences > 0) {
            if router.silences <= SILENCES {
                silent.push(key);
            }
            router.silences -= 1;
            more |= router.silences > 0;
        }
        silent.into_iter().for_each(|router| self.tell(router, RouterEvent::Levels { at, heard: Vec::new() }));
        if more {
            self.next_levels = Some(now + EVERY);
        }
    }

    /// What was heard since the last time, router by router.
    fn take_heard(&mut self) -> Vec<(Key, Vec<Heard>)> {
        let mut heard: Vec<(Key, Vec<Heard>)> = Vec::new();
        while let Some(key) = self.heard.pop_first() {
            let Some(track) = self.tracks.get_mut(key) else { continue };
            if let Some(frames) = track.take_heard() {
                heard.push((track.router, vec![Heard { track: track.id.clone(), frames }]));
            }
        }
        heard.sort_by_key(|(router, _)| *router);
        heard.dedup_by(|(later, more), (router, heard)| {
            let same = later == router;
            if same {
                heard.append(more);
            }
            same
        });
        heard
    }
}

/// A second of silence is told, so that turns end.
const SILENCES: u8 = 10;
/// Five frames of 20 ms: what a decision about speakers is made of.
const EVERY: Duration = Duration::from_millis(100);
