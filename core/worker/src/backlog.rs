//! What the system had no room for: kept in order, and bounded.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::batch::{MAX_MESSAGES, Message};

/// Messages that wait until their socket takes more.
#[derive(Default)]
pub(crate) struct Backlog {
    messages: VecDeque<Waiting>,
    bytes: Vec<u8>,
    /// Where the first message's bytes begin.
    start: usize,
}

struct Waiting {
    remote: SocketAddr,
    segment: usize,
    len: usize,
}

impl Backlog {
    /// Keeps a copy; false if there is no room for it.
    pub(crate) fn push(&mut self, message: &Message<'_>) -> bool {
        let Message { remote, segment, bytes } = *message;
        if self.len() + bytes.len() > MAX_BYTES {
            return false;
        }
        self.messages.push_back(Waiting { remote, segment, len: bytes.len() });
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// Takes off the first messages, and of the next one the first bytes.
    pub(crate) fn take_off(&mut self, messages: usize, bytes: usize) {
        let gone: usize = self.messages.drain(..messages).map(|message| message.len).sum();
        self.start += gone + bytes;
        if let Some(next) = self.messages.front_mut() {
            next.len -= bytes;
        }
        self.tidy();
    }

    /// The first messages, as many as go into one call.
    pub(crate) fn first(&self) -> impl Iterator<Item = Message<'_>> {
        let mut start = self.start;
        self.messages.iter().take(MAX_MESSAGES).map(move |waiting| {
            let bytes = &self.bytes[start..start + waiting.len];
            start += waiting.len;
            Message { remote: waiting.remote, segment: waiting.segment, bytes }
        })
    }

    /// Takes out the datagrams that are such, to those receivers whom it concerns. How many these were comes back.
    pub(crate) fn withdraw(
        &mut self,
        concerns: impl Fn(&SocketAddr) -> bool,
        is_such: impl Fn(&SocketAddr, &[u8]) -> bool,
    ) -> u64 {
        let Self { messages, bytes, start } = self;
        let (mut read, mut kept, mut gone) = (*start, *start, 0);
        messages.retain_mut(|message| {
            let (end, before, concerned) = (read + message.len, kept, concerns(&message.remote));
            // Whole datagrams wait: a run is stopped between two of them.
            let step = if concerned { message.segment.max(1) } else { message.len };
            while read < end {
                let at = read..end.min(read + step);
                read = at.end;
                if concerned && is_such(&message.remote, &bytes[at.clone()]) {
                    gone += 1;
                    continue;
                }
                let len = at.len();
                if at.start != kept {
                    bytes.copy_within(at, kept);
                }
                kept += len;
            }
            message.len = kept - before;
            message.len > 0
        });
        bytes.truncate(kept);
        self.tidy();
        gone
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Gives room back: at the front as it becomes half of all, and to the system when a bad time is over.
    fn tidy(&mut self) {
        if self.messages.is_empty() {
            *self = Self::default();
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.copy_within(self.start.., 0);
            self.bytes.truncate(self.len());
            self.start = 0;
        }
    }
}

/// About what a link of one Gbit/s carries in 30 ms: what waits longer is of little use to anybody.
pub(crate) const MAX_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> Message<'_> {
        Message { remote: "[::1]:5000".parse().unwrap(), segment: 4, bytes }
    }

    fn waiting(backlog: &Backlog) -> Vec<Vec<u8>> {
        backlog.first().map(|message| message.bytes.to_vec()).collect()
    }

    #[test]
    fn what_waits_comes_out_in_order_whatever_was_taken_off() {
        let mut backlog = Backlog::default();
        for bytes in [&b"aaaabb"[..], b"cccc", b"dddde"] {
            assert!(backlog.push(&message(bytes)));
        }
        backlog.take_off(0, 4);
        assert_eq!(waiting(&backlog), [&b"bb"[..], b"cccc", b"dddde"]);
        backlog.take_off(2, 4);
        assert_eq!((waiting(&backlog), backlog.len()), (vec![b"e".to_vec()], 1));
        assert!(backlog.push(&message(b"ffff")));
        assert_eq!(waiting(&backlog), [&b"e"[..], b"ffff"]);
        backlog.take_off(2, 0);
        assert_eq!((backlog.is_empty(), backlog.len()), (true, 0));
    }

    #[test]
    fn what_is_withdrawn_is_gone_and_the_rest_is_as_it_was() {
        let mut backlog = Backlog::default();
        let other = "[::1]:5001".parse().unwrap();
        for bytes in [&b"xxxxaaaabbbbaac"[..], b"aaaa", b"bbaaa"] {
            assert!(backlog.push(&message(bytes)));
            assert!(backlog.push(&Message { remote: other, ..message(bytes) }));
        }
        backlog.take_off(0, 4);
        let withdraw = |backlog: &mut Backlog| {
            backlog.withdraw(|remote| remote.port() == 5000, |_, datagram| datagram.starts_with(b"a"))
        };
        assert_eq!(withdraw(&mut backlog), 4);
        let left: [&[u8]; 5] = [b"bbbb", b"xxxxaaaabbbbaac", b"aaaa", b"bbaa", b"bbaaa"];
        assert_eq!((waiting(&backlog), backlog.len()), (left.map(<[u8]>::to_vec).to_vec(), 32));
        assert_eq!(withdraw(&mut backlog), 0);
        assert_eq!(backlog.withdraw(|_| true, |_, _| true), 9);
        assert_eq!((backlog.is_empty(), backlog.len()), (true, 0));
    }

    #[test]
    fn it_keeps_no_more_than_it_may_and_takes_more_once_some_is_gone() {
        let mut backlog = Backlog::default();
        let half = vec![7; MAX_BYTES / 2];
        assert!(backlog.push(&message(&half)) && backlog.push(&message(&half)));
        assert!(!backlog.push(&message(b"x")));
        backlog.take_off(1, 0);
        assert!(backlog.push(&message(b"x")));
        assert_eq!(backlog.bytes.capacity().max(MAX_BYTES * 2), MAX_BYTES * 2, "the copy is bounded too");
    }
}
