//! The two kinds of transports, and what they have in common.

use std::time::Instant;

use lockgate_model::TrackId;
use lockgate_transport::Connection;

use crate::arena::Key;
use crate::egress::Egress;
use crate::link::{Link, Way};
use crate::publish::Publish;
use crate::quality::Meter;
use crate::subscribe::Subscribe;

/// A client's connection and what goes over it.
pub(crate) struct Transport {
    pub(crate) router: Key,
    pub(crate) connection: Connection,
    /// Session id of our descriptions (RFC 8866 §5.2).
    pub(crate) session: u64,
    /// How many descriptions were written.
    pub(crate) version: u64,
    /// When time must act on it, as the engine's clock knows it.
    pub(crate) scheduled: Option<Instant>,
    pub(crate) quality: Meter,
    pub(crate) role: Role,
}

/// What a transport is for.
pub(crate) enum Role {
    Publish(Publish),
    Subscribe(Subscribe),
}

impl Transport {
    pub(crate) fn publish_mut(&mut self) -> Option<(&mut Publish, &mut Connection)> {
        match &mut self.role {
            Role::Publish(publish) => Some((publish, &mut self.connection)),
            Role::Subscribe(_) => None,
        }
    }

    pub(crate) fn subscribe_mut(&mut self) -> Option<(&mut Subscribe, &mut Connection)> {
        match &mut self.role {
            Role::Subscribe(subscribe) => Some((subscribe, &mut self.connection)),
            Role::Publish(_) => None,
        }
    }

    /// A viewer's way for media: what goes over it is counted against what its link carries.
    pub(crate) fn way<'a>(&'a mut self, egress: &'a mut Egress) -> Option<Way<'a>> {
        let (subscribe, connection) = self.subscribe_mut()?;
        Some(Way { outlet: connection.outlet()?, link: &mut subscribe.link, egress })
    }

    /// A viewer's link.
    pub(crate) fn link(&self) -> Option<&Link> {
        match &self.role {
            Role::Subscribe(subscribe) => Some(&subscribe.link),
            Role::Publish(_) => None,
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let own = match &self.role {
            Role::Publish(publish) => publish.next_timeout(),
            Role::Subscribe(subscribe) => subscribe.next_timeout(),
        };
        let quality = self.connection.is_connected().then(|| self.quality.next_timeout());
        own.into_iter().chain(self.connection.next_timeout()).chain(quality).min()
    }
}

/// What the engine's owner is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfferToMake {
    pub(crate) offer_id: u64,
    pub(crate) cause: u64,
    pub(crate) sdp: String,
    pub(crate) tracks: Vec<(String, TrackId)>,
}
