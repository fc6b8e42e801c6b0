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
    /// Those whom it asked for, and those whom it will ask for when there is a line.
    pub(crate) asked: BTreeSet<PublisherId>,
    wanted: BTreeSet<PublisherId>,
    /// The mids that were offered, in order.
    pub(crate) mids: Vec<String>,
    /// What it gets.
    pub(crate) lines: Vec<OfferedTrack>,
    /// What it publishes.
    pub(crate) published: BTreeSet<TrackId>,
    /// Whether it answered its client: from here on it asks for what is new.
    is_open: bool,
    pub(crate) is_over: bool,
    /// What its client wants to be said, in order. As long as something is left, nothing more is taken from it.
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
            wanted: BTreeSet::new(),
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

    /// It has answered its client: asks for those, too, who began to publish meanwhile.
    pub(crate) fn open(&mut self) {
        self.is_open = true;
        let publishers: Vec<_> = self.publishers.keys().copied().collect();
        publishers.into_iter().for_each(|publisher| self.want(publisher));
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
            // Of this publisher nothing is sent, or nothing yet: what is sent of others goes on.
            Event::Subscribed { publisher_id, tracks, .. } if tracks.is_empty() => {
                self.keep(|line| line.publisher_id != publisher_id);
            }
            Event::Subscribed { tracks, .. } => self.place(tracks),
            Event::MediaConnected { .. } => self.place = None,
            Event::Revoked { what, track_id, .. } => self.lose(what, track_id),
            // With time left the session goes on: a node that drains lets nobody begin another one.
            Event::ServerDraining { deadline_ms: 0, .. } => self.leave(),
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

    /// What to say next.
    pub(crate) fn next_command(&mut self) -> Option<Command> {
        if let Some(command) = self.todo.pop_front() {
            return Some(command);
        }
        if !self.has_room() {
            return None;
        }
        let publisher = self.wanted.pop_first()?;
        self.asked.insert(publisher);
        Some(self.request(publisher))
    }

    /// Whether there is something to say.
    pub(crate) fn has_command(&self) -> bool {
        !self.todo.is_empty() || (self.has_room() && !self.wanted.is_empty())
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
        self.keep_published();
        self.want(publisher);
        self.tell_layers();
    }

    /// Somebody is to be asked for, unless that was done.
    fn want(&mut self, publisher: PublisherId) {
        if self.is_open && !self.asked.contains(&publisher) {
            self.wanted.insert(publisher);
        }
    }

    /// Somebody publishes no more: there may be lines now for what had none.
    fn miss(&mut self, publisher: PublisherId) {
        self.publishers.remove(&publisher);
        self.asked.remove(&publisher);
        self.wanted.remove(&publisher);
        // The room says so, too, but later.
        self.keep_published();
        if !self.is_open {
            return;
        }
        let is_sent = |track: &TrackInfo| self.lines.iter().any(|line| line.track_id == track.track_id);
        let lacking = self.publishers.iter().filter(|(_, tracks)| !tracks.iter().all(is_sent));
        self.wanted.extend(lacking.map(|(publisher, _)| *publisher));
    }

    /// Lines of what is published no more are free.
    fn keep_published(&mut self) {
        let published: BTreeSet<_> = self.publishers.values().flatten().map(|track| track.track_id.clone()).collect();
        self.keep(|line| published.contains(&line.track_id));
    }

    fn keep(&mut self, is_kept: impl Fn(&OfferedTrack) -> bool) {
        let left = self.lines.iter().filter(|line| is_kept(line)).cloned().collect();
        self.place(left);
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
mod tests;
