//! What a client may receive and asks for: one track at a time in this dialect, and no more at a time than the room holds.

use std::collections::{BTreeMap, VecDeque};

use lockgate_model::{MediaKind, PublisherId, TrackId, TrackInfo};

use super::wire::{Published, ToClient};

/// What is published, and the subscribe transport as far as it must be known here.
#[derive(Debug, Default)]
pub(crate) struct Subscribing {
    /// Whether the client wants to know.
    is_listening: bool,
    /// What others publish.
    tracks: BTreeMap<TrackId, (PublisherId, MediaKind)>,
    /// What is to be asked for, in order. Only what is published, and each once.
    waiting: VecDeque<TrackId>,
    /// What was asked for, by the numbers of the requests.
    asked: BTreeMap<i64, TrackId>,
    /// The last offer: its publisher and number.
    offer: Option<(PublisherId, u64)>,
}

impl Subscribing {
    /// From now on the client is told what is published. What is already.
    pub(crate) fn listen(&mut self) -> Vec<ToClient> {
        self.is_listening = true;
        told(self.tracks.iter().map(|(track, (_, kind))| (track.clone(), *kind)))
    }

    /// Somebody publishes this, and nothing else any more. What of it is new.
    pub(crate) fn meet(&mut self, publisher: PublisherId, tracks: Vec<TrackInfo>) -> Vec<ToClient> {
        self.tracks.retain(|known, (of, _)| *of != publisher || tracks.iter().any(|track| track.track_id == *known));
        self.waiting.retain(|track| self.tracks.contains_key(track));
        let mut new = Vec::new();
        for track in tracks {
            if self.tracks.insert(track.track_id.clone(), (publisher, track.kind)).is_none() {
                new.push((track.track_id, track.kind));
            }
        }
        if self.is_listening { told(new.into_iter()) } else { Vec::new() }
    }

    /// Who publishes a track.
    pub(crate) fn publisher(&self, track: &TrackId) -> Option<PublisherId> {
        self.tracks.get(track).map(|(publisher, _)| *publisher)
    }

    /// A track is to be received. False: nobody publishes it, as far as the client may know.
    pub(crate) fn want(&mut self, track: TrackId) -> bool {
        if !self.tracks.contains_key(&track) {
            return false;
        }
        let is_asked = self.waiting.contains(&track) || self.asked.values().any(|asked| *asked == track);
        if !is_asked {
            self.waiting.push_back(track);
        }
        true
    }

    /// It is not to be received any more.
    pub(crate) fn want_no_more(&mut self, track: &TrackId) {
        self.waiting.retain(|waiting| waiting != track);
    }

    /// The next track to ask for, under this number, if there is one and the room is not busy with others.
    pub(crate) fn ask(&mut self, number: i64) -> Option<(PublisherId, TrackId)> {
        if self.asked.len() >= MAX_ASKED {
            return None;
        }
        let track = self.waiting.pop_front()?;
        let publisher = self.publisher(&track)?;
        self.asked.insert(number, track.clone());
        Some((publisher, track))
    }

    /// What was asked for by this number, which has been answered.
    pub(crate) fn answered(&mut self, number: i64) -> Option<TrackId> {
        self.asked.remove(&number)
    }

    /// An offer has come.
    pub(crate) fn note_offer(&mut self, publisher: PublisherId, number: u64) {
        self.offer = Some((publisher, number));
    }

    /// The offer that an answer is to.
    pub(crate) fn offer(&self) -> Option<(PublisherId, u64)> {
        self.offer
    }
}

/// Media in one message, of data channels each in one. Nothing is told of nothing: the data examples would subscribe to it.
fn told(new: impl Iterator<Item = (TrackId, MediaKind)>) -> Vec<ToClient> {
    let (data, media): (Vec<_>, Vec<_>) = new.partition(|(_, kind)| *kind == MediaKind::Data);
    let publisher_ids: Vec<_> = media.into_iter().map(|(track, _)| track).collect();
    let media = (!publisher_ids.is_empty()).then_some(Published::Media { publisher_ids });
    let data = data.into_iter().map(|(publisher_id, _)| Published::Data { publisher_id, publisher_ids: [] });
    media.into_iter().chain(data).map(ToClient::Published).collect()
}

/// Requests that may wait for the room: it holds 64 messages of a participant.
const MAX_ASKED: usize = 16;

#[cfg(test)]
mod tests {
    use lockgate_model::Source;
    use serde_json::{Value, json};

    use super::*;

    fn track(name: &str, kind: MediaKind) -> TrackInfo {
        TrackInfo {
            track_id: TrackId::new(name).unwrap(),
            kind,
            source: Source::default_for(kind),
            codec: None,
            simulcast: false,
            encodings: 1,
            muted: false,
            name: None,
            channel: None,
        }
    }

    fn texts(told: &[ToClient]) -> Vec<Value> {
        told.iter().map(|message| serde_json::to_value(message).unwrap()).collect()
    }

    #[test]
    fn what_is_new_is_told_once_and_nothing_before_the_client_listens() {
        let mut subscribing = Subscribing::default();
        let (video, data) = (track("v", MediaKind::Video), track("d", MediaKind::Data));
        assert!(subscribing.meet(PublisherId(1), vec![video.clone(), data.clone()]).is_empty());
        let expected = [
            json!({ "action": "Published", "publisherIds": ["v"] }),
            json!({ "action": "Published", "publisherId": "d", "publisherIds": [] }),
        ];
        assert_eq!(texts(&subscribing.listen()), expected);
        let more = vec![video.clone(), data, track("a", MediaKind::Audio)];
        let told = subscribing.meet(PublisherId(1), more);
        assert_eq!(texts(&told), [json!({ "action": "Published", "publisherIds": ["a"] })]);
        // What was gone for a while is new again.
        assert!(subscribing.meet(PublisherId(1), Vec::new()).is_empty());
        assert_eq!(texts(&subscribing.meet(PublisherId(1), vec![video])), [expected[0].clone()]);
    }

    #[test]
    fn tracks_are_asked_for_a_few_at_a_time_and_each_once() {
        let mut subscribing = Subscribing::default();
        let names: Vec<_> = (0..40).map(|number| format!("t{number}")).collect();
        subscribing.meet(PublisherId(1), names.iter().map(|name| track(name, MediaKind::Audio)).collect());
        let id = |name: &str| TrackId::new(name).unwrap();
        for name in names.iter().chain(&names) {
            assert!(subscribing.want(id(name)));
        }
        assert!(!subscribing.want(id("unknown")));
        let mut asked: Vec<_> = (0..100).map_while(|number| subscribing.ask(number)).collect();
        assert_eq!(asked.len(), MAX_ASKED);
        assert!(subscribing.want(id("t0")), "asked for already");
        subscribing.want_no_more(&id("t39"));
        for number in 0..100 {
            if subscribing.answered(number).is_some() {
                asked.extend(subscribing.ask(number + 16));
            }
        }
        assert_eq!(
            asked.iter().map(|(_, track)| track.clone()).collect::<Vec<_>>(),
            names[..39].iter().map(|name| id(name)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_is_gone_is_not_asked_for() {
        let mut subscribing = Subscribing::default();
        subscribing.meet(PublisherId(1), vec![track("a", MediaKind::Audio)]);
        subscribing.want(TrackId::new("a").unwrap());
        subscribing.meet(PublisherId(1), Vec::new());
        assert_eq!(subscribing.ask(1), None);
    }
}
