//! Streams of which nobody knows yet whether a client is behind them: few at a time, and not for long.
//!
//! Where there are too many, the oldest goes. A client has shown who it is by the first thing that it says; whoever waits has
//! nothing to say.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lockgate_model::network;

/// In the order in which they came.
pub(crate) struct Newcomers {
    all: VecDeque<Newcomer>,
    most: usize,
    most_of_network: usize,
}

struct Newcomer {
    /// The number of its stream.
    stream: u32,
    network: IpAddr,
    since: Instant,
}

impl Newcomers {
    /// Those of one of so many workers, which share what a process admits.
    pub(crate) fn of_one_in(workers: usize) -> Self {
        let share = |all: usize, least: usize| (all / workers.max(1)).max(least);
        let (most, most_of_network) = (share(MAX_NEWCOMERS, LEAST), share(MAX_OF_NETWORK, LEAST_OF_NETWORK));
        Self { all: VecDeque::new(), most, most_of_network }
    }

    /// One more. The one that must go for it comes back.
    pub(crate) fn add(&mut self, now: Instant, stream: u32, from: IpAddr) -> Option<u32> {
        let network = network(from);
        let mut own = self.all.iter().filter(|one| one.network == network);
        let goes = match (own.next(), own.count() + 1) {
            (Some(oldest), own) if own >= self.most_of_network => Some(oldest.stream),
            _ if self.all.len() >= self.most => self.all.front().map(|one| one.stream),
            _ => None,
        };
        if let Some(stream) = goes {
            self.remove(stream);
        }
        self.all.push_back(Newcomer { stream, network, since: now });
        goes
    }

    /// It showed who it is, or is gone.
    pub(crate) fn remove(&mut self, stream: u32) {
        if let Some(place) = self.all.iter().position(|one| one.stream == stream) {
            self.all.remove(place);
        }
    }

    /// The next one that took too long.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<u32> {
        if self.next_timeout()? > now {
            return None;
        }
        self.oldest()
    }

    /// The one that came first goes.
    pub(crate) fn oldest(&mut self) -> Option<u32> {
        self.all.pop_front().map(|one| one.stream)
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.all.front().map(|one| one.since + SHOW_WITHIN)
    }
}

/// How long a stream may take to its first check. Browsers send it as soon as they are connected.
pub(crate) const SHOW_WITHIN: Duration = Duration::from_secs(5);
/// Of one address (of IPv6, one /64): an office that joins at once, behind one translator.
pub(crate) const MAX_OF_NETWORK: usize = 64;
/// In all.
const MAX_NEWCOMERS: usize = 256;
/// What a worker admits of each, however many there are: those who join a room at once come to one of them.
const LEAST_OF_NETWORK: usize = 32;
const LEAST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_does_not_say_who_it_is_goes_in_time() {
        let (now, mut newcomers) = (Instant::now(), Newcomers::of_one_in(1));
        newcomers.add(now, 1, ip("192.0.2.1"));
        newcomers.add(now + Duration::from_secs(1), 2, ip("192.0.2.1"));
        newcomers.add(now + Duration::from_secs(2), 3, ip("192.0.2.1"));
        newcomers.remove(2);
        let due = newcomers.next_timeout().unwrap();
        assert_eq!((due, newcomers.poll(due - Duration::from_millis(1))), (now + SHOW_WITHIN, None));
        assert_eq!((newcomers.poll(due), newcomers.poll(due)), (Some(1), None));
        assert_eq!(newcomers.poll(due + Duration::from_secs(2)), Some(3));
        assert_eq!(newcomers.next_timeout(), None);
    }

    #[test]
    fn one_address_has_its_share_and_loses_its_own_oldest_by_more() {
        let (now, mut newcomers) = (Instant::now(), Newcomers::of_one_in(1));
        newcomers.add(now, 7, ip("198.51.100.1"));
        let first = 100;
        for stream in (first..).take(MAX_OF_NETWORK) {
            assert_eq!(newcomers.add(now, stream, ip("192.0.2.1")), None);
        }
        assert_eq!(newcomers.add(now, 8, ip("192.0.2.1")), Some(first));
        assert_eq!(newcomers.add(now, 9, ip("192.0.2.1")), Some(first + 1));
        assert_eq!(newcomers.add(now, 10, ip("198.51.100.1")), None, "others keep theirs");
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let (now, mut newcomers) = (Instant::now(), Newcomers::of_one_in(1));
        for stream in (0..).take(MAX_OF_NETWORK) {
            assert_eq!(newcomers.add(now, stream, ip(&format!("2001:db8::{stream:x}"))), None);
        }
        assert_eq!(newcomers.add(now, 1000, ip("2001:db8::ffff:1")), Some(0));
        assert_eq!(newcomers.add(now, 1001, ip("2001:db8:0:1::1")), None);
    }

    #[test]
    fn workers_share_what_a_process_admits_down_to_a_least() {
        for (workers, of_network, in_all) in [(1, 64, 256), (2, 32, 128), (4, 32, 64), (64, 32, 64)] {
            let (now, mut newcomers) = (Instant::now(), Newcomers::of_one_in(workers));
            for stream in 0..of_network {
                assert_eq!(newcomers.add(now, stream, ip("192.0.2.1")), None);
            }
            assert_eq!(newcomers.add(now, 999, ip("192.0.2.1")), Some(0), "{workers} workers");
            for stream in of_network..in_all {
                assert_eq!(newcomers.add(now, stream, IpAddr::from([10, 0, 0, stream as u8])), None);
            }
            assert_eq!(newcomers.add(now, 1000, ip("198.51.100.1")), Some(1), "{workers} workers");
        }
    }

    #[test]
    fn there_are_only_so_many_in_all() {
        let (now, mut newcomers) = (Instant::now(), Newcomers::of_one_in(1));
        for stream in (0..).take(MAX_NEWCOMERS) {
            assert_eq!(newcomers.add(now, stream, IpAddr::from([10, 0, (stream >> 8) as u8, stream as u8])), None);
        }
        assert_eq!(newcomers.add(now, 5000, ip("192.0.2.1")), Some(0));
        assert_eq!(newcomers.all.len(), MAX_NEWCOMERS);
    }
}
