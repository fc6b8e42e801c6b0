//! Datagrams: which transport they are for, what they are, and where they lead.

use std::time::Instant;

use lockgate_rtp::{Feedback, Header, parse_rtcp};
use lockgate_transport::ice::{Path, local_ufrag};
use lockgate_transport::srtp::SrtpError;
use lockgate_transport::{ConnectionEvent, Kind, Refused};

use super::{Engine, RouterEvent, transport_id};
use crate::arena::Key;
use crate::publish::Source;
use crate::stats::DropReason;
use crate::track::Track;
use crate::transport::{Role, Transport};

impl Engine {
    /// Takes a datagram, which is decrypted where it lies.
    pub fn handle_datagram(&mut self, now: Instant, path: Path, datagram: &mut [u8]) {
        let taken = match (Kind::of(datagram), self.demux.by_path(&path)) {
            (Some(Kind::Stun), _) => self.handle_stun(now, path, datagram),
            (Some(Kind::Rtp), Some(key)) => self.handle_rtp(now, path, key, datagram),
            (Some(Kind::Rtcp), Some(key)) => self.handle_rtcp(now, path, key, datagram),
            (Some(Kind::Dtls), Some(key)) => self.handle_dtls(now, key, datagram),
            (Some(_), None) => Err(DropReason::Stray),
            (None, _) => Err(DropReason::Unknown),
        };
        if let Err(reason) = taken {
            self.counters.drop(reason);
        }
    }

    /// Whether a transport is reached by this path: it passed an authentic check and is not given up. For owners of streams, which
    /// are of no use otherwise.
    pub fn has_path(&self, path: &Path) -> bool {
        self.demux.by_path(path).is_some()
    }

    /// A path is no more: its stream ended. Its transport lives on, and is reached again by the next path that its client checks.
    pub fn forget_path(&mut self, path: Path) {
        let key = self.demux.remove_path(&path);
        if let Some(transport) = key.and_then(|key| self.transports.get_mut(key)) {
            transport.connection.forget_path(path);
        }
    }

    /// A path is not a transport's any more. Nothing of it goes by there from now on, and what waits there would leave whatever is withdrawn
    /// later, as nobody remembers whose it is: it is withdrawn now.
    fn give_up(&mut self, path: Path, whose: Key) {
        if let Some(transport) = self.transports.get_mut(whose) {
            transport.connection.forget_path(path);
        }
        self.withdraw_all([path]);
    }

    fn handle_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        let named = || local_ufrag(datagram).and_then(|ufrag| self.demux.by_ufrag(&ufrag));
        let key = named().ok_or(DropReason::Check)?;
        let transport = self.transports.get_mut(key).ok_or(DropReason::Check)?;
        let renewed = transport.connection.handle_stun(now, path, datagram).map_err(|_| DropReason::Check)?;
        if renewed {
            self.demux.name(key, transport.connection.ice().ufrags());
        }
        for (lost, whose) in self.demux.add_path(path, key) {
            self.give_up(lost, whose);
        }
        self.touched.insert(key);
        self.take_connection_events(now, key);
        Ok(())
    }

    fn handle_dtls(&mut self, now: Instant, key: Key, datagram: &[u8]) -> Result<(), DropReason> {
        let transport = self.transports.get_mut(key).ok_or(DropReason::Stray)?;
        transport.connection.handle_dtls(now, datagram);
        self.touched.insert(key);
        self.take_data_events(now, key);
        self.take_connection_events(now, key);
        Ok(())
    }

    fn handle_rtp(&mut self, now: Instant, path: Path, key: Key, datagram: &mut [u8]) -> Result<(), DropReason> {
        let header = Header::parse(datagram).map_err(|_| DropReason::Malformed)?;
        let transport = self.transports.get_mut(key).ok_or(DropReason::Stray)?;
        let (publish, connection) = transport.publish_mut().ok_or(DropReason::UnknownSource)?;
        let len = connection.unprotect_rtp(now, path, datagram, &header).map_err(reason)?;
        let packet = &mut datagram[..len];
        publish.note_arrival(now, &header, packet);
        let bound = publish.bind(&header, packet)?;
        if publish.next_arrivals().is_some_and(|due| transport.scheduled.is_none_or(|scheduled| due < scheduled)) {
            self.touched.insert(key);
        }
        if bound.new {
            self.bind_source(bound.source, header.ssrc);
            let due = self.tracks.get(bound.source.track).and_then(|track| track.next_repair(now));
            self.repair_by(key, due);
        }
        self.hand_to_track(now, key, bound.source, header, packet)
    }

    /// A source of a track was seen for the first time.
    pub(super) fn bind_source(&mut self, source: Source, ssrc: u32) {
        let encoding = self.tracks.get_mut(source.track).and_then(|track| track.encodings.get_mut(source.encoding));
        match (encoding, source.repairs) {
            (Some(encoding), None) => encoding.bind(ssrc),
            (Some(encoding), Some(_)) => encoding.rtx_ssrc = Some(ssrc),
            (None, _) => {}
        }
    }

    fn hand_to_track(
        &mut self,
        now: Instant,
        key: Key,
        source: Source,
        header: Header,
        packet: &mut [u8],
    ) -> Result<(), DropReason> {
        let (tracks, mut onward) = self.split(now);
        let track = tracks.get_mut(source.track).ok_or(DropReason::UnknownSource)?;
        let (before, len) = (track.next_repair(now), packet.len());
        match source.repairs {
            None => track.receive(&mut onward, source.encoding, header, packet, false),
            Some(_) => {
                let (header, packet) = unwrap(track, source, &header, packet)?;
                track.receive(&mut onward, source.encoding, header, packet, true);
            }
        }
        let (after, pending, heard) = (track.next_repair(now), track.has_pending(), track.begins_to_be_heard());
        if pending {
            self.wait_for_forward(source.track, len);
        }
        if heard {
            self.listen(now, source.track);
        }
        if after.is_some() && after != before {
            self.repair_by(key, after);
        }
        Ok(())
    }

    fn repair_by(&mut self, key: Key, due: Option<Instant>) {
        if let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut)
            && let Some(due) = due
            && publish.next_repair.is_none_or(|next| due < next)
        {
            publish.next_repair = Some(due);
            self.touched.insert(key);
        }
    }

    fn handle_rtcp(&mut self, now: Instant, path: Path, key: Key, datagram: &mut [u8]) -> Result<(), DropReason> {
        let transport = self.transports.get_mut(key).ok_or(DropReason::Stray)?;
        let len = transport.connection.unprotect_rtcp(now, path, datagram).map_err(reason)?;
        let publishes = matches!(transport.role, Role::Publish(_));
        let malformed = parse_rtcp(&datagram[..len], |one| {
            if publishes { self.take_from_publisher(now, key, one) } else { self.take_from_viewer(now, key, one) }
        });
        if malformed > 0 { Err(DropReason::Malformed) } else { Ok(()) }
    }

    fn take_from_publisher(&mut self, now: Instant, key: Key, feedback: Feedback<'_>) {
        if let Feedback::Returned { reference, delay, .. } = feedback {
            return self.take_returned(now, key, reference, delay);
        }
        let Feedback::Sender(info) = feedback else { return };
        let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return };
        let Some(source) = publish.source(info.ssrc).filter(|source| source.repairs.is_none()) else { return };
        let (tracks, mut onward) = self.split(now);
        if let Some(track) = tracks.get_mut(source.track) {
            track.receive_report(&mut onward, source.encoding, info);
        }
    }

    fn take_from_viewer(&mut self, now: Instant, key: Key, feedback: Feedback<'_>) {
        let subscribe = self.transports.get_mut(key).and_then(Transport::subscribe_mut);
        let track_of = |ssrc| subscribe.as_ref().and_then(|(subscribe, _)| subscribe.track_of(ssrc));
        match feedback {
            Feedback::Nack { ssrc, missing } => {
                let Some(track) = track_of(ssrc) else { return };
                let (tracks, mut onward) = self.split(now);
                if let Some(track) = tracks.get_mut(track) {
                    track.retransmit(&mut onward, key, missing);
                }
            }
            Feedback::KeyFrameRequest { ssrc } => {
                let Some(track_key) = track_of(ssrc) else { return };
                let Some(track) = self.tracks.get_mut(track_key) else { return };
                match track.want_key_for(now, key) {
                    true => self.hurry(track_key),
                    false => self.counters.drop(DropReason::TooManyKeyFrames),
                }
            }
            Feedback::Twcc(arrivals) => self.take_arrivals(now, key, &arrivals),
            Feedback::Remb { bitrate } => self.take_remb(now, key, bitrate),
            Feedback::Report(block) => self.take_report(key, block),
            Feedback::Sender(_) | Feedback::Returned { .. } | Feedback::Bye { .. } => {}
        }
    }

    pub(super) fn take_connection_events(&mut self, now: Instant, key: Key) {
        while let Some(transport) = self.transports.get_mut(key)
            && let Some(event) = transport.connection.poll_event()
        {
            let router = transport.router;
            match event {
                ConnectionEvent::Connected => {
                    self.tell(router, RouterEvent::Connected { transport: transport_id(key) });
                    self.start_subscriptions_of(now, key);
                }
                ConnectionEvent::Closed(reason) => self.lose_transport(now, key, reason),
            }
        }
    }
}

/// The original of a packet that was sent again (RFC 4588 §4), put together in place; only if it was missed.
fn unwrap<'a>(
    track: &Track,
    source: Source,
    header: &Header,
    packet: &'a mut [u8],
) -> Result<(Header, &'a [u8]), DropReason> {
    let encoding = track.encodings.get(source.encoding).ok_or(DropReason::UnknownSource)?;
    let ssrc = encoding.ssrc.ok_or(DropReason::UnknownSource)?;
    let payload = header.payload(packet).map_err(|_| DropReason::Malformed)?;
    let Some(original) = packet[payload].first_chunk::<2>().copied() else { return Err(DropReason::Padding) };
    let original = u16::from_be_bytes(original);
    if !encoding.is_missing(original) {
        return Err(DropReason::Duplicate);
    }
    packet.copy_within(..header.len, 2);
    let packet = &mut packet[2..];
    packet[1] = packet[1] & 0x80 | source.payload_type;
    packet[2..4].copy_from_slice(&original.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    let header = Header::parse(packet).map_err(|_| DropReason::Malformed)?;
    Ok((header, packet))
}

fn reason(refused: Refused) -> DropReason {
    match refused {
        Refused::Check(_) => DropReason::Check,
        Refused::NoKeys => DropReason::NoKeys,
        Refused::Srtp(SrtpError::Replay) => DropReason::Replay,
        Refused::Srtp(SrtpError::Late) => DropReason::Late,
        Refused::Srtp(SrtpError::Malformed) => DropReason::Malformed,
        Refused::Srtp(SrtpError::TooManySources) => DropReason::UnknownSource,
        Refused::Srtp(_) => DropReason::Authentication,
    }
}
