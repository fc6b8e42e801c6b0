//! What was sent and is not known to have arrived, or to be given up.
//!
//! The library tells how many bytes of a stream came across, not which: they are taken for those of its oldest messages.

use std::collections::{HashMap, VecDeque};

use super::MESSAGE_OVERHEAD;

#[derive(Default)]
pub(super) struct OnItsWay {
    /// What is left of each message, the oldest first; no empty ones, and no stream without any.
    streams: HashMap<u16, VecDeque<usize>>,
    /// All bytes, and what each message costs beside its own.
    pub(super) cost: usize,
}

impl OnItsWay {
    /// A message of so many bytes was written to a stream.
    pub(super) fn sent(&mut self, stream: u16, bytes: usize) {
        if bytes > 0 {
            self.streams.entry(stream).or_default().push_back(bytes);
            self.cost += bytes + MESSAGE_OVERHEAD;
        }
    }

    /// So many bytes of a stream came across.
    pub(super) fn arrived(&mut self, stream: u16, mut bytes: usize) {
        let Some(messages) = self.streams.get_mut(&stream) else { return };
        while let Some(oldest) = messages.front_mut() {
            let part = bytes.min(*oldest);
            (*oldest, bytes) = (*oldest - part, bytes - part);
            self.cost -= part;
            if *oldest > 0 {
                return;
            }
            messages.pop_front();
            self.cost -= MESSAGE_OVERHEAD;
        }
        self.streams.remove(&stream);
    }

    /// A stream is over.
    pub(super) fn forget(&mut self, stream: u16) {
        let messages = self.streams.remove(&stream).unwrap_or_default();
        self.cost -= messages.into_iter().map(|bytes| bytes + MESSAGE_OVERHEAD).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_count_until_their_last_byte_came_across() {
        let mut on_its_way = OnItsWay::default();
        for (stream, bytes) in [(1, 100), (1, 1), (3, 50), (1, 0)] {
            on_its_way.sent(stream, bytes);
        }
        assert_eq!(on_its_way.cost, 151 + 3 * MESSAGE_OVERHEAD);
        on_its_way.arrived(1, 99);
        assert_eq!(on_its_way.cost, 52 + 3 * MESSAGE_OVERHEAD);
        on_its_way.arrived(1, 2);
        assert_eq!((on_its_way.cost, on_its_way.streams.len()), (50 + MESSAGE_OVERHEAD, 1));
        on_its_way.arrived(1, 7);
        on_its_way.arrived(3, 1000);
        assert_eq!((on_its_way.cost, on_its_way.streams.len()), (0, 0), "more than was sent is nothing");
        on_its_way.sent(1, 5);
        on_its_way.forget(1);
        on_its_way.forget(1);
        assert_eq!(on_its_way.cost, 0);
    }
}
