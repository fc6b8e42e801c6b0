//! What each viewer gets of a track and why it is not more, for its client to be told.

use std::time::Instant;

use lockgate_model::{Layer, LayerReason, MediaKind};

use super::Track;
use super::layers::{self, is_within};
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
            // Microphones come and go with every word: of those nothing is told.
            let is_word = self.kind() == MediaKind::Audio && reason == LayerReason::Speakers;
            return (!is_word).then_some(View::Paused(reason));
        }
        if self.kind() == MediaKind::Audio {
            return Some(View::Layer(Layer::default(), LayerReason::Source));
        }
        let (sent, target) = (self.subscriptions[place].sent_encoding(), self.subscriptions[place].target()?);
        if !self.is_alive(now, usize::from(sent.unwrap_or(target))) {
            // Unless another one is about to begin, or this one was asked for just now.
            let may_come = self.is_alive(now, usize::from(target)) || self.rests(now, usize::from(target));
            return (!may_come).then_some(View::Paused(LayerReason::Source));
        }
        let subscription = &self.subscriptions[place];
        if sent != Some(target) || subscription.changes_layers() {
            return None;
        }
        // A better one was asked of the publisher just now: what comes meanwhile is not worth a word.
        if subscription.wish().is_some_and(|wish| wish != target && self.rests(now, usize::from(wish))) {
            return None;
        }
        let layer = layers::sent(&self.encodings, subscription)?;
        Some(View::Layer(layer, self.limit(now, place, layer)))
    }

    /// Why a viewer is not to be sent anything, if so.
    fn pause(&mut self, now: Instant, place: usize) -> Option<LayerReason> {
        let subscription = &self.subscriptions[place];
        let (limits, ceiling) = (subscription.limits, subscription.ceiling);
        if limits.paused {
            return Some(LayerReason::Requested);
        }
        if self.choose(now, place, Layer::MAX).is_none() {
            return Some(LayerReason::Policy);
        }
        if self.muted {
            return Some(LayerReason::Muted);
        }
        if limits.waits {
            return Some(LayerReason::Speakers);
        }
        ceiling.is_none().then_some(LayerReason::Bandwidth)
    }

    /// What keeps a viewer from more than the layer that it gets.
    fn limit(&mut self, now: Instant, place: usize, sent: Layer) -> LayerReason {
        let subscription = &self.subscriptions[place];
        let (limits, ceiling) = (subscription.limits, subscription.ceiling);
        let whose =
            |allowed: u8, needed: u8| if allowed < needed { LayerReason::Policy } else { LayerReason::Requested };
        let Some((better, rate)) = self.better(now, sent.spatial) else {
            let highest = self.highest_temporal(sent.spatial);
            return match ceiling.is_none_or(|ceiling| ceiling < Layer::new(sent.spatial, highest)) {
                _ if limits.max_layer.temporal < highest => whose(limits.granted.temporal, highest),
                true if sent.temporal < highest => LayerReason::Bandwidth,
                _ => LayerReason::Source,
            };
        };
        if limits.max_layer.spatial < better {
            whose(limits.granted.spatial, better)
        } else if !is_within(&limits, rate, false) {
            LayerReason::Policy
        } else if ceiling.is_none_or(|ceiling| ceiling.spatial < better) {
            LayerReason::Bandwidth
        } else {
            LayerReason::Source
        }
    }
}
