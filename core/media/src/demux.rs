//! Which transport a datagram is for: by its path, and on first contact by the name in its STUN check.

use std::collections::HashMap;

use lockgate_transport::ice::Path;

use crate::arena::Key;

/// The ways to transports.
#[derive(Default)]
pub(crate) struct Demux {
    paths: HashMap<Path, Way>,
    ufrags: HashMap<String, Key>,
    /// Counts the checks.
    checks: u64,
}

/// Whose path it is.
#[derive(Clone, Copy)]
struct Way {
    transport: Key,
    /// Which check was the last by it.
    checked: u64,
}

impl Demux {
    pub(crate) fn by_path(&self, path: &Path) -> Option<Key> {
        self.paths.get(path).map(|way| way.transport)
    }

    pub(crate) fn by_ufrag(&self, ufrag: &str) -> Option<Key> {
        self.ufrags.get(ufrag).copied()
    }

    pub(crate) fn add_ufrag(&mut self, ufrag: String, transport: Key) {
        self.ufrags.insert(ufrag, transport);
    }

    /// A path passed an authentic check. A transport has no more than some: of one that goes on finding others, those go that were
    /// not checked for the longest time, which are not those that it uses. Paths that are not their transports' any more come back: such a
    /// one, and this one if it was another's.
    pub(crate) fn add_path(&mut self, path: Path, transport: Key) -> Vec<(Path, Key)> {
        self.checks += 1;
        let way = Way { transport, checked: self.checks };
        let before = self.paths.insert(path, way).map(|before| before.transport);
        if before == Some(transport) {
            return Vec::new();
        }
        let mut lost: Vec<_> = before.map(|before| (path, before)).into_iter().collect();
        let own = || self.paths.iter().filter(|(_, way)| way.transport == transport);
        if own().count() > MAX_PATHS
            && let Some(oldest) = own().min_by_key(|(_, way)| way.checked).map(|(path, _)| *path)
        {
            self.paths.remove(&oldest);
            lost.push((oldest, transport));
        }
        lost
    }

    /// A path is no more; whose it was comes back.
    pub(crate) fn remove_path(&mut self, path: &Path) -> Option<Key> {
        self.paths.remove(path).map(|way| way.transport)
    }

    /// A transport's names are these from now on. Walks all there are: for when they change.
    pub(crate) fn name<'a>(&mut self, transport: Key, ufrags: impl Iterator<Item = &'a str>) {
        self.ufrags.retain(|_, key| *key != transport);
        self.ufrags.extend(ufrags.map(|ufrag| (ufrag.to_owned(), transport)));
    }

    /// All paths, and whose they are.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (Path, Key)> + '_ {
        self.paths.iter().map(|(path, way)| (*path, way.transport))
    }

    /// A transport is no more; what its paths were comes back.
    pub(crate) fn forget(&mut self, transport: Key) -> Vec<Path> {
        self.ufrags.retain(|_, key| *key != transport);
        self.paths.extract_if(|_, way| way.transport == transport).map(|(path, _)| path).collect()
    }
}

/// Some addresses of ours, some of a client's, and each again by TCP.
const MAX_PATHS: usize = 32;

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
        assert_eq!(demux.forget(one), []);
        assert_eq!(demux.by_ufrag("c"), None);
    }

    #[test]
    fn of_too_many_paths_those_go_that_are_not_used() {
        let mut arena = Arena::new();
        let (one, other) = (arena.insert_with(|_| ()), arena.insert_with(|_| ()));
        let path = |port: u16| Path { socket: 0, remote: ([127, 0, 0, 1], port).into() };
        let mut demux = Demux::default();
        assert_eq!((demux.add_path(path(1), one), demux.add_path(path(2), other)), (vec![], vec![]));
        let mut lost = Vec::new();
        for port in 100..300 {
            lost.extend(demux.add_path(path(port), one));
            assert_eq!(demux.add_path(path(1), one), []);
        }
        assert_eq!(lost, (100..300 - MAX_PATHS as u16 + 1).map(|port| (path(port), one)).collect::<Vec<_>>());
        assert_eq!([1, 2, 100, 299].map(|port| demux.by_path(&path(port))), [Some(one), Some(other), None, Some(one)]);
        assert_eq!(demux.paths.len(), MAX_PATHS + 1);
        assert_eq!(
            demux.add_path(path(299), other),
            [(path(299), one)],
            "whoever showed the other's password has it now"
        );
    }
}
