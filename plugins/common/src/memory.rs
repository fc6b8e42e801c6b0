//! What a plugin remembers from one question to the next.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// A plugin's memory: the import `kv`, or a map in tests.
pub trait Memory {
    /// What is kept under the key.
    fn get(&self, key: &str) -> Option<Vec<u8>>;

    /// Keeps a value, for so many milliseconds. Returns whether there was room for it.
    #[must_use]
    fn put(&self, key: &str, value: &[u8], ttl_ms: u32) -> bool;

    /// Forgets a key.
    fn delete(&self, key: &str);
}

/// A memory for tests, as large as a node's (`limits.kv_keys` and `kv_bytes` by default). It forgets nothing by itself.
impl Memory for RefCell<BTreeMap<String, Vec<u8>>> {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.borrow().get(key).cloned()
    }

    fn put(&self, key: &str, value: &[u8], _ttl_ms: u32) -> bool {
        let mut map = self.borrow_mut();
        let before = map.insert(key.to_owned(), value.to_owned());
        let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
        let fits = map.len() <= 1024 && bytes <= 1 << 20;
        if !fits {
            map.remove(key);
            before.into_iter().for_each(|before| drop(map.insert(key.to_owned(), before)));
        }
        fits
    }

    fn delete(&self, key: &str) {
        self.borrow_mut().remove(key);
    }
}
