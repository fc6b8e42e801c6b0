//! The answers, as data and in words.

use std::fmt::{self, Write};

use lockgate_model::policy::Grant;
use lockgate_model::{MediaKind, Source, rfc3339};
use serde::Serialize;

use super::super::line::{HostReason, VerdictLine};
use super::room::{Key, Person, Place, PluginWords, RoomView, Said, TrackView, told};
use super::{Asked, Somebody, Unexplained, words};

/// Why somebody sees somebody, or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The room.
    pub room: String,
    /// The time in question, in ms since 1970.
    pub at_ms: u64,
    /// Who would see.
    pub viewer: Somebody,
    /// Whom.
    pub publisher: Somebody,
    /// Whether they may see at least one track.
    pub sees: bool,
    /// What holds for all tracks: one of the two is not there.
    pub remarks: Vec<String>,
    /// Track by track.
    pub tracks: Vec<Sight>,
}

/// Why somebody sees a track, or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sight {
    /// The track.
    pub track: String,
    /// Audio, video or data.
    pub kind: MediaKind,
    /// Where it comes from.
    pub source: Source,
    /// Whether.
    pub sees: bool,
    /// Why: `allowed`, `denied`, `own-grant`, `taken-back`, `expired`, `ended`, `viewer-out`, `publisher-out`, `hidden` or `not-asked`.
    pub because: &'static str,
    /// The same for people.
    pub reason: String,
    /// The plugin that decided it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// What may be seen of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// What each plugin said.
    pub plugins: Vec<PluginWords>,
    /// Why no plugin was heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostReason>,
    /// Which configuration of plugins was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Where the log says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<Place>,
}

/// Who might see whom at a time, and who was recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoSees {
    /// The room.
    pub room: String,
    /// The time, in ms since 1970.
    pub at_ms: u64,
    /// Who was in.
    pub inside: Vec<InRoom>,
    /// What was recorded.
    pub recorded: Vec<Recorded>,
}

/// Somebody in the room.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InRoom {
    /// Who.
    #[serde(flatten)]
    pub who: Somebody,
    /// Whether they might start and stop recordings.
    pub may_record: bool,
    /// Whether others were not to see them.
    pub hidden: bool,
    /// Whom they might see.
    pub sees: Vec<Seen>,
}

/// A track that somebody might see.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Whose.
    pub publisher: Somebody,
    /// Which.
    pub track: String,
    /// Where it comes from.
    pub source: Source,
    /// How much of it.
    pub grant: Grant,
}

/// A track that was recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// Whose, as far as that is known.
    pub publisher: Option<Somebody>,
    /// Which.
    pub track: String,
    /// In which session.
    pub session: String,
    /// Where the log says so.
    pub line: Place,
}

pub(super) fn why(room: &RoomView, asked: &Asked, at_ms: u64) -> Result<Why, Unexplained> {
    let (viewer_key, viewer) = find(room, &asked.who)?;
    let (publisher_key, publisher) = find(room, &asked.sees)?;
    let theirs =
        |(key, track): &(&Key<String>, &TrackView)| key.0 == publisher_key.0 && track.publisher == publisher_key.1;
    let all: Vec<_> = room.tracks.iter().filter(theirs).collect();
    let is_meant = |(key, _): &&(&Key<String>, &TrackView)| asked.track.as_ref().is_none_or(|track| *track == key.1);
    let meant: Vec<_> = all.iter().filter(is_meant).collect();
    if let (Some(track), true) = (&asked.track, meant.is_empty()) {
        let near = words::near(track, all.iter().map(|(key, _)| key.1.as_str()));
        return Err(Unexplained::Unknown { what: "track", name: track.clone(), near });
    }
    let mut remarks = Vec::new();
    remarks.extend(absence(viewer));
    remarks.extend(absence(publisher).filter(|_| viewer_key != publisher_key));
    if all.is_empty() {
        remarks.push(format!("nothing that {} publishes was ever asked about", publisher.who));
    }
    let tracks: Vec<_> =
        meant.into_iter().map(|(key, track)| sight(room, (viewer_key, viewer), publisher, key, track, at_ms)).collect();
    Ok(Why {
        room: asked.room.clone(),
        at_ms,
        viewer: viewer.who.clone(),
        publisher: publisher.who.clone(),
        sees: tracks.iter().any(|track| track.sees),
        remarks,
        tracks,
    })
}

pub(super) fn who(name: &str, room: &RoomView, at_ms: u64) -> WhoSees {
    let inside = room.people.iter().filter(|(_, person)| person.is_in);
    let recorded = room.recorded.iter().map(|(key, (session, line))| Recorded {
        publisher: room
            .tracks
            .get(key)
            .and_then(|track| room.people.get(&(key.0, track.publisher)))
            .map(|of| of.who.clone()),
        track: key.1.clone(),
        session: session.clone(),
        line: line.clone(),
    });
    WhoSees {
        room: name.to_owned(),
        at_ms,
        inside: inside.map(|(key, person)| in_room(room, *key, person, at_ms)).collect(),
        recorded: recorded.collect(),
    }
}

fn in_room(room: &RoomView, key: Key<u64>, person: &Person, at_ms: u64) -> InRoom {
    let seen = room.tracks.iter().filter_map(|(track_key, track)| {
        let publisher = room.people.get(&(track_key.0, track.publisher))?;
        let sight = sight(room, (key, person), publisher, track_key, track, at_ms);
        let (track, source) = (sight.track, sight.source);
        sight.grant.filter(|_| sight.sees).map(|grant| Seen { publisher: publisher.who.clone(), track, source, grant })
    });
    let (may_record, hidden) = (person.grant.allows_recording(), person.grant.hidden);
    InRoom { who: person.who.clone(), may_record, hidden, sees: seen.collect() }
}

/// Whom a name means: the last place of one subject.
fn find<'a>(room: &'a RoomView, name: &str) -> Result<(Key<u64>, &'a Person), Unexplained> {
    let same = |other: &str| other.to_lowercase() == name.to_lowercase();
    let by_subject = |person: &Person| person.who.subject == name;
    let by_name = |person: &Person| person.who.username.as_deref() == Some(name);
    let by_number = |person: &Person| [person.who.participant, person.user_id].iter().any(|id| id.to_string() == name);
    let nearly = |person: &Person| same(&person.who.subject) || person.who.username.as_deref().is_some_and(same);
    let ways: [&dyn Fn(&Person) -> bool; 4] = [&by_subject, &by_name, &by_number, &nearly];
    let all: Vec<_> = room.people.iter().collect();
    let mut found = ways.iter().map(|fits| all.iter().filter(|(_, person)| fits(person)).copied().collect::<Vec<_>>());
    let found = found.find(|found| !found.is_empty()).unwrap_or_default();
    let mut subjects: Vec<String> = found.iter().map(|(_, person)| person.who.subject.clone()).collect();
    subjects.sort();
    subjects.dedup();
    if subjects.len() > 1 {
        return Err(Unexplained::Ambiguous { name: name.to_owned(), subjects });
    }
    let last = found.iter().rev().find(|(_, person)| person.is_in).or(found.last());
    last.map(|(key, person)| (**key, *person)).ok_or_else(|| {
        let names =
            all.iter().flat_map(|(_, person)| [Some(person.who.subject.as_str()), person.who.username.as_deref()]);
        Unexplained::Unknown { what: "participant", name: name.to_owned(), near: words::near(name, names.flatten()) }
    })
}

fn absence(person: &Person) -> Option<String> {
    if person.is_in {
        return None;
    }
    let why = match (&person.out, &person.admission) {
        (Some(over), _) => format!("since {}: {}", time(over.place.time_ms), over.reason),
        (None, Some(said)) => format!("policy was asked at {}: {}", time(said.place.time_ms), said.refusal()),
        (None, None) => "the log does not say why".to_owned(),
    };
    Some(format!("{} is not in the room; {why}", person.who))
}

fn sight(
    room: &RoomView,
    (viewer_key, viewer): (Key<u64>, &Person),
    publisher: &Person,
    key: &Key<String>,
    track: &TrackView,
    at_ms: u64,
) -> Sight {
    let said = room.sight.get(&(viewer_key, key.1.clone())).filter(|_| viewer_key.0 == key.0);
    let grant = said.and_then(Said::grant).map(|grant| viewer.grant.and(grant));
    let (because, reason) = because(said, grant.as_ref(), viewer, publisher, track, at_ms);
    let sees = because == ALLOWED;
    Sight {
        track: key.1.clone(),
        kind: track.kind,
        source: track.source,
        sees,
        because,
        reason,
        plugin: said.and_then(Said::denier).filter(|_| because == DENIED).map(|words| words.plugin.clone()),
        grant: grant.filter(|_| sees),
        plugins: said.map(|said| said.words.clone()).unwrap_or_default(),
        host: said.and_then(|said| said.host),
        epoch: said.map(|said| said.epoch),
        line: said.map(|said| said.over.as_ref().map_or(&said.place, |over| &over.place).clone()),
    }
}

/// What decides, policy's own word first: that is what people ask for.
fn because(
    said: Option<&Said>,
    grant: Option<&Grant>,
    viewer: &Person,
    publisher: &Person,
    track: &TrackView,
    at_ms: u64,
) -> (&'static str, String) {
    let Some(said) = said else {
        let reason = format!("nobody ever asked whether {} may see it", viewer.who);
        return if publisher.grant.hidden { (HIDDEN, hidden(publisher)) } else { ("not-asked", reason) };
    };
    if let Some(over) = &said.over {
        return ("taken-back", format!("since {}: {}", time(over.place.time_ms), over.reason));
    }
    if let VerdictLine::Deny(denial) = &said.decision {
        return (DENIED, format!("since {}: {}", time(said.place.time_ms), denied(said, &told(denial))));
    }
    let Some(grant) = grant else { return (DENIED, said.refusal()) };
    if !grant.allows_subscribing(track.kind, track.source) {
        let reason = "what policy allows and their own grant (token, auth and admission) together leave nothing of it";
        return ("own-grant", reason.to_owned());
    }
    if let Some(ends) = grant.expires_at_ms.filter(|ends| *ends <= at_ms) {
        return ("expired", format!("the grant ended at {}", time(ends)));
    }
    if !viewer.is_in {
        return ("viewer-out", format!("it was allowed, but {} is not in the room", viewer.who));
    }
    if !publisher.is_in {
        return ("publisher-out", format!("it was allowed, but {} is not in the room", publisher.who));
    }
    if let Some(ended) = &track.ended {
        return ("ended", format!("it is published no more, since {}", time(ended.time_ms)));
    }
    if publisher.grant.hidden {
        return (HIDDEN, hidden(publisher));
    }
    (ALLOWED, allowed(said, grant))
}

fn denied(said: &Said, told: &str) -> String {
    match (said.denier(), said.host) {
        (_, Some(HostReason::Overloaded)) => format!("{told}: too many questions waited, no plugin was asked"),
        (_, Some(HostReason::Late)) => format!("{told}: no plugin was heard in time"),
        (_, Some(HostReason::Failed)) => format!("{told}: the host failed"),
        (Some(PluginWords { plugin, failed: Some(failure), .. }), None) => {
            format!("{told}: the plugin {plugin} failed ({failure})")
        }
        (Some(PluginWords { plugin, .. }), None) => format!("{told}, says the plugin {plugin}"),
        (None, None) => format!("{told}: no plugin said yes, and the default is no"),
    }
}

fn allowed(said: &Said, grant: &Grant) -> String {
    let limits = words::limits(grant);
    let mut reason = format!("since {}", time(said.place.time_ms));
    if !limits.is_empty() {
        reason = format!("{reason}: {}", limits.join(", "));
    }
    if let Some(place) = &said.unanswered {
        reason =
            format!("{reason}; asked again at {}, and nobody could say, so it stands for a while", time(place.time_ms));
    }
    reason
}

fn hidden(publisher: &Person) -> String {
    format!("{} is hidden from everybody by their own grant", publisher.who)
}

fn time(ms: u64) -> String {
    rfc3339(ms.saturating_mul(1000))
}

impl fmt::Display for Somebody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.username {
            Some(name) if *name != self.subject => write!(f, "{name} (subject {})", self.subject),
            _ => f.write_str(&self.subject),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { room, viewer, publisher, at_ms, .. } = self;
        let sees = if self.sees { "may see" } else { "cannot see" };
        writeln!(f, "{viewer} {sees} {publisher} in room {room:?}, as of {}", time(*at_ms))?;
        self.remarks.iter().try_for_each(|remark| writeln!(f, "  {remark}"))?;
        self.tracks.iter().try_for_each(|track| write!(f, "\n{track}"))
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = if self.sees { "yes" } else { "no" };
        writeln!(f, "{} {}: {yes}, {}", self.source.as_str(), self.track, self.because)?;
        writeln!(f, "  {}", self.reason)?;
        for words in &self.plugins {
            let said = match &words.said {
                VerdictLine::Allow(grant) => [vec!["allows".to_owned()], words::limits(grant)].concat().join(", "),
                VerdictLine::Deny(denial) => format!("denies: {}", told(denial)),
                VerdictLine::Abstain => "abstains".to_owned(),
            };
            let failed = words.failed.as_ref().map(|failure| format!("failed ({failure}), ")).unwrap_or_default();
            let sha256 = words.sha256.get(..12).unwrap_or(&words.sha256);
            writeln!(f, "  plugin {} {failed}{said}; {} µs, sha256 {sha256}…", words.plugin, words.us)?;
        }
        if let Some(Place { file, seq, time_ms }) = &self.line {
            writeln!(f, "  line {seq} in {file}, {}", time(*time_ms))?;
        }
        Ok(())
    }
}

impl fmt::Display for WhoSees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let people = if self.inside.len() == 1 { "participant" } else { "participants" };
        writeln!(f, "room {:?} at {}: {} {people}", self.room, time(self.at_ms), self.inside.len())?;
        for InRoom { who, may_record, hidden, sees } in &self.inside {
            let mut line = format!("\n{who}");
            if *hidden {
                line.push_str(", hidden");
            }
            if *may_record {
                line.push_str(", may start and stop recordings");
            }
            writeln!(f, "{line}")?;
            if sees.is_empty() {
                writeln!(f, "  sees nobody")?;
            }
            for Seen { publisher, track, source, grant } in sees {
                let mut line = format!("  may see {publisher}: {} {track}", source.as_str());
                for limit in words::limits(grant) {
                    // Writing to a text cannot fail.
                    let _ = write!(line, ", {limit}");
                }
                writeln!(f, "{line}")?;
            }
        }
        for Recorded { publisher, track, session, .. } in &self.recorded {
            let whose = publisher.as_ref().map_or_else(|| "somebody".to_owned(), Somebody::to_string);
            writeln!(f, "\nrecorded: {whose}: {track}, in session {session}")?;
        }
        Ok(())
    }
}

const ALLOWED: &str = "allowed";
const DENIED: &str = "denied";
const HIDDEN: &str = "hidden";
