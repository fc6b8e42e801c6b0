//! Who knows of whom: announcements pass the subscription question first.

use std::collections::BTreeSet;

use lockgate_model::policy::{Decision, Publication, SubscribeQuestion, TrackFacts, Why};
use lockgate_model::{Event, PublisherId, PublisherInfo, TrackId};

use crate::effect::Question;
use crate::input::for_each_asked;
use crate::member::Member;
use crate::pending::{Pending, Ticket};
use crate::reasking::is_no_answer;
use crate::rights::Verdict;
use crate::room::Room;
use crate::standing::Standing;

impl Member {
    /// This member as a publisher, for a viewer who may know of at least one of its tracks.
    pub(crate) fn publisher_info_for(&self, viewer: &Self) -> Option<PublisherInfo> {
        let tracks = self.tracks_for(viewer);
        (!tracks.is_empty()).then(|| PublisherInfo {
            publisher_id: self.id,
            user_id: self.participant.identity.user_id,
            username: self.participant.identity.username.clone(),
            tracks,
            subject: self.participant.identity.subject.clone(),
        })
    }
}

impl Room {
    /// Asks whether a member may know of these tracks.
    pub(crate) fn ask_about(
        &mut self,
        viewer: PublisherId,
        tracks: Vec<TrackId>,
        pending: impl FnOnce(Vec<TrackId>) -> Pending,
    ) {
        let why = Why::Announce;
        if let Some((question, asked)) = self.subscribe_question(viewer, tracks, why) {
            self.ask(question, pending(asked));
        }
    }

    /// The subscription question about those of the tracks that are still there.
    pub(crate) fn subscribe_question(
        &self,
        viewer: PublisherId,
        tracks: Vec<TrackId>,
        why: Why,
    ) -> Option<(Question, Vec<TrackId>)> {
        let who = self.members.get(&viewer)?.as_participant();
        let (asked, publications): (Vec<TrackId>, Vec<Publication>) = tracks
            .into_iter()
            .filter_map(|track| self.publication(&track).map(|publication| (track, publication)))
            .unzip();
        let question = SubscribeQuestion { who, room: self.facts(), publications, why, now_ms: self.now_ms };
        Some((Question::Subscribe(question), asked))
    }

    /// Keeps what policy said. The member's own grant counts too: who may not subscribe knows of no track.
    pub(crate) fn note_verdicts(
        &mut self,
        viewer: PublisherId,
        ticket: Ticket,
        asked: Vec<TrackId>,
        decisions: Vec<Decision>,
    ) {
        let heard = self.heard(ticket, viewer);
        let facts: Vec<_> = asked.into_iter().map(|track| (self.facts_of_visible(&track, ticket), track)).collect();
        let Some(member) = self.members.get_mut(&viewer) else { return };
        let mut next = None;
        for ((facts, track), decision) in for_each_asked(facts, decisions) {
            // It is gone, or its publisher was hidden meanwhile: then it is asked about when they are seen again. Or it is another one.
            let Some(facts) = facts else { continue };
            // Where nobody could say, nobody gets to know more than before.
            let is_news = !is_no_answer(&decision);
            let was_shown = match member.verdicts.get_mut(&track) {
                Some(verdict) => {
                    verdict.standing.hear(heard, decision);
                    verdict.shown
                }
                None => {
                    let verdict = Verdict::new(Standing::first(heard, decision), &facts);
                    member.verdicts.insert(track.clone(), verdict);
                    false
                }
            };
            let allowed = member.verdict(&track).is_some_and(|decision| decision.is_ok());
            let Some(verdict) = member.verdicts.get_mut(&track) else { continue };
            verdict.shown = allowed && (was_shown || is_news);
            next = verdict.standing.next_ms().into_iter().chain(next).min();
        }
        self.wake_for(viewer, next);
    }

    /// A track that somebody may know of, if this question can have been about it.
    fn facts_of_visible(&self, track: &TrackId, ticket: Ticket) -> Option<TrackFacts> {
        let (_, track) = self.track(track).filter(|(owner, track)| owner.is_visible() && track.since <= ticket)?;
        Some(track.facts())
    }

    /// Asks about new tracks on behalf of every other member.
    pub(crate) fn announce(&mut self, publisher: PublisherId, tracks: &[TrackId]) {
        if !self.members.get(&publisher).is_some_and(Member::is_visible) {
            return;
        }
        let viewers: Vec<_> = self.others_inside(publisher).map(|viewer| viewer.id).collect();
        for viewer in viewers {
            self.ask_about(viewer, tracks.to_vec(), |asked| Pending::Announce { viewer, asked });
        }
    }

    pub(crate) fn on_announce(
        &mut self,
        viewer: PublisherId,
        ticket: Ticket,
        asked: Vec<TrackId>,
        decisions: Vec<Decision>,
    ) {
        let mut publishers: Vec<_> = asked.iter().filter_map(|track| self.publisher_of(track)).collect();
        publishers.dedup();
        self.note_verdicts(viewer, ticket, asked.clone(), decisions);
        for publisher in publishers {
            self.tell_publisher(viewer, publisher, &asked);
        }
    }

    /// Puts the questions about somebody again: what they may know of and receive, and what others may of theirs.
    pub(crate) fn ask_again(&mut self, subject: Option<&str>) {
        let about: BTreeSet<_> = self.members.values().filter(|of| of.is_subject(subject)).map(|of| of.id).collect();
        let inside: Vec<_> = self.inside().map(|viewer| viewer.id).collect();
        for viewer in inside {
            let all = about.contains(&viewer);
            self.recheck(viewer, |of| all || about.contains(&of));
        }
        self.ask_again_about_all_of(&about);
    }

    /// Puts the questions again what a viewer may know of and receive of these publishers.
    pub(crate) fn recheck(&mut self, viewer: PublisherId, concerns: impl Fn(PublisherId) -> bool) {
        if !self.is_inside(viewer) {
            return;
        }
        let tracks: Vec<_> = self
            .tracks()
            .filter(|(of, _)| of.id != viewer && of.is_visible() && concerns(of.id))
            .map(|(_, track)| track.info.track_id.clone())
            .collect();
        self.ask_again_about(viewer, &tracks);
    }

    /// Holds what is sent against new answers: less is enforced at once, what is denied ends, what is new is announced.
    pub(crate) fn on_recheck(
        &mut self,
        viewer: PublisherId,
        ticket: Ticket,
        asked: Vec<TrackId>,
        decisions: Vec<Decision>,
    ) {
        let Some(member) = self.members.get(&viewer) else { return };
        let known: BTreeSet<_> = asked.iter().filter(|track| member.may_know(track)).cloned().collect();
        self.note_verdicts(viewer, ticket, asked.clone(), decisions);
        let mut publishers: Vec<_> = asked.iter().filter_map(|track| self.publisher_of(track)).collect();
        publishers.dedup();
        for track in asked.iter().filter(|track| known.contains(track)) {
            self.hold_against_verdict(viewer, track);
        }
        let news: Vec<_> = asked.into_iter().filter(|track| !known.contains(track)).collect();
        for publisher in publishers {
            self.tell_publisher(viewer, publisher, &news);
        }
    }

    /// Tells a viewer of a publisher some of whose tracks are news, and sends those that the viewer already wants.
    fn tell_publisher(&mut self, viewer: PublisherId, publisher: PublisherId, news: &[TrackId]) {
        let (Some(to), Some(of)) = (self.members.get(&viewer), self.members.get(&publisher)) else { return };
        let known: Vec<_> =
            news.iter().filter(|track| of.tracks.contains_key(track) && to.may_know(track)).cloned().collect();
        if known.is_empty() {
            return;
        }
        let wanted: Vec<_> = match to.wants.get(&publisher) {
            Some(want) => known.into_iter().filter(|track| want.covers(track)).collect(),
            None => Vec::new(),
        };
        if let Some(info) = of.publisher_info_for(to) {
            let event = self.new_publisher(&info);
            self.introduce(viewer, publisher);
            self.send(viewer, event);
        }
        for track in wanted {
            self.start_sending(viewer, publisher, &track);
        }
    }

    /// Somebody's grant may hide them now, or not any more.
    pub(crate) fn on_visibility(&mut self, id: PublisherId, was_visible: bool) {
        let Some(member) = self.members.get(&id) else { return };
        let tracks: Vec<_> = member.tracks.keys().cloned().collect();
        match (was_visible, member.is_visible()) {
            (true, false) => self.hide(id, &tracks),
            (false, true) => {
                let others: Vec<_> = self.others_inside(id).map(|other| other.id).collect();
                if tracks.is_empty() {
                    others.into_iter().for_each(|other| self.introduce(other, id));
                }
                self.announce(id, &tracks);
            }
            _ => {}
        }
    }

    /// Takes somebody out of everybody's sight.
    fn hide(&mut self, id: PublisherId, tracks: &[TrackId]) {
        self.stop_sending_to_all(tracks);
        let Some(left) = self.members.get(&id).map(|member| self.user_left(member)) else { return };
        let gone = Event::PublisherLeft { room_name: self.name.clone(), publisher_id: id };
        for other in self.others_inside(id).map(|other| other.id).collect::<Vec<_>>() {
            let Some(other) = self.members.get_mut(&other) else { continue };
            let (to, knew) = (other.id, tracks.iter().any(|track| other.may_know(track)));
            other.forget(tracks);
            other.wants.remove(&id);
            let had_met = other.met.remove(&id);
            let told = [(knew, &gone), (had_met, &left)];
            for (_, event) in told.into_iter().filter(|(tell, _)| *tell) {
                self.send(to, event.clone());
            }
        }
    }

    /// Tells everybody who knew of a publisher that its list of tracks is shorter now, or empty.
    pub(crate) fn tell_shorter(&mut self, publisher: PublisherId, ended: &[TrackId]) {
        let Some(of) = self.members.get(&publisher) else { return };
        let knew = |viewer: &&Member| ended.iter().any(|track| viewer.may_know(track));
        let viewers = self.others_inside(publisher).filter(knew);
        let told: Vec<_> = viewers.map(|viewer| (viewer.id, self.shorter_event(viewer, of))).collect();
        for (viewer, event) in told {
            self.send(viewer, event);
        }
        self.members.values_mut().for_each(|member| member.forget(ended));
    }

    /// Tells a viewer that somebody is there, once.
    pub(crate) fn introduce(&mut self, viewer: PublisherId, who: PublisherId) {
        let Some(of) = self.members.get(&who) else { return };
        let identity = &of.participant.identity;
        let event = Event::UserJoined {
            room_name: self.name.clone(),
            user_id: identity.user_id,
            username: identity.username.clone(),
            publisher_id: who,
        };
        if self.members.get_mut(&viewer).is_some_and(|viewer| viewer.met.insert(who)) {
            self.send(viewer, event);
        }
    }

    /// What a viewer hears of a publisher who may know of fewer tracks of theirs now.
    pub(crate) fn shorter_event(&self, viewer: &Member, publisher: &Member) -> Event {
        match publisher.publisher_info_for(viewer) {
            Some(info) => self.new_publisher(&info),
            None => Event::PublisherLeft { room_name: self.name.clone(), publisher_id: publisher.id },
        }
    }

    pub(crate) fn user_left(&self, member: &Member) -> Event {
        let identity = &member.participant.identity;
        Event::UserLeft {
            room_name: self.name.clone(),
            user_id: identity.user_id,
            username: identity.username.clone(),
            publisher_id: member.id,
        }
    }

    pub(crate) fn new_publisher(&self, info: &PublisherInfo) -> Event {
        Event::NewPublisher {
            room_name: self.name.clone(),
            publisher_id: info.publisher_id,
            username: info.username.clone(),
            tracks: info.tracks.clone(),
            subject: info.subject.clone(),
        }
    }
}
