//! A viewer's link: what it is believed to carry, how fast packets may leave over it, and those that wait for their time.
//!
//! Waiting packets lie in the rings of their encodings like all others; what waits here is a note of them. They are numbered and
//! sealed when they leave.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lockgate_model::Layer;
use lockgate_transport::Outlet;
use lockgate_transport::bandwidth::Estimator;
use lockgate_transport::pacer::Pacer;
use lockgate_transport::srtp::SrtpError;

use crate::arena::Key;
use crate::egress::{Egress, Outgoing};
use crate::pending::Waiting;
use crate::quality::Totals;
use crate::redundancy::Lossy;

/// A viewer's link.
pub(crate) struct Link {
    pub(crate) estimator: Box<Estimator>,
    pacer: Pacer,
    held: VecDeque<Held>,
    held_bytes: usize,
    allotted: Allotted,
    /// Whether sound needs help to get through.
    pub(crate) lossy: Lossy,
    /// Bytes that were sent.
    sent: u64,
    /// What receiver reports told of, packets that came and such that did not.
    reported: (u64, u64),
    /// How much of the bitrate that the viewer could be sent there is room for, 0 … 1.
    share: f64,
    /// The layers of each track that it had no room for any more, in their order.
    left: BTreeMap<(Key, Layer), Left>,
}

/// When there was no room for a layer any more.
struct Left {
    at: Instant,
    /// Less was sent since.
    away: bool,
    /// It was sent once more, and there was no room again.
    again: bool,
}

/// A packet of a track whose time has not come.
struct Held {
    track: Key,
    waiting: Waiting,
    size: u16,
}

/// What the estimate was when layers were last chosen by it.
struct Allotted {
    at: Instant,
    estimate: u64,
    /// The link was seen to carry less than was believed, and not yet again to carry all that is wanted.
    strained: bool,
    /// Something is watched that was not there then.
    stale: bool,
}

/// The way to a viewer, for one turn.
pub(crate) struct Way<'a> {
    pub(crate) outlet: Outlet<'a>,
    pub(crate) link: &'a mut Link,
    pub(crate) egress: &'a mut Egress,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    /// Bytes of the datagram.
    pub(crate) len: usize,
    /// Its number on the whole connection, if it is told.
    pub(crate) wide: Option<u16>,
}

impl Way<'_> {
    /// Seals a packet and lets it leave.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        mut outgoing: Outgoing<'_>,
        edit: impl FnOnce(&mut [u8]),
    ) -> Result<Sealed, SrtpError> {
        if outgoing.template.is_counted() {
            let bytes = outgoing.length() + self.outlet.sender.overhead();
            outgoing.head.wide = self.link.estimator.send(now, bytes);
            self.link.pacer.spend(bytes);
        }
        let len = self.egress.send(&mut self.outlet, &outgoing, edit)?;
        self.link.sent += len as u64;
        Ok(Sealed { len, wide: outgoing.template.is_counted().then_some(outgoing.head.wide) })
    }

    /// Lets a datagram leave once more, as it was.
    pub(crate) fn send_again(&mut self, now: Instant, datagram: &[u8], wide: Option<u16>) {
        if let Some(wide) = wide {
            self.link.estimator.send_again(now, datagram.len(), wide);
            self.link.pacer.spend(datagram.len());
        }
        self.egress.repeat(self.outlet.path, datagram);
        self.link.sent += datagram.len() as u64;
    }
}

impl Link {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            estimator: Box::new(Estimator::new(now)),
            pacer: Pacer::new(now),
            held: VecDeque::new(),
            held_bytes: 0,
            allotted: Allotted { at: now, estimate: 0, strained: false, stale: true },
            lossy: Lossy::default(),
            sent: 0,
            reported: (0, 0),
            share: 1.0,
            left: BTreeMap::new(),
        }
    }

    /// Whether a packet of a picture may leave now; sound is not asked about.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        self.held.is_empty() && self.pacer.admits(now)
    }

    /// Keeps a packet until its time. `sent`: it is of a layer that will be sent, as far as can be known. False: too many wait.
    pub(crate) fn hold(&mut self, now: Instant, track: Key, waiting: Waiting, sent: bool) -> bool {
        if self.held.len() >= MAX_HELD {
            return false;
        }
        let size = if sent { waiting.size() } else { 0 };
        self.held.push_back(Held { track, waiting, size });
        self.held_bytes += usize::from(size);
        self.set_pace(now);
        true
    }

    /// The track of the packet whose time has come.
    pub(crate) fn next_track(&mut self, now: Instant) -> Option<Key> {
        self.held.front().filter(|_| self.pacer.admits(now)).map(|held| held.track)
    }

    /// The packet whose time has come, if it is of this track.
    pub(crate) fn release(&mut self, now: Instant, track: Key) -> Option<Waiting> {
        let admits = self.pacer.admits(now);
        let held = self.held.pop_front_if(|held| admits && held.track == track)?;
        self.held_bytes -= usize::from(held.size);
        Some(held.waiting)
    }

    /// What waits of a track that is gone, or that nobody can be sent, is forgotten.
    pub(crate) fn forget(&mut self, track: Key) {
        self.held.retain(|held| held.track != track);
        self.held_bytes = self.held.iter().map(|held| usize::from(held.size)).sum();
    }

    /// There is no way to the viewer any more: nothing waits for it. How many packets did comes back.
    pub(crate) fn forget_all(&mut self) -> usize {
        let count = self.held.len();
        self.held.clear();
        self.held_bytes = 0;
        count
    }

    /// When packets may leave that wait.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        (!self.held.is_empty()).then(|| self.pacer.ready_at())
    }

    /// The estimate may be another one: packets leave by it from now on.
    pub(crate) fn set_pace(&mut self, now: Instant) {
        // What waits leaves within a time in which it is still of use, whatever the estimate.
        let needed = (self.held_bytes as u64 * 8_000) / HELD_WITHIN.as_millis() as u64;
        self.pacer.set_rate(now, self.estimator.pacing_rate().map(|rate| rate.max(needed)));
    }

    /// Something else is watched than before.
    pub(crate) fn watches_anew(&mut self) {
        self.allotted.stale = true;
    }

    /// The estimate, when layers are to be chosen by it again.
    pub(crate) fn poll_budget(&mut self, now: Instant) -> Option<Budget> {
        let estimate = self.estimator.estimate()?;
        let own = &mut self.allotted;
        let falls = estimate < own.estimate - own.estimate / 20;
        let grows = estimate > own.estimate + own.estimate / 20;
        own.strained |= own.estimate > 0 && falls;
        let passed = now.duration_since(own.at);
        if !(falls || own.stale || grows && passed >= SOON || passed >= LATER) {
            return None;
        }
        (own.at, own.estimate, own.stale) = (now, estimate, false);
        Some(Budget { estimate, strained: own.strained })
    }

    /// A receiver report told of so many packets, of which that many 256ths were lost.
    pub(crate) fn report(&mut self, packets: u64, fraction_lost: u8) {
        let lost = packets * u64::from(fraction_lost) / 256;
        self.reported = (self.reported.0 + packets - lost, self.reported.1 + lost);
    }

    /// What is known of everything that was sent.
    pub(crate) fn totals(&self) -> Totals {
        let told = self.estimator.told();
        let (came, lost) = if told.came > 0 { (told.came, told.lost) } else { self.reported };
        Totals { bytes: self.sent, came, lost }
    }

    /// How much of the bitrate that the viewer could be sent there is room for, 0 … 1.
    pub(crate) fn share(&self) -> f64 {
        self.share
    }

    pub(crate) fn set_share(&mut self, share: f64) {
        self.share = share;
    }

    /// A layer is sent of a track. `leaves`: there is no room for it any more.
    pub(crate) fn note_sent(&mut self, now: Instant, track: Key, layer: Layer, leaves: bool) {
        self.left.retain(|_, left| now.duration_since(left.at) < REMEMBERED);
        let above = self.left.iter_mut().filter(|((of, left), _)| *of == track && *left > layer);
        above.for_each(|(_, left)| left.away = true);
        if !leaves {
            return;
        }
        let left = self.left.entry((track, layer)).or_insert(Left { at: now, away: false, again: false });
        if left.away {
            *left = Left { at: now, away: false, again: true };
        }
    }

    /// The least layer of a track that is not to be sent again for now: that was tried, and there was no room.
    pub(crate) fn held(&self, now: Instant, track: Key) -> Option<Layer> {
        let is_held = |left: &Left| left.again && now.duration_since(left.at) < REFRAINS;
        self.left.iter().find(|((of, _), left)| *of == track && is_held(left)).map(|((_, layer), _)| *layer)
    }

    /// All that is wanted of it fits.
    pub(crate) fn relax(&mut self) {
        self.allotted.strained = false;
    }
}

/// What there is to be shared out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Bits a second.
    pub(crate) estimate: u64,
    /// The link was seen at its limit; before that, nothing is taken from anybody on a guess.
    pub(crate) strained: bool,
}

/// About a second of a large picture; a ring keeps no more either.
const MAX_HELD: usize = 1024;
const HELD_WITHIN: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_millis(200);
const LATER: Duration = Duration::from_secs(1);
/// What a link had no room for a minute ago it may have room for now.
const REMEMBERED: Duration = Duration::from_secs(60);
/// For so long nobody goes back to what had to be left twice: at the limit the estimate rises above it, and falls below, every few seconds.
const REFRAINS: Duration = Duration::from_secs(30);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
mod tests {
    use super::*;

    const MIDDLE: Layer = Layer { spatial: 1, temporal: 0 };
    const TOP: Layer = Layer { spatial: 2, temporal: 0 };

    /// What is held after these layers were sent one a second, each with whether it was left.
    fn held_after(sent: &[(Layer, bool)]) -> Option<Layer> {
        let mut now = Instant::now();
        let (mut link, track) = (Link::new(now), Key::from_u64(1));
        for (layer, leaves) in sent {
            now += Duration::from_secs(1);
            link.note_sent(now, track, *layer, *leaves);
        }
        link.held(now, track)
    }

    #[test]
    fn a_layer_that_was_left_twice_is_held_and_not_sooner() {
        assert_eq!(held_after(&[(TOP, true), (TOP, true), (MIDDLE, false), (TOP, false)]), None);
        assert_eq!(held_after(&[(TOP, true), (MIDDLE, false), (TOP, false), (TOP, true)]), Some(TOP));
    }

    #[test]
    fn a_further_dip_does_not_end_the_hold() {
        let dips = [(TOP, true), (MIDDLE, false), (TOP, true), (MIDDLE, true), (Layer::default(), false)];
        assert_eq!(held_after(&dips), Some(TOP));
    }

    #[test]
    fn layers_that_were_each_left_once_are_not_held() {
        let dips = [(MIDDLE, true), (Layer::default(), false), (MIDDLE, false), (TOP, true), (MIDDLE, false)];
        assert_eq!(held_after(&dips), None);
    }
}
