//! Serving viewers: what came goes to each of them, at once or when its link has room, and again when it was lost.

use std::time::Instant;

use lockgate_model::MediaKind;
use lockgate_rtp::Missing;

use super::{Onward, Track};
use crate::arena::Key;
use crate::encoding::Encoding;
use crate::link::Way;
use crate::pending::{Kind, Pending, Waiting};
use crate::stats::{Counters, DropReason};
use crate::subscription::{Next, Source, Subscription};

impl Track {
    /// Whether [`Self::forward`] has something.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Hands on what came, viewer by viewer. True: there is more to do when the egress was sent.
    pub(crate) fn forward(&mut self, onward: &mut Onward<'_>, own: Key) -> bool {
        let paced = (self.kind() == MediaKind::Video).then_some(own);
        loop {
            if onward.egress.is_full() {
                return true;
            }
            let turn = self.pending.next_turn();
            let Some(subscription) = self.subscriptions.get_mut(turn) else { break };
            if subscription.is_at_rest() {
                // In a large room most are: they cost nothing but this look.
                onward.counters.drop_all(DropReason::Paused, self.pending.len());
                continue;
            }
            forward_to(subscription, &self.encodings, &self.pending, onward, paced);
            self.changed |= subscription.is_stirred;
        }
        self.pending.clear();
        false
    }

    /// Sends a viewer what waited for its link, as much as it has room for now.
    pub(crate) fn release(&mut self, onward: &mut Onward<'_>, own: Key, transport: Key) {
        let place = self.place_of(transport);
        let Some(mut way) = onward.transports.get_mut(transport).and_then(|one| one.way(onward.egress)) else { return };
        let Some(subscription) = place.and_then(|place| self.subscriptions.get_mut(place)) else {
            return way.link.forget(own);
        };
        while let Some(waiting) = way.link.release(onward.now, own) {
            send(subscription, &self.encodings, waiting, &mut way, (onward.now, onward.counters));
        }
        self.changed |= subscription.is_stirred;
    }

    /// Sends a viewer again what it misses.
    pub(crate) fn retransmit(&mut self, onward: &mut Onward<'_>, transport: Key, missing: Missing<'_>) {
        let Some(place) = self.place_of(transport) else { return };
        let allowed = self.allowed(place);
        let subscription = &mut self.subscriptions[place];
        if subscription.limits.is_at_rest() {
            // What was withdrawn does not come back by asking for it again.
            return;
        }
        let Some(mut way) = onward.transports.get_mut(transport).and_then(|one| one.way(onward.egress)) else { return };
        for sequence in missing.iter().take(MAX_RETRANSMISSIONS) {
            if !subscription.demands.may_repair(onward.now) {
                return onward.counters.drop(DropReason::TooManyRepairs);
            }
            let sent = subscription.find(sequence).and_then(|(origin, number, out, segment)| {
                let encoding = self.encodings.get(usize::from(origin.encoding)).filter(|one| one.origin() == origin)?;
                let packet = encoding.ring.get(number)?;
                let allowed = allowed.packet(origin.encoding, &packet.facts.layer);
                let packet = subscription.again(packet, &segment, allowed);
                subscription.repair(onward.now, &packet, out, &segment, &encoding.layers, &mut way)
            });
            match sent {
                Some(len) => {
                    onward.counters.retransmissions_out += 1;
                    onward.counters.bytes_out += len as u64;
                }
                None => onward.counters.drop(DropReason::NotInRing),
            }
        }
    }

    /// Repeats the last packets until so many bytes were sent: a link's room is found out with what may be of use there.
    /// How many bytes were sent comes back.
    pub(crate) fn probe(&mut self, onward: &mut Onward<'_>, transport: Key, bytes: usize) -> usize {
        let Some(place) = self.place_of(transport) else { return 0 };
        let allowed = self.allowed(place);
        let subscription = &mut self.subscriptions[place];
        if subscription.limits.is_at_rest() {
            return 0;
        }
        let Some(mut way) = onward.transports.get_mut(transport).and_then(|one| one.way(onward.egress)) else {
            return 0;
        };
        let mut sent = 0;
        for back in 0.. {
            let Some((origin, number, out, segment)) = subscription.latest(back).filter(|_| sent < bytes) else {
                break;
            };
            let encoding = self.encodings.get(usize::from(origin.encoding)).filter(|one| one.origin() == origin);
            let Some((encoding, packet)) = encoding.and_then(|one| Some((one, one.ring.get(number)?))) else { break };
            let allowed = allowed.packet(origin.encoding, &packet.facts.layer);
            let packet = subscription.again(packet, &segment, allowed);
            let sent_again = subscription.retransmit(onward.now, &packet, out, &segment, &encoding.layers, &mut way);
            let Some(len) = sent_again else { break };
            onward.counters.probes_out += 1;
            onward.counters.bytes_out += len as u64;
            sent += len;
        }
        sent
    }
}

/// Gives one viewer its turn with everything that came. `paced`: the track, if its packets may have to wait for the viewer's link.
fn forward_to(
    subscription: &mut Subscription,
    encodings: &[Encoding],
    pending: &Pending,
    onward: &mut Onward<'_>,
    paced: Option<Key>,
) {
    let transport = subscription.transport;
    let Some(mut way) = onward.transports.get_mut(transport).and_then(|one| one.way(onward.egress)) else {
        return onward.counters.drop_all(DropReason::NotConnected, pending.len());
    };
    for waiting in pending.iter() {
        match (waiting.kind, paced) {
            (Kind::Nothing, _) => subscription.skip(waiting.origin, waiting.number),
            (Kind::Media { part_of, .. }, Some(track))
                if subscription.uses(waiting.origin.encoding) && !way.link.admits(onward.now) =>
            {
                onward.holding.insert(transport);
                if !way.link.hold(onward.now, track, *waiting, subscription.sends(part_of)) {
                    onward.counters.drop(DropReason::Congested);
                }
            }
            (Kind::Media { .. }, _) => {
                send(subscription, encodings, *waiting, &mut way, (onward.now, onward.counters));
            }
        }
    }
}

fn send(
    subscription: &mut Subscription,
    encodings: &[Encoding],
    waiting: Waiting,
    way: &mut Way<'_>,
    (now, counters): (Instant, &mut Counters),
) {
    let Waiting { origin, number, kind: Kind::Media { key, padding, .. } } = waiting else { return };
    let encoding = encodings.get(usize::from(origin.encoding)).filter(|encoding| encoding.origin() == origin);
    let Some((encoding, packet)) = encoding.and_then(|one| Some((one, one.ring.get(number)?))) else {
        return counters.drop(DropReason::NotInRing);
    };
    let sender_of = |other: u8| encodings.get(usize::from(other)).and_then(Encoding::sender);
    let source = Source { origin, sender: encoding.sender(), layers: &encoding.layers, sender_of: &sender_of };
    let twice = subscription.takes_redundancy() && way.link.lossy.is_so();
    let before = twice.then(|| encoding.ring.get(number - 1)).flatten();
    let next = Next { packet: &packet, key, before, padding };
    match subscription.forward(now, &next, &source, way) {
        Ok(len) => {
            counters.packets_out += 1;
            counters.bytes_out += len as u64;
        }
        Err(reason) => counters.drop(reason),
    }
}

/// For one request: a viewer that misses more is helped by a key frame, not by a flood.
const MAX_RETRANSMISSIONS: usize = 128;
