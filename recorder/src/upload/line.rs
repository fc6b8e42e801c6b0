//! Sessions in line for one kind of work.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use super::store::{AWAY_AFTER, Trouble};
use crate::archive::now_micros;

/// Those that wait, and those that have their turn. There are no more of them than there are folders.
pub(super) struct Line {
    /// How many have their turn at once.
    at_once: usize,
    waiting: VecDeque<PathBuf>,
    /// Until when each need not be looked at, in microseconds since 1970 (UTC): who waits may become too old.
    until_us: HashMap<PathBuf, u64>,
    going: usize,
    worked: bool,
    /// How often the store has refused, without anything that worked in between.
    refused: usize,
}

impl Line {
    pub(super) fn new(at_once: usize) -> Self {
        Self { at_once, waiting: VecDeque::new(), until_us: HashMap::new(), going: 0, worked: false, refused: 0 }
    }

    /// Whether a session may enter, or wait no more.
    pub(super) fn is_open_to(&self, folder: &Path) -> bool {
        self.until_us.get(folder).is_none_or(|until_us| now_micros() >= *until_us)
    }

    /// The session waits, or goes on to wait.
    pub(super) fn enter(&mut self, folder: PathBuf, until_us: u64) {
        if self.until_us.insert(folder.clone(), until_us).is_none() {
            self.waiting.push_back(folder);
        }
    }

    /// The session waits no more.
    pub(super) fn leave(&mut self, folder: &Path) {
        if self.until_us.remove(folder).is_some() {
            self.waiting.retain(|waiting| waiting != folder);
        }
    }

    /// Whose turn it is now, if there is a place. When the store is away, the rest need not be tried.
    pub(super) fn begin(&mut self) -> Option<PathBuf> {
        if self.going == self.at_once || self.refused >= AWAY_AFTER {
            return None;
        }
        let folder = self.waiting.pop_front()?;
        self.until_us.insert(folder.clone(), u64::MAX);
        self.going += 1;
        Some(folder)
    }

    /// What was begun is over.
    pub(super) fn end<T>(&mut self, folder: &Path, result: &Result<T, Trouble>) {
        self.until_us.remove(folder);
        self.going -= 1;
        match result {
            Ok(_) => (self.worked, self.refused) = (true, 0),
            Err(Trouble::Store(_)) => self.refused += 1,
            // Each has its own troubles, which say nothing of the others.
            Err(_) => {}
        }
    }

    /// The store may be back: a few more are tried.
    pub(super) fn try_again(&mut self) {
        self.refused = 0;
    }

    /// Whether something worked, or nothing was refused.
    pub(super) fn is_well(&self) -> bool {
        self.worked || self.refused == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<(), Trouble> {
        Err(object_store::Error::NotImplemented { operation: String::new(), implementer: String::new() }.into())
    }

    /// Those that have their turn now.
    fn begun(line: &mut Line) -> Vec<PathBuf> {
        std::iter::from_fn(|| line.begin()).collect()
    }

    #[test]
    fn each_has_its_turn_once_and_who_leaves_has_none() {
        let mut line = Line::new(2);
        let [a, b, c, d] = ["a", "b", "c", "d"].map(PathBuf::from);
        [&a, &b, &c, &d, &d].into_iter().for_each(|folder| line.enter(folder.clone(), 0));
        assert_eq!(begun(&mut line), [a.clone(), b]);
        // Who has a turn need not be looked at; who waits may have become too old.
        assert!(!line.is_open_to(&a) && line.is_open_to(&c));
        line.leave(&c);
        line.end(&a, &Ok(()));
        assert_eq!(begun(&mut line), [d]);
        assert!(line.is_open_to(&a) && begun(&mut line).is_empty());
    }

    #[test]
    fn only_refusals_of_the_store_in_a_row_keep_the_rest_from_being_tried() {
        let unreadable = || Err::<(), _>(std::io::Error::other("unreadable").into());
        let mut line = Line::new(1);
        (0..20).for_each(|number| line.enter(PathBuf::from(number.to_string()), u64::MAX));
        let mut end = |result: Result<(), Trouble>| {
            let folder = line.begin()?;
            line.end(&folder, &result);
            Some(line.is_well())
        };
        assert!((0..2 * AWAY_AFTER).all(|_| end(unreadable()) == Some(true)));
        assert!((1..AWAY_AFTER).all(|_| end(refused()) == Some(false)));
        assert_eq!(end(Ok(())), Some(true));
        assert!((0..AWAY_AFTER).all(|_| end(refused()) == Some(true)));
        assert_eq!(end(Ok(())), None, "the store is away");
        line.try_again();
        assert!(line.begin().is_some());
    }
}
