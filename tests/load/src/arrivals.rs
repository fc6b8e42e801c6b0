//! A viewer's transport-wide feedback: which packets of its connection came, and when, as often as Chromium says it.
//!
//! One for the whole connection, whatever streams its packets belong to. Where the server offers none nothing is noted.

use std::time::{Duration, Instant};

use lockgate_rtp::Header;
use lockgate_transport::twcc::TwccReceiver;

/// What a viewer notes of its connection's packets.
#[derive(Default)]
pub(crate) struct Arrivals {
    /// The number's extension id on this connection; none: it is not taken.
    id: Option<u8>,
    receiver: Option<TwccReceiver>,
    sent: u64,
}

impl Arrivals {
    /// Says by which id packets tell their numbers from now on; one for all lines of a bundle (RFC 8843 §9.2).
    pub(crate) fn set_id(&mut self, id: Option<u8>) {
        self.id = id;
    }

    /// Notes a packet, whatever is in it: repetitions and probes count too.
    pub(crate) fn note(&mut self, at: Instant, header: &Header, packet: &[u8]) {
        let Some(id) = self.id else { return };
        let receiver = self.receiver.get_or_insert_with(|| TwccReceiver::every(INTERVAL, at));
        receiver.note_packet(at, id, header, packet);
    }

    /// Appends the feedback packet, if it is due, from and about these sources.
    pub(crate) fn poll(&mut self, now: Instant, own_ssrc: u32, media: u32, out: &mut Vec<u8>) {
        let written = self.receiver.as_mut().is_some_and(|receiver| receiver.poll(now, own_ssrc, media, out));
        self.sent += u64::from(written);
    }

    /// When feedback is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.receiver.as_ref().and_then(TwccReceiver::next_timeout)
    }

    /// How many feedback packets there were.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

/// Chromium spends 5 % of the bandwidth that it has itself on feedback, in packets of 68 bytes, 50 to 250 ms apart
/// (`transport_sequence_number_feedback_generator.cc` of libwebrtc): from 218 kbit/s on these are 50 ms, and it begins at 300.
const INTERVAL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use lockgate_rtp::{Element, Profile};
    use rtc_rtcp::transport_feedbacks::transport_layer_cc::{SymbolTypeTcc, TransportLayerCc};
    use rtc_shared::marshal::Unmarshal;

    use super::*;

    /// A packet with a mid, and a transport-wide number by id 5.
    fn packet(number: u16) -> Vec<u8> {
        let mut block = Vec::new();
        Element { id: 1, value: b"0" }.write(Profile::OneByte, &mut block);
        Element { id: 5, value: &number.to_be_bytes() }.write(Profile::OneByte, &mut block);
        block.resize(block.len().next_multiple_of(4), 0);
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, (block.len() / 4) as u8];
        packet.extend(block);
        packet
    }

    fn note(arrivals: &mut Arrivals, at: Instant, number: u16) {
        let packet = packet(number);
        arrivals.note(at, &Header::parse(&packet).unwrap(), &packet);
    }

    /// What the server reads of it: the first number, how many numbers it speaks of, and of each packet that came, how long after the
    /// former one.
    fn poll(arrivals: &mut Arrivals, now: Instant) -> Option<(u16, u16, Vec<Duration>)> {
        let mut out = Vec::new();
        arrivals.poll(now, 7, 9, &mut out);
        let read = (!out.is_empty()).then(|| TransportLayerCc::unmarshal(&mut &out[..]).unwrap())?;
        assert_eq!((read.sender_ssrc, read.media_ssrc), (7, 9));
        let came = read.recv_deltas.iter().filter(|one| one.type_tcc_packet != SymbolTypeTcc::PacketNotReceived);
        let deltas = came.map(|one| Duration::from_micros(one.delta as u64)).collect();
        Some((read.base_sequence_number, read.packet_status_count, deltas))
    }

    #[test]
    fn what_came_is_reported_once_with_its_times_and_gaps() {
        let (begun, mut arrivals) = (Instant::now(), Arrivals::default());
        arrivals.set_id(Some(5));
        let at = |ms| begun + Duration::from_millis(ms);
        [(0, 65_534), (10, 65_535), (10, 1)].into_iter().for_each(|(ms, number)| note(&mut arrivals, at(ms), number));
        assert_eq!(poll(&mut arrivals, at(49)), None, "not due yet");
        assert_eq!(arrivals.next_timeout(), Some(at(50)));
        let (first, numbers, deltas) = poll(&mut arrivals, at(50)).unwrap();
        assert_eq!((first, numbers), (65_534, 4), "one of four did not come");
        assert_eq!(deltas[1..], [Duration::from_millis(10), Duration::ZERO]);
        assert_eq!((poll(&mut arrivals, at(200)), arrivals.next_timeout(), arrivals.sent()), (None, None, 1));
    }

    #[test]
    fn without_an_offer_nothing_is_noted() {
        let (begun, mut arrivals) = (Instant::now(), Arrivals::default());
        note(&mut arrivals, begun, 1);
        assert_eq!((arrivals.next_timeout(), arrivals.sent()), (None, 0));
        arrivals.set_id(Some(5));
        note(&mut arrivals, begun, 2);
        assert_eq!(arrivals.next_timeout(), Some(begun + INTERVAL), "an offer may come later");
    }
}
