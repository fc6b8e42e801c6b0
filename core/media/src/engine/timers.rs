//! Time: what is due of connections, offers and feedback.

use std::cmp::Reverse;
use std::time::Instant;

use lockgate_rtp::write;
use lockgate_transport::CloseReason;

use super::Engine;
use super::quality::ntp;
use crate::arena::Key;
use crate::encoding::Encoding;
use crate::publish::REPORT;
use crate::transport::{Role, Transport};

impl Engine {
    /// When [`Self::handle_timeout`] is to be called next; earlier does no harm. To be asked after draining.
    pub fn next_timeout(&self) -> Option<Instant> {
        let due = self.due.peek().map(|Reverse((due, _))| *due);
        due.into_iter().chain(self.pipes.next_timeout()).chain(self.next_release()).chain(self.next_levels).min()
    }

    /// Lets time act.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(Reverse((due, key))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            let Some(transport) = self.transports.get_mut(key).filter(|transport| transport.scheduled == Some(due))
            else {
                continue;
            };
            transport.scheduled = None;
            self.act_on(now, key);
        }
        self.handle_pipes_timeout(now);
        self.tell_levels(now);
    }

    fn act_on(&mut self, now: Instant, key: Key) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        transport.connection.handle_timeout(now);
        self.touched.insert(key);
        self.take_data_events(now, key);
        let Some(transport) = self.transports.get_mut(key) else { return };
        match &mut transport.role {
            Role::Publish(_) => self.give_feedback(now, key),
            Role::Subscribe(subscribe) => match subscribe.handle_timeout(now) {
                Ok(Some(offer)) => self.tell_offer(key, offer),
                Ok(None) => self.adapt(now, key),
                Err(_) => return self.lose_transport(now, key, CloseReason::NoAnswer),
            },
        }
        self.tell_quality(now, key);
        self.take_connection_events(now, key);
    }

    /// Everything that a publisher is told: arrivals, what is missing, key frames that are wanted, reports.
    fn give_feedback(&mut self, now: Instant, key: Key) {
        self.tell_arrivals(now, key);
        self.tell_limit(now, key);
        let Some((publish, connection)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return };
        let is_reached = connection.outlet().is_some();
        let ssrc = publish.ssrc;
        let report = publish.next_report <= now;
        if report {
            publish.next_report = now + REPORT;
        }
        publish.next_repair = None;
        let mut next = None;
        for place in 0.. {
            let Some(track) = self.published(key, place) else { break };
            self.repair(now, key, ssrc, track);
            if self.tracks.get_mut(track).is_some_and(|track| track.settle(now)) || report {
                self.look_after(now, track);
            }
            self.steer(now, key, track);
            next = next.into_iter().chain(self.tracks.get(track).and_then(|track| track.next_repair(now))).min();
        }
        if report {
            self.report(now, key, ssrc);
        }
        if let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) {
            // Where there is no way to it, it is looked again with the next report.
            publish.next_repair = next.filter(|_| is_reached);
        }
    }

    /// The track on one of a publisher's lines.
    fn published(&self, key: Key, place: usize) -> Option<Key> {
        match &self.transports.get(key)?.role {
            Role::Publish(publish) => publish.lines.get(place).map(|line| line.track),
            Role::Subscribe(_) => None,
        }
    }

    fn tell_arrivals(&mut self, now: Instant, key: Key) {
        let media = (0..)
            .map_while(|place| self.published(key, place))
            .find_map(|track| self.tracks.get(track)?.encodings.iter().find_map(|encoding| encoding.ssrc));
        let Some((publish, connection)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return };
        let Some(mut outlet) = connection.outlet() else { return publish.twcc.skip() };
        self.egress.send_rtcp(&mut outlet, |out| {
            publish.twcc.poll(now, publish.ssrc, media.unwrap_or(0), out);
        });
    }

    /// Tells a publisher that goes by our estimate how much it may send; no more than it was granted in all.
    fn tell_limit(&mut self, now: Instant, key: Key) {
        let publish = self.transports.get_mut(key).and_then(Transport::publish_mut);
        // It is asked with each feedback, and due once a second if at all: until then its tracks are not looked at.
        if !publish.is_some_and(|(publish, _)| publish.is_limit_due(now)) {
            return;
        }
        let tracks = || (0..).map_while(|place| self.published(key, place)).filter_map(|track| self.tracks.get(track));
        let sources =
            tracks().flat_map(|track| track.encodings.iter().filter_map(|encoding| encoding.ssrc)).collect::<Vec<_>>();
        let most = tracks()
            .map(|track| track.max_bitrate().map(|limit| limit.0))
            .sum::<Option<u64>>()
            .filter(|_| !sources.is_empty());
        let Some((publish, connection)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return };
        let Some(uplink) = &mut publish.uplink else { return };
        let Some(mut outlet) = connection.outlet() else { return uplink.estimator.skip() };
        if let Some(limit) = uplink.estimator.poll(now, most) {
            self.egress.send_rtcp(&mut outlet, |out| write::remb(out, publish.ssrc, limit, &sources));
        }
    }

    /// Asks for what is missing of a track, and for key frames.
    fn repair(&mut self, now: Instant, key: Key, ssrc: u32, track: Key) {
        let (Some(transport), Some(track)) = (self.transports.get_mut(key), self.tracks.get_mut(track)) else { return };
        let feedback = track.codec.feedback;
        let Some(mut outlet) = transport.connection.outlet() else { return };
        for index in 0..track.encodings.len() {
            let encoding = &mut track.encodings[index];
            let Some(media) = encoding.ssrc else { continue };
            let due = encoding.poll_missing(now);
            if !due.ask.is_empty() {
                self.counters.nacks_out += due.ask.len() as u64;
                self.egress.send_rtcp(&mut outlet, |out| write::nack(out, ssrc, media, &due.ask));
            }
            if encoding.keys.poll(now) && (feedback.pli || feedback.fir) {
                self.counters.key_frame_requests_out += 1;
                let command = encoding.keys.command();
                self.egress.send_rtcp(&mut outlet, |out| match feedback.pli {
                    true => write::pli(out, ssrc, media),
                    false => write::fir(out, ssrc, media, command),
                });
            }
            track.record_losses(&mut self.recorder, index, &due.lost);
        }
    }

    /// Encodings come and go with the publisher's bandwidth.
    fn look_after(&mut self, now: Instant, track_key: Key) {
        if let Some(track) = self.tracks.get_mut(track_key) {
            track.aim(now);
            track.tell_rates(now, &mut self.pipes, &mut self.counters);
            self.stirred.insert(track_key);
        }
    }

    fn report(&mut self, now: Instant, key: Key, ssrc: u32) {
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.clear();
        let (mut came, mut lost) = (0, 0);
        for place in 0.. {
            let Some(track) = self.published(key, place) else { break };
            if let Some(track) = self.tracks.get_mut(track) {
                let totals = track.encodings.iter().map(Encoding::totals);
                totals.for_each(|one| (came, lost) = (came + one.came, lost + one.lost));
                blocks.extend(track.encodings.iter_mut().filter_map(|encoding| encoding.report(now)));
            }
        }
        if let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) {
            publish.note_loss(now, came, lost);
        }
        let time = ntp(self.at(now));
        let outlet = self.transports.get_mut(key).and_then(|transport| transport.connection.outlet());
        if let Some(mut outlet) = outlet.filter(|_| !blocks.is_empty()) {
            self.egress.send_rtcp(&mut outlet, |out| {
                write::receiver_report(out, ssrc, &blocks);
                write::reference_time(out, ssrc, time);
            });
        }
        self.blocks = blocks;
    }
}
