//! Which transport a datagram is for: by its path, and on first contact by the name in its STUN check.

use std::collections::HashMap;

use lockgate_transport::ice::Path;

use crate::arena::Key;

/// The ways to transports.
#[derive(Default)]
pub(crate) struct Demux {
    paths: HashMap<Path, Key>,
    ufrags: HashMap<String, Key>,
}

impl Demux {
    pub(crate) fn by_path(&self, path: &Path) -> Option<Key> {
        self.paths.get(path).copied()
    }

    pub(crate) fn by_ufrag(&self, ufrag: &str) -> Option<Key> {
        self.ufrags.get(ufrag).copied()
    }

    pub(crate) fn add_ufrag(&mut self, ufrag: String, transport: Key) {
        self.ufrags.insert(ufrag, transport);
    }

    /// A path that passed an authentic check. One transport has few: a peer that keeps changing them loses the others.
    pub(crate) fn add_path(&mut self, path: Path, transport: Key) {
        if self.paths.insert(path, transport) != Some(transport) {
            let own = self.paths.iter().filter(|(_, key)| **key == transport).count();
            if own > MAX_PATHS {
                self.paths.retain(|known, key| *key != transport || *known == path);
            }
        }
    }

    /// A transport's names are these from now on. Walks all there are: for when they change.
    pub(crate) fn name<'a>(&mut self, transport: Key, ufrags: impl Iterator<Item = &'a str>) {
        self.ufrags.retain(|_, key| *key != transport);
        self.ufrags.extend(ufrags.map(|ufrag| (ufrag.to_owned(), transport)));
    }

    pub(crate) fn forget(&mut self, transport: Key) {
        self.paths.retain(|_, key| *key != transport);
        self.ufrags.retain(|_, key| *key != transport);
    }
}

const MAX_PATHS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;

    #[test]
    fn a_transport_has_the_names_that_it_was_given_last() {
        let mut arena = Arena::new();
        let (one, other) = (arena.insert_with(|_| ()), arena.insert_with(|_| ()));
        let mut demux = Demux::default();
        demux.add_ufrag("a".into(), one);
        demux.add_ufrag("x".into(), other);
        demux.name(one, ["b", "a"].into_iter());
        demux.name(one, ["c", "b"].into_iter());
        assert_eq!(["a", "b", "c", "x"].map(|name| demux.by_ufrag(name)), [None, Some(one), Some(one), Some(other)]);
        demux.forget(one);
        assert_eq!(demux.by_ufrag("c"), None);
    }
}
