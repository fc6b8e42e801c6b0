//! What each viewer gets of a track and why it is not more, for its client to be told.

use std::time::Instant;

use lockgate_model::{Layer, LayerReason, MediaKind};

use super::{Track, is_within};
use crate::arena::Key;
use crate::told::{Change, View};

impl Track {
    /// Whether [`Self::take_changes`] may have something.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// Every viewer may get something else by now.
    pub(super) fn stir(&mut self) {
        self.changed = true;
        self.subscriptions.iter_mut().for_each(|subscription| subscription.is_stirred = true);
    }

    /// What viewers are to be told of what they get.
    pub(crate) fn take_changes(&mut self, now: Instant) -> Vec<(Key, Change)> {
        self.changed = false;
        let mut changes = Vec::new();
        for place in 0..self.subscriptions.len() {
            if !std::mem::take(&mut self.subscriptions[place].is_stirred) {
                continue;
            }
            let Some(view) = self.view(now, place) else { continue };
            let subscription = &mut self.subscriptions[place];
            changes.extend(subscription.told.tell(view).map(|change| (subscription.transport, change)));
        }
        changes
    }

    /// What a viewer gets. None: that is just changing.
    fn view(&mut self, now: Instant, place: usize) -> Option<View> {
        if !self.subscriptions[place].is_agreed() {
            return None;
        }
        if let Some(reason) = self.pause(now, place) {
            return Some(View::Paused(reason));
        }
        if self.kind() == MediaKind::Audio {
            return Some(View::Layer(Layer::default(), LayerReason::Source));
        }
        let (sent, target) = (self.subscriptions[place].sent_encoding(), self.subscriptions[place].target()?);
        if !self.is_alive(now, usize::from(sent.unwrap_or(target))) {
            // Unless another one is about to begin.
            return (!self.is_alive(now, usize::from(target))).then_some(View::Paused(LayerReason::Source));
        }
        let sent = sent.filter(|sent| *sent == target)?;
        let temporal = self.encodings.get(usize::from(sent)).map_or(0, |encoding| encoding.temporal);
        let temporal = temporal.min(self.subscriptions[place].limits.max_layer.temporal);
        Some(View::Layer(Layer::new(sent, temporal), self.limit(now, place, sent)))
    }

    /// Why a viewer is not to be sent anything, if so.
    fn pause(&mut self, now: Instant, place: usize) -> Option<LayerReason> {
        let subscription = &self.subscriptions[place];
        let (limits, ceiling) = (subscription.limits, subscription.ceiling);
        if limits.paused {
            return Some(LayerReason::Requested);
        }
        if self.choose(now, &limits, u8::MAX, subscription.target()).is_none() {
            return Some(LayerReason::Policy);
        }
        if self.muted {
            return Some(LayerReason::Muted);
        }
        ceiling.is_none().then_some(LayerReason::Bandwidth)
    }

    /// What keeps a viewer from more than the encoding that it gets.
    fn limit(&mut self, now: Instant, place: usize, sent: u8) -> LayerReason {
        let subscription = &self.subscriptions[place];
        let (limits, ceiling) = (subscription.limits, subscription.ceiling);
        let whose =
            |allowed: u8, needed: u8| if allowed < needed { LayerReason::Policy } else { LayerReason::Requested };
        let count = self.encodings.len() as u8;
        let Some(better) = (sent + 1..count).find(|better| self.is_alive(now, usize::from(*better))) else {
            let highest = self.encodings.get(usize::from(sent)).map_or(0, |encoding| encoding.temporal);
            let is_whole = limits.max_layer.temporal >= highest;
            return if is_whole { LayerReason::Source } else { whose(limits.granted.temporal, highest) };
        };
        if limits.max_layer.spatial < better {
            whose(limits.granted.spatial, better)
        } else if !is_within(&limits, self.rate(now, usize::from(better)), false) {
            LayerReason::Policy
        } else if ceiling.is_none_or(|ceiling| ceiling < better) {
            LayerReason::Bandwidth
        } else {
            LayerReason::Source
        }
    }
}
