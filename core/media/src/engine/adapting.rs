//! Adapting: what a viewer's link carries decides how fast it is sent to, and which encodings it gets.

use std::time::Instant;

use lockgate_model::Layer;
use lockgate_rtp::TwccFeedback;

use super::Engine;
use crate::allocate::{Demand, allocate};
use crate::arena::Key;
use crate::link::{Budget, Link};
use crate::stats::DropReason;
use crate::subscribe::Subscribe;
use crate::transport::Transport;

impl Engine {
    /// A viewer tells which packets came, and when.
    pub(super) fn take_arrivals(&mut self, now: Instant, key: Key, arrivals: &TwccFeedback<'_>) {
        let Some(subscribe) = self.viewer(key) else { return };
        let refused = subscribe.link.estimator.handle_feedback(now, arrivals);
        self.counters.drop_all(DropReason::Feedback, refused);
        self.adapt(now, key);
    }

    /// A viewer without such reports tells what it can take.
    pub(super) fn take_remb(&mut self, now: Instant, key: Key, bitrate: u64) {
        let Some(subscribe) = self.viewer(key) else { return };
        subscribe.link.estimator.handle_remb(now, bitrate);
        self.adapt(now, key);
    }

    /// The estimate may be another one.
    pub(super) fn adapt(&mut self, now: Instant, key: Key) {
        let Some(subscribe) = self.viewer(key) else { return };
        subscribe.link.set_pace(now);
        let (budget, probe) = (subscribe.link.poll_budget(now), subscribe.link.estimator.probe_bytes(now));
        if let Some(budget) = budget {
            self.share_out(now, key, budget);
        }
        if probe > 0 {
            self.probe(now, key, probe);
        }
        self.touched.insert(key);
    }

    /// Chooses the layers of all tracks of a viewer by what its link carries.
    fn share_out(&mut self, now: Instant, key: Key, budget: Budget) {
        let Some((subscribe, _)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) else { return };
        let mut demands = std::mem::take(&mut self.demands);
        demands.clear();
        let tracks = subscribe.tracks();
        demands.extend(tracks.filter_map(|track| self.tracks.get_mut(track)?.demand(now, track, key)));
        demands.iter_mut().for_each(|demand| demand.held = subscribe.link.held(now, demand.track));
        allocate(budget.estimate, &mut demands);
        subscribe.link.estimator.set_wanted(now, demands.iter().map(|demand| demand.lacking()).sum());
        let content = demands.iter().all(|demand| demand.is_content());
        if content {
            subscribe.link.relax();
        }
        let given = demands.iter().map(Demand::given).fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
        let is_short = budget.strained && !content && given.1 > 0;
        subscribe.link.set_share(if is_short { given.0 as f64 / given.1 as f64 } else { 1.0 });
        let is_free = content || !budget.strained;
        for demand in demands.iter().filter(|_| !is_free) {
            if let Some((layer, leaves)) = demand.leaves() {
                subscribe.link.note_sent(now, demand.track, layer, leaves);
            }
        }
        for demand in &demands {
            let choice = if is_free { Some(Layer::MAX) } else { demand.chosen() };
            let track = self.tracks.get_mut(demand.track);
            if track.is_some_and(|track| track.set_ceiling(now, key, choice)) {
                self.stirred.insert(demand.track);
                self.wishes.insert(demand.track);
                self.hurry(demand.track);
            }
        }
        self.demands = demands;
    }

    /// Repeats packets, to find out whether the link carries more.
    fn probe(&mut self, now: Instant, key: Key, mut bytes: usize) {
        for place in 0.. {
            let tracks = self.viewer(key).map(|subscribe| subscribe.tracks());
            let Some(track) = tracks.and_then(|mut tracks| tracks.nth(place)).filter(|_| bytes > 0) else { break };
            let (tracks, mut onward) = self.split(now);
            if let Some(track) = tracks.get_mut(track) {
                bytes = bytes.saturating_sub(track.probe(&mut onward, key, bytes));
            }
        }
    }

    /// Sends what waited, to those whose links have room now. True: the egress is full.
    pub(super) fn release_held(&mut self, now: Instant) -> bool {
        for _ in 0..self.holding.len() {
            if self.egress.is_full() {
                return true;
            }
            let Some(key) = self.holding.pop_first() else { break };
            if self.transports.get_mut(key).is_some_and(|transport| transport.way(&mut self.egress).is_some()) {
                self.release_to(now, key);
            } else if let Some(subscribe) = self.viewer(key) {
                let forgotten = subscribe.link.forget_all();
                self.counters.drop_all(DropReason::NotConnected, forgotten);
            }
            if self.viewer(key).is_some_and(|subscribe| subscribe.link.next_release().is_some()) {
                self.holding.insert(key);
            }
        }
        false
    }

    fn release_to(&mut self, now: Instant, key: Key) {
        while let Some(held) = self.viewer(key).and_then(|subscribe| subscribe.link.next_track(now)) {
            let (tracks, mut onward) = self.split(now);
            match tracks.get_mut(held) {
                Some(track) => {
                    track.release(&mut onward, held, key);
                    if track.has_changed() {
                        self.stirred.insert(held);
                    }
                }
                None => _ = self.viewer(key).map(|subscribe| subscribe.link.forget(held)),
            }
        }
    }

    /// When something that waits may leave.
    pub(super) fn next_release(&self) -> Option<Instant> {
        let links = self.holding.iter().filter_map(|key| self.transports.get(key)?.link());
        links.filter_map(Link::next_release).min()
    }

    fn viewer(&mut self, key: Key) -> Option<&mut Subscribe> {
        self.transports.get_mut(key)?.subscribe_mut().map(|(subscribe, _)| subscribe)
    }
}
