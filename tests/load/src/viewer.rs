//! A client that watches: it counts what comes and answers as a browser does, with reports, feedback and requests.

use std::time::{Duration, Instant};

use lockgate_model::{Codec, MediaKind};
use lockgate_rtp::{Feedback, Header, parse_rtcp, write};
use lockgate_transport::sdp::{Extension, Section};

use crate::arrivals::Arrivals;
use crate::incoming::Incoming;
use crate::peer::Peer;
use crate::report::{Delivery, Histogram};

/// How a viewer takes what it gets.
#[derive(Clone, Copy, Debug)]
pub struct ViewerSpec {
    /// Whether packets are opened. Without that they are counted by the numbers of their headers, and no latency is measured.
    pub decrypt: bool,
    /// Whether transport-wide feedback is taken up where the server offers it. Without that it cannot estimate what the viewer's
    /// network carries.
    pub feedback: bool,
}

impl Default for ViewerSpec {
    fn default() -> Self {
        Self { decrypt: true, feedback: true }
    }
}

/// A client that watches.
pub(crate) struct Viewer {
    pub(crate) peer: Peer,
    spec: ViewerSpec,
    lines: Vec<ViewLine>,
    /// What each source is. Few: looked through from the front.
    sources: Vec<(u32, Bound)>,
    streams: Vec<Incoming>,
    arrivals: Arrivals,
    /// The source that our feedback names.
    own_ssrc: u32,
    next_report: Option<Instant>,
    extra: Delivery,
    first_media: Option<Instant>,
}

/// What a line of the server's description says of what comes on it.
#[derive(Clone, Debug)]
pub(crate) struct ViewLine {
    mid: String,
    /// Payload types, those of retransmissions beside.
    codecs: Vec<(u8, Codec, Option<u8>)>,
    mid_id: Option<u8>,
    twcc_id: Option<u8>,
    asks: bool,
    sources: Vec<(u32, Option<u32>)>,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    Media(usize),
    /// Retransmissions of a stream.
    Repair(usize),
    /// Nobody said what it is.
    Unknown,
}

/// A datagram's arrival.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) now: Instant,
    /// When the kernel had it, on the program's clock and in µs since 1970.
    pub(crate) at: Instant,
    pub(crate) at_us: u64,
}

impl ViewLine {
    /// The lines of a description on which the server sends.
    pub(crate) fn of(sections: &[Section]) -> Vec<Self> {
        sections.iter().filter(|section| section.sends && !section.rejected).map(Self::new).collect()
    }

    fn new(section: &Section) -> Self {
        let codec = section.codec();
        let feedback = codec.map(|codec| codec.feedback).unwrap_or_default();
        Self {
            mid: section.mid.clone(),
            codecs: section.codecs.iter().map(|line| (line.payload_type, line.codec, line.rtx)).collect(),
            mid_id: section.extensions.id(Extension::Mid),
            twcc_id: section.extensions.id(Extension::Twcc).filter(|_| feedback.twcc),
            asks: feedback.nack && section.kind == Some(MediaKind::Video),
            sources: section.sources.clone(),
        }
    }

    fn codec_of(&self, payload_type: u8) -> Option<Codec> {
        self.codecs.iter().find(|(own, ..)| *own == payload_type).map(|(_, codec, _)| *codec)
    }

    fn repairs(&self, payload_type: u8) -> bool {
        self.codecs.iter().any(|(_, _, rtx)| *rtx == Some(payload_type))
    }
}

impl Viewer {
    pub(crate) fn new(peer: Peer, spec: ViewerSpec, lines: Vec<ViewLine>, own_ssrc: u32) -> Self {
        let mut viewer = Self {
            peer,
            spec,
            lines: Vec::new(),
            sources: Vec::new(),
            streams: Vec::new(),
            arrivals: Arrivals::default(),
            own_ssrc,
            next_report: None,
            extra: Delivery::default(),
            first_media: None,
        };
        viewer.set_lines(lines);
        viewer
    }

    /// Takes the lines of a new description. Streams that are there go on.
    pub(crate) fn set_lines(&mut self, lines: Vec<ViewLine>) {
        self.sources.retain(|(_, bound)| !matches!(bound, Bound::Unknown));
        for line in &lines {
            let Some((_, codec, _)) = line.codecs.first() else { continue };
            for (ssrc, rtx) in &line.sources {
                let stream = self.stream(*ssrc, *codec, line.asks);
                if let Some(rtx) = rtx.filter(|rtx| self.bound(*rtx).is_none()) {
                    self.sources.push((rtx, Bound::Repair(stream)));
                }
            }
        }
        self.arrivals.set_id(lines.iter().find_map(|line| line.twcc_id).filter(|_| self.spec.feedback));
        self.lines = lines;
    }

    /// Takes an RTP packet as it came.
    pub(crate) fn handle_rtp(&mut self, arrival: Arrival, packet: &mut [u8], latency: &mut Histogram) {
        let Ok(header) = Header::parse(packet) else {
            self.extra.unreadable += 1;
            return;
        };
        if self.peer.is_connected() {
            // What comes before the keys is of no use, and browsers do not report it.
            self.arrivals.note(arrival.at, &header, packet);
        }
        self.extra.bytes += (packet.len() - header.len) as u64;
        match self.bind(&header, packet) {
            Bound::Media(stream) if self.spec.decrypt => self.open(arrival, &header, packet, stream, latency),
            Bound::Media(stream) => {
                self.note(arrival, stream, header.sequence);
            }
            Bound::Repair(stream) => self.open_repair(arrival, &header, packet, stream, latency),
            Bound::Unknown => self.extra.unreadable += 1,
        }
    }

    /// Takes a decrypted RTCP packet.
    pub(crate) fn handle_rtcp(&mut self, now: Instant, packet: &[u8]) {
        let streams = &mut self.streams;
        parse_rtcp(packet, |feedback| {
            if let Feedback::Sender(info) = feedback
                && let Some(stream) = streams.iter_mut().find(|stream| stream.ssrc == info.ssrc)
            {
                stream.note_sender(now, info);
            }
        });
    }

    /// Sends reports, feedback and requests that are due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let media = self.streams.first().map_or(0, |stream| stream.ssrc);
        if self.arrivals.next_timeout().is_some_and(|due| due <= now) {
            self.peer.send_rtcp(|out| self.arrivals.poll(now, self.own_ssrc, media, out));
        }
        self.ask_again(now);
        if self.next_report.is_some_and(|due| due <= now) {
            self.next_report = Some(now + REPORT_EVERY);
            let blocks: Vec<_> = self.streams.iter_mut().filter_map(|stream| stream.report(now)).collect();
            for some in blocks.chunks(31) {
                self.peer.send_rtcp(|out| write::receiver_report(out, self.own_ssrc, some));
            }
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if !self.peer.is_connected() {
            return None;
        }
        let missing = self.streams.iter().filter_map(|stream| stream.missing.next_timeout());
        missing.chain(self.arrivals.next_timeout()).chain(self.next_report).min()
    }

    /// Says which packet of each source was the last one that must come.
    pub(crate) fn end(&mut self, last: impl Fn(u32) -> Option<u64>) {
        self.streams.iter_mut().for_each(|stream| stream.tally.end(&last));
    }

    /// When the first packet of media had come.
    pub(crate) fn first_media(&self) -> Option<Instant> {
        self.first_media
    }

    /// What came.
    pub(crate) fn delivery(&self) -> Delivery {
        let mut delivery = Delivery { feedback_sent: self.arrivals.sent(), ..self.extra };
        self.streams.iter().for_each(|stream| stream.add_to(&mut delivery));
        delivery
    }

    fn bound(&self, ssrc: u32) -> Option<Bound> {
        self.sources.iter().find(|(known, _)| *known == ssrc).map(|(_, bound)| *bound)
    }

    fn stream(&mut self, ssrc: u32, codec: Codec, asks: bool) -> usize {
        if let Some(Bound::Media(stream)) = self.bound(ssrc) {
            return stream;
        }
        self.streams.push(Incoming::new(ssrc, codec, asks));
        self.sources.push((ssrc, Bound::Media(self.streams.len() - 1)));
        self.streams.len() - 1
    }

    /// What a packet's source is; of one that no description named by its line's name, else by its payload type (RFC 8843 §9.2).
    fn bind(&mut self, header: &Header, packet: &[u8]) -> Bound {
        if let Some(bound) = self.bound(header.ssrc) {
            return bound;
        }
        if self.sources.len() >= MAX_SOURCES {
            return Bound::Unknown;
        }
        let named = |line: &&ViewLine| {
            header.extensions(packet).any(|one| Some(one.id) == line.mid_id && one.value == line.mid.as_bytes())
        };
        let knows = |line: &&ViewLine| line.codec_of(header.payload_type).is_some();
        let line = self.lines.iter().find(named).or_else(|| self.lines.iter().find(knows));
        match line.and_then(|line| Some((line.codec_of(header.payload_type)?, line.asks))) {
            Some((codec, asks)) => Bound::Media(self.stream(header.ssrc, codec, asks)),
            None => {
                let repairs = self.lines.iter().any(|line| line.repairs(header.payload_type));
                // Retransmissions name their stream by what is in them only when a line has one stream.
                let videos = self.streams.iter().filter(|stream| stream.asks).count();
                let stream = self.streams.iter().position(|stream| stream.asks);
                let bound = stream.filter(|_| repairs && videos == 1).map_or(Bound::Unknown, Bound::Repair);
                self.sources.push((header.ssrc, bound));
                bound
            }
        }
    }

    fn note(&mut self, arrival: Arrival, stream: usize, sequence: u16) -> bool {
        if self.first_media.is_none() {
            self.first_media = Some(arrival.at);
            self.next_report = Some(arrival.now + REPORT_EVERY);
        }
        let stream = &mut self.streams[stream];
        let noted = stream.note(arrival.now, sequence);
        self.extra.recovered += u64::from(noted.asked);
        noted.new
    }

    fn decrypt(&mut self, header: &Header, packet: &mut [u8]) -> Option<usize> {
        match self.peer.open_rtp(packet, header) {
            Some(Ok(len)) => return Some(len),
            Some(Err(_)) => self.extra.unreadable += 1,
            None => self.extra.early += 1,
        }
        None
    }

    fn open(&mut self, arrival: Arrival, header: &Header, packet: &mut [u8], stream: usize, latency: &mut Histogram) {
        let Some(len) = self.decrypt(header, packet) else { return };
        self.note(arrival, stream, header.sequence);
        let stream = &mut self.streams[stream];
        stream.note_time(arrival.at_us, header);
        let Ok(payload) = header.payload(&packet[..len]) else { return };
        if let Some((true, sent_us)) = stream.note_payload(&packet[payload]) {
            latency.note_us(arrival.at_us.saturating_sub(sent_us));
        }
    }

    fn open_repair(
        &mut self,
        arrival: Arrival,
        header: &Header,
        packet: &mut [u8],
        stream: usize,
        latency: &mut Histogram,
    ) {
        let Some(len) = self.decrypt(header, packet) else { return };
        let Ok(payload) = header.payload(&packet[..len]) else { return };
        // Without an original number it is padding that probes the bandwidth.
        let Some(([high, low], payload)) = packet[payload].split_first_chunk() else { return };
        let original = u16::from_be_bytes([*high, *low]);
        if self.streams[stream].has(original) {
            self.extra.probes += 1;
            return;
        }
        self.note(arrival, stream, original);
        // Who does not open media knows none of it by its payload.
        let known = self.spec.decrypt.then(|| self.streams[stream].note_payload(payload)).flatten();
        if let Some((true, sent_us)) = known {
            latency.note_us(arrival.at_us.saturating_sub(sent_us));
        }
    }

    fn ask_again(&mut self, now: Instant) {
        for stream in &mut self.streams {
            let due = stream.missing.poll(now);
            if !due.lost.is_empty() {
                self.peer.send_rtcp(|out| write::pli(out, self.own_ssrc, stream.ssrc));
            }
            if !due.ask.is_empty() {
                self.peer.send_rtcp(|out| write::nack(out, self.own_ssrc, stream.ssrc, &due.ask));
            }
        }
    }
}

const REPORT_EVERY: Duration = Duration::from_secs(1);
const MAX_SOURCES: usize = 1024;
