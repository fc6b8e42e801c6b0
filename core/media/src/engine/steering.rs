//! Steering publishers: what is not watched by anybody need not be sent.

use std::time::Instant;

use super::{Engine, RouterEvent, transport_id};
use crate::arena::Key;
use crate::transport::Transport;

impl Engine {
    /// Has a publisher send what is wanted of a track, if that is something else than before.
    pub(super) fn steer(&mut self, now: Instant, key: Key, track_key: Key) {
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let Some(active) = track.steer(now) else { return };
        let (router, track) = (track.router, track.id.clone());
        let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return };
        publish.is_steered = true;
        let names = publish.lines.iter().find(|line| line.track == track_key).map(|line| line.names());
        let encodings = names.unwrap_or_default().into_iter().zip(0..).map(|(name, place)| (name, place < active));
        let (transport, encodings) = (transport_id(key), encodings.collect());
        self.tell(router, RouterEvent::Steered { transport, track, encodings });
    }
}
