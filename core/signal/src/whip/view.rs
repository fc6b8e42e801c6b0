//! What a session knows of its room: what is published, what it gets on which line, and whether it goes on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockgate_model::policy::Door;
use lockgate_model::{
    Command, Event, MediaKind, OfferedTrack, PublisherId, PublisherInfo, RevokedWhat, TrackId, TrackInfo,
};
use serde_json::{Value, json};

use super::sessions::HalfOpen;
use super::stream::Streams;
use super::target::{Endpoint, Watched};

/// What a session knows.
pub(crate) struct View {
    pub(crate) endpoint: Endpoint,
    /// Of a session that is on its way.
    place: Option<HalfOpen>,
    /// Whether it is in the room, and was told who publishes there.
    pub(crate) is_inside: bool,
    pub(crate) is_listed: bool,
    /// Whom it watches, as far as they publish.
    pub(crate) publishers: BTreeMap<PublisherId, Vec<TrackInfo>>,
    /// Those whom it asked for.
    pub(crate) asked: BTreeSet<PublisherId>,
    /// The mids that were offered, in order.
    pub(crate) mids: Vec<String>,
    /// What it gets.
    pub(crate) lines: Vec<OfferedTrack>,
    /// What it publishes.
    pub(crate) published: BTreeSet<TrackId>,
    /// Whether it answered its client: from here on it asks for what is new.
    pub(crate) is_open: bool,
    pub(crate) is_over: bool,
    /// What to say next.
    pub(crate) todo: VecDeque<Command>,
    pub(crate) streams: Streams,
}

impl View {
    pub(crate) fn new(endpoint: Endpoint, offer: &str) -> Self {
        Self {
            endpoint,
            place: None,
            is_inside: false,
            is_listed: false,
            publishers: BTreeMap::new(),
            asked: BTreeSet::new(),
            mids: offer.lines().filter_map(|line| line.strip_prefix("a=mid:")).map(str::to_owned).collect(),
            lines: Vec::new(),
            published: BTreeSet::new(),
            is_open: false,
            is_over: false,
            todo: VecDeque::new(),
            streams: Streams::default(),
        }
    }

    /// Holds a place until media flows.
    pub(crate) fn hold(&mut self, place: HalfOpen) {
        self.place = Some(place);
    }

    /// Takes what the room says.
    pub(crate) fn hear(&mut self, event: Event) {
        match event {
            Event::RoomJoined { .. } => self.is_inside = true,
            Event::PublishersList { publishers, .. } => {
                self.is_listed = true;
                publishers.into_iter().for_each(|one| self.meet(one));
            }
            Event::NewPublisher { publisher_id, tracks, subject, username, .. } => {
                let user_id = lockgate_model::UserId(0);
                self.meet(PublisherInfo { publisher_id, user_id, username, tracks, subject });
            }
            Event::PublisherLeft { publisher_id, .. } => self.miss(publisher_id),
            Event::Subscribed { tracks, .. } => self.place(tracks),
            Event::MediaConnected { .. } => self.place = None,
            Event::Revoked { what, track_id, .. } => self.lose(what, track_id),
            Event::ServerDraining { .. } => self.leave(),
            _ => {}
        }
    }

    /// The node ends, or the session must: its reader may begin another one.
    pub(crate) fn leave(&mut self) {
        self.streams.tell("reconnect", &json!({}));
        self.is_over = true;
    }

    /// Asks for somebody's tracks, later ones too.
    pub(crate) fn request(&self, publisher_id: PublisherId) -> Command {
        let room_name = self.endpoint.room.clone();
        Command::SubscribeRequest { room_name, publisher_id, track_ids: None, max_layer: None }
    }

    /// Whether another track could be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.lines.len() < self.mids.len()
    }

    /// Who publishes.
    fn meet(&mut self, one: PublisherInfo) {
        let is_wanted = match &self.endpoint.of {
            Watched::Room => true,
            Watched::Publisher(publisher) => *publisher == one.publisher_id,
            Watched::Subject(subject) => *subject == one.subject,
        };
        if self.endpoint.door != Door::Whep || !is_wanted {
            return;
        }
        let publisher = one.publisher_id;
        self.publishers.insert(publisher, one.tracks);
        if self.is_open && self.has_room() && self.asked.insert(publisher) {
            self.todo.push_back(self.request(publisher));
        }
        self.tell_layers();
    }

    /// Somebody publishes no more: there may be lines now for what had none.
    fn miss(&mut self, publisher: PublisherId) {
        self.publishers.remove(&publisher);
        self.asked.remove(&publisher);
        if !self.is_open {
            return;
        }
        let is_sent = |track: &TrackInfo| self.lines.iter().any(|line| line.track_id == track.track_id);
        let lacking = self.publishers.iter().filter(|(_, tracks)| !tracks.iter().all(is_sent));
        let lacking: Vec<_> = lacking.map(|(publisher, _)| *publisher).collect();
        for publisher in lacking {
            self.asked.insert(publisher);
            self.todo.push_back(self.request(publisher));
        }
    }

    /// What is sent on which line now.
    pub(crate) fn place(&mut self, tracks: Vec<OfferedTrack>) {
        let before = std::mem::replace(&mut self.lines, tracks);
        match (before.is_empty(), self.lines.is_empty()) {
            (true, false) => self.streams.tell("active", &json!({})),
            (false, true) => self.streams.tell("inactive", &json!({})),
            _ => {}
        }
        if before != self.lines {
            self.tell_layers();
        }
    }

    /// Something ended that was allowed. What is left goes on; of nothing nothing is left.
    fn lose(&mut self, what: RevokedWhat, track: Option<TrackId>) {
        let is_whep = self.endpoint.door == Door::Whep;
        let is_all = match (what, track) {
            (RevokedWhat::Stay, _) => true,
            (RevokedWhat::Publication, None) => !is_whep,
            (RevokedWhat::Publication, Some(track)) => self.published.remove(&track) && self.published.is_empty(),
            (RevokedWhat::Subscription, None) => is_whep,
            (RevokedWhat::Subscription, Some(track)) => {
                let before = self.lines.len();
                self.lines.retain(|line| line.track_id != track);
                before > 0 && self.lines.is_empty()
            }
            (RevokedWhat::Recording, _) => false,
        };
        if is_all {
            self.leave();
        }
    }

    fn tell_layers(&self) {
        self.streams.tell("layers", &self.layers());
    }

    /// The layers of each video line, the best first: encodings that are chosen by `rid`, the number of the encoding.
    pub(crate) fn layers(&self) -> Value {
        let mut layers = serde_json::Map::new();
        for line in self.lines.iter().filter(|line| line.kind == MediaKind::Video) {
            let place = self.mids.iter().position(|mid| *mid == line.mid);
            let encodings = self.encodings(line).unwrap_or(1);
            let list = (0..encodings).rev().map(|at| json!({ "rid": at.to_string(), "spatialLayerId": at }));
            place.into_iter().for_each(|place| drop(layers.insert(place.to_string(), list.clone().collect())));
        }
        Value::Object(layers)
    }

    /// How many encodings what is sent on a line has, if that was told.
    pub(crate) fn encodings(&self, line: &OfferedTrack) -> Option<u8> {
        let mut tracks = self.publishers.get(&line.publisher_id)?.iter();
        tracks.find(|track| track.track_id == line.track_id).map(|track| track.encodings)
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::policy::Grant;
    use lockgate_model::{RoomName, Source, UserId};

    use super::*;

    fn view(of: Watched, lines: usize) -> View {
        let endpoint = Endpoint { door: Door::Whep, room: RoomName::new("r").unwrap(), of };
        let offer: String = (0..lines).map(|mid| format!("a=mid:{mid}\r\n")).collect();
        View { is_open: true, ..View::new(endpoint, &offer) }
    }

    fn publishes(number: u64, subject: &str, tracks: &[&str]) -> Event {
        let info = |name: &&str| TrackInfo {
            track_id: TrackId::new(*name).unwrap(),
            kind: MediaKind::Video,
            source: Source::Camera,
            codec: None,
            simulcast: true,
            encodings: 2,
            muted: false,
            name: None,
            channel: None,
        };
        Event::NewPublisher {
            room_name: RoomName::new("r").unwrap(),
            publisher_id: PublisherId(number),
            username: "Ann".into(),
            tracks: tracks.iter().map(info).collect(),
            subject: subject.into(),
        }
    }

    fn gets(view: &mut View, number: u64, track: Option<&str>) {
        let line = |name: &str| OfferedTrack {
            mid: "0".into(),
            track_id: TrackId::new(name).unwrap(),
            publisher_id: PublisherId(number),
            kind: MediaKind::Video,
            source: Source::Camera,
        };
        let room_name = RoomName::new("r").unwrap();
        let (publisher_id, tracks) = (PublisherId(number), track.map(line).into_iter().collect());
        view.hear(Event::Subscribed { room_name, publisher_id, tracks });
    }

    fn asked(view: &mut View) -> Vec<u64> {
        let whom = |command| match command {
            Command::SubscribeRequest { publisher_id, .. } => publisher_id.0,
            other => panic!("{other:?}"),
        };
        view.todo.drain(..).map(whom).collect()
    }

    fn revoked(what: RevokedWhat, track: Option<&str>) -> Event {
        Event::Revoked {
            room_name: RoomName::new("r").unwrap(),
            what,
            reason: "enough".into(),
            publisher_id: None,
            track_id: track.map(|track| TrackId::new(track).unwrap()),
            decision_id: None,
        }
    }

    #[test]
    fn whoever_comes_is_asked_for_while_there_are_lines_and_again_when_one_is_free() {
        let mut view = view(Watched::Room, 1);
        view.hear(publishes(1, "7", &["a"]));
        assert_eq!(asked(&mut view), [1]);
        gets(&mut view, 1, Some("a"));
        view.hear(publishes(2, "8", &["b"]));
        assert_eq!(asked(&mut view), [0; 0]);
        view.hear(Event::PublisherLeft { room_name: RoomName::new("r").unwrap(), publisher_id: PublisherId(1) });
        assert_eq!(asked(&mut view), [2]);
    }

    #[test]
    fn whoever_was_not_meant_is_not_asked_for() {
        let mut view = view(Watched::Subject("7".into()), 2);
        [publishes(1, "8", &["a"]), publishes(2, "7", &["b"])].into_iter().for_each(|event| view.hear(event));
        assert_eq!(asked(&mut view), [2]);
        view.hear(publishes(2, "7", &["b", "c"]));
        assert_eq!(asked(&mut view), [0; 0], "later tracks come by themselves");
    }

    #[test]
    fn layers_are_told_by_the_place_of_their_line() {
        let mut view = view(Watched::Room, 1);
        view.hear(publishes(1, "7", &["a"]));
        gets(&mut view, 1, Some("a"));
        let expected = json!({ "0": [{ "rid": "1", "spatialLayerId": 1 }, { "rid": "0", "spatialLayerId": 0 }] });
        assert_eq!(view.layers(), expected);
        assert_eq!(view.encodings(&view.lines[0]), Some(2));
        view.publishers.clear();
        assert_eq!(view.encodings(&view.lines[0]), None);
    }

    #[test]
    fn a_viewer_ends_with_its_stay_or_with_all_that_it_gets() {
        for (event, is_over) in [
            (revoked(RevokedWhat::Stay, None), true),
            (revoked(RevokedWhat::Subscription, None), true),
            (revoked(RevokedWhat::Subscription, Some("a")), true),
            (revoked(RevokedWhat::Subscription, Some("b")), false),
            (revoked(RevokedWhat::Publication, None), false),
            (revoked(RevokedWhat::Recording, None), false),
            (Event::ServerDraining { deadline_ms: 0, reconnect_to: None }, true),
        ] {
            let mut view = view(Watched::Room, 1);
            gets(&mut view, 1, Some("a"));
            let told = format!("{event:?}");
            view.hear(event);
            assert_eq!(view.is_over, is_over, "{told}");
        }
    }

    #[test]
    fn a_publisher_ends_with_the_last_of_its_tracks() {
        let mut view = view(Watched::Room, 0);
        view.endpoint.door = Door::Whip;
        view.published = ["a", "b"].into_iter().map(|track| TrackId::new(track).unwrap()).collect();
        view.hear(revoked(RevokedWhat::Publication, Some("a")));
        assert!(!view.is_over);
        view.hear(revoked(RevokedWhat::Publication, Some("b")));
        assert!(view.is_over);
    }

    #[test]
    fn what_is_joined_is_inside() {
        let mut view = view(Watched::Room, 1);
        view.hear(Event::RoomJoined {
            room_name: RoomName::new("r").unwrap(),
            user_id: UserId(1),
            publisher_id: PublisherId(9),
            participants: Vec::new(),
            grants: Grant::default(),
        });
        assert!(view.is_inside && !view.is_listed);
    }
}
