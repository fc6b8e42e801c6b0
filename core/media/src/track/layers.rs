//! What a viewer can be sent of a track, and what it is: encodings of different sizes, or layers of one.
//!
//! Where a track has several encodings, the spatial index of a layer counts these, and all layers of a chosen one are sent. Where it has
//! one, the index counts that one's spatial layers. Temporal layers are left out alike in both.

use std::time::Instant;

use lockgate_model::{Bitrate, Layer, Limits, MediaKind};
use lockgate_rtp::{Header, LayerFacts, LayersAllocation, Target};
use lockgate_transport::sdp::Extension;

use super::{Onward, Track};
use crate::allocate::{Demand, Steps};
use crate::arena::Key;
use crate::encoding::Encoding;
use crate::subscription::{Aim, Subscription};

/// What the limits of a viewer allow it of a track.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    /// The track has one encoding, whose spatial layers are counted.
    alone: bool,
    most: Layer,
}

impl Allowed {
    /// An encoding, with its layers up to a spatial one.
    pub(super) fn size(self, encoding: u8, spatial: u8) -> bool {
        let size = if self.alone { spatial } else { encoding };
        size <= self.most.spatial
    }

    /// A packet of an encoding.
    pub(super) fn packet(self, encoding: u8, layer: &LayerFacts) -> bool {
        self.size(encoding, layer.spatial) && layer.temporal <= self.most.temporal
    }
}

impl Track {
    /// The encoding that a viewer is to get, and which of its layers: what is alive and within limits; while nothing is alive, the
    /// lowest allowed encoding, which may come. And the encoding that it would get if all came.
    pub(super) fn choose(&mut self, now: Instant, place: usize, ceiling: Layer) -> Option<Aim> {
        let Subscription { limits, .. } = self.subscriptions[place];
        if limits.paused {
            return None;
        }
        if self.encodings.len() == 1 {
            let most = limits.max_layer.min(ceiling);
            let layers = self.highest_within(now, place, Target::new(most.spatial, most.temporal))?;
            return Some(Aim { encoding: 0, layers, wish: 0 });
        }
        let current = self.subscriptions[place].target();
        let top = usize::from(limits.max_layer.spatial.min(ceiling.spatial)).min(self.encodings.len() - 1);
        let (mut first, mut best, mut wish) = (None, None, None);
        for index in 0..=top {
            if is_within(&limits, self.expected(now, index), current == Some(index as u8)) {
                let this = Some(index as u8);
                first = first.or(this);
                best = this.filter(|_| self.is_alive(now, index)).or(best);
                // Whether it comes or not: a publisher whose link has no room for it now may have it later.
                wish = this;
            }
        }
        let encoding = best.or(first)?;
        let below = encoding < ceiling.spatial;
        let temporal = limits.max_layer.temporal.min(if below { u8::MAX } else { ceiling.temporal });
        Some(Aim { encoding, layers: Target::new(u8::MAX, temporal), wish: wish.unwrap_or(encoding) })
    }

    /// The best target of a single encoding up to a limit, within the bitrate that the viewer may have.
    fn highest_within(&mut self, now: Instant, place: usize, most: Target) -> Option<Target> {
        let limits = self.subscriptions[place].limits;
        if limits.max_bitrate.is_none() {
            return Some(most);
        }
        let sent = sent(&self.encodings, &self.subscriptions[place]);
        let rate = self.expected(now, 0);
        let encoding = &self.encodings[0];
        let (top, highest) = encoding.layers.top();
        let fits = |target: &Target| {
            let own = Layer::new(target.spatial().min(top), target.temporal().min(highest));
            is_within(&limits, encoding.layer_rates.share(rate, *target), sent == Some(own))
        };
        if fits(&most) {
            return Some(most);
        }
        let mut smaller = (0..=most.spatial().min(top)).rev().flat_map(|spatial| {
            let most = most.temporal().min(highest);
            (least_temporal(spatial == 0, highest).min(most)..=most).rev().map(move |own| Target::new(spatial, own))
        });
        smaller.find(fits)
    }

    /// What a viewer may have by its limits, whatever it is sent.
    pub(super) fn allowed(&self, place: usize) -> Allowed {
        Allowed { alone: self.encodings.len() == 1, most: self.subscriptions[place].limits.max_layer }
    }

    /// What a viewer could be sent of it, to be chosen from. None: it is not to be sent anything.
    pub(crate) fn demand(&mut self, now: Instant, own: Key, transport: Key) -> Option<Demand<Key>> {
        let place = self.place_of(transport)?;
        let limits = self.subscriptions[place].limits;
        if limits.is_at_rest() || self.muted || !self.subscriptions[place].is_agreed() {
            return None;
        }
        let sent = sent(&self.encodings, &self.subscriptions[place]);
        let steps = self.steps(now, &limits, sent);
        let (sound, current) = (self.kind() == MediaKind::Audio, sent.and_then(|sent| steps.within(sent)));
        Some(Demand { track: own, sound, priority: limits.priority, steps, current, held: None, choice: None })
    }

    /// What a viewer may have, the least first.
    fn steps(&mut self, now: Instant, limits: &Limits, sent: Option<Layer>) -> Steps {
        let mut steps = Steps::default();
        for index in 0..self.encodings.len() {
            if !self.can_be_had(now, index) {
                continue;
            }
            let rate = self.expected(now, index);
            let several = self.encodings.len() > 1;
            let encoding = &self.encodings[index];
            for spatial in spatial_layers(encoding, several) {
                let own = if several { index as u8 } else { spatial };
                let top = encoding.layers.top().1.min(3);
                let most = limits.max_layer.temporal.min(top);
                let least = least_temporal(steps == Steps::default(), top).min(most);
                let allowed = own <= limits.max_layer.spatial;
                for temporal in (least..=most).filter(|_| allowed) {
                    let target = Target::new(if several { u8::MAX } else { spatial }, top_is_all(temporal, top));
                    let rate = encoding.layer_rates.share(rate, target);
                    if is_within(limits, rate, sent.is_some_and(|sent| sent.spatial == own)) {
                        steps.push(Layer::new(own, temporal), rate);
                    }
                }
            }
        }
        steps
    }
}

impl Track {
    /// Whether its publisher sends dependency descriptors.
    pub(crate) fn is_described(&self) -> bool {
        self.ids.id(Extension::DependencyDescriptor).is_some()
    }

    /// What a packet says of all layers of the track.
    pub(super) fn allocation_in(&self, header: &Header, bytes: &[u8]) -> Option<LayersAllocation> {
        let id = self.ids.id(Extension::LayersAllocation)?;
        let element = header.extensions(bytes).find(|element| element.id == id)?;
        LayersAllocation::read(element.value)
    }

    /// The publisher tells what it spends on which layer. What it does not send any more is left at once.
    pub(super) fn take_allocation(&mut self, onward: &mut Onward<'_>, index: usize, allocation: &LayersAllocation) {
        let told = (0..).zip(&mut self.encodings);
        let now = onward.now;
        let changed = told.map(|(own, encoding)| encoding.take_allocation(now, allocation, own == index));
        let changed = changed.filter(|one| *one);
        if changed.count() > 0 {
            self.aim(onward.now);
            self.tell_rates(onward.now, onward.pipes, onward.counters);
        }
    }

    /// True: what the publisher said of an encoding lately is to hold by now.
    pub(crate) fn settle(&mut self, now: Instant) -> bool {
        self.encodings.iter_mut().filter_map(|encoding| encoding.settle(now).then_some(())).count() > 0
    }

    /// The next better encoding or spatial layer that comes, and its rate.
    pub(super) fn better(&mut self, now: Instant, than: u8) -> Option<(u8, u64)> {
        if self.encodings.len() > 1 {
            let mut better = than + 1..self.encodings.len() as u8;
            let better = better.find(|better| self.can_be_had(now, usize::from(*better)))?;
            return Some((better, self.expected(now, usize::from(better))));
        }
        let better = spatial_layers(&self.encodings[0], false).find(|better| *better > than)?;
        let rate = self.expected(now, 0);
        Some((better, self.encodings[0].layer_rates.share(rate, Target::new(better, u8::MAX))))
    }

    /// The highest temporal layer of an encoding or spatial layer.
    pub(super) fn highest_temporal(&self, spatial: u8) -> u8 {
        let index = if self.encodings.len() > 1 { usize::from(spatial) } else { 0 };
        self.encodings.get(index).map_or(0, |encoding| encoding.layers.top().1)
    }
}

/// The layer that a viewer gets, if it gets anything.
pub(super) fn sent(encodings: &[Encoding], subscription: &Subscription) -> Option<Layer> {
    let index = subscription.sent_encoding()?;
    let encoding = encodings.get(usize::from(index))?;
    let ((top, temporal), layers) = (encoding.layers.top(), subscription.sent_layers());
    let spatial = if encodings.len() > 1 { index } else { layers.spatial().min(top) };
    Some(Layer::new(spatial, layers.temporal().min(temporal)))
}

/// The spatial layers of an encoding that can be chosen. Of one of several it is all of them, and so it is until they were measured.
fn spatial_layers(encoding: &Encoding, several: bool) -> impl Iterator<Item = u8> + '_ {
    let comes = move |spatial: &u8| {
        let top = encoding.layers.top().0;
        *spatial == top || !several && *spatial < top && encoding.layer_rates.comes(*spatial)
    };
    (0..4).filter(comes)
}

/// Of the smallest size every frame rate is of use, of the others the best and the next to it: fewer frames are seen less than a smaller
/// picture, and can be had at once.
fn least_temporal(smallest: bool, top: u8) -> u8 {
    if smallest { 0 } else { top.saturating_sub(1) }
}

/// The highest temporal layer stands for all above it.
fn top_is_all(temporal: u8, top: u8) -> u8 {
    if temporal == top { u8::MAX } else { temporal }
}

/// Whether an encoding or layer has no more than a viewer may be sent. Rates go up and down: the one that it gets may be somewhat
/// above before it is left, for that costs a key frame.
pub(super) fn is_within(limits: &Limits, rate: u64, current: bool) -> bool {
    let slack = |max: Bitrate| if current { max.0 / SLACK } else { 0 };
    limits.max_bitrate.is_none_or(|max| rate <= max.0 + slack(max))
}

/// A quarter: what an encoder's rate sways by from second to second.
const SLACK: u64 = 4;
