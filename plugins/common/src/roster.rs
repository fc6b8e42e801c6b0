//! Lists of people, one for each room, in a plugin's memory.
//!
//! All lists of one name share 256 places, each of them one key: 64 in a room at most, and 4 of one subject, so that nobody fills them by
//! naming rooms. Whoever comes to a fifth room leaves the one that they came to first.
//!
//! Questions are answered at the same time, and the memory cannot change a value that nobody else changes meanwhile. Everybody begins to
//! look for a place somewhere else, and looks again before taking it; but two who take one in the same instant both believe that
//! they have it, and one is not on the list. They come onto it when they ask again.

use serde::{Deserialize, Serialize};

use crate::{Memory, digest};

/// The list of a room, as it was when it was read.
pub struct Roster<'a, M> {
    memory: &'a M,
    what: &'a str,
    room: &'a str,
    places: Vec<Option<Place>>,
}

/// Somebody on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Who.
    pub subject: String,
    /// Their name for people.
    pub username: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// What came of an attempt to put somebody on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seated {
    /// They are on it now.
    Anew,
    /// They were on it before.
    Already,
    /// There is no room for them.
    Full,
}

/// A place that is taken, in whatever room.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    room: String,
    #[serde(flatten)]
    entry: Entry,
}

/// The whole of it as an answer to people.
#[derive(Serialize)]
struct Told<'a> {
    people: &'a [Entry],
    more: usize,
}

impl<'a, M: Memory> Roster<'a, M> {
    /// Reads the list of this name in a room. It calls the memory 256 times, and a question may do 1000 calls.
    pub fn read(memory: &'a M, what: &'a str, room: &'a str) -> Self {
        let mut roster = Self { memory, what, room, places: Vec::new() };
        roster.places = (0..PLACES).map(|place| roster.at(place)).collect();
        roster
    }

    /// Puts somebody on it for a time, or keeps them there for longer.
    pub fn put(&mut self, entry: &Entry, ttl_ms: u32) -> Seated {
        let new = Place { room: self.room.to_owned(), entry: entry.clone() };
        let theirs: Vec<_> = self.taken().filter(|(_, there)| there.entry.subject == entry.subject).collect();
        if let Some((place, there)) = theirs.iter().find(|(_, there)| there.room == self.room) {
            let (place, there) = (*place, (*there).clone());
            return self.keep(place, there, ttl_ms, Seated::Already);
        }
        let oldest = theirs.iter().min_by_key(|(_, there)| there.entry.since_ms).map(|(place, _)| *place);
        let chosen = if theirs.len() < MAX_OF_SUBJECT { self.free(&entry.subject) } else { oldest };
        match chosen.filter(|_| self.here().count() < MAX_OF_ROOM) {
            Some(place) => self.keep(place, new, ttl_ms, Seated::Anew),
            None => Seated::Full,
        }
    }

    /// Takes people off it. Returns how many places that made free.
    pub fn remove(&mut self, subjects: &[String]) -> usize {
        let theirs: Vec<_> =
            self.here().filter(|(_, entry)| subjects.contains(&entry.subject)).map(|(place, _)| place).collect();
        for place in &theirs {
            // It may be somebody else's by now.
            if self.at(*place) == self.places[*place].take() {
                self.memory.delete(&self.key(*place));
            }
        }
        theirs.len()
    }

    /// Everybody on it, who is longest on it first.
    pub fn all(&self) -> Vec<Entry> {
        let mut all: Vec<_> = self.here().map(|(_, entry)| entry.clone()).collect();
        all.sort_by(|a, b| (a.since_ms, &a.subject).cmp(&(b.since_ms, &b.subject)));
        all
    }

    /// `{"people": [{"subject", "username", "sinceMs"}], "more": 0}`: as many as go into a reply.
    pub fn told(&self) -> String {
        let all = self.all();
        let text = |count| {
            let told = Told { people: &all[..count], more: all.len() - count };
            serde_json::to_string(&told).expect("texts and numbers are JSON")
        };
        (0..=all.len()).rev().map(text).find(|text| text.len() <= MAX_REPLY).unwrap_or_default()
    }

    /// All places that are taken, in whatever room.
    fn taken(&self) -> impl Iterator<Item = (usize, &Place)> {
        self.places.iter().enumerate().filter_map(|(place, there)| Some((place, there.as_ref()?)))
    }

    /// Those that are taken in this room.
    fn here(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.taken().filter(|(_, there)| there.room == self.room).map(|(place, there)| (place, &there.entry))
    }

    /// A place that is still free, sought from one that is somebody's own.
    fn free(&self, subject: &str) -> Option<usize> {
        let start = usize::from(digest(subject).wrapping_add(digest(self.room)).to_be_bytes()[0]);
        let mut places = (start..PLACES).chain(0..start);
        places.find(|place| self.places[*place].is_none() && self.at(*place).is_none())
    }

    fn keep(&mut self, place: usize, there: Place, ttl_ms: u32, seated: Seated) -> Seated {
        let value = serde_json::to_vec(&there).expect("texts and numbers are JSON");
        let kept = self.memory.put(&self.key(place), &value, ttl_ms);
        self.places[place] = kept.then_some(there);
        if kept { seated } else { Seated::Full }
    }

    fn at(&self, place: usize) -> Option<Place> {
        serde_json::from_slice(&self.memory.get(&self.key(place))?).ok()
    }

    fn key(&self, place: usize) -> String {
        format!("{}/{place}", self.what)
    }
}

/// Places for all lists of one name; as many as a byte counts.
const PLACES: usize = 256;
/// Most people on the list of a room.
const MAX_OF_ROOM: usize = 64;
/// Most lists on which one subject is.
const MAX_OF_SUBJECT: usize = 4;
/// The longest reply that a command may give, in bytes.
const MAX_REPLY: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    type Map = RefCell<BTreeMap<String, Vec<u8>>>;

    fn entry(subject: &str, since_ms: u64) -> Entry {
        Entry { subject: subject.into(), username: subject.to_uppercase(), since_ms }
    }

    fn put(memory: &Map, room: &str, entry: &Entry) -> Seated {
        Roster::read(memory, "w", room).put(entry, 1)
    }

    #[test]
    fn people_are_on_it_once_and_in_the_order_in_which_they_came() {
        let memory = Map::default();
        let mut roster = Roster::read(&memory, "w", "room");
        assert_eq!(roster.put(&entry("bob", 2), 1), Seated::Anew);
        assert_eq!(roster.put(&entry("ann", 1), 1), Seated::Anew);
        assert_eq!(put(&memory, "room", &entry("bob", 9)), Seated::Already);
        let mut roster = Roster::read(&memory, "w", "room");
        assert_eq!(roster.all(), [entry("ann", 1), entry("bob", 2)]);
        assert!(Roster::read(&memory, "w", "room2").all().is_empty());
        let gone = ["ann".to_owned(), "nobody".to_owned()];
        assert_eq!((roster.remove(&gone), roster.remove(&gone)), (1, 0));
        assert_eq!(roster.told(), r#"{"people":[{"subject":"bob","username":"BOB","sinceMs":2}],"more":0}"#);
        assert_eq!(Roster::read(&memory, "w", "room").told(), roster.told());
    }

    #[test]
    fn a_full_list_takes_nobody_and_tells_how_many_a_reply_leaves_out() {
        let memory = Map::default();
        for n in 0..64 {
            assert_eq!(put(&memory, "room", &entry(&format!("{n:0>256}"), n)), Seated::Anew);
        }
        assert_eq!(put(&memory, "room", &entry("one more", 0)), Seated::Full);
        assert_eq!(put(&memory, "elsewhere", &entry("one more", 0)), Seated::Anew);
        let told = Roster::read(&memory, "w", "room").told();
        let value: serde_json::Value = serde_json::from_str(&told).unwrap();
        let people = value["people"].as_array().unwrap().len();
        assert!(told.len() <= MAX_REPLY && people > 20, "{people}");
        assert_eq!(value["more"], 64 - people);
    }

    #[test]
    fn who_names_many_rooms_is_on_the_lists_of_the_last_four() {
        let memory = Map::default();
        for n in 0..300 {
            assert_eq!(put(&memory, &format!("r{n}"), &entry("eve", n)), Seated::Anew);
        }
        let on = |n: &u64| !Roster::read(&memory, "w", &format!("r{n}")).all().is_empty();
        assert_eq!((0..300).filter(on).collect::<Vec<_>>(), [296, 297, 298, 299]);
        assert_eq!(memory.borrow().len(), 4);
    }

    #[test]
    fn all_lists_together_have_so_many_places_and_all_of_them_are_used() {
        let memory = Map::default();
        for n in 0..256 {
            assert_eq!(put(&memory, &format!("r{}", n / 8), &entry(&format!("p{n}"), n)), Seated::Anew);
        }
        assert_eq!(put(&memory, "r99", &entry("late", 0)), Seated::Full);
        assert_eq!(put(&memory, "r0", &entry("p0", 0)), Seated::Already);
    }

    #[test]
    fn a_place_that_somebody_else_took_meanwhile_is_neither_taken_nor_made_free() {
        let memory = Map::default();
        let mut first = Roster::read(&memory, "w", "room");
        assert_eq!(put(&memory, "room", &entry("ann", 1)), Seated::Anew);
        // What the other thread did not see is hers: it would have begun at the same place.
        let place = first.free("ann").unwrap();
        assert_ne!(format!("w/{place}"), *memory.borrow().keys().next().unwrap());

        assert_eq!(first.put(&entry("bob", 2), 1), Seated::Anew);
        let mut second = Roster::read(&memory, "w", "room");
        first.remove(&["bob".into()]);
        assert_eq!(put(&memory, "room", &entry("bob", 3)), Seated::Anew);
        second.remove(&["bob".into()]);
        assert_eq!(Roster::read(&memory, "w", "room").all(), [entry("ann", 1), entry("bob", 3)]);
    }
}
