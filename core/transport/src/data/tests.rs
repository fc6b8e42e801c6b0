//! Whole associations in virtual time, and what a hostile peer makes of one.

#![allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]

mod hostile;

use std::time::{Duration, Instant};

use bytes::Bytes;
use lockgate_model::Bitrate;
use lockgate_model::testing::{cases, damaged};
use proptest::prelude::*;

use super::packet::{Chunk, kind, rebuilt};
use super::*;
use crate::testing::DataPeer;

const RATE: Bitrate = Bitrate(1_000_000_000);

struct Call {
    now: Instant,
    ours: Association,
    peer: DataPeer,
    events: Vec<DataEvent>,
    /// Counts packets; every so manyth is lost.
    packets: usize,
    lost: usize,
}

impl Call {
    fn new() -> Self {
        Self::with(Side::Server, RATE)
    }

    fn with(side: Side, rate: Bitrate) -> Self {
        let now = Instant::now();
        let (ours, peer) = (Association::new(now, side, 0, rate), DataPeer::new(now));
        Self { now, ours, peer, events: Vec::new(), packets: 0, lost: usize::MAX }
    }

    fn established() -> Self {
        let mut call = Self::new();
        call.run(1);
        assert!(call.ours.is_established() && call.peer.established);
        call
    }

    /// Carries packets to and fro for so many milliseconds.
    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            self.settle();
            self.now += Duration::from_millis(1);
            self.ours.handle_timeout(self.now);
        }
    }

    fn settle(&mut self) {
        loop {
            let to_us = self.peer.poll(self.now);
            let to_peer: Vec<_> = std::iter::from_fn(|| self.ours.poll_transmit()).collect();
            if to_us.is_empty() && to_peer.is_empty() {
                break;
            }
            for packet in to_us {
                if self.arrives() {
                    self.ours.handle_packet(self.now, &packet);
                }
            }
            for packet in to_peer {
                assert!(packet.len() <= 1200, "fits a datagram");
                if self.arrives() {
                    self.peer.handle(self.now, &packet);
                }
            }
        }
        self.events.extend(std::iter::from_fn(|| self.ours.poll_event()));
    }

    fn arrives(&mut self) -> bool {
        self.packets += 1;
        !self.packets.is_multiple_of(self.lost)
    }

    fn messages(&mut self) -> Vec<(u16, Message)> {
        let message = |event: DataEvent| match event {
            DataEvent::Message(StreamId(id), message) => Some((id, message)),
            _ => None,
        };
        std::mem::take(&mut self.events).into_iter().filter_map(message).collect()
    }
}

fn channel(label: &str, ordered: bool, reliability: Reliability) -> Channel {
    Channel { label: label.into(), protocol: String::new(), ordered, reliability }
}

fn text(text: &str) -> Message {
    Message { text: true, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

fn binary(len: usize) -> Message {
    Message { text: false, bytes: (0..len).map(|at| (at * 7 + at / 256) as u8).collect() }
}

fn kinds() -> Vec<Channel> {
    let ways = [Reliability::Reliable, Reliability::Retransmits(0), Reliability::Lifetime(500)];
    [true, false].iter().flat_map(|ordered| ways.map(|way| channel("c", *ordered, way))).collect()
}

#[test]
fn the_peers_channels_are_seen_as_it_opened_them_and_carry_all_kinds_of_messages() {
    let mut call = Call::established();
    for (id, kind) in kinds().into_iter().enumerate() {
        call.peer.open(call.now, 2 * id as u16, kind.clone());
        call.run(2);
        assert!(call.events.contains(&DataEvent::Opened(StreamId(2 * id as u16), kind.clone())), "{kind:?}");
        assert_eq!(call.peer.channels.get(&(2 * id as u16)), Some(&kind), "it was acknowledged");
        let sent = [text("word"), text(""), binary(0), binary(100_000), binary(MAX_MESSAGE)];
        for message in &sent {
            call.peer.send(call.now, 2 * id as u16, message.clone());
        }
        call.run(500);
        let got: Vec<_> = call.messages().into_iter().map(|(_, message)| message).collect();
        assert!(got == sent, "{kind:?}: {:?}", got.iter().map(|message| message.bytes.len()).collect::<Vec<_>>());
    }
}

#[test]
fn our_channels_have_ids_that_are_ours_and_never_0() {
    for (side, first) in [(Side::Server, 1), (Side::Client, 2)] {
        let mut call = Call::with(side, RATE);
        let early = call.ours.open(call.now, channel("early", true, Reliability::Reliable)).unwrap();
        assert!(!call.ours.has_room() && !call.ours.send(call.now, early, text("no")));
        call.run(2);
        let late = call.ours.open(call.now, channel("late", false, Reliability::Retransmits(0))).unwrap();
        assert_eq!((early, late), (StreamId(first), StreamId(first + 2)));
        assert!(!call.ours.is_open(late), "what overtakes the opening would be lost");
        call.run(2);
        for (id, message) in [(early, text("a")), (late, binary(100_000)), (early, text(""))] {
            assert!(call.ours.send(call.now, id, message));
        }
        call.run(500);
        call.peer.messages.sort_by_key(|(id, _)| *id);
        let expected = [(early.0, text("a")), (early.0, text("")), (late.0, binary(100_000))];
        assert!(call.peer.messages == expected);
        assert_eq!(call.peer.channels[&late.0].label, "late");
    }
}

#[test]
fn reliable_channels_are_in_order_and_whole_whatever_is_lost() {
    let mut call = Call::new();
    call.lost = 7;
    call.run(20_000);
    call.peer.open(call.now, 0, channel("up", true, Reliability::Reliable));
    call.run(5_000);
    let down = call.ours.open(call.now, channel("down", true, Reliability::Reliable)).unwrap();
    call.run(5_000);
    for number in 0..40_usize {
        call.peer.send(call.now, 0, binary(number * 500));
        assert!(call.ours.send(call.now, down, binary(number * 500)));
    }
    call.run(120_000);
    let sizes =
        |messages: &[(u16, Message)]| messages.iter().map(|(_, message)| message.bytes.len()).collect::<Vec<_>>();
    let expected: Vec<_> = (0..40).map(|number| number * 500).collect();
    assert_eq!(sizes(&call.messages()), expected);
    assert_eq!(sizes(&call.peer.messages), expected);
    assert_eq!(call.ours.counters().violations, 0);
}

#[test]
fn unreliable_channels_go_on_after_losses() {
    for ordered in [true, false] {
        for reliability in [Reliability::Retransmits(0), Reliability::Lifetime(20)] {
            let mut call = Call::established();
            call.peer.open(call.now, 0, channel("up", ordered, reliability));
            call.run(10);
            call.lost = 5;
            for number in 0..400_usize {
                call.peer.send(call.now, 0, binary(1 + number % 3 * 1500));
                call.run(5);
            }
            call.run(20_000);
            let got = call.messages().len();
            // Some of what waits for the lost ones is too late for its lifetime.
            assert!((20..=400).contains(&got), "{ordered} {reliability:?}: {got}");
            assert!(!call.ours.is_over() && call.ours.counters().violations == 0, "{ordered} {reliability:?}");
            call.lost = usize::MAX;
            let arrived = (0..120).any(|_| {
                call.peer.send(call.now, 0, text("last"));
                call.run(1_000);
                call.messages().last() == Some(&(0, text("last")))
            });
            assert!(arrived, "{ordered} {reliability:?}");
        }
    }
}

#[test]
fn a_lost_answer_to_the_first_packet_is_said_again() {
    let mut call = Call::new();
    let first = call.peer.poll(call.now);
    call.ours.handle_packet(call.now, &first[0]);
    assert!(call.ours.poll_transmit().is_some(), "and is lost");
    call.run(1_500);
    assert!(call.ours.is_established(), "by the peer's repetition");
    let (mut call, late) = (Call::new(), DataPeer::new(Instant::now()).poll(Instant::now()));
    call.ours.handle_packet(call.now, &late[0]);
    call.run(2);
    assert!(call.ours.is_established(), "by another peer on the same connection");
    call.ours.handle_packet(call.now, &late[0]);
    assert!(call.ours.is_established() && call.ours.counters().malformed == 1, "which nobody can replace later");
}

#[test]
fn either_side_ends_channels_and_their_ids_come_back() {
    let mut call = Call::established();
    let ours = call.ours.open(call.now, channel("ours", true, Reliability::Reliable)).unwrap();
    call.peer.open(call.now, 0, channel("theirs", true, Reliability::Reliable));
    call.run(10);
    assert!(call.ours.send(call.now, ours, text("last word")));
    call.ours.close(call.now, ours);
    call.peer.send(call.now, 0, text("last word"));
    call.peer.close(call.now, 0);
    call.run(50);
    assert_eq!(call.peer.messages, [(ours.0, text("last word"))]);
    assert_eq!(call.peer.closed, [ours.0, 0]);
    assert!(call.events.contains(&DataEvent::Message(StreamId(0), text("last word"))));
    assert_eq!(call.events.last(), Some(&DataEvent::Closed(StreamId(0))));
    assert_eq!(call.ours.open(call.now, channel("again", true, Reliability::Reliable)), Some(ours));
    call.peer.open(call.now, 0, channel("again", true, Reliability::Reliable));
    call.run(10);
    call.events.clear();
    call.peer.send(call.now, 0, text("again"));
    call.run(10);
    assert_eq!(call.messages(), [(0, text("again"))], "its numbers began anew");
}

#[test]
fn what_is_on_its_way_is_bounded_and_room_comes_back() {
    let mut call = Call::established();
    let stream = call.ours.open(call.now, channel("c", true, Reliability::Reliable)).unwrap();
    call.run(10);
    let mut sent = 0;
    while call.ours.has_room() {
        assert!(call.ours.send(call.now, stream, binary(10_000)));
        sent += 1;
    }
    assert_eq!(sent, 7);
    call.run(1_000);
    assert!(call.ours.has_room());
    assert_eq!(call.peer.messages.len(), 7);
    assert!(!call.ours.send(call.now, stream, binary(MAX_MESSAGE + 1)), "longer than any");
    let ours = Association::new(call.now, Side::Server, 1000, RATE);
    assert_eq!(ours.peer_takes(), 1000);
}

#[test]
fn many_small_messages_on_their_way_count_for_what_they_hold() {
    let mut call = Call::established();
    let (a, b) = (channel("a", true, Reliability::Reliable), channel("b", false, Reliability::Reliable));
    let streams = [a, b].map(|channel| call.ours.open(call.now, channel).unwrap());
    call.run(10);
    for _ in 0..3 {
        let mut sent = 0;
        while call.ours.has_room() && sent < 10_000 {
            assert!(call.ours.send(call.now, streams[sent % 2], text("x")));
            sent += 1;
        }
        assert_eq!(sent, (64 * 1024_usize).div_ceil(MESSAGE_OVERHEAD + 1));
        call.run(2_000);
        assert_eq!(
            (call.ours.has_room(), call.peer.messages.drain(..).count()),
            (true, sent),
            "room for as many again"
        );
    }
}

#[test]
fn channels_beyond_the_limit_are_ended() {
    let mut call = Call::established();
    for id in 0..=MAX_CHANNELS as u16 {
        call.peer.open(call.now, 2 * id, channel("c", true, Reliability::Reliable));
        call.run(1);
    }
    call.run(100);
    assert_eq!(call.peer.closed, [2 * MAX_CHANNELS as u16]);
    assert_eq!((call.ours.counters().channels, call.ours.is_over()), (1, false));
    assert_eq!(call.ours.open(call.now, channel("c", true, Reliability::Reliable)), None);
    let long = channel(&"x".repeat(MAX_LABEL + 1), true, Reliability::Reliable);
    assert_eq!(Call::established().ours.open(call.now, long), None);
}

#[test]
fn a_peer_that_sends_more_than_it_may_is_slowed_down_and_loses_nothing() {
    let mut call = Call::with(Side::Server, Bitrate(8_000_000));
    call.run(5);
    call.peer.open(call.now, 0, channel("c", true, Reliability::Reliable));
    call.run(10);
    for _ in 0..40 {
        call.peer.send(call.now, 0, binary(100_000));
    }
    call.run(1_000);
    let bytes: usize = call.messages().iter().map(|(_, message)| message.bytes.len()).sum();
    assert!(bytes <= 1_800_000, "{bytes} in the first second");
    assert!(call.ours.counters().over_rate > 0);
    call.run(120_000);
    assert_eq!(call.messages().len() + bytes / 100_000, 40);
}

#[test]
fn an_association_that_the_peer_ends_closes_its_channels() {
    let mut call = Call::established();
    let ours = call.ours.open(call.now, channel("ours", true, Reliability::Reliable)).unwrap();
    call.run(10);
    call.events.clear();
    call.peer.abort();
    call.run(1);
    assert_eq!(call.events, [DataEvent::Closed(ours)]);
    assert!(call.ours.is_over() && call.ours.next_timeout().is_none());
    let mut call = Call::established();
    call.ours.abort(call.now);
    call.run(1);
    assert!(call.peer.is_closed());
}

// Hostile peers.
