//! Why somebody may not see somebody, and who might see or be recorded at a time: answered from the lines of a log alone.
//!
//! Lines are taken in until the time in question; then the questions are put to what they amount to. What the room makes of policy's
//! answers is repeated here as docs/decision-log.md has it.

mod answers;
mod room;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;

use room::RoomView;

pub use answers::{InRoom, Recorded, Seen, Sight, WhoSees, Why};
pub use room::{Place, PluginWords};

use super::line::{Begun, Header, Line, QuestionLine};
use super::seal::Sealed;

/// Takes lines in, in their order.
#[derive(Debug)]
pub struct Explainer {
    /// Lines that are later count no more, in ms since 1970.
    at_ms: u64,
    /// How often a node began: its numbers for participants begin anew with it.
    run: u32,
    rooms: BTreeMap<String, RoomView>,
    lost: u64,
    lines: u64,
}

/// Whom a question is about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The room.
    pub room: String,
    /// Who should see: a subject, a name, or the number of a participant.
    pub who: String,
    /// Whom.
    pub sees: String,
    /// Which track; none: all.
    pub track: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// The log knows no such room, participant or track.
    #[error("the log has no {what} {name:?} by then{}", words::nearest(near))]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// By which name.
        name: String,
        /// What there is that reads like it, or all there is.
        near: Vec<String>,
    },
    /// Several go by this name.
    #[error("{name:?} may be several: choose one of the subjects {}", .subjects.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// Their subjects.
        subjects: Vec<String>,
    },
}

/// Somebody, as the log knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Somebody {
    /// The token's `sub`.
    pub subject: String,
    /// Name for people, where it is logged.
    pub username: Option<String>,
    /// Their place in the room.
    pub participant: u64,
}

impl Explainer {
    /// For what was so at a time, in ms since 1970.
    pub fn new(at_ms: u64) -> Self {
        Self { at_ms, run: 0, rooms: BTreeMap::new(), lost: 0, lines: 0 }
    }

    /// Takes in a line.
    pub fn line(&mut self, file: &str, sealed: &Sealed, line: &Line) {
        if sealed.time_ms > self.at_ms {
            return;
        }
        self.lines += 1;
        let place = Place { file: file.to_owned(), seq: sealed.seq, time_ms: sealed.time_ms };
        match line {
            Line::Header(header) => self.on_header(header, &place),
            Line::End {} => self.on_stop(&place, "the node stopped"),
            Line::Gap { lost, .. } => self.lost += lost,
            Line::Hold { .. } | Line::Act { .. } | Line::Repeated { .. } | Line::Swap(_) | Line::Shadow(_) => {}
            Line::Question(question) => self.on_question(question, place),
            Line::Revocation(revocation) => self.room(&revocation.room).on_revocation(revocation, &place),
            Line::Revoked { room, .. }
            | Line::Grants { room, .. }
            | Line::Entered { room, .. }
            | Line::Left { room, .. }
            | Line::Unpublished { room, .. }
            | Line::Recording { room, .. }
            | Line::RoomClosed { room } => self.room(room).on_line(line, &place),
            Line::Refused { room: Some(room), participant: Some(_), .. } => self.room(room).on_line(line, &place),
            // Of somebody who did not get as far as a place in the room.
            Line::Refused { .. } => {}
        }
    }

    /// Lines that the node says it could not write: what they said is not known.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Lines that count.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Why somebody sees somebody, or not.
    ///
    /// # Errors
    /// When the log does not know them.
    pub fn why(&self, asked: &Asked) -> Result<Why, Unexplained> {
        let room = self.find_room(&asked.room)?;
        answers::why(room, asked, self.at_ms)
    }

    /// Who might see whom, and who was recorded.
    ///
    /// # Errors
    /// When the log does not know the room.
    pub fn who(&self, room: &str) -> Result<WhoSees, Unexplained> {
        Ok(answers::who(room, self.find_room(room)?, self.at_ms))
    }

    fn on_header(&mut self, header: &Header, place: &Place) {
        if header.why == Begun::Node {
            self.on_stop(place, "the node began anew");
            self.run += 1;
            let run = self.run;
            self.rooms.values_mut().for_each(|room| room.run = run);
        }
    }

    fn on_stop(&mut self, place: &Place, why: &str) {
        self.rooms.values_mut().for_each(|room| room.close(place, why));
    }

    fn on_question(&mut self, question: &QuestionLine, place: Place) {
        if let Some(facts) = &question.room {
            self.room(facts.name.as_str()).on_question(question, &place);
        }
    }

    fn room(&mut self, name: &str) -> &mut RoomView {
        let run = self.run;
        self.rooms.entry(name.to_owned()).or_insert_with(|| RoomView::new(run))
    }

    fn find_room(&self, name: &str) -> Result<&RoomView, Unexplained> {
        let unknown = || {
            let near = words::near(name, self.rooms.keys().map(String::as_str));
            Unexplained::Unknown { what: "room", name: name.to_owned(), near }
        };
        self.rooms.get(name).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests;
