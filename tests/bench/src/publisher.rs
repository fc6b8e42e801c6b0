//! The client that sends: sound and pictures of its own making, with the numbers that a browser would give them.

use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use lockgate_rtp::{SenderInfo, write};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

use crate::client::Client;
use crate::host::Host;
use crate::machine::wall_clock;
use crate::scenario::Outgoing;
use crate::sdp::{self, Server};

/// A publisher of one track of sound and one of pictures, of which the highest encoding is sent.
pub(crate) struct Publisher {
    pub(crate) client: Client,
    sound: Numbers,
    picture: Numbers,
    transport_number: u16,
    frame: u16,
    begins_frame: bool,
    wants_key: bool,
    /// Key frames that were begun.
    pub(crate) key_frames: u64,
    next_report: Instant,
}

/// One source's numbers.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    packets: u32,
    octets: u32,
}

impl Publisher {
    /// Connects one to a worker's room. Its tracks' names end with its own.
    pub(crate) fn connect(host: &mut Host, worker: usize, name: &str) -> Result<Self> {
        let mut client = Client::new()?;
        let offer = sdp::publish_offer(&client.peer.fingerprint());
        let tracks = [("0", SOUND), ("1", PICTURE)].map(|(mid, track)| (mid.to_owned(), format!("{track}{name}")));
        let answer = host.publish(worker, offer, tracks.into())?;
        client.connect(&Server::read(&answer)?)?;
        let numbers = |ssrc| Numbers { ssrc, sequence: 65_000, timestamp: 0xffff_0000, packets: 0, octets: 0 };
        Ok(Self {
            client,
            sound: numbers(0x1000),
            picture: numbers(0x2000),
            transport_number: 65_000,
            frame: 0,
            begins_frame: true,
            wants_key: true,
            key_frames: 0,
            next_report: Instant::now(),
        })
    }

    /// Makes the next frame a key frame.
    pub(crate) fn start_over(&mut self) {
        (self.begins_frame, self.wants_key) = (true, true);
    }

    /// Makes the next frame a key frame if that is what a datagram asks for. Its contents are sealed, its kind is not (RFC 3711 §3.4).
    pub(crate) fn hear(&mut self, head: &[u8]) {
        self.wants_key |= head.get(1) == Some(&PAYLOAD_FEEDBACK);
    }

    /// Sends packets that belong together: as one message that the system cuts apart, as a network card would hand them to the
    /// worker that had joined them, if they are equally long; else one by one. When that was comes back.
    pub(crate) fn send(&mut self, packets: &[Outgoing]) -> Result<Duration> {
        let sealed: Vec<_> = packets.iter().map(|packet| self.seal(packet)).collect();
        let sent_at = wall_clock();
        let [first, .., last] = sealed.as_slice() else {
            for packet in &sealed {
                self.client.socket.send(packet)?;
            }
            return Ok(sent_at);
        };
        debug_assert!(first.len() == last.len(), "a burst's packets are equally long");
        let (bytes, size) = (sealed.concat(), first.len() as u16);
        let (slices, cut) = ([IoSlice::new(&bytes)], [ControlMessage::UdpGsoSegments(&size)]);
        sendmsg::<SockaddrIn>(self.client.socket.as_raw_fd(), &slices, &cut, MsgFlags::empty(), None)?;
        Ok(sent_at)
    }

    /// Sends reports, once a second.
    pub(crate) fn report(&mut self, now: Instant) {
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT;
        for numbers in [self.sound, self.picture] {
            let time = wall_clock() + NTP_EPOCH;
            let ntp = (time.as_secs() << 32) | ((u64::from(time.subsec_nanos()) << 32) / 1_000_000_000);
            let Numbers { ssrc, timestamp, packets, octets, .. } = numbers;
            if packets > 0 {
                let info = SenderInfo { ssrc, ntp, rtp: timestamp, packets, octets };
                self.client.send_rtcp(|out| write::sender_report(out, info, "bench"));
            }
        }
    }

    /// An authentic packet of any source.
    pub(crate) fn forge(&mut self, ssrc: u32, payload: usize) -> Vec<u8> {
        self.picture.sequence = self.picture.sequence.wrapping_add(1);
        let mut plain = Numbers { ssrc, ..self.picture }.head(PICTURE_TYPE, true);
        extend(&mut plain, b"1", &mut self.transport_number, Some(b"high"));
        plain.resize(plain.len() + payload, 0x90);
        self.client.peer.seal_rtp(&plain)
    }

    fn seal(&mut self, packet: &Outgoing) -> Vec<u8> {
        let plain = if packet.video { self.picture(packet) } else { self.sound(packet) };
        self.client.peer.seal_rtp(&plain)
    }

    fn sound(&mut self, packet: &Outgoing) -> Vec<u8> {
        let mut out = self.sound.head(SOUND_TYPE, true);
        extend(&mut out, b"0", &mut self.transport_number, None);
        out.resize(out.len() + packet.payload, 0x5a);
        self.sound.count(packet.payload);
        self.sound.timestamp = self.sound.timestamp.wrapping_add(SOUND_FRAME);
        out
    }

    fn picture(&mut self, packet: &Outgoing) -> Vec<u8> {
        let mut out = self.picture.head(PICTURE_TYPE, packet.ends_frame);
        extend(&mut out, b"1", &mut self.transport_number, Some(b"high"));
        let payload = out.len();
        // RFC 7741 §4.2: with picture id, TL0PICIDX and a temporal layer.
        out.extend_from_slice(&[if self.begins_frame { 0x90 } else { 0x80 }, 0xe0]);
        out.extend_from_slice(&(self.frame | 0x8000).to_be_bytes());
        out.extend_from_slice(&[self.frame as u8, 0x20]);
        if self.begins_frame {
            self.key_frames += u64::from(self.wants_key);
            // RFC 6386 §9.1: a key frame has its start code and its size.
            out.extend_from_slice(&[u8::from(!self.wants_key), 0, 0, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02]);
        }
        out.resize(payload + packet.payload.max(out.len() - payload), FILL);
        self.picture.count(packet.payload);
        self.begins_frame = packet.ends_frame;
        if packet.ends_frame {
            self.wants_key = false;
            self.frame = self.frame.wrapping_add(1) & 0x7fff;
            self.picture.timestamp = self.picture.timestamp.wrapping_add(PICTURE_FRAME);
        }
        out
    }
}

impl Numbers {
    fn head(&self, payload_type: u8, marker: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(1500);
        out.extend_from_slice(&[0x90, u8::from(marker) << 7 | payload_type]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out
    }

    fn count(&mut self, payload: usize) {
        self.sequence = self.sequence.wrapping_add(1);
        self.packets += 1;
        self.octets = self.octets.wrapping_add(payload as u32);
    }
}

/// Writes mid, transport-wide number and rid, by the ids of our offer (RFC 8285 §4.2).
fn extend(out: &mut Vec<u8>, mid: &[u8; 1], number: &mut u16, rid: Option<&[u8; 4]>) {
    *number = number.wrapping_add(1);
    let mut elements = vec![0x40, mid[0], 0x71];
    elements.extend_from_slice(&number.to_be_bytes());
    if let Some(rid) = rid {
        elements.push(0x53);
        elements.extend_from_slice(rid);
    }
    elements.resize(elements.len().next_multiple_of(4), 0);
    out.extend_from_slice(&[0xbe, 0xde, 0, (elements.len() / 4) as u8]);
    out.extend_from_slice(&elements);
}

/// What pictures are full of.
pub(crate) const FILL: u8 = 0xa5;
/// The tracks' names.
pub(crate) const SOUND: &str = "sound";
pub(crate) const PICTURE: &str = "picture";
/// Payload types of our offer.
const SOUND_TYPE: u8 = 111;
const PICTURE_TYPE: u8 = 96;
const SOUND_FRAME: u32 = 960;
const PICTURE_FRAME: u32 = 3000;
/// RFC 4585 §6.1.
const PAYLOAD_FEEDBACK: u8 = 206;
const REPORT: Duration = Duration::from_secs(1);
/// Between 1900 and 1970.
const NTP_EPOCH: Duration = Duration::from_secs(2_208_988_800);
