//! One room, as far as its lines tell: who is in, what is published, who was allowed what, what is recorded.

use std::collections::BTreeMap;

use lockgate_model::policy::{Grant, Hook};
use lockgate_model::{MediaKind, RevokedWhat, Source};
use serde::Serialize;

use super::super::line::{DenialLine, HostReason, Line, QuestionLine, Revocation, VerdictLine, Who};
use super::Somebody;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The file.
    pub file: String,
    /// The number of the line.
    pub seq: u64,
    /// When, in ms since 1970.
    pub time_ms: u64,
}

/// Somebody's place or a track, in one run of the node.
pub(super) type Key<T> = (u32, T);

#[derive(Debug)]
pub(super) struct RoomView {
    pub(super) run: u32,
    pub(super) people: BTreeMap<Key<u64>, Person>,
    pub(super) tracks: BTreeMap<Key<String>, TrackView>,
    /// What policy said last, by viewer and track.
    pub(super) sight: BTreeMap<(Key<u64>, String), Said>,
    pub(super) recorded: BTreeMap<Key<String>, (String, Place)>,
}

#[derive(Debug)]
pub(super) struct Person {
    pub(super) who: Somebody,
    pub(super) user_id: u64,
    /// Token, auth and admission together.
    pub(super) grant: Grant,
    pub(super) is_in: bool,
    /// Why they are not in (any more), and since when.
    pub(super) out: Option<Over>,
    pub(super) admission: Option<Said>,
    /// What an operator took away: answers to questions from before it count no more.
    cut: Vec<(Option<String>, Place)>,
}

#[derive(Debug)]
pub(super) struct TrackView {
    pub(super) publisher: u64,
    pub(super) kind: MediaKind,
    pub(super) source: Source,
    pub(super) ended: Option<Place>,
}

/// Something is over.
#[derive(Clone, Debug)]
pub(super) struct Over {
    pub(super) reason: String,
    pub(super) place: Place,
}

/// What policy said of one thing.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) asked_ms: u64,
    pub(super) decision: VerdictLine,
    pub(super) place: Place,
    pub(super) words: Vec<PluginWords>,
    pub(super) host: Option<HostReason>,
    pub(super) epoch: u64,
    /// It was allowed, and is no more.
    pub(super) over: Option<Over>,
    /// Later questions about it had no answer: what was allowed before stands for a while.
    pub(super) unanswered: Option<Place>,
}

/// What one plugin said of one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginWords {
    /// Its name.
    pub plugin: String,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// Why it gave no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// What it said, or what counts instead.
    pub said: VerdictLine,
    /// How long it took, in microseconds.
    pub us: u64,
}

impl RoomView {
    pub(super) fn new(run: u32) -> Self {
        let (people, tracks) = (BTreeMap::new(), BTreeMap::new());
        Self { run, people, tracks, sight: BTreeMap::new(), recorded: BTreeMap::new() }
    }

    pub(super) fn on_question(&mut self, question: &QuestionLine, place: &Place) {
        let who = question.who.as_ref().and_then(|who| self.meet(who));
        match question.hook {
            Hook::Admission => {
                let said = Said::read(question, 0, place);
                let (Some(id), Some(said)) = (who, said) else { return };
                let Some(person) = self.people.get_mut(&(self.run, id)) else { return };
                if said.grant().is_none() && !person.is_in {
                    person.out = Some(Over { reason: said.refusal(), place: place.clone() });
                }
                person.admission = Some(said);
            }
            Hook::Subscription => {
                self.on_tracks(question);
                let Some(viewer) = who else { return };
                self.change(viewer, Person::was_in_before);
                for (index, track) in question.tracks.iter().enumerate() {
                    if let Some(said) = Said::read(question, index, place) {
                        self.on_sight(viewer, &track.id, said);
                    }
                }
            }
            Hook::Publishing | Hook::Recording => self.on_tracks(question),
            Hook::Auth | Hook::Command => {}
        }
    }

    pub(super) fn on_line(&mut self, line: &Line, place: &Place) {
        match line {
            Line::Revoked { participant, what, track, reason, .. } => {
                self.on_revoked(*participant, *what, track.as_deref(), reason.as_deref(), place);
            }
            Line::Grants { participant, grant, .. } => self.change(*participant, |person| person.grant = grant.clone()),
            Line::Entered { participant, grant, .. } => self.change(*participant, |person| {
                (person.is_in, person.out, person.grant) = (true, None, grant.clone());
            }),
            Line::Left { participant, .. } => {
                let left = Over { reason: "they left".into(), place: place.clone() };
                self.change(*participant, |person| person.leave(left));
                self.end_tracks(*participant, None, place);
            }
            Line::Refused { participant: Some(participant), of, denial, .. } if of == "join-room" => {
                let refused = Over { reason: told(denial), place: place.clone() };
                self.change(*participant, |person| person.out = Some(refused));
            }
            Line::Unpublished { participant, track, .. } => self.end_tracks(*participant, track.as_deref(), place),
            Line::Recording { session, track, on, .. } => self.on_recording(session, track.as_deref(), *on, place),
            Line::RoomClosed { .. } => self.close(place, "the room closed"),
            _ => {}
        }
    }

    pub(super) fn on_revocation(&mut self, revocation: &Revocation, place: &Place) {
        if revocation.what != RevokedWhat::Subscription {
            return;
        }
        let reason = format!("the operator {} took it away: {}", revocation.operator, revocation.reason);
        for participant in &revocation.participants {
            let track = revocation.track.clone();
            self.change(*participant, |person| person.cut.push((track.clone(), place.clone())));
            let run = self.run;
            for ((viewer, seen), said) in &mut self.sight {
                if *viewer == (run, *participant) && track.as_ref().is_none_or(|track| track == seen) {
                    said.end(Over { reason: reason.clone(), place: place.clone() });
                }
            }
        }
    }

    /// Nobody is in any more.
    pub(super) fn close(&mut self, place: &Place, why: &str) {
        let over = Over { reason: why.to_owned(), place: place.clone() };
        self.people.values_mut().filter(|person| person.is_in).for_each(|person| person.leave(over.clone()));
        self.tracks
            .values_mut()
            .filter(|track| track.ended.is_none())
            .for_each(|track| track.ended = Some(place.clone()));
        self.recorded.clear();
    }

    /// Learns who somebody is. Returns their place in the room, if they have one.
    fn meet(&mut self, who: &Who) -> Option<u64> {
        let participant = who.participant?;
        let somebody = Somebody { subject: who.subject.clone(), username: who.username.clone(), participant };
        let person = self.people.entry((self.run, participant)).or_insert_with(|| Person {
            who: somebody.clone(),
            user_id: who.user_id,
            grant: Grant::default(),
            is_in: false,
            out: None,
            admission: None,
            cut: Vec::new(),
        });
        (person.who, person.user_id, person.grant) = (somebody, who.user_id, who.grant.clone());
        Some(participant)
    }

    fn on_tracks(&mut self, question: &QuestionLine) {
        let publishers: Vec<_> = question.publishers.iter().map(|who| self.meet(who)).collect();
        // Nobody else's tracks are asked about.
        publishers.iter().flatten().for_each(|id| self.change(*id, |person| person.is_in |= person.out.is_none()));
        for track in &question.tracks {
            let Some(Some(publisher)) = track.publisher.and_then(|place| publishers.get(place)) else { continue };
            let (kind, source) = (track.kind, track.source);
            let view = TrackView { publisher: *publisher, kind, source, ended: None };
            self.tracks.insert((self.run, track.id.clone()), view);
        }
    }

    fn on_sight(&mut self, viewer: u64, track: &str, said: Said) {
        let overtaken = |person: &Person| {
            let cut = |(of, at): &(Option<String>, Place)| {
                of.as_deref().is_none_or(|of| of == track) && said.asked_ms <= at.time_ms
            };
            person.cut.iter().any(cut)
        };
        if self.people.get(&(self.run, viewer)).is_some_and(overtaken) {
            return;
        }
        match self.sight.get_mut(&((self.run, viewer), track.to_owned())) {
            // Answered late: a later question was answered before.
            Some(earlier) if said.asked_ms < earlier.asked_ms => {}
            Some(earlier) if said.is_no_answer() && earlier.grant().is_some() => earlier.unanswered = Some(said.place),
            Some(earlier) => *earlier = said,
            None => drop(self.sight.insert(((self.run, viewer), track.to_owned()), said)),
        }
    }

    fn on_revoked(&mut self, told: u64, what: RevokedWhat, track: Option<&str>, reason: Option<&str>, place: &Place) {
        let reason = reason.unwrap_or("policy's answer, see the question before it");
        let over = Over { reason: reason.to_owned(), place: place.clone() };
        match (what, track) {
            (RevokedWhat::Stay, _) => self.change(told, |person| person.leave(over)),
            (RevokedWhat::Subscription, Some(track)) => {
                if let Some(said) = self.sight.get_mut(&((self.run, told), track.to_owned())) {
                    said.end(over);
                }
            }
            // A connection was lost, which says nothing about what is allowed; the rest is told by lines of its own.
            (RevokedWhat::Subscription, None) | (RevokedWhat::Publication | RevokedWhat::Recording, _) => {}
        }
    }

    fn on_recording(&mut self, session: &str, track: Option<&str>, on: bool, place: &Place) {
        match (track, on) {
            (Some(track), true) => {
                self.recorded.insert((self.run, track.to_owned()), (session.to_owned(), place.clone()));
            }
            (Some(track), false) => drop(self.recorded.remove(&(self.run, track.to_owned()))),
            (None, _) => self.recorded.retain(|_, (of, _)| of != session),
        }
    }

    fn end_tracks(&mut self, publisher: u64, only: Option<&str>, place: &Place) {
        let run = self.run;
        let is_it = |(of, id): &Key<String>, track: &TrackView| {
            *of == run && track.publisher == publisher && only.is_none_or(|only| only == id)
        };
        let ended = self.tracks.iter_mut().filter(|(key, track)| is_it(key, track) && track.ended.is_none());
        ended.for_each(|(_, track)| track.ended = Some(place.clone()));
    }

    fn change(&mut self, participant: u64, change: impl FnOnce(&mut Person)) {
        if let Some(person) = self.people.get_mut(&(self.run, participant)) {
            change(person);
        }
    }
}

impl Person {
    /// They may see something, and nothing is known of how they came in: that was in a file that is gone.
    fn was_in_before(&mut self) {
        self.is_in |= self.admission.is_none() && self.out.is_none();
    }

    /// The first reason stays: "they left" comes after it.
    fn leave(&mut self, over: Over) {
        if std::mem::take(&mut self.is_in) || self.out.is_none() {
            self.out = Some(over);
        }
    }
}

impl Said {
    fn read(question: &QuestionLine, index: usize, place: &Place) -> Option<Self> {
        let words = question.plugins.iter().filter_map(|line| {
            let said = line.said.get(index.checked_sub(line.from)?)?.clone();
            let (plugin, sha256, failed) = (line.plugin.clone(), line.sha256.clone(), line.failed.clone());
            Some(PluginWords { plugin, sha256, failed, said, us: line.us })
        });
        Some(Self {
            asked_ms: question.asked_ms,
            decision: question.decisions.get(index)?.clone(),
            place: place.clone(),
            words: words.collect(),
            host: question.host,
            epoch: question.epoch,
            over: None,
            unanswered: None,
        })
    }

    /// What it grants by itself.
    pub(super) fn grant(&self) -> Option<&Grant> {
        match &self.decision {
            VerdictLine::Allow(grant) if self.over.is_none() => Some(grant),
            _ => None,
        }
    }

    /// Who said no.
    pub(super) fn denier(&self) -> Option<&PluginWords> {
        self.words.iter().find(|words| matches!(words.said, VerdictLine::Deny(_)))
    }

    pub(super) fn refusal(&self) -> String {
        match (&self.decision, &self.over) {
            (_, Some(over)) => over.reason.clone(),
            (VerdictLine::Deny(denial), None) => match self.denier() {
                Some(by) => format!("{}, says the plugin {}", told(denial), by.plugin),
                None => told(denial),
            },
            (VerdictLine::Allow(_) | VerdictLine::Abstain, None) => "it is allowed".to_owned(),
        }
    }

    /// Whether nobody could say.
    fn is_no_answer(&self) -> bool {
        let no_answer = |denial: &DenialLine| ["policy-unavailable", "overloaded"].contains(&denial.code.as_str());
        matches!(&self.decision, VerdictLine::Deny(denial) if no_answer(denial))
    }

    /// What was allowed is so no more. What was denied stays denied for its own reason.
    fn end(&mut self, over: Over) {
        if self.grant().is_some() {
            self.over = Some(over);
        }
    }
}

pub(super) fn told(denial: &DenialLine) -> String {
    format!("{} ({})", denial.code, denial.message)
}
