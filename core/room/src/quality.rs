//! How well media flows: a member hears it of its own connections each time, of others when their score is another one.

use lockgate_model::{Event, PublisherId, Quality, RoomName, TrackId};

use crate::effect::Connection;
use crate::member::{Member, Track};
use crate::room::Room;

impl Room {
    /// A member with several connections hears of all of them together; of one that reports nothing any more, not for long.
    pub(crate) fn on_received(&mut self, connection: Connection, quality: Quality) {
        let now = self.now_ms;
        let Some(member) = self.members.get_mut(&connection.member) else { return };
        if !member.open.contains(&connection) {
            return;
        }
        member.received.insert(connection, (quality, now));
        member.received.retain(|_, (_, at)| now.abs_diff(*at) <= COUNTS_MS);
        if member.quality_told_ms.is_some_and(|told| now.abs_diff(told) < EVERY_MS) {
            return;
        }
        let Some(all) = member.receives_now(now) else { return };
        member.quality_told_ms = Some(now);
        let event = told(&self.name, None, all, true);
        self.send(connection.member, event);
    }

    /// A publisher hears how its media comes in; whoever is sent something of it, when the score is not what it was told before.
    pub(crate) fn on_sent(&mut self, id: PublisherId, quality: Quality) {
        let now = self.now_ms;
        let Some(publisher) = self.members.get_mut(&id) else { return };
        publisher.sent = Some((quality, now));
        let tracks: Vec<_> = publisher.tracks.keys().cloned().collect();
        if tracks.is_empty() {
            return;
        }
        let mut to = vec![id];
        let learns = |member: &mut Member| member.learns_score(&tracks, quality.score).then_some(member.id);
        to.extend(self.members.values_mut().filter_map(learns));
        for member in to {
            let event = told(&self.name, Some(id), quality, member == id);
            self.send(member, event);
        }
    }
}

impl Room {
    /// What operators see of tracks.
    pub(crate) fn on_rates(&mut self, id: PublisherId, tracks: Vec<(TrackId, Vec<u64>)>) {
        let now = self.now_ms;
        let Some(publisher) = self.members.get_mut(&id) else { return };
        for (track, rates) in tracks {
            if let Some(track) = publisher.tracks.get_mut(&track) {
                track.rates = Some((rates, now));
            }
        }
    }
}

impl Track {
    /// What its encodings have, if that was told lately.
    pub(crate) fn rates_now(&self, now_ms: u64) -> Option<Vec<u64>> {
        self.rates.as_ref().filter(|(_, at)| now_ms.abs_diff(*at) <= COUNTS_MS).map(|(rates, _)| rates.clone())
    }
}

/// What a client knows of a publisher's score.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Score {
    /// What it was told last.
    told: Option<u8>,
    /// What the last report said.
    last: Option<u8>,
}

impl Score {
    /// Takes a report. True: it is to be told, as something else is the case than was told, and not for a moment only.
    fn note(&mut self, score: u8) -> bool {
        let stays = self.last.replace(score) == Some(score);
        let least = if stays { 1 } else { MOVES };
        let is_news = self.told.is_none_or(|told| told.abs_diff(score) >= least);
        if is_news {
            self.told = Some(score);
        }
        is_news
    }
}

impl Member {
    /// How well media reaches this member, on all its connections that have told lately.
    pub(crate) fn receives_now(&self, now_ms: u64) -> Option<Quality> {
        let told = self.received.values().filter(|(_, at)| now_ms.abs_diff(*at) <= COUNTS_MS);
        told.map(|(quality, _)| *quality).reduce(together)
    }

    /// How well this member's media comes in, if its connection has told lately.
    pub(crate) fn sends_now(&self, now_ms: u64) -> Option<Quality> {
        self.sent.filter(|(_, at)| now_ms.abs_diff(*at) <= COUNTS_MS).map(|(quality, _)| quality)
    }

    /// Notes the score of a publisher of these tracks. True: something of it is sent to this member, who is to be told.
    fn learns_score(&mut self, tracks: &[TrackId], score: u8) -> bool {
        let received = tracks.iter().filter_map(|track| self.receives.get(track));
        let sent = received.filter(|reception| !reception.limits().is_at_rest());
        // What begins to be sent beside others of the publisher's is known of no longer than they are.
        let Some(mut known) = sent.map(|reception| reception.score).max_by_key(|score| score.told.is_some()) else {
            return false;
        };
        let is_news = known.note(score);
        for track in tracks {
            if let Some(reception) = self.receives.get_mut(track) {
                reception.score = known;
            }
        }
        is_news
    }
}

/// Two connections as one: the worse of each, and the sum of what flows.
fn together(one: Quality, other: Quality) -> Quality {
    Quality {
        score: one.score.min(other.score),
        bitrate: one.bitrate + other.bitrate,
        loss: one.loss.max(other.loss),
        rtt: one.rtt.max(other.rtt),
    }
}

fn told(room: &RoomName, publisher_id: Option<PublisherId>, quality: Quality, repeats: bool) -> Event {
    let Quality { score, bitrate, loss, rtt } = quality;
    let (room_name, loss) = (room.clone(), f64::from(loss) / 1000.0);
    Event::Quality { room_name, publisher_id, score, bitrate, loss, rtt, repeats }
}

/// A score that is off by so much is told at once, by less when it stays: between two of them a link wavers.
const MOVES: u8 = 2;
/// Each connection reports every 2 s, give or take a busy machine's delays.
const EVERY_MS: u64 = 1500;
/// Two reports that did not come: nothing flows.
const COUNTS_MS: u64 = 5000;
