//! What is wanted of a track's publisher: how many of its encodings, so that it need not make those that nobody gets.

use std::time::Instant;

use lockgate_model::MediaKind;

use super::Track;
use super::piping::{Feed, RESTS};
use crate::arena::Key;
use crate::steering::Steering;
use crate::subscription::Subscription;

impl Track {
    /// How many encodings its publisher is to send from now on, the smallest ones, if that is something else than before.
    pub(crate) fn steer(&mut self, now: Instant) -> Option<u8> {
        // Sound tells who speaks, whoever listens.
        let steers = std::mem::take(&mut self.is_steered_anew) || self.steering.has_spare();
        if !steers || !self.is_home() || self.kind() == MediaKind::Audio {
            return None;
        }
        let (wanted, count) = (self.wanted(), self.encodings.len() as u8);
        self.steering.want(now, wanted, count).then_some(wanted.min(count))
    }

    /// Its publisher may send less than all of it, as it did of another track.
    pub(crate) fn ask_anew(&mut self) {
        self.steering = Steering::unknown();
    }

    /// A viewer's connection is coming about: what it will want is known already.
    pub(crate) fn prepare_for(&mut self, now: Instant, transport: Key) {
        if let Some(place) = self.place_of(transport) {
            self.aim_one(now, place);
        }
    }

    /// How many encodings are wanted, up to the largest that somebody wants.
    fn wanted(&self) -> u8 {
        if self.muted {
            return 0;
        }
        let viewers = self.subscriptions.iter().flat_map(Subscription::wishes).map(|encoding| encoding + 1);
        let others = self.told.iter().map(|told| told.wanted.up_to_highest());
        let recorder = self.tap.iter().map(|_| self.encodings.len() as u8);
        viewers.chain(others).chain(recorder).max().unwrap_or(0)
    }

    /// Whether an encoding does not come as nobody wanted it, and would.
    pub(super) fn rests(&self, now: Instant, index: usize) -> bool {
        match self.feed {
            Feed::Publisher(_) => self.kind() == MediaKind::Video && self.steering.rests(now, index as u8),
            Feed::Pipe(..) => self.remote.rates.get(index).is_some_and(|rate| rate & RESTS != 0),
        }
    }

    /// Whether an encoding comes, or would if it were wanted.
    pub(super) fn can_be_had(&self, now: Instant, index: usize) -> bool {
        self.is_alive(now, index) || self.rests(now, index)
    }

    /// How many bits a second an encoding has; of one that rests, what it had when it came last.
    pub(super) fn expected(&mut self, now: Instant, index: usize) -> u64 {
        let (rate, rests) = (self.rate(now, index), self.rests(now, index));
        let known = &mut self.known[index];
        if rests {
            return rate.max(*known).max(1);
        }
        if rate > 0 {
            *known = rate;
        }
        rate
    }
}
