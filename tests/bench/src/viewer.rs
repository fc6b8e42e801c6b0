//! A client that watches: it counts what comes by the heads of datagrams, and says what a browser would say of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lockgate_rtp::{Header, ReportBlock, is_rtcp, write};
use lockgate_transport::twcc::TwccReceiver;

use crate::client::Client;
use crate::host::Host;
use crate::publisher::{PICTURE, SOUND};
use crate::sdp::{self, Server, Source};

/// A viewer of the room's sound and picture.
pub(crate) struct Viewer {
    pub(crate) client: Client,
    /// By which the worker's process knows it.
    pub(crate) number: u64,
    streams: Vec<Stream>,
    /// What came, and the extension id that tells its number.
    arrivals: Option<(u8, TwccReceiver)>,
}

/// What a viewer is sent of one source.
struct Stream {
    source: Source,
    received: u64,
    highest: Option<u16>,
    missing: Vec<u16>,
}

impl Viewer {
    /// Joins a worker's room. It reports every arrival if it is to and the worker wants that.
    pub(crate) fn join(host: &mut Host, worker: usize, reports: bool) -> Result<Self> {
        let mut client = Client::new()?;
        let (number, mut offer) = host.view(worker, vec![SOUND.into(), PICTURE.into()])?;
        let (first, fingerprint) = (offer.clone(), client.peer.fingerprint());
        while let Some(next) = host.answer(worker, number, sdp::view_answer(&offer, &fingerprint, reports)?)? {
            offer = next;
        }
        let number_id = sdp::number_id(&offer)?.filter(|_| reports);
        let arrivals = number_id.map(|id| (id, TwccReceiver::every(REPORT_ARRIVALS, Instant::now())));
        let sources = sdp::sources(&offer)?;
        ensure!(sources.len() == 2, "{} of 2 tracks were offered", sources.len());
        client.connect(&Server::read(&first)?)?;
        let stream = |source| Stream { source, received: 0, highest: None, missing: Vec::new() };
        Ok(Self { client, number, streams: sources.into_iter().map(stream).collect(), arrivals })
    }

    /// Notes a datagram's transport-wide number; when a report is due comes back, if none was due before.
    pub(crate) fn note_arrival(&mut self, now: Instant, head: &[u8]) -> Option<Instant> {
        let (id, arrivals) = self.arrivals.as_mut()?;
        let header = Header::parse(head).ok().filter(|_| !is_rtcp(head))?;
        let waits = arrivals.next_timeout().is_some();
        arrivals.note_packet(now, *id, &header, head);
        arrivals.next_timeout().filter(|_| !waits)
    }

    /// Tells the worker what came since the last time, as Chromium does.
    pub(crate) fn report_arrivals(&mut self, now: Instant) {
        let Some((_, arrivals)) = &mut self.arrivals else { return };
        let ssrc = self.streams[0].source.ssrc;
        self.client.send_rtcp(|out| {
            arrivals.poll(now, OWN_SSRC, ssrc, out);
        });
    }

    /// Takes a datagram's head; whether it is media comes back.
    pub(crate) fn take(&mut self, head: &[u8]) -> bool {
        if head.len() < 12 || head[0] >> 6 != 2 || is_rtcp(head) {
            return false;
        }
        let ssrc = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.source.ssrc == ssrc) else { return false };
        stream.take(u16::from_be_bytes([head[2], head[3]]));
        true
    }

    /// Looks through what has come, of which nothing else is made: the source and the last number of the picture.
    pub(crate) fn glance(&mut self) -> Option<(u32, u16)> {
        let mut datagram = [0; 2048];
        while let Ok(length) = self.client.socket.recv(&mut datagram) {
            self.take(&datagram[..length]);
        }
        let stream = self.streams.iter_mut().find(|stream| stream.source.video)?;
        stream.missing.clear();
        Some((stream.source.ssrc, stream.highest?))
    }

    /// What a browser reports: how much came, and what is missing.
    pub(crate) fn report(&mut self) {
        let seen = self.streams.iter().filter(|stream| stream.received > 0);
        let block = |stream: &Stream| ReportBlock {
            ssrc: stream.source.ssrc,
            highest: stream.highest.unwrap_or(0).into(),
            ..ReportBlock::default()
        };
        let blocks: Vec<_> = seen.map(block).collect();
        if !blocks.is_empty() {
            self.client.send_rtcp(|out| write::receiver_report(out, OWN_SSRC, &blocks));
        }
        for stream in self.streams.iter_mut().filter(|stream| stream.source.video && !stream.missing.is_empty()) {
            let missing = std::mem::take(&mut stream.missing);
            self.client.send_rtcp(|out| write::nack(out, OWN_SSRC, stream.source.ssrc, &missing));
        }
    }

    /// Whether it reports arrivals.
    pub(crate) fn is_reporting(&self) -> bool {
        self.arrivals.is_some()
    }

    /// The source of what it sees.
    pub(crate) fn picture(&self) -> Option<Source> {
        self.streams.iter().map(|stream| stream.source).find(|source| source.video)
    }
}

impl Stream {
    fn take(&mut self, sequence: u16) {
        self.received += 1;
        let ahead = self.highest.map_or(1, |highest| sequence.wrapping_sub(highest));
        if ahead == 0 || ahead > u16::MAX / 2 {
            return;
        }
        self.missing.extend((1..ahead.min(MAX_MISSING)).map(|back| sequence.wrapping_sub(back)));
        self.missing.truncate(MAX_MISSING.into());
        self.highest = Some(sequence);
    }
}

/// How often arrivals are reported: as often as Chromium does.
pub(crate) const REPORT_ARRIVALS: Duration = Duration::from_millis(50);
/// The source that all reports are from.
pub(crate) const OWN_SSRC: u32 = 1;
/// Packets that are asked for at once.
const MAX_MISSING: u16 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(number_id: Option<u8>) -> Viewer {
        let source = Source { ssrc: 9, repairs: Some(10), video: true };
        let arrivals = number_id.map(|id| (id, TwccReceiver::every(REPORT_ARRIVALS, Instant::now())));
        let streams = vec![Stream { source, received: 0, highest: None, missing: Vec::new() }];
        Viewer { client: Client::new().unwrap(), number: 0, streams, arrivals }
    }

    /// The head of a packet with a mid and the number 7 by id 5; what stands behind is not read.
    fn head(ssrc: u32) -> Vec<u8> {
        let mut head = vec![0x90, 96, 0, 1, 0, 0, 0, 2];
        head.extend(ssrc.to_be_bytes());
        head.extend([0xbe, 0xde, 0, 2, 0x10, b'0', 0x51, 0, 7, 0, 0, 0, 0xa5, 0xa5, 0xa5, 0xa5]);
        head
    }

    #[test]
    fn arrivals_are_due_once_in_an_interval_whatever_came() {
        let (now, mut viewer) = (Instant::now(), viewer(Some(5)));
        let repeated = head(10);
        assert_eq!(viewer.note_arrival(now, &repeated), Some(now + REPORT_ARRIVALS));
        assert!(!viewer.take(&repeated), "it is not counted as media");
        assert_eq!(viewer.note_arrival(now, &head(9)), None, "a report is due already");
        assert!(viewer.take(&head(9)));
    }

    #[test]
    fn who_does_not_report_notes_nothing() {
        let (now, mut viewer) = (Instant::now(), viewer(None));
        assert_eq!((viewer.note_arrival(now, &head(9)), viewer.is_reporting()), (None, false));
        viewer.report_arrivals(now);
    }
}
