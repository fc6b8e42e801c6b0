//! What a room's owner is told by the workers that carry it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use lockgate_media::{CloseReason, RouterEvent, TransportId};
use tokio::sync::mpsc;

use crate::router::Shared;

/// What happens in a router. An owner that does not keep up with it loses the router, and this ends.
pub struct RouterEvents {
    queue: mpsc::Receiver<Told>,
    overrun: Arc<AtomicBool>,
    /// What was on a worker that is gone.
    lost: VecDeque<TransportId>,
    router: Weak<Shared>,
}

/// What a router's owner is told.
pub(crate) enum Told {
    /// By a worker: something happened.
    Event(u32, RouterEvent),
    /// A worker is gone, or what it carried of this router.
    Lost(u32),
}

/// The way to a router's owner.
#[derive(Clone)]
pub(crate) struct Owner {
    queue: mpsc::Sender<Told>,
    overrun: Arc<AtomicBool>,
}

pub(crate) fn owner() -> (Owner, impl FnOnce(&Arc<Shared>) -> RouterEvents) {
    let (sender, queue) = mpsc::channel(MAX_EVENTS);
    let overrun = Arc::new(AtomicBool::new(false));
    let owner = Owner { queue: sender, overrun: overrun.clone() };
    (owner, move |shared| RouterEvents { queue, overrun, lost: VecDeque::new(), router: Arc::downgrade(shared) })
}

impl Owner {
    /// Tells the owner. False: it is gone or does not keep up; then its router is over, as it would go on with wrong ideas.
    pub(crate) fn tell(&self, told: Told) -> bool {
        // What is told again soon is nothing to be behind with.
        let is_passing = matches!(told, Told::Event(_, RouterEvent::Quality { .. }));
        if is_passing && self.queue.capacity() < MAX_EVENTS / 2 {
            return !self.queue.is_closed();
        }
        match self.queue.try_send(told) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                if !self.overrun.swap(true, Ordering::Relaxed) {
                    tracing::error!("a room does not keep up with its media events and is closed");
                }
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

impl RouterEvents {
    /// The next event. None: the router is over.
    pub async fn recv(&mut self) -> Option<RouterEvent> {
        loop {
            if let Some(transport) = self.lost.pop_front() {
                return Some(RouterEvent::Closed { transport, reason: CloseReason::WorkerGone });
            }
            let told = self.queue.recv().await?;
            if self.overrun.load(Ordering::Relaxed) {
                if let Some(router) = self.router.upgrade() {
                    router.end();
                }
                self.queue.close();
                return None;
            }
            match told {
                Told::Event(worker, event) => return Some(named(worker, event)),
                Told::Lost(worker) => {
                    self.lost.extend(self.router.upgrade().map(|router| router.lose(worker)).unwrap_or_default());
                }
            }
        }
    }
}

/// An engine's name of a transport, made one that no other engine of this process gives. Its low bits count places in the engine.
pub(crate) fn transport_id(worker: u32, own: TransportId) -> TransportId {
    TransportId(own.0 | u64::from(worker) << PLACES)
}

fn named(worker: u32, mut event: RouterEvent) -> RouterEvent {
    match &mut event {
        RouterEvent::Connected { transport }
        | RouterEvent::Closed { transport, .. }
        | RouterEvent::ChannelOpened { transport, .. }
        | RouterEvent::ChannelClosed { transport, .. }
        | RouterEvent::ChannelLost { transport, .. }
        | RouterEvent::Offer { transport, .. }
        | RouterEvent::Placed { transport, .. }
        | RouterEvent::Quality { transport, .. }
        | RouterEvent::Steered { transport, .. }
        | RouterEvent::LayerChanged { transport, .. } => *transport = transport_id(worker, *transport),
        RouterEvent::Levels { .. } => {}
    }
    event
}

/// Events that a router's owner may leave unread.
const MAX_EVENTS: usize = 4096;
/// An engine has less than 2^24 transports at a time, a process at most [`crate::workers::MAX_WORKERS`] engines.
const PLACES: u32 = 24;
