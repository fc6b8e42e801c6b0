//! Viewers that offer by themselves (WHEP): their lines are answered, and tracks are placed on them.

use std::time::Instant;

use lockgate_transport::sdp::{Description, Setup, read_offer, write_receiver_answer};

use super::Engine;
use crate::arena::Key;
use crate::ids::TransportId;
use crate::negotiate::{NegotiateError, ReceiveAnswer};
use crate::slots::Slots;
use crate::subscribe::local;
use crate::transport::Transport;

impl Engine {
    /// Answers a viewer's offer to receive with what it is subscribed to. The same lines with other ICE credentials restart ICE.
    pub fn answer_receiver(
        &mut self,
        now: Instant,
        transport: TransportId,
        sdp: &str,
    ) -> Result<ReceiveAnswer, NegotiateError> {
        let key = Key::from_u64(transport.0);
        let offer = read_offer(sdp)?;
        self.take_receiver(now, key, offer)?;
        self.touched.insert(key);
        self.take_connection_events(now, key);
        self.describe_receiver(key)
    }

    fn take_receiver(&mut self, now: Instant, key: Key, offer: Description) -> Result<(), NegotiateError> {
        let credentials = self.credentials();
        let transport = self.transports.get_mut(key).and_then(Transport::subscribe_mut);
        let (subscribe, connection) = transport.ok_or(NegotiateError::NoTransport)?;
        // We are passive whenever the offer lets us: as DTLS server we choose the SRTP profile (RFC 5764 §4.1.1).
        let offer = Description { setup: Setup::Active, ..offer };
        let restart = match &subscribe.slots {
            Some(slots) if !slots.is_of(&offer) => return Err(NegotiateError::OtherOffer),
            Some(slots) => slots.remote != offer.ice,
            None if !subscribe.is_unused() => return Err(NegotiateError::OtherOffer),
            None => false,
        };
        let first = match &subscribe.slots {
            Some(_) => None,
            None => Some(Slots::new(offer.clone(), || self.config.entropy.ssrc())?),
        };
        subscribe.take_peer(now, connection, &offer)?;
        if let Some(slots) = first {
            subscribe.slots = Some(Box::new(slots));
        }
        if restart {
            subscribe.slots.iter_mut().for_each(|slots| slots.remote = offer.ice.clone());
            connection.restart_ice(credentials);
            self.demux.name(key, connection.ice().ufrags());
        }
        Ok(())
    }

    fn describe_receiver(&mut self, key: Key) -> Result<ReceiveAnswer, NegotiateError> {
        let transport = self.transports.get_mut(key).ok_or(NegotiateError::NoTransport)?;
        transport.version += 1;
        let (session, version) = (transport.session, transport.version);
        let crate::transport::Role::Subscribe(subscribe) = &mut transport.role else {
            return Err(NegotiateError::NoTransport);
        };
        let slots = subscribe.slots.as_mut().ok_or(NegotiateError::NoTransport)?;
        let local = local(&transport.connection, self.config.reached_at(), session, version, Setup::Passive);
        let tracks = slots.placed();
        Ok(ReceiveAnswer { sdp: write_receiver_answer(&local, &slots.answer()), tracks })
    }
}
