//! What a plugin remembers from one question to the next: a small map of bytes with times to live.

use std::collections::HashMap;

/// A plugin's keys and values, bounded in number and bytes. One by default has room for nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    entries: HashMap<String, Entry>,
    bytes: usize,
    max_keys: usize,
    max_bytes: usize,
}

/// Why something could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotKept {
    TooLong,
    Full,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Vec<u8>,
    ends_at_ms: Option<u64>,
}

impl Memory {
    pub(crate) fn new(max_keys: usize, max_bytes: usize) -> Self {
        Self { max_keys, max_bytes, ..Self::default() }
    }

    /// Has room for so much from now on. What is beyond that already stays until it ends or is deleted.
    pub(crate) fn limit(&mut self, max_keys: usize, max_bytes: usize) {
        (self.max_keys, self.max_bytes) = (max_keys, max_bytes);
    }

    pub(crate) fn put(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u32>, now_ms: u64) -> Result<(), NotKept> {
        if key.is_empty() || key.len() > MAX_KEY || value.len() > MAX_VALUE {
            return Err(NotKept::TooLong);
        }
        if !self.has_room(&key, &value) {
            self.forget_ended(now_ms);
        }
        if !self.has_room(&key, &value) {
            return Err(NotKept::Full);
        }
        self.delete(&key);
        self.bytes += key.len() + value.len();
        let ends_at_ms = ttl_ms.map(|ttl| now_ms.saturating_add(ttl.into()));
        self.entries.insert(key, Entry { value, ends_at_ms });
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= key.len() + entry.value.len();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    pub(crate) fn get(&self, key: &str, now_ms: u64) -> Option<&[u8]> {
        self.entries.get(key).filter(|entry| !entry.is_over(now_ms)).map(|entry| entry.value.as_slice())
    }

    fn has_room(&self, key: &str, value: &[u8]) -> bool {
        let present = self.entries.get(key).map(|entry| key.len() + entry.value.len());
        let keys = self.entries.len() + usize::from(present.is_none());
        let bytes = self.bytes - present.unwrap_or(0) + key.len() + value.len();
        keys <= self.max_keys && bytes <= self.max_bytes
    }

    fn forget_ended(&mut self, now_ms: u64) {
        self.entries.retain(|_, entry| !entry.is_over(now_ms));
        self.bytes = self.entries.iter().map(|(key, entry)| key.len() + entry.value.len()).sum();
    }
}

impl Entry {
    fn is_over(&self, now_ms: u64) -> bool {
        self.ends_at_ms.is_some_and(|end| end <= now_ms)
    }
}

const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_gone_when_its_time_is_over() {
        let mut memory = Memory::new(2, 100);
        memory.put("a".into(), b"1".to_vec(), Some(10), 1000).unwrap();
        assert_eq!(memory.get("a", 1009), Some(&b"1"[..]));
        assert_eq!(memory.get("a", 1010), None);
    }

    #[test]
    fn a_full_memory_refuses_keys_and_bytes_until_something_ends_or_is_deleted() {
        let mut memory = Memory::new(2, 20);
        memory.put("a".into(), vec![0; 9], None, 0).unwrap();
        memory.put("b".into(), vec![0; 9], Some(5), 0).unwrap();
        assert_eq!(memory.put("c".into(), vec![], None, 1), Err(NotKept::Full));
        assert_eq!(memory.put("a".into(), vec![0; 10], None, 1), Err(NotKept::Full));
        memory.put("a".into(), vec![0; 3], None, 1).unwrap();
        memory.put("c".into(), vec![0; 9], None, 5).unwrap();
        memory.delete("c");
        assert_eq!(memory.bytes, 4);
    }

    #[test]
    fn long_keys_and_values_are_refused() {
        let mut memory = Memory::new(9, 1 << 30);
        for (key, value) in [(String::new(), 0), ("k".repeat(257), 0), ("k".into(), MAX_VALUE + 1)] {
            assert_eq!(memory.put(key, vec![0; value], None, 0), Err(NotKept::TooLong));
        }
    }

    #[test]
    fn a_smaller_memory_keeps_what_it_has_and_takes_no_more() {
        let mut memory = Memory::new(2, 100);
        memory.put("a".into(), b"1".to_vec(), None, 0).unwrap();
        memory.put("b".into(), b"2".to_vec(), None, 0).unwrap();
        memory.limit(1, 100);
        assert_eq!(memory.put("b".into(), b"3".to_vec(), None, 1), Err(NotKept::Full));
        memory.delete("a");
        memory.put("b".into(), b"3".to_vec(), None, 1).unwrap();
        assert_eq!((memory.get("a", 1), memory.get("b", 1)), (None, Some(&b"3"[..])));
    }
}
