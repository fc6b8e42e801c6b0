//! Telling how well media flows: to viewers of what they get, to everybody of what publishers send.

use std::time::{Duration, Instant};

use lockgate_model::carrier::NodeTime;
use lockgate_rtp::{ReportBlock, ntp_middle};

use super::{Engine, RouterEvent, transport_id};
use crate::arena::{Arena, Key};
use crate::publish::Publish;
use crate::quality::Totals;
use crate::track::Track;
use crate::transport::{Role, Transport};

impl Engine {
    /// Tells a connection's quality when that is due.
    pub(super) fn tell_quality(&mut self, now: Instant, key: Key) {
        let Some(transport) = self.transports.get_mut(key).filter(|one| one.connection.is_connected()) else { return };
        if transport.quality.next_timeout() > now {
            return;
        }
        let (totals, rtt, share) = match &transport.role {
            Role::Publish(publish) => (sent_by(publish, &self.tracks), publish.rtt, 1.0),
            Role::Subscribe(subscribe) => {
                let link = &subscribe.link;
                (link.totals(), link.estimator.rtt(), link.share())
            }
        };
        let Some(quality) = transport.quality.look(now, totals, rtt, share) else { return };
        if let Role::Subscribe(subscribe) = &mut transport.role {
            subscribe.link.lossy.note(now, quality.loss);
        }
        let router = transport.router;
        let lines: Vec<_> = match &transport.role {
            Role::Publish(publish) => publish.lines.iter().map(|line| line.track).collect(),
            Role::Subscribe(_) => Vec::new(),
        };
        let rates =
            lines.into_iter().filter_map(|line| self.tracks.get_mut(line).map(|track| track.measured(now))).collect();
        self.tell(router, RouterEvent::Quality { transport: transport_id(key), quality, rates });
    }

    /// A publisher gives a reference time back: the time there and back is what it did not have it for.
    pub(super) fn take_returned(&mut self, now: Instant, key: Key, reference: u32, delay: u32) {
        let passed = ntp_middle(ntp(self.at(now))).wrapping_sub(reference).wrapping_sub(delay);
        let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return };
        let rtt = Duration::from_micros((u64::from(passed) * 1_000_000) >> 16);
        if rtt < LONGEST {
            publish.rtt = Some(publish.rtt.map_or(rtt, |before| (7 * before + rtt) / 8));
        }
    }

    /// A viewer tells how much of a source it got.
    pub(super) fn take_report(&mut self, key: Key, block: ReportBlock) {
        if let Some((subscribe, _)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) {
            subscribe.take_report(block);
        }
    }
}

/// Our time as sender reports would say it: 32.32 fixed point seconds, on our own timeline.
pub(super) fn ntp(time: NodeTime) -> u64 {
    ((u128::from(time.0) << 32) / 1_000_000) as u64
}

/// What came of everything that a publisher sends.
fn sent_by(publish: &Publish, tracks: &Arena<Track>) -> Totals {
    let tracks = publish.lines.iter().filter_map(|line| tracks.get(line.track));
    tracks.flat_map(|track| &track.encodings).fold(Totals::default(), |sum, encoding| {
        let own = encoding.totals();
        Totals { bytes: sum.bytes + own.bytes, came: sum.came + own.came, lost: sum.lost + own.lost }
    })
}

/// What takes longer there and back was not measured.
const LONGEST: Duration = Duration::from_secs(10);
