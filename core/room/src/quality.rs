//! How well media flows: a member hears it of its own connections each time, of others when their score is another one.

use lockgate_model::{Event, PublisherId, Quality, RoomName};

use crate::effect::Connection;
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
        let Some(all) = member.received.values().map(|(quality, _)| *quality).reduce(together) else { return };
        member.quality_told_ms = Some(now);
        let event = told(&self.name, None, all, true);
        self.send(connection.member, event);
    }

    /// A publisher hears how its media comes in; whoever receives of it, when the score is not what it was told before.
    pub(crate) fn on_sent(&mut self, id: PublisherId, quality: Quality) {
        let Some(publisher) = self.members.get(&id) else { return };
        let tracks: Vec<_> = publisher.tracks.keys().cloned().collect();
        if tracks.is_empty() {
            return;
        }
        let mut to = vec![id];
        for member in self.members.values_mut() {
            let mut is_news = false;
            for track in &tracks {
                let reception = member.receives.get_mut(track);
                is_news |= reception.is_some_and(|one| one.score.replace(quality.score) != Some(quality.score));
            }
            to.extend(is_news.then_some(member.id));
        }
        for member in to {
            let event = told(&self.name, Some(id), quality, member == id);
            self.send(member, event);
        }
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

/// Each connection reports every 2 s, give or take a busy machine's delays.
const EVERY_MS: u64 = 1500;
/// Two reports that did not come: nothing flows.
const COUNTS_MS: u64 = 5000;
