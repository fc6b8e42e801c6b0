//! How many requests of one network may be open: of operators, for each of whom policy is asked in a short queue that they have for
//! themselves, and of those who come over HTTP with a session. Nobody is to take all places alone. Knows no request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_model::network;
use tokio::sync::watch;

/// The open requests of each network.
#[derive(Debug)]
pub(crate) struct Turns {
    /// How many one may have open.
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
    /// Of all addresses together.
    all: watch::Sender<usize>,
}

/// The turn of one request. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    of: IpAddr,
}

impl Turns {
    /// So many for each network.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Mutex::default(), all: watch::Sender::default() }
    }

    /// A turn for a request from this address. None: as many are open as may be.
    pub(crate) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Turn> {
        let of = network(peer);
        let mut turns = self.lock();
        let open = turns.entry(of).or_default();
        if *open == self.most {
            return None;
        }
        *open += 1;
        self.all.send_modify(|all| *all += 1);
        Some(Turn { turns: Arc::clone(self), of })
    }

    /// Waits until no turn is open.
    pub(crate) async fn over(&self) {
        // It fails when the other end is gone, which is in here.
        let _ = self.all.subscribe().wait_for(|all| *all == 0).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Entry::Occupied(mut open) = self.turns.lock().entry(self.of) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
        self.turns.all.send_modify(|all| *all -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 4;

    #[test]
    fn a_network_has_so_many_turns_at_a_time_and_gets_them_back() {
        let turns = Arc::new(Turns::new(MOST));
        let take = |peer: &str| turns.take(peer.parse().unwrap());
        let mut open: Vec<_> = (1..=MOST).map(|host| take(&format!("2001:db8::{host}")).unwrap()).collect();
        assert!(take("2001:db8::ffff").is_none() && take("2001:db8:0:1::1").is_some());
        open.pop();
        assert!(take("2001:db8::ffff").is_some());
        open.clear();
        assert!(turns.lock().is_empty());
    }

    #[tokio::test]
    async fn whoever_ends_the_doors_waits_for_open_turns() {
        let turns = Arc::new(Turns::new(MOST));
        let open = turns.take(IpAddr::from([192, 0, 2, 1])).unwrap();
        let mut over = std::pin::pin!(turns.over());
        tokio::select! {
            biased;
            () = &mut over => panic!("one is open"),
            () = tokio::task::yield_now() => {}
        }
        drop(open);
        over.await;
    }

    #[test]
    fn an_address_of_ipv4_is_the_same_however_it_is_written() {
        let turns = Arc::new(Turns::new(MOST));
        let take = |peer: &str| turns.take(peer.parse().unwrap());
        let _open: Vec<_> = (0..MOST).map(|_| take("192.0.2.1").unwrap()).collect();
        assert!(take("::ffff:192.0.2.1").is_none() && take("192.0.2.2").is_some());
    }
}
