//! A connection's data channels: when there can be some, and how their packets go over its DTLS.

use std::time::Instant;

use bytes::Bytes;
use lockgate_model::Bitrate;

use super::{Connection, Handshake, MAX_DATA_TRANSMITS, send};
use crate::data::{self, Association, Channel, DataCounters, DataEvent, Message, StreamId};
use crate::dtls::Role;

/// Data channels over the same DTLS.
pub(super) enum Data {
    /// There can be none: DTLS is freed when the keys are there.
    Off,
    /// There may be some, from the moment on that they are negotiated; the peer may send so much. It begins as soon as it has written
    /// its answer: what comes ahead of that is kept.
    Possible(Bitrate, Option<Bytes>),
    Negotiated(Box<Association>),
}

impl Connection {
    /// Data channels may be negotiated at any time, and the peer send so much on them. It costs 10 KB of memory, and is to be said
    /// before [`Self::set_peer`].
    pub fn allow_data(&mut self, rate: Bitrate) {
        if matches!(self.data, Data::Off) {
            self.data = Data::Possible(rate, None);
        }
    }

    /// Data channels are negotiated; the peer takes messages of so many bytes, 0 for any. True if there are any from now on.
    pub fn start_data(&mut self, now: Instant, peer_takes: usize) -> bool {
        let Handshake::Running(dtls, role) = &self.dtls else { return false };
        let side = if *role == Role::Client { data::Side::Client } else { data::Side::Server };
        if let Data::Possible(rate, early) = &mut self.data
            && dtls.can_send()
        {
            let (rate, early) = (*rate, early.take());
            self.data = Data::Negotiated(Box::new(Association::new(now, side, peer_takes, rate)));
            self.on_data(now, early);
        }
        self.data().is_some_and(|association| !association.is_over())
    }

    /// The data channels' association, to be asked.
    pub fn data(&self) -> Option<&Association> {
        match &self.data {
            Data::Negotiated(association) => Some(association),
            Data::Off | Data::Possible(..) => None,
        }
    }

    /// Opens a data channel. None: there are none, or too many.
    pub fn open_channel(&mut self, now: Instant, channel: Channel) -> Option<StreamId> {
        self.with_data(now, |association| association.open(now, channel)).flatten()
    }

    /// Sends a message on a data channel. False: it is not open, or the peer takes none that is so long.
    pub fn send_message(&mut self, now: Instant, stream: StreamId, message: Message) -> bool {
        self.with_data(now, |association| association.send(now, stream, message)).unwrap_or(false)
    }

    /// Ends a data channel.
    pub fn close_channel(&mut self, now: Instant, stream: StreamId) {
        self.with_data(now, |association| association.close(now, stream));
    }

    /// What happened on data channels.
    pub fn poll_data(&mut self) -> Option<DataEvent> {
        match &mut self.data {
            Data::Negotiated(association) => association.poll_event(),
            Data::Off | Data::Possible(..) => None,
        }
    }

    /// What was refused of what came on data channels.
    pub fn data_counters(&self) -> DataCounters {
        self.data().map(Association::counters).unwrap_or_default()
    }

    pub(super) fn on_data(&mut self, now: Instant, packet: Option<Bytes>) {
        match (&mut self.data, packet) {
            (Data::Possible(_, early @ None), Some(packet)) if packet.len() <= MAX_EARLY => *early = Some(packet),
            (_, Some(packet)) => {
                self.with_data(now, |association| association.handle_packet(now, &packet));
            }
            (_, None) => {}
        }
    }

    /// Does something with the data channels, and sends what comes of it.
    pub(super) fn with_data<T>(&mut self, now: Instant, then: impl FnOnce(&mut Association) -> T) -> Option<T> {
        let Data::Negotiated(association) = &mut self.data else { return None };
        let result = then(association);
        let Handshake::Running(dtls, _) = &mut self.dtls else { return Some(result) };
        while let Some(packet) = association.poll_transmit() {
            // What does not fit is sent again later, more slowly: the association takes it for a loss.
            if self.data_transmits.len() < MAX_DATA_TRANSMITS && dtls.send(now, &packet) {
                send(dtls, self.ice.path(), &mut self.data_transmits, MAX_DATA_TRANSMITS);
            }
        }
        Some(result)
    }
}

/// The first packet of data that is kept, in bytes.
const MAX_EARLY: usize = 1_500;
