//! Things by number: looked up by index, and a number that was given back is never good again.

use std::collections::VecDeque;

/// A place in an [`Arena`] and who had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    index: u32,
    serial: u32,
}

impl Key {
    /// As one number, to be handed out.
    pub(crate) fn to_u64(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_u64(number: u64) -> Self {
        Self { index: number as u32, serial: (number >> 32) as u32 }
    }
}

/// Things by number.
pub(crate) struct Arena<T> {
    places: Vec<Option<(u32, T)>>,
    free: Vec<u32>,
    next_serial: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), next_serial: 1 }
    }

    /// Puts a thing that is made with its own key.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1).max(1);
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            (self.places.len() - 1) as u32
        });
        let key = Key { index, serial };
        self.places[index as usize] = Some((serial, make(key)));
        key
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.places.get(key.index as usize)? {
            Some((serial, thing)) if *serial == key.serial => Some(thing),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.places.get_mut(key.index as usize)? {
            Some((serial, thing)) if *serial == key.serial => Some(thing),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        let (_, thing) = place.take_if(|(serial, _)| *serial == key.serial)?;
        self.free.push(key.index);
        Some(thing)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten().map(|(_, thing)| thing)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        let places = (0..).zip(&mut self.places);
        places
            .filter_map(|(index, place)| place.as_mut().map(|(serial, thing)| (Key { index, serial: *serial }, thing)))
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

/// Keys that something is to be done about, in the order in which they came; each once.
#[derive(Default)]
pub(crate) struct KeySet {
    queue: VecDeque<Key>,
    /// By index, the serial that is in the queue; 0: none.
    present: Vec<u32>,
}

impl KeySet {
    pub(crate) fn insert(&mut self, key: Key) {
        let index = key.index as usize;
        if self.present.len() <= index {
            self.present.resize(index + 1, 0);
        }
        if self.present[index] != key.serial {
            self.present[index] = key.serial;
            self.queue.push_back(key);
        }
    }

    pub(crate) fn first(&self) -> Option<Key> {
        self.get(0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Key> {
        self.queue.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The key before which so many others are.
    pub(crate) fn get(&self, place: usize) -> Option<Key> {
        self.queue.get(place).copied()
    }

    pub(crate) fn pop_first(&mut self) -> Option<Key> {
        let key = self.queue.pop_front()?;
        if let Some(serial) = self.present.get_mut(key.index as usize).filter(|serial| **serial == key.serial) {
            *serial = 0;
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_waits_once_and_another_life_of_its_place_waits_too() {
        let mut arena = Arena::new();
        let mut set = KeySet::default();
        let first = arena.insert_with(|_| ());
        arena.remove(first);
        let second = arena.insert_with(|_| ());
        [first, first, second, second].into_iter().for_each(|key| set.insert(key));
        assert_eq!([set.pop_first(), set.pop_first(), set.pop_first()], [Some(first), Some(second), None]);
        set.insert(second);
        assert_eq!(set.first(), Some(second));
    }

    #[test]
    fn a_place_is_used_again_and_its_old_key_is_not() {
        let mut arena = Arena::new();
        let first = arena.insert_with(|_| 'a');
        assert_eq!(arena.remove(first), Some('a'));
        let second = arena.insert_with(|_| 'b');
        assert_eq!((arena.get(first), arena.get(second), arena.len()), (None, Some(&'b'), 1));
        assert_eq!(arena.remove(first), None);
        assert_eq!(Key::from_u64(second.to_u64()), second);
    }
}
