//! A bad network between browser and node: a UDP relay that loses some of what passes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::config::BESIDE;
use crate::passed::Passed;

/// A relay on a port of its own. Dropping it ends it.
#[derive(Debug)]
pub struct LossyNetwork {
    port: u16,
    lost: Arc<AtomicU64>,
    passed: Arc<Passed>,
    _relay: JoinSet<()>,
}

impl LossyNetwork {
    /// Loses one datagram in `one_in`, both ways, by an order that is the same each time.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn begin(one_in: u64) -> Self {
        let outside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        let port = outside.local_addr().expect("it is bound").port();
        let (lost, passed) = (Arc::new(AtomicU64::new(0)), Arc::new(Passed::new()));
        let loss = Loss { one_in, state: SEED, lost: Arc::clone(&lost) };
        let mut relay = JoinSet::new();
        relay.spawn(relay_all(Arc::new(outside), SocketAddr::from((BESIDE, port)), loss, Arc::clone(&passed)));
        Self { port, lost, passed, _relay: relay }
    }

    /// Loses nothing, and only looks.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn watch() -> Self {
        Self::begin(u64::MAX).await
    }

    /// How many packets of media the node has sent by this way, and when the last of them came.
    pub fn sent_by_node(&self) -> (u64, Instant) {
        self.passed.read()
    }

    /// The port that clients are to be told; what is sent there goes to the node's on [`BESIDE`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Datagrams that were lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Decides by a generator that needs no luck (Knuth's MMIX constants).
#[derive(Clone)]
struct Loss {
    one_in: u64,
    state: u64,
    lost: Arc<AtomicU64>,
}

impl Loss {
    fn strikes(&mut self) -> bool {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let strikes = (self.state >> 33).is_multiple_of(self.one_in);
        self.lost.fetch_add(u64::from(strikes), Ordering::Relaxed);
        strikes
    }
}

/// Each client gets a socket towards the node, so that the node tells them apart.
async fn relay_all(outside: Arc<UdpSocket>, node: SocketAddr, mut loss: Loss, passed: Arc<Passed>) {
    let (mut inside, mut ways_back) = (HashMap::new(), JoinSet::new());
    let mut datagram = vec![0; MAX_DATAGRAM];
    while let Ok((length, client)) = outside.recv_from(&mut datagram).await {
        let way_in = match inside.entry(client) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
                let new_socket = new.insert(Arc::new(socket));
                let (socket, outside, passed) = (Arc::clone(new_socket), Arc::clone(&outside), Arc::clone(&passed));
                ways_back.spawn(relay_back(socket, outside, client, (loss.clone(), passed)));
                new_socket
            }
        };
        if !loss.strikes() {
            // What cannot be sent is lost, which is what this network is for.
            let _ = way_in.send_to(&datagram[..length], node).await;
        }
    }
}

async fn relay_back(
    inside: Arc<UdpSocket>,
    outside: Arc<UdpSocket>,
    client: SocketAddr,
    (mut loss, passed): (Loss, Arc<Passed>),
) {
    let mut datagram = vec![0; MAX_DATAGRAM];
    while let Ok((length, _)) = inside.recv_from(&mut datagram).await {
        if is_media(&datagram[..length]) {
            passed.note(1);
        }
        if !loss.strikes() {
            let _ = outside.send_to(&datagram[..length], client).await;
        }
    }
}

/// Neither checks nor handshakes, nor reports (RFC 7983, RFC 5761 §4).
fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind))
}

const SEED: u64 = 2026;
const MAX_DATAGRAM: usize = 65_536;
