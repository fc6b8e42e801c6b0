//! Marks about people in rooms, many of them in few of a plugin's keys.
//!
//! All marks of a ledger, of whatever rooms, lie on 64 pages, each of them one key of at most 3 KiB: whoever names a thousand rooms takes
//! no key from others. A page that is full lets its oldest mark go, and somebody who has too many marks on it loses their own oldest one, as
//! a room does. So a mark may be gone before its time: use it for what is safe to forget.
//!
//! Questions are answered at the same time, and the memory cannot change a value that nobody else changes meanwhile. Two changes of one
//! page in the same instant may leave one of them undone, a mark that was set or one that was removed. Where that must not be, write keys
//! of their own that nothing is read for before.

use crate::{Memory, digest};

/// A plugin's ledger.
pub struct Ledger<'a, M> {
    memory: &'a M,
    what: &'a str,
    now_ms: u64,
}

/// What is noted about somebody in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// A number of the plugin's own.
    pub kind: u8,
    /// When it ends, in milliseconds since 1970.
    pub until_ms: u64,
}

/// A mark on a page.
#[derive(Clone, Copy)]
struct Line {
    room: u64,
    subject: u64,
    mark: Mark,
}

impl<'a, M: Memory> Ledger<'a, M> {
    /// The ledger of this name, at the time of a question.
    pub fn new(memory: &'a M, what: &'a str, now_ms: u64) -> Self {
        Self { memory, what, now_ms }
    }

    /// The mark of somebody in a room.
    pub fn mark(&self, room: &str, subject: &str) -> Option<Mark> {
        let (room, subject) = (digest(room), digest(subject));
        self.page(subject).iter().find(|line| line.is_about(room, subject)).map(|line| line.mark)
    }

    /// Sets it, in the place of an earlier one, for so many milliseconds. Returns whether the memory had room.
    #[must_use]
    pub fn put(&self, room: &str, subject: &str, kind: u8, ttl_ms: u32) -> bool {
        let (room, subject) = (digest(room), digest(subject));
        let mut lines = self.page(subject);
        lines.retain(|line| !line.is_about(room, subject));
        let until_ms = self.now_ms.saturating_add(ttl_ms.into());
        lines.push(Line { room, subject, mark: Mark { kind, until_ms } });
        keep_newest(&mut lines, MAX_OF_SUBJECT, |line| line.subject == subject);
        keep_newest(&mut lines, MAX_OF_ROOM, |line| line.room == room);
        keep_newest(&mut lines, MAX_LINES, |_| true);
        self.write(subject, &lines)
    }

    /// Removes it.
    pub fn remove(&self, room: &str, subject: &str) {
        let (room, subject) = (digest(room), digest(subject));
        let mut lines = self.page(subject);
        let before = lines.len();
        lines.retain(|line| !line.is_about(room, subject));
        // There is room for what is shorter, unless the page ended meanwhile: then nothing is to stay.
        if lines.len() < before && (lines.is_empty() || !self.write(subject, &lines)) {
            self.memory.delete(&self.key(subject));
        }
    }

    fn page(&self, subject: u64) -> Vec<Line> {
        let bytes = self.memory.get(&self.key(subject)).unwrap_or_default();
        let lines = bytes.chunks_exact(Line::BYTES).map(Line::read);
        lines.filter(|line| line.mark.until_ms > self.now_ms).collect()
    }

    fn write(&self, subject: u64, lines: &[Line]) -> bool {
        let bytes: Vec<u8> = lines.iter().flat_map(Line::bytes).collect();
        let end = lines.iter().map(|line| line.mark.until_ms).max().unwrap_or(0);
        let ttl_ms = u32::try_from(end.saturating_sub(self.now_ms)).unwrap_or(u32::MAX);
        self.memory.put(&self.key(subject), &bytes, ttl_ms)
    }

    fn key(&self, subject: u64) -> String {
        format!("{}/{}", self.what, subject % PAGES)
    }
}

impl Line {
    const BYTES: usize = 25;

    fn is_about(&self, room: u64, subject: u64) -> bool {
        (self.room, self.subject) == (room, subject)
    }

    /// Room, subject and end, 8 bytes each with the highest first, and the kind.
    fn bytes(&self) -> impl Iterator<Item = u8> + use<> {
        let numbers = [self.room, self.subject, self.mark.until_ms].map(u64::to_be_bytes);
        numbers.into_iter().flatten().chain([self.mark.kind])
    }

    fn read(bytes: &[u8]) -> Self {
        let number = |from: usize| bytes[from..from + 8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Self { room: number(0), subject: number(8), mark: Mark { until_ms: number(16), kind: bytes[24] } }
    }
}

/// Lets the oldest of some lines go, which come first, until so many are left.
fn keep_newest(lines: &mut Vec<Line>, most: usize, some: impl Fn(&Line) -> bool) {
    let mut surplus = lines.iter().filter(|line| some(line)).count().saturating_sub(most);
    lines.retain(|line| {
        let goes = surplus > 0 && some(line);
        surplus -= usize::from(goes);
        !goes
    });
}

/// Whoever it is about decides on which page a mark lies: two changes at once meet on one seldom.
const PAGES: u64 = 64;
/// 8192 marks in all: 200 KiB of the mebibyte that a plugin has.
const MAX_LINES: usize = 128;
/// Of one subject, all of whose marks are on one page.
const MAX_OF_SUBJECT: usize = 16;
/// Of one room: 2048 on all pages.
const MAX_OF_ROOM: usize = 32;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    type Map = RefCell<BTreeMap<String, Vec<u8>>>;

    fn kind(memory: &Map, now_ms: u64, room: &str, subject: &str) -> Option<u8> {
        Ledger::new(memory, "l", now_ms).mark(room, subject).map(|mark| mark.kind)
    }

    #[test]
    fn a_mark_is_that_of_one_subject_in_one_room_until_it_ends_or_is_removed() {
        let memory = Map::default();
        let ledger = Ledger::new(&memory, "l", 1000);
        assert!(
            ledger.put("board", "ann", 1, 10) && ledger.put("hall", "ann", 2, 20) && ledger.put("hall", "ann", 3, 20)
        );
        assert_eq!(ledger.mark("hall", "ann"), Some(Mark { kind: 3, until_ms: 1020 }));
        assert_eq!([kind(&memory, 1009, "board", "ann"), kind(&memory, 1010, "board", "ann")], [Some(1), None]);
        assert_eq!([kind(&memory, 1000, "board", "bob"), kind(&memory, 1000, "", "ann")], [None, None]);
        ledger.remove("hall", "ann");
        assert_eq!([kind(&memory, 1000, "hall", "ann"), kind(&memory, 1000, "board", "ann")], [None, Some(1)]);
        ledger.remove("board", "ann");
        assert!(memory.borrow().is_empty());
    }

    #[test]
    fn who_is_marked_in_a_thousand_rooms_loses_only_their_own_oldest_marks() {
        let memory = Map::default();
        let ledger = Ledger::new(&memory, "l", 0);
        assert!((0..500).all(|n| ledger.put("board", &format!("p{n}"), 1, 10)));
        assert!((0..1000).all(|n| ledger.put(&format!("r{n}"), "eve", 1, 10)));
        let of_eve = (0..1000).filter(|n| kind(&memory, 0, &format!("r{n}"), "eve").is_some()).collect::<Vec<_>>();
        assert_eq!(of_eve, (984..1000).collect::<Vec<_>>());
        assert!((0..500).all(|n| kind(&memory, 0, "board", &format!("p{n}")).is_some()));
    }

    #[test]
    fn a_room_in_which_everybody_is_marked_loses_only_its_own_oldest_marks() {
        let memory = Map::default();
        let ledger = Ledger::new(&memory, "l", 0);
        assert!((0..500).all(|n| ledger.put("board", &format!("p{n}"), 1, 10)));
        assert!((0..5000).all(|n| ledger.put("flood", &format!("f{n}"), 1, 10)));
        assert!((0..500).all(|n| kind(&memory, 0, "board", &format!("p{n}")).is_some()));
        assert!(kind(&memory, 0, "flood", "f0").is_none() && kind(&memory, 0, "flood", "f4999").is_some());
    }

    #[test]
    fn it_is_no_larger_than_it_says_whatever_is_marked() {
        let memory = Map::default();
        let ledger = Ledger::new(&memory, "l", 0);
        assert!((0..10_000).all(|n| ledger.put(&format!("r{}", n / 10), &format!("p{n}"), 1, 10)));
        assert_eq!(kind(&memory, 0, "r999", "p9999"), Some(1));
        let pages = memory.borrow();
        assert!(pages.len() == 64 && pages.values().all(|page| page.len() <= 3200), "{}", pages.len());
    }

    #[test]
    fn what_the_memory_has_no_room_for_is_told() {
        let memory = Map::default();
        memory.borrow_mut().extend((0..1024).map(|n| (n.to_string(), Vec::new())));
        assert!(!Ledger::new(&memory, "l", 0).put("board", "ann", 1, 10));
    }
}
