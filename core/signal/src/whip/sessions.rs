//! Which sessions there are, by the number that nobody guesses; and how many may be on their way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::response::Response;
use lockgate_model::Secret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::acts::Act;
use super::refusal::Refusal;
use super::stream::Streams;
use crate::turn::{Turn, Turns};

/// All sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Handle>>,
    half_open: Arc<Semaphore>,
    networks: Arc<Turns>,
}

/// The way to a session.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    /// Its own path: it is found by no other one.
    pub(crate) path: String,
    /// What is wanted of it.
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) streams: Streams,
}

/// Something that is wanted of a session.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Who says so.
    pub(crate) token: Option<Secret>,
    pub(crate) act: Act,
    pub(crate) answer: oneshot::Sender<Response>,
}

/// A place among the sessions that are on their way; given back when media flows, or at the end.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    _place: OwnedSemaphorePermit,
    _turn: Turn,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            half_open: Arc::new(Semaphore::new(MAX_HALF_OPEN)),
            networks: Arc::new(Turns::new(MAX_OF_NETWORK)),
        }
    }
}

impl Sessions {
    /// A place for one more session on its way.
    pub(crate) fn begin(&self, peer: IpAddr) -> Result<HalfOpen, Refusal> {
        let turn = self.networks.take(peer);
        let turn = turn.ok_or_else(|| Refusal::busy("too many sessions of your network are not connected yet"))?;
        let place = self.half_open.clone().try_acquire_owned();
        let place = place.map_err(|_| Refusal::busy("too many sessions of this node are not connected yet"))?;
        Ok(HalfOpen { _place: place, _turn: turn })
    }

    pub(crate) fn insert(&self, id: String, handle: Handle) {
        self.lock().insert(id, handle);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// The session with this number and path. A lookup by hash leaks nothing useful about 128 random bits.
    pub(crate) fn find(&self, id: &str, path: &str) -> Option<Handle> {
        self.lock().get(id).filter(|handle| handle.path == path).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Handle>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions that may be on their way: of all clients, and of one network (an IPv4 address, or a /64). The newest is refused.
const MAX_HALF_OPEN: usize = 1024;
const MAX_OF_NETWORK: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_on_their_way_are_bounded_of_all_and_of_one_network() {
        let sessions = Sessions::default();
        let of = |network: u8, host: usize| IpAddr::from([192, 0, network, (host % 250) as u8]);
        let one: Vec<_> = (0..MAX_OF_NETWORK).map(|_| sessions.begin(of(2, 1)).unwrap()).collect();
        assert!(sessions.begin(of(2, 1)).is_err() && sessions.begin(of(2, 2)).is_ok());
        let rest: Vec<_> = (0..10_000).map_while(|host| sessions.begin(of(3, host)).ok()).collect();
        assert_eq!(one.len() + rest.len(), MAX_HALF_OPEN);
        drop(one);
        assert!(sessions.begin(of(2, 1)).is_ok());
    }
}
