//! A list of people in a plugin's memory, for each room.
//!
//! Questions are answered at the same time, and the memory has no way to change a value that nobody else changes meanwhile. So each
//! person has a place of their own, looked for from another start for each: nobody's entry is lost because somebody else came.

use serde::{Deserialize, Serialize};

use crate::Memory;

/// A list in a room.
pub struct Roster<'a, M> {
    memory: &'a M,
    what: &'a str,
    room: &'a str,
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

/// The whole of it as an answer to people.
#[derive(Serialize)]
struct Told<'a> {
    people: &'a [Entry],
    more: usize,
}

impl<'a, M: Memory> Roster<'a, M> {
    /// The list of this name in a room.
    pub fn new(memory: &'a M, what: &'a str, room: &'a str) -> Self {
        Self { memory, what, room }
    }

    /// Puts somebody on it for a time, or keeps them there for longer.
    pub fn put(&self, entry: &Entry, ttl_ms: u32) -> Seated {
        let start = entry.subject.bytes().fold(0, |sum: u16, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut free = None;
        for place in (0..PLACES).map(|step| (start % PLACES + step) % PLACES) {
            match self.at(place) {
                Some(there) if there.subject == entry.subject => {
                    return self.keep(place, &there, ttl_ms, Seated::Already);
                }
                Some(_) => {}
                None => free = free.or(Some(place)),
            }
        }
        free.map_or(Seated::Full, |place| self.keep(place, entry, ttl_ms, Seated::Anew))
    }

    /// Takes people off it. Returns how many of them were on it.
    pub fn remove(&self, subjects: &[String]) -> usize {
        let is_one = |place: &u16| self.at(*place).is_some_and(|there| subjects.contains(&there.subject));
        let theirs: Vec<_> = (0..PLACES).filter(is_one).collect();
        theirs.iter().for_each(|place| self.memory.delete(&self.key(*place)));
        theirs.len()
    }

    /// Everybody on it, who is longest on it first.
    pub fn all(&self) -> Vec<Entry> {
        let mut all: Vec<_> = (0..PLACES).filter_map(|place| self.at(place)).collect();
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

    fn keep(&self, place: u16, entry: &Entry, ttl_ms: u32, seated: Seated) -> Seated {
        let value = serde_json::to_vec(entry).expect("texts and numbers are JSON");
        if self.memory.put(&self.key(place), &value, ttl_ms) { seated } else { Seated::Full }
    }

    fn at(&self, place: u16) -> Option<Entry> {
        serde_json::from_slice(&self.memory.get(&self.key(place))?).ok()
    }

    fn key(&self, place: u16) -> String {
        format!("{}/{}/{place}", self.what, self.room)
    }
}

/// Most people on a list. Each of the acts above calls the memory once or twice for each place, and a question may do 1000 calls.
const PLACES: u16 = 64;
/// The longest reply that a command may give, in bytes.
const MAX_REPLY: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    fn entry(subject: &str, since_ms: u64) -> Entry {
        Entry { subject: subject.into(), username: subject.to_uppercase(), since_ms }
    }

    #[test]
    fn people_are_on_it_once_and_in_the_order_in_which_they_came() {
        let memory = RefCell::new(BTreeMap::new());
        let roster = Roster::new(&memory, "w", "room");
        // Both begin to look at the same place.
        assert_eq!(roster.put(&entry("bB", 2), 1), Seated::Anew);
        assert_eq!(roster.put(&entry("c#", 1), 1), Seated::Anew);
        assert_eq!(roster.put(&entry("bB", 9), 1), Seated::Already);
        assert_eq!(roster.all(), [entry("c#", 1), entry("bB", 2)]);
        assert!(Roster::new(&memory, "w", "room/1").all().is_empty());
        let gone = ["c#".to_owned(), "nobody".to_owned()];
        assert_eq!((roster.remove(&gone), roster.remove(&gone)), (1, 0));
        assert_eq!(roster.told(), r#"{"people":[{"subject":"bB","username":"BB","sinceMs":2}],"more":0}"#);
    }

    #[test]
    fn a_full_list_takes_nobody_and_tells_how_many_a_reply_leaves_out() {
        let memory = RefCell::new(BTreeMap::new());
        let roster = Roster::new(&memory, "w", "room");
        for n in 0..PLACES {
            assert_eq!(roster.put(&entry(&format!("{n:0>256}"), n.into()), 1), Seated::Anew);
        }
        assert_eq!(roster.put(&entry("one more", 0), 1), Seated::Full);
        let told = roster.told();
        let value: serde_json::Value = serde_json::from_str(&told).unwrap();
        let people = value["people"].as_array().unwrap().len();
        assert!(told.len() <= MAX_REPLY && people > 20, "{people}");
        assert_eq!(value["more"], 64 - people);
    }
}
