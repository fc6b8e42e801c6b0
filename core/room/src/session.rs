//! A recording session: what is recorded, and because of whom.
//!
//! Each recorded track is there because somebody wants it, and they answer for it: policy is asked with them, and it ends with their
//! right. Asks nobody and tells nobody.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::policy::Participant;
use lockgate_model::{Event, Happening, PublisherId, RecordingId, RecordingState, RequestId, RoomName, TrackId};

use crate::standing::Standing;

/// What is to be recorded; none: everything, later tracks too.
pub(crate) type Wanted = Option<BTreeSet<TrackId>>;

/// Who wants it; none: the configuration. They may have left: no participant's number is used twice.
pub(crate) type Asker = Option<PublisherId>;

/// A recording session.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) session: RecordingId,
    pub(crate) state: RecordingState,
    /// Whose message it began with, and that message's mark; none: the configuration.
    pub(crate) begun_by: Option<(PublisherId, Option<RequestId>)>,
    /// Who wants what, in the order in which they first said so.
    wishes: Vec<Wish>,
    /// What policy allowed and the recorder was given.
    pub(crate) tracks: BTreeMap<TrackId, Recorded>,
    pub(crate) reason: Option<String>,
    /// The state and the tracks that were told last to those who follow what happens.
    told: Option<(RecordingState, Vec<TrackId>)>,
}

/// What somebody wants to be recorded.
#[derive(Debug)]
struct Wish {
    asker: Asker,
    /// Who that is, as policy knew them last.
    who: Option<Participant>,
    wanted: Wanted,
}

/// A track that is recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// What policy says of it.
    pub(crate) standing: Standing,
    /// Because of whom.
    pub(crate) asker: Asker,
}

impl Recording {
    pub(crate) fn new(session: RecordingId, begun_by: Option<(PublisherId, Option<RequestId>)>) -> Self {
        let (state, tracks) = (RecordingState::Starting, BTreeMap::new());
        Self { session, state, begun_by, wishes: Vec::new(), tracks, reason: None, told: None }
    }

    /// Somebody wants this, beside what they wanted so far.
    pub(crate) fn want(&mut self, asker: Asker, who: Option<Participant>, wanted: Wanted) {
        match self.wishes.iter_mut().find(|wish| wish.asker == asker) {
            Some(wish) => wish.widen(who, wanted),
            None => self.wishes.push(Wish { asker, who, wanted }),
        }
    }

    /// What somebody wanted counts no more. The tracks that are recorded because of them come back.
    pub(crate) fn want_no_more(&mut self, asker: PublisherId) -> Vec<TrackId> {
        self.wishes.retain(|wish| wish.asker != Some(asker));
        let theirs = self.tracks.iter().filter(|(_, recorded)| recorded.asker == Some(asker));
        theirs.map(|(track, _)| track.clone()).collect()
    }

    /// Somebody goes on in another place.
    pub(crate) fn move_asker(&mut self, from: PublisherId, to: PublisherId) {
        if self.begun_by.as_ref().is_some_and(|(asker, _)| *asker == from) {
            self.begun_by = Some((to, None));
        }
        let recorded = self.tracks.values_mut().filter(|recorded| recorded.asker == Some(from));
        recorded.for_each(|recorded| recorded.asker = Some(to));
        let Some(at) = self.wishes.iter().position(|wish| wish.asker == Some(from)) else { return };
        let wish = self.wishes.remove(at);
        match self.wishes.iter_mut().find(|wish| wish.asker == Some(to)) {
            Some(other) => other.widen(None, wish.wanted),
            None => self.wishes.insert(at, Wish { asker: Some(to), ..wish }),
        }
    }

    /// Forgets what those wanted who have left and of which nothing is left: only tracks that are gone were named.
    pub(crate) fn forget_spent(
        &mut self,
        is_there: impl Fn(PublisherId) -> bool,
        is_published: impl Fn(&TrackId) -> bool,
    ) {
        self.wishes.retain(|wish| {
            wish.asker.is_none_or(&is_there) || wish.wanted.as_ref().is_none_or(|named| named.iter().any(&is_published))
        });
    }

    /// Who somebody is: as they are now, or, when they have left, as policy knew them last.
    pub(crate) fn who(&mut self, asker: Asker, now: Option<Participant>) -> Option<Participant> {
        let Some(wish) = self.wishes.iter_mut().find(|wish| wish.asker == asker) else { return now };
        wish.who = now.or(wish.who.take());
        wish.who.clone()
    }

    pub(crate) fn records(&self, track: &TrackId) -> bool {
        self.tracks.contains_key(track)
    }

    /// Whether somebody may want this too: there is room for so many people, and so many names, only.
    pub(crate) fn has_room_for(&self, asker: PublisherId, wanted: &Wanted) -> bool {
        let wish = self.wishes.iter().find(|wish| wish.asker == Some(asker));
        let named = |wanted: &Wanted| wanted.as_ref().map_or(0, BTreeSet::len);
        let so_far = wish.map_or(0, |wish| named(&wish.wanted));
        (wish.is_some() || self.wishes.len() < MAX_WISHES) && so_far + named(wanted) <= MAX_NAMED
    }

    pub(crate) fn is_wanted(&self) -> bool {
        !self.wishes.is_empty()
    }

    pub(crate) fn is_wanted_by(&self, asker: Asker) -> bool {
        self.wishes.iter().any(|wish| wish.asker == asker)
    }

    /// Who was the first to want this track, of those who still do.
    pub(crate) fn who_wants(&self, track: &TrackId) -> Option<Asker> {
        self.wishes.iter().find(|wish| wish.covers(track)).map(|wish| wish.asker)
    }

    /// The places from which somebody of this subject wants something.
    pub(crate) fn askers_of(&self, subject: &str) -> Vec<PublisherId> {
        let is_theirs = |who: &Participant| who.identity.subject == subject;
        let wishes = self.wishes.iter().filter(|wish| wish.who.as_ref().is_some_and(is_theirs));
        wishes.filter_map(|wish| wish.asker).collect()
    }

    /// When what policy said of a track ends or is to be asked about again.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.tracks.values().filter_map(|recorded| recorded.standing.next_ms()).min()
    }

    /// What has changed since this was asked last, for those who follow what happens.
    pub(crate) fn news(&mut self) -> Option<Happening> {
        let tracks: Vec<_> = self.tracks.keys().cloned().collect();
        let now = (self.state, tracks.clone());
        let is_new = self.told.as_ref() != Some(&now);
        self.told = Some(now);
        let (session_id, state, reason) = (self.session.clone(), self.state, self.reason.clone());
        is_new.then_some(Happening::Recording { session_id, state, tracks, reason })
    }

    pub(crate) fn event(&self, room: &RoomName) -> Event {
        Event::RecordingState {
            room_name: room.clone(),
            state: self.state,
            session_id: self.session.clone(),
            tracks: self.tracks.keys().cloned().collect(),
            reason: self.reason.clone(),
        }
    }
}

impl Wish {
    fn widen(&mut self, who: Option<Participant>, more: Wanted) {
        self.who = who.or(self.who.take());
        self.wanted = match (self.wanted.take(), more) {
            (Some(mut so_far), Some(more)) => {
                so_far.extend(more);
                Some(so_far)
            }
            _ => None,
        };
    }

    fn covers(&self, track: &TrackId) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(track))
    }
}

/// Most people who may want something of one session, those who have left included.
const MAX_WISHES: usize = 64;
/// Most tracks that one of them may name.
const MAX_NAMED: usize = 4096;
