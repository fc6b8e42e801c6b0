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

    /// Keeps only these names of a transport.
    pub(crate) fn keep_ufrags(&mut self, transport: Key, ufrags: &[&str]) {
        self.ufrags.retain(|ufrag, key| *key != transport || ufrags.contains(&ufrag.as_str()));
    }

    pub(crate) fn forget(&mut self, transport: Key) {
        self.paths.retain(|_, key| *key != transport);
        self.ufrags.retain(|_, key| *key != transport);
    }
}

const MAX_PATHS: usize = 16;
