//! How long the queue on the way is, and how it is got rid of: once one stands for more than a moment, the rate goes further
//! below what the link carries, the longer the queue is.
//!
//! 85 % of a link that was cut from 5 Mbit/s to 300 kbit/s would take half a minute to drain what the router had taken in
//! before. (libwebrtc pushes its encoder back by a congestion window to the same end.)

use super::Micros;
use super::busy::Busy;

/// The delay above its least.
pub(super) struct Queue {
    /// The least of arrival minus sending, in this span of time and in the one before.
    least: [Option<Micros>; 2],
    since: Micros,
    /// The least of the feedback that is being read: jitter only adds.
    batch: Option<Micros>,
    standing: Micros,
    busy: Busy,
    /// The last arrival.
    last: Micros,
    drain: Option<Drain>,
}

/// A queue is being got rid of.
#[derive(Clone, Copy)]
struct Drain {
    /// What the link carries.
    capacity: f64,
    /// How long the queue was, and until when that must have changed.
    length: Micros,
    until: Micros,
    /// How often it had not.
    tries: u32,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { least: [None; 2], since: 0, batch: None, standing: 0, busy: Busy::default(), last: 0, drain: None }
    }

    /// A packet came.
    pub(super) fn add(&mut self, sent: Micros, arrival: Micros, bytes: u32) {
        let delay = arrival - sent;
        self.batch = Some(self.batch.map_or(delay, |batch| batch.min(delay)));
        self.last = arrival;
        let waited = delay - self.base().unwrap_or(delay);
        self.busy.add(waited, arrival, bytes);
    }

    /// A feedback packet is read to its end; true: what is sent is too much even to drain the queue, and the limit went down.
    pub(super) fn update(&mut self, now: Micros, rtt: Micros) -> bool {
        let Some(delay) = self.batch.take() else { return false };
        if now - self.since >= SPAN {
            (self.least[1], self.least[0], self.since) = (self.least[0], None, now);
        }
        self.least[0] = Some(self.least[0].map_or(delay, |least| least.min(delay)));
        self.standing = delay - self.base().unwrap_or(delay);
        let Some(drain) = &mut self.drain else { return false };
        if self.standing < DRAINED {
            self.drain = None;
        } else if self.standing < drain.length * 3 / 4 || self.standing > drain.length {
            (drain.length, drain.until) = (self.standing, now + patience(self.standing, rtt));
        } else if now >= drain.until && drain.tries < TRIES {
            // Others fill it, too, or the link got even less.
            drain.capacity *= MOST_SHARE;
            (drain.tries, drain.until) = (drain.tries + 1, now + patience(self.standing, rtt));
            return true;
        } else if now >= drain.until {
            // It does not get shorter, however little is sent: the way itself is longer now.
            self.least = [Some(delay), None];
            self.drain = None;
        }
        false
    }

    /// A queue was found to grow, on a link that carries this much.
    pub(super) fn overused(&mut self, now: Micros, rtt: Micros, capacity: f64) {
        if !self.is_long() {
            return;
        }
        let fresh = Drain { capacity, length: self.standing, until: now + patience(self.standing, rtt), tries: 0 };
        let drain = self.drain.get_or_insert(fresh);
        drain.capacity = drain.capacity.min(capacity);
    }

    /// The rate that drains it; None: nothing to drain.
    pub(super) fn limit(&self) -> Option<f64> {
        let drain = self.drain?;
        let share = 1.0 - self.standing as f64 / DRAIN_WITHIN;
        Some(drain.capacity * share.clamp(LEAST_SHARE, MOST_SHARE))
    }

    /// Whether there is a queue to speak of. A trend without one is jitter.
    pub(super) fn is_there(&self) -> bool {
        self.standing >= THERE
    }

    /// Whether it is too long to wait for it to drain by itself.
    pub(super) fn is_long(&self) -> bool {
        self.standing >= LONG
    }

    /// Whether far more is sent than comes through, and a queue stands that shows it. A trend shows it later: the packets of a
    /// picture are one point of it, and on a link that was cut to a fraction they take hundreds of milliseconds.
    pub(super) fn is_flooded(&self, sent: f64) -> bool {
        let is_far_less = |capacity: f64| FLOOD * capacity < sent;
        self.drain.is_none() && self.standing >= FLOODED && self.capacity().is_some_and(is_far_less)
    }

    /// What the link carries, if packets waited for it of late.
    pub(super) fn capacity(&self) -> Option<f64> {
        self.busy.rate(self.last)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    fn base(&self) -> Option<Micros> {
        self.least.into_iter().flatten().min()
    }
}

/// How long a queue may take to lose a quarter: what is sent meanwhile arrives behind it.
fn patience(length: Micros, rtt: Micros) -> Micros {
    length + rtt + 300_000
}

/// Clocks drift apart by less than 2 ms in this.
const SPAN: Micros = 15_000_000;
const THERE: Micros = 8_000;
/// Shorter queues drain at 85 %, within half a second.
const LONG: Micros = 80_000;
const DRAINED: Micros = 30_000;
/// More than the jitter of wireless links; and packets that wait there come at once afterwards, as fast as they were sent.
const FLOODED: Micros = 120_000;
const FLOOD: f64 = 2.0;
/// Down to two fifths of what the link seemed to carry.
const TRIES: u32 = 4;
const DRAIN_WITHIN: f64 = 1_500_000.0;
const LEAST_SHARE: f64 = 0.1;
const MOST_SHARE: f64 = 0.85;

#[cfg(test)]
mod tests {
    use super::*;

    fn update(queue: &mut Queue, now: Micros, delay: Micros) {
        queue.add(now - delay, now, 1000);
        queue.update(now, 100_000);
    }

    #[test]
    fn a_long_queue_is_drained_and_a_short_one_is_not() {
        let mut queue = Queue::new();
        update(&mut queue, 1_000_000, 50_000);
        update(&mut queue, 1_100_000, 100_000);
        queue.overused(1_100_000, 100_000, 1e6);
        assert_eq!(queue.limit(), None);
        update(&mut queue, 1_200_000, 800_000);
        queue.overused(1_200_000, 100_000, 1e6);
        assert_eq!(queue.limit(), Some(500_000.0));
        update(&mut queue, 1_300_000, 200_000);
        assert_eq!(queue.limit(), Some(850_000.0));
        update(&mut queue, 1_400_000, 70_000);
        assert_eq!(queue.limit(), None);
    }

    #[test]
    fn a_flood_is_twice_what_comes_through_behind_a_queue_that_shows_it() {
        let behind = |waits: Micros| {
            let mut queue = Queue::new();
            update(&mut queue, 1_000_000, 50_000);
            // 1000 bytes each 10 ms come through: 0.8 Mbit/s.
            (0..20).for_each(|packet| update(&mut queue, 1_500_000 + packet * 10_000, 50_000 + waits));
            queue
        };
        assert_eq!([5e6, 1.7e6, 1.5e6, 0.8e6].map(|sent| behind(200_000).is_flooded(sent)), [true, true, false, false]);
        assert!(!behind(100_000).is_flooded(5e6), "jitter may be as long");
        let mut drained = behind(200_000);
        drained.overused(1_700_000, 100_000, 0.8e6);
        assert!(!drained.is_flooded(5e6), "it is being got rid of");
    }

    #[test]
    fn a_longer_way_is_not_drained_for_ever() {
        let mut queue = Queue::new();
        update(&mut queue, 1_000_000, 50_000);
        update(&mut queue, 1_100_000, 650_000);
        queue.overused(1_100_000, 100_000, 1e6);
        assert!(queue.is_draining());
        (12..30).for_each(|tick| update(&mut queue, tick * 100_000, 650_000));
        assert!(queue.limit().is_some_and(|limit| limit < 600_000.0), "{:?}", queue.limit());
        (30..70).for_each(|tick| update(&mut queue, tick * 100_000, 650_000));
        assert_eq!(queue.limit(), None);
        queue.overused(7_000_000, 100_000, 1e6);
        assert_eq!(queue.limit(), None, "it is the least delay now");
    }
}
