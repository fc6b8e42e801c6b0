//! What viewers are not to be sent any more, for an owner whose ways hold packets.
//!
//! A datagram has left when its owner was given it. What its way has no room for may wait there, and would leave after the request that
//! ended it: the owner is told what that is.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_transport::ice::Path;

use super::Engine;
use crate::arena::Key;

/// What is not to leave any more if it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// By which way it would leave.
    pub path: Path,
    /// Of which RTP source (SSRC). None: the transport is closed, or the path is not its any more, and only what is neither media nor data
    /// is to leave.
    pub source: Option<u32>,
}

/// What was withdrawn and its owner was not told of yet.
#[derive(Default)]
pub(super) struct Withdrawals {
    /// Of transports that are there, and may have several paths.
    sources: BTreeMap<Key, BTreeSet<u32>>,
    /// Of those that are gone, and their paths with them.
    closed: Vec<Path>,
}

impl Engine {
    /// What was withdrawn since the last call: each source once for a path, and all of a path one behind the other. To be asked for with
    /// the commands and datagrams of a turn, before what the engine then has ready is sent.
    pub fn take_withdrawn(&mut self) -> Vec<Withdrawn> {
        let Withdrawals { sources, closed } = std::mem::take(&mut self.withdrawals);
        let mut all: Vec<_> = closed.into_iter().map(|path| Withdrawn { path, source: None }).collect();
        if !sources.is_empty() {
            // A client that went from one way to another may still be sent something by the first.
            for (path, transport) in self.demux.paths() {
                let sources = sources.get(&transport).into_iter().flatten();
                all.extend(sources.map(|source| Withdrawn { path, source: Some(*source) }));
            }
        }
        all
    }

    /// A viewer is not to be sent anything of these sources that waits.
    pub(super) fn withdraw(&mut self, transport: Key, sources: impl IntoIterator<Item = u32>) {
        self.withdrawals.sources.entry(transport).or_default().extend(sources);
    }

    /// Nobody is to be sent anything of a track that waits.
    pub(super) fn withdraw_track(&mut self, track: Key) {
        let Some(track) = self.tracks.get(track) else { return };
        for viewer in &track.subscriptions {
            self.withdrawals.sources.entry(viewer.transport).or_default().extend(viewer.sources());
        }
    }

    /// A viewer is not to be sent anything of a track that waits.
    pub(super) fn withdraw_from(&mut self, transport: Key, track: Key) {
        let viewer = self.tracks.get_mut(track).and_then(|track| track.subscription_mut(transport));
        if let Some(sources) = viewer.map(|viewer| viewer.sources()) {
            self.withdraw(transport, sources);
        }
    }

    /// By these paths neither media nor data is to leave that waits: their transport is closed, or has them no more.
    pub(super) fn withdraw_all(&mut self, paths: impl IntoIterator<Item = Path>) {
        self.withdrawals.closed.extend(paths);
    }
}
